"""Corrections of all crystals of a batch at once: projection onto space groups, sum rule, and how far raw tensors are.

All of it is linear algebra in double precision over the operations of all crystals one after the other, on the device
of the tensors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from voigt.structures.symmetry import Symmetry
from voigt.tensors.projection import rotate
from voigt.tensors.properties import Property

TENSORS_AT_ONCE = 2**21
"""Numbers, over operations and what they act on, that are turned in one go."""


@dataclass(frozen=True)
class BatchSymmetry:
    """Space groups of the crystals of a batch as flat tensors.

    Attributes
    ----------
    rotations
        (n_operations, 3, 3) of all crystals, float64.
    operation_crystal
        (n_operations,) crystal of each operation.
    orders
        (n_crystals,) operations of each crystal.
    site
        (n_atoms,) `Symmetry.sites`, counted over the batch.
    copies
        (n_atoms,) how many atoms are copies of each atom, 1 in primitive cells; None if all cells are primitive.
    images
        (n_pairs,) for each operation and atom of its crystal, the atom onto which it maps the atom.
    pair_atom, pair_operation
        (n_pairs,) that atom, and that operation.
    atom_order
        (n_atoms,) operations of each atom's crystal.
    """

    rotations: Tensor
    operation_crystal: Tensor
    orders: Tensor
    site: Tensor
    copies: Tensor | None
    images: Tensor
    pair_atom: Tensor
    pair_operation: Tensor
    atom_order: Tensor


def batch_symmetry(symmetries: Sequence[Symmetry], device: torch.device, of_atoms: bool) -> BatchSymmetry:
    """Join the space groups of crystals; without `of_atoms` what tensors of atoms need is left empty."""
    orders = np.array([len(entry.rotations) for entry in symmetries])
    sizes = np.array([len(entry.sites) for entry in symmetries])
    first_atom, first_operation = np.cumsum(sizes) - sizes, np.cumsum(orders) - orders
    none = np.empty(0, dtype=np.int64)
    site, images, atoms, operations = none, none, none, none
    copies = None
    if of_atoms:
        site = np.concatenate([entry.sites + first for entry, first in zip(symmetries, first_atom, strict=True)])
        counts = np.bincount(site, minlength=len(site))[site]
        copies = counts if counts.max() > 1 else None
        images = np.concatenate(
            [(entry.permutations + first).ravel() for entry, first in zip(symmetries, first_atom, strict=True)]
        )
        # Rows of a crystal's permutations are its operations, columns its atoms.
        pairs = orders * sizes
        inside = np.arange(pairs.sum()) - np.repeat(np.cumsum(pairs) - pairs, pairs)
        width = np.repeat(sizes, pairs)
        atoms = np.repeat(first_atom, pairs) + inside % width
        operations = np.repeat(first_operation, pairs) + inside // width

    def there(values: np.ndarray) -> Tensor:
        return torch.as_tensor(values, device=device)

    return BatchSymmetry(
        rotations=there(np.concatenate([entry.rotations for entry in symmetries])),
        operation_crystal=there(np.repeat(np.arange(len(symmetries)), orders)),
        orders=there(orders),
        site=there(site),
        copies=None if copies is None else there(copies),
        images=there(images),
        pair_atom=there(atoms),
        pair_operation=there(operations),
        atom_order=there(np.repeat(orders, sizes)),
    )


def project_batch(tensors: Tensor, prop: Property, symmetry: BatchSymmetry) -> Tensor:
    """Symmetric part of tensors of all crystals of a batch.

    Parameters
    ----------
    tensors
        (n_atoms or n_crystals, k, 3, ..., 3) k tensors of each atom or crystal, float64.
    prop
        Whose rank says how they turn.
    symmetry
        Of the batch.

    Returns
    -------
    Shaped as `tensors`: means over each crystal's operations, see `voigt.tensors.projection`.
    """
    total = torch.zeros_like(tensors)
    if prop.per == "crystal":
        rows = max(TENSORS_AT_ONCE // max(tensors[0].numel(), 1), 1)
        for first in range(0, len(symmetry.rotations), rows):
            some = slice(first, first + rows)
            crystal = symmetry.operation_crystal[some]
            turned = rotate(tensors.index_select(0, crystal), symmetry.rotations[some, None], prop.rank)
            total.index_add_(0, crystal, turned)
        return total / symmetry.orders.view(-1, *[1] * (tensors.ndim - 1))
    shape = (-1, *[1] * (tensors.ndim - 1))
    if symmetry.copies is not None:  # the mean over translations inside the cells comes first
        summed = torch.zeros_like(tensors).index_add_(0, symmetry.site, tensors)
        tensors = (summed / symmetry.copies.view(shape)).index_select(0, symmetry.site)
    rows = max(TENSORS_AT_ONCE // max(tensors[0].numel(), 1), 1)
    for first in range(0, len(symmetry.images), rows):
        some = slice(first, first + rows)
        back = symmetry.rotations.index_select(0, symmetry.pair_operation[some]).mT[:, None]
        turned = rotate(tensors.index_select(0, symmetry.images[some]), back, prop.rank)
        total.index_add_(0, symmetry.pair_atom[some], turned)
    return total / symmetry.atom_order.view(shape)


def norms(tensors: Tensor, prop: Property, atom_crystal: Tensor, num_crystals: int) -> Tensor:
    """(n_crystals,) Frobenius norms of the tensors (n_atoms or n_crystals, 3, ...) of each crystal."""
    squares = tensors.square().reshape(len(tensors), -1).sum(dim=1)
    if prop.per == "atom":
        squares = squares.new_zeros(num_crystals).index_add_(0, atom_crystal, squares)
    return squares.sqrt()
