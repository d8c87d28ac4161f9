"""Which neighbors surround an atom, and in what shape."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import ase
import numpy as np
from ase.data import covalent_radii
from numpy.typing import NDArray

from voigt.interpretation.elements import ELECTRONEGATIVITY, by_electronegativity, group
from voigt.interpretation.shapes import shape
from voigt.structures.pairs import periodic_pairs

Array = NDArray[np.float64]

REACH = 5.0  # Angstrom: neighbors beyond are not seen
_AS_CLOSE = 1.1  # atoms of the center's own kind count as neighbors if they are this much farther than the nearest
_SHELL = 1.01  # neighbors whose distances differ by less belong to one shell
_OXIDANTS = ("H", "O", "chalcogen", "halogen")


@dataclass(frozen=True)
class Polyhedron:
    """The surroundings of an atom."""

    center: str
    neighbors: tuple[str, ...]  # elements of the coordinating atoms, the least electronegative first
    shape: str  # see `voigt.interpretation.shapes.shape`

    @property
    def number(self) -> int:
        """Coordination number."""
        return len(self.neighbors)

    @property
    def oxidized(self) -> bool:
        """Whether most neighbors are H, N, O, chalcogens or halogens that are more electronegative than the center."""
        own = ELECTRONEGATIVITY.get(self.center, 0.0)
        stronger = [one for one in self.neighbors if ELECTRONEGATIVITY.get(one, 0.0) > own]
        return 2 * sum(one == "N" or group(one) in _OXIDANTS for one in stronger) > self.number

    @property
    def state(self) -> str:
        """Group of the center, and whether it is oxidized: "oxidized rare earth", "rare earth, not oxidized"."""
        return f"oxidized {group(self.center)}" if self.oxidized else f"{group(self.center)}, not oxidized"

    @property
    def neighbor_groups(self) -> str:
        """Groups of the periodic table to which the neighbors belong: "alkali, O"."""
        return ", ".join(dict.fromkeys(map(group, self.neighbors)))

    @property
    def by_elements(self) -> str:
        """With elements and their numbers: "Ti octahedron (O6)"."""
        around = "".join(f"{element}{n if n > 1 else ''}" for element, n in Counter(self.neighbors).items())
        return f"{self.center} {self.shape} ({around})" if around else f"{self.center} {self.shape}"

    @property
    def by_groups(self) -> str:
        """With groups of the periodic table: "Ti group octahedron (O)"."""
        around = self.neighbor_groups
        return f"{group(self.center)} {self.shape} ({around})" if around else f"{group(self.center)} {self.shape}"


def polyhedra(atoms: ase.Atoms, centers: Sequence[int]) -> list[Polyhedron]:
    """Coordination polyhedron of each of some atoms.

    Neighbors are looked for among the atoms that are more like the nearest one than like the center, by
    electronegativity: anions around a cation, cations around an anion. Where atoms of the center's own side are as
    close as the nearest, as in metals, in alloys and in S-S and P-P pairs, all atoms count.

    How many there are says the effective coordination number (Hoppe, Z. Kristallogr. 150, 23 (1979)): each counts
    exp(1 - (d / m)^6), with d its distance over the sum of the covalent radii, so that large and small neighbors count
    alike, and m the mean of d weighted in the same way around the shortest. The nearest are taken, shell by shell, up
    to the number closest to it.

    Parameters
    ----------
    centers
        Indices of atoms.

    Returns
    -------
    list of Polyhedron
        In the order of `centers`; "CN 0" where no neighbor is within 5 Angstrom.

    Raises
    ------
    InputError
        The cell is not sound (`voigt.structures.pairs.periodic_pairs`).

    Examples
    --------
    >>> from ase.build import bulk
    >>> [polyhedra(bulk(*crystal), [0])[0].by_elements for crystal in (("NaCl", "rocksalt", 5.64), ("Cu", "fcc", 3.6))]
    ['Na octahedron (Cl6)', 'Cu cuboctahedron (Cu12)']
    """
    pairs = periodic_pairs(atoms.positions, atoms.cell.array, REACH)
    order = np.argsort(pairs.first, kind="stable")
    starts = np.searchsorted(pairs.first[order], np.arange(len(atoms) + 1))
    symbols = atoms.get_chemical_symbols()
    strength = np.array([ELECTRONEGATIVITY.get(symbol, np.nan) for symbol in symbols])
    radius = covalent_radii[atoms.numbers]
    found = []
    for center in centers:
        rows = order[starts[center] : starts[center + 1]]
        other, distance = pairs.second[rows], pairs.distance[rows]
        relative = distance / (radius[other] + radius[center])
        kept = _counted(strength[other] - strength[center], distance, relative)
        near = kept[_nearest(relative[kept])]
        around = sorted((symbols[k] for k in other[near]), key=by_electronegativity)
        found.append(Polyhedron(symbols[center], tuple(around), shape(pairs.vector[rows[near]])))
    return found


def _counted(difference: Array, distance: Array, relative: Array) -> NDArray[np.int64]:
    """Which atoms may coordinate, given their electronegativity less that of the center."""
    everything = np.arange(len(distance))
    if not len(distance):
        return everything
    nearest = int(distance.argmin())
    unlike = difference * np.sign(difference[nearest]) > abs(difference[nearest]) / 2
    close = (distance < _AS_CLOSE * distance[nearest]) & (relative < _AS_CLOSE * relative[nearest])
    return np.flatnonzero(unlike) if unlike[close].all() else everything


def _nearest(distance: Array) -> NDArray[np.int64]:
    """Which atoms coordinate: the nearest, in whole shells, as many as the effective coordination number says."""
    if not len(distance):
        return np.arange(0)
    order = np.argsort(distance, kind="stable")
    rising = distance[order]
    weight = np.exp(1.0 - (rising / rising[0]) ** 6)
    mean = (weight * rising).sum() / weight.sum()
    effective = np.exp(1.0 - (rising / mean) ** 6).sum()
    ends = np.append(np.flatnonzero(rising[1:] > _SHELL * rising[:-1]) + 1, len(rising))
    return np.asarray(order[: ends[np.abs(ends - effective).argmin()]])
