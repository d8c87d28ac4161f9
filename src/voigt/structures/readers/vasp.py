"""Outputs of VASP: OUTCAR, XDATCAR, and vasprun.xml with the tensors in it."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any

import ase
import numpy as np
from ase.data import atomic_numbers
from numpy.typing import NDArray

from voigt.errors import InputError
from voigt.structures.checks import unknown_element
from voigt.structures.inputs import Input
from voigt.structures.readers.by_ase import charged
from voigt.structures.readers.failures import MOST_ATOMS, attempt, unreadable

_FLOAT = re.compile(r"[-+]?\d+\.\d+(?:[eE][-+]?\d+)?")
"""Columns of an OUTCAR run into each other where a minus sign takes the space between them."""
_CONFIGURATION = re.compile(r"\s*(?:direct|cartesian)\s+configuration\s*=", re.IGNORECASE)
_HEADER_LINES = 7
_WEIGHTS = re.compile(r'<v name="VCA"[^>]*>([^<]*)</v>')
_ELECTRONS = re.compile(r'<i name="NELECT"[^>]*>\s*([\d.]+)\s*</i>')
_TYPE = re.compile(r"<rc><c>\s*(\d+)\s*</c><c>[^<]*</c><c>[^<]*</c><c>\s*([\d.]+)\s*</c><c>[^<]*</c></rc>")
"""Number of atoms and valence of an element."""
_OLD_SYMBOLS = {"r": "Zr", "X": "Xe"}
"""How VASP before 5.4 wrote these two in vasprun.xml."""


def read_vasprun(text: str) -> Iterator[Input]:
    """The last ionic step of a vasprun.xml, with the Born charges and the permittivity of the electrons if it has them.

    They become `arrays["born_charges"]` (9 columns, row-major, first index field, second displacement: the order in
    which VASP writes them) and `info["eps_inf"]` (9 numbers).
    """
    from ase.io.vasp import read_vasp_xml

    def build() -> ase.Atoms:
        if "<!ENTITY" in text or "<!DOCTYPE" in text:
            raise InputError("declares XML entities, which VASP never does; export it again")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                steps = list(read_vasp_xml(io.StringIO(_old_symbols(_last_step(text))), index=-1))
            except Exception:  # of a step without energies, or a file without the first positions
                if _final(text) is None:
                    raise
                steps = []
        last: ase.Atoms | None = steps[-1] if steps else _final(text)
        if last is None:
            raise InputError("holds no finished ionic step; let VASP finish, or give the POSCAR")
        _refuse_mixtures([float(word) for row in _WEIGHTS.findall(text) for word in row.split()])
        _add_tensors(last, text)
        types, electrons = _TYPE.findall(text), _ELECTRONS.findall(text)
        if types and electrons and sum(int(count) for count, _ in types) == len(last):
            valence = sum(int(count) * float(electrons_of_atom) for count, electrons_of_atom in types)
            return _charged(last, valence - float(electrons[-1]))
        return last

    yield attempt(build, "vasprun.xml")


def _last_step(text: str) -> str:
    """The text without its ionic steps but the last: of a long run ASE would hold them all, many times their size."""
    first, end = text.find("<calculation>"), text.rfind("</calculation>")
    last = text.rfind("<calculation>", 0, max(end, 0))
    return text[:first] + text[last:] if 0 <= first < last else text


def _final(text: str) -> ase.Atoms | None:
    """The structure of a complete file without the usual ionic steps, which computations of spectra write."""
    from xml.etree import ElementTree

    start, atoms = text.rfind('<structure name="finalpos"'), text.find("<atominfo>")
    if start < 0 and "<calculation>" not in text and "<dielectricfunction" in text:  # atoms never moved
        start = text.find('<structure name="initialpos"')
    if start < 0 or not 0 <= atoms < start or "</modeling>" not in text:
        return None
    info = ElementTree.fromstring(text[atoms : text.index("</atominfo>", atoms)] + "</atominfo>")
    structure = ElementTree.fromstring(text[start : text.index("</structure>", start)] + "</structure>")
    symbols = [(row[0].text or "").strip() for row in info.findall("array[@name='atoms']/set/rc")]
    cell = _numbers(structure.findall("crystal/varray[@name='basis']/v"), (3, 3), "basis")
    places = _numbers(structure.findall("varray[@name='positions']/v"), (len(symbols), 3), "positions")
    symbols = [_OLD_SYMBOLS.get(symbol, symbol) for symbol in symbols]
    return ase.Atoms(symbols, scaled_positions=places, cell=cell, pbc=True)


def _refuse_mixtures(weights: list[float]) -> None:
    """Raise InputError for a virtual crystal, in which potentials are mixed with these weights."""
    if any(weight != 1.0 for weight in weights):
        shown = " ".join(f"{weight:g}" for weight in weights)
        raise InputError(f"has mixed atoms (VCA = {shown}); choose an ordered structure")


def _charged(atoms: ase.Atoms, charge: float) -> ase.Atoms:
    """With the charge that the numbers of electrons tell, unless it is of the rounding of the valence."""
    return charged(atoms, round(charge, 3) if abs(charge) > 1e-3 * (len(atoms) + 1) else 0.0)


def _old_symbols(text: str) -> str:
    return re.sub(r"(<rc><c>\s*)(r|X)(\s*</c>)", lambda match: match[1] + _OLD_SYMBOLS[match[2]] + match[3], text)


def _add_tensors(atoms: ase.Atoms, text: str) -> None:
    """Enter the tensors of the last ionic step, of which ASE drops a part."""
    from xml.etree import ElementTree

    start = text.rfind("<calculation>")
    end = text.find("</calculation>", start)
    if start < 0 or end < 0 or not ("born_charges" in text[start:end] or "epsilon" in text[start:end]):
        return
    step = ElementTree.fromstring(text[start:end] + "</calculation>")
    # With local fields where VASP writes both; "epsilon_scf" is from a finite field.
    for name in ("epsilon", "epsilon_scf"):
        rows = step.findall(f"varray[@name='{name}']/v")
        if rows and "eps_inf" not in atoms.info:
            atoms.info["eps_inf"] = _numbers(rows, (9,), name)
    arrays = step.findall("array[@name='born_charges']")
    blocks = arrays[-1].findall("set") if arrays else []
    if blocks:
        charges = [_numbers(block.findall("v"), (9,), "born_charges") for block in blocks]
        if len(charges) != len(atoms):
            raise InputError(f"has Born charges of {len(charges)} atoms for {len(atoms)}; export it again")
        atoms.arrays["born_charges"] = np.array(charges)


def _numbers(rows: list[Any], shape: tuple[int, ...], name: str) -> NDArray[np.float64]:
    values = np.array([float(word) for row in rows for word in (row.text or "").split()])
    if values.size != np.prod(shape):
        raise InputError(
            f"has {values.size} numbers in a tensor of '{name}' instead of {np.prod(shape)}; export it again"
        )
    return values.reshape(shape)


def read_outcar(text: str) -> Iterator[Input]:
    """The last ionic step of an OUTCAR."""

    def build() -> ase.Atoms:
        titles = re.findall(r"^[ \t]*TITEL\s*=\s*(\S.*)$", text, re.MULTILINE)
        counts = re.search(r"^[ \t]*ions per type\s*=([\d \t]+)$", text, re.MULTILINE)
        if counts is not None and len(titles) != len(counts[1].split()):  # each potential is announced twice
            titles = re.findall(r"^[ \t]*POTCAR:\s*(\S.*)$", text, re.MULTILINE)[: len(counts[1].split())]
        if counts is None or not titles:
            raise InputError("names no elements or numbers of atoms; give the whole OUTCAR")
        symbols = [_element_of_title(title) for title in titles]
        numbers = [min(int(word[:9]), MOST_ATOMS + 1) for word in counts[1].split()]
        if len(symbols) != len(numbers) or sum(numbers) > MOST_ATOMS:
            raise InputError(
                f"names {len(symbols)} potentials but {len(numbers)} numbers of ions; give the whole OUTCAR"
            )
        total = sum(numbers)
        start = text.rfind("TOTAL-FORCE (eV/Angst)")
        rows = text[start:].splitlines()[2 : 2 + total] if start >= 0 else []
        places = [_FLOAT.findall(row)[:3] for row in rows]
        vectors = text[: max(start, 0)].rfind("direct lattice vectors")
        frame = [_FLOAT.findall(row)[:3] for row in text[vectors:].splitlines()[1:4]] if vectors >= 0 else []
        if len(places) != total or any(len(row) != 3 for row in [*places, *frame]) or len(frame) != 3:
            raise InputError("holds no finished ionic step; let VASP finish, or give the POSCAR")
        weights = re.findall(r"^[ \t]*VCA[ \t]*=(.*)$", text, re.MULTILINE)
        _refuse_mixtures([float(word) for word in _FLOAT.findall(weights[-1] if weights else "")])
        elements = np.repeat([atomic_numbers[symbol] for symbol in symbols], numbers)
        atoms = ase.Atoms(elements, np.array(places, dtype=float), cell=np.array(frame, dtype=float), pbc=True)
        valences = re.findall(r"ZVAL[ \t]*=[ \t]*([\d.]+)[ \t]+mass and valenz", text)[-len(symbols) :]
        electrons = re.findall(r"^[ \t]*NELECT[ \t]*=[ \t]*([\d.]+)", text, re.MULTILINE)
        has_holes = "Core level calculations are selected" in text  # in the core, which the valence does not count
        if len(valences) == len(symbols) and electrons and not has_holes:
            return _charged(atoms, float(np.dot(np.array(valences, float), numbers)) - float(electrons[-1]))
        return atoms

    yield attempt(build, "OUTCAR")


def _element_of_title(title: str) -> str:
    """The element of such as "PAW_PBE Zr_sv 04Jan2005" or "H 1/r potential"."""
    words = title.split()
    name = words[0] if "1/r" in words[1:2] or len(words) == 1 else words[1]
    match = re.match(r"[A-Z][a-z]?", name)
    if match is None or match[0] not in atomic_numbers:
        raise InputError(unknown_element(name))
    return match[0]


def read_xdatcar(lines: Iterable[str]) -> Iterator[Input]:
    """Every frame of an XDATCAR of VASP 5 or 6, one at a time; a broken one does not hide those after it."""
    header: list[str] = []
    chunk: list[str] = []  # of the file so far, from the last line "Direct configuration=" on
    fractional: bool | None = None  # None before the first
    for line in lines:
        if not line.strip():
            continue
        match = _CONFIGURATION.match(line)
        if match is None:
            chunk.append(line)
            if len(chunk) > MOST_ATOMS:
                yield unreadable(f"has more than {MOST_ATOMS} lines without a configuration; correct or split the file")
                return
            continue
        following = chunk[-_HEADER_LINES:]
        repeats = len(chunk) >= _HEADER_LINES and _is_header(following)
        if fractional is not None:
            rows = chunk[:-_HEADER_LINES] if repeats else chunk
            yield attempt(partial(_configuration, header, rows, fractional), "XDATCAR")
        if repeats or fractional is None:
            header = following
        chunk, fractional = [], "direct" in match[0].lower()
    if fractional is not None:
        yield attempt(partial(_configuration, header, chunk, fractional), "XDATCAR")
    elif chunk:
        yield unreadable("has no line 'Direct configuration='; write it with VASP 5 or later")


def _is_header(lines: list[str]) -> bool:
    """Whether seven lines are a comment, a factor, a cell, elements and numbers; coordinates never are."""
    return len(lines[1].split()) == 1 and all(word.isdecimal() for word in lines[6].split())


def _configuration(header: list[str], rows: list[str], fractional: bool) -> ase.Atoms:
    if len(header) < _HEADER_LINES:
        raise InputError("has no complete header: comment, factor, three vectors, elements, numbers; complete it")
    symbols, counts = header[5].split(), header[6].split()
    unknown = next((symbol for symbol in symbols if symbol.split("_")[0] not in atomic_numbers), None)
    if unknown is not None:
        raise InputError(unknown_element(unknown))
    total = sum(int(word[:9]) for word in counts)
    if len(symbols) != len(counts) or total != len(rows):
        raise InputError(f"has a frame of {len(rows)} atoms where {total} are promised; correct or remove it")
    cell = np.array([line.split()[:3] for line in header[2:5]], dtype=float) * float(header[1])
    places = np.array([row.split()[:3] for row in rows], dtype=float)
    numbers = np.repeat([atomic_numbers[symbol.split("_")[0]] for symbol in symbols], [int(word) for word in counts])
    return ase.Atoms(numbers, places @ cell if fractional else places, cell=cell, pbc=True)
