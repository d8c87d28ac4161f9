"""Space-group operations of a CIF: as listed, magnetic ones too, or by a Hall or Hermann-Mauguin symbol or number."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voigt.errors import InputError
from voigt.structures.readers.cif_syntax import Block, is_null, shortened
from voigt.structures.readers.hall_symbols import hall_operations, in_other_basis

_LISTED = ("_space_group_symop_operation_xyz", "_symmetry_equiv_pos_as_xyz")
_MAGNETIC = ("_space_group_symop_magn_operation_xyz",)
_CENTERINGS = ("_space_group_symop_magn_centering_xyz",)
_HALL = ("_space_group_name_hall", "_symmetry_space_group_name_hall")
_NAMES = (
    "_space_group_name_h-m_alt",
    "_symmetry_space_group_name_h-m",
    "_space_group_name_h-m_full",
    "_symmetry_space_group_name_h-m_full",
    "_space_group_name_h-m",
)
_NUMBERS = ("_space_group_it_number", "_symmetry_int_tables_number")
_CHOICES = ("_space_group_it_coordinate_system_code", "_symmetry_space_group_setting")
_MOST_OPERATIONS = 1_000
"""A conventional cell has 192 at most; supercells of magnetic structures have more."""
_GRID = 24
"""Translations are multiples of 1/24 in every setting of the International Tables."""
_ROUNDING = 0.0035
"""How far a translation may be from such a multiple and is still meant to be one: 0.33 for 1/3."""
_METRIC_TOLERANCE = 0.03
_TERM = re.compile(r"([-+]?)(?:(\d+)/(\d+)|(\d*\.\d+|\d+\.?))?\*?([xyz])?")


@dataclass(frozen=True, eq=False)
class Operations:
    """A set of operations x' = W x + t in coordinates of the cell, without repetition.

    Attributes
    ----------
    rotations
        (n, 3, 3) integers W.
    translations
        (n, 3) t.
    source
        What gave them, for sentences.
    """

    rotations: NDArray[np.int64]
    translations: NDArray[np.float64]
    source: str

    def __len__(self) -> int:
        return len(self.rotations)

    @property
    def key(self) -> frozenset[bytes]:
        """Equal for equal sets, in any order."""
        return frozenset(_codes(self.rotations, self.translations))

    def point_group_order(self) -> int:
        """How many different W there are."""
        return len({rotation.tobytes() for rotation in self.rotations})

    def fit(self, cell: NDArray[np.float64]) -> bool:
        """Whether all W leave lengths and angles of the cell (3, 3) as they are."""
        metric = cell @ cell.T
        scale = np.sqrt(np.outer(np.diag(metric), np.diag(metric)))
        images = self.rotations.transpose(0, 2, 1) @ metric @ self.rotations
        return bool((np.abs(images - metric) <= _METRIC_TOLERANCE * scale).all())


def is_modulated(block: Block) -> bool:
    """Whether the block describes a modulated structure, which has no finite cell."""
    dimension = block.columns.get("_cell_modulation_dimension", ["0"])[0]
    if not is_null(dimension) and dimension.strip() != "0":
        return True
    return any("_ssg_operation_" in tag for tag in block.columns)


def listed_operations(block: Block) -> Operations | None:
    """The operations that the block lists, those of a magnetic group before others; None if it lists none.

    Raises
    ------
    InputError
        One cannot be read, some are missing, or the block is magnetic and lists none.
    """
    tag = block.tag(*_MAGNETIC) or block.tag(*_LISTED)
    if not tag:
        if any("magn" in name and name.startswith(("_space_group", "_magnetic_space")) for name in block.columns):
            raise InputError(
                "is a magnetic CIF without operations; add _space_group_symop_magn_operation.xyz, or export an "
                "ordinary CIF"
            )
        return None
    values = _regrouped(block.column(tag))
    centerings = tuple(block.column(*_CENTERINGS)) if tag in _MAGNETIC else ()
    rotations, translations = _group(tuple(values), tuple(_regrouped(centerings)), block.written[tag])
    return Operations(rotations, translations, block.written[tag])


def named_operations(block: Block) -> list[Operations]:
    """Operations of each setting that the block's Hall symbol, or Hermann-Mauguin symbol, or number allows.

    Returns
    -------
    list of Operations
        More than one where origin or axes are not stated. Empty if the block names no group.

    Raises
    ------
    InputError
        No space group has this name, or the number is that of another one.
    """
    hall, name, number = block.value(*_HALL), block.value(*_NAMES), block.value(*_NUMBERS)
    number = number if re.fullmatch(r"\d{1,3}", number) and 1 <= int(number) <= 230 else ""
    found: list[Operations] = []
    unknown: list[str] = []
    if hall:
        tag = block.written[block.tag(*_HALL)]
        try:
            found = [Operations(*hall_operations(" ".join(hall.split())), tag)]
        except InputError:
            unknown.append(f"{tag} '{shortened(hall)}'")
    if not found and name:
        tag = block.written[block.tag(*_NAMES)]
        settings = _settings_of_name(_plain(name))
        if number and settings and int(number) not in {_types()[hall].number for hall in settings}:
            raise InputError(
                f"{tag} '{shortened(name)}' and {block.written[block.tag(*_NUMBERS)]} {number} are different groups; "
                "correct one of them"
            )
        found = [_of_setting(setting, tag) for setting in _chosen(settings, block.value(*_CHOICES))]
        if not found:
            found = _in_larger_cell(_plain(name), int(number or 0), tag)
        if not found:
            unknown.append(f"{tag} '{shortened(name)}'")
    if not found and number and not unknown:
        tag = block.written[block.tag(*_NUMBERS)]
        found = [
            _of_setting(setting, tag) for setting in _chosen(_standard_settings(int(number)), block.value(*_CHOICES))
        ]
    if not found and unknown:
        raise InputError(f"{' and '.join(unknown)} is no known space group; list the operations in {_LISTED[0]}")
    return found


# ---- lists of operations


def _regrouped(values: Sequence[str]) -> list[str]:
    """Operations written without quotes but with blanks were split; put them together again."""
    if all(value.count(",") >= 2 for value in values):
        return [value for value in values if not is_null(value)]
    whole, parts = [], ""
    for value in values:
        parts += value
        if parts.count(",") >= 2 and not parts.endswith(","):
            whole.append(parts)
            parts = ""
    return [*whole, parts] if parts else whole


@lru_cache(maxsize=512)
def _group(
    texts: tuple[str, ...], centerings: tuple[str, ...], tag: str
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """W and t of listed operations; a list without the identity gets it, and must then be a group."""
    if len(texts) * max(len(centerings), 1) > _MOST_OPERATIONS:
        raise InputError(f"{tag} lists more than {_MOST_OPERATIONS} operations; correct it")
    parsed = [_parse(text, tag) for text in texts]
    shifts = [_parse(text, "_space_group_symop_magn_centering.xyz") for text in centerings or ("x,y,z",)]
    rotations = np.array([c @ w for c, _ in shifts for w, _ in parsed], dtype=np.int64)
    translations = np.array([c @ t + s for c, s in shifts for _, t in parsed])
    codes = _codes(rotations, translations)
    keep = sorted({code: place for place, code in reversed(list(enumerate(codes)))}.values())
    rotations, translations = rotations[keep], translations[keep]
    is_whole = (np.abs(translations - np.rint(translations)) < 1e-3).all(axis=1)
    if not ((rotations == np.eye(3)).all(axis=(1, 2)) & is_whole).any():
        rotations = np.concatenate([np.eye(3, dtype=np.int64)[None], rotations])
        translations = np.concatenate([np.zeros((1, 3)), translations])
    if np.abs(np.abs(np.linalg.det(rotations)) - 1.0).max() > 1e-6:
        raise InputError(f"{tag} holds an operation that is no rotation or reflection; correct it")
    known = set(_codes(rotations, translations))
    for rotation, translation in zip(rotations, translations, strict=True):
        products = rotation @ rotations
        if not known.issuperset(_codes(products, translations @ rotation.T + translation)):
            raise InputError(f"{tag} lists {len(known)} operations that are no group, some are missing; list all")
    return rotations, translations


def _codes(rotations: NDArray[np.int64], translations: NDArray[np.float64]) -> list[bytes]:
    """One key for each operation; translations count modulo the lattice and to 1/240."""
    steps = np.rint(translations * 240.0).astype(np.int64) % 240
    together = np.concatenate([rotations.reshape(-1, 9), steps], axis=1).astype(np.int16)
    return [row.tobytes() for row in together]


def _parse(text: str, tag: str) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    components = text.translate({0x2212: "-"}).lower().replace(" ", "").replace("\t", "").strip("'\"").split(",")
    if len(components) not in (3, 4):  # the fourth is time reversal
        raise InputError(f"{tag} holds '{shortened(text)}', which is no operation such as -x,y+1/2,z; correct it")
    rotation, translation = np.zeros((3, 3), dtype=np.int64), np.zeros(3)
    for row, component in enumerate(components[:3]):
        end = 0
        for match in _TERM.finditer(component):
            sign, top, bottom, decimal, axis = match.groups()
            if match.start() != end or match.end() == match.start():
                break
            end = match.end()
            value = -1.0 if sign == "-" else 1.0
            if top is not None:
                value *= int(top[:9]) / (int(bottom[:9]) or np.nan)
            elif decimal is not None:
                value *= float(decimal)
            if axis and abs(value) < 100 and value == round(value):
                rotation[row, "xyz".index(axis)] += round(value)
            elif axis or not abs(value) < 100 or (top is None and decimal is None):
                end = -1
                break
            else:
                translation[row] += value
        if end != len(component) or not component:
            raise InputError(f"{tag} holds '{shortened(text)}', which is no operation such as -x,y+1/2,z; correct it")
    return rotation, _snapped(translation)


def _snapped(translation: NDArray[np.float64]) -> NDArray[np.float64]:
    near = np.rint(translation * _GRID) / _GRID
    return np.where(np.abs(translation - near) < _ROUNDING, near, translation)


# ---- names


def _plain(name: str) -> str:
    """A Hermann-Mauguin symbol without blanks, underscores and brackets, in lower case; bars before their digits."""
    text = re.sub(r"[\s_()]|sub", "", name.translate({0x2212: "-"})).lower()
    text = re.sub(r":?(?:origin(?:choice)?|o)([12])$", r":\1", text)
    text = re.sub(r"(?<=[a-z/\d])([1346])-(?=$|[a-z:/])", r"-\1", text)
    return text.strip("'\"")


@lru_cache(maxsize=1)
def _types() -> dict[int, Any]:
    """The description of each of the 530 settings of the International Tables, by spglib."""
    import spglib

    return {hall: spglib.get_spacegroup_type(hall) for hall in range(1, 531)}


@lru_cache(maxsize=1)
def _names() -> dict[str, tuple[int, ...]]:
    """Settings by plain symbol, with and without the choice of origin or axes behind it."""
    names: dict[str, list[int]] = {}
    for hall, kind in _types().items():
        full, short = _plain(kind.international_full), _plain(kind.international_short)
        symbols = {full, short}
        if 3 <= kind.number <= 15:
            # short symbols of a choice of axes: P 1 21/n 1 is P 21/n; the short one of spglib is that of the group
            lattice, *axes = kind.international_full.lower().replace("_", "").split()
            symbols = {full, lattice + "".join(axis for axis in axes if axis != "1")}
        if kind.number >= 195:
            symbols |= {symbol.replace("-3", "3") for symbol in symbols}  # m3m, before 1992
        for symbol in list(symbols):
            symbols |= _before_e(symbol, kind.number, kind.choice.lstrip("12"))
        code = kind.choice.lower()
        codes = {"", f":{code}"} | {"h": {"h"}, "r": {"r"}, "1": {"s", ":s"}, "2": {"z", ":z"}}.get(code, set())
        for form in {symbol + code for symbol in symbols for code in codes}:
            names.setdefault(form, []).append(hall)
    return {name: tuple(halls) for name, halls in names.items()}


def _before_e(symbol: str, number: int, axes: str) -> set[str]:
    """Symbols of the double glide e as they were before 1992: Cmca for Cmce."""
    if number not in (39, 41, 64, 67, 68) or "e" not in symbol:
        return set()
    letters = "abc"
    if number > 64:  # the letter tells settings apart that e does not
        letters = {"": "a", "ba-c": "b", "cab": "b", "-cba": "c", "bca": "c", "a-cb": "a"}[axes]
    return {symbol.replace("e", letter) for letter in letters}


def _settings_of_name(name: str) -> tuple[int, ...]:
    """Numbers of settings that a plain symbol can mean."""
    return _names().get(name, ())


def _standard_settings(number: int) -> tuple[int, ...]:
    """Settings that a number alone can mean: cell choice 1, either origin, hexagonal or rhombohedral axes."""
    return tuple(
        hall
        for hall, kind in _types().items()
        if kind.number == number and kind.choice in ("", "1", "2", "H", "R", "b", "c", "b1", "c1")
    )


def _chosen(settings: Sequence[int], choice: str) -> list[int]:
    """The settings of a coordinate system code, or all if none has it."""
    types = _types()
    return [hall for hall in settings if choice and types[hall].choice.lower() == choice.lower()] or list(settings)


@lru_cache(maxsize=530)
def _database(hall: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    import spglib

    operations: Any = spglib.get_symmetry_from_database(hall)
    return operations["rotations"].astype(np.int64), operations["translations"].astype(np.float64)


def _of_setting(hall: int, tag: str) -> Operations:
    return Operations(*_database(hall), tag)


def _in_larger_cell(name: str, number: int, tag: str) -> list[Operations]:
    """C -1 and its like, and tetragonal groups in cells with the axes a + b and -a + b, which the tables leave out."""
    if match := re.fullmatch(r"([abcif])(-?)1", name):
        return [Operations(*hall_operations(f"{match[2]}{match[1].upper()} 1"), tag)]
    if not (re.match(r"[cf]-?4", name) and 75 <= number <= 142):
        return []
    basis = np.array([[0.5, 0.5, 0.0], [-0.5, 0.5, 0.0], [0.0, 0.0, 1.0]])
    lattice = {"c": "P", "f": "I"}[name[0]]
    return [
        Operations(*in_other_basis(*_database(setting), basis, np.zeros(3)), tag)
        for setting in _standard_settings(number)
        if _types()[setting].international_full[0] == lattice
    ]
