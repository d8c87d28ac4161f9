"""Structures as OPTIMADE servers give them (specification 1.2, entries of type "structures")."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import ase
import numpy as np
from ase.data import atomic_numbers

from voigt.errors import InputError
from voigt.structures.checks import unknown_element
from voigt.structures.inputs import Input, id_in
from voigt.structures.readers.failures import attempt

LABEL = "an OPTIMADE structure"
FIELDS = (
    "lattice_vectors",
    "cartesian_site_positions",
    "species",
    "species_at_sites",
    "dimension_types",
    "structure_features",
)
"""What `atoms_from_entry` reads of an entry."""
_INCOMPLETE = {"implicit_atoms": "atoms without positions", "site_attachments": "atoms attached to sites"}


def parse_entry(entry: object) -> Input:
    """One entry of a response, as a failure if it gives no structure."""
    identity = id_in(entry, ("id",)) if isinstance(entry, Mapping) else ""
    return attempt(lambda: atoms_from_entry(entry), LABEL, identity)


def atoms_from_entry(entry: object) -> ase.Atoms:
    """Atoms of one entry.

    A partly occupied site becomes an atom of its most frequent element, and `info["occupancy"]` says so, for
    `checks.problems` to report; an empty share of a site is named "vacancy", an unknown element "X".

    Raises
    ------
    InputError
        Fields are missing or contradict each other, a site holds no element, or there are atoms without positions.
    """
    if not isinstance(entry, Mapping) or not isinstance(entry.get("attributes"), Mapping):
        raise InputError("is no OPTIMADE entry with attributes; tell the maintainers of the database")
    fields = entry["attributes"]
    missing = [name for name in FIELDS[:4] if not fields.get(name)]
    if missing:
        raise InputError(f"has no {', '.join(missing)}; the database does not give this structure")
    for feature in fields.get("structure_features") or ():
        if feature in _INCOMPLETE:
            raise InputError(f"has {_INCOMPLETE[feature]} ({feature}); choose a structure with all its atoms")
    species = {kind["name"]: _shares(kind) for kind in fields["species"]}
    sites = [_species_at(name, species) for name in fields["species_at_sites"]]
    positions = np.array(fields["cartesian_site_positions"], dtype=float)  # None becomes NaN: checks name it
    if positions.shape != (len(sites), 3):
        raise InputError(f"has {len(sites)} sites but positions of shape {positions.shape}; they must agree")
    periodic = fields.get("dimension_types") or (1, 1, 1)
    cell = np.array(fields["lattice_vectors"], dtype=float).reshape(3, 3)
    atoms = ase.Atoms(
        numbers=[_element(shares) for shares in sites],
        positions=positions,
        cell=np.where(np.array(periodic, dtype=bool)[:, None], cell, np.nan_to_num(cell)),
        pbc=periodic,
    )
    if any(len(shares) != 1 or set(shares.values()) != {1.0} for shares in sites):
        atoms.info["occupancy"] = {str(index): shares for index, shares in enumerate(sites)}
    return atoms


def _shares(kind: Mapping[str, Any]) -> dict[str, float]:
    """Chemical symbol (or "vacancy", "X") -> share of the site.

    Raises
    ------
    InputError
        Atoms without positions are attached to the site.
    """
    attached = [str(symbol) for symbol in kind.get("attached") or ()]
    numbers = list(kind.get("nattached") or [1] * len(attached))
    if attached and any(numbers):
        more = ", ".join(f"{count} {symbol}" for symbol, count in zip(attached, numbers, strict=False))
        raise InputError(f"has atoms without positions, attached to {kind['name']} ({more}); choose another structure")
    shares: dict[str, float] = {}
    for symbol, share in zip(kind["chemical_symbols"], kind["concentration"], strict=True):
        shares[symbol] = shares.get(symbol, 0.0) + float(share)
    return shares


def _species_at(name: str, species: Mapping[str, dict[str, float]]) -> dict[str, float]:
    if name not in species:
        raise InputError(f"has a site of the species '{name}', which it does not declare; they must agree")
    return species[name]


def _element(shares: Mapping[str, float]) -> int:
    """Atomic number of the most frequent element of a site."""
    elements = {symbol: share for symbol, share in shares.items() if symbol != "vacancy"}
    if not elements:
        raise InputError("has a site that holds nothing but a vacancy; choose a structure whose sites are all occupied")
    symbol = max(elements, key=elements.__getitem__)
    if symbol not in atomic_numbers or symbol == "X":
        raise InputError(unknown_element(symbol))
    return int(atomic_numbers[symbol])
