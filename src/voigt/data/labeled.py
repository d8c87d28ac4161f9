"""Labeled crystals, and collections of them whose common features are columns."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any, overload

import ase
import numpy as np
from ase.data import chemical_symbols
from numpy.typing import NDArray

Label = NDArray[np.float64] | float | None
Labels = Sequence[Label] | NDArray[np.float64]
"""One label per crystal; as an array if all are scalars, NaN where absent."""


@dataclass(frozen=True)
class LabeledCrystal:
    """One crystal and its labels.

    Attributes
    ----------
    id, source
        Identity of the crystal and the file it came from.
    atoms
        The structure; `info` keeps all keys of the file.
    targets
        Property name -> Cartesian tensor, (n_atoms, ...) or (...); absent labels have no key.
    functional
        Label of the functional, None if not stated.
    split
        "train", "val", "test" or "" if the file has no split.
    group
        Reduced formula: crystals of one group never lie on both sides of a split.
    """

    id: str
    source: str
    atoms: ase.Atoms
    targets: Mapping[str, NDArray[np.float64]]
    functional: str | None
    split: str
    group: str


def labeled(
    identity: str, source: str, atoms: ase.Atoms, targets: Mapping[str, NDArray[np.float64]], functional: str | None
) -> LabeledCrystal:
    """A crystal with labels; the rest follows from `info` and the elements. `functional` counts if it states none."""
    info, group = atoms.info, hill_formula(*np.unique(atoms.numbers, return_counts=True))
    functional = str(info["functional"]) if "functional" in info else functional
    return LabeledCrystal(identity, source, atoms, targets, functional, str(info.get("split", "")), group)


class Crystals(Sequence[LabeledCrystal]):
    """Labeled crystals, and what all of them have in common as columns, one entry per crystal."""

    @overload
    def __getitem__(self, index: int) -> LabeledCrystal: ...
    @overload
    def __getitem__(self, index: slice) -> Crystals: ...
    def __getitem__(self, index: int | slice) -> LabeledCrystal | Crystals:
        if isinstance(index, slice):
            return self.take(range(*index.indices(len(self))))
        if not -len(self) <= index < len(self):
            raise IndexError(f"crystal {index} of {len(self)}")
        return self._crystal(index % len(self))

    def __iter__(self) -> Iterator[LabeledCrystal]:
        return (self._crystal(index) for index in range(len(self)))

    def _crystal(self, index: int) -> LabeledCrystal:
        raise NotImplementedError  # abstract: lists, tables and joined files keep their crystals differently

    def take(self, indices: Sequence[int]) -> Crystals:
        """Chosen crystals, in the given order."""
        raise NotImplementedError  # abstract, as above

    def ids(self) -> list[str]:
        return [crystal.id for crystal in self]

    def splits(self) -> list[str]:
        return [crystal.split for crystal in self]

    def groups(self) -> list[str]:
        return [crystal.group for crystal in self]

    def functionals(self) -> list[str | None]:
        return [crystal.functional for crystal in self]

    def column(self, key: str) -> list[Any]:
        """Info values of this key; None where absent."""
        return [crystal.atoms.info.get(key) for crystal in self]

    def labels(self, name: str) -> Labels:
        """Labels of a property, Cartesian; None or NaN where absent."""
        return [crystal.targets.get(name) for crystal in self]

    def has_label(self, name: str) -> bool:
        """Whether any crystal has this label."""
        return any(name in crystal.targets for crystal in self)

    def without(self, name: str, chosen: NDArray[np.bool_]) -> Crystals:
        """The same crystals, the chosen ones without the label of a property."""
        pairs = zip(self, chosen.tolist(), strict=True)
        return CrystalList([_without(crystal, name) if lost else crystal for crystal, lost in pairs])

    def sizes(self) -> NDArray[np.int64]:
        """Number of atoms of every crystal."""
        return np.array([len(crystal.atoms) for crystal in self], dtype=np.int64)

    def elements(self) -> tuple[int, ...]:
        """Atomic numbers that occur, ascending."""
        return tuple(sorted({int(z) for crystal in self for z in crystal.atoms.numbers}))

    def element_counts(self) -> dict[int, int]:
        """Atomic number -> how many crystals hold the element, ascending."""
        return dict(sorted(Counter(z for crystal in self for z in set(crystal.atoms.numbers.tolist())).items()))


def _without(crystal: LabeledCrystal, name: str) -> LabeledCrystal:
    return replace(crystal, targets={key: value for key, value in crystal.targets.items() if key != name})


class CrystalList(Crystals):
    """Crystals that are in memory one by one."""

    def __init__(self, crystals: Sequence[LabeledCrystal]) -> None:
        self._crystals = crystals

    def __len__(self) -> int:
        return len(self._crystals)

    def _crystal(self, index: int) -> LabeledCrystal:
        return self._crystals[index]

    def take(self, indices: Sequence[int]) -> CrystalList:
        return CrystalList([self._crystals[i] for i in indices])


class JoinedCrystals(Crystals):
    """Crystals of several files, one file after another."""

    def __init__(self, files: Sequence[Crystals], order: tuple[NDArray[np.int64], NDArray[np.int64]] | None = None):
        self._files = tuple(files)
        if order is None:
            sizes = [len(file) for file in files]
            order = np.repeat(np.arange(len(sizes)), sizes), np.concatenate([np.arange(size) for size in sizes])
        self._file, self._row = order

    def __len__(self) -> int:
        return len(self._file)

    def _crystal(self, index: int) -> LabeledCrystal:
        return self._files[int(self._file[index])][int(self._row[index])]

    def take(self, indices: Sequence[int]) -> JoinedCrystals:
        chosen = np.asarray(indices, dtype=np.int64)
        return JoinedCrystals(self._files, (self._file[chosen], self._row[chosen]))

    def _gather(self, column: Callable[[Crystals], Iterable[Any]]) -> list[Any]:
        """One column of every file, put in the order of the crystals."""
        values: list[Any] = [None] * len(self)
        for number, file in enumerate(self._files):
            places = np.flatnonzero(self._file == number)
            for place, value in zip(places.tolist(), column(file.take(self._row[places].tolist())), strict=True):
                values[place] = value
        return values

    def ids(self) -> list[str]:
        return self._gather(lambda crystals: crystals.ids())

    def splits(self) -> list[str]:
        return self._gather(lambda crystals: crystals.splits())

    def groups(self) -> list[str]:
        return self._gather(lambda crystals: crystals.groups())

    def functionals(self) -> list[str | None]:
        return self._gather(lambda crystals: crystals.functionals())

    def column(self, key: str) -> list[Any]:
        return self._gather(lambda crystals: crystals.column(key))

    def labels(self, name: str) -> list[Label]:
        return self._gather(lambda crystals: crystals.labels(name))

    def sizes(self) -> NDArray[np.int64]:
        return np.array(self._gather(lambda crystals: crystals.sizes().tolist()), dtype=np.int64)

    def has_label(self, name: str) -> bool:
        return any(part.has_label(name) for part in self._parts())

    def elements(self) -> tuple[int, ...]:
        return tuple(sorted(set(chain.from_iterable(part.elements() for part in self._parts()))))

    def element_counts(self) -> dict[int, int]:
        total: Counter[int] = Counter()
        for part in self._parts():
            total.update(part.element_counts())
        return dict(sorted(total.items()))

    def _parts(self) -> Iterator[Crystals]:
        for number, file in enumerate(self._files):
            yield file.take(self._row[self._file == number].tolist())


def as_crystals(crystals: Sequence[LabeledCrystal]) -> Crystals:
    """Give a plain sequence the columns of `Crystals`."""
    return crystals if isinstance(crystals, Crystals) else CrystalList(crystals)


def hill_formula(numbers: NDArray[Any], counts: NDArray[np.int64]) -> str:
    """Reduced formula in Hill's order as ASE writes it: carbon, hydrogen, then the others by the alphabet.

    `numbers`, `counts`: atomic numbers, each once, and how many atoms there are of each.

    Examples
    --------
    >>> hill_formula(np.array([8, 22, 56]), np.array([6, 2, 2]))
    'BaO3Ti'
    """
    divisor = math.gcd(*counts.tolist())
    parts = sorted(
        ((chemical_symbols[z], n // divisor) for z, n in zip(numbers.tolist(), counts.tolist(), strict=True)),
        key=lambda part: ({"C": 0, "H": 1}.get(part[0], 2), part[0]),
    )
    return "".join(symbol if count == 1 else f"{symbol}{count}" for symbol, count in parts)


def file_digest(path: str | Path) -> str:
    """First 16 hexadecimal digits of the SHA-256 of a file: names the data that a model was trained on."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()[:16]
