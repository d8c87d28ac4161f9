"""Several networks of one kind in one pass, their weights stacked: a device starts each kernel once for all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import cast

import torch
from torch import Tensor
from torch.func import functional_call, stack_module_state

from voigt.graphs import CrystalBatch
from voigt.graphs.padding import bounded_elements
from voigt.models.captured import Captured, record_on_cuda
from voigt.models.checkpoint import LoadedModel
from voigt.models.network import Members, Network, Pass, functional_rows


def outputs_of(model: LoadedModel, batch: CrystalBatch) -> Members:
    """Outputs of all members of a model, on its device, for a batch that is on the processor.

    On a CPU one network after the other is quickest (`python -m benchmarks.speed.ensembles`). On a CUDA device all run
    in one pass, and small batches of sizes that come again are replayed.
    """
    device = model.device
    if device.type != "cuda":
        return one_by_one(model.members)(batch.to(device))
    ready = replace(bounded_elements(batch), functional_row=functional_rows(batch, model.hypers.functionals))
    with torch.cuda.device(device):  # recordings and kernels go to the current one
        if device not in model.passes:
            run = one_by_one if len(model.members) == 1 else in_one_pass
            model.passes[device] = Captured(run(model.members), record_on_cuda())
        return model.passes[device](ready.to(device))


def one_by_one(members: Sequence[Network]) -> Pass:
    """The outputs of all members, network after network."""
    return lambda batch: [outputs for member in members for outputs in member.forward_members(batch)]


def in_one_pass(members: Sequence[Network]) -> Pass:
    """The same with all networks at once, through `torch.func.vmap`.

    Parameters
    ----------
    members
        Networks with the same hyper-parameters, whose weights are copied. Constants that are the same in all of them
        stay as they are, so that what depends on the crystal alone (axes of edges, radial functions) is computed once.

    Raises
    ------
    ValueError
        The networks differ in more than their weights.
    """
    first = members[0]
    if any(member.hypers != first.hypers for member in members):
        raise ValueError("these networks differ in more than their weights")
    parameters, buffers = stack_module_state(list(members))
    own = dict(first.named_buffers())
    shared = {
        name: all(torch.equal(value, dict(member.named_buffers())[name]) for member in members)
        for name, value in own.items()
    }
    constants = {name: own[name] if same else buffers[name] for name, same in shared.items()}
    state = ({name: value.detach() for name, value in parameters.items()}, constants)
    axes = (dict.fromkeys(parameters, 0), {name: None if same else 0 for name, same in shared.items()})

    def pass_of_one(weights: tuple[dict[str, Tensor], dict[str, Tensor]], batch: CrystalBatch) -> Members:
        return cast(Members, functional_call(_Heads(first), _under(weights), (batch,)))

    def run(batch: CrystalBatch) -> Members:
        stacked = torch.vmap(lambda weights: pass_of_one(weights, batch), in_dims=(axes,))(state)
        return [
            ({name: value[k] for name, value in raw.items()}, {name: value[k] for name, value in neutral.items()})
            for k in range(len(members))
            for raw, neutral in stacked
        ]

    return run


class _Heads(torch.nn.Module):
    """`forward_members` in the place of `forward`, which is what `functional_call` calls."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, batch: CrystalBatch) -> Members:
        return self.network.forward_members(batch)


def _under(weights: tuple[dict[str, Tensor], dict[str, Tensor]]) -> dict[str, Tensor]:
    return {f"network.{name}": value for part in weights for name, value in part.items()}
