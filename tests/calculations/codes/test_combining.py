"""Several files of one run become one calculation, and files of several runs do not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from tests.calculations.codes.tensors import symmetric
from tests.calculations.runs import run_file, triclinic

from voigt.calculations.calculation import Calculation, Provenance
from voigt.calculations.codes.combining import combined
from voigt.notes import Failure

EPS = symmetric(1, 3, 12.0)
FILES = [run_file("a", ""), run_file("b", "")]


def calculation(name: str, targets: dict[str, Any], **settings: Any) -> Calculation:
    return Calculation(triclinic(), targets, Provenance((name,), "CODE", **settings))


def put_together(*outcomes: Calculation | Failure) -> list[Calculation | Failure]:
    return list(combined(outcomes, FILES, "holds nothing; do something"))


def test_the_second_adds_what_the_first_lacks() -> None:
    first = calculation("a", {"eps_inf": EPS}, functional="PBE", conversions=("eps_inf: turned",))
    second = calculation(
        "b", {"eps_inf": EPS + 1e-4, "elastic": np.ones((3,) * 4)}, conversions=("elastic: scaled", "eps_inf: cut")
    )
    (found,) = put_together(first, second)
    assert isinstance(found, Calculation)
    np.testing.assert_array_equal(found.targets["eps_inf"], EPS)
    assert found.provenance.files == ("a", "b")
    assert found.provenance.conversions == ("eps_inf: turned", "elastic: scaled")


@pytest.mark.parametrize(
    "change",
    [{"functional": "LDA"}, {"kpoints": (2, 2, 2)}, {"cutoff": 400.0}],
)
def test_other_settings_are_another_run(change: dict[str, Any]) -> None:
    settings = {"functional": "PBE", "kpoints": (4, 4, 4), "cutoff": 600.0}
    first = calculation("a", {"eps_inf": EPS}, **settings)
    assert len(put_together(first, calculation("b", {"elastic": np.ones((3,) * 4)}, **{**settings, **change}))) == 2


def test_another_crystal_or_another_tensor_is_another_run() -> None:
    first = calculation("a", {"eps_inf": EPS})
    assert len(put_together(first, replace(first, atoms=triclinic(3)))) == 2
    assert len(put_together(first, calculation("b", {"eps_inf": 1.1 * EPS}))) == 2


def test_places_may_differ_by_lattice_vectors_and_by_rounding() -> None:
    moved = triclinic()
    moved.positions += moved.cell.array[0] + 1e-4
    first = calculation("a", {"eps_inf": EPS})
    assert len(put_together(first, replace(first, atoms=moved))) == 1


def test_a_calculation_without_tensors_lends_its_words_and_its_crystal() -> None:
    moved = triclinic()
    moved.positions += 1e-4
    words = replace(calculation("a", {}, functional="PBE"), atoms=moved)
    (found,) = put_together(words, calculation("b", {"eps_inf": EPS}))
    assert isinstance(found, Calculation)
    assert (found.provenance.functional, found.provenance.files) == ("PBE", ("a", "b"))
    np.testing.assert_array_equal(found.atoms.positions, moved.positions)


def test_a_failure_is_kept_beside_what_was_read() -> None:
    failure = Failure("b", 0, "", "unreadable", "broken; mend it")
    found = put_together(failure, calculation("a", {"eps_inf": EPS}))
    assert [isinstance(outcome, Failure) for outcome in found] == [False, True]


def test_a_folder_without_tensors_is_one_failure() -> None:
    (failure,) = put_together(calculation("a", {}))
    assert isinstance(failure, Failure)
    assert (failure.source, failure.problem) == ("run/a", "holds nothing; do something")
    assert list(combined([], [], "nothing")) == []
