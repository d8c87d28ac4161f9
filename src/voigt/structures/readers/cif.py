"""Crystals from CIF: sites and operations to all atoms of the cell, checked against what the file says of itself."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import ase
import numpy as np
from numpy.typing import NDArray

from voigt.errors import InputError
from voigt.structures.cells import cell_faults, heights
from voigt.structures.checks import close_pairs
from voigt.structures.inputs import Input
from voigt.structures.readers.cif_evidence import Evidence, stated_formula, weigh
from voigt.structures.readers.cif_sites import Site, has_sites, read_sites
from voigt.structures.readers.cif_symmetry import Operations, is_modulated, listed_operations, named_operations
from voigt.structures.readers.cif_syntax import Block, blocks, number
from voigt.structures.readers.failures import attempt

_LENGTHS = tuple(f"_cell_length_{axis}" for axis in "abc")
_ANGLES = tuple(f"_cell_angle_{angle}" for angle in ("alpha", "beta", "gamma"))
_SAME_ATOM = 0.2
"""Angstrom: images of a site closer than this are one atom on a special position, written with few digits (0.33)."""
_EXACT = 1e-8
_CLASH = 0.5
"""Angstrom: a setting that brings atoms this close is not the one that was meant."""
_NO_FIT = "would change the lengths and angles of the cell; correct one of them"
_MOST_ATOMS = 1_000_000


@dataclass(frozen=True)
class _Crystal:
    """All atoms of a cell under one set of operations."""

    atoms: ase.Atoms
    operations: Operations
    evidence: Evidence


def read_cif(text: str) -> Iterator[Input]:
    """Every data block of a CIF that holds a structure; blocks without one (journal data) are passed over.

    Atoms are in the order of the sites, those of one site in the order of the operations. Magnetic CIFs give the atoms
    of the magnetic cell, without moments.
    """
    for block in blocks(text, "_atom_site"):
        if has_sites(block):
            yield attempt(partial(_atoms, block), "CIF")


def _atoms(block: Block) -> ase.Atoms:
    if is_modulated(block):
        raise InputError("is a modulated structure, which has no finite cell; give an approximant without modulation")
    cell = _cell(block)
    faults: list[str] = []
    sites: list[Site] = []
    candidates: list[Operations] = []
    try:
        sites = read_sites(block, cell, frozenset(stated_formula(block)))
        if not sites:
            faults.append("holds no occupied site; give at least one atom")
    except InputError as error:
        faults.append(str(error))
    try:
        listed = listed_operations(block)
        candidates = _candidates(block, cell, listed)
    except InputError as error:
        faults.append(str(error))
    if faults:
        raise InputError(". ".join(faults))
    crystals = [_crystal(block, cell, sites, operations) for operations in candidates]
    if "occupancy" in crystals[0].atoms.info:
        return crystals[0].atoms  # refused by the checks, which name the mixture
    if listed is not None:
        _compare_with_name(block, cell, sites, crystals[0])
    return _settled(crystals)


def _cell(block: Block) -> NDArray[np.float64]:
    """(3, 3), rows are lattice vectors."""
    missing = [tag for tag in (*_LENGTHS, *_ANGLES) if not block.value(tag)]
    if missing:
        raise InputError(f"has no single value of {', '.join(missing)}; give all six lengths and angles of the cell")
    lengths = [number(block.value(tag), tag) for tag in _LENGTHS]
    angles = [number(block.value(tag), tag) for tag in _ANGLES]
    for tag, length in zip(_LENGTHS, lengths, strict=True):
        if not 0.1 < length < 1e4:
            raise InputError(f"{tag} is {length:g}, no length of a cell in Angstrom; correct it")
    for tag, angle in zip(_ANGLES, angles, strict=True):
        if not 1.0 < angle < 179.0:
            raise InputError(f"{tag} is {angle:g}, no angle of a cell in degrees; correct it")
    cosines = np.cos(np.radians(angles))
    if 1.0 - cosines @ cosines + 2.0 * cosines.prod() < 1e-6:
        shown = ", ".join(f"{angle:g}" for angle in angles)
        raise InputError(f"{', '.join(_ANGLES)} are {shown}, which no cell can have; correct them")
    return np.asarray(ase.cell.Cell.new([*lengths, *angles]).array)


def _candidates(block: Block, cell: NDArray[np.float64], listed: Operations | None) -> list[Operations]:
    """The sets of operations that the block allows, at least one."""
    if listed is not None:
        if not listed.fit(cell):
            raise InputError(f"the operations in {listed.source} {_NO_FIT}")
        return [listed]
    named = named_operations(block)
    fitting = [operations for operations in named if operations.fit(cell)]
    if named and not fitting:
        raise InputError(f"the space group in {named[0].source} {_NO_FIT}")
    different = {operations.key: operations for operations in reversed(fitting)}
    identity = Operations(np.eye(3, dtype=np.int64)[None], np.zeros((1, 3)), "no operations")
    return list(different.values())[::-1] or [identity]


def _compare_with_name(block: Block, cell: NDArray[np.float64], sites: Sequence[Site], crystal: _Crystal) -> None:
    """Refuse listed operations that are fewer or more than those of the group that the block names.

    Two things excuse them: formula units or density say that all atoms are there, or the sites are listed in full.
    """
    try:
        named = named_operations(block)
    except InputError:
        return  # what is listed counts more than a name
    listed, fitting = crystal.operations, [operations for operations in named if operations.fit(cell)]
    if fitting:
        expected, given = {len(operations) for operations in fitting}, len(listed)
    else:
        expected, given = {operations.point_group_order() for operations in named}, listed.point_group_order()
    if not named or given in expected or expected == {1} or crystal.evidence.is_amount_confirmed:
        return
    if any(len(_expand(cell, sites, operations)[0]) == len(crystal.atoms) for operations in fitting):
        return
    raise InputError(
        f"lists {given} operations in {listed.source}, but the group in {named[0].source} has "
        f"{' or '.join(map(str, sorted(expected)))}; complete them, or correct the name"
    )


def _settled(crystals: Sequence[_Crystal]) -> ase.Atoms:
    """The only crystal that agrees with the file."""
    agreeing = [crystal for crystal in crystals if not crystal.evidence.contradictions]
    if not agreeing:
        raise InputError(". ".join(crystals[0].evidence.contradictions))
    if len(agreeing) > 1:
        apart = [c for c in agreeing if len(close_pairs(c.atoms.positions, c.atoms.cell.array, _CLASH)[0]) == 0]
        agreeing = apart or agreeing
    if len(agreeing) > 1:
        source = agreeing[0].operations.source
        raise InputError(
            f"the space group in {source} has {len(agreeing)} settings (origins or axes) that fit, "
            "and the file does not say which; list the operations, or add the setting to the name, such as ':2'"
        )
    return agreeing[0].atoms


def _crystal(block: Block, cell: NDArray[np.float64], sites: Sequence[Site], operations: Operations) -> _Crystal:
    fractional, owners, merged = _expand(cell, sites, operations)
    symbols = [next(iter(site.shares)) for site in merged]
    in_order = [_placeholder(symbols[owner]) for owner in owners]
    atoms = ase.Atoms(in_order, scaled_positions=fractional, cell=cell, pbc=True)
    mixed = {merged[owner].label: merged[owner].shares for owner in owners if not merged[owner].is_whole}
    if mixed:
        atoms.info["occupancy"] = mixed
        return _Crystal(atoms, operations, Evidence((), False))
    n_deuterium = sum(merged[owner].is_deuterium for owner in owners)
    return _Crystal(atoms, operations, weigh(block, atoms, n_deuterium))


def _placeholder(symbol: str) -> str:
    """An element for a site of a mixture whose first part is a group of atoms."""
    return symbol if symbol in ase.data.atomic_numbers else "H"


def _expand(
    cell: NDArray[np.float64], sites: Sequence[Site], operations: Operations
) -> tuple[NDArray[np.float64], list[int], list[Site]]:
    """Coordinates of all atoms, the site of each, and the sites with what others share with them.

    Returns
    -------
    fractional, owners, sites
        (n_atoms, 3), n_atoms places in `sites`; sites that repeat another one have no atoms.
    """
    if len(sites) * len(operations) > _MOST_ATOMS:
        raise InputError(f"describes more than {_MOST_ATOMS} atoms; give a smaller cell")
    at = np.array([site.position for site in sites])
    images = _images(at, operations)
    shifts = images - at[:, None]
    shifts -= np.rint(shifts)
    is_itself = np.linalg.norm(shifts @ cell, axis=2) < _SAME_ATOM
    n_itself = is_itself.sum(axis=1)
    centers = (shifts * is_itself[:, :, None]).sum(axis=1) / np.maximum(n_itself, 1)[:, None]
    is_off = np.abs(centers).max(axis=1) > _EXACT
    if is_off.any():
        images[is_off] = _images(at[is_off] + centers[is_off], operations)
    # Atoms are kept by cubes of twice the tolerance, so that a heap of sites in one place costs no more than others.
    counts = np.ones(3, dtype=np.int64)
    if not cell_faults(cell, 1):
        counts = np.maximum((np.array(heights(cell)) / (2 * _SAME_ATOM)).astype(np.int64), 1)
    cubes: dict[tuple[int, ...], list[tuple[int, NDArray[np.float64]]]] = {}
    together = list(sites)
    kept: list[NDArray[np.float64]] = []
    owners: list[int] = []
    for place, orbit in enumerate(images):
        low = np.floor(orbit[0] * counts - 0.5).astype(np.int64).tolist()
        around = itertools.product(*(sorted({x % n, (x + 1) % n}) for x, n in zip(low, counts.tolist(), strict=True)))
        neighbors = [entry for cube in around for entry in cubes.get(cube, ())]
        owner = next((owner for owner, other in neighbors if _distance(orbit[0] - other, cell) < _SAME_ATOM), None)
        if owner is not None:
            together[owner] = _sharing(together[owner], sites[place])
            continue
        atoms = _distinct(orbit, cell) if n_itself[place] > 1 else orbit
        kept.append(atoms)
        owners += [place] * len(atoms)
        for cube, atom in zip((np.floor(atoms * counts).astype(np.int64) % counts).tolist(), atoms, strict=True):
            cubes.setdefault(tuple(cube), []).append((place, atom))
    return np.concatenate(kept), owners, together


def _images(at: NDArray[np.float64], operations: Operations) -> NDArray[np.float64]:
    """(n_sites, n_operations, 3) coordinates, inside the cell."""
    images = (np.einsum("gij,aj->agi", operations.rotations, at) + operations.translations) % 1.0
    return np.asarray(images)


def _distinct(orbit: NDArray[np.float64], cell: NDArray[np.float64]) -> NDArray[np.float64]:
    """The first of each atom's images."""
    left, found = orbit, []
    while len(left):
        found.append(left[0])
        apart = left - left[0]
        apart -= np.rint(apart)
        left = left[1:][np.linalg.norm(apart[1:] @ cell, axis=1) >= _SAME_ATOM]
    return np.array(found)


def _distance(difference: NDArray[np.float64], cell: NDArray[np.float64]) -> float:
    return float(np.linalg.norm((difference - np.rint(difference)) @ cell))


def _sharing(site: Site, other: Site) -> Site:
    if site.is_whole and other.is_whole and site.shares.keys() == other.shares.keys():
        return site  # the same atom, given twice
    shares = dict(site.shares)
    for symbol, share in other.shares.items():
        before = shares.get(symbol, 0.0)
        is_known = isinstance(share, float) and isinstance(before, float)
        shares[symbol] = round(float(before) + float(share), 6) if is_known else "?"
    return replace(site, shares=shares)
