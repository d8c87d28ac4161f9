"""Names of polyhedra on the paths from one to another."""

from __future__ import annotations

from itertools import groupby, product

import numpy as np
import pytest
from tests.crystals import random_rotation

from voigt.interpretation.shapes import shape

CORNERS = np.array(list(product((1.0, -1.0), repeat=3)))
AXES = np.concatenate([np.eye(3), -np.eye(3)])
GOLDEN = (1 + 5**0.5) / 2
ICOSAHEDRON = np.array([np.roll((0, a, b * GOLDEN), k) for a, b in product((1, -1), repeat=2) for k in range(3)])
EDGES = np.array([np.roll((0, a, b), k) for a, b in product((1, -1), repeat=2) for k in range(3)], dtype=float)


def ring(corners: int, height: float, turn: float = 0.0) -> np.ndarray:
    angle = np.radians(turn) + 2 * np.pi * np.arange(corners) / corners
    return np.stack([np.cos(angle), np.sin(angle), np.full(corners, height)], axis=1)


def layers(corners: int, height: float, turn: float) -> np.ndarray:
    return np.concatenate([ring(corners, height), ring(corners, -height, turn)])


def bipyramid(corners: int) -> np.ndarray:
    return np.concatenate([ring(corners, 0.0), [(0, 0, 1), (0, 0, -1)]])


@pytest.mark.parametrize(
    ("bonds", "name"),
    [
        (AXES[[0, 3]], "linear"),
        (AXES[[0, 1]], "bent"),
        (ring(3, 0.0), "triangle"),
        (AXES[:3], "pyramid"),
        (CORNERS[CORNERS.prod(axis=1) > 0], "tetrahedron"),
        (ring(4, 0.0), "square"),
        (AXES[[0, 3, 1, 2]], "seesaw"),
        (bipyramid(3), "trigonal bipyramid"),
        (AXES[:5], "square pyramid"),
        (AXES, "octahedron"),
        (layers(3, 3**0.5 / 2, 0.0), "prism"),
        (CORNERS, "cube"),
        (layers(4, 0.59, 45.0), "square antiprism"),
        (bipyramid(6), "hexagonal bipyramid"),
        (EDGES, "cuboctahedron"),
        (ICOSAHEDRON, "icosahedron"),
        (AXES[:1], "CN 1"),
        (bipyramid(5), "CN 7"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_ideal_ones_in_any_place_with_bonds_of_any_length(bonds: np.ndarray, name: str) -> None:
    rng = np.random.default_rng(0)
    for seed in range(3):
        turned = bonds @ random_rotation(seed, (-1) ** seed).T
        assert shape(rng.permutation(turned) * rng.uniform(1.8, 3.0, size=(len(bonds), 1))) == name


def test_an_octahedron_twisted_into_a_prism() -> None:
    """Triangles turned by 60 degrees against each other make the octahedron, by 0 the prism."""
    names = [shape(layers(3, 0.8, turn)) for turn in np.arange(60.0, -1.0, -2.0)]
    assert [name for name, _ in groupby(names)] == ["octahedron", "CN 6", "prism"]  # each in one stretch
    assert names[7] == "octahedron"  # at 46 degrees, as in many minerals


def test_a_tetrahedron_pressed_into_a_square() -> None:
    squeezed = [np.array([1.0, 1.0, z]) for z in (1.0, 0.8, 0.4, 0.15, 0.0)]
    tetrahedron = CORNERS[CORNERS.prod(axis=1) > 0]
    assert [shape(tetrahedron * factors) for factors in squeezed] == [
        "tetrahedron", "tetrahedron", "CN 4", "square", "square"
    ]


def test_octahedra_with_tilted_bonds_keep_their_name() -> None:
    """Ten degrees are common in minerals; angles then differ by less than half the way to any other polyhedron."""
    rng = np.random.default_rng(1)
    for _ in range(20):
        noise = rng.normal(size=(6, 3))
        noise /= np.linalg.norm(noise, axis=1, keepdims=True)
        assert shape(AXES + np.tan(np.radians(10.0)) * noise) == "octahedron"
