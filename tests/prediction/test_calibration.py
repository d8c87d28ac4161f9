"""Intervals fitted to synthetic errors cover new ones as often as they say, and say more where more is known."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import ase
import numpy as np
import pytest
from tests import crystals
from tests.predictions import save_tiny_model

from voigt.data.labeled import LabeledCrystal, labeled
from voigt.models.checkpoint import load_model, write_intervals
from voigt.models.intervals import COVERAGE, IntervalRule, half_width
from voigt.prediction import Settings, predict_structures
from voigt.prediction.calibration import (
    FEWEST,
    Errors,
    conformal_quantile,
    errors_of,
    fit_intervals,
    fit_rule,
    predicted,
    quantile_regression,
)
from voigt.structures import InputStructure

SYSTEMS = np.array(["cubic", "tetragonal", "orthorhombic", "monoclinic"])


def drawn(count: int, seed: int, spread: bool = True, atoms: int = 1) -> Errors:
    """Errors whose width grows with spread and size and differs among systems and functionals, with heavy tails."""
    rng = np.random.default_rng(seed)
    crystal = np.repeat(np.arange(count), atoms)
    system, functional = (
        SYSTEMS[rng.integers(4, size=count)][crystal],
        np.array(["PBE", "PBEsol"])[rng.integers(2, size=count)][crystal],
    )
    size, deviation = np.exp(rng.normal(1.0, 1.0, len(crystal))), np.exp(rng.normal(-2.0, 1.0, len(crystal)))
    width = deviation * size**0.3 * np.where(system == "cubic", 2.0, 1.0) * np.where(functional == "PBE", 1.5, 1.0)
    shared = np.exp(rng.normal(0.0, 0.5, count))[crystal]  # atoms of one crystal err together
    error = width * shared * np.abs(rng.standard_t(3, len(crystal)))
    group = np.array([f"X{k // 2}" for k in range(count)])[crystal]
    return Errors(
        error, size, deviation if spread else None, np.full(len(crystal), 1 / atoms), system, functional, group, crystal
    )


def widths(rule: IntervalRule, errors: Errors) -> np.ndarray:
    found = np.empty_like(errors.error)
    for system in SYSTEMS.tolist():
        for functional in ("PBE", "PBEsol"):
            own = (errors.system == system) & (errors.functional == functional)
            spread = None if errors.spread is None else errors.spread[own]
            found[own] = half_width(rule, errors.size[own], spread, system, functional)
    return found


def coverage(rule: IntervalRule, errors: Errors, mask: np.ndarray | None = None) -> float:
    inside = errors.error <= widths(rule, errors)
    chosen = np.ones(len(inside), dtype=bool) if mask is None else mask
    return float(np.average(inside[chosen], weights=errors.weight[chosen]))


def binomial(count: int) -> float:
    return math.sqrt(COVERAGE * (1 - COVERAGE) / count)


@pytest.mark.parametrize("spread", [True, False])
def test_new_crystals_are_covered_in_every_group(spread: bool) -> None:
    rule, new = fit_rule(drawn(600, 0, spread)), drawn(4000, 1, spread)
    assert rule.crystals == 600
    allowed = 3 * math.hypot(binomial(600), binomial(4000))
    assert coverage(rule, new) == pytest.approx(COVERAGE, abs=allowed)
    for labels in (new.system, new.functional):
        for name in np.unique(labels):
            share = coverage(rule, new, labels == name)
            assert share == pytest.approx(COVERAGE, abs=3 * math.hypot(binomial(150), binomial(1000)))
    for quarter in np.array_split(np.argsort(new.size), 4):
        mask = np.isin(np.arange(4000), quarter)
        assert coverage(rule, new, mask) == pytest.approx(COVERAGE, abs=3 * math.hypot(binomial(150), binomial(1000)))


def test_what_is_known_makes_intervals_sharper() -> None:
    old, new = drawn(600, 0), drawn(4000, 1)
    rule = fit_rule(old)
    constant = conformal_quantile(old.error, old.weight)
    assert np.median(widths(rule, new)) < 0.6 * constant
    assert rule.spread == pytest.approx(1.0, abs=0.25)
    assert rule.norm == pytest.approx(0.3, abs=0.15)
    offsets = {"cubic": 0.0, "tetragonal": 0.0} | dict(rule.systems)
    assert offsets["cubic"] - offsets["tetragonal"] == pytest.approx(math.log(2), abs=0.3)
    assert fit_rule(drawn(600, 0, spread=False)).spread == 0.0


@pytest.mark.parametrize("count", [FEWEST, 40, 84])
def test_small_sets_cover_on_average(count: int) -> None:
    """Coverage varies from set to set of so few crystals; its mean does not fall below what is stated."""
    new = drawn(400, 99)
    shares = [coverage(fit_rule(drawn(count, seed)), new) for seed in range(12)]
    assert np.mean(shares) > COVERAGE - 3 * (np.std(shares) / math.sqrt(12) + binomial(400))
    assert np.mean(shares) > 0.86


def test_an_atom_of_any_crystal_is_covered() -> None:
    rule, new = fit_rule(drawn(300, 2, atoms=6)), drawn(2000, 3, atoms=6)
    assert coverage(rule, new) == pytest.approx(COVERAGE, abs=3 * math.hypot(binomial(300), binomial(2000)))


def test_the_order_of_crystals_does_not_matter() -> None:
    errors = drawn(120, 5)
    order = np.random.default_rng(0).permutation(120)
    again = fit_rule(Errors(*(getattr(errors, name)[order] for name in errors.__dataclass_fields__)))
    rule = fit_rule(errors)
    np.testing.assert_allclose(widths(again, errors), widths(rule, errors), rtol=1e-6)


def test_other_units_give_the_same_intervals() -> None:
    errors = drawn(200, 6)
    scaled = Errors(
        1000 * errors.error,
        1000 * errors.size,
        1000 * errors.spread,
        errors.weight,
        errors.system,
        errors.functional,
        errors.group,
        errors.crystal,
    )
    np.testing.assert_allclose(widths(fit_rule(scaled), scaled), 1000 * widths(fit_rule(errors), errors), rtol=1e-4)


def test_exact_predictions_get_a_half_width_of_nothing() -> None:
    errors = drawn(60, 7)
    exact = Errors(
        np.zeros(60),
        errors.size,
        errors.spread,
        errors.weight,
        errors.system,
        errors.functional,
        errors.group,
        errors.crystal,
    )
    assert np.abs(widths(fit_rule(exact), exact)).max() < 1e-6


def test_quantile_regression_finds_the_quantile() -> None:
    """Without features it is the quantile; one tenth of the targets lies above."""
    rng = np.random.default_rng(0)
    target, x = rng.exponential(size=2000), rng.uniform(0, 1, 2000)
    (constant,) = quantile_regression(np.ones((2000, 1)), target, np.ones(2000))
    assert constant == pytest.approx(-math.log(1 - COVERAGE), rel=0.1)
    first, slope = quantile_regression(np.stack([np.ones(2000), x], 1), target * (1 + 2 * x), np.ones(2000))
    assert first == pytest.approx(-math.log(1 - COVERAGE), rel=0.15)
    assert first + slope == pytest.approx(-3 * math.log(1 - COVERAGE), rel=0.15)
    assert np.mean(target * (1 + 2 * x) > first + slope * x) == pytest.approx(1 - COVERAGE, abs=0.002)


def test_the_conformal_quantile_is_beyond_that_of_the_sample() -> None:
    """Vovk: of n + 1 exchangeable scores the last is at most the ceil(0.9 (n + 1))-th of the others in 90 %."""
    rng = np.random.default_rng(1)
    for count in (20, 29, 101):
        hits = [rng.normal() <= conformal_quantile(rng.normal(size=count), np.ones(count)) for _ in range(4000)]
        expected = math.ceil(COVERAGE * (count + 1)) / (count + 1)
        assert np.mean(hits) == pytest.approx(expected, abs=3.5 * binomial(4000))
    assert conformal_quantile(np.array([3.0, 1.0]), np.ones(2)) == 3.0


def salts(count: int, seed: int, charge: float = 1.0, unlabeled: int = 0) -> list[LabeledCrystal]:
    """Shaken rocksalt crystals of point charges."""
    rng = np.random.default_rng(seed)
    found = []
    for k in range(count):
        atoms = crystals.rocksalt() if k % 2 else crystals.cesium_chloride()
        atoms.rattle(0.03, seed=seed + k)
        noise = 0.05 * rng.normal(size=(3, 3))
        targets = {"born_charges": charge * np.stack([np.eye(3) + noise, -np.eye(3) - noise])}
        found.append(labeled(f"c{k}", "data", atoms, {} if k < unlabeled else targets, "PBEsol"))
    return found


ELEMENTS = ("O", "Na", "Mg", "Cl", "Cs", "Si")


def calibrate(path: Path, crystals: Sequence[LabeledCrystal]) -> dict[str, IntervalRule]:
    model = load_model(path)
    rules = fit_intervals(model, predicted(model, crystals))
    write_intervals(path, rules)
    return rules


def test_a_calibrated_file_gives_intervals_that_cover(tmp_path: Path) -> None:
    path = save_tiny_model(tmp_path / "tiny.safetensors", elements=ELEMENTS)
    rules = calibrate(path, salts(60, 0))
    assert list(rules) == ["born_charges"]
    assert rules["born_charges"].crystals == 60
    model = load_model(path)
    assert model.intervals == rules
    pairs = predicted(model, salts(300, 1000))
    inside = [
        np.linalg.norm(prediction.values["born_charges"] - crystal.targets["born_charges"], axis=(1, 2))
        <= prediction.interval["born_charges"]
        for crystal, prediction in pairs
    ]
    assert np.mean(inside) == pytest.approx(COVERAGE, abs=3 * math.hypot(binomial(60), binomial(300)))
    assert all(set(prediction.interval) == {"born_charges"} for _, prediction in pairs)


def test_too_few_crystals_give_no_interval_and_a_sentence(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = save_tiny_model(tmp_path / "tiny.safetensors", elements=ELEMENTS)
    with caplog.at_level(logging.INFO, "voigt.prediction"):
        assert calibrate(path, salts(FEWEST, 0, unlabeled=1)) == {}
    assert f"no intervals of born_charges: 19 validation crystals have a label, {FEWEST} are needed" in caplog.messages
    assert load_model(path).intervals == {}
    assert list(calibrate(path, salts(FEWEST, 0))) == ["born_charges"]


def fitted(path: Path) -> Path:
    calibrate(save_tiny_model(path, elements=ELEMENTS), salts(40, 0))
    return path


def of(model: Path, atoms: ase.Atoms, **settings: object):
    (result,) = predict_structures([InputStructure("a", 0, "a", atoms)], str(model), Settings(**settings))
    return result


def test_a_turned_crystal_and_equivalent_atoms_have_the_same(tmp_path: Path) -> None:
    path = fitted(tmp_path / "tiny.safetensors")
    atoms = crystals.quartz()
    first = of(path, atoms)
    width = first.interval["born_charges"]
    assert width.shape == (9,)
    assert (width > 0).all()
    np.testing.assert_array_equal(width, width[first.symmetry.orbits])
    assert len(np.unique(width)) == len(np.unique(first.symmetry.orbits)) == 2
    turned = atoms.copy()
    turned.rotate(37.0, (1, 2, 3), rotate_cell=True)
    np.testing.assert_allclose(of(path, turned).interval["born_charges"], width, rtol=1e-4)
    double = of(path, atoms * (2, 1, 1)).interval["born_charges"]
    np.testing.assert_allclose(np.sort(double), np.sort(np.tile(width, 2)), rtol=1e-4)


def test_where_nothing_is_known_there_is_no_interval(tmp_path: Path) -> None:
    path = fitted(tmp_path / "tiny.safetensors")
    zincite = crystals.wurtzite()
    assert not {int(z) for z in zincite.numbers} <= set(load_model(path).card.elements)
    assert of(path, zincite, allow_unseen=True).interval == {}
    salt = crystals.rocksalt()
    assert set(of(path, salt).interval) == {"born_charges"}
    assert of(path, salt, symmetrize=False).interval == {}
    assert of(path, salt, sum_rule=False).interval == {}
    unknown = of(path, salt, functional="PBE").interval["born_charges"]  # no label of it: as for the default
    assert unknown == pytest.approx(of(path, salt).interval["born_charges"], rel=0.5)


def test_what_symmetry_forbids_is_exact(tmp_path: Path) -> None:
    from voigt.models.checkpoint import write_intervals

    path = save_tiny_model(tmp_path / "piezo.safetensors", 2, ("piezo_total",), elements=ELEMENTS)
    rule = IntervalRule(0.0, 0.5, 0.5, {}, {}, 1e-3, 1e-3, 1e-3, (0.0, 9.0), (0.0, 9.0), 50)
    write_intervals(path, {"piezo_total": rule})
    assert of(path, crystals.rocksalt()).interval["piezo_total"] == 0.0
    assert of(path, crystals.quartz()).interval["piezo_total"] > 0.0


def test_labels_of_zero_count_as_the_recipe_says(tmp_path: Path) -> None:
    model = load_model(save_tiny_model(tmp_path / "tiny.safetensors", elements=ELEMENTS))
    pairs = predicted(model, [*salts(5, 0), *salts(3, 9, charge=0.0)])
    assert len(np.unique(errors_of("born_charges", pairs, model.card).crystal)) == 8
    model.card.recipe["targets"] = {"born_charges": {"zeros": False}}
    assert len(np.unique(errors_of("born_charges", pairs, model.card).crystal)) == 5


def test_many_polytypes_of_one_formula_count_once(tmp_path: Path) -> None:
    """Forty bad crystals of one compound beside sixty good ones of others do not decide the interval."""
    model = load_model(save_tiny_model(tmp_path / "tiny.safetensors", elements=ELEMENTS))
    good = [replace(crystal, group=f"X{k}") for k, crystal in enumerate(salts(60, 0))]
    bad = [replace(crystal, group="bad") for crystal in salts(40, 100, charge=50.0)]
    errors = errors_of("born_charges", predicted(model, [*good, *bad]), model.card)
    assert errors is not None
    assert errors.weight.sum() == pytest.approx(61)
    assert errors.weight[errors.group == "bad"].sum() == pytest.approx(1)
    assert conformal_quantile(errors.error, errors.weight) < errors.error[errors.group == "bad"].min()


def test_crystals_of_one_material_count_one_by_one(tmp_path: Path) -> None:
    """A trajectory has one formula; its frames are what is drawn."""
    path = save_tiny_model(tmp_path / "tiny.safetensors", elements=ELEMENTS)
    frames = [replace(crystal, group="NaCl") for crystal in salts(60, 0)]
    errors = errors_of("born_charges", predicted(load_model(path), frames), load_model(path).card)
    assert errors is not None
    assert errors.weight.sum() == pytest.approx(60)
    width = calibrate(path, frames)["born_charges"]
    assert width.crystals == 60
