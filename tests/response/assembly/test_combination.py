"""Which way counts, and how far results may be off."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from voigt.response.assembly.combination import PIEZO, SHARE, SOFT, combined, piezo_intervals
from voigt.response.assembly.result import Quantity
from voigt.response.phonons.strained_cells import whole_piezo
from voigt.tensors.voigt import elastic_from_voigt, piezo_from_voigt

RNG = np.random.default_rng(5)
STIFF = elastic_from_voigt(np.diag([120.0, 130, 110, 30, 40, 50]) + 20 * np.ones((6, 6)))


def quantity(value: np.ndarray, interval: float | None = None) -> Quantity:
    return Quantity(value, "", "predicted", "model x", None if interval is None else np.asarray(interval))


def test_the_mean_lies_between_both_ways_and_soft_crystals_are_the_networks() -> None:
    direct, assembled = quantity(np.diag([5.0, 6, 7]), 2.0), quantity(np.diag([7.0, 7, 7]))
    mean = combined(direct, assembled, assembled.value - 3 * np.eye(3), SOFT + 0.1)
    assert mean.route == "combined"
    assert (np.diagonal(mean.value) > [5, 6, 6.8]).all()
    assert (np.diagonal(mean.value) < [7, 7, 7]).all()
    assert mean.interval == pytest.approx(2.0 * SHARE)
    assert combined(direct, assembled, assembled.value, SOFT - 0.1) is direct
    assert combined(direct, assembled, assembled.value, -1.0) is direct


def test_intervals_bound_what_errors_of_e_do_to_d_and_eps_free() -> None:
    """Random tensors of the norm of the interval of e, where the stiffness is known exactly."""
    clamped, ionic = (piezo_from_voigt(RNG.normal(size=(3, 6))) for _ in range(2))
    elastic, eps = quantity(STIFF, 0.0), quantity(9 * np.eye(3), 0.0)
    whole = whole_piezo(clamped, ionic, STIFF, eps.value)
    widths = {name: float(value) for name, value in piezo_intervals(whole, elastic, eps).items()}
    size = np.linalg.norm(clamped) + np.linalg.norm(ionic)
    assert widths["piezo_total"] == pytest.approx(PIEZO * size)
    off = []
    for _ in range(50):
        wrong = piezo_from_voigt(RNG.normal(size=(3, 6)))
        wrong *= 1e-3 * widths["piezo_total"] / np.linalg.norm(wrong)  # small: to first order
        moved = whole_piezo(clamped + wrong, ionic, STIFF, eps.value)
        off.append(1e3 * np.array([np.linalg.norm(moved.d - whole.d), np.linalg.norm(moved.eps_free - whole.eps_free)]))
    largest = np.max(off, axis=0)
    assert (largest <= 1.01 * np.array([widths["piezo_d"], widths["eps_free"]])).all()
    assert (largest > 0.2 * np.array([widths["piezo_d"], widths["eps_free"]])).all()


def test_errors_of_the_stiffness_widen_d_and_unknown_ones_leave_none() -> None:
    clamped, ionic = (piezo_from_voigt(RNG.normal(size=(3, 6))) for _ in range(2))
    eps = quantity(9 * np.eye(3), 1.0)
    whole = whole_piezo(clamped, ionic, STIFF, eps.value)
    exact = piezo_intervals(whole, quantity(STIFF, 0.0), eps)
    rough = piezo_intervals(whole, quantity(STIFF, 30.0), eps)
    assert rough["piezo_d"] > exact["piezo_d"]
    assert rough["eps_free"] == exact["eps_free"] > 1.0
    assert set(piezo_intervals(whole, quantity(STIFF), eps)) == {"piezo_total"}
    assert set(piezo_intervals(whole, quantity(STIFF, 1.0), replace(eps, interval=None))) == {"piezo_total", "piezo_d"}
