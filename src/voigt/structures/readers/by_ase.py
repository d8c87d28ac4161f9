"""Inputs and outputs of codes that ASE parses: what can be read from a text alone, without the files beside it.

ASE's calculators, the constraints that files ask for, and what its parsers print are left out: only the crystal counts.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain

import ase
import numpy as np
from numpy.typing import NDArray

from voigt.errors import InputError
from voigt.notes import Failure
from voigt.structures.inputs import Input
from voigt.structures.readers.failures import attempt

EXPONENT = re.compile(r"(?<=[\d.])[dDqQ](?=[-+]?\d)")
"""The letter before an exponent of Fortran that Python does not know."""
_XSF_ATOM = re.compile(r"^[ \t]*(?:[A-Z][a-z]?|\d+)(?:[ \t]+[-+.\d]\S*){3,6}[ \t]*$", re.MULTILINE)
_XSF_ATOMS = re.compile(
    r"^[ \t]*PRIMCOORD\b[^\n]*\n[^\n]*\n((?:[ \t]*(?:[A-Z][a-z]?|\d+)[ \t]+[-+.\d][^\n]*\n?)*)", re.MULTILINE
)
_CASTEP_CHARGE = re.compile(r"net charge of system\s*[:=]\s*(\S+)")


def crystal(build: Callable[[], ase.Atoms], label: str) -> Input:
    """What `build` gives, without calculator and constraints, ASE's warnings silenced; errors become a failure."""

    def bare() -> ase.Atoms:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            atoms = build()
        atoms.calc = None
        atoms.set_constraint()
        return atoms

    return attempt(bare, label)


def charged(atoms: ase.Atoms, charge: float) -> ase.Atoms:
    """`atoms` with the charge of the cell that a file states, e; nothing is entered for a neutral one."""
    if not np.isfinite(charge):
        raise InputError(f"gives the charge of the cell as {charge}; correct it")
    if charge:
        atoms.info["charge"] = charge
    return atoms


def number(word: str) -> float:
    """A number as Fortran reads it: 1.5, 1.5d-1, 1.5E0, or a fraction of two of them.

    Raises
    ------
    InputError
        It is none.

    Examples
    --------
    >>> number("2.5d-1"), number("1/4")
    (0.25, 0.25)
    """
    top, slash, bottom = word.partition("/")
    try:
        value = float(EXPONENT.sub("e", top))
        return value / float(EXPONENT.sub("e", bottom)) if slash else value
    except (ValueError, ZeroDivisionError) as error:
        raise InputError(f"has '{word[:60]}' where a number belongs; correct it") from error


def vectors(rows: Iterable[Sequence[str]]) -> NDArray[np.float64]:
    """Three `number`s of each row."""
    return np.array([[number(word) for word in row] for row in rows], dtype=float).reshape(-1, 3)


def read_castep_output(text: str) -> Iterator[Input]:
    """The last structure of the last run in a .castep file."""

    def build() -> ase.Atoms:
        from ase.io.castep.castep_reader import read_castep_castep

        if re.search(r"Welcome.*CASTEP|Materials Studio.*CASTEP", text) is None or "Finalisation time   =" not in text:
            raise InputError("has no regular beginning and end; let CASTEP finish, or give the .cell file")
        last: ase.Atoms = read_castep_castep(io.StringIO(text), index=-1)
        charges = _CASTEP_CHARGE.findall(text)
        return charged(last, number(charges[-1]) if charges else 0.0)

    yield crystal(build, "CASTEP output")


def read_xsf(text: str) -> Iterator[Input]:
    """Every frame of an XSF file, which may be animated; a broken frame ends it."""
    from ase.io.xsf import iread_xsf

    frames: Iterator[ase.Atoms | None] = chain(iread_xsf(io.StringIO(text)), [None])
    listed = (len(_XSF_ATOM.findall(block)) for block in _XSF_ATOMS.findall(text))
    ended: list[bool] = []

    def build() -> ase.Atoms:
        ended.append(True)
        atoms = next(frames)
        if atoms is None:
            return ase.Atoms()
        ended.clear()
        if (count := next(listed, len(atoms))) > len(atoms):  # ASE passes over the others
            raise InputError(f"promises {len(atoms)} atoms, but {count} follow; make them agree")
        return atoms

    while True:
        frame = crystal(build, "XSF")
        if ended and not isinstance(frame, Failure):
            return
        yield frame
        if ended:
            return


def read_gen(text: str) -> Iterator[Input]:
    """The structure of a .gen file of DFTB+."""

    def build() -> ase.Atoms:
        from ase.io.gen import read_gen as read_by_ase

        lines = [line for raw in text.splitlines() if (line := raw.split("#")[0]).strip()]
        count = int(lines[0].split()[0])
        # ASE would take surplus atoms for lattice vectors.
        if lines[0].split()[1:2] != ["C"] and len(lines) != count + 6:
            found = f"{count} atoms, but {len(lines)} lines that are not empty instead of {count + 6}"
            raise InputError(f"promises {found}; correct the number of atoms or complete the file")
        atoms: ase.Atoms = read_by_ase(io.StringIO("\n".join(lines) + "\n"))
        return atoms

    yield crystal(build, "DFTB+ .gen file")


def read_res(text: str) -> Iterator[Input]:
    """The structure of a .res file of AIRSS, which lists all atoms; those of SHELX with symmetry are refused."""

    def build() -> ase.Atoms:
        from ase.io.res import Res

        body = re.split(r"^END\b", text, maxsplit=1, flags=re.MULTILINE)[0]
        words = [line.split() for line in body.splitlines() if line.strip()]
        lattice = [line[1:2] for line in words if line[0].upper() == "LATT"]
        if any(line[0].upper() == "SYMM" for line in words) or lattice not in ([], [["-1"]]):
            raise InputError(
                "lists only the atoms that differ by symmetry; convert it to CIF, or write all atoms (LATT -1)"
            )
        shares = {float(line[5]) for line in words if len(line) >= 6 and re.fullmatch(r"[A-Z][a-z]?\d*", line[0])}
        if not shares <= {1.0, 11.0}:
            raise InputError(
                "has partly occupied sites; choose an ordered structure, with one whole atom on every site"
            )
        listed = [
            line for line in words if len(line) >= 5 and re.fullmatch(r"[A-Z][a-z]?\w*", line[0]) and line[1].isdigit()
        ]
        atoms: ase.Atoms = Res.from_string(body).atoms
        if len(listed) != len(atoms):
            raise InputError(
                f"lists {len(listed)} atoms, of which {len(atoms)} can be read; correct or export it again"
            )
        atoms.info.clear()
        return atoms

    yield crystal(build, ".res file")


def read_wien2k(text: str) -> Iterator[Input]:
    """The structure of a .struct file of WIEN2k."""

    def build() -> ase.Atoms:
        from ase.io.wien2k import read_struct

        if re.search(r"unit\s*=\s*ang", "\n".join(text.splitlines()[:4]), re.IGNORECASE):
            raise InputError("is in Angstrom (unit=ang), which cannot be read; write it in Bohr")
        atoms: ase.Atoms = read_struct(io.StringIO(text))
        return atoms

    yield crystal(build, "WIEN2k .struct file")
