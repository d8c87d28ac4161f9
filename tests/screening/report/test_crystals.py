"""The page on which a click on the Pareto front shows a crystal."""

from __future__ import annotations

import json
import re

import ase
import numpy as np
import pytest
from tests.screening.report_stores import crystal_row, write_store

from voigt.screening.query.criteria import read_criteria
from voigt.screening.report.report import write_report

# eps_total and band gap: the first three are no worse in one than any other, the fourth is worse in both.
PLACES = {"low": (4.0, 6.0), "middle": (9.0, 4.0), "high": (20.0, 1.0), "inside": (6.0, 2.0)}
STIFFNESS = np.diag([300.0, 300.0, 300.0, 90.0, 90.0, 90.0])


def rows():
    atoms = ase.Atoms("MgO", cell=4 * np.eye(3), scaled_positions=[[0, 0, 0], [0.5, 0.5, 0.5]], pbc=True)
    charges = np.stack([1.9 * np.eye(3), -1.9 * np.eye(3)])
    for name, (total, gap) in PLACES.items():
        row = crystal_row(atoms, name, 221)
        row |= {"formula": "MgO", "band_gap": gap, "band_gap_model": "m", "band_gap_spread": 0.1}
        row |= {"eps_total": (total * np.eye(3)).ravel().tolist(), "eps_total_model": "n"}
        row |= {"born_charges": charges.ravel().tolist(), "born_charges_model": "b", "born_charges_spread": 0.02}
        row |= {"elastic": STIFFNESS.ravel().tolist(), "elastic_model": "e"}
        row["warnings"] = ["</script>"]
        row["notes"] = [{"kind": "small_gap", "properties": ["eps_total"], "elements": []}]
        yield row


@pytest.fixture(scope="module")
def content(tmp_path_factory):
    folder = tmp_path_factory.mktemp("front")
    write_store(folder / "run", list(rows()), ("band_gap", "eps_total", "born_charges", "elastic"))
    write_report(folder / "run", read_criteria(None, None), output=folder / "out")
    page = (folder / "out" / "pareto.html").read_text(encoding="utf-8")
    found = re.search(r'id="voigt-scenes">(.*?)</script>', page)
    assert found is not None
    return json.loads(found[1])


def test_points_are_those_of_the_front_from_left_to_right(content):
    front = content["front"]
    assert [point["id"] for point in front["points"]] == ["low", "middle", "high"]
    assert [(point["x"], point["y"]) for point in front["points"]] == [PLACES[k] for k in ("low", "middle", "high")]
    assert all(point["held"] for point in front["points"])
    assert front["x"]["maximize"]
    assert front["y"]["maximize"]
    assert sorted(front["cloud"]) == sorted(map(list, PLACES.values()))


def test_each_has_its_structure_and_tensors(content):
    assert {scene["id"] for scene in content["scenes"]} == {"low", "middle", "high"}
    scene = next(scene for scene in content["scenes"] if scene["id"] == "middle")
    assert scene["structure"]["species"] == ["Mg", "O"]
    assert scene["structure"]["spacegroup"]["number"] == 221
    values = {entry["name"]: entry["values"] for entry in scene["properties"]}
    np.testing.assert_allclose(values["eps_total"], 9 * np.eye(3))
    np.testing.assert_allclose(values["born_charges"], [1.9 * np.eye(3), -1.9 * np.eye(3)])
    np.testing.assert_allclose(values["elastic"], STIFFNESS)
    assert values["band_gap"] == 4.0
    models = {entry["name"]: entry["model"] for entry in scene["properties"]}
    assert models == {"born_charges": "b", "eps_total": "n", "elastic": "e", "band_gap": "m"}
    (charges,) = [entry for entry in scene["properties"] if entry["name"] == "born_charges"]
    assert charges["spread"] == 0.02  # one number, as the store has it
    assert charges["patterns"][0]["independent"] == [[True, False, False], [False] * 3, [False] * 3]


def test_warnings_of_strangers_stay_text(content):
    (note,) = content["scenes"][0]["notes"]
    assert (note["kind"], note["text"], note["properties"]) == ("small_gap", "</script>", ["eps_total"])


def test_without_two_objectives_an_earlier_page_is_gone(tmp_path):
    write_store(tmp_path / "run", list(rows()), ("band_gap", "eps_total", "born_charges", "elastic"))
    write_report(tmp_path / "run", read_criteria(None, None), output=tmp_path / "out")
    assert (tmp_path / "out" / "pareto.html").exists()
    bare = [{key: value for key, value in row.items() if not key.startswith("eps")} for row in rows()]
    write_store(tmp_path / "other", bare, ("band_gap", "born_charges"))
    write_report(tmp_path / "other", read_criteria(None, None), output=tmp_path / "out")
    assert not (tmp_path / "out" / "pareto.html").exists()
