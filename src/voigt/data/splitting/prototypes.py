"""Prototypes: crystals with the same space group, the same kinds of sites and the same shares of unnamed elements."""

from __future__ import annotations

from collections import Counter
from math import gcd

import ase
import numpy as np

from voigt.structures.symmetry import Symmetry, find_symmetry


def prototype(atoms: ase.Atoms, symmetry: Symmetry | None = None, symprec: float = 1e-2) -> str:
    """Name of the prototype of a crystal: anonymous formula, space group, and the sites of each element.

    Sites are named by the number of equivalent atoms in a primitive cell and the letters of their site symmetry, in
    alphabetical order. Wyckoff letters would depend on the origin: the two ways to put a perovskite's corner give
    different letters, but the same site symmetries.

    Parameters
    ----------
    atoms
        Any cell of the crystal.
    symmetry
        Its symmetry if it is known; it is sought otherwise.
    symprec
        Tolerance of that search, Angstrom.

    Raises
    ------
    InputError
        No space group is found.

    Examples
    --------
    >>> from voigt.structures import read_one
    >>> prototype(read_one("examples/NaCl.cif")), prototype(read_one("examples/MgO.vasp"))
    ('AB 225 1-3mm|1-3mm', 'AB 225 1-3mm|1-3mm')
    """
    symmetry = find_symmetry(atoms, symprec) if symmetry is None else symmetry
    dataset, numbers = symmetry.described.dataset(), symmetry.described.numbers
    translations = len(numbers) // len(np.unique(dataset.mapping_to_primitive))
    # A supercell has fewer operations than the crystal, so that its own orbits are smaller.
    orbits, sizes = np.unique(dataset.crystallographic_orbits, return_counts=True)
    sites: dict[int, list[str]] = {}
    for orbit, size in zip(orbits.tolist(), sizes.tolist(), strict=True):
        letters = "".join(sorted(dataset.site_symmetry_symbols[orbit].replace(".", "").replace("/", "")))
        sites.setdefault(int(numbers[orbit]), []).append(f"{size // translations}{letters}")
    counts = Counter(atoms.numbers.tolist())
    divisor = gcd(*counts.values())
    # Elements without names in the order of their numbers, then of their sites.
    entries = sorted((counts[z] // divisor, "+".join(sorted(names))) for z, names in sites.items())
    formula = "".join(f"{_letter(k)}{number if number > 1 else ''}" for k, (number, _) in enumerate(entries))
    return f"{formula} {dataset.number} {'|'.join(names for _, names in entries)}"


def _letter(place: int) -> str:
    return chr(ord("A") + place) if place < 26 else f"Z{place}"
