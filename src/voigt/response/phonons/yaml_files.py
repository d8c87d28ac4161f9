"""YAML files of phonopy, old and new: parsed here, since phonopy's own loader would run what a file tells it to.

Units are taken from the file where it states them, and else are those of the code that it names. phonopy compares both
word by word and refuses the spellings of its own earlier versions.
"""

from __future__ import annotations

import re
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from voigt.errors import InputError
from voigt.reasons import plain_reason
from voigt.response.phonons.cells import attempt
from voigt.safe_yaml import MOST_CHARACTERS, load_yaml
from voigt.structures.readers.packing import unpacked

if TYPE_CHECKING:
    from phonopy.interface.phonopy_yaml import PhonopyYamlData
    from phonopy.structure.atoms import PhonopyAtoms

PACKED = ("", ".xz", ".gz", ".bz2", ".lzma")
"""Endings that a file may have beside its name."""

_CELLS = ("unit_cell", "primitive_cell", "supercell")
_UNIT = re.compile(r"(\w+)(?:/(\w+)(?:\^(2)|\.(\w+))?)?", re.ASCII)


@dataclass(frozen=True)
class Units:
    """Length in Angstrom, force in eV/Angstrom, force constants in eV/Angstrom^2."""

    length: float = 1.0
    force: float = 1.0
    force_constants: float = 1.0


def read_text(path: Path) -> str:
    """Text of a file, which may be packed; InputError if it is none, or too long."""
    try:
        with ExitStack() as stack:
            stream: Any = stack.enter_context(path.open("rb"))
            if path.suffix == ".lzma":  # the older format of xz has no magic number
                import lzma

                stream = stack.enter_context(lzma.open(stream))
            content = stack.enter_context(unpacked(stream)).read(MOST_CHARACTERS + 1)
        if len(content) > MOST_CHARACTERS:
            raise InputError(f"{path} holds more than {MOST_CHARACTERS} bytes; it is not read")
        return content.decode("utf-8")
    except InputError:
        raise
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not text; it should be a file of phonopy") from error
    except Exception as error:  # each way of packing has its own errors
        raise InputError(f"{path} cannot be read: {plain_reason(error)}; pack it anew") from error


def packed_path(path: Path) -> Path | None:
    """The file itself, or packed; None if there is none."""
    return next((file for ending in PACKED if (file := path.with_name(path.name + ending)).is_file()), None)


def read_phonopy_yaml(path: Path) -> tuple[PhonopyYamlData, Units]:
    """Content of phonopy.yaml and its like, as it stands there, and the units of its numbers."""
    from phonopy.interface.phonopy_yaml import load_phonopy_yaml

    advice = "write it anew with phonopy-init"
    content = _mapping(path)
    units = _units(path, content)
    for name in _CELLS:
        attempt(path, advice, lambda name=name: _drop_zero_moments(content.get(name)))  # type: ignore[misc]
    stated = {key: value for key, value in content.items() if key != "physical_unit"}
    return attempt(path, advice, lambda: load_phonopy_yaml(stated)), units


def read_disp_yaml(path: Path) -> tuple[dict[str, Any], PhonopyAtoms]:
    """Displacements and supercell of disp.yaml, as phonopy 1 wrote it."""
    from phonopy.file_IO import get_cell_from_disp_yaml

    def parse() -> tuple[dict[str, Any], PhonopyAtoms]:
        content = _mapping(path)
        cell = get_cell_from_disp_yaml(content)
        entries = [
            {"number": int(entry["atom"]) - 1, "displacement": np.array(entry["displacement"], dtype=np.float64)}
            for entry in content["displacements"]
        ]
        return {"natom": len(cell), "first_atoms": entries}, cell

    return attempt(path, "write it anew with phonopy-init -d", parse)


def unit_of(text: str) -> float:
    """Value of a unit of length, force or force constants in Angstrom and eV; InputError if it is none.

    Examples
    --------
    >>> unit_of("eV/Angstrom.au") == 1 / unit_of("au"), unit_of("angstrom")
    (True, 1.0)
    """
    from phonopy.physical_units import get_physical_units

    constants = get_physical_units()
    lengths = {"angstrom": 1.0, "a": 1.0, "au": constants.Bohr, "bohr": constants.Bohr}
    energies = {
        "ev": 1.0,
        "mev": 1e-3,
        "ry": constants.Rydberg,
        "mry": constants.Rydberg / 1000,
        "hartree": constants.Hartree,
        "ha": constants.Hartree,
    }
    match = _UNIT.fullmatch(text.lower())
    try:
        if match is None:
            raise KeyError(text)
        top, below, squared, second = match.groups()
        if below is None:
            return lengths[top]
        return energies[top] / lengths[below] ** (2 if squared else 1) / (1.0 if second is None else lengths[second])
    except KeyError:
        known = "Angstrom, au, eV/Angstrom, Ry/au, mRy/au, hartree/au and the like"
        raise InputError(f"unknown unit {text[:40]!r}; known are {known}") from None


def _mapping(path: Path) -> dict[str, Any]:
    content = load_yaml(read_text(path), str(path), InputError)
    if not isinstance(content, dict):
        raise InputError(f"{path} holds no keys and values; it should be a YAML file of phonopy")
    return content


def _units(path: Path, content: dict[str, Any]) -> Units:
    """Those that the file states, else those of its code."""
    from phonopy.physical_units import get_calculator_physical_units

    header, stated = content.get("phonopy"), content.get("physical_unit")
    code = header.get("calculator") if isinstance(header, dict) else None
    words = stated if isinstance(stated, dict) else {}
    try:
        given = {key: unit_of(str(words[key])) for key in ("length", "force", "force_constants") if words.get(key)}
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    if "length" not in given or len(given) < 2:
        defaults = attempt(path, "name a code that phonopy knows", lambda: get_calculator_physical_units(code))
        given = {"length": defaults.distance_to_A, **given}
        if len(given) < 2:
            given["force"] = defaults.force_to_eVperA
    length, force, constants = given["length"], given.get("force"), given.get("force_constants")
    force = (constants or 0.0) * length if force is None else force
    return Units(length, force, force / length if constants is None else constants)


def _drop_zero_moments(cell: Any) -> None:
    """A crystal whose moments are all zero is a magnetic one to phonopy, which then fails to symmetrize it."""
    points = cell.get("points") if isinstance(cell, dict) else None
    if points and not any(np.any(np.asarray(point.get("magnetic_moment", 0), dtype=np.float64)) for point in points):
        for point in points:
            point.pop("magnetic_moment", None)
