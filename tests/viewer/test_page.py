"""Pages that stand alone."""

from __future__ import annotations

import json
import re
from base64 import b64encode
from hashlib import sha256
from html import unescape
from html.parser import HTMLParser

import pytest

from voigt.errors import OutputError
from voigt.viewer import View, stand_alone

HOSTILE = '</script><script>alert("&amp;")</script><!--'


class Elements(HTMLParser):
    """Scripts, styles and their content, as a browser splits the page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None], str]] = []
        self.inside = False
        self.feed(page)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.inside = tag in ("script", "style")
        self.found.append((tag, dict(attributes), ""))

    def handle_data(self, data: str) -> None:
        if self.inside:
            tag, attributes, text = self.found[-1]
            self.found[-1] = tag, attributes, text + data

    def handle_endtag(self, tag: str) -> None:
        self.inside = False

    def all(self, tag: str) -> list[tuple[dict[str, str | None], str]]:
        return [(attributes, text) for name, attributes, text in self.found if name == tag]


def scenes_of(page: str) -> dict:
    (content,) = [text for attributes, text in Elements(page).all("script") if attributes.get("id") == "voigt-scenes"]
    return json.loads(content)


def test_the_page_holds_the_scenes_as_they_are():
    scenes = [{"id": "α-quartz", "values": [1.5, None, "ä"]}, {"id": "b"}]
    assert scenes_of(stand_alone(scenes, "two", "b")) == {"scenes": scenes, "chosen": "b", "front": None}


def test_a_hostile_text_stays_text():
    page = stand_alone([{"id": HOSTILE}], HOSTILE)
    assert scenes_of(page)["scenes"] == [{"id": HOSTILE}]
    elements = Elements(page)
    assert [attributes.get("type") for attributes, _ in elements.all("script")] == ["application/json", "module"]
    assert "alert" not in page.split('id="voigt-scenes"')[0].replace("&lt;script&gt;alert", "")


def test_its_policy_allows_its_own_script_and_style_alone():
    elements = Elements(stand_alone([], "none"))
    (policy,) = [a["content"] for a, _ in elements.all("meta") if a.get("http-equiv") == "Content-Security-Policy"]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    hashed = [f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"
              for text in (elements.all("script")[1][1], elements.all("style")[0][1])]
    assert [rules["script-src"], rules["style-src"]] == hashed
    assert rules["default-src"] == "'none'"
    assert "unsafe" not in policy
    assert "connect-src" not in rules  # default: nothing


def test_it_asks_no_other_host():
    page = stand_alone([{"id": "a"}], "a").replace("http://www.w3.org/2000/svg", "")
    assert not re.search(r"https?://", page)
    elements = Elements(page)
    assert [a for tag in ("script", "img", "iframe") for a, _ in elements.all(tag) if "src" in a] == []
    assert elements.all("link") == []


def test_what_is_not_finite_is_no_scene():
    with pytest.raises(ValueError, match="JSON compliant"):
        stand_alone([{"id": "a", "values": [float("nan")]}], "a")


def test_a_notebook_gets_a_frame_that_can_do_nothing_but_show_and_save():
    page = stand_alone([{"id": HOSTILE}], "x")
    frame = View(page, 'a "title"')._repr_html_()
    ((attributes, _),) = Elements(frame).all("iframe")
    assert attributes["srcdoc"] == page
    assert set((attributes["sandbox"] or "").split()) == {"allow-scripts", "allow-downloads"}
    assert attributes["title"] == 'a "title"'
    assert unescape(frame).count("</iframe>") == 1


def test_a_view_is_written_as_a_file(tmp_path):
    view = View(stand_alone([{"id": "a"}], "a"), "a")
    view.save(tmp_path / "a.html")
    assert (tmp_path / "a.html").read_text() == view.html
    with pytest.raises(OutputError):
        view.save(tmp_path / "absent" / "a.html")


def test_it_shows_itself_without_its_page():
    assert len(repr(View("x" * 1000, "title"))) < 80
