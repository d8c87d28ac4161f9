"""The bundle that ships: made of the sources beside it, small, and free of other hosts."""

from __future__ import annotations

import re
from hashlib import sha256
from pathlib import Path

import pytest
from tests.conftest import REPOSITORY

from voigt.viewer import STATIC

FRONTEND = REPOSITORY / "frontend"
BESIDE = ("index.html", "package-lock.json", "package.json", "tsconfig.json", "vite.config.ts")


def digest(folder: Path) -> str:
    """As frontend/vite.config.ts hashes its sources: names and contents, in the order of names."""
    names = sorted([*BESIDE, *(path.relative_to(folder).as_posix() for path in (folder / "src").rglob("*.*"))])
    whole = sha256()
    for name in names:
        whole.update(f"{name}\0{sha256((folder / name).read_bytes()).hexdigest()}\n".encode())
    return whole.hexdigest()


@pytest.mark.skipif(not FRONTEND.is_dir(), reason="frontend/ is not part of a source distribution")
def test_the_bundle_was_built_from_these_sources():
    recorded = (STATIC / "sources.sha256").read_text().strip()
    assert recorded == digest(FRONTEND), "frontend/ has changed since the page was built: run `make page`"


def test_a_changed_source_would_be_noticed(tmp_path):
    for name in (*BESIDE, "src/main.ts"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    before = digest(tmp_path)
    (tmp_path / "src" / "main.ts").write_text("other")
    assert digest(tmp_path) != before


def test_the_page_consists_of_three_files_of_less_than_200_kb_in_all():
    sizes = {path.name: path.stat().st_size for path in STATIC.iterdir()}
    assert sizes.keys() == {"index.html", "voigt.js", "voigt.css", "sources.sha256"}
    assert sum(sizes.values()) < 200_000


def test_nothing_comes_from_another_host():
    names = {"http://www.w3.org/2000/svg"}  # the name of SVG, which nobody fetches
    for name in ("index.html", "voigt.js", "voigt.css"):
        content = (STATIC / name).read_text()
        assert set(re.findall(r"(?:https?:)?//[a-z0-9.-]+\.[a-z]{2,}[^\s\"'`)]*", content)) <= names, name
        assert "url(" not in content.replace("url(#", ""), name


def test_the_page_needs_no_exception_from_a_strict_policy():
    page = (STATIC / "index.html").read_text()
    assert not re.search(r"<style|<script(?![^>]*\ssrc=)|\sstyle=|\son[a-z]+=", page)
    script = (STATIC / "voigt.js").read_text()
    assert not re.search(r"\beval\(|new Function|innerHTML|outerHTML|insertAdjacentHTML|document\.write", script)
