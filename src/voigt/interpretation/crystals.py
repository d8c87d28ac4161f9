"""What a capsule network says of single crystals, atom by atom, orbit by orbit, capsule by capsule."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import ase
import numpy as np
from numpy.typing import NDArray

from voigt.errors import DomainError, InputError, VoigtError
from voigt.graphs.batch import collate, pack
from voigt.models.checkpoint import LoadedModel, load_model
from voigt.models.sen.explanation import Explanation, explain
from voigt.models.sen.model import SEN
from voigt.prediction.pipeline import Prepared, prepare
from voigt.prediction.result import Settings
from voigt.prediction.stream import CHUNK, Failure
from voigt.structures.reading import Frame
from voigt.structures.symmetry import Symmetry
from voigt.tensors.properties import PROPERTIES, get_property
from voigt.writers.table import site_labels

Array = NDArray[np.float64]

DEFAULT_PROPERTY = "formation_energy"
"""What is explained if neither a model nor a property is named."""

POSE = ("xx", "xy", "shift_x", "yx", "yy", "shift_y")
"""Numbers of a pose: the matrix [[xx, xy], [yx, yy]] and the shift of an affine map of the plane."""

NONE = "none"
"""The dummy component of the mixture of object capsules: no object explains the part."""


@dataclass(frozen=True)
class Orbit:
    """A set of symmetry-equivalent atoms.

    Attributes
    ----------
    label
        Element and site, e.g. "O 2c"; with the index of the first atom, "O 4e [5]", where several orbits share them.
    element
        Symbol.
    site
        Multiplicity in the conventional cell and Wyckoff letter, e.g. "2c".
    wyckoff, site_symmetry
        Letter, and symbol of the site's point group.
    atoms
        Indices in the input.
    """

    label: str
    element: str
    site: str
    wyckoff: str
    site_symmetry: str
    atoms: tuple[int, ...]


@dataclass(frozen=True)
class CrystalExplanation:
    """One crystal with the inside of a network.

    Attributes
    ----------
    id, atoms, symmetry, warnings
        As in `voigt.prediction.Prediction`.
    model, member, members
        Name of the model, which of its networks is explained, and how many it has.
    properties
        What is explained, of all that the network predicts.
    orbits
        In the order of their first atoms.
    matrices
        What the network says; rows of atoms in the order of the input.
    """

    id: str
    atoms: ase.Atoms
    symmetry: Symmetry
    warnings: tuple[str, ...]
    model: str
    member: int
    members: int
    properties: tuple[str, ...]
    orbits: tuple[Orbit, ...]
    matrices: Explanation

    @property
    def representatives(self) -> list[int]:
        """Index of the first atom of every orbit."""
        return [orbit.atoms[0] for orbit in self.orbits]

    @property
    def additive(self) -> tuple[str, ...]:
        """Properties that are shared out among the atoms."""
        return tuple(name for name in self.properties if name in self.matrices.shares)


def find_orbits(atoms: ase.Atoms, symmetry: Symmetry) -> tuple[Orbit, ...]:
    """Orbits of a crystal with labels that tell them apart."""
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
    """Part capsule in whose forming an atom of each orbit has its largest share, (n_orbits,).

    None if all atoms are equivalent: they then share every capsule equally, whatever the network does.
    """
    if len(crystal.orbits) < 2:
        return None
    return np.asarray(crystal.matrices.assignment[crystal.representatives].argmax(axis=1), dtype=np.int64)


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
    """What is to be explained.

    Attributes
    ----------
    model
        The model, with all its members.
    member, network
        The one that is explained: explanations are no means over networks, whose capsules differ.
    properties
        Which of the model's properties.
    """

    model: LoadedModel
    member: int
    network: SEN
    properties: tuple[str, ...]


def choose(model: str | None, property_name: str | None, member: int = 0) -> Subject:
    """The network to explain, and which of its properties.

    Parameters
    ----------
    model
        Name of a shipped model or a file; None: the shipped model that has the name of the property.
    property_name
        What to explain; None: all that a named model predicts, else `DEFAULT_PROPERTY`.
    member
        Which network of an ensemble.

    Raises
    ------
    TargetError
        No such property.
    DomainError
        The property is no scalar, the model does not predict it, or the model is of another method.
    InputError
        No such member.
    WeightsError
        The model cannot be loaded.
    """
    wanted = property_name if property_name is not None or model is not None else DEFAULT_PROPERTY
    if wanted is not None and get_property(wanted).rank:
        scalars = ", ".join(name for name, entry in PROPERTIES.items() if entry.rank == 0)
        raise DomainError(f"explain is for scalars ({scalars}); '{wanted}' is a tensor")
    loaded = load_model(model or wanted or DEFAULT_PROPERTY)
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


def explain_frames(
    frames: Iterable[Frame], subject: Subject, settings: Settings
) -> Iterator[CrystalExplanation | Failure]:
    """Explain a stream of frames in order; a frame that fails is returned with its reason, the rest go on.

    Parameters
    ----------
    frames
        See `voigt.structures.reading.read`.
    subject
        See `choose`.
    settings
        `symprec`, `allow_unseen` and `max_edges` are used.
    """
    chunks = iter(frames)
    while chunk := list(islice(chunks, CHUNK)):
        prepared = [_prepare(frame, subject.model, settings) for frame in chunk]
        explained = _explain([entry for entry in prepared if isinstance(entry, Prepared)], subject, settings.max_edges)
        for frame, entry in zip(chunk, prepared, strict=True):
            yield Failure(frame, entry) if isinstance(entry, str) else next(explained)


def _prepare(frame: Frame, model: LoadedModel, settings: Settings) -> Prepared | str:
    if frame.atoms is None:
        return frame.describe()
    try:
        return prepare(model, frame.atoms, frame.id, settings)
    except VoigtError as error:
        return f"{frame.source}, frame {frame.index}: {error}"


def _explain(prepared: Sequence[Prepared], subject: Subject, max_edges: int) -> Iterator[CrystalExplanation]:
    for indices in pack([entry.graph.num_edges for entry in prepared], max_edges):
        chosen = [prepared[k] for k in indices]
        found = explain(subject.network, collate([entry.graph for entry in chosen]))
        for entry, matrices in zip(chosen, found, strict=True):
            yield CrystalExplanation(
                id=entry.id,
                atoms=entry.atoms,
                symmetry=entry.symmetry,
                warnings=entry.warnings,
                model=subject.model.name,
                member=subject.member,
                members=len(subject.model.members),
                properties=subject.properties,
                orbits=find_orbits(entry.atoms, entry.symmetry),
                matrices=matrices,
            )
