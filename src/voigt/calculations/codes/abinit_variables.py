"""Variables that ABINIT echoes in its output: the crystal and the settings of one data set."""

from __future__ import annotations

import re

import ase

from voigt.calculations.calculation import Provenance
from voigt.calculations.codes.abinit_words import functional_of_ixc, spin_of
from voigt.calculations.codes.parsing import numbers, structure
from voigt.errors import InputError
from voigt.structures.readers.abinit import read_abinit_output

_AFTER = "echo values of variables after computation"
_BEFORE = "echo values of preprocessed input variables"
_END = re.compile(r"^[ \t]*={20,}", re.MULTILINE)
_NAME = re.compile(r"[ \t]*(?:[-P][ \t]*)?([a-z][a-z_]*?)(\d*)\s")
_PLACED = ("acell", "rprim", "angdeg", "natom", "ntypat", "typat", "znucl", "xred", "xcart", "xangst")


def crystal_of_dataset(text: str, dataset: int) -> tuple[ase.Atoms, list[str]]:
    """The crystal of a data set, and what is doubtful about it.

    Raises
    ------
    InputError
        The variables are not there or do not make a crystal.
    """
    kept: list[str] = []
    keeps = True
    for line in _echoed(text).splitlines():
        match = _NAME.match(line)
        if match is not None:
            is_placed = match[1] in _PLACED and bool(match[2])
            keeps = not is_placed or int(match[2]) == dataset
        if keeps:
            is_suffixed = match is not None and match[1] in _PLACED and bool(match[2])
            kept.append(f" {match[1]} {line[match.end() :]}" if match is not None and is_suffixed else line)
    problems = [] if _AFTER in text else ["ABINIT did not finish; the crystal is that of its input"]
    return structure(read_abinit_output(f"{_AFTER}\n" + "\n".join(kept) + "\n")), problems


def provenance_of_dataset(text: str, dataset: int) -> Provenance:
    """Functional, spin, mesh, cutoff and U of a data set; files and version are the caller's."""
    from ase.units import Hartree

    variables: dict[str, list[float]] = {}
    for line in _echoed(text).splitlines():
        match = _NAME.match(line)
        if match is not None and match[2] in ("", str(dataset)):
            variables[match[1]] = _plain_numbers(line[match.end() :])
    mesh = variables.get("ngkpt", [])
    lattice = variables.get("kptrlatt", [])
    if not mesh and len(lattice) == 9 and not any(lattice[place] for place in (1, 2, 3, 5, 6, 7)):
        mesh = [lattice[0], lattice[4], lattice[8]]
    one = {name: values[0] for name, values in variables.items() if values}
    return Provenance(
        files=(),
        code="ABINIT",
        functional=functional_of_ixc(int(one.get("ixc", 1))),
        hubbard_u=_hubbard(variables, float(Hartree)),
        spin=spin_of(one.get("nsppol", 1), one.get("nspinor", 1), one.get("nspden", one.get("nsppol", 1))),
        kpoints=tuple(int(number) for number in mesh) if len(mesh) == 3 else (),
        cutoff=round(one["ecut"] * float(Hartree), 6) if "ecut" in one else None,
    )


def _echoed(text: str) -> str:
    """The variables at the end, or those at the beginning of a run that did not finish."""
    for title in (_AFTER, _BEFORE):
        _, found, variables = text.rpartition(title)
        if found:
            return _END.split(variables, maxsplit=1)[0].partition("\n")[2]
    raise InputError("echoes no variables; give the whole output of ABINIT")


def _plain_numbers(words: str) -> list[float]:
    try:
        return numbers(words)
    except InputError:
        return []


def _hubbard(variables: dict[str, list[float]], unit: float) -> dict[str, float]:
    from ase.data import chemical_symbols

    if not any(variables.get("usepawu", [])):
        return {}
    pairs = zip(variables.get("znucl", []), variables.get("upawu", []), strict=False)
    return {
        chemical_symbols[int(nucleus)]: round(value * unit, 6)
        for nucleus, value in pairs
        if value and 0 < nucleus < len(chemical_symbols)
    }
