"""Evaluations as a whole: counts, groups, pairing with the baseline, files."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from voigt.errors import OutputError, TargetError
from voigt.evaluation.baselines import apply_baseline, fit_baseline
from voigt.evaluation.evaluation import evaluate_scored
from voigt.evaluation.figures import parity_figures
from voigt.evaluation.report import markdown, write_report
from voigt.evaluation.scored import Scored
from voigt.tensors.properties import get_property

IDENTITY = np.eye(3)
NAMES = ["born_charges", "eps_inf"]


def crystals(number: int = 12, seed: int = 0) -> list[Scored]:
    """MgO-like cells: O off by +0.1 e in every component, Mg by -0.2 e, eps by 0.5; raw charges off by 0.3 e."""
    rng = np.random.default_rng(seed)
    result = []
    for index in range(number):
        pair = np.array([12, 8])
        born = np.stack([2 * IDENTITY, -2 * IDENTITY]) + 0.1 * rng.normal(size=(2, 3, 3))
        eps = np.diag(rng.uniform(2, 30, size=3))
        predicted = {"born_charges": born + np.array([-0.2, 0.1])[:, None, None], "eps_inf": eps + 0.5 * IDENTITY}
        result.append(
            Scored(
                f"cell-{index}",
                pair,
                "PBE" if index % 3 else "PBEsol",
                "cubic" if index % 2 else "triclinic",
                {"born_charges": born, "eps_inf": eps},
                predicted,
                {"born_charges": born + 0.3, "eps_inf": predicted["eps_inf"]},
            )
        )
    return result


def test_scores_of_known_offsets() -> None:
    scored = crystals()
    found = evaluate_scored(scored, NAMES, resamples=50).properties
    born, eps = found["born_charges"], found["eps_inf"]
    assert (born.crystals, born.items, eps.crystals, eps.items) == (12, 24, 12, 12)
    assert born.scores["mae"].model.value == pytest.approx(0.15)
    assert born.scores["rmse"].model.value == pytest.approx(math.sqrt((0.04 + 0.01) / 2))
    assert {name: group.scores["mae"].model.value for name, group in born.elements.items()} == pytest.approx(
        {"O": 0.1, "Mg": 0.2}
    )
    assert born.elements["Mg"].items == 12
    assert eps.elements == {}
    assert eps.scores["frobenius"].model.value == pytest.approx(0.5 * math.sqrt(3))
    assert eps.scores["mae"].model.value == pytest.approx(0.5 / 3)
    # Every crystal errs alike, so every resample gives the same value.
    assert (born.scores["mae"].model.low, born.scores["mae"].model.high) == pytest.approx((0.15, 0.15))
    assert born.scores["mae"].baseline is None


def test_drift_before_and_after_correction() -> None:
    born = evaluate_scored(crystals(), ["born_charges"], resamples=50).properties["born_charges"]
    labels = np.stack([crystal.labels["born_charges"].sum(axis=0) for crystal in crystals()])
    assert born.drift["label"].per_cell.value == pytest.approx(np.abs(labels).mean())
    assert born.drift["raw"].per_cell.value == pytest.approx(np.abs(labels + 0.6).mean())
    assert born.drift["predicted"].per_atom.value == pytest.approx(np.abs(labels - 0.1).mean() / 2)
    assert born.corrections["mae"].before.value == pytest.approx(0.3)
    assert born.corrections["mae"].after.value == pytest.approx(0.15)


def test_corrections_compare_the_same_crystals() -> None:
    scored = crystals(6)
    scored[0] = replace(scored[0], raw={})
    scored[0].predicted["born_charges"][:] += 5.0
    corrections = evaluate_scored(scored, ["born_charges"], resamples=5).properties["born_charges"].corrections
    assert corrections["mae"].after.value == pytest.approx(0.15)


def test_groups_by_crystal_system_and_functional() -> None:
    found = evaluate_scored(crystals(), NAMES, resamples=50).properties["eps_inf"]
    assert list(found.crystal_systems) == ["cubic", "triclinic"]
    assert {name: group.crystals for name, group in found.functionals.items()} == {"PBE": 8, "PBEsol": 4}
    odd = [crystal for crystal in crystals() if crystal.crystal_system == "cubic"]
    relative = [0.5 * math.sqrt(3) / np.linalg.norm(crystal.labels["eps_inf"]) for crystal in odd]
    expected = 100 * np.mean(np.array(relative) < 0.25)
    assert found.crystal_systems["cubic"].scores["ewt25"].model.value == pytest.approx(expected)
    # Four crystals of a functional are too few for an interval.
    assert math.isnan(found.functionals["PBEsol"].scores["mae"].model.low)


def test_baseline_stands_beside_the_model_on_the_same_items() -> None:
    scored = crystals()
    baseline = apply_baseline(fit_baseline(crystals(30, seed=1), NAMES), scored)
    scored[0] = replace(scored[0], predicted={"born_charges": np.full((2, 3, 3), np.nan)})
    found = evaluate_scored(scored, NAMES, baseline, resamples=50).properties
    assert found["born_charges"].unpredicted == 1
    assert found["eps_inf"].unpredicted == 1
    errors = [b.predicted["born_charges"] - b.labels["born_charges"] for b in baseline[1:]]
    reference = found["born_charges"].scores["mae"].baseline
    assert reference is not None
    assert reference.value == pytest.approx(np.abs(errors).mean())
    assert found["born_charges"].scores["mae"].model.value == pytest.approx(0.15)


def test_a_baseline_of_other_crystals_is_refused() -> None:
    scored = crystals()
    with pytest.raises(ValueError, match="same crystals"):
        evaluate_scored(scored, NAMES, scored[1:])
    with pytest.raises(ValueError, match="lacks predictions"):
        evaluate_scored(scored, NAMES, [replace(entry, predicted={}) for entry in scored])


def test_worst_crystals_come_first() -> None:
    scored = crystals()
    scored[5].predicted["eps_inf"][:] += 3 * IDENTITY
    worst = evaluate_scored(scored, ["eps_inf"], resamples=5).properties["eps_inf"].worst
    assert worst[0] == ("cell-5", pytest.approx(3.5 * math.sqrt(3)))
    assert len(worst) == 10


def test_spread_by_component_and_by_item_tell_the_same() -> None:
    rng = np.random.default_rng(3)
    scored, by_item = [], []
    for crystal in crystals(20):
        size = rng.uniform(0.1, 1.0, size=2)
        spread = size[:, None, None] * np.ones((3, 3))
        predicted = {"born_charges": crystal.labels["born_charges"] + spread}
        scored.append(replace(crystal, predicted=predicted, spread={"born_charges": spread}))
        by_item.append(replace(crystal, predicted=predicted, spread={"born_charges": 3 * size}))
    born = [evaluate_scored(x, NAMES[:1], resamples=5).properties["born_charges"] for x in (scored, by_item)]
    found = [entry.calibration for entry in born]
    assert found[0] is not None
    assert found[1] is not None
    assert found[0].spearman == pytest.approx(1.0)
    assert found[0].quartile_spread == pytest.approx(found[0].quartile_error)  # error equals spread here
    assert found[1].quartile_spread == pytest.approx(found[0].quartile_spread)


def test_missing_labels_are_skipped_and_their_total_absence_is_an_error() -> None:
    scored = crystals(6)
    scored[0] = replace(scored[0], labels={})
    assert evaluate_scored(scored, ["eps_inf"], resamples=5).properties["eps_inf"].crystals == 5
    with pytest.raises(TargetError, match="band_gap"):
        evaluate_scored(scored, ["band_gap"])


@pytest.mark.parametrize("field", ["labels", "predicted", "raw", "spread"])
def test_wrong_shapes_name_the_crystal(field: str) -> None:
    with pytest.raises(TargetError, match="cell-0"):
        replace(crystals(1)[0], **{field: {"born_charges": np.zeros((3, 3, 3))}})


def test_labels_that_are_not_finite_name_the_crystal() -> None:
    with pytest.raises(TargetError, match="cell-0"):
        replace(crystals(1)[0], labels={"eps_inf": np.full((3, 3), np.nan)})


def test_folder_holds_page_numbers_and_figures(tmp_path: Path) -> None:
    scored = crystals()
    baseline = apply_baseline(fit_baseline(crystals(30, seed=1), NAMES), scored)
    evaluation = evaluate_scored(scored, NAMES, baseline, resamples=50)
    folder = tmp_path / "new" / "report"
    write_report(evaluation, scored, folder, "MgO", "voigt evaluate equivar mgo.extxyz", ["F was not seen."])
    figures = {"born_charges_components.png", "born_charges_elements.png", "eps_inf.png"}
    assert {path.name for path in folder.iterdir()} == figures | {"report.md", "metrics.json"}
    for name in figures:
        image = imread(folder / name)
        assert min(image.shape[:2]) > 400
        assert image[..., :3].std() > 0.05  # not blank
    page = (folder / "report.md").read_text()
    for text in ("# MgO", "voigt evaluate equivar mgo.extxyz", "- F was not seen.", "| Mg | 12 | 12 | 0.2000 |",
                 "### By functional", "| MAE | e | **0.1500** |", "PBE (8), PBEsol (4)", *(f"]({f})" for f in figures)):
        assert text in page
    numbers = json.loads((folder / "metrics.json").read_text())
    assert numbers["properties"]["born_charges"]["scores"]["mae"]["model"]["value"] == pytest.approx(0.15)
    assert numbers["properties"]["eps_inf"]["functionals"]["PBEsol"]["scores"]["mae"]["model"]["low"] is None


def test_tables_are_rectangular() -> None:
    scored = crystals()
    baseline = apply_baseline(fit_baseline(scored, NAMES), scored)
    for reference in (None, baseline):
        lines = markdown(evaluate_scored(scored, NAMES, reference, resamples=5), "t", "").splitlines()
        tables: list[list[str]] = [[]]
        for line in lines:
            if line.startswith("|"):
                tables[-1].append(line)
            elif tables[-1]:
                tables.append([])
        assert len(tables) > 8
        assert all(len({line.count("|") for line in table}) <= 1 for table in tables)


def test_one_functional_and_unknown_systems_need_no_tables() -> None:
    scored = [replace(crystal, functional=None, crystal_system=None) for crystal in crystals(6)]
    page = markdown(evaluate_scored(scored, NAMES, resamples=5), "t", "")
    assert "By functional" not in page
    assert "By crystal system" not in page
    assert "not given (6)" in page


@pytest.mark.parametrize(("name", "panels"), [("piezo_total", 1), ("elastic", 2), ("band_gap", 1), ("eps_total", 3)])
def test_every_kind_of_tensor_has_a_figure(name: str, panels: int) -> None:
    declared = get_property(name)
    rng = np.random.default_rng(4)
    labels: Sequence[np.ndarray] = rng.normal(size=(300, *declared.shape))
    scored = [Scored(str(i), np.array([1]), None, None, {name: v}, {name: v + 0.1}) for i, v in enumerate(labels)]
    ((stem, _, figure),) = parity_figures(scored, declared)
    assert stem == name
    assert len(figure.axes) == panels
    for axis in figure.axes:
        assert axis.get_xlim() == axis.get_ylim()


def test_a_place_that_cannot_be_written_is_an_output_error(tmp_path: Path) -> None:
    scored = crystals(6)
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="file"):
        write_report(evaluate_scored(scored, NAMES, resamples=5), scored, tmp_path / "file" / "report")
