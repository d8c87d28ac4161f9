"""A piece of work: the same numbers as voigt.predict, each thing made once, and every crystal answered for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import ase
import numpy as np
import pytest
import torch
from tests import crystals
from tests.screening.screenings import collection, salts, same_values, unlike, unseen

import voigt
from voigt.models.equivar.model import Equivar
from voigt.notes import Failure
from voigt.prediction import pipeline
from voigt.prediction.result import Prediction, Settings
from voigt.screening import compute as room
from voigt.screening.compute import compute, pieces
from voigt.screening.job import Job
from voigt.screening.store.rows import Outcome
from voigt.structures import Input

MANY = ("born_charges", "eps_inf", "eps_ionic", "eps_total", "piezo_total", "elastic")


def structures(inputs: list[Any]) -> list[Input]:
    return list(collection(inputs).structures())


def flat(name: str, tensor: np.ndarray) -> np.ndarray:
    """Rank 3 and 4 as Voigt matrices, order xx yy zz yz zx xy."""
    pairs = [(0, 0), (1, 1), (2, 2), (1, 2), (2, 0), (0, 1)]
    if name == "piezo_total":
        return np.array([[tensor[i, j, k] for j, k in pairs] for i in range(3)]).ravel()
    if name == "elastic":
        return np.array([[tensor[*first, *second] for second in pairs] for first in pairs]).ravel()
    return np.asarray(tensor).ravel()


def test_rows_are_the_predictions_of_voigt_predict(shipped: Path) -> None:
    """Several models; one does not know zinc, whose crystal gets the properties of the others."""
    inputs = unlike()
    outcome = compute(structures(inputs), Job(MANY))
    assert outcome.failures.num_rows == 0
    assert outcome.results["id"].to_pylist() == [atoms.info["id"] for atoms in inputs]
    expected: list[Prediction] = voigt.predict(inputs, settings=Settings(properties=MANY))
    for row, prediction, atoms in zip(outcome.results.to_pylist(), expected, inputs, strict=True):
        for name in MANY:
            if name not in prediction.values:
                assert (row["id"], name, row[name], row[f"{name}_model"]) == ("zincite", "elastic", None, None)
                continue
            np.testing.assert_allclose(row[name], flat(name, prediction.values[name]), rtol=1e-6, atol=1e-6)
            assert row[f"{name}_model"] == prediction.models[name]
            assert row[f"{name}_functional"] == prediction.functionals[name]
            assert row[f"{name}_residual"] == pytest.approx(prediction.residual[name], abs=1e-6)
        assert row["drift"] == pytest.approx(np.linalg.norm(prediction.drift), abs=1e-6)
        assert row["spacegroup"] == prediction.symmetry.number
        assert row["warnings"] == list(prediction.warnings)
        kinds = [(note.kind, list(note.properties), list(note.elements)) for note in prediction.notes]
        assert [(note["kind"], note["properties"], note["elements"]) for note in row["notes"]] == kinds
        assert row["unseen"] == (["Zn"] if row["id"] == "zincite" else [])
        again = ase.Atoms(row["numbers"], cell=np.reshape(row["cell"], (3, 3)), pbc=True)
        again.set_scaled_positions(np.reshape(row["frac"], (-1, 3)))
        np.testing.assert_allclose(again.positions, atoms.positions, atol=1e-12)
        assert row["volume"] == pytest.approx(again.get_volume())


def test_a_model_that_ships() -> None:
    inputs = [*unlike(), *salts(15)]
    outcome = compute(structures(inputs), Job(("band_gap",)))
    expected = [float(p.values["band_gap"]) for p in voigt.predict(inputs, settings=Settings(properties=("band_gap",)))]
    assert len(set(expected)) > 10
    np.testing.assert_allclose(outcome.results["band_gap"].to_numpy(), expected, rtol=1e-6, atol=1e-6)


def test_an_ensemble_has_a_spread(tiny: Job) -> None:
    (row,) = compute(structures([crystals.quartz()]), tiny).results.to_pylist()
    (prediction,) = voigt.predict(crystals.quartz(), tiny.model)
    assert row["eps_inf_spread"] == pytest.approx(np.linalg.norm(prediction.spread["eps_inf"]), rel=1e-6)


def counting(monkeypatch: pytest.MonkeyPatch, name: str) -> list[str]:
    """Formulas with which a function of the prediction is called."""
    calls: list[str] = []
    real: Callable[..., Any] = getattr(pipeline, name)

    def counted(atoms: ase.Atoms, *arguments: Any) -> Any:
        calls.append(str(atoms.symbols))
        return real(atoms, *arguments)

    monkeypatch.setattr(f"voigt.prediction.pipeline.{name}", counted)
    return calls


@pytest.mark.parametrize("prefilter", [None, "eps_inf > -1000"])
def test_models_share_one_search_for_symmetry_and_one_graph(
    shipped: Path, monkeypatch: pytest.MonkeyPatch, prefilter: str | None
) -> None:
    searches, graphs = counting(monkeypatch, "find_symmetry"), counting(monkeypatch, "build_graph")
    inputs = unlike()
    outcome = compute(structures(inputs), Job(MANY, prefilter=prefilter))
    assert len(outcome.results["elastic"].drop_null()) == 4
    assert sorted(searches) == sorted(graphs) == sorted(str(atoms.symbols) for atoms in inputs)


def test_a_prefilter_saves_the_second_stage_and_changes_nothing_else(
    shipped: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs = [*unlike(), *salts(4)]
    everything = compute(structures(inputs), Job(("elastic", "eps_total", "eps_inf"))).results
    traces = np.array([np.trace(np.reshape(value, (3, 3))) / 3 for value in everything["eps_inf"].to_pylist()])
    border = float(np.median(traces))
    passed = traces > border
    assert 0 < passed.sum() < len(inputs)
    seen: list[int] = []
    real = room.finish_share

    def counted(prepared: list[Any], *arguments: Any) -> Any:
        seen.append(len(prepared))
        return real(prepared, *arguments)

    monkeypatch.setattr(room, "finish_share", counted)
    job = Job(("elastic", "eps_total", "eps_inf"), prefilter=f"eps_inf > {border!r}")
    filtered = compute(structures(inputs), job).results
    assert seen == [len(inputs), int(passed.sum())]
    assert filtered["prefilter"].to_pylist() == passed.tolist()
    assert set(everything["prefilter"].to_pylist()) == {None}
    without = [name for name in everything.column_names if name != "prefilter"]
    mask = [bool(value) for value in passed]
    same_values(filtered.filter(mask).select(without), everything.filter(mask).select(without))
    rest = filtered.filter([not value for value in mask])
    assert rest["elastic"].null_count == rest["elastic_model"].null_count == rest.num_rows
    same_values(rest.select(["id", "eps_inf", "eps_total"]),
                everything.filter([not value for value in mask]).select(["id", "eps_inf", "eps_total"]))


def test_a_prefilter_leaves_out_what_fails(shipped: Path) -> None:
    job = Job(("eps_inf", "elastic"), prefilter="bulk_modulus > -1e9")
    outcome = compute(structures([*unlike(), "broken"]), job)
    assert outcome.results.num_rows == 4
    assert outcome.failures["id"].to_pylist() == ["zincite", "input:5"]
    assert outcome.failures["kind"].to_pylist() == ["unseen_elements", "unreadable"]
    assert outcome.failures["elements"].to_pylist() == [["Zn"], []]


def test_pieces_are_cut_by_crystals_and_by_atoms(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "CRYSTALS", 128)
    many = structures([*salts(room.CRYSTALS), *salts(3, start=room.CRYSTALS)])
    assert [len(piece) for piece in pieces(many)] == [room.CRYSTALS, 3]
    large = crystals.rocksalt(cubic=True).repeat(9)
    assert len(large) == 5832
    mixed = structures([*salts(2), large, *salts(90, start=2), large.repeat((2, 1, 1)), "broken", *salts(2, start=92)])
    cut = list(pieces(mixed))
    assert [entry.id for piece in cut for entry in piece] == [entry.id for entry in mixed]
    sizes = [sum(0 if isinstance(entry, Failure) else len(entry.atoms) for entry in piece) for piece in cut]
    assert max(sizes) == 11664  # a crystal that is too large by itself has no company but what needs no memory
    assert sorted(sizes)[-2] <= room.ATOMS
    assert list(pieces(iter(()))) == []


class Hungry:
    """A network that runs out of memory when a batch has more than so many crystals."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, most: int, error: Exception) -> None:
        self.sizes: list[int] = []
        real = Equivar.forward_members

        def hungry(network: Equivar, batch: Any) -> Any:
            size = len(batch.num_atoms)
            self.sizes.append(size)
            if size > most:
                raise error
            return real(network, batch)

        monkeypatch.setattr(Equivar, "forward_members", hungry)


ALLOCATOR = "[enforce fail at alloc_cpu.cpp:115] . DefaultCPUAllocator: can't allocate memory: you tried to allocate"


@pytest.mark.parametrize(
    "error",
    [torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"), RuntimeError(ALLOCATOR), MemoryError()],
)
def test_a_batch_that_does_not_fit_is_halved(tiny: Job, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    inputs = salts(10)
    expected = compute(structures(inputs), tiny).results
    hungry = Hungry(monkeypatch, 2, error)
    found = compute(structures(inputs), tiny)
    assert found.failures.num_rows == 0
    same_values(found.results, expected)
    assert hungry.sizes[0] == 10
    assert {size for size in hungry.sizes if size > 2} == {10, 5, 3}


def test_a_crystal_that_does_not_fit_alone_is_a_failure(tiny: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Equivar.forward_members

    def hungry(network: Equivar, batch: Any) -> Any:
        if batch.num_atoms.max() > 9:
            raise RuntimeError(ALLOCATOR)
        return real(network, batch)

    monkeypatch.setattr(Equivar, "forward_members", hungry)
    outcome = compute(structures(unlike()), tiny)
    assert outcome.results["id"].to_pylist() == ["quartz", "salt", "zincite", "rutile"]
    (row,) = outcome.failures.to_pylist()
    assert row["reason"].startswith("memory, frame 3 (id corundum): not enough memory for its 30 atoms and ")
    assert row["reason"].endswith("use a machine with more, or a smaller cell")
    assert row["kind"] == "memory"
    assert row["readable"]


def test_another_error_of_the_network_is_not_taken_for_lack_of_memory(
    tiny: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A device that has broken down would make failures of all crystals."""
    Hungry(monkeypatch, 0, RuntimeError("CUDA error: an illegal memory access was encountered"))
    with pytest.raises(RuntimeError, match="illegal memory access"):
        compute(structures(salts(3)), tiny)


def test_values_that_are_not_finite_are_a_failure(tiny: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Equivar.forward_members

    def nonfinite(network: Equivar, batch: Any) -> Any:
        ((raw, neutral),) = real(network, batch)
        raw = {name: value.clone() for name, value in raw.items()}
        raw["eps_inf"][1, 0, 0] = torch.nan
        raw["eps_inf"][3, 2, 1] = torch.inf
        return [(raw, neutral)]

    monkeypatch.setattr(Equivar, "forward_members", nonfinite)
    outcome = compute(structures(salts(5)), tiny)
    assert outcome.results["id"].to_pylist() == ["salt-000", "salt-002", "salt-004"]
    assert outcome.failures["id"].to_pylist() == ["salt-001", "salt-003"]
    assert "model 'tiny' gives eps_inf that is not finite" in outcome.failures["reason"][0].as_py()
    assert set(outcome.failures["kind"].to_pylist()) == {"not_finite"}


def test_of_several_models_the_others_answer(shipped: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Equivar.forward_members

    def nonfinite(network: Equivar, batch: Any) -> Any:
        ((raw, neutral),) = real(network, batch)
        return [({name: value * (torch.nan if name == "elastic" else 1.0) for name, value in raw.items()}, neutral)]

    monkeypatch.setattr(Equivar, "forward_members", nonfinite)
    outcome = compute(structures(salts(2)), Job(("eps_inf", "elastic")))
    assert outcome.failures.num_rows == 0
    for row in outcome.results.to_pylist():
        assert row["elastic"] is None
        assert len(row["eps_inf"]) == 9
        assert any(text.startswith("elastic not predicted: ") and "not finite" in text for text in row["warnings"])
        assert ("not_finite", ["elastic"]) in [(note["kind"], note["properties"]) for note in row["notes"]]


@pytest.mark.parametrize("where", ["find_symmetry", "build_graph"])
def test_one_odd_crystal_that_raises_in_a_library_is_a_failure(
    tiny: Job, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    real = getattr(pipeline, where)

    def failing(atoms: ase.Atoms, *arguments: Any) -> Any:
        if atoms.info["id"] == "salt-004":
            raise np.linalg.LinAlgError("Singular\nmatrix")
        return real(atoms, *arguments)

    monkeypatch.setattr(f"voigt.prediction.pipeline.{where}", failing)
    outcome = compute(structures(salts(7)), tiny)
    assert outcome.results["id"].to_pylist() == [f"salt-{k:03d}" for k in (0, 1, 2, 3, 5, 6)]
    (row,) = outcome.failures.to_pylist()
    assert row["reason"].startswith("memory, frame 4 (id salt-004): unexpected LinAlgError: Singular matrix; ")
    assert row["kind"] == "crashed"
    assert outcome.seconds.keys() == {"graphs", "networks", "rows"}


def garbage() -> Iterator[ase.Atoms | str]:
    """What large collections hold."""
    flat_cell, crowded, nowhere = crystals.rocksalt(), crystals.rocksalt(), crystals.rocksalt()
    flat_cell.set_cell(np.zeros((3, 3)))
    crowded.positions[1] = crowded.positions[0]
    nowhere.positions[0] = np.nan
    huge = crystals.rocksalt()
    huge.set_cell(huge.cell * 1e6, scale_atoms=True)
    for k, atoms in enumerate((flat_cell, crowded, nowhere, huge)):
        atoms.info["id"] = f"garbage-{k}"
        yield atoms
    yield unseen("garbage-4")
    yield "not a structure at all"
    yield salts(1)[0]  # an id for the second time


def test_garbage_is_answered_for_one_by_one(tiny: Job) -> None:
    inputs = [*salts(20), *garbage(), *salts(20, start=20)]
    outcome = compute(structures(inputs), tiny)
    assert outcome.results.num_rows + outcome.failures.num_rows == len(inputs)
    assert set(outcome.results["id"].to_pylist()) - {"garbage-3"} == {f"salt-{k:03d}" for k in range(40)}
    reasons = dict(zip(outcome.failures["id"].to_pylist(), outcome.failures["reason"].to_pylist(), strict=True))
    assert {"garbage-0", "garbage-1", "garbage-2", "garbage-4", "input:25", "salt-000"} <= set(reasons)
    assert "duplicate id 'salt-000'" in reasons["salt-000"]
    kinds = dict(zip(outcome.failures["id"].to_pylist(), outcome.failures["kind"].to_pylist(), strict=True))
    assert kinds["salt-000"] == "duplicate_id"
    assert kinds["garbage-4"] == "unseen_elements"
    assert {kinds[name] for name in ("garbage-0", "garbage-1", "garbage-2", "input:25")} == {"unreadable"}
    assert all(reason.startswith("memory, frame ") for reason in reasons.values())


def test_nothing_asked_nothing_answered(tiny: Job) -> None:
    outcome: Outcome = compute([], tiny)
    assert (outcome.results.num_rows, outcome.failures.num_rows) == (0, 0)
    only_garbage = compute(structures(["a", "b"]), tiny)
    assert (only_garbage.results.num_rows, only_garbage.failures.num_rows) == (0, 2)
    assert compute(structures(["a"]), replace(tiny, prefilter="eps_inf > 0")).failures.num_rows == 1
