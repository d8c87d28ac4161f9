"""What a capsule network says of several crystals together; few numbers of each are kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voigt.interpretation.coordination import polyhedra
from voigt.interpretation.crystals import CrystalExplanation, held_by_objects, overlap, strongest_capsules
from voigt.interpretation.measures import (
    Dependence,
    Scatter,
    Separation,
    dependence,
    entropy,
    participation_ratio,
    separation,
    standardized,
)
from voigt.interpretation.objects import Holdings, Motif, Objects
from voigt.models.sen.heads import SYSTEMS

Array = NDArray[np.float64]

SAMPLE = 3000  # distances between pairs are computed for at most so many crystals, drawn at random

SITE_LABELS = ("Wyckoff orbit", "site symmetry", "coordination", "element")


@dataclass(frozen=True)
class Dimension:
    """Effective number of dimensions of a cloud of vectors: participation ratio, width, and number of vectors."""

    ratio: float
    width: int
    vectors: int


@dataclass(frozen=True)
class SetSummary:
    """Figures of a set of crystals."""

    crystals: int
    systems: Mapping[str, int]  # crystal system -> number of crystals
    # Silhouette of the embeddings by crystal system; None if there is one system only, or no two crystals of the same
    separation: Separation | None
    sampled: int  # number of crystals behind it
    # embedding, stages: effective dimensions of the crystals' vectors, and of the atoms' before the first loop and
    # after each. Of atoms, one of each orbit counts.
    embedding: Dimension
    stages: tuple[Dimension, ...]
    # Label of a site -> what it shares with the part capsule that holds most of the atom. One atom of each orbit
    # counts; crystals with one orbit are left out, where all atoms have equal shares.
    sites: Mapping[str, Dependence | None]
    presence: Array  # (parts,) mean presence of each part capsule
    presence_entropy: tuple[float, float]  # mean and standard deviation over crystals of the entropy of presences, bits
    # Entropy of the mean presences, bits: above `presence_entropy` as far as crystals use different capsules
    usage_entropy: float
    # effective_parts: two to the power of these entropies: how many parts there would be if all were alike, mean over
    # the crystals, and over the set
    effective_parts: tuple[float, float]
    explained: float  # share of the present parts that belong to an object, by the posterior
    effective_objects: float  # how many objects there would be if those to which parts belong were alike
    objects: Objects  # what they stand for
    # overlap: see `overlap`; mean over the crystals with three orbits and more, None without one, and their number
    overlap: float | None
    overlapping: int


@dataclass
class Collection:
    """Gathers what a summary and maps need, crystal by crystal."""

    ids: list[str] = field(default_factory=list)
    systems: list[str] = field(default_factory=list)
    values: dict[str, list[float]] = field(default_factory=dict)
    _embeddings: list[Array] = field(default_factory=list)
    _presences: list[Array] = field(default_factory=list)
    _belonging: list[Array] = field(default_factory=list)  # (objects + 1,) presence that belongs to each, last: to none
    _holdings: Holdings = field(default_factory=Holdings)
    _overlaps: list[float] = field(default_factory=list)
    _capsules: list[int] = field(default_factory=list)
    _sites: dict[str, list[str]] = field(default_factory=lambda: {name: [] for name in SITE_LABELS})
    _stages: list[Scatter] = field(default_factory=list)

    def add(self, crystal: CrystalExplanation) -> None:
        """Take what is needed of a crystal; its matrices are not kept."""
        matrices = crystal.matrices
        self.ids.append(crystal.id)
        self.systems.append(crystal.symmetry.crystal_system)
        for name in crystal.properties:
            self.values.setdefault(name, []).append(matrices.prediction[name])
        self._embeddings.append(np.array(matrices.embedding))
        self._presences.append(np.array(matrices.presence))
        self._belonging.append(matrices.presence @ matrices.posterior)
        together = overlap(crystal)
        self._overlaps += [] if together is None else [together]
        self._stages = self._stages or [Scatter() for _ in matrices.atom_stages]
        for scatter, stage in zip(self._stages, matrices.atom_stages, strict=True):
            scatter.add(stage[crystal.representatives])
        around = polyhedra(crystal.atoms, crystal.representatives)
        self._holdings.add(held_by_objects(crystal), around)
        capsules = strongest_capsules(crystal)
        if capsules is not None:
            self._capsules += capsules.tolist()
            number = crystal.symmetry.number
            self._sites["Wyckoff orbit"] += [f"{number} {orbit.wyckoff}" for orbit in crystal.orbits]
            self._sites["site symmetry"] += [orbit.site_symmetry for orbit in crystal.orbits]
            self._sites["coordination"] += [str(polyhedron.number) for polyhedron in around]
            self._sites["element"] += [orbit.element for orbit in crystal.orbits]

    @property
    def embeddings(self) -> Array:
        """(n_crystals, width)."""
        return np.stack(self._embeddings)

    def summary(self) -> SetSummary:
        """Figures of what has been gathered; two crystals at least."""
        embeddings, presences = self.embeddings, np.stack(self._presences)
        chosen = sample(len(self.ids), SAMPLE)
        labels = np.array([SYSTEMS.index(self.systems[k]) for k in chosen])
        cloud = Scatter()
        cloud.add(embeddings)
        entropies = [entropy(row) for row in presences]
        belonging, usage = np.mean(self._belonging, axis=0), entropy(presences.mean(axis=0))
        return SetSummary(
            crystals=len(self.ids),
            systems={name: self.systems.count(name) for name in SYSTEMS if name in self.systems},
            separation=separation(standardized(embeddings[chosen]), labels),
            sampled=len(chosen),
            embedding=_dimension(cloud, embeddings.shape[1]),
            stages=tuple(_dimension(scatter, len(scatter.covariance)) for scatter in self._stages),
            sites={name: dependence(self._capsules, labels) for name, labels in self._sites.items()},
            presence=presences.mean(axis=0),
            presence_entropy=(float(np.mean(entropies)), float(np.std(entropies))),
            usage_entropy=usage,
            effective_parts=(float(np.mean(np.exp2(entropies))), float(np.exp2(usage))),
            explained=float(belonging[:-1].sum() / belonging.sum()),
            effective_objects=float(np.exp2(entropy(belonging[:-1]))) if belonging[:-1].any() else 0.0,
            objects=self._holdings.summary(),
            overlap=float(np.mean(self._overlaps)) if self._overlaps else None,
            overlapping=len(self._overlaps),
        )


def sample(count: int, most: int) -> NDArray[np.int64]:
    """Indices of all, or of so many drawn at random (always the same), in rising order."""
    if count <= most:
        return np.arange(count)
    return np.sort(np.random.default_rng(0).choice(count, most, replace=False))


def summary_record(summary: SetSummary) -> dict[str, Any]:
    """A summary as dictionaries, lists and numbers."""
    mean, deviation = summary.presence_entropy
    return {
        "crystals": summary.crystals,
        "crystal_systems": dict(summary.systems),
        "silhouette_by_crystal_system": None
        if summary.separation is None
        else {**vars(summary.separation), "crystals": summary.sampled},
        "participation_ratio": {
            "embedding": vars(summary.embedding),
            "atom_stages": [vars(stage) for stage in summary.stages],
        },
        "capsule_and_site": {
            name.replace(" ", "_"): None if shared is None else vars(shared) for name, shared in summary.sites.items()
        },
        "presence": {
            "mean": summary.presence.tolist(),
            "entropy_bits": {"mean": mean, "standard_deviation": deviation},
            "entropy_of_mean_bits": summary.usage_entropy,
            "effective_parts": dict(zip(("in_a_crystal", "over_the_set"), summary.effective_parts, strict=True)),
            "overlap": {"cosine": summary.overlap, "crystals": summary.overlapping},
        },
        "objects": {
            "explained": summary.explained,
            "effective": summary.effective_objects,
            "in_use": [
                {**vars(meaning), "motifs": [_motif_record(motif) for motif in meaning.motifs]}
                for meaning in summary.objects.in_use
            ],
        },
        "object_and_site": {
            "element": None if summary.objects.element is None else vars(summary.objects.element),
            "beyond_the_element": {
                name.replace(" ", "_"): None if told is None else vars(told)
                for name, told in summary.objects.beyond.items()
            },
        },
    }


def _motif_record(motif: Motif) -> dict[str, Any]:
    return {**vars(motif), "information_bits": motif.information}


def _dimension(scatter: Scatter, width: int) -> Dimension:
    return Dimension(participation_ratio(scatter.covariance), width, scatter.count)
