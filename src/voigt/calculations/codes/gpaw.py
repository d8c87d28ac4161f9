"""GPAW: Born charges as `gpaw.borncharges` and the recipe `asr.borncharges` write them, JSON in ASE's encoding of
arrays.

Both hold Z_avv[atom, polarization, displacement] in e, ours: gpaw/borncharges.py puts the displacement into the last
index of the phases and turns the first from lattice vectors to Cartesian axes. `gpaw.borncharges` divides the sum of
the charges among the atoms, the recipe does not. The files list the symbols only; the crystal is the one in a
structure file of ASE (JSON) beside them, with the same symbols in the same order. ASE itself has no reader of these
files.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from voigt.calculations.calculation import Calculation, Outcome, Provenance, RunFile
from voigt.calculations.codes.combining import combined
from voigt.calculations.codes.parsing import guarded, structure
from voigt.errors import InputError
from voigt.safe_json import load_json
from voigt.structures.readers.database import read_json_database, revived

_MISSING = "holds no Born charges of GPAW; put the file of gpaw.borncharges or asr.borncharges beside the structure"
_CHARGES = re.compile(r'"Z_avv"\s*:')
_STRUCTURE = re.compile(r'"(?:positions|numbers)(?:\.\w+)?"\s*:')
_RECIPE = re.compile(r'"(?:kwargs|__asr_name__|__asr_obj_id__|__asr_hacked__)"')


def recognizes(file: RunFile) -> bool:
    """Whether it holds Born charges of GPAW, or the structure that ASE's recipes put beside them."""
    return _CHARGES.search(file.head) is not None or (
        file.name == "structure.json" and _STRUCTURE.search(file.head) is not None
    )


def read(files: Sequence[RunFile]) -> Iterator[Outcome]:
    """The Born charges in a folder."""
    structures = [file for file in files if _CHARGES.search(file.head) is None]
    charges = [file for file in files if file not in structures]
    outcomes = (
        outcome
        for file in charges
        for outcome in guarded(file, "Born charges of GPAW", lambda each: _charges(each, structures))
    )
    return combined(outcomes, charges, _MISSING)  # a structure alone is no calculation


def _charges(file: RunFile, structures: Sequence[RunFile]) -> Iterator[Calculation]:
    data = _plain(load_json(file.read()))
    values = np.asarray(revived(data.get("Z_avv", [])), dtype=float)
    symbols = data.get("sym_a")
    if values.ndim != 3 or values.shape[1:] != (3, 3) or not isinstance(symbols, list) or len(symbols) != len(values):
        raise InputError("has no Born charges (Z_avv) of the atoms that it lists (sym_a); write it again")
    if len(structures) != 1:
        raise InputError("does not hold its crystal; put it beside as structure.json (ase.io.write)")
    atoms = structure(read_json_database(structures[0].read()))
    if atoms.get_chemical_symbols() != symbols:
        raise InputError(
            f"has charges of other atoms than {structures[0].name} beside it; put the crystal that it is of there"
        )
    text = "born_charges: their sum divided among the atoms by gpaw.borncharges"
    conversions = () if "asr" in file.name or _RECIPE.search(file.head) else (text,)
    provenance = Provenance((file.path, structures[0].path), "GPAW", conversions=conversions)
    yield Calculation(atoms, {"born_charges": values}, provenance)


def _plain(data: Any) -> Mapping[str, Any]:
    """The results, in newer recipes inside of what made them."""
    for key in ("kwargs", "data"):
        if isinstance(data, Mapping) and "Z_avv" not in data and key in data:
            data = data[key]
    if not isinstance(data, Mapping):
        raise InputError("is no mapping of results; write it again")
    return data
