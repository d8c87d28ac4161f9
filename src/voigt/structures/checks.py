"""What makes a set of atoms unfit for a prediction: all reasons at once, each with its remedy."""

from __future__ import annotations

import math
from collections.abc import Mapping

import ase
import numpy as np
from ase.data import chemical_symbols
from numpy.typing import NDArray

MINIMUM_SEPARATION = 0.5
"""Angstrom; the shortest bond of all, in H2, has 0.74."""
MINIMUM_VOLUME = 1.0
"""Angstrom^3 per atom; solid hydrogen has 1 at several hundred GPa."""
OCCUPANCY_TOLERANCE = 1e-3
"""Occupancies are printed with three digits or more."""
DIRECT_ATOMS = 200
"""Up to here all pairs by numpy are faster than a neighbor list (4 to 16 times for 2 to 128 atoms)."""


def problems(atoms: ase.Atoms) -> list[str]:
    """Everything that keeps `atoms` from being a crystal that a model can read.

    Left-handed cells and positions outside the cell are fine.

    Parameters
    ----------
    atoms
        Any structure; it is not changed. `atoms.info["occupancy"]`, where present, is what ASE's CIF reader
        keeps: {site: {symbol: occupancy}}.

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
    if not np.isfinite(cell).all():
        faults.append("the cell is not finite; remove the NaN or infinity from the lattice vectors")
        return faults
    if not cell.any():
        faults.append('has no cell; add Lattice="ax ay az bx by bz cx cy cz" and pbc="T T T"')
        return faults
    if not atoms.pbc.all():
        flags = " ".join("T" if periodic else "F" for periodic in atoms.pbc)
        faults.append(f'is not periodic in three dimensions (pbc="{flags}"); set pbc="T T T" if it is a crystal')
    volume = abs(_determinant(_cofactors(cell), cell)) / len(atoms)
    if volume < MINIMUM_VOLUME:
        faults.append(
            f"has a cell of {volume:.3g} Angstrom^3 per atom, less than {MINIMUM_VOLUME:g}; "
            "give three independent lattice vectors, in Angstrom"
        )
    elif finite_positions:
        faults += _close_atoms(atoms)
    return faults


def unknown_element(symbol: str) -> str:
    """One sentence on a symbol that is no element, with the usual cause."""
    if symbol in ("D", "T"):
        return f"unknown element '{symbol}'; write H, whose response is that of its isotopes"
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
        return []
    bad = [
        f"site {site} ({', '.join(f'{symbol} {share}' for symbol, share in species.items())})"
        for site, species in sites.items()
        if isinstance(species, Mapping) and (len(species) != 1 or any(_is_partial(share) for share in species.values()))
    ]
    if not bad:
        return []
    more = f" and {len(bad) - 1} more" if len(bad) > 1 else ""
    return [f"is partially occupied at {bad[0]}{more}; choose an ordered structure, with one whole atom on every site"]


def _is_partial(share: object) -> bool:
    # CIF writes '?' or '.' for an occupancy that nobody refined: a whole atom.
    return isinstance(share, (int, float)) and not abs(share - 1.0) <= OCCUPANCY_TOLERANCE


def _close_atoms(atoms: ase.Atoms) -> list[str]:
    i, j, distance = close_pairs(atoms.positions, atoms.cell.array, MINIMUM_SEPARATION)
    if len(i) == 0:
        return []
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
    cofactors = _cofactors(cell)
    inverse = np.array(cofactors).T / _determinant(cofactors, cell)
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
    from vesin import NeighborList

    i, j, distance = NeighborList(cutoff=cutoff, full_list=False, n_threads=1).compute(
        points=fractional @ cell, box=np.ascontiguousarray(cell, dtype=np.float64), periodic=True, quantities="ijd"
    )
    return i.astype(np.int64), j.astype(np.int64), distance


def _cofactors(cell: NDArray[np.float64]) -> list[list[float]]:
    """Rows b x c, c x a, a x b: numpy's determinant and inverse of one 3x3 matrix take ten times as long."""
    (ax, ay, az), (bx, by, bz), (cx, cy, cz) = cell.tolist()
    return [
        [by * cz - bz * cy, bz * cx - bx * cz, bx * cy - by * cx],
        [cy * az - cz * ay, cz * ax - cx * az, cx * ay - cy * ax],
        [ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx],
    ]


def _determinant(cofactors: list[list[float]], cell: NDArray[np.float64]) -> float:
    (ax, ay, az), (x, y, z) = cell[0].tolist(), cofactors[0]
    return float(ax * x + ay * y + az * z)
