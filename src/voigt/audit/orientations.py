"""Axes in which tensors are printed while the structure has others: standards, settings of cells, permutations.

Every entry is a rotation R that brings a tensor from those axes into the ones of the structure, T' = R T for each
index.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import ase
import numpy as np
from numpy.typing import NDArray

from voigt.structures.symmetry import find_symmetry

Matrix = NDArray[np.float64]

SYMPREC = 1e-2
"""Angstrom: with which pymatgen and the Materials Project look for the standard cell."""


@dataclass(frozen=True, eq=False)
class Orientation:
    """Axes that tensors may be in.

    Attributes
    ----------
    name
        Short name, the same for all crystals.
    words
        "the axes of ..." for a sentence.
    rotation
        (3, 3) brings a tensor from these axes into those of the structure.
    standard
        Whether it is a convention that programs and databases use, not a mere permutation.
    """

    name: str
    words: str
    rotation: Matrix
    standard: bool


def orientations(atoms: ase.Atoms, symprec: float = SYMPREC) -> list[Orientation]:
    """All axes that are tried, conventions first.

    Parameters
    ----------
    atoms
        The crystal.
    symprec
        Tolerance of the space group whose standard cell counts, Angstrom: that of databases, not of labels.

    Raises
    ------
    InputError
        No space group is found.

    Examples
    --------
    >>> from voigt.structures import read_one
    >>> [entry.name for entry in orientations(read_one("examples/NaCl.cif"))][:3]
    ['ieee', 'ieee as in pymatgen', 'standardized']
    """
    symmetry = find_symmetry(atoms, symprec)
    dataset = symmetry.described.dataset()
    conventional = (symmetry.described.cell.T @ np.linalg.inv(dataset.transformation_matrix)).T
    ieee = ieee_axes(conventional, symmetry.crystal_system)
    pymatgen = ieee
    if symmetry.crystal_system == "tetragonal" and np.linalg.norm(conventional[2]) < np.linalg.norm(conventional[0]):
        # It sorts the axes by length and takes the first for x: of a cell with c < a that is the fourfold axis.
        unit = conventional / np.linalg.norm(conventional, axis=1)[:, None]
        other = sorted(range(2), key=lambda axis: float(np.linalg.norm(conventional[axis])))[1]
        y = _normal(unit[other], unit[2])
        pymatgen = np.stack([unit[2], y, np.cross(unit[2], y)])
    standardized = np.asarray(dataset.std_rotation_matrix, dtype=np.float64)
    found = [
        Orientation("ieee", "the IEEE standard 176", ieee.T, True),
        Orientation("ieee as in pymatgen", "the IEEE standard 176 as pymatgen applies it", pymatgen.T, True),
        Orientation("standardized", "the cell that spglib standardizes", standardized.T, True),
        Orientation("ieee inverse", "the IEEE standard, turned the wrong way", ieee, True),
        Orientation("standardized inverse", "the standardized cell, turned the wrong way", standardized, True),
    ]
    cells = (
        ("input", "the input cell", np.asarray(atoms.cell.array, dtype=np.float64)),
        ("conventional", "the conventional cell", conventional),
        ("primitive", "the primitive cell", symmetry.primitive),
    )
    for name, words, cell in cells:
        for form, text, axes in _forms(cell):
            found.append(Orientation(f"{name} {form}", f"{words} with {text}", axes.T, True))
    for angle in (30.0, 45.0, 60.0):
        turn = _about_z(angle)
        found.append(
            Orientation(f"standardized {angle:g}", f"the standardized cell turned by {angle:g} degrees about z",
                        standardized.T @ turn, False)
        )  # fmt: skip
    for name, signed in _signed_permutations():
        found.append(Orientation(f"axes {name}", f"the structure with axes x, y, z exchanged ({name})", signed, False))
        found.append(
            Orientation(f"standardized {name}", f"the standardized cell with axes exchanged ({name})",
                        standardized.T @ signed, False)
        )  # fmt: skip
    return found


def ieee_axes(conventional: Matrix, system: str) -> Matrix:
    """Axes x, y, z of the IEEE standard on piezoelectricity as rows, for a conventional cell.

    The rules of IEEE Std 176-1987, always right-handed, with the choices that pymatgen makes where the standard leaves
    one: cubic axes as they are; z along the fourfold or threefold axis, x along a; orthorhombic with the shortest axis
    along z and the longest along y; monoclinic with the twofold axis along y and the shorter other axis along z;
    triclinic with the longest axis along z. Senses that the standard takes from measured tensors are not applied.

    Parameters
    ----------
    conventional
        (3, 3) lattice vectors in rows, Angstrom.
    system
        One of the seven crystal systems.

    Examples
    --------
    >>> ieee_axes(np.diag([3.0, 5.0, 4.0]), "orthorhombic").tolist()
    [[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [-1.0, 0.0, 0.0]]
    """
    lengths = np.linalg.norm(conventional, axis=1)
    unit = conventional / lengths[:, None]
    rising = np.argsort(lengths, kind="stable")
    cosines = np.array([unit[1] @ unit[2], unit[2] @ unit[0], unit[0] @ unit[1]])
    angles = np.degrees(np.arccos(np.clip(cosines, -1, 1)))
    if system == "cubic":
        x, y = unit[0], unit[1]
    elif system == "tetragonal":
        # z is the axis whose length differs from the other two.
        lengths_rising = lengths[rising]
        long_pair = lengths_rising[2] - lengths_rising[1] < lengths_rising[1] - lengths_rising[0]
        x_axis, z_axis = (rising[2], rising[0]) if long_pair else (rising[0], rising[2])
        x, y = unit[x_axis], _normal(unit[z_axis], unit[x_axis])
    elif system == "orthorhombic":
        x, y = unit[rising[1]], unit[rising[2]]
    elif system in ("trigonal", "hexagonal"):
        unique = int(np.argmin(np.abs(angles - 120.0)))
        x = unit[min({0, 1, 2} - {unique})]
        y = _normal(unit[unique], x)
    elif system == "monoclinic":
        unique = int(np.argmax(np.abs(angles - 90.0)))
        z = unit[next(int(axis) for axis in rising if axis != unique)]
        x, y = _normal(unit[unique], z), unit[unique]
    else:
        y = _normal(unit[rising[2]], unit[rising[0]])
        x = _normal(y, unit[rising[2]])
    y = y - (x @ y) * x
    y = y / np.linalg.norm(y)
    return np.stack([x, y, np.cross(x, y)])  # right-handed, whatever the cell


def _normal(first: Matrix, second: Matrix) -> Matrix:
    cross = np.cross(first, second)
    return np.asarray(cross / np.linalg.norm(cross))


def _forms(cell: Matrix) -> list[tuple[str, str, Matrix]]:
    """Axes that programs give a cell of which they keep only lengths and angles."""
    a, b, c = cell
    z = _normal(a, b)
    x = a / np.linalg.norm(a)
    first = np.stack([x, np.cross(z, x), z])
    z, y = c / np.linalg.norm(c), _normal(c, a)
    second = np.stack([np.cross(y, z), y, z])
    x = _normal(b, c)
    third = np.stack([x, np.cross(z, x), z])
    return [
        ("a along x", "a along x and b in the xy plane", first),
        ("c along z", "c along z and a in the xz plane", second),
        ("c along z, b in yz", "c along z and b in the yz plane", third),
    ]


def _about_z(degrees: float) -> Matrix:
    cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([[cosine, -sine, 0.0], [sine, cosine, 0.0], [0.0, 0.0, 1.0]])


def _signed_permutations() -> list[tuple[str, Matrix]]:
    """The 23 turns of a cube that move something, cyclic exchanges first, each with a name such as "y z x"."""
    found = []
    for order in ((1, 2, 0), (2, 0, 1), (0, 1, 2), (1, 0, 2), (0, 2, 1), (2, 1, 0)):
        for signs in itertools.product((1.0, -1.0), repeat=3):
            matrix = np.zeros((3, 3))
            matrix[[0, 1, 2], order] = signs
            if np.linalg.det(matrix) > 0 and not np.allclose(matrix, np.eye(3)):
                letters = ["-"[: sign < 0] + "xyz"[axis] for sign, axis in zip(signs, order, strict=True)]
                found.append((" ".join(letters), matrix))
    return found


def in_words(rotation: Matrix) -> str:
    """A rotation by angle and axis.

    Examples
    --------
    >>> in_words(_about_z(90.0))
    '90.0 degrees about [0.000 0.000 1.000]'
    """
    proper = rotation * np.sign(np.linalg.det(rotation))
    angle = float(np.degrees(np.arccos(np.clip((np.trace(proper) - 1) / 2, -1, 1))))
    if angle > 179.9:
        values, vectors = np.linalg.eigh((proper + proper.T) / 2)
        axis = vectors[:, values.argmax()]
    else:
        axis = np.array([proper[2, 1] - proper[1, 2], proper[0, 2] - proper[2, 0], proper[1, 0] - proper[0, 1]])
        axis = axis / max(float(np.linalg.norm(axis)), 1e-12)
    return f"{angle:.1f} degrees about [{' '.join(f'{component + 0.0:.3f}' for component in axis)}]"
