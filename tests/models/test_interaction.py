"""One block of message passing: what an element keeps of its own features."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from voigt.models.equivar.hypers import EquivarHypers
from voigt.models.equivariant.frames import EdgeFrames
from voigt.models.equivariant.interaction import Interaction
from voigt.models.equivariant.messages import Edges, eager_kernels

CHANNELS, ELEMENTS = 8, 5


def updated(block: Interaction, nodes: Tensor, numbers: Tensor) -> Tensor:
    """Of atoms that all are representatives, in a ring."""
    source, target = (torch.arange(len(nodes)) + 1) % len(nodes), torch.arange(len(nodes))
    generator = torch.Generator().manual_seed(2)
    vectors = torch.randn(len(nodes), 3, dtype=torch.float64, generator=generator)
    radial = torch.rand(len(nodes), 6, dtype=torch.float64, generator=generator)
    envelope = torch.rand(len(nodes), 1, dtype=torch.float64, generator=generator)
    edges = Edges(source, target, EdgeFrames()(vectors))
    out: Tensor = block(nodes, nodes, numbers, edges, (radial, envelope), eager_kernels())
    return out


@pytest.mark.parametrize("update", ["linear", "gated"])
def test_elements_scale_the_types_of_their_own_features(update: str) -> None:
    """12 rows: one of 0e, three of 1o, three of 1e, five of 2e, each type of an element with its own factors."""
    torch.manual_seed(0)
    options = {"channels": CHANNELS, "num_radial": 6, "update": update, "weights": "radial"}
    block = Interaction(EquivarHypers(**options, self_interaction="species"), ELEMENTS).double()
    plain = Interaction(EquivarHypers(**options), ELEMENTS).double()
    state = block.state_dict()
    state.pop("species.weight")
    plain.load_state_dict(state)
    numbers, nodes = torch.tensor([3, 0, 3, 1, 4, 2, 2]), torch.randn(7, 12, CHANNELS, dtype=torch.float64)
    torch.testing.assert_close(updated(block, nodes, numbers), updated(plain, nodes, numbers), rtol=0, atol=1e-14)
    with torch.no_grad():
        block.species.weight.copy_(torch.randn(ELEMENTS, 4 * CHANNELS))
    scales = block.species.weight[numbers].view(7, 4, CHANNELS)
    factors = torch.repeat_interleave(scales, torch.tensor([1, 3, 3, 5]), dim=1)
    expected = updated(plain, nodes, numbers) + (factors - 1) * nodes
    torch.testing.assert_close(updated(block, nodes, numbers), expected, rtol=0, atol=1e-13)
