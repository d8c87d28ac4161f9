"""Pooling of SEN: its cell is torch's, written out."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from voigt.models.sen.pooling import Cell


@pytest.mark.parametrize(("rows", "inputs", "width"), [(1, 6, 3), (40, 24, 12), (300, 256, 128)])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-13)])
def test_the_cell_is_torchs_with_the_same_weights(
    rows: int, inputs: int, width: int, dtype: torch.dtype, tolerance: float
) -> None:
    """Three steps, each from what the last one left; and the gradients of all weights."""
    torch.manual_seed(0)
    usual, own = nn.LSTMCell(inputs, width).to(dtype), Cell(inputs, width).to(dtype)
    own.load_state_dict(usual.state_dict())
    steps = torch.randn(3, rows, inputs, dtype=dtype)
    results = []
    for cell in (own, usual):
        state = (torch.zeros(rows, width, dtype=dtype), torch.zeros(rows, width, dtype=dtype))
        for given in steps:
            state = cell(given, state)
        gradients = torch.autograd.grad(state[0].square().sum() + state[1].sin().sum(), list(cell.parameters()))
        results.append((*(tensor.detach() for tensor in state), *gradients))
    for found, expected in zip(*results, strict=True):
        torch.testing.assert_close(found, expected, rtol=0, atol=tolerance * float(expected.abs().max()))


def test_the_cell_starts_as_torchs() -> None:
    """Seeds give the networks that they gave with torch's cell."""
    torch.manual_seed(0)
    usual = nn.LSTMCell(6, 3)
    torch.manual_seed(0)
    own = Cell(6, 3)
    assert own.state_dict().keys() == usual.state_dict().keys()
    assert all(torch.equal(value, usual.state_dict()[name]) for name, value in own.state_dict().items())


def test_several_cells_at_once() -> None:
    """What torch's own kernel cannot: other weights for each member of an ensemble."""
    torch.manual_seed(0)
    cells = [Cell(6, 3).double() for _ in range(4)]
    given, state = torch.randn(5, 6).double(), (torch.randn(5, 3).double(), torch.randn(5, 3).double())
    parameters, _ = torch.func.stack_module_state(cells)
    hidden, memory = torch.vmap(lambda one: torch.func.functional_call(cells[0], one, (given, state)))(parameters)
    for k, cell in enumerate(cells):
        for found, expected in zip((hidden[k], memory[k]), cell(given, state), strict=True):
            torch.testing.assert_close(found, expected, rtol=0, atol=1e-14)
