"""Which frames to label next: those where the members of a model disagree, and that do not resemble each other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import ase
import numpy as np
import torch
from numpy.typing import NDArray

from voigt.errors import DomainError, InputError
from voigt.files import atomic_write
from voigt.graphs import collate
from voigt.graphs.building import GraphOptions, structure_graph
from voigt.models.checkpoint import LoadedModel
from voigt.models.network import Network
from voigt.notes import Failure
from voigt.prediction.result import Settings
from voigt.prediction.stream import predict_structures
from voigt.structures import InputStructure, read
from voigt.tensors.layout import norm
from voigt.tensors.properties import PROPERTIES

Array = NDArray[np.float64]
_SHOWN = 10


@dataclass(frozen=True)
class Choice:
    """A frame to label.

    Attributes
    ----------
    index
        Place among the frames.
    spread
        Spread of the members over that of the mean frame; 1 for a model without spread.
    distance
        To the nearest frame that was labeled or chosen before, over the mean distance of two frames; infinite for the
        first one.
    """

    index: int
    spread: float
    distance: float


def select_frames(
    model: LoadedModel,
    frames: Sequence[ase.Atoms],
    count: int,
    labeled: Sequence[ase.Atoms] = (),
    advance: Callable[[], None] = lambda: None,
) -> list[Choice]:
    """Choose frames whose labels would teach most, the most valuable first.

    Greedy: each is the one with the largest product of spread and distance to the nearest frame that is labeled or
    chosen. The spread is that of the members of the model, as share of its mean, averaged over the properties. The
    distance is that of mean and standard deviation, over the atoms of each element, of what the network makes of their
    surroundings (invariants of its last features, each over its standard deviation).

    Parameters
    ----------
    model
        With message passing; an ensemble, or the spread says nothing and distance alone decides.
    frames
        To choose from.
    count
        How many.
    labeled
        Frames that have labels already: what resembles them is of little use.
    advance
        Called after each frame.

    Raises
    ------
    InputError
        There are fewer frames than that, or a frame cannot be predicted.
    DomainError
        The model has no message passing.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from voigt.models.checkpoint import load_model
    >>> salts = [bulk("MgO", "rocksalt", a) for a in (4.2, 4.2, 4.8)]
    >>> [choice.index for choice in select_frames(load_model("born"), salts, 2)][0]
    2
    """
    if not 0 < count <= len(frames):
        raise InputError(f"{count} frames cannot be chosen from {len(frames)}; choose fewer, or give more frames")
    network = model.members[0]
    if network.trunk is None:
        raise DomainError(f"{model.name} has no message passing, by which frames are told apart; choose another model")
    spreads = _spreads(model, frames, advance)
    described = _standardized([_descriptor(network, model, atoms) for atoms in (*frames, *labeled)])
    return greedy(spreads, described[: len(frames)], described[len(frames) :], count)


def read_sound(paths: Sequence[str | Path]) -> list[InputStructure]:
    """All frames of some files.

    Raises
    ------
    InputError
        A frame is unusable; the first few are listed.
    """
    entries = list(read(list(paths))) if paths else []
    broken = [entry.reason for entry in entries if isinstance(entry, Failure)]
    if broken:
        more = f"\n  ... and {len(broken) - _SHOWN} more" if len(broken) > _SHOWN else ""
        raise InputError("unusable frames, correct or remove them:\n  " + "\n  ".join(broken[:_SHOWN]) + more)
    return [entry for entry in entries if isinstance(entry, InputStructure)]


def write_choice(frames: Sequence[ase.Atoms], path: str | Path) -> None:
    """Write chosen frames as extended XYZ, atomically, with all that they hold and it can."""
    from ase.io.extxyz import write_xyz

    from voigt.writers.readable import readable

    with atomic_write(path) as stream:
        for atoms in frames:
            write_xyz(stream, readable(atoms))


def greedy(spreads: Array, frames: Array, labeled: Array, count: int) -> list[Choice]:
    """The choice itself.

    Parameters
    ----------
    spreads
        (n,) of the frames.
    frames, labeled
        (n, k) and (m, k) descriptions.
    count
        How many.

    Examples
    --------
    >>> chosen = greedy(np.ones(3), np.array([[0.0], [0.1], [5.0]]), np.array([[0.0]]), 2)
    >>> [choice.index for choice in chosen]
    [2, 1]
    """
    mean = _mean_distance(frames)
    nearest = np.full(len(frames), np.inf)
    for row in labeled:
        nearest = np.minimum(nearest, np.linalg.norm(frames - row, axis=1) / mean)
    free = np.ones(len(frames), dtype=bool)
    chosen: list[Choice] = []
    for _ in range(count):
        # Before anything is labeled all distances are infinite, and the spread alone decides.
        value = spreads * np.where(np.isinf(nearest), 1.0, nearest)
        best = int(np.argmax(np.where(free, value, -1.0)))
        chosen.append(Choice(best, float(spreads[best]), float(nearest[best])))
        free[best] = False
        nearest = np.minimum(nearest, np.linalg.norm(frames - frames[best], axis=1) / mean)
    return chosen


def _mean_distance(frames: Array) -> float:
    """Root mean square distance of two frames, 1 if all are the same."""
    return float(np.sqrt(2.0 * frames.var(axis=0).sum())) or 1.0


def _spreads(model: LoadedModel, frames: Sequence[ase.Atoms], advance: Callable[[], None]) -> Array:
    """(n,) spread of each frame over the mean of all frames, averaged over the properties."""
    structures = [InputStructure("", k, str(k), atoms) for k, atoms in enumerate(frames)]
    settings = Settings(allow_unseen=True, check_domain=False)
    rows: list[dict[str, float]] = []
    for k, result in enumerate(predict_structures(structures, model, settings)):
        if isinstance(result, Failure):
            raise InputError(f"frame {k} cannot be predicted: {result.problem}")
        rows.append({name: _mean_norm(name, value) for name, value in result.spread.items()})
        advance()
    total, names = np.zeros(len(rows)), list(rows[0])
    for name in names:
        values = np.array([row[name] for row in rows])
        total += values / (values.mean() or 1.0)
    return total / len(names) if names else np.ones(len(rows))


def _mean_norm(name: str, spread: Array) -> float:
    return float(np.mean(norm(PROPERTIES[name], spread)))


def _descriptor(network: Network, model: LoadedModel, atoms: ase.Atoms) -> dict[int, Array]:
    """Atomic number -> mean and standard deviation of the invariants of its atoms."""
    trunk = network.trunk
    if trunk is None:
        raise DomainError("no message passing")
    graph = structure_graph(atoms, GraphOptions(model.hypers.cutoff, model.hypers.neighbors))
    batch = collate([graph])
    with torch.no_grad():
        features = trunk.node_features(batch)[batch.orbit]
    # Of types 0e, 1o, 1e, 2e, in this order, a rotation changes all but the scalars and the lengths.
    lengths = [torch.linalg.vector_norm(part, dim=1) for part in features[:, 1:].split([3, 3, 5], dim=1)]
    values = torch.cat([features[:, 0], *lengths], dim=1).double().numpy()
    numbers = batch.numbers.numpy()
    return {
        int(z): np.concatenate([values[numbers == z].mean(axis=0), values[numbers == z].std(axis=0)])
        for z in np.unique(numbers)
    }


def _standardized(described: Sequence[dict[int, Array]]) -> Array:
    """(n, k): the descriptions side by side, an element that is absent being like the average; each column over its
    standard deviation.
    """
    elements = sorted({z for entry in described for z in entry})
    width = len(next(iter(described[0].values())))
    missing = np.full(width, np.nan)
    table = np.stack([np.concatenate([entry.get(z, missing) for z in elements]) for entry in described])
    table = table - np.nanmean(table, axis=0)
    deviation = np.sqrt(np.nanmean(table**2, axis=0))
    used = deviation > 1e-6
    scaled: Array = np.nan_to_num(table[:, used] / deviation[used]) / np.sqrt(max(used.sum(), 1))
    return scaled
