"""What may have happened to a tensor that contradicts its crystal, and which of it mends the tensor."""

from __future__ import annotations

from dataclasses import dataclass

import ase
import numpy as np
from numpy.typing import NDArray

from voigt.audit.alignment import align
from voigt.audit.orientations import Orientation, in_words, orientations
from voigt.data.tensor_symmetry import allowed_components, deviations, turned
from voigt.structures.symmetry import Symmetry
from voigt.tensors.irreps import cartesian_basis
from voigt.tensors.properties import Property
from voigt.tensors.voigt import VASP_TO_VOIGT

Array = NDArray[np.float64]

SUSPECT = 0.06
"""Relative deviation from symmetry above which a reason is sought: labels of 1 GPa or 0.01 C/m^2 stay below it."""
MENDED = 0.04
"""Relative deviation below which a tensor obeys symmetry."""
SHARE = 0.34
"""A change must leave less than this share of the deviation as well, or it mends by chance."""
FIRST_TETRAGONAL = 75
SPARE = 6
"""Components that symmetry must take away, for a search over three angles to prove anything."""

ORDERS = {
    "xx yy zz xy yz zx": VASP_TO_VOIGT,
    "xx yy zz xy zx yz": (0, 1, 2, 5, 4, 3),
    "xx yy zz yz xy zx": (0, 1, 2, 3, 5, 4),
    "xx yy zz zx yz xy": (0, 1, 2, 4, 3, 5),
    "xx yy zz zx xy yz": (0, 1, 2, 5, 3, 4),
}
"""Order of the columns in a file -> where each of ours stands in it. VASP prints the first."""
MANDEL = "Mandel"
"""Name of the notation in which shears carry the square root of two."""


@dataclass(frozen=True, eq=False)
class Change:
    """A change of a tensor.

    Attributes
    ----------
    name
        Short name, the same for all crystals.
    words
        What the tensor was, for a sentence: "in the axes of ...", "in the order ...".
    rotation
        (3, 3) if the axes are changed, else None.
    order
        A key of `ORDERS` or `MANDEL` if components are, else "".
    standard
        Whether it is a convention in use.
    deviation
        Relative deviation from symmetry that it leaves.
    """

    name: str
    words: str
    rotation: Array | None
    order: str
    standard: bool
    deviation: float


def reordered(prop: Property, tensor: Array, order: str) -> Array:
    """A Cartesian tensor that was read in the wrong order or notation, as it should have been read.

    Parameters
    ----------
    prop
        A property that is stored in Voigt notation.
    tensor
        Cartesian, as `Property.from_storage` made it of what the file holds.
    order
        In which the file holds it: a key of `ORDERS`, or `MANDEL`.

    Examples
    --------
    >>> from voigt.tensors import PROPERTIES
    >>> piezo = PROPERTIES["piezo_total"]
    >>> printed = np.zeros((3, 6))
    >>> printed[2] = [1, 1, 2, 0, 0, 0]
    >>> printed[0, 5] = printed[1, 4] = 3.0  # VASP: e_x,zx and e_y,yz
    >>> piezo.to_storage(reordered(piezo, piezo.from_storage(printed), "xx yy zz xy yz zx")).tolist()
    [[0.0, 0.0, 0.0, 0.0, 3.0, 0.0], [0.0, 0.0, 0.0, 3.0, 0.0, 0.0], [1.0, 1.0, 2.0, 0.0, 0.0, 0.0]]
    """
    stored = prop.to_storage(tensor)
    if order == MANDEL:
        factors = np.array([1.0] * 3 + [np.sqrt(0.5)] * 3)
        stored = stored * factors
        if prop.rank == 4:
            stored = stored * factors[:, None]
    else:
        columns = list(ORDERS[order])
        stored = stored[..., columns]
        if prop.rank == 4:
            stored = stored[..., columns, :]
    return prop.from_storage(stored)


def changes(prop: Property, tensor: Array, atoms: ase.Atoms, symmetry: Symmetry, before: float) -> list[Change]:
    """Changes that mend a tensor, the likeliest first; none if nothing does.

    Parameters
    ----------
    prop
        Its declaration.
    tensor
        Cartesian label.
    atoms, symmetry
        Its crystal.
    before
        Relative deviation as it is.
    """
    limit = min(MENDED, SHARE * before)
    if symmetry.number <= 2:
        return []
    found = []
    entries: list[tuple[Orientation | str, Array]] = []
    settings = orientations(atoms)
    rotated = turned(prop, tensor, np.stack([entry.rotation for entry in settings]))
    entries += zip(settings, rotated, strict=True)
    if prop.storage == "voigt":
        entries += [(order, reordered(prop, tensor, order)) for order in (*ORDERS, MANDEL)]
    after = deviations(prop, np.stack([entry for _, entry in entries]), symmetry)
    for (source, _), deviation in zip(entries, after.tolist(), strict=True):
        if deviation > limit:
            continue
        if isinstance(source, str):
            standard = source in (next(iter(ORDERS)), MANDEL)
            words = f"in {MANDEL} notation" if source == MANDEL else f"in the order {source}"
            found.append(Change(f"order {source}", words, None, source, standard, deviation))
        else:
            words = f"in the axes of {source.words}"
            found.append(Change(source.name, words, source.rotation, "", source.standard, deviation))
    if not found and constrained(prop, symmetry):
        rotation, deviation = align(prop, tensor, symmetry)
        if deviation <= limit / 2:
            words = f"turned by {in_words(rotation.T)}, axes of no convention known here"
            found.append(Change("turned", words, rotation, "", False, deviation))
    return sorted(found, key=lambda change: not change.standard)


def constrained(prop: Property, symmetry: Symmetry) -> bool:
    """Whether symmetry leaves so few components that three angles do not satisfy it by chance.

    Of Born charges many atoms are free, and any permittivity can be brought to its principal axes.
    """
    if prop.per == "atom":
        return symmetry.number >= FIRST_TETRAGONAL
    if prop.rank == 2:
        return False
    left = allowed_components(prop, symmetry)
    return bool(left) and cartesian_basis(prop.formula).dim - (left or 0) >= SPARE
