"""What a capsule network says of single crystals, atom by atom, orbit by orbit, capsule by capsule."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import ase
import numpy as np
from numpy.typing import NDArray

from voigt.errors import DomainError, InputError
from voigt.graphs import collate, pack
from voigt.models.checkpoint import LoadedModel, load_model
from voigt.models.sen.explanation import Explanation, explain
from voigt.models.sen.model import SEN
from voigt.notes import Failure, Note
from voigt.prediction.pipeline import Prepared, prepare
from voigt.prediction.plan import cover, shipped_properties
from voigt.prediction.result import Settings
from voigt.prediction.stream import CHUNK
from voigt.structures import InputStructure
from voigt.structures.symmetry import Symmetry
from voigt.tensors.properties import PROPERTIES, get_property
from voigt.writers.table import site_labels

Array = NDArray[np.float64]

DEFAULT_PROPERTY = "formation_energy"  # what is explained if neither a model nor a property is named

POSE = ("xx", "xy", "shift_x", "yx", "yy", "shift_y")
"""Numbers of a pose: the matrix [[xx, xy], [yx, yy]] and the shift of an affine map of the plane."""

NONE = "none"  # the dummy component of the mixture of object capsules: no object explains the part


@dataclass(frozen=True)
class Orbit:
    """A set of symmetry-equivalent atoms."""

    # Element and site, e.g. "O 2c"; with the index of the first atom, "O 4e [5]", where several orbits share them.
    label: str
    element: str
    site: str  # multiplicity in the conventional cell and Wyckoff letter, e.g. "2c"
    # wyckoff, site_symmetry: letter, and symbol of the site's point group
    wyckoff: str
    site_symmetry: str
    atoms: tuple[int, ...]  # indices in the input


@dataclass(frozen=True)
class CrystalExplanation:
    """One crystal with the inside of a network."""

    # id, atoms, symmetry, notes: as in `voigt.prediction.Prediction`
    id: str
    atoms: ase.Atoms
    symmetry: Symmetry
    notes: tuple[Note, ...]
    # model, member, members: name of the model, which of its networks is explained, and how many it has
    model: str
    member: int
    members: int
    properties: tuple[str, ...]  # what is explained, of all that the network predicts
    orbits: tuple[Orbit, ...]  # in the order of their first atoms
    matrices: Explanation  # what the network says; rows of atoms in the order of the input

    @property
    def warnings(self) -> tuple[str, ...]:
        """The sentences of `notes`."""
        return tuple(note.sentence for note in self.notes)

    @property
    def representatives(self) -> list[int]:
        """Index of the first atom of every orbit."""
        return [orbit.atoms[0] for orbit in self.orbits]

    @property
    def additive(self) -> tuple[str, ...]:
        """Properties that are shared out among the atoms."""
        return tuple(name for name in self.properties if name in self.matrices.shares)


def find_orbits(atoms: ase.Atoms, symmetry: Symmetry) -> tuple[Orbit, ...]:
    """Orbits of a crystal with distinct labels."""
    symbols, sites = atoms.get_chemical_symbols(), site_labels(symmetry)
    firsts = np.unique(symmetry.orbits).tolist()
    short = {first: f"{symbols[first]} {sites[first]}" for first in firsts}
    times = Counter(short.values())
    return tuple(
        Orbit(
            label=label if times[label] == 1 else f"{label} [{first}]",
            element=symbols[first],
            site=sites[first],
            wyckoff=symmetry.wyckoffs[first],
            site_symmetry=symmetry.site_symmetries[first],
            atoms=tuple(np.flatnonzero(symmetry.orbits == first).tolist()),
        )
        for first, label in short.items()
    )


def orbit_sums(crystal: CrystalExplanation, rows: Array) -> Array:
    """Sum over the atoms of every orbit: (n_atoms, ...) -> (n_orbits, ...)."""
    return np.stack([rows[list(orbit.atoms)].sum(axis=0) for orbit in crystal.orbits])


def strongest_orbits(crystal: CrystalExplanation, capsule: int, count: int = 2) -> list[tuple[Orbit, float]]:
    """Orbits with the largest shares in the forming of a part capsule, and these shares, summed over their atoms."""
    shares = orbit_sums(crystal, crystal.matrices.assignment[:, capsule])
    order = np.argsort(-shares, kind="stable")[:count]
    return [(crystal.orbits[k], float(shares[k])) for k in order]


def strongest_capsules(crystal: CrystalExplanation) -> NDArray[np.int64] | None:
    """Part capsule that holds most of an atom of each orbit, (n_orbits,): the largest presence times assignment.

    None if all atoms are equivalent: they then share every capsule equally, by symmetry.
    """
    if len(crystal.orbits) < 2:
        return None
    held = crystal.matrices.assignment[crystal.representatives] * crystal.matrices.presence
    return np.asarray(held.argmax(axis=1), dtype=np.int64)


def held_by_objects(crystal: CrystalExplanation) -> Array:
    """How much of each orbit every object holds, (n_orbits, objects + 1), the last belongs to none; it adds up to one.

    A part holds presence times assignment of the atoms, and passes it on to objects by the posterior.
    """
    matrices = crystal.matrices
    return np.asarray((orbit_sums(crystal, matrices.assignment) * matrices.presence) @ matrices.posterior)


def overlap(crystal: CrystalExplanation) -> float | None:
    """How far different parts are formed by the same atoms: mean cosine of their assignments, 1 if all are alike.

    Pairs of parts count as much as both are present. None with fewer than three orbits, where parts have little choice.
    """
    if len(crystal.orbits) < 3:
        return None
    columns, presence = crystal.matrices.assignment, crystal.matrices.presence
    columns = columns / np.maximum(np.linalg.norm(columns, axis=0), np.finfo(np.float64).tiny)
    weights = np.outer(presence, presence)
    np.fill_diagonal(weights, 0.0)
    total = float(weights.sum())
    return float((weights * (columns.T @ columns)).sum() / total) if total > 0 else None


def main_object(crystal: CrystalExplanation, capsule: int) -> tuple[int | None, float]:
    """Object capsule to which a part most probably belongs (None: to none), and the probability."""
    row = crystal.matrices.posterior[capsule]
    best = int(row.argmax())
    return (best if best < len(row) - 1 else None), float(row[best])


def relative_entropy(rows: Array) -> Array:
    """Entropy of distributions along the last axis over that of the uniform one: 1 even, 0 all in one place."""
    if rows.shape[-1] < 2:
        return np.ones(rows.shape[:-1])
    logarithm = np.log(np.where(rows > 0, rows, 1.0))
    return np.asarray(-(rows * logarithm).sum(axis=-1) / np.log(rows.shape[-1]))


@dataclass(frozen=True)
class Subject:
    """What is to be explained."""

    model: LoadedModel  # with all its members
    # member, network: the one that is explained: explanations are no means over networks, whose capsules differ
    member: int
    network: SEN
    properties: tuple[str, ...]  # which of the model's properties


def choose(model: str | None, property_name: str | None, member: int = 0) -> Subject:
    """The network to explain, and which of its properties.

    Raises TargetError: no such property; DomainError: the property is no scalar, the model does not predict it, or the
    model is of another method; InputError: no such member; WeightsError: the model cannot be loaded.

    `model`: name of a shipped model or a file; None: the shipped model that predicts the property.
    `property_name`: what to explain; None: all that a named model predicts, else `DEFAULT_PROPERTY`. `member`: which
    network of an ensemble.
    """
    wanted = property_name if property_name is not None or model is not None else DEFAULT_PROPERTY
    if wanted is not None and get_property(wanted).rank:
        scalars = ", ".join(name for name, entry in PROPERTIES.items() if entry.rank == 0)
        raise DomainError(f"explain is for scalars ({scalars}); '{wanted}' is a tensor")
    loaded = load_model(model or next(iter(cover((wanted or DEFAULT_PROPERTY,), shipped_properties()))))
    if not isinstance(loaded.members[0], SEN):
        raise DomainError(f"explain needs a SEN model; '{loaded.name}' is of method {loaded.hypers.method}")
    known, count = loaded.hypers.properties, len(loaded.members)
    if wanted is not None and wanted not in known:
        raise DomainError(f"model '{loaded.name}' does not predict {wanted}; it predicts {', '.join(known)}")
    network = loaded.members[member] if 0 <= member < count else None
    if not isinstance(network, SEN):
        choice = "it is a single network, member 0" if count == 1 else f"choose one of 0 to {count - 1}"
        raise InputError(f"model '{loaded.name}' has no member {member} that is a SEN; {choice}")
    return Subject(loaded, member, network, known if wanted is None else (wanted,))


def explain_structures(
    structures: Iterable[InputStructure | Failure], subject: Subject, settings: Settings
) -> Iterator[CrystalExplanation | Failure]:
    """Explain a stream of structures in order; one that fails is returned as a `Failure`, the rest go on.

    `structures`: see `voigt.structures.read`. `subject`: see `choose`. `settings`: `symprec`, `allow_unseen` and
    `max_edges` are used.
    """
    chunks = iter(structures)
    while chunk := list(islice(chunks, CHUNK)):
        prepared = [
            entry if isinstance(entry, Failure) else prepare(subject.model, entry, settings) for entry in chunk
        ]
        explained = _explain([entry for entry in prepared if isinstance(entry, Prepared)], subject, settings.max_edges)
        for entry in prepared:
            yield entry if isinstance(entry, Failure) else next(explained)


def _explain(prepared: Sequence[Prepared], subject: Subject, max_edges: int) -> Iterator[CrystalExplanation]:
    for indices in pack([entry.graph.num_edges for entry in prepared], max_edges):
        chosen = [prepared[k] for k in indices]
        batch = collate([entry.graph for entry in chosen]).to(subject.model.device)
        explanations = explain(subject.network, batch)
        for entry, matrices in zip(chosen, explanations, strict=True):
            yield CrystalExplanation(
                id=entry.structure.id,
                atoms=entry.structure.atoms,
                symmetry=entry.symmetry,
                notes=entry.notes,
                model=subject.model.name,
                member=subject.member,
                members=len(subject.model.members),
                properties=subject.properties,
                orbits=find_orbits(entry.structure.atoms, entry.symmetry),
                matrices=matrices,
            )
