"""Inputs and outputs of ABINIT, of which ASE knows no defaults, repetitions, fractions, and no cell of an output."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

import ase
import numpy as np
from ase.data import chemical_symbols
from numpy.typing import NDArray

from voigt.errors import InputError
from voigt.structures.inputs import Input
from voigt.structures.readers.by_ase import charged, crystal
from voigt.structures.readers.failures import MOST_ATOMS

_AFTER = "echo values of variables after computation"
_GENERATED = ("natrd", "nobj", "spgroup", "spgroupma", "scalecart", "include", "structure", "xyzfile")
"""Variables that make atoms or lengths of others, or lead to other files."""
_STRUCTURE = ("acell", "rprim", "angdeg", "natom", "ntypat", "typat", "znucl", "xred", "xcart", "xangst")
_NUMBER = re.compile(r"([-+]?)(sqrt\()?([-+]?[\d.]+(?:[ed][-+]?\d+)?)(?:/([\d.]+))?\)?")


def read_abinit_input(text: str) -> Iterator[Input]:
    """The structure of an input (.abi)."""
    yield crystal(lambda: _atoms(text), "ABINIT input")


def read_abinit_output(text: str) -> Iterator[Input]:
    """The structure at the end of an output (.abo)."""

    def build() -> ase.Atoms:
        _, found, variables = text.rpartition(_AFTER)
        if not found:
            raise InputError("has no values after the computation; let ABINIT finish, or give the input (.abi)")
        block = re.split(r"^[ \t]*={20,}", variables, maxsplit=1, flags=re.MULTILINE)[0]
        return _atoms(re.sub(r"^[ \t]*[-P](?=\s*[a-z])", " ", block, flags=re.MULTILINE), is_output=True)

    yield crystal(build, "ABINIT output")


def _atoms(text: str, is_output: bool = False) -> ase.Atoms:
    lines = [re.split("[#!]", line)[0].lower().replace("=", " ") for line in text.splitlines()]
    tokens = [token for line in lines for token in line.split()]
    values = _variables(tokens)
    several = [name for name in values if re.fullmatch(rf"({'|'.join(_STRUCTURE)})[\d?:+*]+", name)]
    if several:
        raise InputError(f"gives {several[0]} for one of several data sets; write a file with one structure")
    generated = [name for name in _GENERATED if name in values]
    if generated:
        raise InputError(f"uses '{generated[0]}'; write out all atoms with natom, typat, znucl and xred")
    count = int(_numbers(values, "natom", [1.0], 1)[0])
    kinds = int(_numbers(values, "ntypat", [1.0], 1)[0])
    if not (0 < count <= MOST_ATOMS and 0 < kinds <= count):
        raise InputError(f"says natom {count} and ntypat {kinds}; correct them")
    if "znucl" not in values:
        raise InputError("does not say znucl; write the atomic number of every type")
    mixtures = _single(values, "ntypalch")
    if mixtures or "mixalch" in values or _single(values, "npsp") not in (0.0, kinds):
        names = _names(values["znucl"][int(kinds - mixtures) :])
        raise InputError(f"has mixed atoms ({names or 'npsp is not ntypat'}; mixalch); choose an ordered structure")
    nuclei = _numbers(values, "znucl", [], kinds)
    types = _numbers(values, "typat", [1.0] * count if kinds == 1 else [], count).astype(int)
    if not ((types >= 1) & (types <= kinds)).all() or not (nuclei % 1 == 0).all():
        raise InputError("has types without an atomic number; correct typat and znucl")
    cell = _numbers(values, "acell", [1.0] * 3, 3)[:, None] * _length(values, "acell") * _vectors(values)
    numbers = nuclei.astype(int)[types - 1]
    charge = _single(values, "cellcharge") or _single(values, "charge")
    given = [name for name in ("xred", "xcart", "xangst") if name in values]
    if len(given) > 1 and not is_output:  # outputs repeat the atoms, and ABINIT refuses inputs that do
        raise InputError(f"gives the atoms as {' and '.join(given)}; keep one of them")
    for name in ("xcart", "xangst"):
        if name in values and "xred" not in values:
            unit = 1.0 if name == "xangst" else _length(values, name)
            places = _numbers(values, name, [], 3 * count).reshape(-1, 3) * unit
            return charged(ase.Atoms(numbers, places, cell=cell, pbc=True), charge)
    places = _numbers(values, "xred", [0.0] * 3 if count == 1 else [], 3 * count).reshape(-1, 3)
    return charged(ase.Atoms(numbers, scaled_positions=places, cell=cell, pbc=True), charge)


def _variables(tokens: list[str]) -> dict[str, list[str]]:
    """Name of each variable -> the tokens up to the next one."""
    values: dict[str, list[str]] = {}
    current: list[str] = []
    for token in tokens:
        is_value = (
            token[0] in "0123456789.+-*\"'" or token.startswith("sqrt(") or token.startswith(("bohr", "ang", "nm"))
        )
        if is_value and not token.startswith("angdeg"):
            current.append(token)
        else:
            current = values.setdefault(token, [])
    return values


def _numbers(values: dict[str, list[str]], name: str, default: list[float], count: int) -> NDArray[np.float64]:
    """The `count` numbers of a variable, repetitions such as 3*0.5 written out.

    ABINIT ignores those that are too many; where they are atoms, they may be meant.
    """
    numbers: list[float] = []
    for token in values.get(name, []):
        repeat, star, rest = token.rpartition("*")
        match = _NUMBER.fullmatch(rest)
        if match is None:
            break
        sign, root, number, divisor = match.groups()
        value = float(number.replace("d", "e")) / float(divisor or 1.0)
        value = (-1.0 if sign == "-" else 1.0) * (math.sqrt(value) if root else value)
        times = count - len(numbers) if star and not repeat else int(repeat or 1)
        numbers += [value] * min(times, count + 1 - len(numbers))
    if name not in values:
        numbers = default
    if len(numbers) > count:
        raise InputError(f"has more than {count} numbers after {name}; make natom, ntypat and {name} agree")
    if len(numbers) != count:
        raise InputError(f"has {len(numbers)} numbers after {name} instead of {count}; correct it")
    return np.array(numbers)


def _names(numbers: list[str]) -> str:
    """Elements in a sentence, as far as they are such."""
    known = [int(float(word)) for word in numbers if _NUMBER.fullmatch(word) and word.replace(".", "").isdecimal()]
    return " and ".join(chemical_symbols[number] for number in known if 0 < number < len(chemical_symbols))


def _single(values: dict[str, list[str]], name: str) -> float:
    """A variable of one number, 0 without it."""
    return float(_numbers({name: values[name][:1]}, name, [], 1)[0]) if name in values else 0.0


def _length(values: dict[str, list[str]], name: str) -> float:
    """Angstrom per unit of a variable."""
    from ase.units import Bohr

    for token in values.get(name, []):
        if token.startswith("ang"):
            return 1.0
        if token.startswith("nm"):
            return 10.0
    return float(Bohr)


def _vectors(values: dict[str, list[str]]) -> NDArray[np.float64]:
    """Lattice vectors in units of acell, as rows."""
    if "angdeg" not in values:
        return _numbers(values, "rprim", np.eye(3).ravel().tolist(), 9).reshape(3, 3)
    angles = _numbers(values, "angdeg", [], 3)
    if np.ptp(angles) < 1e-10 and abs(angles[0] - 90.0) > 1e-10:  # ABINIT puts the threefold axis along z
        across = math.sqrt(2.0 / 3.0 * (1.0 - math.cos(math.radians(angles[0]))))
        along, side = math.sqrt(1.0 - across**2), math.sqrt(0.75) * across
        return np.array([[across, 0, along], [-across / 2, side, along], [-across / 2, -side, along]])
    from ase.geometry import cellpar_to_cell

    return np.asarray(cellpar_to_cell([1.0, 1.0, 1.0, *angles]))
