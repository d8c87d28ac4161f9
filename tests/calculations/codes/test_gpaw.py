"""Born charges as GPAW and the recipes around it write them: plain results, and results inside of what made them."""

from __future__ import annotations

import io
import json
from typing import Any

import ase.io
import numpy as np
import pytest
from ase.io.jsonio import encode
from tests.calculations.runs import asymmetric, only, run_file, triclinic

from voigt.calculations.codes import gpaw
from voigt.notes import Failure

CHARGES = asymmetric(1, 5, 3, 3)
SYMBOLS = triclinic().get_chemical_symbols()


def results() -> dict[str, Any]:
    return {"Z_avv": CHARGES, "sym_a": SYMBOLS}


def structure_file(atoms: ase.Atoms) -> str:
    text = io.StringIO()
    ase.io.write(text, atoms, format="json")
    return text.getvalue()


def read(*files: tuple[str, str]) -> list[Any]:
    found = [run_file(name, text) for name, text in files]
    assert all(gpaw.recognizes(file) for file in found)
    return list(gpaw.read(found))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("born_charges.json", encode(results())),
        ("borncharges-0.01.json", json.dumps({"Z_avv": CHARGES.tolist(), "sym_a": SYMBOLS})),
        ("results-asr.borncharges.json", encode({"object_id": "asr.borncharges", "kwargs": {"data": results()}})),
    ],
)
def test_the_first_index_is_the_polarization(name: str, text: str) -> None:
    found = only(read((name, text), ("structure.json", structure_file(triclinic()))))
    np.testing.assert_allclose(found.targets["born_charges"], CHARGES)
    np.testing.assert_allclose(found.atoms.positions, triclinic().positions)
    assert found.provenance.code == "GPAW"


def test_only_the_module_of_gpaw_divides_the_sum_among_the_atoms() -> None:
    beside = ("structure.json", structure_file(triclinic()))
    assert only(read(("born_charges.json", encode(results())), beside)).provenance.conversions
    assert not only(read(("results-asr.borncharges.json", encode(results())), beside)).provenance.conversions


@pytest.mark.parametrize(
    ("files", "word"),
    [
        ([("born_charges.json", encode(results()))], "put it beside as structure.json"),
        ([("a.json", encode(results())), ("structure.json", structure_file(triclinic()[::-1]))], "other atoms"),
        ([("a.json", encode({"Z_avv": CHARGES[:4], "sym_a": SYMBOLS}))], "of the atoms that it lists"),
        ([("a.json", encode(results())[:-9])], "cannot be read"),
    ],
)
def test_what_is_missing_is_named(files: list[tuple[str, str]], word: str) -> None:
    (failure,) = read(*files)
    assert isinstance(failure, Failure)
    assert word in failure.problem


def test_a_structure_alone_is_no_calculation() -> None:
    assert read(("structure.json", structure_file(triclinic()))) == []
