"""Which of two ways to a permittivity to trust: a network that predicts it, or charges of a network times a compliance.

The two err for different reasons, the network where a crystal is unlike those of its training, the potential where
springs are soft, since eps_ionic goes as 1/frequency^2. So their mean is better than either, and in crystals with soft
modes the network alone is. Threshold, weight, the correction for softness and intervals were chosen on validation
crystals by `benchmarks/accuracy/assembled`; docs/reports/assembly.md has the tables of the test crystals.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy import constants

from voigt.response.arrays import Array
from voigt.response.assembly.result import Quantity
from voigt.response.elasticity import born_stability
from voigt.response.phonons.strained_cells import WholePiezo

SOFT = 1.5
"""THz of the lowest optical mode below which the potential has no say."""
WEIGHT = 0.5
"""Of the assembled tensor where both count."""
SOFTNESS = 0.05
"""Part of an assembled eps_ionic that is left out of the mean: springs of the potential are a little too soft."""
SHARE = 0.85
"""Half-width of the 90 % interval of the mean, as part of the network's own."""
PIEZO = 0.7
"""The same of an assembled piezoelectric tensor, as part of the norms of its two parts together."""

_PM_PER_V = 1000.0
"""pm/V per C/m^2/GPa."""
_PERMITTIVITY = 1e-12 / constants.epsilon_0
"""Relative permittivity per C/m^2 times pm/V."""


def combined(direct: Quantity, assembled: Quantity, ionic: Array, lowest: float) -> Quantity:
    """The better guess of an ionic or static permittivity of which two are at hand.

    Parameters
    ----------
    direct, assembled
        Of the network, and of charges and springs.
    ionic
        (3, 3) what ions contribute to the assembled one: eps_ionic.
    lowest
        THz, of the lowest optical mode at Gamma without the field's part; negative if unstable.

    Examples
    --------
    >>> network = Quantity(4 * np.eye(3), "", "predicted", "model born")
    >>> springs = Quantity(5 * np.eye(3), "", "assembled", "charges of model born and potential sevennet-l3i5")
    >>> [float(combined(network, springs, 2 * np.eye(3), lowest).value[0, 0]) for lowest in (5.0, 0.5)]
    [4.45, 4.0]
    """
    if lowest < SOFT:
        return direct
    value = (1 - WEIGHT) * direct.value + WEIGHT * (assembled.value - SOFTNESS * ionic)
    interval = None if direct.interval is None else np.asarray(SHARE * direct.interval)
    return replace(
        direct,
        value=value,
        route="combined",
        origin=f"mean of {direct.origin}, and {assembled.origin}",
        interval=interval,
    )


def piezo_intervals(whole: WholePiezo, elastic: Quantity, eps_total: Quantity) -> dict[str, Array]:
    """Half-widths of the 90 % intervals of piezo_total, piezo_d and eps_free, norms of the error of each tensor.

    That of e goes with the sizes of its parts, which may cancel. The others follow to first order, errors of e, C and
    eps as independent: d = e S, so that |delta d| is at most |delta e| |S| and |d| |delta C| |S|, with the largest
    eigenvalue of S as its norm; eps_free = eps + e d / eps_0. One that needs an unknown width is absent.

    Parameters
    ----------
    whole
        e, d and their parts.
    elastic, eps_total
        Those that d and eps_free were made of; GPa.
    """
    size = {name: float(np.linalg.norm(getattr(whole, name))) for name in ("e_clamped", "e_ionic", "d")}
    wrong_e = PIEZO * (size["e_clamped"] + size["e_ionic"])
    found = {"piezo_total": np.asarray(wrong_e)}
    if elastic.interval is None:
        return found
    softest = float(born_stability(elastic.value).smallest_eigenvalue)
    parts = _PM_PER_V * wrong_e / softest, size["d"] * float(elastic.interval) / softest
    found["piezo_d"] = np.asarray(np.hypot(*parts))
    if eps_total.interval is not None:
        found["eps_free"] = np.asarray(np.hypot(float(eps_total.interval), 2 * _PERMITTIVITY * size["d"] * wrong_e))
    return found
