"""Structures as pymatgen writes them (`Structure.as_dict()`), read without pymatgen."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import ase
import numpy as np
from ase.data import atomic_numbers
from numpy.typing import NDArray

from voigt.errors import InputError
from voigt.structures.checks import unknown_element
from voigt.structures.inputs import ID_KEYS

LABEL = "pymatgen JSON"
_PARAMETERS = ("a", "b", "c", "alpha", "beta", "gamma")
_SPECIES = re.compile(r"([A-Z][a-z]?)(?![a-z])")


def atoms_from_dict(entry: object) -> ase.Atoms:
    """Atoms of one `Structure.as_dict()`.

    Oxidation states are dropped. A partly occupied site becomes an atom of its most frequent element, and
    `info["occupancy"]` says so, for `checks.problems` to report. Numeric site properties become arrays, properties
    of the whole structure become info, and so does a charge that is not zero (in elementary charges).

    Raises
    ------
    InputError
        `entry` is no structure, or an element is unknown.
    """
    if isinstance(entry, Mapping) and isinstance(entry.get("structure"), Mapping):
        atoms = atoms_from_dict(entry["structure"])
        atoms.info.update({key: entry[key] for key in ID_KEYS if entry.get(key) is not None})
        return atoms
    if not isinstance(entry, Mapping) or not isinstance(entry.get("sites"), list):
        raise InputError("is not a pymatgen Structure, nor one of OPTIMADE, JARVIS, MatBench or ASE; export it again")
    sites = entry["sites"]
    occupancies = [_occupancies(site) for site in sites]
    atoms = ase.Atoms([max(shares, key=shares.__getitem__) for shares in occupancies])
    lattice = entry.get("lattice")
    if lattice is not None:
        atoms.set_cell(_cell(lattice))
        atoms.pbc = lattice.get("pbc", True)
        positions = np.array([_place(site, atoms.cell.array) for site in sites], dtype=float).reshape(-1, 3)
    else:  # a Molecule
        positions = np.array([site["xyz"] for site in sites], dtype=float).reshape(-1, 3)
    atoms.positions[:] = positions
    atoms.info.update(entry.get("properties") or {})
    # Where no charge is set, pymatgen writes the sum of oxidation states, which may be guesses.
    if entry.get("charge") and entry["charge"] != _formal_charge(sites):
        atoms.info["charge"] = float(entry["charge"])
    if any(len(shares) != 1 or set(shares.values()) != {1.0} for shares in occupancies):
        atoms.info["occupancy"] = {str(index): shares for index, shares in enumerate(occupancies)}
    _add_site_properties(atoms, [site.get("properties") or {} for site in sites])
    return atoms


def _cell(lattice: Mapping[str, Any]) -> NDArray[np.float64]:
    """The matrix, or one made of lengths and angles, which must agree with it.

    Raises
    ------
    InputError
        There is neither, or they contradict each other.
    """
    from ase.geometry import cell_to_cellpar, cellpar_to_cell

    matrix, parameters = lattice.get("matrix"), [lattice.get(name) for name in _PARAMETERS]
    if matrix is None:
        if None in parameters:
            raise InputError("has a lattice without matrix, and without lengths and angles; add the matrix")
        return np.asarray(cellpar_to_cell(np.array(parameters, dtype=float)))
    cell = np.array(matrix, dtype=float).reshape(3, 3)
    if None not in parameters and np.isfinite(cell).all() and np.linalg.norm(cell, axis=1).all():
        found, stated = cell_to_cellpar(cell), np.array(parameters, dtype=float)
        if np.abs(found[:3] / stated[:3] - 1.0).max() > 0.01 or np.abs(found[3:] - stated[3:]).max() > 1.0:
            lengths = [", ".join(f"{value:.4g}" for value in values) for values in (found, stated)]
            raise InputError(
                f"has a lattice whose matrix (lengths and angles {lengths[0]}) contradicts its a to gamma "
                f"({lengths[1]}); correct one of them"
            )
    return cell


def _place(site: Mapping[str, Any], cell: NDArray[np.float64]) -> NDArray[np.float64]:
    """Angstrom."""
    if site.get("abc") is None and site.get("xyz") is None:
        raise InputError("has a site without abc and xyz; give every site its coordinates")
    place = np.array(site["xyz"] if site.get("abc") is None else site["abc"], dtype=float).reshape(3)
    return place if site.get("abc") is None else place @ cell


def _formal_charge(sites: Sequence[Mapping[str, Any]]) -> float | None:
    """Sum of oxidation states, None unless all atoms have one."""
    species = [kind for site in sites for kind in site["species"]]
    if not species or any(kind.get("oxidation_state") is None for kind in species):
        return None
    return sum(float(kind["oxidation_state"]) * float(kind.get("occu", 1.0)) for kind in species)


def _occupancies(site: Mapping[str, Any]) -> dict[str, float]:
    shares: dict[str, float] = {}
    for species in site["species"]:
        match = _SPECIES.match(species["element"])
        symbol = match.group(1) if match else species["element"]
        if symbol not in atomic_numbers:
            raise InputError(unknown_element(species["element"]))
        shares[symbol] = shares.get(symbol, 0.0) + float(species.get("occu", 1.0))
    if not shares:
        raise InputError("has a site without a species; give every site an element")
    return shares


def _add_site_properties(atoms: ase.Atoms, properties: list[Mapping[str, Any]]) -> None:
    names = properties[0] if properties else {}
    for name in names:
        if name in atoms.arrays or any(values.get(name) is None for values in properties):
            continue
        array = np.array([values[name] for values in properties])
        if array.dtype.kind in "bif":
            atoms.new_array(name, array)
