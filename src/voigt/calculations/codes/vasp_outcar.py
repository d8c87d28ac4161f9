"""Tensors in OUTCAR of VASP 5 and 6, each with the structure of its own ionic step.

Titles of tensors differ between versions and between LEPSILON and LCALCEPS; they are told apart by their words. The
order of the columns of piezoelectric and elastic tensors is read from the line above the numbers.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import ase
import numpy as np
from numpy.typing import NDArray

from voigt.calculations.codes.vasp_steps import Step, add_sums
from voigt.errors import InputError
from voigt.notes import Failure
from voigt.structures.readers.vasp import read_outcar
from voigt.tensors.properties import PROPERTIES
from voigt.tensors.voigt import VASP_TO_VOIGT

Array = NDArray[np.float64]

E_PER_SQUARE_ANGSTROM = 16.02176634
"""e/Angstrom^2 in C/m^2."""
FINITE_DIFFERENCES = (5, 6, 7, 8)
"""IBRION whose tensors all belong to the first structure: displaced ones follow it, or none."""
_ITERATION = re.compile(r"^-+ Iteration\s+(\d+)\(\s*(\d+)\)", re.MULTILINE)
_TITLE = re.compile(
    r"^[ \t]*(MACROSCOPIC STATIC DIELECTRIC TENSOR|BORN EFFECTIVE CHARGES|PIEZOELECTRIC TENSOR|"
    r"(?:SYMMETRIZED |TOTAL )?ELASTIC MODULI)([^\n]*)$",
    re.MULTILINE,
)
_NUMBER = re.compile(r"[-+]?\d+\.\d*(?:[EeDd][-+]?\d+)?")
"""Numbers run into each other where a minus sign takes the space between them."""
_PAIRS = re.compile(r"\b[XYZ]{2}\b")
_ORDER = ("XX", "YY", "ZZ", "YZ", "ZX", "XY")
_LINES = 12
"""Between the title of a tensor and its last row, at most; of Born charges for each ion."""


@dataclass(frozen=True)
class _Block:
    """A tensor as it is printed: what it is, its rows, and the pairs above its columns; no rows if it is cut short."""

    kind: str
    title: str
    place: int
    rows: Array | None
    pairs: tuple[str, ...] = ()


def steps_of_outcar(text: str) -> list[Step]:
    """Ionic steps with tensors, in order.

    Raises
    ------
    InputError
        There is none: the run did not converge, broke off, or was not asked for a response.
    """
    if not text.strip():
        raise InputError("is empty; the run did not start")
    segments = _segments(text)
    head = text[: segments[0][0]]
    ibrion = setting(head or text, "IBRION")
    whole = ibrion is not None and ibrion.isdigit() and int(ibrion) in FINITE_DIFFERENCES
    if whole:
        _refuse_unconverged(text, head or text, "the run")
    blocks = list(_blocks(text))
    places = [block.place for block in blocks]
    steps: list[Step] = []
    faults: list[str] = []
    for number, (start, end) in enumerate(segments, start=1):
        own = blocks if whole else blocks[bisect_left(places, start) : bisect_left(places, end)]
        if any(block.rows is not None for block in own):
            try:
                if not whole:
                    _refuse_unconverged(text[start:end], head or text, f"ionic step {number}")
                steps.append(_step(head, text[start:end], own))
            except InputError as error:
                faults.append(str(error))
        if whole:
            break
    if not steps:
        raise InputError(faults[0] if faults else _absent(text, head or text, blocks))
    steps[-1].problems.extend(f"another ionic step is left out, since it {fault}" for fault in faults)
    if not finished(text):
        last = "the end of OUTCAR is missing: the run broke off after these tensors; check that they are the last ones"
        steps[-1].problems.append(last)
    return steps


def setting(head: str, name: str) -> str | None:
    """The first word after `NAME =` in the settings that OUTCAR repeats."""
    match = re.search(rf"^[ \t]*{name}[ \t]*=[ \t]*(\S+)", head, re.MULTILINE)
    return match[1] if match else None


def finished(text: str) -> bool:
    """Whether OUTCAR ends as that of a run that came to its end."""
    return "General timing and accounting" in text or "Total CPU time used" in text


def _segments(text: str) -> list[tuple[int, int]]:
    """Where each ionic step begins and ends."""
    starts: list[int] = []
    last = ""
    for match in _ITERATION.finditer(text):
        if match[1] != last:
            starts.append(match.start())
            last = match[1]
    return list(zip(starts, [*starts[1:], len(text)], strict=True)) if starts else [(0, len(text))]


def _refuse_unconverged(segment: str, head: str, what: str) -> None:
    most = setting(head, "NELM")
    limit = int(most.rstrip(";")) if most and most.rstrip(";").isdigit() else None
    # Rounds of linear response follow those of the ground state and are counted on.
    exhausted = False
    reached = segment.find("EDIFF is reached")
    starts = [(int(match[2]), match.start()) for match in _ITERATION.finditer(segment)]
    for (number, _), (_, end) in pairwise([*starts, (0, len(segment))]):
        if number == limit:
            exhausted = exhausted or not 0 <= reached < end
    if "EDIFF was not reached" in segment or exhausted:
        rounds_allowed = "" if limit is None else f" in NELM = {limit} rounds"
        raise InputError(
            f"did not converge: the electrons of {what} stopped{rounds_allowed}; raise NELM or change ALGO"
        )


def _absent(text: str, head: str, blocks: list[_Block]) -> str:
    asked = [name for name in ("LEPSILON", "LCALCEPS") if (setting(head, name) or "").upper().startswith("T")]
    if blocks:
        return f"{blocks[-1].title} is cut short or not a number; let VASP finish the run"
    if not asked and setting(head, "IBRION") not in ("5", "6", "7", "8"):
        return "holds no response: set LEPSILON or LCALCEPS (and IBRION = 5 to 8 for ions and strain) and run it again"
    if not finished(text):
        return "breaks off before the response was calculated; look at the end of the file and run it again"
    return (
        f"holds no response though {' and '.join(asked) or 'IBRION'} asks for it; look for warnings of VASP in the file"
    )


def _blocks(text: str) -> Iterator[_Block]:
    for match in _TITLE.finditer(text):
        kind = _kind(match[1], match[2])
        if kind is None:
            continue
        title = " ".join((match[1] + match[2]).split())
        lines = _lines_after(text, match.end())
        if kind == "born":
            yield _Block(kind, title, match.start(), _born(lines))
            continue
        size = {"eps": 3, "piezo": 6, "elastic": 6}[kind.split("_")[0]]
        rows, pairs = _rows(lines, 6 if kind.startswith("elastic") else 3, size)
        yield _Block(kind, title, match.start(), rows, pairs)


def _kind(name: str, rest: str) -> str | None:
    """What a title announces; None for what is no property: no local fields, cruder approximations, not symmetrized."""
    words = f"{name}{rest}".upper()
    if "EXCLUDING" in words or "RPA" in words:
        return None
    ionic = "IONIC" in words
    if name.startswith("MACROSCOPIC"):
        return "eps_ionic" if ionic else "eps_inf"
    if name.startswith("BORN"):
        return "born"
    if name.startswith("PIEZO"):
        unit = "" if "C/M" in words else "_per_cell"
        return f"piezo_{'ionic' if ionic else 'clamped'}{unit}"
    if name.startswith("TOTAL"):
        return "elastic_total"
    if name.startswith("SYMMETRIZED"):
        return "elastic_clamped"
    return "elastic_ionic" if ionic else None


def _lines_after(text: str, place: int) -> Iterator[str]:
    place = text.find("\n", place) + 1
    while 0 < place < len(text):
        end = text.find("\n", place)
        end = len(text) if end < 0 else end
        yield text[place:end]
        place = end + 1


def _rows(lines: Iterator[str], count: int, width: int) -> tuple[Array | None, tuple[str, ...]]:
    """The next `count` lines with `width` numbers each, and the pairs of letters above them."""
    rows: list[list[float]] = []
    pairs: tuple[str, ...] = ()
    for _, line in zip(range(_LINES), lines, strict=False):
        words = _NUMBER.findall(line)
        if not rows and len(_PAIRS.findall(line.upper())) == 6 and not words:
            pairs = tuple(_PAIRS.findall(line.upper()))
        elif len(words) == width and "*" not in line:
            rows.append([float(word.replace("D", "E").replace("d", "e")) for word in words])
            if len(rows) == count:
                return np.array(rows), pairs
        elif rows or "*" in line:
            break
    return None, pairs


def _born(lines: Iterator[str]) -> Array | None:
    """(n_atoms, 3, 3) in the order of print: the row is the field, the column the displacement."""
    charges: list[Array] = []
    for line in lines:
        words = line.split()
        if len(words) == 2 and words[0] == "ion" and words[1].isdigit():
            rows, _ = _rows(lines, 3, 3)
            if rows is None:
                return None
            charges.append(rows)
        elif words and not set(line.strip()) <= set("-"):
            break
    return np.array(charges) if charges else None


def _step(head: str, segment: str, blocks: list[_Block]) -> Step:
    parsed = next(iter(read_outcar(head + segment)))
    if isinstance(parsed, Failure):
        raise InputError(parsed.problem)
    last: dict[str, _Block] = {}
    problems: list[str] = []
    for block in blocks:
        if block.rows is None:
            problems.append(f"{block.title}: cut short or not a number, and left out; run it again")
        else:
            last[block.kind] = block
    parts, conversions = _parts(parsed.atoms, last, problems)
    step = Step(parsed.atoms, parts, problems, conversions)
    add_sums(step)
    return step


def _parts(atoms: ase.Atoms, blocks: dict[str, _Block], problems: list[str]) -> tuple[dict[str, Array], list[str]]:
    """Cartesian tensors by name; those that are no property are called after what they are."""
    parts: dict[str, Array] = {}
    conversions: list[str] = []
    volume = float(abs(np.linalg.det(atoms.cell.array)))
    for kind, block in blocks.items():
        if block.rows is None:
            continue
        if kind in ("eps_inf", "eps_ionic"):
            parts[kind] = block.rows
        elif kind == "born":
            if len(block.rows) != len(atoms):
                problems.append(f"{block.title}: {len(block.rows)} ions for {len(atoms)} atoms, left out; run it again")
                continue
            parts["born_charges"] = block.rows
            conversions.append("born_charges: rows are the field, as VASP prints them")
        elif kind.startswith("piezo"):
            name = kind.removesuffix("_per_cell")
            if kind != name and name in blocks:  # printed in both units
                continue
            rows = block.rows if kind == name else block.rows * E_PER_SQUARE_ANGSTROM / volume
            voigt = rows[:, _order(block, problems)]
            parts[name] = PROPERTIES["piezo_total"].from_storage(voigt)
            unit = "" if kind == name else "e Angstrom per cell to C/m^2, "
            conversions.append(f"{name}: {unit}columns from {_printed(block)}")
        else:
            order = _order(block, problems)
            parts[kind] = PROPERTIES["elastic"].from_storage(block.rows[np.ix_(order, order)] / 10.0)
            conversions.append(f"{kind}: kBar to GPa, rows and columns from {_printed(block)}")
    return parts, conversions


def _order(block: _Block, problems: list[str]) -> list[int]:
    """Columns of print in the order xx yy zz yz zx xy."""
    if not block.pairs:
        problems.append(f"{block.title}: no line names the columns; VASP's order XX YY ZZ XY YZ ZX is taken: check it")
        return list(VASP_TO_VOIGT)
    names = ["".join(sorted(pair)) for pair in block.pairs]
    return [names.index("".join(sorted(pair))) for pair in _ORDER]


def _printed(block: _Block) -> str:
    return " ".join(block.pairs or ("XX", "YY", "ZZ", "XY", "YZ", "ZX")).lower()
