"""Bravais lattices by the numbers of Quantum ESPRESSO, from its documentation (ibrav) and Modules/latgen.f90."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from voigt.calculations.codes.parsing import Array
from voigt.errors import InputError


def lattice(ibrav: int, celldm: Sequence[float]) -> Array:
    """Lattice vectors as rows, bohr; celldm holds a, b/a, c/a and three cosines, of which each lattice uses its own.

    Raises
    ------
    InputError
        There is no such lattice, or its parameters are not complete.

    Examples
    --------
    >>> lattice(2, [10.0, 0.0, 0.0, 0.0, 0.0, 0.0])[0]
    array([-5.,  0.,  5.])
    """
    a, b, c, first, second, third = celldm
    try:
        vectors = np.array(_vectors(ibrav, b, c, first, second, third), dtype=float) * a
    except (ValueError, ZeroDivisionError) as error:
        raise InputError(f"has angles or lengths that no lattice of ibrav = {ibrav} has; export it again") from error
    if not abs(np.linalg.det(vectors)) > 1e-6 * abs(a) ** 3:
        raise InputError(f"does not give all lattice parameters of ibrav = {ibrav}; export it again")
    return vectors


def _vectors(ibrav: int, b: float, c: float, first: float, second: float, third: float) -> list[list[float]]:
    """In units of a. Of the cosines, `first` is that of the only angle, or of alpha; then beta and gamma."""
    half = 0.5
    match ibrav:
        case 1:
            return [[1, 0, 0], [0, 1, 0], [0, 0, 1]]
        case 2:
            return [[-half, 0, half], [0, half, half], [-half, half, 0]]
        case 3:
            return [[half, half, half], [-half, half, half], [-half, -half, half]]
        case -3:
            return [[-half, half, half], [half, -half, half], [half, half, -half]]
        case 4:
            return [[1, 0, 0], [-half, math.sqrt(0.75), 0], [0, 0, c]]
        case 5 | -5:
            x, y, z = math.sqrt((1 - first) / 2), math.sqrt((1 - first) / 6), math.sqrt((1 + 2 * first) / 3)
            if ibrav == 5:
                return [[x, -y, z], [0, 2 * y, z], [-x, -y, z]]
            u, v = (z - 2 * math.sqrt(2) * y) / math.sqrt(3), (z + math.sqrt(2) * y) / math.sqrt(3)
            return [[u, v, v], [v, u, v], [v, v, u]]
        case 6:
            return [[1, 0, 0], [0, 1, 0], [0, 0, c]]
        case 7:
            return [[half, -half, c / 2], [half, half, c / 2], [-half, -half, c / 2]]
        case 8:
            return [[1, 0, 0], [0, b, 0], [0, 0, c]]
        case 9:
            return [[half, b / 2, 0], [-half, b / 2, 0], [0, 0, c]]
        case -9:
            return [[half, -b / 2, 0], [half, b / 2, 0], [0, 0, c]]
        case 91:
            return [[1, 0, 0], [0, b / 2, -c / 2], [0, b / 2, c / 2]]
        case 10:
            return [[half, 0, c / 2], [half, b / 2, 0], [0, b / 2, c / 2]]
        case 11:
            return [[half, b / 2, c / 2], [-half, b / 2, c / 2], [-half, -b / 2, c / 2]]
        case 12:
            return [[1, 0, 0], [b * first, b * math.sqrt(1 - first**2), 0], [0, 0, c]]
        case -12:
            return [[1, 0, 0], [0, b, 0], [c * second, 0, c * math.sqrt(1 - second**2)]]
        case 13:
            return [[half, 0, -c / 2], [b * first, b * math.sqrt(1 - first**2), 0], [half, 0, c / 2]]
        case -13:  # before version 6.4.1 the first vector pointed the other way: the same lattice
            return [[half, b / 2, 0], [-half, b / 2, 0], [c * second, 0, c * math.sqrt(1 - second**2)]]
        case 14:
            sine = math.sqrt(1 - third**2)
            along = (first - second * third) / sine
            return [
                [1, 0, 0],
                [b * third, b * sine, 0],
                [c * second, c * along, c * math.sqrt(1 - second**2 - along**2)],
            ]
    raise InputError(f"has ibrav = {ibrav}, which Quantum ESPRESSO does not have; correct it")
