"""How far a crystal is from those that a model was trained on: its bonds, its density, and how its networks agree."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import TypeAlias

import numpy as np
from ase.data import chemical_symbols, covalent_radii
from numpy.typing import NDArray

from voigt.errors import WeightsError
from voigt.files import atomic_write
from voigt.graphs import CrystalGraph
from voigt.reasons import plain_reason
from voigt.safe_json import load_json
from voigt.tensors.properties import PROPERTIES

SUFFIX = ".range.json"
"""Of the file beside a model file."""
FLAGGED = 0.015
"""Share of the validation crystals that are called far, in equal parts by structure and by each property's spread."""
TAIL = 0.005
"""Share of the atoms beyond two widths, on each side: where the atoms of an element end, not where most of them are."""
WIDTH = 2.5
"""Angstrom: a neighbor at this distance adds 1/e to the density around an atom."""
FAR, EMPTY = 5.0, 1e-3
"""Bond, in sums of covalent radii, and density of an atom without neighbors."""
NARROW = 0.01
"""Added to every width."""
PRIOR = 10
"""Atoms of the average element that are added to those of each element."""

Row: TypeAlias = tuple[float, float, float, float, float, float]


@dataclass(frozen=True)
class TrainingRange:
    """What bonds, densities and spreads a model is used to.

    Attributes
    ----------
    elements
        Symbol -> median, width below and width above it, over the training atoms of this element, of the logarithm of
        the shortest bond (in sums of covalent radii), then of the logarithm of the density of neighbors.
    others
        The same over all atoms, for elements that are not listed.
    distance
        Largest distance from the medians, in widths, of a near crystal.
    spread
        Tensor per crystal -> largest norm of the ensemble's standard deviation over that of the tensor.
    """

    elements: Mapping[str, Row]
    others: Row
    distance: float
    spread: Mapping[str, float]


def surroundings(graph: CrystalGraph) -> NDArray[np.float64]:
    """(n_orbits, 2): logarithms of the shortest bond, in sums of covalent radii, and of the density of neighbors."""
    distance = np.linalg.norm(graph.edge_vector.numpy().astype(np.float64), axis=1)
    numbers, target = graph.numbers.numpy(), graph.edge_target.numpy()
    own = numbers[graph.representative.numpy()]
    ratio = distance / (covalent_radii[numbers[graph.edge_source.numpy()]] + covalent_radii[own[target]])
    bond, density = np.full(len(own), FAR), np.full(len(own), EMPTY)
    np.minimum.at(bond, target, ratio)
    np.add.at(density, target, np.exp(-((distance / WIDTH) ** 2)))
    return np.asarray(np.log(np.stack([bond, density], axis=1)))


def distances(graph: CrystalGraph, known: TrainingRange) -> NDArray[np.float64]:
    """(n_orbits, 2): how many widths bond and density of each representative are from the medians of its element."""
    return _in_widths(surroundings(graph), _elements(graph), known)


def _in_widths(values: NDArray[np.float64], elements: NDArray[np.int64], known: TrainingRange) -> NDArray[np.float64]:
    symbols = [chemical_symbols[z] for z in elements.tolist()]
    table = np.array([known.elements.get(symbol, known.others) for symbol in symbols]).reshape(-1, 2, 3)
    excess = values - table[:, :, 0]
    return np.asarray(np.where(excess < 0, -excess / table[:, :, 1], excess / table[:, :, 2]))


def _elements(graph: CrystalGraph) -> NDArray[np.int64]:
    """(n_orbits,) atomic numbers."""
    return np.asarray(graph.numbers.numpy()[graph.representative.numpy()])


def unlike_training(
    graph: CrystalGraph, spread: Mapping[str, float], known: TrainingRange
) -> tuple[str, tuple[str, ...]] | None:
    """Why a crystal is far from the training set, for the middle of a sentence, and the properties concerned, all if
    there are none; None if it is near. `spread`: of properties per crystal, relative, see `relative_spread`.
    """
    far = distances(graph, known)
    if far.max() > known.distance:
        orbit, kind = np.unravel_index(int(far.argmax()), far.shape)
        atom = int(graph.representative[int(orbit)])
        symbol = chemical_symbols[int(graph.numbers[atom])]
        bond, density = np.exp(surroundings(graph)[int(orbit)])
        usual = np.exp(known.elements.get(symbol, known.others)[0])
        text = f"the shortest bond of atom {atom} ({symbol}) is {bond:.2f} sums of covalent radii, usual is {usual:.2f}"
        if kind == 1:
            crowd = np.exp(known.elements.get(symbol, known.others)[3])
            how = "denser" if density > crowd else "sparser"
            factor = max(density / crowd, crowd / density)
            text = f"the neighbors of atom {atom} ({symbol}) are {how} than usual by a factor of {factor:.1f}"
        return text, ()
    wide = {name: value for name, value in spread.items() if value > known.spread.get(name, np.inf)}
    if wide:
        listed = " and ".join(f"{name} by {100 * value:.0f} %" for name, value in wide.items())
        return f"the members of the ensemble disagree on {listed}", tuple(wide)
    return None


def relative_spread(spread: NDArray[np.float64], value: NDArray[np.float64]) -> float:
    """Norm of an ensemble's standard deviation over that of its mean."""
    return float(np.linalg.norm(spread)) / max(float(np.linalg.norm(value)), 1e-12)


def measure_range(
    train: Iterable[CrystalGraph],
    validation: Sequence[CrystalGraph],
    spreads: Mapping[str, Sequence[float]],
) -> TrainingRange:
    """The range of a model.

    Parameters
    ----------
    train, validation
        Graphs of crystals with the model's cutoff; those of the validation part set what is near, or those of training
        if there are none.
    spreads
        Property per crystal -> `relative_spread` of crystals that were not in training; empty for one network.
    """
    rows: list[NDArray[np.float64]] = []
    numbers: list[NDArray[np.int64]] = []
    for graph in train:
        rows.append(surroundings(graph))
        numbers.append(_elements(graph))
    values, elements = np.concatenate(rows), np.concatenate(numbers)
    everything = _quantiles(values)
    table = {}
    for z in np.unique(elements).tolist():
        own = values[elements == z]
        share = len(own) / (len(own) + PRIOR)
        quantiles = _quantiles(own)
        median = share * quantiles[0] + (1 - share) * everything[0]
        widths = np.sqrt(share * quantiles[1:] ** 2 + (1 - share) * everything[1:] ** 2)
        table[chemical_symbols[z]] = _row(np.concatenate([median[None], widths]))
    known = TrainingRange(table, _row(everything), 0.0, {})
    # A scalar may be zero, where its relative spread says nothing. Structure and spreads single out different crystals:
    # their shares add up.
    judged = {name: entries for name, entries in spreads.items() if PROPERTIES[name].rank > 0}
    near = 1 - FLAGGED / (1 + len(judged))
    crystals = [(surroundings(graph), _elements(graph)) for graph in validation] or zip(rows, numbers, strict=True)
    farthest = np.quantile([_in_widths(*crystal, known).max() for crystal in crystals], near)
    limits = {name: round(float(np.quantile(entries, near)), 5) for name, entries in judged.items()}
    return TrainingRange(table, known.others, round(float(farthest), 3), limits)


def _quantiles(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """(3, 2): median, width below and width above, of the columns of values (n, 2)."""
    low, median, high = np.quantile(values, [TAIL, 0.5, 1 - TAIL], axis=0)
    return np.stack([median, (median - low) / 2 + NARROW, (high - median) / 2 + NARROW])


def _row(columns: NDArray[np.float64]) -> Row:
    bond_median, bond_low, bond_high, median, low, high = columns.T.ravel().round(4).tolist()
    return bond_median, bond_low, bond_high, median, low, high


def save_range(known: TrainingRange, model: Path) -> Path:
    """Write the file beside a model file, atomically, and return its path."""
    path = model.with_suffix(SUFFIX)
    with atomic_write(path) as stream:
        json.dump(asdict(known), stream)
        stream.write("\n")
    return path


@lru_cache(maxsize=32)
def load_range(model: Path) -> TrainingRange | None:
    """What stands beside a model file, None if there is nothing; WeightsError if it cannot be used."""
    path = model.with_suffix(SUFFIX)
    if not path.is_file():
        return None
    try:
        stored = load_json(path.read_text(encoding="utf-8"))
        table = {str(symbol): tuple(map(float, row)) for symbol, row in stored["elements"].items()}
        others = tuple(map(float, stored["others"]))
        spread = {str(name): float(value) for name, value in stored["spread"].items()}
        distance = float(stored["distance"])
        if any(len(row) != 6 or not np.isfinite(row).all() for row in (others, *table.values())):
            raise ValueError("a row is not six numbers")
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise WeightsError(f"{path} cannot be read ({plain_reason(error)}); remove it or fetch it again") from error
    return TrainingRange(table, others, distance, spread)  # type: ignore[arg-type]
