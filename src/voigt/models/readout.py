"""Last layers of a property: components of its index symmetry, and its physical bounds."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from voigt.models.elements import NUM_ELEMENTS
from voigt.tensors.irreps import cartesian_basis, dimension
from voigt.tensors.properties import PROPERTIES, Property
from voigt.tensors.voigt import elastic_from_mandel, elastic_to_mandel


class Readout(nn.Module):
    """Last layers of a property: components in the basis of its index symmetry.

    Attributes
    ----------
    starts_from_data
        Whether training begins at the averages of the labels.
    kinds
        Irreducible types of the components, in order.
    weight
        Last matrix, one row per type or component.
    bias
        One number per invariant (0e) component.
    reference
        Invariant components per element, added to the output; None: none.
    scale
        What the output before bias and reference is multiplied by: the standard deviation of the training labels less
        their reference, not trained; None: one.
    heads
        Tensors that it gives of each atom, one for each member of an ensemble that it stands for.
    positive_only
        Whether labels of zero say nothing to this readout (the size of a gap, where another one tells metals).
    """

    starts_from_data: bool = True
    scale: nn.Parameter | None
    positive_only: bool = False
    basis: Tensor
    weight: nn.Parameter
    bias: nn.Parameter
    reference: nn.Embedding | None

    def __init__(self, prop: Property, reference: bool, heads: int = 1) -> None:
        super().__init__()
        self.scale, self.heads = None, heads
        basis = cartesian_basis(prop.formula)
        self.rank, self.shape = prop.rank, prop.shape
        self.kinds = basis.irreps
        self.register_buffer("basis", torch.tensor(basis.matrix), False)
        sizes = [dimension(kind) for kind in self.kinds]
        self.scalar_rows = [sum(sizes[:k]) for k, kind in enumerate(self.kinds) if kind == "0e"]
        self.reference = nn.Embedding(NUM_ELEMENTS, heads * self.kinds.count("0e")) if reference else None
        if self.reference is not None:
            nn.init.zeros_(self.reference.weight)

    def scalar_components(self, tensor: Tensor) -> Tensor:
        """Invariant (0e) components of Cartesian tensors, (n, number of 0e) - what `bias` and `reference` add to."""
        return tensor.reshape(len(tensor), -1) @ self.basis[self.scalar_rows].to(tensor).T


def readout_names(properties: Sequence[str]) -> tuple[str, ...]:
    """Properties that need a readout: a sum whose first part is predicted too is replaced by its parts.

    So eps_total = eps_inf + eps_ionic exactly, and eps_total >= eps_inf since eps_ionic has only positive eigenvalues.
    """
    names: list[str] = []
    for name in properties:
        parts = PROPERTIES[name].sum_of
        names += parts if parts and parts[0] in properties else (name,)
    return tuple(dict.fromkeys(names))


def assembled(values: Mapping[str, Tensor], properties: Sequence[str]) -> dict[str, Tensor]:
    """The requested properties in order, sums added up from their parts."""
    return {
        name: values[name] if name in values else torch.stack([values[p] for p in PROPERTIES[name].sum_of]).sum(dim=0)
        for name in properties
    }


LARGEST_EXPONENT = 20.0


def _exponential(symmetric: Tensor) -> Tensor:
    """Matrix exponential; a matrix of norm above 20 is scaled back to it, since float32 overflows at 88."""
    # A symmetric matrix has no eigenvalue above its Frobenius norm, so that scaling by the norm bounds the exponential.
    norm = torch.linalg.matrix_norm(symmetric, keepdim=True)
    exponent = symmetric * (LARGEST_EXPONENT / norm.clamp(min=LARGEST_EXPONENT))
    # In single precision the squaring loses three digits; mps knows no other.
    wide = exponent if exponent.device.type == "mps" else exponent.double()
    return _scaled_and_squared(wide).to(symmetric.dtype)


def _scaled_and_squared(exponent: Tensor) -> Tensor:
    """exp(X) of matrices of norm up to 20 as exp(X / 64)^64, in the same operations whatever the values.

    `torch.linalg.matrix_exp` chooses its operations by the norms, for which a device is stopped and asked.
    """
    x = exponent / 64.0
    square = x @ x
    cube = square @ x
    one = torch.eye(x.shape[-1], dtype=x.dtype, device=x.device).expand_as(x)
    # Twelve terms of Taylor's series, by threes: the next is below 1e-16 for a norm of 20 / 64.
    result = one / math.factorial(12)
    for k in (9, 6, 3, 0):
        block = one / math.factorial(k) + x / math.factorial(k + 1) + square / math.factorial(k + 2)
        result = block + cube @ result
    for _ in range(6):
        result = result @ result
    return result


@functools.lru_cache
@torch.inference_mode(False)
def _mandel_maps(dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor]:
    """Stiffness to Mandel matrix (81, 36) and back (36, 81), both flat; copied to a device once."""
    there = elastic_to_mandel(np.eye(81).reshape(81, 3, 3, 3, 3)).reshape(81, 36)
    back = elastic_from_mandel(np.eye(36).reshape(36, 6, 6)).reshape(36, 81)
    return torch.as_tensor(there, dtype=dtype, device=device), torch.as_tensor(back, dtype=dtype, device=device)


def bounded(tensor: Tensor, prop: Property) -> Tensor:
    """Map an unconstrained tensor onto those that the property allows, equivariantly.

    Rank 2: minimum + exp(S), the matrix exponential; rank 4: the same on the 6x6 Mandel matrix; a scalar:
    minimum + softplus. A property without a minimum, and per-atom tensors, are returned unchanged.
    """
    if prop.minimum is None or prop.per == "atom":
        return tensor
    if prop.rank == 0:
        lifted: Tensor = prop.minimum + nn.functional.softplus(tensor)
        return lifted
    if prop.rank == 2:
        # exp(S) is symmetric and positive definite, and R exp(S) R^T = exp(R S R^T): the bound turns with the crystal.
        identity = torch.eye(3, dtype=tensor.dtype, device=tensor.device)
        return prop.minimum * identity + _exponential(tensor)
    # In Mandel notation a rotation is an orthogonal 6x6 matrix and eigenvalues are those of the tensor.
    there, back = _mandel_maps(tensor.dtype, tensor.device)
    matrix = (tensor.flatten(-4) @ there).unflatten(-1, (6, 6))
    stiffness: Tensor = (_exponential(matrix).flatten(-2) @ back).unflatten(-1, (3, 3, 3, 3))
    return stiffness


def unbounded(tensor: Tensor, prop: Property) -> Tensor:
    """Inverse of `bounded`; labels at or below the bound are lifted to 0.01 above it."""
    if prop.minimum is None or prop.per == "atom":
        return tensor
    if prop.rank == 0:
        above = (tensor - prop.minimum).clamp(min=1e-2)
        # log(e^x - 1), which overflows, is x + log(1 - e^-x).
        inverse: Tensor = above + torch.log(-torch.expm1(-above))
        return inverse
    matrix = tensor if prop.rank == 2 else elastic_to_mandel(tensor)
    values, vectors = torch.linalg.eigh(matrix)
    logs = torch.log((values - prop.minimum).clamp(min=1e-2))
    result: Tensor = vectors @ torch.diag_embed(logs) @ vectors.transpose(-1, -2)
    return result if prop.rank == 2 else elastic_from_mandel(result)
