"""Baselines by hand, and against the table that comes with the DFT data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import ase
import ase.io
import numpy as np
import pytest

from voigt.errors import TargetError
from voigt.evaluation.baselines import apply_baseline, fit_baseline
from voigt.evaluation.evaluation import evaluate_scored
from voigt.evaluation.scored import Scored

IDENTITY = np.eye(3)


def crystal(
    symbols: Sequence[int], functional: str | None = "PBE", name: str = "x", **labels: np.ndarray | float
) -> Scored:
    return Scored(name, np.array(symbols), functional, None, {k: np.asarray(v) for k, v in labels.items()}, {})


def from_frame(atoms: ase.Atoms) -> Scored:
    labels = {
        "born_charges": atoms.arrays["born_charges"].reshape(-1, 3, 3),
        "eps_inf": atoms.info["eps_inf"].reshape(3, 3),
    }
    return Scored(str(atoms.info["id"]), atoms.numbers, str(atoms.info["functional"]), None, labels, {})


@pytest.fixture(scope="module")
def phonondb(dft_data: Callable[[str], Path]) -> tuple[list[Scored], list[Scored]]:
    frames = ase.io.read(dft_data("born/phonondb.extxyz"), ":")
    return tuple([from_frame(f) for f in frames if f.info["split"] == split] for split in ("train", "test"))


def test_baseline_reproduces_the_published_table(phonondb: tuple[list[Scored], list[Scored]]) -> None:
    train, test = phonondb
    names = ["born_charges", "eps_inf"]
    baseline = fit_baseline(train, names)
    known = {crystal.id: baseline.means(crystal.functional).elements["born_charges"] for crystal in test}
    assert all(number in known[crystal.id] for crystal in test for number in crystal.numbers.tolist())
    found = evaluate_scored(apply_baseline(baseline, test), names, resamples=10).properties
    born, eps = found["born_charges"].scores, found["eps_inf"].scores
    assert born["mae"].model.value == pytest.approx(0.3039, abs=5e-5)
    assert born["rmse"].model.value == pytest.approx(0.6538, abs=5e-5)
    assert born["frobenius"].model.value == pytest.approx(1.3762, abs=5e-5)
    assert eps["frobenius"].model.value == pytest.approx(4.8323, abs=5e-5)
    assert eps["mae"].model.value == pytest.approx(0.9047, abs=5e-5)
    assert found["eps_inf"].crystals == 504


def test_charges_are_isotropic_means_of_elements_over_atoms() -> None:
    train = [
        crystal([8, 8], born_charges=np.stack([-2 * IDENTITY, np.diag([-1.0, -2.0, -3.0])])),
        crystal([8, 12], born_charges=np.stack([-5 * IDENTITY, np.full((3, 3), 2.0)])),
    ]
    baseline = fit_baseline(train, ["born_charges"])
    (found,) = apply_baseline(baseline, [crystal([12, 8, 9])])
    # O: mean of -2, -2, -5 over three atoms, whatever their crystals; F was never seen.
    expected = np.stack([2 * IDENTITY, -3 * IDENTITY, 0 * IDENTITY])
    np.testing.assert_allclose(found.predicted["born_charges"], expected)


def test_tensors_of_the_crystal() -> None:
    rng = np.random.default_rng(0)
    piezo, elastic = rng.normal(size=(2, 3, 3, 3)), rng.normal(size=(2, 3, 3, 3, 3))
    eps = np.stack([np.diag([2.0, 3.0, 4.0]), np.array([[5.0, 1, 0], [1, 6, 0], [0, 0, 10]])])
    train = [
        crystal([1], eps_inf=e, piezo_total=p, elastic=c, band_gap=g)
        for e, p, c, g in zip(eps, piezo, elastic, (1.0, 4.0), strict=True)
    ]
    names = ["eps_inf", "piezo_total", "elastic", "band_gap"]
    (found,) = apply_baseline(fit_baseline(train, names), [crystal([6, 6])])
    np.testing.assert_allclose(found.predicted["eps_inf"], 5 * IDENTITY)
    np.testing.assert_array_equal(found.predicted["piezo_total"], np.zeros((3, 3, 3)))
    np.testing.assert_allclose(found.predicted["elastic"], (elastic[0] + elastic[1]) / 2)
    assert found.predicted["band_gap"] == pytest.approx(2.5)
    assert found.predicted["band_gap"].shape == ()


def test_each_functional_has_its_own_means() -> None:
    train = [crystal([1], "PBE", band_gap=1.0), crystal([1], "PBE", band_gap=2.0), crystal([1], "HSE", band_gap=6.0)]
    train.append(crystal([1], "SCAN", eps_inf=IDENTITY))
    baseline = fit_baseline(train, ["band_gap", "eps_inf"])
    test = [crystal([1], functional) for functional in ("PBE", "HSE", "PBEsol", "SCAN")]
    found = [float(entry.predicted["band_gap"]) for entry in apply_baseline(baseline, test)]
    assert found == pytest.approx([1.5, 6.0, 3.0, 3.0])  # functionals without labels take the mean of all


def test_a_property_without_labels_is_an_error() -> None:
    with pytest.raises(TargetError, match="eps_inf"):
        fit_baseline([crystal([1], band_gap=1.0)], ["band_gap", "eps_inf"])
