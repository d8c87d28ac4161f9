"""JSON of many origins: the same crystal from each, under its id."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
import pytest
from ase import Atoms
from tests.structures.inputs import good, is_sound, only, pymatgen_structure, trouble

from voigt.structures import read, read_one

CELL = [[4.1, 0.2, -0.3], [0.5, 5.2, 0.4], [-1.1, 0.7, 6.3]]
PLACES = [[0.02, 0.03, 0.05], [0.31, 0.44, 0.52], [0.71, 0.12, 0.83]]
CRYSTAL = Atoms("MgO2", scaled_positions=PLACES, cell=CELL, pbc=True)


def by_pymatgen(**extra: Any) -> dict[str, Any]:
    sites = [
        {"species": [{"element": symbol, "occu": 1}], "abc": place, "label": symbol}
        for symbol, place in zip(("Mg", "O", "O"), PLACES, strict=True)
    ]
    return {"@class": "Structure", "lattice": {"matrix": CELL, "pbc": [True] * 3}, "sites": sites, **extra}


def by_jarvis(cartesian: bool = False) -> dict[str, Any]:
    coords = CRYSTAL.positions.tolist() if cartesian else PLACES
    return {
        "lattice_mat": CELL,
        "coords": coords,
        "elements": ["Mg", "O", "O"],
        "cartesian": cartesian,
        "props": ["", "", ""],
    }


def by_optimade(identity: str) -> dict[str, Any]:
    species = [{"name": s, "chemical_symbols": [s], "concentration": [1.0]} for s in ("Mg", "O")]
    attributes = {
        "lattice_vectors": CELL,
        "cartesian_site_positions": CRYSTAL.positions.tolist(),
        "species": species,
        "species_at_sites": ["Mg", "O", "O"],
        "dimension_types": [1, 1, 1],
    }
    return {"id": identity, "type": "structures", "attributes": attributes}


DOCUMENTS: dict[str, tuple[Any, list[str]]] = {
    "pymatgen": (by_pymatgen(), ["file"]),
    "list": ([by_pymatgen(), by_pymatgen()], ["file:0", "file:1"]),
    "document": ({"structure": by_pymatgen(), "material_id": "mp-1"}, ["mp-1"]),
    "summaries": ([{"structure": by_pymatgen(), "material_id": "mp-1", "band_gap": 3.0}], ["mp-1"]),
    "answer": ({"data": [{"structure": by_pymatgen(), "material_id": "mp-1"}], "meta": {"total_doc": 1}}, ["mp-1"]),
    "computed entry": ({"structure": by_pymatgen(), "entry_id": "mp-7", "energy": -1.0}, ["mp-7"]),
    "Alexandria": ({"entries": [{"structure": by_pymatgen(), "data": {"mat_id": "agm1"}}]}, ["agm1"]),
    "by id": ({"a": by_pymatgen(), "b": by_jarvis(), "c": {"structure": by_pymatgen()}}, ["a", "b", "c"]),
    "JARVIS": ([{"jid": "JVASP-1", "atoms": by_jarvis(), "epsx": 3.0}], ["JVASP-1"]),
    "JARVIS atoms": (by_jarvis(cartesian=True), ["file"]),
    "OPTIMADE entry": (by_optimade("x/1"), ["x/1"]),
    "OPTIMADE answer": ({"data": [by_optimade("1"), by_optimade("2")], "meta": {}, "links": {}}, ["1", "2"]),
    "OPTIMADE one": ({"data": by_optimade("1"), "meta": {}}, ["1"]),
    "MatBench": (
        {
            "index": ["mb-1", "mb-2"],
            "columns": ["structure", "n"],
            "data": [[by_pymatgen(), 1.7], [by_pymatgen(), 2.0]],
        },
        ["mb-1", "mb-2"],
    ),
    "MatBench by number": ({"index": [0], "columns": ["structure", "n"], "data": [[by_pymatgen(), 1.7]]}, ["file"]),
}


@pytest.mark.parametrize("kind", DOCUMENTS)
def test_documents_give_their_structures(tmp_path: Path, kind: str) -> None:
    document, names = DOCUMENTS[kind]
    (tmp_path / "file.json").write_text(json.dumps(document))
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "file.json").write_text(json.dumps(document))  # found in a folder, too
    for place in (tmp_path / "file.json", tmp_path / "inner"):
        structures = list(read(place))
        assert [structure.id for structure in structures] == names
        for structure in structures:
            atoms = good(structure)
            assert atoms.get_chemical_formula() == "MgO2"
            np.testing.assert_allclose(atoms.cell.array, CELL)
            np.testing.assert_allclose(atoms.positions, CRYSTAL.positions)


def test_targets_of_a_table_of_matbench_are_kept(tmp_path: Path) -> None:
    (tmp_path / "file.json").write_text(json.dumps(DOCUMENTS["MatBench"][0]))
    assert [good(structure).info["n"] for structure in read(tmp_path / "file.json")] == [1.7, 2.0]


def test_a_broken_entry_of_each_kind_leaves_the_others(tmp_path: Path) -> None:
    broken: list[Any] = [
        {"jid": "J", "atoms": {**by_jarvis(), "elements": ["Mg"]}},
        {"jid": "J2", "atoms": {"lattice_mat": CELL}},
        {"id": "O", "attributes": {"lattice_vectors": CELL}},
        {"structure": {"lattice": {"matrix": [[1]]}, "sites": []}},
        {**by_pymatgen(), "sites": [{"species": [{"element": "MG"}], "abc": [0, 0, 0]}]},
        None,
        [[]],
    ]
    entries = [*broken, by_pymatgen()]
    (tmp_path / "file.json").write_text(json.dumps(entries))
    structures = list(read(tmp_path / "file.json"))
    assert [is_sound(structure) for structure in structures] == [False] * len(broken) + [True]
    assert structures[0].id == "J"
    assert "1 elements but coordinates of shape (3, 3)" in trouble(structures[0])
    assert "write Mg" in trouble(structures[4])


def test_lines_of_an_optimade_file(tmp_path: Path) -> None:
    header = {"x-optimade": {"meta": {"api_version": "1.1.0"}}}
    lines = [header, by_optimade("1"), by_optimade("2")]
    (tmp_path / "all.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert [structure.id for structure in read(tmp_path / "all.jsonl") if good(structure)] == ["1", "2"]


@pytest.mark.parametrize("charge", [1, -2, 0, None])
def test_the_charge_of_a_structure_is_kept(charge: int | None) -> None:
    assert read_one(by_pymatgen(charge=charge)).info.get("charge", 0) == (charge or 0)
    structure = pymatgen_structure()
    assert structure.charge == -1  # of its oxidation states, not of the crystal
    assert "charge" not in read_one(structure).info
    structure.remove_oxidation_states()
    structure.set_charge(charge)
    assert read_one(structure).info.get("charge", 0) == (charge or 0)


def test_occupancies_in_a_comment_are_refused_with_the_mixture(tmp_path: Path) -> None:
    """ASE writes what its CIF reader keeps of a mixed site as _JSON."""
    atoms = CRYSTAL.copy()
    atoms.info["occupancy"] = {"0": {"Mg": 0.5, "Fe": 0.5}, "1": {"O": 1.0}}
    ase.io.write(tmp_path / "mixed.xyz", atoms)
    assert "_JSON" in (tmp_path / "mixed.xyz").read_text()
    assert "partially occupied at site 0 (Mg 0.5, Fe 0.5)" in trouble(only(read(tmp_path / "mixed.xyz")))


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a": ' + "9" * 5000 + "}", '{"a": 1e999', "\ud800", "NaN", '"x"'])
def test_hostile_json_is_one_sentence(tmp_path: Path, text: str) -> None:
    (tmp_path / "file.json").write_text(text, errors="surrogatepass")
    assert trouble(only(read(tmp_path / "file.json"))).isprintable()


def test_hydrogens_attached_to_sites_have_no_positions(tmp_path: Path) -> None:
    entry = by_optimade("1")
    entry["attributes"]["species"][1] |= {"attached": ["H"], "nattached": [2]}
    (tmp_path / "file.json").write_text(json.dumps({"data": entry, "meta": {}}))
    assert "without positions, attached to O (2 H)" in trouble(only(read(tmp_path / "file.json")))
    entry["attributes"]["species"][1] |= {"nattached": [0]}
    (tmp_path / "file.json").write_text(json.dumps({"data": entry, "meta": {}}))
    assert len(read_one(tmp_path / "file.json")) == 3


def test_lattices_and_sites_of_pymatgen_in_other_words(tmp_path: Path) -> None:
    names = ("a", "b", "c", "alpha", "beta", "gamma")
    document = by_pymatgen()
    document["lattice"] = dict(zip(names, CRYSTAL.cell.cellpar().tolist(), strict=True))
    (tmp_path / "file.json").write_text(json.dumps(document))
    np.testing.assert_allclose(read_one(tmp_path / "file.json").cell.cellpar(), CRYSTAL.cell.cellpar())
    document["lattice"]["matrix"] = CELL
    for site, place in zip(document["sites"], CRYSTAL.positions.tolist(), strict=True):
        del site["abc"]
        site["xyz"] = place
    (tmp_path / "file.json").write_text(json.dumps(document))
    np.testing.assert_allclose(read_one(tmp_path / "file.json").positions, CRYSTAL.positions)
    for change, shown in (
        ({"a": 4.6}, "contradicts its a to gamma"),
        ({"gamma": 100.0}, "contradicts its a to gamma"),
        ({"matrix": None, "a": None}, "add the matrix"),
    ):
        (tmp_path / "file.json").write_text(json.dumps({**document, "lattice": {**document["lattice"], **change}}))
        assert shown in trouble(only(read(tmp_path / "file.json")))
