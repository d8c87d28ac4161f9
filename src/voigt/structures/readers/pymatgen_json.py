"""Structures as pymatgen writes them (`Structure.as_dict()`), read without pymatgen."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import ase
import numpy as np
from ase.data import atomic_numbers

from voigt.errors import InputError
from voigt.structures.checks import unknown_element
from voigt.structures.inputs import ID_KEYS

LABEL = "pymatgen JSON"
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
        atoms.set_cell(np.array(lattice["matrix"], dtype=float).reshape(3, 3))
        atoms.pbc = lattice.get("pbc", True)
        positions = np.array([site["abc"] for site in sites], dtype=float).reshape(-1, 3) @ atoms.cell.array
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
