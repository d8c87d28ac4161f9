"""Which labels of sites a group of sites holds more of than chance gives, groups overlapping by weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Enrichment:
    """Figures of L labels in G groups, (L, G), and in the set, (L,)."""

    labels: tuple[str, ...]
    share: Array  # of the weight of a group, the part with the label
    share_in_set: Array
    # held_in, crystals: in how many crystals the group holds most of the label, and how many have the label
    held_in: Integers
    crystals: Integers
    p_value: Array  # one-sided, of `held_in`; not adjusted for the number of labels and groups
    purity: Array  # share of the crystals that use the group which have the label, nan if none uses it
    purity_in_set: Array  # of all crystals

    @property
    def lift(self) -> Array:
        """Share in the group over share in the set."""
        return self.share / self.share_in_set[:, None]


def enrichment(labels: Sequence[str], crystal: Integers, weights: Array, uses: NDArray[np.bool_]) -> Enrichment:
    """Compare what groups of sites hold with the whole.

    Shares are of weights. The test is of counts: all sites of a crystal with the same label are one item, which belongs
    to the group that holds most of it. Items of a label are all of different crystals, hence independent, and the
    number of them that belong to a group is hypergeometric if groups know nothing of labels.

    Parameters
    ----------
    labels
        (n,) one of each site.
    crystal
        (n,) index of the crystal to which each site belongs.
    weights
        (n, G) how far each site belongs to each group.
    uses
        (n_crystals, G) whether the crystal uses the group; decides `purity` alone.

    Examples
    --------
    >>> sites = np.eye(2)[[0, 0, 1, 1]]
    >>> found = enrichment(["a", "a", "b", "b"], np.arange(4), sites, sites > 0)
    >>> found.lift.tolist(), found.purity[0].tolist(), found.p_value[0].round(4).tolist()  # 2 of 2 by chance: 1 in 6
    ([[2.0, 0.0], [0.0, 2.0]], [1.0, 0.0], [0.1667, 1.0])
    """
    from scipy.stats import hypergeom

    names, code = np.unique(np.asarray(labels), return_inverse=True)
    held, total = _sums(weights, code, len(names)), weights.sum(axis=0)
    items, item = np.unique(crystal * len(names) + code, return_inverse=True)
    owner, label = _sums(weights, item, len(items)).argmax(axis=1), items % len(names)
    held_in = np.zeros(held.shape, dtype=np.int64)
    np.add.at(held_in, (label, owner), 1)
    crystals, owned = held_in.sum(axis=1), held_in.sum(axis=0)
    using, having = uses.sum(axis=0), _sums(uses[items // len(names)].astype(np.float64), label, len(names))
    return Enrichment(
        labels=tuple(names.tolist()),
        share=held / np.where(total > 0, total, 1.0),
        share_in_set=held.sum(axis=1) / total.sum(),
        held_in=held_in,
        crystals=crystals,
        p_value=hypergeom.sf(held_in - 1, len(items), owned[None, :], crystals[:, None]),
        purity=np.where(using > 0, having / np.maximum(using, 1), np.nan),
        purity_in_set=crystals / len(uses),
    )


def _sums(rows: Array, place: Integers, count: int) -> Array:
    """Sums of the rows that have the same place: (n, width) -> (count, width)."""
    result = np.zeros((count, rows.shape[1]))
    np.add.at(result, place, rows)
    return result
