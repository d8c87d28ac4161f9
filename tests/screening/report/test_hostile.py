"""A report on a store whose texts were made to harm: nothing in them is more than text."""

from __future__ import annotations

import csv
import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import ase
import markdown
import numpy as np
import pytest
from tests.screening.report_stores import crystal_row, write_store

from voigt.screening.query.criteria import read_criteria
from voigt.screening.report import write_report

TEXTS = [
    "<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "[click](javascript:alert(1))", "![x](http://a.b/c)",
    "a|b|c", "`code` <b>", "=HYPERLINK(1)", "../../../escape", "\\<script>", "<http://a.b>", "$\\frac{1$ $^$",
    "*bold*", "&lt;script&gt;", "</code><script>", "[x]: http://a.b", "x" * 3000, "# title", "\x1b[2J", "-1+2",
]  # fmt: skip


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attributes)))


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hostile") / "s"
    rows: list[dict[str, Any]] = []
    for k, text in enumerate(TEXTS):
        atoms = ase.Atoms("MgO", cell=4 * np.eye(3), scaled_positions=[[0, 0, 0], [0.5, 0.5, 0.5]], pbc=True)
        row = crystal_row(atoms, text, 221)
        row |= {"formula": text, "band_gap": 1.0 + k, "band_gap_model": text, "band_gap_spread": 0.1}
        row["warnings"] = [text]
        row["notes"] = [{"kind": text, "properties": [], "elements": []}]
        row |= {"eps_inf": np.eye(3).ravel().tolist(), "eps_inf_model": text}
        rows.append(row)
    failures = [{"id": text, "source": text, "index": k, "reason": text, "kind": text, "elements": [text]}
                for k, text in enumerate(TEXTS)]  # fmt: skip
    write_store(folder, rows, ("band_gap", "eps_inf"), failures, commands=[f"voigt {text}" for text in TEXTS])
    noted = json.loads((folder / "manifest.json").read_text())
    for text in TEXTS:
        noted["job"]["models"].append({"name": text, "sha256": text, "properties": [text], "functional": text})
    noted["job"] |= {"prefilter": TEXTS[0], "settings": {text: text for text in TEXTS}}
    noted["job"]["properties"] += TEXTS
    noted["collection"] = {"name": " ".join(TEXTS), "kind": TEXTS[0], "fingerprint": "`<b>`", "count": 3}
    noted["state"] = TEXTS[0]
    for session, text in zip(noted["sessions"], TEXTS, strict=True):
        session |= {"voigt": text, "started": "2024-05-01T10:00:00+00:00", "ended": None}
    (folder / "manifest.json").write_text(json.dumps(noted))
    write_report(folder, read_criteria("band_gap > 0", "band_gap"), top=len(TEXTS), output=folder / "out")
    return folder / "out"


def test_the_page_has_no_markup_but_its_own(written):
    page = (written / "report.md").read_text(encoding="utf-8")
    parser = Tags()
    parser.feed(markdown.markdown(page, extensions=["tables", "fenced_code"]))
    assert not {tag for tag, _ in parser.found} & {"script", "a", "b", "em", "strong", "iframe"}
    pictures = {attributes["src"] for tag, attributes in parser.found if tag == "img"}
    assert pictures == {"pareto.png", "distributions.png", "elements.png"}
    assert all(set(attributes) <= {"src", "alt", "style", "class"} for _, attributes in parser.found)
    assert "\x1b" not in page


def test_tables_keep_their_columns(written):
    lines = (written / "report.md").read_text(encoding="utf-8").splitlines()
    start = next(k for k, line in enumerate(lines) if line.startswith("|  | formula | id "))
    table = lines[start : start + 2 + len(TEXTS)]
    plain = [line.replace("\\\\", "").replace("\\|", "") for line in table]
    assert {line.count("|") for line in plain} == {plain[0].count("|")}


def test_tables_for_programs(written):
    with (written / "top.csv").open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == len(TEXTS)
    for row in rows:
        assert row["id"][0] not in "=+@"
        assert float(row["band_gap"]) > 0
    assert "'=HYPERLINK(1)" in [row["id"] for row in rows]
    assert "'-1+2" in [row["id"] for row in rows]


def test_structures_stay_in_their_folder(written):
    with (written / "top.csv").open(newline="", encoding="utf-8") as stream:
        names = [row["structure"] for row in csv.DictReader(stream)]
    assert len(set(names)) == len(TEXTS)
    for name in names:
        assert (written / name).resolve().parent == (written / "structures").resolve()
        assert (written / name).is_file()
    found = sorted(path.name for path in written.parent.parent.rglob("*") if path.name.startswith("escape"))
    assert found == []
