"""What a crystal itself tells about the conventions of its tensors, and what it cannot tell.

Born charges. Z and its transpose turn alike under every operation of the space group, and the sum of transposed
charges is the transposed sum: neither symmetry nor the sum rule tells which index is the field. Where every charge is
symmetric the question is empty. Else the order is that which the code documents, and it can be tested by a dipole: of
two close structures, the dipole of the cell changes by Z du, and by no other contraction.

Elastic and piezoelectric tensors. A wrong order of the shear columns is a tensor of other axes, which breaks the
point group in most crystals. It cannot be seen where the shears are alike (cubic crystals) or where nothing is
symmetric.

Axes. A tensor that breaks the symmetry of its own structure belongs to other axes, or to another structure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import permutations
from typing import Literal

import ase
import numpy as np
from numpy.typing import NDArray

from voigt.errors import InputError
from voigt.structures.symmetry import Symmetry, find_symmetry
from voigt.tensors.properties import PROPERTIES, Property
from voigt.tensors.voigt import elastic_to_mandel

Array = NDArray[np.float64]

SYMPREC = 1e-2
"""Angstrom: relaxed structures keep their symmetry to about this."""
BROKEN = 0.05
"""Share of a tensor that symmetry forbids, above which it is in doubt."""
SOUND = 0.02
"""Share below which another order of columns explains the tensor."""
STIFFEST = 3000.0
"""GPa. The largest eigenvalue of diamond's stiffness is about 1300."""
OXIDIZING = ("F", "O", "Cl")
"""Elements that are negative beside almost any other."""

_SHEARS = ("yz", "zx", "xy")


@dataclass(frozen=True)
class ShearOrder:
    """How well each order of the shear columns obeys the point group.

    Attributes
    ----------
    given
        Share of the tensor that symmetry forbids as it is.
    others
        Order of the columns that were read as yz zx xy -> the same share if they are in truth in that order.
    """

    given: float
    others: Mapping[tuple[str, ...], float]

    @property
    def better(self) -> tuple[str, ...] | None:
        """The order that would explain a tensor which breaks the symmetry as it is; None if none does."""
        if self.given <= BROKEN:
            return None
        best = min(self.others, key=self.others.__getitem__)
        return best if self.others[best] <= SOUND else None

    @property
    def decided(self) -> bool:
        """Whether the crystal tells the given order from all others."""
        return self.given <= BROKEN and min(self.others.values()) > BROKEN


def transposition(born_charges: Array) -> float:
    """Largest difference between charges (n_atoms, 3, 3) and their transposes, e: if 0, the order of indices is empty.

    Examples
    --------
    >>> transposition(np.array([np.diag([2.0, 2.0, 1.5])]))
    0.0
    """
    return float(np.abs(born_charges - born_charges.transpose(0, 2, 1)).max(initial=0.0))


def field_index(born_charges: Array, displacements: Array, dipole: Array) -> Literal["first", "second", "unknown"]:
    """Which index of Born charges is the field, from the dipoles of close structures.

    Parameters
    ----------
    born_charges
        (n_atoms, 3, 3), e, in either order.
    displacements
        (n_frames, n_atoms, 3) from the structure that the charges belong to, Angstrom.
    dipole
        (n_frames, 3) change of the dipole of the cell, e Angstrom, on one branch of the polarization.

    Returns
    -------
    "first" if dP_i = sum Z[a, i, j] du_aj fits at least twice as well as the transpose, "second" if that one does.

    Examples
    --------
    >>> z = np.array([[[2.0, 0.3, 0.0], [0.0, 2.0, 0.0], [0.0, 0.0, 2.0]]])
    >>> step = np.array([[[0.0, 0.01, 0.0]]])
    >>> field_index(z, step, np.array([[0.003, 0.02, 0.0]]))
    'first'
    """
    first = float(np.linalg.norm(np.einsum("aij,faj->fi", born_charges, displacements) - dipole))
    second = float(np.linalg.norm(np.einsum("aji,faj->fi", born_charges, displacements) - dipole))
    if first <= second / 2:
        return "first" if second > 0 else "unknown"
    return "second" if second <= first / 2 else "unknown"


def forbidden_share(prop: Property, tensor: Array, symmetry: Symmetry) -> float:
    """Share of a Cartesian tensor that the operations of its crystal forbid, ||T - PT|| / ||T||; 0 if that is noise.

    Examples
    --------
    >>> from ase.build import bulk
    >>> symmetry = find_symmetry(bulk("MgO", "rocksalt", 4.21))
    >>> round(forbidden_share(PROPERTIES["eps_inf"], np.diag([3.0, 3.0, 3.3]), symmetry), 3)
    0.046
    """
    if len(symmetry.rotations) == 1 and symmetry.translations == 1:  # the identity forbids nothing
        return 0.0
    from voigt.data.tensor_symmetry import deviations

    return float(deviations(prop, tensor[None], symmetry)[0])


def shear_order(prop: Property, tensor: Array, symmetry: Symmetry) -> ShearOrder:
    """How well a piezoelectric or elastic tensor obeys its point group in each order of the shear columns.

    Examples
    --------
    >>> from ase.build import bulk
    >>> symmetry = find_symmetry(bulk("ZnO", "wurtzite", a=3.25, c=5.2))
    >>> e = np.zeros((3, 6))
    >>> e[0, 4] = e[1, 3] = -0.4  # as 6mm wants it: e15 and e24
    >>> e[2] = [-0.5, -0.5, 1.2, 0, 0, 0]
    >>> right = PROPERTIES["piezo_total"].from_storage(e)
    >>> shear_order(PROPERTIES["piezo_total"], right, symmetry).decided
    True
    >>> wrong = PROPERTIES["piezo_total"].from_storage(e[:, [0, 1, 2, 5, 3, 4]])  # xy yz zx taken for yz zx xy
    >>> shear_order(PROPERTIES["piezo_total"], wrong, symmetry).better
    ('xy', 'yz', 'zx')
    """
    stored = prop.to_storage(tensor)
    others = {}
    for order in permutations(range(3)):
        if order == (0, 1, 2):
            continue
        columns = [0, 1, 2, *(3 + order.index(k) for k in range(3))]
        turned = stored[:, columns] if prop.rank == 3 else stored[np.ix_(columns, columns)]
        others[tuple(_SHEARS[k] for k in order)] = forbidden_share(prop, prop.from_storage(turned), symmetry)
    return ShearOrder(forbidden_share(prop, tensor, symmetry), others)


def has_sign_of_electron(atoms: ase.Atoms, born_charges: Array) -> bool:
    """Whether F, O or Cl, where others are beside them, are positive and the rest negative: charges in units of -e.

    Examples
    --------
    >>> from ase.build import bulk
    >>> has_sign_of_electron(bulk("MgO", "rocksalt", 4.21), np.array([-2 * np.eye(3), 2 * np.eye(3)]))
    True
    """
    traces = np.trace(born_charges, axis1=1, axis2=2) / 3
    takers = np.isin(atoms.get_chemical_symbols(), OXIDIZING)
    if not takers.any() or takers.all():
        return False
    return bool(traces[takers].mean() > 0.3 and traces[~takers].mean() < 0.0)


def symmetric_part(prop: Property, tensor: Array) -> Array:
    """A tensor with the index symmetry that its property has: eps_ij = eps_ji, C_IJ = C_JI; others as they are.

    Examples
    --------
    >>> float(symmetric_part(PROPERTIES["eps_inf"], np.array([[3.0, 0.2, 0], [0, 3, 0], [0, 0, 3]]))[0, 1])
    0.1
    """
    if prop.formula == "ij=ji":
        return np.asarray((tensor + tensor.T) / 2)
    if prop.rank == 4:
        return np.asarray((tensor + tensor.transpose(2, 3, 0, 1)) / 2)
    return tensor


def doubts(atoms: ase.Atoms, targets: Mapping[str, Array]) -> Iterator[str]:
    """What speaks against the conventions of tensors, a sentence each with its remedy; nothing is mended."""
    try:
        symmetry = find_symmetry(atoms, SYMPREC)
    except InputError as error:
        yield f"the tensors are not held against the symmetry: {error}"
        return
    for name, tensor in targets.items():
        prop = PROPERTIES[name]
        if prop.rank == 0:
            continue
        share = forbidden_share(prop, tensor, symmetry)
        if share > BROKEN:
            yield _broken(prop, tensor, symmetry, share)
    charges, stiffness = targets.get("born_charges"), targets.get("elastic")
    if charges is not None and has_sign_of_electron(atoms, charges):
        yield "born_charges: anions are positive, as in units of the charge of the electron; change the sign if so"
    if stiffness is not None and float(np.linalg.eigvalsh(elastic_to_mandel(stiffness))[-1]) > STIFFEST:
        yield "elastic: stiffer than diamond, as values in kBar are; divide by 10 if so"


def _broken(prop: Property, tensor: Array, symmetry: Symmetry, share: float) -> str:
    text = f"{prop.name} breaks the symmetry {symmetry.international} of its structure by {share:.0%}"
    better = shear_order(prop, tensor, symmetry).better if prop.rank >= 3 else None
    if better is not None:
        orders = f"the columns read as {' '.join(_SHEARS)} are {' '.join(better)}"
        return f"{text}, but not if {orders}: look at how it was written"
    return f"{text}: it may belong to other axes or to another structure; voigt data audit looks for the rotation"
