"""What the readers of outputs share: numbers as Fortran prints them, blocks of rows, structures, labels of
functionals.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence

import ase
import numpy as np
from numpy.typing import NDArray

from voigt.calculations.calculation import Calculation, Outcome, RunFile
from voigt.errors import InputError
from voigt.notes import Failure
from voigt.structures.inputs import Input
from voigt.structures.readers.failures import MOST_ATOMS, explain

Array = NDArray[np.float64]

_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eEdDqQ][-+]?\d+)?")
_NO_NUMBER = re.compile(r"\*{3,}|\bNaN\b|\bInf(?:inity)?\b", re.IGNORECASE)
_ASYMMETRY = 0.02
"""Of the largest component: what codes that leave a permittivity as it was computed print."""

# What codes call the same functional, without blanks and punctuation; a name that is not here stays as it is.
_FUNCTIONALS = {
    "LDA": "LDA PZ CA CAPZ PWLDA PZLDA PW PW92 PADE SLAPZNOGXNOGC SLAPWNOGXNOGC LOCALDENSITYAPPROXIMATION",
    "PBE": "PBE SLAPWPBEPBE SLAPWPBXPBC PERDEWBURKEERNZERHOF GGAPBE",
    "PBEsol": "PBESOL PSXPSC SLAPWPSXPSC PBESOLFORSOLIDS PBEFORSOLIDS2008 PERDEWBURKEERNZERHOFFORSOLIDS",
    "revPBE": "REVPBE SLAPWREVXPBC SLAPWREVPBE",
    "RPBE": "RPBE REVISEDPERDEWBURKEERNZERHOF",
    "PW91": "PW91 SLAPWGGXGGC PERDEWWANG1991 PERDEWWANG91",
    "WC": "WC WUCOHEN WUCOHEN2006",
    "BLYP": "BLYP B88LYP SLALYPB88BLYP",
    "SCAN": "SCAN SCANSCAN",
    "rSCAN": "RSCAN REGULARISEDSCAN REGULARISEDSCANFUNCTIONAL",
    "r2SCAN": "R2SCAN RSCAN2 R2SCANFUNCTIONAL",
    "HSE06": "HSE06 HSE HSE03HSE06",
    "PBE0": "PBE0 PBE1PBE PBEH",
    "B3LYP": "B3LYP",
}
_LABELS = {word: label for label, words in _FUNCTIONALS.items() for word in words.split()}


def functional_label(name: str) -> str:
    """The label of a functional, by the name that a code gives it; an unknown name as it is.

    Examples
    --------
    >>> functional_label("SLA  PW   PSX  PSC"), functional_label("Perdew Burke Ernzerhof"), functional_label("TPSS")
    ('PBEsol', 'PBE', 'TPSS')
    """
    return _LABELS.get(re.sub(r"[^A-Z0-9]", "", name.upper()), " ".join(name.split()))


def numbers(line: str) -> list[float]:
    """The numbers in a line, those too that touch each other ("-108.06-108.06") or have Fortran's exponents.

    Raises
    ------
    InputError
        One did not fit into its columns (***), or is not finite.

    Examples
    --------
    >>> numbers("Ex (  1.5-2.25D+00 )")
    [1.5, -2.25]
    """
    if spoilt := _NO_NUMBER.search(line):
        raise InputError(f"has '{spoilt[0][:20]}' where a number belongs; compute it again")
    values = [float(re.sub("[dDqQ]", "e", word)) for word in _NUMBER.findall(line)]
    if not np.isfinite(values).all():
        raise InputError("has a number that is too large; compute it again")
    return values


def matrix(lines: Sequence[str], start: int, rows: int, columns: int) -> NDArray[np.float64]:
    """The last `columns` numbers of each of the next `rows` lines that hold as many; lines without numbers are passed.

    Raises
    ------
    InputError
        The text ends before, or another table begins.
    """
    found: list[list[float]] = []
    for line in lines[start : start + 4 * rows + 8]:
        if len(found) == rows:
            break
        if not any(letter.isdigit() for letter in line) and not _NO_NUMBER.search(line):
            continue
        values = numbers(line)
        if len(values) < columns:
            break
        found.append(values[-columns:])
    if len(found) < rows:
        raise InputError(f"ends within a table of {rows} rows of {columns} numbers; let the calculation finish")
    return np.array(found)


def count_of_atoms(value: float) -> int:
    """A number of atoms that a file promises.

    Raises
    ------
    InputError
        It is none.
    """
    if not 0 < value <= MOST_ATOMS:
        raise InputError(f"says that it has {value:g} atoms; correct it")
    return int(value)


def structure(inputs: Iterable[Input]) -> ase.Atoms:
    """The last structure that a reader of structures gives.

    Raises
    ------
    InputError
        There is none, or it is broken.
    """
    found = list(inputs)
    if not found:
        raise InputError("holds no structure; let the calculation finish")
    if isinstance(found[-1], Failure):
        raise InputError(found[-1].problem)
    return found[-1].atoms


def permittivity(
    values: NDArray[np.float64], name: str, conversions: list[str], problems: list[str]
) -> NDArray[np.float64]:
    """The symmetric part of a permittivity (3, 3); `conversions` and, if it is much, `problems` get the rest."""
    rest = float(np.abs(values - values.T).max()) / 2
    if rest > 1e-4:
        conversions.append(f"{name}: antisymmetric part of up to {rest:.2g} left out")
    if rest > _ASYMMETRY * float(np.abs(values).max()):
        problems.append(f"{name} is asymmetric by up to {rest:.2g}: converge the response further")
    return (values + values.T) / 2


def guarded(file: RunFile, label: str, parse: Callable[[RunFile], Iterator[Calculation]]) -> Iterator[Outcome]:
    """What `parse` yields; an error inside becomes the failure of this file and keeps what came before."""
    try:
        with np.errstate(all="ignore"):
            yield from parse(file)
    except Exception as error:  # parsers meet anything in broken files
        yield unreadable(file, explain(error, label))


def unreadable(file: RunFile, problem: str) -> Failure:
    """The failure of a file."""
    return Failure(file.path, 0, "", "unreadable", problem)
