"""What object capsules stand for: the atoms and coordination polyhedra of which each holds more than the set does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from voigt.interpretation.coordination import Polyhedron
from voigt.interpretation.elements import group
from voigt.interpretation.enrichment import Integers, enrichment
from voigt.interpretation.measures import Conditional, Dependence, conditional, dependence

Array = NDArray[np.float64]
Kind = Literal["element", "group", "state", "polyhedron", "polyhedron of groups"]

ATOMS: tuple[Kind, ...] = ("element", "group", "state")
POLYHEDRA: tuple[Kind, ...] = ("polyhedron", "polyhedron of groups")

IN_USE = 0.02  # share of the present parts from which on an object is described
USED = 0.1  # share of the present parts of a crystal from which on the crystal uses an object
FEWEST = 3  # crystals that must have a motif before it is tested
SIGNIFICANT = 0.05  # of the motifs that are stated, so many are there by chance
TELLING = 1.1  # a state is stated if its lift is so many times that of the group


@dataclass(frozen=True)
class Motif:
    """A label of sites of which an object holds more than the set does."""

    label: str  # such as Ti, Ti group, oxidized Ti group, Ti octahedron (O6), Ti group octahedron (O)
    kind: Kind
    within: str | None  # the group or the polyhedron of groups that the label is part of
    share: float  # of the atoms that the object holds
    share_in_set: float  # of all atoms
    lift: float  # the first over the second
    center_lift: float  # lift of the center whatever surrounds it: its element, or its group in labels by groups
    # held_in, crystals: in how many crystals the object holds most of the motif, and how many have the motif
    held_in: int
    crystals: int
    p_value: float  # see `enrichment`; adjusted for the number of tests as Benjamini and Hochberg (1995) do
    # purity: share of the crystals that use the object which have the motif, None if none uses it; and of all crystals
    purity: float | None
    purity_in_set: float

    @property
    def information(self) -> float:
        """Bits that the motif adds to the divergence of what the object holds from what the set holds."""
        return self.share * float(np.log2(self.lift))


@dataclass(frozen=True)
class Meaning:
    """What an object capsule stands for."""

    capsule: int
    present: float  # share of the present parts of the set that belong to it
    # main_in, used_in: number of crystals to which it belongs more than any other does, and with a share of `USED`
    main_in: int
    used_in: int
    motifs: tuple[Motif, ...]  # all that are significant, the most informative first

    def leading(self, kinds: Sequence[Kind], most: int) -> list[Motif]:
        """The most informative motifs of some kinds, none of which share sites with each other."""
        chosen: list[Motif] = []
        for motif in self.motifs:
            root = motif.within or motif.label
            # Different labels of a kind share no sites; those of different kinds may if they are part of the same.
            shared = any((other.within or other.label) == root and other.kind != motif.kind for other in chosen)
            if motif.kind in kinds and not shared:
                chosen.append(motif)
        return chosen[:most]


@dataclass(frozen=True)
class Objects:
    """What the object capsules of a set stand for."""

    in_use: tuple[Meaning, ...]
    element: Dependence | None  # what the element of an atom tells of the object that holds most of it
    beyond: Mapping[str, Conditional | None]  # label -> what it tells beyond the element


@dataclass
class Holdings:
    """Gathers what objects hold, crystal by crystal."""

    _weights: list[Array] = field(default_factory=list)
    _polyhedra: list[Sequence[Polyhedron]] = field(default_factory=list)

    def add(self, weights: Array, polyhedra: Sequence[Polyhedron]) -> None:
        """Take the orbits of a crystal.

        `weights`: (n_orbits, objects + 1) of `voigt.interpretation.crystals.held_by_objects`. `polyhedra`: that of one
        atom of each orbit.
        """
        self._weights.append(weights)
        self._polyhedra.append(polyhedra)

    def summary(self) -> Objects:
        """What the objects stand for in the crystals that were gathered.

        An orbit counts by all its atoms, and every crystal counts as one, so that neither the choice of the cell nor
        its size changes anything.
        """
        weights = np.concatenate(self._weights)
        polyhedra = [polyhedron for crystal in self._polyhedra for polyhedron in crystal]
        crystal = np.repeat(np.arange(len(self._weights)), [len(rows) for rows in self._weights])
        belonging = np.stack([rows.sum(axis=0) for rows in self._weights])
        share, main = belonging.sum(axis=0) / belonging.sum(), belonging.argmax(axis=1)
        uses = belonging >= USED * belonging.sum(axis=1, keepdims=True)
        described = [k for k in range(len(share) - 1) if share[k] >= IN_USE]
        motifs = _motifs(_labelings(polyhedra), crystal, weights, uses, described)
        meanings = (
            Meaning(k, float(share[k]), int((main == k).sum()), int(uses[:, k].sum()), tuple(motifs[k]))
            for k in described
        )
        return Objects(tuple(meanings), *_sites(polyhedra, crystal, weights))


@dataclass(frozen=True)
class _Labeling:
    """One way to label the sites, what each label is within, and its center."""

    kind: Kind
    labels: Sequence[str]
    within: Sequence[str] | None
    centers: Sequence[str]


def _labelings(polyhedra: Sequence[Polyhedron]) -> tuple[_Labeling, ...]:
    """All that are tested; of those with the same sites the first counts."""
    elements = [one.center for one in polyhedra]
    groups = [group(element) for element in elements]
    fine, coarse = [one.by_elements for one in polyhedra], [one.by_groups for one in polyhedra]
    return (
        _Labeling("element", elements, groups, elements),
        _Labeling("group", groups, None, groups),
        _Labeling("state", [one.state for one in polyhedra], groups, groups),
        _Labeling("polyhedron", fine, coarse, elements),
        _Labeling("polyhedron of groups", coarse, None, groups),
    )


def _motifs(
    labelings: Sequence[_Labeling],
    crystal: Integers,
    weights: Array,
    uses: NDArray[np.bool_],
    described: Sequence[int],
) -> dict[int, list[Motif]]:
    """Significant motifs of the objects that are described, the most informative first."""
    from scipy.stats import false_discovery_control

    tables = [enrichment(labeling.labels, crystal, weights, uses) for labeling in labelings]
    row = {label: (table, j) for table in tables[:2] for j, label in enumerate(table.labels)}
    fine = {label for labeling in labelings if labeling.within for label in labeling.labels}
    places = [
        (n, j, k)
        for n, (labeling, table) in enumerate(zip(labelings, tables, strict=True))
        for j in np.flatnonzero(table.crystals >= FEWEST).tolist()
        if labeling.within or table.labels[j] not in fine  # H and O are groups of their own
        for k in described
    ]
    found: dict[int, list[Motif]] = {k: [] for k in described}
    if not places:
        return found
    adjusted = false_discovery_control([tables[n].p_value[j, k] for n, j, k in places])
    centers = [dict(zip(labeling.labels, labeling.centers, strict=True)) for labeling in labelings]
    within = [dict(zip(one.labels, one.within, strict=True)) if one.within else {} for one in labelings]
    for (n, j, k), p_value in zip(places, adjusted.tolist(), strict=True):
        table, label = tables[n], tables[n].labels[j]
        if p_value >= SIGNIFICANT or table.lift[j, k] <= 1:
            continue
        center, place = row[centers[n][label]]
        if labelings[n].kind == "state" and table.lift[j, k] < TELLING * center.lift[place, k]:
            continue
        found[k].append(
            Motif(
                label=label,
                kind=labelings[n].kind,
                within=within[n].get(label),
                share=float(table.share[j, k]),
                share_in_set=float(table.share_in_set[j]),
                lift=float(table.lift[j, k]),
                center_lift=float(center.lift[place, k]),
                held_in=int(table.held_in[j, k]),
                crystals=int(table.crystals[j]),
                p_value=p_value,
                purity=float(table.purity[j, k]) if uses[:, k].any() else None,
                purity_in_set=float(table.purity_in_set[j]),
            )
        )
    # Rounded: labels of the same sites have the same information, and keep their order.
    return {k: sorted(motifs, key=lambda motif: -round(motif.information, 9)) for k, motifs in found.items()}


def _sites(
    polyhedra: Sequence[Polyhedron], crystal: Integers, weights: Array
) -> tuple[Dependence | None, dict[str, Conditional | None]]:
    """What decides which object holds most of an atom: its element, and what of its surroundings beyond that.

    As in `enrichment`, sites of a crystal that a label does not tell apart are one item.
    """
    labels: dict[str, list[object]] = {
        "oxidized or not": [one.oxidized for one in polyhedra],
        "coordination number": [one.number for one in polyhedra],
        "polyhedron": [one.shape for one in polyhedra],
        "groups of neighbors": [one.neighbor_groups for one in polyhedra],
    }
    owner, kept = _items([f"{k} {one.center}" for k, one in zip(crystal, polyhedra, strict=True)], weights)
    element = dependence(owner, [polyhedra[k].center for k in kept])
    beyond = {}
    for name, values in labels.items():
        keys = [f"{k} {one.center} {value}" for k, one, value in zip(crystal, polyhedra, values, strict=True)]
        owner, kept = _items(keys, weights)
        beyond[name] = conditional(owner, [values[k] for k in kept], [polyhedra[k].center for k in kept])
    return element, beyond


def _items(keys: Sequence[str], weights: Array) -> tuple[list[int], list[int]]:
    """Object that holds most of the sites of each key, and the index of the first of them."""
    _, first, item = np.unique(keys, return_index=True, return_inverse=True)
    total = np.zeros((len(first), weights.shape[1]))
    np.add.at(total, item, weights)
    return total.argmax(axis=1).tolist(), first.tolist()
