"""How a prediction shows itself: five lines, tables for notebooks, a dictionary."""

from __future__ import annotations

import json
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import ase
import numpy as np
import pytest
from tests import crystals
from tests.predictions import made_up

from voigt.notes import Note
from voigt.prediction import Prediction
from voigt.prediction.sheets import sheet_of
from voigt.structures.vacuum import Vacuum
from voigt.tensors.properties import PROPERTIES
from voigt.writers.records import write_json

ALL = tuple(PROPERTIES)
NASTY = '<script>alert("x")</script>\n\x1b[31m & more'


class Strict(HTMLParser):
    """Counts tags and keeps what is text; every tag is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.open.append(tag)
        self.seen.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def parsed(prediction: Prediction) -> Strict:
    parser = Strict()
    parser.feed(prediction._repr_html_())
    parser.close()
    assert parser.open == []
    return parser


@pytest.mark.parametrize("count", range(1, len(ALL) + 1))
@pytest.mark.parametrize("members", [1, 2])
def test_a_summary_has_five_lines_at_most(count: int, members: int) -> None:
    prediction = made_up(crystals.quartz(), "quartz", ALL[:count], members=members)
    lines = repr(prediction).splitlines()
    assert len(lines) <= 5
    assert all(len(line) < 140 for line in lines)
    assert lines[0] == "Prediction quartz: SiO2, P3_221 (154), 9 atoms"
    assert all(name in repr(prediction) for name in ALL[:count])
    assert "disagreement: first warning and 1 more" in lines[-1]
    assert repr([prediction])  # as an element of a list


def test_a_large_crystal_is_as_short() -> None:
    atoms = crystals.quartz() * (3, 3, 3)
    prediction = made_up(atoms, "x" * 500, ("born_charges", "eps_inf"))
    assert len(repr(prediction)) < 600


def test_numbers_are_those_of_the_tensors() -> None:
    prediction = made_up(crystals.rocksalt(), "salt", ("born_charges", "eps_inf", "band_gap"), members=1)
    charges = np.array([1.07 * np.eye(3), -1.07 * np.eye(3)])
    values = {"born_charges": charges, "eps_inf": np.diag([2.5, 2.25, 2.5]), "band_gap": np.array(5.1)}
    text = repr(replace(prediction, values=values, notes=()))
    assert "born_charges: means of atoms -1.07 to 1.07 e; model tiny, PBEsol" in text
    assert "eps_inf: principal values 2.25, 2.5, 2.5; model tiny, PBEsol" in text
    assert "band_gap: 5.1 eV" in text
    assert text.splitlines()[-1] == "  no notes"


def test_texts_of_the_input_are_escaped() -> None:
    prediction = made_up(crystals.rocksalt(), NASTY, ALL)
    prediction = replace(prediction, notes=(Note("disagreement", NASTY),))
    html = parsed(prediction)
    assert set(html.seen) <= {"div", "p", "b", "table", "tr", "th", "td", "ul", "li"}
    assert '<script>alert("x")</script>' in html.text
    assert len(repr(prediction).splitlines()) <= 5


def test_tables_hold_one_atom_of_each_orbit_and_all_components() -> None:
    prediction = made_up(crystals.quartz(), "quartz", ("born_charges", "elastic", "piezo_total", "band_gap"))
    html = parsed(prediction)
    # Heads and rows: two orbits of 9 + 2 cells, 6 x 6, 3 x 6 with labels, one scalar.
    assert html.seen.count("td") == 2 * 11 + 6 * 7 + 3 * 7 + 1
    assert f"{prediction.values['born_charges'][0, 0, 1]:.3f}" in html.text
    assert f"{float(prediction.values['band_gap']):.3f}" in html.text


def test_a_dictionary_is_what_json_files_hold(tmp_path: Path) -> None:
    prediction = made_up(crystals.wurtzite(), "zincite", ALL)
    found = prediction.to_dict()
    write_json([prediction], tmp_path / "out.json")
    assert json.loads((tmp_path / "out.json").read_text()) == [found]
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    charges = found["properties"]["born_charges"]
    assert charges["unit"] == "e"
    assert "displacement" in charges["meaning"]
    np.testing.assert_array_equal(charges["value"], prediction.values["born_charges"])
    assert found["properties"]["elastic"]["layout"].endswith("xx yy zz yz zx xy")
    assert found["notes"][0] == {"kind": "disagreement", "text": "first warning", "properties": [], "elements": []}


def test_sheets_are_shown_and_kept() -> None:
    places = [(0, 0, 0.5), (1 / 3, 2 / 3, 0.5)]
    atoms = ase.Atoms("C2", scaled_positions=places, cell=[2.46, 2.46, 20, 90, 90, 120], pbc=True)
    vacuum = Vacuum(2, np.array([0.0, 0.0, 1.0]), 20.0, 16.5, 0.2)
    sheet = sheet_of(np.diag([4.0, 4.0, 2.0]), vacuum)
    prediction = replace(made_up(atoms, "sheet", ("eps_inf",)), sheets={"eps_inf": sheet})
    assert "3.50 Angstrom thick" in parsed(prediction).text
    stored = prediction.to_dict()["sheets"]["eps_inf"]
    assert stored["thickness_angstrom"] == pytest.approx(3.5)
    np.testing.assert_allclose(stored["permittivity_of_cell"], sheet.cell)
