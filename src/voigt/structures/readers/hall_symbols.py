"""Operations from Hall symbols, the names of space groups that say where origin and axes are.

Source: S. R. Hall, Acta Cryst. A37, 517 (1981); International Tables for Crystallography, volume B, section 1.4.
"""

from __future__ import annotations

import re
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from voigt.errors import InputError

_LATTICES = {
    "P": (),
    "A": ((0, 12, 12),),
    "B": ((12, 0, 12),),
    "C": ((12, 12, 0),),
    "I": ((12, 12, 12),),
    "R": ((16, 8, 8), (8, 16, 16)),
    "S": ((8, 8, 16), (16, 16, 8)),
    "T": ((8, 16, 8), (16, 8, 16)),
    "H": ((16, 8, 0), (8, 16, 0)),
    "F": ((0, 12, 12), (12, 0, 12), (12, 12, 0)),
}
"""Centering translations, in 1/24."""
_GLIDES = {
    "a": (12, 0, 0), "b": (0, 12, 0), "c": (0, 0, 12), "n": (12, 12, 12),
    "u": (6, 0, 0), "v": (0, 6, 0), "w": (0, 0, 6), "d": (6, 6, 6),
}  # fmt: skip
_ABOUT_Z = {
    1: ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    2: ((-1, 0, 0), (0, -1, 0), (0, 0, 1)),
    3: ((0, -1, 0), (1, -1, 0), (0, 0, 1)),
    4: ((0, -1, 0), (1, 0, 0), (0, 0, 1)),
    6: ((1, -1, 0), (1, 0, 0), (0, 0, 1)),
}
_DIAGONAL_OF_Z = {"'": ((0, -1, 0), (-1, 0, 0), (0, 0, -1)), '"': ((0, 1, 0), (1, 0, 0), (0, 0, -1))}
_BODY_DIAGONAL = ((0, 0, 1), (1, 0, 0), (0, 1, 0))
_SYMBOL = re.compile(r"(-?)([PABCIRSTHF])((?: -?[12346][^ ()]*)+)(?: ?\(([^()]*)\))?", re.IGNORECASE)
_MATRIX = re.compile(r"(-?)([12346])([1-5]?)([xyz'\"*=]?)([abcnuvwd1-5]*)")
_MOST = 192


@lru_cache(maxsize=600)
def hall_operations(symbol: str) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """All operations of a group.

    Parameters
    ----------
    symbol
        With single blanks.

    Returns
    -------
    rotations, translations
        (n, 3, 3) and (n, 3), the identity first.

    Raises
    ------
    InputError
        It is no Hall symbol.

    Examples
    --------
    >>> rotations, translations = hall_operations("P 2yn")
    >>> rotations[1].diagonal().tolist(), translations[1].tolist()
    ([-1, 1, -1], [0.5, 0.5, 0.5])
    """
    match = _SYMBOL.fullmatch(symbol.replace("_", ""))
    if match is None:
        raise InputError(f"'{symbol}' is no Hall symbol; correct it")
    center, lattice, matrices, change = match.groups()
    eye = np.eye(3, dtype=np.int64)
    generators = [(eye, np.array(shift)) for shift in _LATTICES[lattice.upper()]]
    if center:
        generators.append((-eye, np.zeros(3, dtype=np.int64)))
    previous, axis_before = 0, "z"
    for place, text in enumerate(matrices.lower().split()):
        generator, previous, axis_before = _generator(text, place, previous, axis_before)
        generators.append(generator)
    rotations, translations = _closure(generators, symbol)
    if change is not None:
        return in_other_basis(rotations, translations / 24.0, *_change_of_basis(change, symbol))
    return rotations, translations / 24.0


def in_other_basis(
    rotations: NDArray[np.int64],
    translations: NDArray[np.float64],
    basis: NDArray[np.float64],
    shift: NDArray[np.float64],
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Operations for coordinates x' = basis x + shift; a larger cell has more of them, its centerings.

    Parameters
    ----------
    rotations, translations
        (n, 3, 3) and (n, 3).
    basis, shift
        (3, 3) and (3,).

    Raises
    ------
    InputError
        The new cell does not have the symmetry.

    Examples
    --------
    >>> half = np.array([[0.5, 0.5, 0], [-0.5, 0.5, 0], [0, 0, 1]])  # to axes a + b, -a + b
    >>> in_other_basis(np.eye(3, dtype=int)[None], np.zeros((1, 3)), half, np.zeros(3))[1].round(6).tolist()
    [[0.0, 0.0, 0.0], [0.5, 0.5, 0.0]]
    """
    changed = basis @ rotations @ np.linalg.inv(basis)
    whole = np.rint(changed).astype(np.int64)
    if np.abs(changed - whole).max() > 1e-6:
        raise InputError("has a change of basis that the symmetry does not allow; list the operations instead")
    moved = translations @ basis.T + shift - whole @ shift
    centerings = [np.zeros(3)]
    for centering in centerings:  # grows
        for vector in basis.T:
            image = (centering + vector + 1e-9) % 1.0 - 1e-9
            if len(centerings) <= _MOST and np.abs(np.array(centerings) - image).max(axis=1).min() > 1e-6:
                centerings.append(image)
    together = np.concatenate([moved + centering for centering in centerings])
    repeated = np.concatenate([whole] * len(centerings))
    steps = np.rint(together * 240.0).astype(np.int64) % 240
    keys = np.concatenate([repeated.reshape(-1, 9), steps], axis=1)
    first = np.sort(np.unique(keys, axis=0, return_index=True)[1])
    return repeated[first], together[first] % 1.0


def _generator(
    text: str, place: int, previous: int, axis_before: str
) -> tuple[tuple[NDArray[np.int64], NDArray[np.int64]], int, str]:
    match = _MATRIX.fullmatch(text)
    if match is None:
        raise InputError(f"'{text}' is no part of a Hall symbol; correct it")
    bar, digit, screw, axis, shifts = match.groups()
    order = int(digit)
    if not axis:  # implied by the place and by the one before
        axis = "z"
        if place == 1 and order == 2:
            axis = "x" if previous in (2, 4) else "'" if previous in (3, 6) else "z"
        elif place in (1, 2) and order == 3:
            axis = "*"
    shift = np.zeros(3, dtype=np.int64)
    for letter in shifts:
        if letter in _GLIDES:
            shift += _GLIDES[letter]
        else:
            screw = letter
    if axis == "*":
        rotation = np.array(_BODY_DIAGONAL)
    elif axis in _DIAGONAL_OF_Z:
        rotation = _turned(np.array(_DIAGONAL_OF_Z[axis]), axis_before)
    else:
        rotation = _turned(np.array(_ABOUT_Z[order]), axis)
        axis_before = axis
    if screw:
        shift["xyz".index(axis) if axis in "xyz" else 2] += 24 * int(screw) // order
    return (-rotation if bar else rotation, shift), order, axis_before


def _turned(matrix: NDArray[np.int64], axis: str) -> NDArray[np.int64]:
    """An operation about z as the one about another axis, by cyclic exchange."""
    steps = {"z": 0, "x": 1, "y": 2}.get(axis, 0)
    return np.roll(matrix, (steps, steps), axis=(0, 1))


def _closure(
    generators: list[tuple[NDArray[np.int64], NDArray[np.int64]]], symbol: str
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    found = [(np.eye(3, dtype=np.int64), np.zeros(3, dtype=np.int64))]
    known = {_key(*found[0])}
    for rotation, translation in found:  # grows
        for other, shift in generators:
            product = (other @ rotation, (other @ translation + shift) % 24)
            if (key := _key(*product)) not in known:
                known.add(key)
                found.append(product)
        if len(found) > _MOST:
            raise InputError(f"'{symbol}' generates no space group; correct it")
    return np.array([w for w, _ in found]), np.array([t for _, t in found])


def _key(rotation: NDArray[np.int64], translation: NDArray[np.int64]) -> bytes:
    return rotation.tobytes() + translation.tobytes()


def _change_of_basis(text: str, symbol: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Matrix and shift that take coordinates of the default setting to those of the symbol."""
    if re.fullmatch(r"\s*-?\d+ -?\d+ -?\d+\s*", text):  # a shift of the origin in 1/12
        return np.eye(3), np.array([int(part) for part in text.split()]) / 12.0
    rows, shift = np.zeros((3, 3)), np.zeros(3)
    components = text.replace(" ", "").lower().split(",")
    if len(components) != 3:
        raise InputError(f"'{symbol}' has a change of basis that is none; correct it")
    for row, component in enumerate(components):
        terms = re.findall(r"([-+]?)(\d+(?:/\d+)?(?:\.\d+)?)?\*?([xyz]?)", component)
        for sign, size, axis in terms:
            if not (size or axis):
                continue
            top, _, bottom = size.partition("/")
            value = (-1.0 if sign == "-" else 1.0) * (float(top) / float(bottom or 1) if size else 1.0)
            if axis:
                rows[row, "xyz".index(axis)] += value
            else:
                shift[row] += value
    if abs(np.linalg.det(rows)) < 1e-6:
        raise InputError(f"'{symbol}' has a change of basis that is none; correct it")
    return rows, shift
