"""Atom sites of a CIF: which element, or mixture, sits where."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from ase.data import chemical_symbols
from numpy.typing import NDArray

from voigt.errors import InputError
from voigt.structures.checks import unknown_element
from voigt.structures.readers.cif_syntax import Block, is_null, number, shortened

_ELEMENTS = frozenset(chemical_symbols[1:])
_FRACTIONAL = tuple(f"_atom_site_fract_{axis}" for axis in "xyz")
_CARTESIAN = tuple(f"_atom_site_cartn_{axis}" for axis in "xyz")
_GROUPS = frozenset(("CO", "NO", "CN", "HO", "NH", "HF", "PO"))
"""Capitals that can be an element or a group of atoms."""
_GROUP_FAULT = "is a group of atoms on one site; give each atom a site of its own"
_AMOUNT = r"(\d*\.?\d*)(?:\(\d+\))?"
_ISOTOPE = re.compile(r"(\d{1,3})([A-Z][a-z]?)")
_PART = re.compile(rf"{_AMOUNT}\s*\*?\s*([A-Z][A-Za-z]*\d*)\s*{_AMOUNT}")
_BETWEEN = re.compile(r"\s+\+\s*|(?<=[A-Za-z\d)])\+\s*(?=[\d.(]*\s*[A-Z])|[,;/&]|\s+(?=[\d.]*[A-Z])")
_RUN = re.compile(r"([A-Z][a-z]?)(\d*\.?\d*)")
_CHARGE = re.compile(r"\d*\.?\d*[-+]\d*\.?\d*")
_ONE = re.compile(r"([A-Za-z]{1,2}?)(?:va|val)?([^A-Za-z].*)?")


@dataclass(frozen=True)
class Site:
    """A row of the table of sites.

    Attributes
    ----------
    label
        Its name in the file, or its place in the table.
    shares
        Occupancy of each element; "?" where a mixture does not say how much.
    position
        (3,) in coordinates of the cell.
    is_deuterium
        Whether its hydrogen is written D.
    """

    label: str
    shares: dict[str, float | str]
    position: NDArray[np.float64]
    is_deuterium: bool = False

    @property
    def is_whole(self) -> bool:
        """Whether one whole atom sits there."""
        return len(self.shares) == 1 and all(
            isinstance(share, float) and abs(share - 1.0) <= 1e-3 for share in self.shares.values()
        )


def has_sites(block: Block) -> bool:
    """Whether a block holds coordinates; journals' and comparison blocks do not."""
    return bool(block.tag(*_FRACTIONAL, *_CARTESIAN))


def read_sites(block: Block, cell: NDArray[np.float64], formula: frozenset[str]) -> list[Site]:
    """All sites that are occupied.

    Parameters
    ----------
    block
        With coordinates.
    cell
        (3, 3), rows are lattice vectors, Angstrom.
    formula
        Symbols in the chemical formula, to tell elements from labels.

    Raises
    ------
    InputError
        With all that is wrong with the sites.
    """
    positions, unplaced = _positions(block, cell)
    rows = len(positions)
    types, labels = _column(block, "_atom_site_type_symbol", rows), _column(block, "_atom_site_label", rows)
    occupancies = _column(block, "_atom_site_occupancy", rows)
    flags = _column(block, "_atom_site_calc_flag", rows)
    if not types and not labels:
        raise InputError("has neither _atom_site_type_symbol nor _atom_site_label; say which element each site is")
    sites: list[Site] = []
    faults: dict[str, None] = {}
    for row, position in enumerate(positions):
        written = types[row] if types and not is_null(types[row]) else ""
        name = labels[row] if labels and not is_null(labels[row]) else ""
        if (flags and flags[row].lower() == "dum") or not (written or name):
            if not (written or name) and not unplaced[row]:
                faults[f"site {row + 1} has no _atom_site_label; say which element it is"] = None
            continue
        label = name or written
        try:
            shares = composition(written, formula) if written else composition_of_label(name, formula)
        except InputError as error:
            faults[f"site {shortened(label)}: {error}" if label != written else str(error)] = None
            continue
        try:
            share = occupancies[row] if occupancies and not is_null(occupancies[row]) else "1"
            occupancy = number(share, f"_atom_site_occupancy of {shortened(label)}")
        except InputError as error:
            faults[str(error)] = None
            continue
        if occupancy == 0.0:
            continue
        if unplaced[row]:
            faults[f"{shortened(label)} ({', '.join(shares)}) has no position; give {_FRACTIONAL[0]} and so on"] = None
        if occupancy != 1.0 or len(shares) == 1:
            shares = {symbol: occupancy * part if isinstance(part, float) else part for symbol, part in shares.items()}
        is_heavy = "D" in (written, label[:1]) and list(shares) == ["H"]
        sites.append(Site(shortened(label), shares, position, is_heavy))
    faults.update(_alternatives(block, rows))
    if faults:
        shown = list(faults)
        more = f". {len(shown) - 3} more sites are wrong in such ways" if len(shown) > 3 else ""
        raise InputError(". ".join(shown[:3]) + more)
    return sites


def composition(symbol: str, formula: frozenset[str]) -> dict[str, float | str]:
    """What a type symbol stands for: an element, with its charge or not, or a mixture.

    Raises
    ------
    InputError
        It is no element, a group of several atoms, or can be both.

    Examples
    --------
    >>> composition("O2-", frozenset()), composition("0.6Mg + 0.4Ca", frozenset())
    ({'O': 1.0}, {'Mg': 0.6, 'Ca': 0.4})
    """
    text = symbol.strip()
    if text in _ELEMENTS:
        return {text: 1.0}
    if text in ("D", "T"):
        return {"H": 1.0}
    if (match := _ISOTOPE.fullmatch(text)) and match[2] in _ELEMENTS:
        # 7Li is an isotope, 2O two atoms: nuclei have one to three nucleons per proton.
        protons = chemical_symbols.index(match[2])
        if protons <= int(match[1]) <= 3 * protons:
            return {match[2]: 1.0}
    if match := _ONE.fullmatch(text):
        tail = match[2] or ""
        if match[1] in _GROUPS and re.fullmatch(r"\d+", tail) and match[1].capitalize() not in formula:
            raise InputError(f"'{shortened(symbol)}' {_GROUP_FAULT}")
        if _CHARGE.fullmatch(tail) or not re.search(r"[A-Za-z,/]|\.\d|\d\.", tail):
            return {_element(match[1], formula, symbol): 1.0}
    parts = [match.groups() for match in map(_PART.fullmatch, _split(text)) if match]
    if len(parts) > 1:
        shares: dict[str, float | str] = {}
        for before, name, after in parts:
            amount = before or after
            shares[name] = _amount(amount)
        return shares
    run = _RUN.findall(re.sub(r"[\s()\[\]]", "", text))
    if len(run) > 1 and all(name in _ELEMENTS or name == "D" for name, _ in run):
        if any("." in amount for _, amount in run):
            return {name: _amount(amount) for name, amount in run}
        raise InputError(f"'{shortened(symbol)}' {_GROUP_FAULT}")
    if parts and parts[0][1] in _ELEMENTS:
        before, name, after = parts[0]
        return {name: _amount(before or after)}
    raise InputError(unknown_element(shortened(symbol)))


def composition_of_label(label: str, formula: frozenset[str]) -> dict[str, float | str]:
    """What a label such as Fe1A stands for, where the file gives no type symbol; errors as those of `composition`.

    Examples
    --------
    >>> composition_of_label("Ca1", frozenset()), composition_of_label("Ow", frozenset({"H", "O"}))
    ({'Ca': 1.0}, {'O': 1.0})
    """
    text = label.strip().lstrip("*")
    if re.search(r"[,+/ ]|\d\.\d|\.\d", text):
        return composition(text, formula)
    letters = re.match(r"[A-Za-z]*", text)
    run = letters[0] if letters else ""
    if run[:1] == "T" and run[:2] not in _ELEMENTS and "T" not in formula:  # tetrahedral sites, not tritium
        raise InputError(unknown_element(shortened(text)))
    options = [run[:2].capitalize(), run[:1].upper()] if len(run) > 1 else [run.upper()]
    options = [option for option in options if option in _ELEMENTS or option == "D"]
    if formula:
        options = [option for option in options if option in formula or (option == "D" and "H" in formula)]
        if not options:
            raise InputError(f"'{shortened(text)}' is no element of the formula; add _atom_site_type_symbol")
    if len(options) == 2:
        if run[1].islower() or formula:
            options = options[:1]
        else:
            raise InputError(f"'{shortened(label)}' may be {options[0]} or {options[1]}; add _atom_site_type_symbol")
    elif options and len(run) > 1 and len(options[0]) == 1 and run[1].islower() and not formula:
        options = []
    if not options:
        raise InputError(unknown_element(shortened(run[:2] or text)))
    return {"H" if options[0] == "D" else options[0]: 1.0}


def _element(letters: str, formula: frozenset[str], symbol: str) -> str:
    if letters in _ELEMENTS:
        return letters
    if letters in ("D", "T"):
        return "H"
    name = letters.capitalize()
    if letters in _GROUPS and name not in formula:
        raise InputError(f"'{shortened(symbol)}' may be {name} or a group of two atoms; write the element as {name}")
    if name not in _ELEMENTS:
        if len(letters) == 2 and letters.isupper() and all(letter in _ELEMENTS for letter in letters):
            raise InputError(f"'{shortened(symbol)}' {_GROUP_FAULT}")
        raise InputError(unknown_element(shortened(letters)))
    return name


def _split(text: str) -> list[str]:
    """The parts of a mixture; a plus sign can also be a charge."""
    cut = _BETWEEN.sub("\n", text.strip("() "))
    return [re.sub(r"\d*[-+]\d*$", "", part.strip()) for part in cut.split("\n") if part.strip()]


def _amount(text: str) -> float | str:
    return float(text) if re.fullmatch(r"\d+\.?\d*|\.\d+", text) else "?"


def _column(block: Block, tag: str, rows: int) -> list[str]:
    """Values of an item of the table of sites, [] if it has none."""
    values = block.column(tag)
    if values and len(values) != rows:
        raise InputError(f"{block.written[tag]} has {len(values)} values for {rows} positions; give one for each site")
    return values


def _positions(block: Block, cell: NDArray[np.float64]) -> tuple[NDArray[np.float64], list[bool]]:
    """(n, 3) coordinates of all rows, and whether a row has none."""
    tags = _FRACTIONAL if block.tag(*_FRACTIONAL) else _CARTESIAN
    columns = [block.column(tag) for tag in tags]
    missing = [tag for tag, column in zip(tags, columns, strict=True) if not column and tag not in block.columns]
    if missing:
        raise InputError(f"has no {' and no '.join(missing)}; give three coordinates for each site")
    columns = [column or block.columns[tag] for tag, column in zip(tags, columns, strict=True)]
    if len({len(column) for column in columns}) > 1:
        raise InputError(f"has different numbers of {', '.join(tags)}; give three coordinates for each site")
    rows = list(zip(*columns, strict=True))
    # A lone row of points is the origin in the output of some programs; more than one have no position.
    dots = [row for row in rows if all(value in ("?", ".", "") for value in row)]
    is_origin = len(dots) == 1 and dots[0] == (".", ".", ".")
    unplaced = [all(value in ("?", ".", "") for value in row) and not is_origin for row in rows]
    positions = np.zeros((len(rows), 3))
    for row, (values, skip) in enumerate(zip(rows, unplaced, strict=True)):
        if not skip:
            pairs = zip(values, tags, strict=True)
            positions[row] = [0.0 if value == "." else number(value, block.written[tag]) for value, tag in pairs]
    if not np.isfinite(positions).all() or np.abs(positions).max(initial=0.0) > 1e6:
        raise InputError(f"has a coordinate that is far too large ({tags[0]} and so on); correct it")
    if tags is _CARTESIAN:
        if any(tag.startswith(("_atom_sites_cartn_tran", "_atom_sites_fract_tran")) for tag in block.columns):
            raise InputError("has Cartesian coordinates with axes of their own; give _atom_site_fract_x, y and z")
        positions = positions @ np.linalg.inv(cell)
    return positions, unplaced


def _alternatives(block: Block, rows: int) -> dict[str, None]:
    """The fault of sites that exclude each other."""
    groups = set(_column(block, "_atom_site_disorder_group", rows)) - {"", ".", "?", "0"}
    if len(groups) < 2:
        return {}
    return {
        f"has {len(groups)} alternative sets of sites (_atom_site_disorder_group); choose one, with whole atoms": None
    }
