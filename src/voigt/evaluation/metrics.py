"""Errors of predicted tensors, as pure functions of arrays.

An item is an atom or a crystal. Every metric is a quotient of sums over items (`Ratio`), so that one implementation
serves its value, its subsets (per element, per crystal system) and its bootstrap interval.

Sources: MAE, RMSE, RMSPE of diagonals and charge drift follow Kutana et al., Sci. Rep. 15 (2025),
doi 10.1038/s41598-025-01250-5; mean Frobenius norm and EwT follow Yan et al., ICML 2024 (GMTNet).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voigt.tensors.properties import Property

Array = NDArray[np.float64]

# Percentages of smaller labels say nothing: in units of the property. In the PBEsol phonon database 3 % of the
# diagonal components of Born charges lie below; no permittivity of clamped ions does.
RMSPE_SMALLEST_LABEL = 0.5

# Labels are rounded to 1e-6. A shorter label counts as this long, so that a zero label is met by a zero prediction up
# to rounding in single precision, and by nothing else.
SMALLEST_NORM = 1e-5


@dataclass(frozen=True)
class Ratio:
    """A metric: scale * (sum of numerators / sum of denominators), or the square root of that quotient."""

    # numerator, denominator: (M,) one term per item
    numerator: Array
    denominator: Array
    root: bool = False  # whether to take the square root of the quotient (before the scale)
    scale: float = 1.0  # factor, 100 for percentages

    @property
    def value(self) -> float:
        """The metric over all items; NaN where no item counts."""
        return float(self.quotient(self.numerator.sum(), self.denominator.sum()))

    def quotient(self, numerator: Any, denominator: Any) -> Any:
        """The metric from sums of terms, element by element; NaN where the denominator is zero."""
        with np.errstate(divide="ignore", invalid="ignore"):
            quotient = np.divide(numerator, denominator)
        return self.scale * (np.sqrt(quotient) if self.root else quotient)

    def where(self, mask: NDArray[np.bool_]) -> Ratio:
        """The metric over the items that `mask` (M,) selects; the others stay with zero terms."""
        return Ratio(self.numerator * mask, self.denominator * mask, self.root, self.scale)


@dataclass(frozen=True)
class Metric:
    """A metric with what tables need: key in files, title, unit, and its function of (predicted, label)."""

    key: str
    title: str
    unit: str
    ratio: Callable[[Array, Array], Ratio]


def mae(predicted: Array, label: Array) -> Ratio:
    """Mean absolute error over all components of all items; arrays (M, ...).

    Examples
    --------
    >>> mae(np.array([1.0, 2.5]), np.array([1.0, 2.0])).value
    0.25
    """
    return _mean(np.abs(predicted - label))


def rmse(predicted: Array, label: Array) -> Ratio:
    """Root mean square error over all components of all items; arrays (M, ...).

    Examples
    --------
    >>> rmse(np.array([4.0, 6.0]), np.array([1.0, 3.0])).value
    3.0
    """
    return _mean((predicted - label) ** 2, root=True)


def mae_diagonal(predicted: Array, label: Array) -> Ratio:
    """Mean absolute error of the components xx, yy, zz; arrays (M, 3, 3).

    Examples
    --------
    >>> mae_diagonal(np.full((1, 3, 3), 0.5), np.zeros((1, 3, 3))).value
    0.5
    """
    return _mean(np.abs(_diagonal(predicted - label)))


def mae_offdiagonal(predicted: Array, label: Array) -> Ratio:
    """Mean absolute error of the six components off the diagonal; arrays (M, 3, 3).

    Examples
    --------
    >>> mae_offdiagonal(np.full((1, 3, 3), 0.5), np.eye(3)[None]).value
    0.5
    """
    return _mean(np.abs(offdiagonal(predicted - label)))


def rmspe_diagonal(predicted: Array, label: Array) -> Ratio:
    """Root mean square percentage error of the diagonal: 100 sqrt(mean(((p - l) / l)^2)) over xx, yy, zz; (M, 3, 3).

    Components whose label is smaller than `RMSPE_SMALLEST_LABEL` are left out (see `small_diagonals`).

    Examples
    --------
    >>> label = np.diag([2.0, 2.0, 0.1])[None]
    >>> rmspe_diagonal(label + 0.5 * np.eye(3), label).value
    25.0
    """
    labels = _diagonal(label)
    counts = np.abs(labels) >= RMSPE_SMALLEST_LABEL
    relative = np.where(counts, _diagonal(predicted - label) / np.where(counts, labels, 1.0), 0.0)
    return Ratio((relative**2).sum(axis=1), counts.sum(axis=1).astype(np.float64), root=True, scale=100.0)


def small_diagonals(label: Array) -> Ratio:
    """Per cent of diagonal components that `rmspe_diagonal` leaves out; label (M, 3, 3).

    Examples
    --------
    >>> round(small_diagonals(np.diag([2.0, 2.0, 0.1])[None]).value, 2)
    33.33
    """
    ratio = _mean((np.abs(_diagonal(label)) < RMSPE_SMALLEST_LABEL).astype(np.float64))
    return Ratio(ratio.numerator, ratio.denominator, scale=100.0)


def mae_antisymmetric(predicted: Array, label: Array) -> Ratio:
    """Mean absolute error of the antisymmetric part's three components (T_ij - T_ji) / 2; arrays (M, 3, 3).

    Examples
    --------
    >>> twist = np.array([[[0.0, 0.3, 0.0], [-0.3, 0.0, 0.0], [0.0, 0.0, 0.0]]])
    >>> round(mae_antisymmetric(twist, np.zeros((1, 3, 3))).value, 6)
    0.1
    """
    error = predicted - label
    antisymmetric = (error - error.swapaxes(1, 2)) / 2
    return _mean(np.abs(antisymmetric[:, [0, 1, 2], [1, 2, 0]]))


def frobenius(predicted: Array, label: Array) -> Ratio:
    """Mean over items of ||predicted - label||_F; arrays (M, ...). Invariant under rotation if Cartesian.

    Examples
    --------
    >>> frobenius(np.diag([3.0, 4.0, 0.0])[None], np.zeros((1, 3, 3))).value
    5.0
    """
    return _mean(norms(predicted - label)[:, None])


def ewt(predicted: Array, label: Array, percent: float, nonzero: bool = False) -> Ratio:
    """Per cent of items with ||predicted - label||_F / ||label||_F < percent / 100; arrays (M, ...).

    `percent`: the threshold, 25, 10 or 5 in the literature. `nonzero`: leave out items whose label is zero (shorter
    than `SMALLEST_NORM`). Kept in, each is met by a zero prediction, which symmetry alone can give.

    Examples
    --------
    >>> ewt(np.array([1.2, 1.4]), np.array([1.0, 1.0]), percent=25).value
    50.0
    """
    lengths = norms(label)
    within = norms(predicted - label) / np.maximum(lengths, SMALLEST_NORM) < percent / 100
    counts = lengths >= SMALLEST_NORM if nonzero else np.ones(len(lengths), dtype=np.bool_)
    return Ratio((within & counts).astype(np.float64), counts.astype(np.float64), scale=100.0)


def drift(charges: Array, crystal: NDArray[np.int64], per_atom: bool = False) -> Ratio:
    """Mean over cells of |component of sum_i Z_i|, which the acoustic sum rule makes zero in a neutral cell.

    `charges`: (N, 3, 3) Born charges of the atoms of all cells, unit e. `crystal`: (N,) the cell of each atom.
    `per_atom`: divide each cell's sum by its number of atoms: what the sum rule takes from every atom. Returns one term
    per cell, in the order of the sorted values of `crystal`.

    Examples
    --------
    >>> charges = np.stack([2.5 * np.eye(3), -2.2 * np.eye(3)])
    >>> round(drift(charges, np.array([0, 0])).value, 6)
    0.1
    """
    cells, index, sizes = np.unique(crystal, return_inverse=True, return_counts=True)
    sums = np.zeros((len(cells), *charges.shape[1:]))
    np.add.at(sums, index, charges)
    return _mean(np.abs(sums) / (sizes[:, None, None] if per_atom else 1.0))


def metrics_for(declared: Property, zero_labels: bool = False) -> tuple[Metric, ...]:
    """The metrics that apply to a property, in the order of a table.

    Parameters
    ----------
    declared
        The property; rank, index symmetry and stored shape decide.
    zero_labels
        Whether some labels are zero: then EwT is also given without them.

    Examples
    --------
    >>> from voigt.tensors.properties import PROPERTIES
    >>> [metric.key for metric in metrics_for(PROPERTIES["band_gap"])]
    ['mae', 'rmse']
    """
    unit = declared.unit
    metrics = [Metric("mae", "MAE", unit, mae), Metric("rmse", "RMSE", unit, rmse)]
    if declared.rank == 0:
        return tuple(metrics)
    if declared.rank == 2:
        metrics += [
            Metric("mae_diagonal", "MAE, diagonal", unit, mae_diagonal),
            Metric("mae_offdiagonal", "MAE, off-diagonal", unit, mae_offdiagonal),
            Metric("rmspe_diagonal", "RMSPE, diagonal", "%", rmspe_diagonal),
        ]
    if declared.formula == "ij":
        metrics.append(Metric("mae_antisymmetric", "MAE, antisymmetric part", unit, mae_antisymmetric))
    metrics += _norm_metrics(unit)
    if zero_labels:
        metrics += [
            Metric(f"ewt{x}_nonzero", f"EwT {x} %, labels not zero", "%", partial(ewt, percent=x, nonzero=True))
            for x in (25, 10, 5)
        ]
    if declared.stored_shape != declared.shape:
        # Norms of Voigt matrices change when the crystal is rotated; they serve to compare with published figures.
        metrics += [
            Metric(f"{entry.key}_matrix", f"{entry.title}, Voigt matrix", entry.unit, _as_stored(entry.ratio, declared))
            for entry in (Metric("mae", "MAE", unit, mae), *_norm_metrics(unit))
        ]
    return tuple(metrics)


def norms(tensor: Array) -> Array:
    """Frobenius norm (M,) of each item of (M, ...)."""
    squares: Array = (tensor**2).reshape(len(tensor), math.prod(tensor.shape[1:])).sum(axis=1)
    return np.sqrt(squares)


def offdiagonal(tensor: Array) -> Array:
    """(M, 3, 3) -> (M, 6): components xy xz yx yz zx zy."""
    return tensor[:, ~np.eye(3, dtype=np.bool_)]


def _diagonal(tensor: Array) -> Array:
    """(M, 3, 3) -> (M, 3)."""
    return np.diagonal(tensor, axis1=1, axis2=2)


def _mean(values: Array, root: bool = False) -> Ratio:
    """Mean over items and components of values (M, ...)."""
    means = values.reshape(len(values), -1).mean(axis=1) if values.size else np.zeros(0)
    return Ratio(means, np.ones(len(values)), root)


def _norm_metrics(unit: str) -> list[Metric]:
    """Fnorm and EwT."""
    return [
        Metric("frobenius", "mean Frobenius norm", unit, frobenius),
        *(Metric(f"ewt{x}", f"EwT {x} %", "%", partial(ewt, percent=x)) for x in (25, 10, 5)),
    ]


def _as_stored(ratio: Callable[[Array, Array], Ratio], declared: Property) -> Callable[[Array, Array], Ratio]:
    """The same metric on tensors as files hold them, which is how the literature counts."""
    return lambda predicted, label: ratio(declared.to_storage(predicted), declared.to_storage(label))
