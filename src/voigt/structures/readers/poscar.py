"""POSCAR and CONTCAR files of VASP."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator, Mapping

import ase
import numpy as np
from ase.data import atomic_numbers

from voigt.errors import InputError
from voigt.structures.checks import unknown_element
from voigt.structures.inputs import Input
from voigt.structures.readers.failures import attempt

_IN_LIST: Mapping[int, Callable[[str], bool]] = {5: atomic_numbers.__contains__, 6: str.isdecimal}
_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eEdD][-+]?\d+)?")


def read_poscar(text: str) -> Iterator[Input]:
    """The one structure of a POSCAR or CONTCAR.

    Elements of VASP 4, which line 6 does not name, are taken from the first line if it holds them and nothing else.
    No other file is looked at.
    """
    yield attempt(lambda: _atoms(text), "POSCAR")


def _atoms(text: str) -> ase.Atoms:
    lines = text.split("\n")
    while lines and not lines[-1].strip():
        lines.pop()
    if len(lines) > 5 and lines[5].split()[:1] and lines[5].split()[0].isdecimal():
        lines.insert(5, _symbols_of_comment(lines[0], lines[5].split("!")[0].split()))
    _join_lists(lines)
    if len(lines) < 8:
        raise InputError("is cut short: a POSCAR has at least 8 lines; complete it")
    symbols, counts = lines[5].split("!")[0].split(), lines[6].split("!")[0].split()
    if not symbols or not counts:
        raise InputError("has no elements or numbers in lines 6 and 7; give both, as VASP 5 does")
    if len(symbols) != len(counts):
        numbers = f"{len(symbols)} elements in line 6 but {len(counts)} numbers in line 7"
        raise InputError(f"names {numbers}; make them agree")
    # VASP may write the names and digests of potentials, such as Na_pv/6a2f546d.
    symbols = [symbol.split("/")[0].split("_")[0] for symbol in symbols]
    unknown = [symbol for symbol in symbols if symbol not in atomic_numbers]
    if unknown:
        raise InputError(unknown_element(unknown[0]))
    if not all(count.isdecimal() for count in counts):
        raise InputError(f"has numbers of atoms in line 7 that are not whole ('{lines[6].strip()[:60]}'); correct them")
    total = sum(int(count[:18]) for count in counts)
    if total > len(lines) - 8:
        raise InputError(f"promises {total} atoms in line 7, but {len(lines) - 8} lines follow; complete it")
    selective = lines[7].strip()[:1].lower() == "s"
    if _is_position("".join(lines[8 + selective + total :][:1])):  # velocities follow after another line
        raise InputError(f"promises {total} atoms in line 7, but more positions follow; make them agree")
    return _simple(lines, symbols, counts) or _by_ase(lines, total)


def _join_lists(lines: list[str]) -> None:
    """Make one line each of the elements and of the numbers, which programs continue after twenty."""
    for row in (5, 6):
        end = row
        while end < len(lines) and lines[end].split() and all(map(_IN_LIST[row], lines[end].split())):
            end += 1
        if end > row + 1:
            lines[row:end] = [" ".join(lines[row:end])]


def _is_position(line: str) -> bool:
    """Whether a line begins with three numbers."""
    words = line.split()[:3]
    return len(words) == 3 and all(_NUMBER.fullmatch(word) for word in words)


def _symbols_of_comment(comment: str, counts: list[str]) -> str:
    """The elements in the first line of a file of VASP 4: symbols, or a formula with the numbers that line 6 has."""
    words = comment.split()
    if len(words) == len(counts) and all(word in atomic_numbers for word in words):
        return comment
    if len(words) == 1 and re.fullmatch(r"(?:[A-Z][a-z]?\d{0,4})+", words[0]):
        parts = re.findall(r"([A-Z][a-z]?)(\d*)", words[0])
        ratios = {
            int(count) / int(number or 1) for (_, number), count in zip(parts, counts, strict=False) if int(number or 1)
        }
        if len(parts) == len(counts) and len(ratios) == 1 and all(symbol in atomic_numbers for symbol, _ in parts):
            return " ".join(symbol for symbol, _ in parts)
    raise InputError("names no elements; write them above the numbers of atoms (line 6), as VASP 5 does")


def _simple(lines: list[str], symbols: list[str], counts: list[str]) -> ase.Atoms | None:
    """What most files are: one scaling factor, elements, positions and nothing else; None: it is not that simple."""
    kind = lines[7].strip()[:1].lower()
    if kind not in tuple("dck"):
        return None
    try:
        repeats = [int(count) for count in counts]
        rows, rest = lines[8 : 8 + sum(repeats)], lines[8 + sum(repeats) :]
        scale = float(lines[1])
        cell = np.array([line.split()[:3] for line in lines[2:5]], dtype=float)
        positions = np.array([line.split()[:3] for line in rows], dtype=float)
    except ValueError:
        return None
    # A negative factor is the volume of the cell; what follows the positions are velocities.
    if scale <= 0.0 or positions.shape != (sum(repeats), 3) or any(line.strip() for line in rest):
        return None
    numbers = np.repeat([atomic_numbers[symbol] for symbol in symbols], repeats)
    if kind == "d":
        return ase.Atoms(numbers=numbers, cell=cell * scale, pbc=True, scaled_positions=positions)
    return ase.Atoms(numbers=numbers, cell=cell * scale, pbc=True, positions=positions * scale)


def _by_ase(lines: list[str], total: int) -> ase.Atoms:
    from ase.io.vasp import read_vasp  # half a second, most of it for scipy.integrate

    selective = lines[7].strip()[:1].lower() == "s"
    positions = lines[: 8 + selective + total]
    try:
        atoms: ase.Atoms = read_vasp(io.StringIO("\n".join(lines) + "\n"))
    except Exception:  # broken velocities after the positions are no concern of ours
        atoms = read_vasp(io.StringIO("\n".join(positions) + "\n"))
    return atoms
