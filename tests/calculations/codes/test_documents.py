"""JSON of the Materials Project, JARVIS, MatBench, matminer and voigt: which labels, and what is said of them."""

from __future__ import annotations

import json

import ase
import numpy as np
import pytest
from tests import crystals
from tests.calculations.runs import asymmetric, calculations, only, run_file

from voigt.calculations.codes.documents import read, recognizes
from voigt.notes import Failure
from voigt.tensors.properties import PROPERTIES

EPS, IONIC = asymmetric(1, 3, 3), asymmetric(2, 3, 3)
E, C = asymmetric(3, 3, 6), asymmetric(4, 6, 6)
SALT = crystals.rocksalt()


def structure(atoms: ase.Atoms = SALT) -> dict:
    """As `pymatgen.core.Structure.as_dict` lays it out."""
    return {
        "@module": "pymatgen.core.structure",
        "@class": "Structure",
        "lattice": {"matrix": atoms.cell.array.tolist()},
        "sites": [
            {"species": [{"element": symbol, "occu": 1}], "abc": place.tolist(), "xyz": [0, 0, 0], "label": symbol}
            for symbol, place in zip(atoms.get_chemical_symbols(), atoms.get_scaled_positions(), strict=True)
        ],
    }


def run(document: object) -> list:
    text = document if isinstance(document, str) else json.dumps(document)
    assert recognizes(run_file("data.json", text))
    return list(read([run_file("data.json", text)]))


def test_a_dielectric_document():
    entry = {"material_id": "mp-22862", "structure": structure(), "electronic": EPS.tolist(), "ionic": IONIC.tolist()}
    found = only(run({"data": [{**entry, "total": (EPS + IONIC).tolist(), "e_total": 5.0, "n": 1.5}]}))
    np.testing.assert_allclose(found.targets["eps_inf"], EPS)
    np.testing.assert_allclose(found.targets["eps_ionic"], IONIC)
    np.testing.assert_allclose(found.targets["eps_total"], EPS + IONIC)
    assert found.atoms.info["id"] == "mp-22862"
    assert found.provenance.code == "Materials Project"
    assert sum("axes that need not be those of the structure" in problem for problem in found.problems) == 3


def test_a_piezoelectric_document_needs_a_structure():
    entry = {"material_id": "mp-1", "total": E.tolist(), "electronic": (0.5 * E).tolist(), "ionic": (0.5 * E).tolist()}
    found = only(run([{**entry, "structure": structure()}]))
    assert set(found.targets) == {"piezo_total", "piezo_clamped"}
    np.testing.assert_allclose(PROPERTIES["piezo_total"].to_storage(found.targets["piezo_total"]), E)
    (failure,) = list(read([run_file("data.json", json.dumps([entry]))]))
    assert "holds labels but no structure" in failure.problem
    assert failure.id == "mp-1"


def test_an_elasticity_document_gives_the_tensor_in_the_axes_of_its_structure():
    held = {"raw": C.tolist(), "ieee_format": (C + 1).tolist()}
    found = only(run({"material_id": "mp-1", "structure": structure(), "elastic_tensor": held}))
    np.testing.assert_allclose(PROPERTIES["elastic"].to_storage(found.targets["elastic"]), C)
    turned = only(run({"material_id": "mp-1", "structure": structure(), "elastic_tensor": {"ieee_format": C.tolist()}}))
    assert any("IEEE" in problem for problem in turned.problems)


def test_tables_of_matbench():
    table = {
        "index": ["mb-1", "mb-2"],
        "columns": ["structure", "gap pbe"],
        "data": [[structure(), 5.0], [structure(), 1.5]],
    }
    found = calculations(run(table))
    assert [(one.atoms.info["id"], float(one.targets["band_gap"])) for one in found] == [("mb-1", 5.0), ("mb-2", 1.5)]
    assert {one.provenance.functional for one in found} == {"PBE"}


def test_tables_of_matminer():
    columns = ["material_id", "structure", "e_electronic", "e_total", "n", "poly_total"]
    table = {"columns": columns, "data": [["mp-2", structure(), EPS.tolist(), (EPS + IONIC).tolist(), 1.6, 4.0]]}
    found = only(run(table))
    np.testing.assert_allclose(found.targets["eps_total"], EPS + IONIC)
    piezo = {"columns": ["structure", "piezoelectric_tensor"], "data": [[structure(), E.tolist()]]}
    np.testing.assert_allclose(PROPERTIES["piezo_total"].to_storage(only(run(piezo)).targets["piezo_total"]), E)


def test_entries_of_jarvis():
    order = [0, 1, 2, 5, 3, 4]  # ours in the order that VASP prints
    entry = {
        "jid": "JVASP-1",
        "atoms": {
            "lattice_mat": SALT.cell.array.tolist(),
            "coords": SALT.get_scaled_positions().tolist(),
            "elements": ["Na", "Cl"],
            "cartesian": False,
        },
        "func": "OptB88vdW",
        "optb88vdw_bandgap": 5.1,
        "formation_energy_peratom": -2.0,
        "epsx": 2.4,
        "epsy": 2.4,
        "epsz": 2.5,
        "dfpt_piezo_max_eij": 0.3,
        "elastic_tensor": C[np.ix_(order, order)].tolist(),
    }
    found = only(run([entry]))
    assert set(found.targets) == {"band_gap", "formation_energy", "elastic"}
    np.testing.assert_allclose(PROPERTIES["elastic"].to_storage(found.targets["elastic"]), C)
    assert found.provenance.functional == "OptB88vdW"
    assert any("epsx, epsy, epsz: only diagonal components" in problem for problem in found.problems)
    (failure,) = run([{**{k: v for k, v in entry.items() if k in ("jid", "atoms", "epsx", "dfpt_piezo_max_eij")}}])
    assert "numbers made of tensors, not tensors" in failure.problem


def test_our_own_json_is_said_to_be_predictions():
    record = {
        "id": "salt",
        "models": {"born_charges": "born"},
        "functionals": {"born_charges": "PBEsol"},
        "elements": ["Na", "Cl"],
        "cell": SALT.cell.array.tolist(),
        "scaled_positions": SALT.get_scaled_positions().tolist(),
        "properties": {"born_charges": {"value": asymmetric(5, 2, 3, 3).tolist()}, "elastic": {"value": C.tolist()}},
    }
    found = only(run([record]))
    np.testing.assert_allclose(found.targets["born_charges"], asymmetric(5, 2, 3, 3))
    np.testing.assert_allclose(PROPERTIES["elastic"].to_storage(found.targets["elastic"]), C)
    assert found.provenance.functional == "PBEsol"
    assert "predictions of a model" in found.problems[0]


def test_labels_under_our_names_and_one_document_a_line():
    entry = {"structure": structure(), "born_charges": asymmetric(6, 2, 3, 3).tolist(), "eps_inf": EPS.ravel().tolist()}
    found = calculations(run("\n".join(json.dumps({**entry, "id": name}) for name in "ab")))
    assert [one.atoms.info["id"] for one in found] == ["a", "b"]
    np.testing.assert_allclose(found[1].targets["eps_inf"], EPS)
    (failure,) = run({**entry, "born_charges": [EPS.tolist()]})
    assert "Born charges of 1 atoms for 2" in failure.problem


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        ('{"sites": [', "cannot be read as JSON"),
        ([structure()], "no tensors, gaps or formation energies"),
        ({"columns": ["structure", "n"], "data": [[structure(), 1.5]]}, "numbers made of tensors"),
        ({"columns": ["structure", "e_form"], "data": [[structure()]]}, "row 0 has not the 2 columns"),
        ({"structure": {"sites": "none", "lattice": {}}, "band_gap": 1.0}, "is not a pymatgen Structure"),
        ({"structure": structure(), "eps_inf": [1, 2, 3]}, "eps_inf is not of the shape"),
        ('{"sites":' + "[" * 100_000, "nested too deeply"),
    ],
)
def test_documents_that_cannot_be_used_are_named(document, reason):
    (failure,) = run(document)
    assert isinstance(failure, Failure)
    assert reason in failure.problem


def test_one_entry_without_labels_leaves_the_others():
    good = {"structure": structure(), "eps_inf": EPS.ravel().tolist()}
    first, second = run([{"structure": structure(), "id": "bare"}, good])
    assert isinstance(first, Failure)
    assert first.id == "bare"
    assert set(second.targets) == {"eps_inf"}
