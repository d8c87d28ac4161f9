"""Many crystals by several processes: the same predictions in the same order, whatever happens to a process."""

from __future__ import annotations

import os
import pickle
import signal
from collections.abc import Iterator

import ase
import numpy as np
import pytest
from tests import crystals
from tests.predictions import save_tiny_model

from voigt.notes import Failure
from voigt.prediction import pipeline, workers
from voigt.prediction.pipeline import Crystal
from voigt.prediction.plan import Plan, choose_models
from voigt.prediction.result import Prediction, Settings
from voigt.prediction.stream import _graphs_made, _predict_chunk, predict_planned
from voigt.structures import Input, read

MAKERS = (crystals.rocksalt, crystals.rutile, crystals.perovskite, crystals.quartz)


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    path = save_tiny_model(tmp_path_factory.mktemp("models") / "tiny.safetensors")
    return choose_models(path, Settings(allow_unseen=True, check_domain=False, device="cpu"))


def structures(count: int) -> list[Input]:
    """Crystals that differ from each other, one of them with an atom on top of another."""
    made = []
    for k in range(count):
        atoms = MAKERS[k % len(MAKERS)]()
        atoms.set_cell(atoms.cell * (1 + 1e-3 * k), scale_atoms=True)
        made.append(atoms)
    doubled = ase.Atoms("MgO", positions=[[0, 0, 0], [0, 0, 1e-4]], cell=4 * np.eye(3), pbc=True)
    made[5] = doubled
    return list(read(made))


def assert_same(found: list[Prediction | Failure], expected: list[Prediction | Failure], given: list[Input]) -> None:
    assert len(found) == len(expected) == len(given)
    for one, other, entry in zip(found, expected, given, strict=True):
        assert type(one) is type(other)
        assert one.id == other.id == entry.id
        if isinstance(one, Prediction) and isinstance(other, Prediction):
            assert one.atoms is other.atoms  # the object that was given, not a copy
            assert one.notes == other.notes
            for name, value in other.values.items():
                np.testing.assert_allclose(one.values[name], value, rtol=0, atol=2e-5 * np.abs(value).max())


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes for a handful of crystals."""
    monkeypatch.setattr(workers, "PIECE", 4)
    monkeypatch.setattr("voigt.prediction.stream.FEWEST", 8)


linux = pytest.mark.skipif(workers.processors(2) == 1, reason="other processes are used on Linux only")


@linux
@pytest.mark.usefixtures("few")
def test_two_processes_predict_what_one_does(plan: Plan) -> None:
    given = structures(21)
    assert any(isinstance(entry, Failure) for entry in predict_planned(given, plan))
    assert_same(list(predict_planned(given, plan, workers=2)), list(predict_planned(given, plan)), given)


@linux
@pytest.mark.usefixtures("few")
def test_a_process_that_dies_costs_no_crystal(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    given, main = structures(21), os.getpid()
    expected = list(predict_planned(given, plan))
    real = pipeline.find_symmetry

    def deadly(atoms: ase.Atoms, symprec: float) -> object:
        if len(atoms) == 6 and os.getpid() != main:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(atoms, symprec)

    monkeypatch.setattr(pipeline, "find_symmetry", deadly)
    assert_same(list(predict_planned(given, plan, workers=2)), expected, given)


@linux
@pytest.mark.usefixtures("few")
def test_an_error_in_a_process_is_raised_here(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    def faulty(*_: object) -> object:
        raise ZeroDivisionError("a fault of a library")

    monkeypatch.setattr(pipeline, "find_symmetry", faulty)
    with pytest.raises(ZeroDivisionError, match="a fault of a library"):
        list(predict_planned(structures(12), plan, workers=2))


@linux
@pytest.mark.usefixtures("few")
def test_the_stream_is_read_only_as_far_as_needed(plan: Plan) -> None:
    taken = []

    def stream() -> Iterator[Input]:
        for entry in structures(120):
            taken.append(entry)
            yield entry

    results = predict_planned(stream(), plan, workers=2)
    next(results)
    assert len(taken) <= 8 + 4 * (workers.AHEAD * 2 + 1)
    results.close()  # type: ignore[attr-defined]


def test_few_crystals_start_no_process(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a process was started")

    monkeypatch.setattr("voigt.prediction.stream.in_order", refuse)
    assert len(list(predict_planned(structures(9), plan, workers=4))) == 9


def test_prepared_crystals_travel_to_another_process(plan: Plan) -> None:
    """For a device symmetry and graphs are made elsewhere; nothing is left to find here."""
    given = structures(8)
    there = pickle.loads(pickle.dumps(_graphs_made(plan, given)))
    expected = list(predict_planned(given, plan))
    for crystal, entry in zip(there, given, strict=True):
        if crystal is not None and isinstance(crystal, Crystal) and crystal._symmetry is not None:
            assert crystal._graphs
        assert (crystal is None) == isinstance(entry, Failure)
    answers = _predict_chunk(given, there, plan)
    for one, other in zip(answers, expected, strict=True):
        assert type(one) is type(other)
        if isinstance(one, Prediction) and isinstance(other, Prediction):
            for name, value in other.values.items():
                np.testing.assert_array_equal(one.values[name], value)


def test_zero_workers_are_one_for_each_processor() -> None:
    assert workers.processors(0) == (len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1)
