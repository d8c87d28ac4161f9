"""What leaks between the parts of a split: how near the crystals of val and test are to those of training."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from voigt.data.labeled import LabeledCrystal
from voigt.data.splitting.clusters import fractions_of
from voigt.data.splitting.fingerprints import Fingerprint, fingerprint, structure_distance

NEAR = 0.02
"""Angstrom up to which two crystals of one formula are near duplicates, see `structure_distance`."""
QUANTILES = (0.1, 0.5, 0.9)
AT_ONCE = 2_000_000
"""Distances that are held at once."""


@dataclass(frozen=True, eq=False)
class Leakage:
    """Nearest neighbors in training of the crystals of one part.

    Attributes
    ----------
    part
        "val" or "test".
    composition
        (n,) least share of atoms that would have to be of another element to give the composition of a crystal of
        training: half of the sum of the differences of shares, 0 to 1.
    structure
        (n,) distance to the nearest geometry of training, whatever its elements, Angstrom: largest difference between
        the mean distances to the first, second, ... neighbor, both at the volume of the crystal.
    formulas
        (n,) whether training holds the same reduced formula.
    duplicate
        (n,) distance to the nearest crystal of training with the same formula, Angstrom; infinite beyond `NEAR`.
    """

    part: str
    composition: NDArray[np.float64]
    structure: NDArray[np.float64]
    formulas: NDArray[np.bool_]
    duplicate: NDArray[np.float64]

    @property
    def near_duplicates(self) -> int:
        """Crystals with a near duplicate in training."""
        return int(np.isfinite(self.duplicate).sum())

    def record(self) -> dict[str, object]:
        """Counts and quantiles as plain numbers, for JSON."""
        quantiles = {
            name: {f"{q:g}": float(np.quantile(values, q)) for q in QUANTILES}
            for name, values in (("composition", self.composition), ("structure_angstrom", self.structure))
        }
        return {
            "part": self.part,
            "crystals": len(self.composition),
            "formula_in_train": int(self.formulas.sum()),
            "same_geometry_in_train": int((self.structure <= NEAR).sum()),
            "near_duplicates_in_train": self.near_duplicates,
            **quantiles,
        }


def measure_leakage(
    crystals: Sequence[LabeledCrystal], labels: Sequence[str], prints: Sequence[Fingerprint] | None = None
) -> list[Leakage]:
    """Leakage into val and test.

    Parameters
    ----------
    crystals
        All crystals.
    labels
        Part of each: "train", "val", "test" or "".
    prints
        Fingerprint of each if they are known.

    Returns
    -------
    One entry for each of val and test that holds crystals, none where training is empty.

    Examples
    --------
    >>> from voigt.data import read_labeled
    >>> crystals = read_labeled("examples/three_crystals.xyz", ())
    >>> (found,) = measure_leakage(crystals, ["train", "train", "test"])
    >>> found.composition.round(2).tolist(), found.near_duplicates
    ([0.5], 0)
    """
    train = [index for index, label in enumerate(labels) if label == "train"]
    parts = {name: [index for index, label in enumerate(labels) if label == name] for name in ("val", "test")}
    if not train:
        return []
    prints = [fingerprint(crystal.atoms) for crystal in crystals] if prints is None else prints
    shares = fractions_of([crystal.atoms for crystal in crystals])
    shares = shares[:, shares.any(axis=0)]
    geometry = np.stack([entry.mean for entry in prints])
    edges = np.array([entry.edge for entry in prints])
    of_formula = defaultdict(list)
    for index in train:
        of_formula[crystals[index].group].append(index)
    found = []
    for name, members in parts.items():
        if not members:
            continue
        duplicate = [_nearest_twin(prints, index, of_formula.get(crystals[index].group, ())) for index in members]
        found.append(
            Leakage(
                name,
                nearest(shares[members], shares[train], "cityblock") / 2,
                nearest(geometry[members], geometry[train], "chebyshev") * edges[members],
                np.array([crystals[index].group in of_formula for index in members]),
                np.array(duplicate),
            )
        )
    return found


def nearest(points: NDArray[np.float64], others: NDArray[np.float64], metric: str) -> NDArray[np.float64]:
    """(n,) distance of each point (n, d) to the nearest of others (m, d), in a metric of SciPy."""
    from scipy.spatial.distance import cdist

    others = np.unique(others, axis=0)
    step = max(1, AT_ONCE // len(others))
    rows = [cdist(points[k : k + step], others, metric).min(axis=1) for k in range(0, len(points), step)]
    return np.concatenate(rows)


def _nearest_twin(prints: Sequence[Fingerprint], index: int, others: Sequence[int]) -> float:
    best, found = NEAR, np.inf
    for other in others:
        distance = structure_distance(prints[index], prints[other], best)
        if distance <= best:
            best = found = distance
    return float(found)
