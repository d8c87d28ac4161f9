"""Names of coordination polyhedra, by the angles between their bonds."""

from __future__ import annotations

from functools import cache
from itertools import product

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_HALFWAY_TO_STRAIGHT = (180.0 + 109.47) / 2  # of two bonds: between a straight line and a tetrahedral angle
_HALFWAY_TO_FLAT = (360.0 + 3 * 109.47) / 2  # sum of the angles of three bonds, likewise


def shape(bonds: Array) -> str:
    """Name of the polyhedron around an atom, or "CN n" where the angles fit none.

    From four bonds on, the sorted angles between all pairs of bonds are compared with those of ideal polyhedra. A name
    is given if their root mean square difference is less than half of that between the ideal one and any other with as
    many corners, so that no other can be closer. Two and three bonds are told apart halfway between straight or flat
    and tetrahedral.

    Parameters
    ----------
    bonds
        (n, 3) from the center to each neighbor, of any lengths.

    Examples
    --------
    >>> shape(np.array([[1, 0, 0], [-1, 0, 0], [0, 2, 0], [0, -2, 0], [0, 0, 1], [0, 0, -1]]))
    'octahedron'
    """
    count, found = len(bonds), _angles(bonds)
    if count == 2:
        return "linear" if found[0] > _HALFWAY_TO_STRAIGHT else "bent"
    if count == 3:
        return "triangle" if found.sum() > _HALFWAY_TO_FLAT else "pyramid"
    for name, angles, reach in _ideals(count):
        if _difference(found, angles) < reach:
            return name
    return f"CN {count}"


def _angles(bonds: Array) -> Array:
    """Sorted angles between all pairs, degrees."""
    units = bonds / np.linalg.norm(bonds, axis=1, keepdims=True)
    cosines = (units @ units.T)[np.triu_indices(len(units), 1)]
    return np.sort(np.degrees(np.arccos(np.clip(cosines, -1.0, 1.0))))


def _difference(one: Array, other: Array) -> float:
    return float(np.sqrt(np.mean((one - other) ** 2)))


@cache
def _ideals(count: int) -> tuple[tuple[str, Array, float], ...]:
    """Name, sorted angles, and reach (degrees) of the polyhedra with so many corners."""
    known = [(name, _angles(np.asarray(corners))) for name, corners in _corners() if len(corners) == count]
    return tuple(
        (name, angles, min(_difference(angles, others) for other, others in known if other != name) / 2)
        for name, angles in known
    )


@cache
def _corners() -> tuple[tuple[str, Array], ...]:
    """Polyhedra with two of a number at least; of some there are two typical forms."""
    axes = np.array([[1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1]], dtype=np.float64)
    poles, signs = axes[4:], np.array(list(product((1.0, -1.0), repeat=3)))
    golden = (1 + 5**0.5) / 2
    icosahedron = [np.roll((0.0, a, b * golden), k) for a, b in product((1, -1), repeat=2) for k in range(3)]
    return (
        ("tetrahedron", signs[signs.prod(axis=1) > 0]),
        ("square", axes[:4]),
        ("seesaw", axes[[0, 1, 2, 4]]),
        ("seesaw", np.concatenate([poles, _ring(3)[:2]])),
        ("trigonal bipyramid", np.concatenate([poles, _ring(3)])),
        ("square pyramid", axes[:5]),
        ("square pyramid", np.concatenate([poles[:1], _ring(4, height=-0.25)])),  # 104 degrees from the apex
        ("octahedron", axes),
        ("prism", _layers(3, 3**0.5 / 2, 0.0)),
        ("hexagon", _ring(6)),
        ("cube", signs),
        ("square antiprism", _layers(4, 0.59, 45.0)),
        ("hexagonal bipyramid", np.concatenate([poles, _ring(6)])),
        ("dodecahedron", _dodecahedron()),
        ("cuboctahedron", np.concatenate([_ring(6), _triangles(60.0)])),
        ("anticuboctahedron", np.concatenate([_ring(6), _triangles(0.0)])),
        ("icosahedron", np.array(icosahedron)),
    )


def _ring(corners: int, height: float = 0.0, turn: float = 0.0, radius: float = 1.0) -> Array:
    """Corners of a regular polygon around z."""
    angle = np.radians(turn + 360.0 * np.arange(corners) / corners)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle), np.full(corners, height)], axis=1)


def _layers(corners: int, height: float, turn: float) -> Array:
    """Two polygons above each other, the lower one turned by so many degrees."""
    return np.concatenate([_ring(corners, height), _ring(corners, -height, turn)])


def _triangles(turn: float) -> Array:
    """Triangles above and below a hexagon of close-packed spheres: alike (0) or turned against each other."""
    radius, height = 3**-0.5, (2 / 3) ** 0.5
    return np.concatenate([_ring(3, height, 30.0, radius), _ring(3, -height, 30.0 + turn, radius)])


def _dodecahedron() -> Array:
    """Triangular dodecahedron of [Mo(CN)8]: two interlocked trapezoids, 36.9 and 69.5 degrees from the axis."""
    pairs = []
    for degrees, turn in ((36.9, 0.0), (69.5, 90.0)):
        height, radius = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
        pairs += [_ring(2, height, turn, radius), _ring(2, -height, turn + 90.0, radius)]
    return np.concatenate(pairs)
