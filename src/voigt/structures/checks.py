"""What makes a set of atoms unfit for a prediction: all reasons at once, each with its remedy."""

from __future__ import annotations

import math
from collections.abc import Mapping

import ase
import numpy as np
from ase.data import chemical_symbols
from numpy.typing import NDArray

from voigt.structures.cells import MAXIMUM_ATOMS, MAXIMUM_POSITION, cell_faults, cofactors, determinant, short_vectors
from voigt.structures.pairs import periodic_pairs

MINIMUM_SEPARATION = 0.5
"""Angstrom; the shortest bond of all, in H2, has 0.74."""
OCCUPANCY_TOLERANCE = 1e-3
"""Occupancies are printed with three digits or more."""
OCCUPANCY_COLUMNS = ("occupancy", "occupancies", "site_occupancy")
"""Names of columns of atoms."""
DIRECT_ATOMS = 200
"""Up to here all pairs by numpy are faster than a neighbor list (4 to 16 times for 2 to 128 atoms)."""
CROWD = 250
"""Most atoms in a cube of `CROWD_EDGE`, that is 2 per Angstrom^3; diamond has 22."""
CROWD_EDGE = 5.0
"""Angstrom; about the cutoff of the networks, whose work grows with the number of neighbors."""
HEAP = 8
"""Most atoms looked at in a cube across which it is half an Angstrom, lest their pairs be counted by the million."""


def problems(atoms: ase.Atoms) -> list[str]:
    """Everything that keeps `atoms` from being a crystal that a model can read.

    Left-handed cells and positions outside the cell are fine.

    Parameters
    ----------
    atoms
        Any structure; it is not changed. `atoms.info["occupancy"]`, where present, is what the CIF reader
        keeps: {site: {symbol: occupancy}}. `atoms.arrays["occupancy"]` is a number for each atom.

    Returns
    -------
    list of str
        One sentence for each problem: what is wrong, then what to do. Empty if all is well.

    Examples
    --------
    >>> problems(ase.Atoms("NaCl", positions=[[0, 0, 0], [2.8, 0, 0]]))
    ['has no cell; add Lattice="ax ay az bx by bz cx cy cz" and pbc="T T T"']
    """
    if len(atoms) == 0:
        return ["holds no atoms; give at least one atom per cell"]
    faults = _unknown_elements(atoms) + _partial_occupancies(atoms)
    positions, cell = atoms.positions, atoms.cell.array
    finite_positions = bool(np.isfinite(positions).all())
    if not finite_positions:
        bad = int(np.flatnonzero(~np.isfinite(positions).all(axis=1))[0])
        faults.append(f"the position of atom {bad} ({_symbol(atoms, bad)}) is not finite; remove the NaN or infinity")
    elif (far := float(np.abs(positions).max())) > MAXIMUM_POSITION:
        faults.append(f"has an atom {far:.3g} Angstrom from the origin; give positions in Angstrom, inside the cell")
    if len(atoms) > MAXIMUM_ATOMS:
        faults.append(f"holds {len(atoms)} atoms, more than {MAXIMUM_ATOMS}; give a smaller cell of the crystal")
    if not cell.any():
        faults.append('has no cell; add Lattice="ax ay az bx by bz cx cy cz" and pbc="T T T"')
        return faults
    if not atoms.pbc.all():
        flags = " ".join("T" if periodic else "F" for periodic in atoms.pbc)
        faults.append(f'is not periodic in three dimensions (pbc="{flags}"); set pbc="T T T" if it is a crystal')
    bounds = cell_faults(cell, len(atoms))
    if not bounds and finite_positions and far <= MAXIMUM_POSITION and len(atoms) <= MAXIMUM_ATOMS:
        bounds = _close_atoms(atoms)
    return faults + bounds


def unknown_element(symbol: str) -> str:
    """One sentence on a symbol that is no element, with the usual cause."""
    if symbol in ("D", "T"):
        return f"unknown element '{symbol}'; write H, whose response is that of its isotopes"
    if symbol.capitalize() != symbol and symbol.capitalize() in chemical_symbols[1:]:
        return f"unknown element '{symbol}'; write {symbol.capitalize()}"
    if symbol.startswith("X"):
        return f"unknown element '{symbol}'; replace the dummy atom by an element or remove it"
    return f"unknown element '{symbol}'; use a symbol of the periodic table, such as Na or O"


def _symbol(atoms: ase.Atoms, index: int) -> str:
    number = int(atoms.numbers[index])
    return chemical_symbols[number] if 0 <= number < len(chemical_symbols) else f"Z={number}"


def _unknown_elements(atoms: ase.Atoms) -> list[str]:
    numbers = atoms.numbers
    if numbers.min() > 0 and numbers.max() < len(chemical_symbols):
        return []
    bad = np.flatnonzero((numbers < 1) | (numbers >= len(chemical_symbols)))
    return [f"atom {bad[0]} is of {unknown_element(_symbol(atoms, int(bad[0])))}"]


def _partial_occupancies(atoms: ase.Atoms) -> list[str]:
    sites = atoms.info.get("occupancy")
    if not isinstance(sites, Mapping):
        sites = _shares_of_columns(atoms)
    bad = [
        f"site {site} ({', '.join(f'{symbol} {share}' for symbol, share in species.items())})"
        for site, species in sites.items()
        if isinstance(species, Mapping) and (len(species) != 1 or any(_is_partial(share) for share in species.values()))
    ]
    if not bad:
        return []
    more = f" and {len(bad) - 1} more" if len(bad) > 1 else ""
    return [f"is partially occupied at {bad[0]}{more}; choose an ordered structure, with one whole atom on every site"]


def _shares_of_columns(atoms: ase.Atoms) -> dict[str, dict[str, float]]:
    """{site: {symbol: occupancy}} of the atoms that are not whole, where a column of the atoms holds occupancies."""
    for name in OCCUPANCY_COLUMNS:
        shares = atoms.arrays.get(name)
        if shares is not None and shares.ndim == 1 and shares.dtype.kind in "biuf":
            partial = np.flatnonzero(np.abs(shares - 1.0) > OCCUPANCY_TOLERANCE)  # NaN is for nobody knows
            return {str(index): {_symbol(atoms, int(index)): float(shares[index])} for index in partial}
    return {}


def _is_partial(share: object) -> bool:
    # CIF writes '?' or '.' for an occupancy that nobody refined: a whole atom.
    return isinstance(share, (int, float)) and not abs(share - 1.0) <= OCCUPANCY_TOLERANCE


def _close_atoms(atoms: ase.Atoms) -> list[str]:
    chosen, crowded = _heaps(atoms)
    if crowded is not None:
        return [crowded]
    i, j, distance = close_pairs(atoms.positions[chosen], atoms.cell.array, MINIMUM_SEPARATION)
    if len(i) == 0:
        return []
    i, j = chosen[i], chosen[j]
    nearest = int(np.argmin(distance))
    first, second = sorted((int(i[nearest]), int(j[nearest])))
    pair = f"atoms {first} ({_symbol(atoms, first)}) and {second} ({_symbol(atoms, second)})"
    if first == second:
        pair = f"atom {first} ({_symbol(atoms, first)}) and its own periodic image"
    pairs = {(min(a, b), max(a, b)) for a, b in zip(i.tolist(), j.tolist(), strict=True)}
    more = f" (one of {len(pairs)} such pairs)" if len(pairs) > 1 else ""
    return [
        f"{pair} are {distance[nearest]:.3f} Angstrom apart{more}, closer than {MINIMUM_SEPARATION:g}; "
        "remove the duplicate atoms or correct the cell"
    ]


def _heaps(atoms: ase.Atoms) -> tuple[NDArray[np.int64], str | None]:
    """Atoms among which to look for close pairs, few of each heap; or what is wrong where too many are close together.

    Pairs of n atoms in one place are n squared, more than memory holds.
    """
    every = np.arange(len(atoms))
    if len(atoms) <= DIRECT_ATOMS:
        return every, None
    cell = short_vectors(atoms.cell.array)[1]
    fractional = atoms.positions @ np.linalg.inv(cell)
    places = (fractional - np.floor(fractional)) @ cell
    order, rank = _by_cube(places, MINIMUM_SEPARATION / math.sqrt(3))
    if rank.max() >= HEAP:
        return np.sort(order[rank < HEAP]), None
    order, rank = _by_cube(places, CROWD_EDGE)
    if (most := int(rank.max()) + 1) <= CROWD:
        return every, None
    return every, (
        f"has {most} atoms within {CROWD_EDGE:g} Angstrom of atom {order[rank.argmax()]}, more than {CROWD}; "
        "correct the positions or the cell"
    )


def _by_cube(places: NDArray[np.float64], edge: float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Atoms cube by cube, and the rank of each in its cube."""
    cubes = np.floor(places / edge).astype(np.int64)
    cubes -= cubes.min(axis=0)
    order = np.lexsort(cubes.T)
    changes = np.concatenate([[True], np.any(cubes[order][1:] != cubes[order][:-1], axis=1)])
    starts = np.maximum.accumulate(np.where(changes, np.arange(len(order)), 0))
    return order, np.arange(len(order)) - starts


def close_pairs(
    positions: NDArray[np.float64], cell: NDArray[np.float64], cutoff: float
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Pairs of atoms, periodic images counted, closer than `cutoff`.

    Parameters
    ----------
    positions
        (n_atoms, 3), Angstrom, anywhere.
    cell
        (3, 3), rows are lattice vectors, Angstrom, volume not zero.
    cutoff
        Angstrom.

    Returns
    -------
    i, j, distance
        (n_pairs,) each; order and repetition of pairs are not defined.
    """
    faces = cofactors(cell)
    inverse = np.array(faces).T / determinant(faces, cell)
    fractional = positions @ inverse
    fractional -= np.floor(fractional)
    # Columns of the inverse are the reciprocal vectors; their lengths are one over the heights of the cell.
    lowest = 1.0 / math.sqrt(np.einsum("ij,ij->j", inverse, inverse).max())
    # A vector shorter than half of every height of the cell has fractional components below 1/2, so that rounding
    # finds it exactly, however skewed the cell.
    if len(positions) <= DIRECT_ATOMS and lowest > 2.0 * cutoff:
        difference = fractional[:, None] - fractional
        difference -= np.rint(difference)
        vector = difference @ cell
        squared = np.einsum("ijk,ijk->ij", vector, vector)
        close = squared < cutoff * cutoff
        close.flat[:: len(positions) + 1] = False
        i, j = close.nonzero()
        return i, j, np.sqrt(squared[i, j])
    pairs = periodic_pairs(fractional @ cell, cell, cutoff)
    return pairs.first, pairs.second, pairs.distance
