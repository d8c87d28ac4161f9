"""The update of SEN's bonds against the same done edge by edge, with gradients, and compiled."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from voigt.models.sen.environment import LARGEST_LOGIT, compiled_update, update_bonds


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def bond_arguments(edges: int, atoms: int, dtype: torch.dtype = torch.float64, heads: int = 2) -> list[Any]:
    """Of `update_bonds`, sorted by receiver as in a graph; the last atom is isolated."""
    generator = torch.Generator().manual_seed(edges)
    target = torch.randint(atoms - 1, (edges,), generator=generator).sort().values
    source = torch.randint(atoms - 1, (edges,), generator=generator)
    wide = 16 * heads
    tensors = [random(edges, 8), random(atoms, wide, seed=1), source, target, random(8, wide, seed=2)]
    tensors += [random(atoms, wide, seed=3), random(edges, 1, seed=4), random(edges, 8, seed=5), random(3, 8, seed=6)]
    return [*(t.to(dtype) if t.is_floating_point() else t for t in tensors), heads, 0.6]


def bonds_edge_by_edge(*arguments: Any) -> tuple[Tensor, Tensor, Tensor]:
    """What `update_bonds` does, with one edge after the other, torch's tanh and softmax."""
    bonds, sender, source, target, weight, receiver, factor, shape, strength, heads, mixing = arguments
    rows, count = [], len(receiver)
    joined, moment = [bonds.new_zeros(8)] * count, [bonds.new_zeros(8, len(strength))] * count
    for e, (start, end) in enumerate(zip(source.tolist(), target.tolist(), strict=True)):
        values, logits = (bonds[e] @ weight + sender[start] + receiver[end]).view(2, heads, 8)
        attention = (LARGEST_LOGIT * torch.tanh(logits / LARGEST_LOGIT)).softmax(dim=1)
        new = torch.nn.functional.selu((values * attention).sum(dim=0) * 8 / math.sqrt(heads))
        rows.append(bonds[e] + mixing * new)
        joined[end] = joined[end] + factor[e] * rows[e]
        moment[end] = moment[end] + torch.outer(shape[e], strength @ rows[e])
    return torch.stack(rows), torch.stack(joined), torch.stack(moment)


@pytest.mark.parametrize(("edges", "atoms", "heads"), [(11, 4, 2), (40, 7, 1), (1, 2, 3)])
def test_bonds_edge_by_edge(edges, atoms, heads):
    arguments = bond_arguments(edges, atoms, heads=heads)
    learned = [arguments[k].requires_grad_() for k in (0, 1, 4, 5, 8)]
    results = []
    for function in (bonds_edge_by_edge, update_bonds):
        outputs = function(*arguments)
        assert (outputs[1][-1] == 0).all()
        assert (outputs[2][-1] == 0).all()
        loss = sum((output * random(*output.shape, seed=k)).sum() for k, output in enumerate(outputs))
        results.append([*outputs, *torch.autograd.grad(loss, learned)])
    torch.testing.assert_close(results[1], results[0], rtol=1e-12, atol=1e-12)


def test_without_directions_there_are_no_moments():
    arguments = bond_arguments(11, 4)
    bonds, joined, moment = update_bonds(*arguments[:7], None, None, *arguments[9:])
    assert moment is None
    torch.testing.assert_close((bonds, joined), update_bonds(*arguments)[:2])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_compiled_bonds_are_the_bonds():
    compiled = compiled_update()
    for edges, atoms in ((40, 6), (97, 11)):  # sizes are left open: one compilation serves both
        arguments = bond_arguments(edges, atoms, torch.float32)
        torch.testing.assert_close(compiled(*arguments), update_bonds(*arguments), rtol=1e-4, atol=1e-4)
