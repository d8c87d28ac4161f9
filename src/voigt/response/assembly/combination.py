"""Which of two ways to a permittivity to trust: a network that predicts it, or charges of a network times a compliance.

The two err for different reasons, the network where a crystal is unlike those of its training, the potential where
springs are soft, since eps_ionic goes as 1/frequency^2. So their mean is better than either, and in crystals with soft
modes the network alone is. Threshold and weight were chosen on validation crystals by `benchmarks/accuracy/assembled`;
docs/reports/assembly.md has the tables of the test crystals.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from voigt.response.assembly.result import Quantity

SOFT = 1.5
"""THz of the lowest optical mode below which the potential has no say."""
WEIGHT = 0.5
"""Of the assembled tensor where both count."""
SHARE = 1.0
"""Half-width of the interval of the mean, as part of the network's own."""


def combined(direct: Quantity, assembled: Quantity, lowest: float) -> Quantity:
    """The better guess of an ionic or static permittivity of which two are at hand.

    Parameters
    ----------
    direct, assembled
        Of the network, and of charges and springs.
    lowest
        THz, of the lowest optical mode at Gamma without the field's part; negative if unstable.

    Examples
    --------
    >>> network = Quantity(4 * np.eye(3), "", "predicted", "model born")
    >>> springs = Quantity(5 * np.eye(3), "", "assembled", "charges of model born and potential sevennet-l3i5")
    >>> [float(combined(network, springs, lowest).value[0, 0]) for lowest in (5.0, 0.5)]
    [4.5, 4.0]
    """
    if lowest < SOFT:
        return direct
    value = (1 - WEIGHT) * direct.value + WEIGHT * assembled.value
    interval = None if direct.interval is None else np.asarray(SHARE * direct.interval)
    return replace(
        direct,
        value=value,
        route="combined",
        origin=f"mean of {direct.origin}, and {assembled.origin}",
        interval=interval,
    )
