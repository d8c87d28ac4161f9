"""From equivariant node features to Cartesian tensors."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from voigt.models.equivariant.layers import initial_weights
from voigt.models.equivariant.paths import NODE_ROWS
from voigt.models.linear import Linear
from voigt.models.readout import Readout
from voigt.tensors.irreps import dimension, wigner_3j
from voigt.tensors.properties import Property

# Types that the nodes do not carry arise from a product of two that they do.
_PRODUCTS = {"2o": ("1o", "2e"), "3o": ("1o", "2e"), "4e": ("2e", "2e")}


class TensorReadout(Readout):
    """Linear (or, for types absent from the nodes, quadratic) map from node features to Cartesian tensors.

    With `heads` above one there are so many last matrices, biases and references, and as many tensors of each atom.
    """

    def __init__(self, prop: Property, channels: int, init: str, reference: bool, hidden: bool, heads: int = 1) -> None:
        super().__init__(prop, reference, heads)
        self.starts_from_data = init != "uniform"
        several = () if heads == 1 else (heads,)
        self.weight = initial_weights((len(self.kinds), channels, *several), init)
        self.bias = nn.Parameter(torch.zeros(self.kinds.count("0e"), *several))
        self.scalar = nn.Sequential(Linear(channels, channels), nn.SiLU()) if hidden else None
        for kind in sorted(set(self.kinds) & set(_PRODUCTS)):
            coupling = wigner_3j(*_PRODUCTS[kind], kind) * math.sqrt(dimension(kind))
            self.register_buffer(f"product_{kind}", torch.tensor(coupling), False)

    def forward(self, features: Tensor, numbers: Tensor, high: Mapping[str, Tensor]) -> Tensor:
        """(n, 12, channels), (n,), {type: (n, dim, channels)} of types beyond the nodes' -> (n, 3, ..., 3).

        With several heads (n, heads, 3, ..., 3).
        """
        scale = 1.0 / math.sqrt(features.shape[-1])
        scalars = features[:, NODE_ROWS["0e"]]
        if self.scalar is not None:
            scalars = scalars + self.scalar(scalars)
        # (n, number of 0e), with several heads (n, number of 0e, heads).
        reference = None if self.reference is None else self.reference(numbers).view(len(numbers), *self.bias.shape)
        parts, scalar = [], 0
        for k, kind in enumerate(self.kinds):
            if kind in _PRODUCTS:
                first, second = (features[:, NODE_ROWS[name]] for name in _PRODUCTS[kind])
                coupling = self.get_buffer(f"product_{kind}").to(first.dtype)
                rows = torch.einsum("ijk,niu,nju->nku", coupling, first, second)
                if kind in high:
                    rows = rows + high[kind]
            else:
                rows = scalars if kind == "0e" else features[:, NODE_ROWS[kind]]
            part = (rows @ self.weight[k]) * scale
            # A constant may be added to invariants only.
            if kind == "0e":
                part = part + self.bias[scalar]
                if reference is not None:
                    part = part + reference[:, scalar : scalar + 1]
                scalar += 1
            parts.append(part)
        components = torch.cat(parts, dim=1)
        if self.heads > 1:
            components = components.transpose(1, 2)
        tensor: Tensor = (components @ self.basis.to(features.dtype)).unflatten(-1, self.shape or (1,))
        return tensor if self.shape else tensor[..., 0]
