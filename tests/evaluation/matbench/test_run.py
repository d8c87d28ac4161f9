"""MatBench folds: the official crystals, the right prediction beside each, rivals on the same ones, honest files."""

from __future__ import annotations

import csv
import gzip
import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests import matbench_tables as tables
from tests.matbench_tables import FORMATION, GAP, SYSTEMS, crystal, entries, rival_rows, structure, write_table

from voigt.api import load_model, predict
from voigt.errors import DomainError, InputError, OutputError, TargetError
from voigt.evaluation.matbench.export import benchmark, check_export, export
from voigt.evaluation.matbench.report import markdown, metrics, write_report
from voigt.evaluation.matbench.rivals import read_rivals, trivial
from voigt.evaluation.matbench.run import MatbenchEvaluation, evaluate_matbench
from voigt.evaluation.matbench.scores import Candidate, score
from voigt.evaluation.matbench.tasks import Task, TaskRows, first_by_hash, official_size, read_task, structures
from voigt.models.checkpoint import LoadedModel
from voigt.notes import MEANING
from voigt.structures import InputStructure

FOLD_OF = [0, 1, 0, 2, 0, 1, 0, 0, 1, 0, 1, 0, 4, 1, 0]
OFFSET = 0.25


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    return load_model(tables.save_fold_model(tmp_path_factory.mktemp("models") / "mine.safetensors"))


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    return load_model(tables.save_fold_model(tmp_path_factory.mktemp("models") / "second.safetensors", fold=1, seed=1))


@pytest.fixture(scope="module")
def own(model: LoadedModel) -> list[float]:
    """What the model says of each crystal, by the way of a notebook."""
    return [float(entry.values["band_gap"]) for entry in predict([crystal(i) for i in range(len(FOLD_OF))], model)]


@pytest.fixture
def rows(own: list[float]) -> list[dict[str, Any]]:
    """Labels are the model's predictions plus 0.25 eV, so that only the right pairing gives that MAE."""
    return entries(FOLD_OF, [value + OFFSET for value in own])


@pytest.fixture
def data(rows: list[dict[str, Any]], tmp_path: Path) -> Path:
    return write_table(tmp_path / "scalars.parquet", rows)


def row_of(found: MatbenchEvaluation, name: str) -> Any:
    return next(row for row in found.table if row.name == name)


@pytest.mark.parametrize("task", [GAP, FORMATION], ids=lambda task: task.name)
def test_folds_are_those_of_scikit_learn(task: Task) -> None:
    """MatBench: KFold(5, shuffle=True, random_state=18012019); identities count from one, with six digits."""
    selection = pytest.importorskip("sklearn.model_selection")
    parts = selection.KFold(5, shuffle=True, random_state=18012019).split(np.arange(task.crystals))
    for fold, (_, test) in enumerate(parts):
        assert task.fold_ids(fold) == [f"{task.prefix}-{index + 1:06d}" for index in test]
        assert official_size(task, [fold]) == len(test)
    assert official_size(task, range(5)) == task.crystals


@pytest.mark.parametrize(("task", "count"), [(GAP, 81_227), (FORMATION, 99_573)], ids=lambda value: str(value)[:12])
def test_real_table(task: Task, count: int, dft_data: Callable[[str], Path]) -> None:
    """Every row stands in its official fold (reading refuses it otherwise); counts are those of the data's page.

    The rivals' errors are those printed there as well, and the dummy is the mean of the training folds, from all of
    MatBench instead of our subset.
    """
    found = read_task(dft_data("scalars/mp_scalars.parquet"), task)
    assert len(found.row) == count
    rivals = read_rivals(dft_data("scalars/rivals.parquet"), task, found)
    assert rivals.other_fold == 0
    np.testing.assert_array_equal(rivals.target, found.label)
    errors = {entry.name: np.nanmean(abs(entry.predicted - found.label)) for entry in rivals.candidates}
    printed = _printed_errors(dft_data("README.md"))[task.rival_task]
    assert errors == pytest.approx(printed, abs=6e-5)
    mean, median = trivial(found, found.fold)
    assert abs(mean.predicted - found.label).mean() == pytest.approx(errors["dummy"], rel=0.01)
    assert abs(median.predicted - found.label).mean() < abs(mean.predicted - found.label).mean()


def _printed_errors(page: Path) -> dict[str, dict[str, float]]:
    """The table of rivals in the page on the data."""
    lines = iter(page.read_text(encoding="utf-8").splitlines())
    header = next(line for line in lines if line.startswith("| model | mp_gap"))
    names = [cell.split()[0] for cell in header.strip("| ").split("|")[1:]]
    found: dict[str, dict[str, float]] = {name: {} for name in names}
    for line in lines:
        if not line.startswith("|"):
            return found
        model, *cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        for name, cell in zip(names, cells, strict=True):
            if cell and not cell.startswith("--"):
                found[name][model] = float(cell)
    return found


def test_predictions_meet_their_labels(model: LoadedModel, data: Path, own: list[float]) -> None:
    found = evaluate_matbench([model], data)
    mine = [i for i, fold in enumerate(FOLD_OF) if fold == 0]
    assert found.rows.mp_id.tolist() == [f"mp-{i}" for i in mine]
    np.testing.assert_allclose(found.predicted, np.array(own)[mine], atol=1e-6)
    assert found.system.tolist() == [SYSTEMS[i % 3] for i in mine]
    assert row_of(found, "mine").mae.value == pytest.approx(OFFSET, abs=1e-6)
    assert found.models == {0: "mine"}
    assert f"Subset of MatBench (8 of {21_223:,} crystals of fold 0), re-relaxed structures" in markdown(found)


@pytest.mark.parametrize("size", [1, 3, 4, 100])
def test_structures_are_those_of_their_rows(data: Path, size: int) -> None:
    """However the file is cut into batches: every lattice constant is another one."""
    everything = read_task(data, GAP)
    for fold in (0, 1, 4):
        chosen = everything.take(everything.fold == fold)
        found = list(structures(chosen, size))
        assert [entry.id for entry in found] == chosen.mbid.tolist()
        for entry, name in zip(found, chosen.mp_id, strict=True):
            expected = crystal(int(name.removeprefix("mp-")))
            assert isinstance(entry, InputStructure)
            assert entry.atoms.numbers.tolist() == expected.numbers.tolist()
            np.testing.assert_allclose(entry.atoms.cell.array, expected.cell.array, atol=1e-6)
            np.testing.assert_allclose(entry.atoms.positions, expected.positions, atol=1e-5)


def test_trivial_rows_know_only_the_other_folds(model: LoadedModel, data: Path, own: list[float]) -> None:
    found = evaluate_matbench([model], data)
    label = np.array(own) + OFFSET
    test = np.array(FOLD_OF) == 0
    for name, average in (("mean", np.mean), ("median", np.median)):
        expected = abs(average(label[~test]) - label[test]).mean()
        assert row_of(found, f"{name} of training folds").mae.value == pytest.approx(expected, abs=1e-6)
    assert [row.kind for row in evaluate_matbench([model], data, baseline=False).table] == ["model"]


def test_five_folds_in_the_convention_of_matbench(model: LoadedModel, other: LoadedModel, data: Path) -> None:
    """Mean and standard deviation over folds, not over crystals."""
    found = evaluate_matbench([model, other], data)
    assert found.models == evaluate_matbench([other, model], data).models
    assert found.models == {0: "mine", 1: "second"}
    first, second = evaluate_matbench([model], data), evaluate_matbench([other], data)
    maes = [row_of(first, "mine").mae.value, row_of(second, "second").mae.value]
    mine = row_of(found, "mine")
    assert mine.folds == pytest.approx(dict(enumerate(maes)), abs=1e-6)
    assert mine.mean_of_folds == pytest.approx(sum(maes) / 2, abs=1e-6)
    assert mine.std_of_folds == pytest.approx(abs(maes[0] - maes[1]) / 2, abs=1e-6)
    assert mine.mae.value == pytest.approx((8 * maes[0] + 5 * maes[1]) / 13, abs=1e-6)
    assert "### By fold" in markdown(found)
    assert "### By fold" not in markdown(first)


def test_scores_against_scikit_learn() -> None:
    sk = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(5)
    label = np.where(rng.random(60) < 0.4, 0.0, rng.uniform(0.1, 6, 60))
    mine, rival = (label + rng.normal(0, 0.3, 60) * (rng.random(60) < 0.7) for _ in range(2))
    mine[label == 0] = rng.choice([0.0, 0.009, 0.011, -0.1], (label == 0).sum())
    rival[::7] = np.nan
    fold = rng.integers(0, 2, 60)
    system = rng.choice(["cubic", "trigonal"], 60)
    candidates = [Candidate("mine", "model", mine), Candidate("rival", "rival", rival)]
    table = {row.name: row for row in score(candidates, label, fold, system, metals=True)}
    for name, predicted in (("mine", mine), ("rival", rival)):
        known = np.isfinite(predicted)
        true, said, row = label[known], predicted[known], table[name]
        assert row.crystals == known.sum()
        assert row.mae.value == pytest.approx(sk.mean_absolute_error(true, said))
        assert row.rmse.value == pytest.approx(sk.root_mean_squared_error(true, said))
        assert row.mae.low < row.mae.value < row.mae.high
        metal = true == 0
        assert row.metals.mae_metals.value == pytest.approx(sk.mean_absolute_error(true[metal], said[metal]))
        assert row.metals.mae_gapped.value == pytest.approx(sk.mean_absolute_error(true[~metal], said[~metal]))
        for key in ("precision", "recall", "accuracy", "balanced_accuracy"):
            expected = getattr(sk, f"{key}_score")(metal, said < 0.01)
            assert getattr(row.metals, key) == pytest.approx(expected), key
        for key, value in row.systems.items():
            chosen = known & (system == key)
            assert value == pytest.approx(sk.mean_absolute_error(label[chosen], predicted[chosen]))
    both = np.isfinite(rival)
    expected = (abs(mine - label) - abs(rival - label))[both].mean()
    assert table["rival"].difference.value == pytest.approx(expected)
    assert table["mine"].difference is None
    assert [row.name for row in score(candidates[::-1], label, fold, system, False)] == sorted(
        table, key=lambda name: table[name].mae.value
    )


def test_paired_differences_are_sharper_than_intervals() -> None:
    """Two models that err together: their intervals overlap, the paired difference is plain all the same.

    A difference that is the same for every crystal has an interval of no width; equal models differ by zero.
    """
    label = np.zeros(50)
    error = np.linspace(0.1, 5, 50)
    candidates = [
        Candidate("mine", "model", error),
        Candidate("same", "rival", error.copy()),
        Candidate("slightly worse", "rival", error + 0.01),
        Candidate("slightly better", "rival", error - 0.01),
    ]
    group = np.array(["cubic"] * 50)
    table = {row.name: row for row in score(candidates, label, np.zeros(50, dtype=np.int64), group, metals=False)}
    assert table["slightly worse"].mae.low < table["mine"].mae.high
    found = {name: row.difference for name, row in table.items() if row.difference}
    assert (found["same"].low, found["same"].high) == (0, 0)
    for name, sign in (("slightly worse", -1), ("slightly better", 1)):
        assert (found[name].low, found[name].high) == pytest.approx((sign * 0.01, sign * 0.01))
    assert table["mine"].metals is None


def test_rivals_are_scored_on_the_same_crystals(
    model: LoadedModel, rows: list[dict[str, Any]], data: Path, tmp_path: Path
) -> None:
    """Rival rows: reversed, with nulls, one crystal unknown, one in another fold, a model without any result."""
    label = np.array([row["band_gap"] for row in rows])
    near = [float(value) + 0.1 for value in label]
    partial = [None if i in (0, 2) else float(value) - 0.5 for i, value in enumerate(label)]
    stored = rival_rows(rows, near=near, partial=partial, absent=[None] * (len(rows) - 1) + [np.nan])
    by_id = {row["mp_id"]: row for row in stored}
    stored.remove(by_id["mp-4"])
    by_id["mp-6"]["fold"] = 3
    stored.append(by_id["mp-9"] | {"task": "mp_e_form", "near": 99.0})
    found = evaluate_matbench([model], data, write_table(tmp_path / "rivals.parquet", stored))
    kept = found.rows.mp_id[found.compared].tolist()
    assert kept == ["mp-0", "mp-2", "mp-7", "mp-9", "mp-11", "mp-14"]
    assert len(found.predicted) == 8
    assert [row.name for row in found.table if row.kind != "trivial"] == ["near", "mine", "partial"]
    assert row_of(found, "near").mae.value == pytest.approx(0.1, abs=1e-6)
    assert row_of(found, "near").difference.value == pytest.approx(OFFSET - 0.1, abs=1e-6)
    assert (row_of(found, "partial").crystals, row_of(found, "near").crystals) == (4, 6)
    page = markdown(found)
    assert "(6 of 21,223 crystals of fold 0)" in page
    assert "2 predicted crystals are unknown to the rivals" in page
    assert "1 crystals stand in another fold in rivals.parquet" in page
    assert "the rivals' targets are the labels of the table" in page
    assert "| **mine** (this model) |" in page


def _last_cells(page: str) -> dict[str, str]:
    """Name of each row of the tables -> its last cell."""
    rows = [line.strip("| ").split(" | ") for line in page.splitlines() if line.startswith("| ")]
    return {row[0].strip(): row[-1].strip() for row in rows}


def test_the_verdict_follows_the_interval(
    model: LoadedModel, rows: list[dict[str, Any]], data: Path, tmp_path: Path
) -> None:
    label = [float(row["band_gap"]) for row in rows]
    mixed = [value + (0.5 if i % 2 else 0.0) for i, value in enumerate(label)]
    stored = rival_rows(rows, near=[v + 0.1 for v in label], far=[v + 0.4 for v in label], mixed=mixed)
    stored_path = write_table(tmp_path / "rivals.parquet", stored)
    verdicts = _last_cells(markdown(evaluate_matbench([model], data, stored_path)).split("### Metals")[0])
    assert (verdicts["near"], verdicts["far"], verdicts["mixed"]) == ("worse", "better", "not told apart")


def test_other_targets_are_told(model: LoadedModel, rows: list[dict[str, Any]], data: Path, tmp_path: Path) -> None:
    stored = rival_rows(rows, near=[float(row["band_gap"]) for row in rows])
    next(row for row in stored if row["mp_id"] == "mp-7")["target"] += 0.03
    found = evaluate_matbench([model], data, write_table(tmp_path / "rivals.parquet", stored))
    assert found.target_difference == pytest.approx(0.03)
    assert "targets differ from the labels of the table** for 1 crystals, by up to 0.03;" in markdown(found)
    assert row_of(found, "near").mae.value == pytest.approx(0, abs=1e-6)


def test_limit_is_by_hash_of_identity(model: LoadedModel, rows: list[dict[str, Any]], tmp_path: Path) -> None:
    names = [row["gap_mbid"] for row in rows if row["gap_fold"] == 0]
    expected = sorted(names, key=lambda name: hashlib.sha256(name.encode()).hexdigest())[:3]
    for order, name in ((rows, "a"), (rows[::-1], "b")):
        table = write_table(tmp_path / f"{name}.parquet", order)
        found = evaluate_matbench([model], table, limit=3)
        assert sorted(found.rows.mbid.tolist()) == sorted(expected)
        assert row_of(found, "mine").mae.value == pytest.approx(OFFSET, abs=1e-6)
        assert "**QUICK LOOK: only the first 3 crystals of each fold" in markdown(found)
    assert "QUICK LOOK" not in markdown(evaluate_matbench([model], table))
    everything = read_task(table, GAP)
    assert len(first_by_hash(everything, 100).row) == len(rows)


def test_crystals_that_cannot_be_predicted(model: LoadedModel, rows: list[dict[str, Any]], tmp_path: Path) -> None:
    """Unseen elements and unsound rows are left out of every row of the table, and counted."""
    lead = crystal(2)
    lead.symbols[0] = "Pb"
    rows[2] |= structure(lead)
    rows[4]["cell"] = [0.0] * 9
    data = write_table(tmp_path / "scalars.parquet", rows)
    rivals = write_table(tmp_path / "rivals.parquet", rival_rows(rows, perfect=[row["band_gap"] for row in rows]))
    found = evaluate_matbench([model], data, rivals)
    assert found.rows.mp_id[~found.compared].tolist() == ["mp-2", "mp-4"]
    assert {row.crystals for row in found.table} == {6}
    page = markdown(found)
    for kind, row, problem in (("unseen_elements", 2, "Pb not among"), ("unreadable", 4, "")):
        assert f"**1 crystals left out ({MEANING[kind]}), e.g. {rows[row]['gap_mbid']}: {problem}" in page
    assert row_of(found, "mine").mae.value == pytest.approx(OFFSET, abs=1e-6)
    assert row_of(evaluate_matbench([model], data, allow_unseen=True), "mine").crystals == 7
    told: list[None] = []
    evaluate_matbench([model], data, advance=lambda: told.append(None))
    assert len(told) == 8


def test_formation_energy(tmp_path: Path) -> None:
    model = load_model(
        tables.save_fold_model(tmp_path / "energy.safetensors", 3, "e_form_fold", ("band_gap", "formation_energy"))
    )
    rows = entries([3] * 6 + [1] * 2, [-1.0] * 6 + [-1.5] * 2, FORMATION)
    found = evaluate_matbench([model], write_table(tmp_path / "scalars.parquet", rows))
    assert found.task.name == "matbench_mp_e_form"
    own = [float(p.values["formation_energy"]) for p in predict([crystal(i) for i in range(6)], model)]
    assert row_of(found, "energy").mae.value == pytest.approx(np.mean(np.abs(np.array(own) + 1.0)), abs=1e-6)
    assert row_of(found, "mean of training folds").mae.value == pytest.approx(0.5)
    assert "### Metals" not in markdown(found)
    assert f"(6 of {26_550:,} crystals of fold 3)" in markdown(found)
    with pytest.raises(DomainError, match="whose property is formation_energy, not band_gap"):
        evaluate_matbench([model], tmp_path / "scalars.parquet", property_name="band_gap")


@pytest.mark.parametrize(
    ("split", "said"),
    [
        (None, "trained with split 'stored', so it may have seen"),
        ({"kind": "formula", "fold": 0, "column": "gap_fold"}, "trained with split 'formula', so it may have seen"),
        ({"kind": "folds", "fold": 0, "column": "my_fold"}, "split 'folds' by column my_fold, so it may have seen"),
        ({"kind": "folds", "fold": None, "column": "gap_fold"}, "names fold None; MatBench has folds 0 to 4"),
        ({"kind": "folds", "fold": 5, "column": "gap_fold"}, "names fold 5; MatBench has folds 0 to 4"),
        ({"kind": "folds", "fold": 0, "column": "e_form_fold"}, "does not predict formation_energy; it predicts"),
        ({"kind": "folds", "fold": 3, "column": "gap_fold"}, "no crystal of fold 3 of matbench_mp_gap"),
    ],
)
def test_models_that_may_have_seen_the_crystals(
    split: dict[str, Any] | None, said: str, model: LoadedModel, data: Path
) -> None:
    recipe = {} if split is None else {"split": split}
    with pytest.raises((DomainError, TargetError), match=said):
        evaluate_matbench([LoadedModel("seen", model.members, replace(model.card, recipe=recipe))], data)


def test_models_that_do_not_go_together(model: LoadedModel, data: Path, tmp_path: Path) -> None:
    twin = LoadedModel("twin", model.members, model.card)
    with pytest.raises(DomainError, match="'mine' and 'twin' both hold out fold 0"):
        evaluate_matbench([model, twin], data)
    energy = load_model(tables.save_fold_model(tmp_path / "e.safetensors", 1, "e_form_fold", ("formation_energy",)))
    with pytest.raises(DomainError, match="'mine' is for matbench_mp_gap and model 'e' for matbench_mp_e_form"):
        evaluate_matbench([model, energy], data)


def test_a_fine_tuned_model_is_not_trusted_blindly(model: LoadedModel, data: Path) -> None:
    recipe = {**model.card.recipe, "finetune": "old.safetensors"}
    tuned = LoadedModel("tuned", model.members, replace(model.card, recipe=recipe))
    assert "model tuned started from 'old.safetensors'" in markdown(evaluate_matbench([tuned], data))
    assert "started from" not in markdown(evaluate_matbench([model], data))


def test_unusable_tables(model: LoadedModel, rows: list[dict[str, Any]], tmp_path: Path) -> None:
    def refused(changed: list[dict[str, Any]], said: str) -> None:
        with pytest.raises(TargetError, match=said):
            evaluate_matbench([model], write_table(tmp_path / "changed.parquet", changed))

    refused([{k: v for k, v in row.items() if k != "gap_fold"} for row in rows], "has no column gap_fold;")
    refused([{k: v for k, v in row.items() if k != "frac"} for row in rows], "has no column frac;")
    refused([row | {"gap_fold": (row["gap_fold"] + 1) % 5} for row in rows], "15 rows .* not in their official fold")
    refused([*rows[:-1], rows[-1] | {"gap_mbid": "mb-mp-gap-999999"}], "mb-mp-gap-999999 is unknown in")
    refused([*rows, rows[0]], f"{rows[0]['gap_mbid']} stands in two rows")
    refused([row | {"band_gap": "wide"} for row in rows], "column band_gap .* does not hold numbers")
    refused([row | {"band_gap": np.nan} for row in rows], "no row with gap_mbid, gap_fold and band_gap")
    with pytest.raises(InputError, match="not a readable Parquet file"):
        evaluate_matbench([model], Path(__file__))
    lead = crystal(0)
    lead.symbols[0] = "Pb"
    table = write_table(tmp_path / "lead.parquet", [row | structure(lead) for row in rows])
    with pytest.raises(DomainError, match="none of the 8 crystals could be predicted"):
        evaluate_matbench([model], table)


def test_unusable_rivals(model: LoadedModel, rows: list[dict[str, Any]], data: Path, tmp_path: Path) -> None:
    stored = rival_rows(rows, near=[1.0] * len(rows))

    def refused(changed: list[dict[str, Any]], said: str) -> None:
        with pytest.raises(TargetError, match=said):
            evaluate_matbench([model], data, write_table(tmp_path / "changed.parquet", changed))

    refused([{k: v for k, v in row.items() if k not in ("fold", "task")} for row in stored], "no column task, fold;")
    refused([{k: v for k, v in row.items() if k != "near"} for row in stored], "no column of predictions")
    refused([row | {"mbid": "mb-mp-gap-000000"} for row in stored], "no row of task mp_gap for the 8 crystals")
    refused([row | {"task": "mp_e_form"} for row in stored], "no row of task mp_gap for the 8 crystals")
    refused([row | {"fold": 3} for row in stored], "no row of task mp_gap for the 8 crystals")
    refused([row | {"target": np.nan} for row in stored], "no crystal has both")


def sorted_deeply(value: Any) -> Any:
    """Dictionaries with sorted keys, as the matbench package orders them before it hashes."""
    return {key: sorted_deeply(value[key]) for key in sorted(value)} if isinstance(value, dict) else value


def test_export(model: LoadedModel, other: LoadedModel, data: Path, tmp_path: Path) -> None:
    found = evaluate_matbench([model, other], data)
    path = tmp_path / "results.json.gz"
    assert export(found, path) == 106_113 - 13
    content = json.loads(gzip.decompress(path.read_bytes()))
    # The keys that matbench 0.6 demands, no others; it checks the hash of all the rest.
    assert content.keys() == {
        *("@module", "@class", "version", "benchmark_name", "tasks", "user_metadata", "datestamp", "hash"),
    }
    told = content.pop("hash")
    assert told == hashlib.sha256(json.dumps(sorted_deeply(content)).encode()).hexdigest()
    (name, task), *more = content["tasks"].items()
    assert (name, more) == ("matbench_mp_gap", [])
    assert task.keys() == {"@module", "@class", "benchmark_name", "dataset_name", "results"}
    assert (task["benchmark_name"], content["benchmark_name"]) == ("matbench_v0.1", "matbench_v0.1")
    assert task["results"].keys() == {"fold_0", "fold_1"}
    sk = pytest.importorskip("sklearn.metrics")
    for fold, results in task["results"].items():
        assert results.keys() == {"data", "parameters", "scores"}
        chosen = found.rows.fold == int(fold[-1])
        expected = dict(zip(found.rows.mbid[chosen].tolist(), found.predicted[chosen].tolist(), strict=True))
        assert results["data"] == expected
        label, predicted = found.rows.label[chosen], found.predicted[chosen]
        assert results["scores"] == pytest.approx(
            {
                "mae": sk.mean_absolute_error(label, predicted),
                "rmse": sk.root_mean_squared_error(label, predicted),
                "mape": sk.mean_absolute_percentage_error(label, predicted),
                "max_error": sk.max_error(label, predicted),
            }
        )
        missing = content["user_metadata"]["missing"][fold]
        assert set(missing).isdisjoint(expected)
        assert sorted([*missing, *expected]) == GAP.fold_ids(int(fold[-1]))


def test_a_complete_export_misses_nothing(model: LoadedModel, data: Path, tmp_path: Path) -> None:
    """All identities of all folds; labels of zero stay out of the percentage error, as in matbench."""
    folds = np.repeat(np.arange(5), [official_size(GAP, [fold]) for fold in range(5)])
    names = np.array([name for fold in range(5) for name in GAP.fold_ids(fold)])
    label = np.where(np.arange(len(names)) % 2, 2.0, 0.0)
    rows = TaskRows(data, np.arange(len(names)), names, names, folds, label)
    partial = evaluate_matbench([model], data)
    everything = replace(partial, models=dict.fromkeys(range(5), "mine"), rows=rows, predicted=label + 0.5)
    assert export(everything, tmp_path / "all.json") == 0
    content = json.loads((tmp_path / "all.json").read_text())
    assert content["user_metadata"]["missing"] == {}
    results = content["tasks"]["matbench_mp_gap"]["results"]
    assert sum(len(fold["data"]) for fold in results.values()) == 106_113
    assert results["fold_0"]["scores"] == {"mae": 0.5, "rmse": 0.5, "mape": 0.25, "max_error": 0.5}


def test_nothing_is_invented_for_the_export(model: LoadedModel, rows: list[dict[str, Any]], tmp_path: Path) -> None:
    lead = crystal(2)
    lead.symbols[0] = "Pb"
    rows[2] |= structure(lead)
    found = evaluate_matbench([model], write_table(tmp_path / "scalars.parquet", rows))
    content = benchmark(found)
    assert len(content["tasks"]["matbench_mp_gap"]["results"]["fold_0"]["data"]) == 7
    assert rows[2]["gap_mbid"] in content["user_metadata"]["missing"]["fold_0"]


def test_export_paths(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"must end in \.json\.gz or \.json"):
        check_export(tmp_path / "results.csv")
    with pytest.raises(OutputError, match="there is no folder"):
        check_export(tmp_path / "none" / "results.json.gz")


def test_folder(model: LoadedModel, rows: list[dict[str, Any]], tmp_path: Path) -> None:
    rows[4]["cell"] = [0.0] * 9
    found = evaluate_matbench([model], write_table(tmp_path / "scalars.parquet", rows))
    write_report(found, tmp_path / "report", "voigt evaluate ...")
    names = {path.name for path in (tmp_path / "report").iterdir()}
    assert names == {"report.md", "metrics.json", "predictions.csv", "band_gap.png"}
    assert "![band gap" in (tmp_path / "report" / "report.md").read_text()
    with (tmp_path / "report" / "predictions.csv").open(newline="") as stream:
        lines = list(csv.DictReader(stream))
    assert list(lines[0]) == ["mbid", "mp_id", "label", "prediction", "fold", "crystal_system"]
    by_id = {line["mp_id"]: line for line in lines}
    assert list(by_id) == ["mp-0", "mp-2", "mp-4", "mp-6", "mp-7", "mp-9", "mp-11", "mp-14"]
    assert (by_id["mp-4"]["prediction"], by_id["mp-4"]["crystal_system"]) == ("", "")
    for i in (0, 2, 6):
        line = by_id[f"mp-{i}"]
        assert float(line["label"]) - float(line["prediction"]) == pytest.approx(OFFSET, abs=1e-6)
        assert (line["mbid"], line["crystal_system"]) == (rows[i]["gap_mbid"], SYSTEMS[i % 3])
    stored = json.loads((tmp_path / "report" / "metrics.json").read_text())
    assert stored == json.loads(json.dumps(metrics(found)))
    assert stored["crystals"] == {"official": 21_223, "in_table": 8, "predicted": 7, "compared": 7}
    mine = next(row for row in stored["rows"] if row["kind"] == "model")
    assert mine["mae"]["value"] == pytest.approx(OFFSET, abs=1e-6)
    assert mine["metals"]["mae_metals"] == {"value": None, "low": None, "high": None}  # no label is zero
