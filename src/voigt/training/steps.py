"""Optimizer steps that never wait for the device, on CUDA recorded once per shape of batch and then replayed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from voigt.graphs import CrystalBatch
from voigt.models.network import Network
from voigt.training.module import LOST_STEPS, batch_loss, diverged, make_optimizer
from voigt.training.recipe import Recipe
from voigt.training.resident import BatchShape, ResidentGraphs


class Stepper:
    """Loss, gradient, clipping, AdamW and running average of a network: `TrainingModule` without its waiting.

    A step whose loss or gradient is not finite changes nothing, as there; the device itself decides.
    """

    def __init__(self, recipe: Recipe, network: Network) -> None:
        self.recipe, self.network = recipe, network
        self.parameters: list[Tensor] = list(network.parameters())
        self.learned = [parameter for parameter in self.parameters if parameter.requires_grad]
        self.average = [parameter.detach().clone() for parameter in self.parameters]
        device = self.parameters[0].device
        self.optimizer = make_optimizer(network, recipe.optimizer, recorded=device.type == "cuda")
        self.averaging = torch.ones((), dtype=self.parameters[0].dtype, device=device)
        """Share of the new weights in the running average."""
        self.lost = torch.zeros((), device=device)
        self.losses = torch.zeros(2, dtype=torch.float64, device=device)
        """Sum of the finite losses since they were last read, and their number."""

    def __call__(self, batch: CrystalBatch) -> None:
        """One step on one batch."""
        loss, _ = batch_loss(self.network, batch, self.recipe)
        gradients = torch.autograd.grad(loss, self.learned, allow_unused=True)
        for parameter, gradient in zip(self.learned, gradients, strict=True):
            # A fused optimizer goes over both as they lie in memory, and would mix up those of a transposed gradient.
            parameter.grad = None if gradient is None else gradient.contiguous()
        norm = torch.nn.utils.clip_grad_norm_(self.learned, self.recipe.optimizer.clip)
        finite = torch.isfinite(loss.detach()) & torch.isfinite(norm)
        # What scalers of gradients tell a fused optimizer: whether to leave this step out.
        self.optimizer.found_inf = (~finite).float()  # type: ignore[attr-defined]
        self.optimizer.grad_scale = None  # type: ignore[attr-defined]
        self.optimizer.step()
        self.lost.copy_(torch.where(finite, 0.0, self.lost + 1.0))
        seen = torch.stack([torch.where(finite, loss.detach(), 0.0), finite.to(loss.dtype)])
        self.losses.add_(seen)
        with torch.no_grad():
            moved = torch._foreach_sub(self.parameters, self.average)
            torch._foreach_mul_(moved, self.averaging)
            torch._foreach_add_(self.average, moved)

    def set_rates(self, step: int, rate: float) -> None:
        """Learning rate of the next step, and how much of its weights goes into the running average."""
        for group in self.optimizer.param_groups:
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(rate)
            else:
                group["lr"] = rate
        decay = self.recipe.optimizer.ema
        # The decay rises from zero, so that the first weights are soon forgotten (see RunningAverage).
        self.averaging.fill_(1.0 - min(decay, (1.0 + step) / (10.0 + step)) if step and decay else 1.0)

    def mean_loss(self) -> float:
        """Mean of the losses since the last call; waits for the device.

        Raises
        ------
        RecipeError
            No finite gradient for too long.
        """
        total, count = self.losses.tolist()
        self.losses.zero_()
        if float(self.lost) > LOST_STEPS:
            raise diverged()
        return float(total / max(count, 1.0))

    def state(self) -> dict[str, Any]:
        """All that a resumed training needs, as tensors and plain values."""
        return {
            "weights": [tensor.detach() for tensor in self.parameters],
            "average": list(self.average),
            "optimizer": self.optimizer.state_dict()["state"],
            "lost": self.lost,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from what `state` gave."""
        own = self.optimizer.state_dict()
        self.optimizer.load_state_dict({**own, "state": state["optimizer"]})
        with torch.no_grad():
            for tensors, stored in ((self.parameters, state["weights"]), (self.average, state["average"])):
                for tensor, value in zip(tensors, stored, strict=True):
                    tensor.copy_(value)
            self.lost.copy_(state["lost"])


class RecordedSteps:
    """Steps on batches of a few fixed shapes.

    A graph of thousands of small kernels is started at once, where Python would start one after the other and the
    device would wait most of the time. The first batch of a shape is computed as it is (so that compilers and
    libraries have done their work), the second one records.
    """

    def __init__(self, graphs: ResidentGraphs, step: Stepper, shapes: Sequence[BatchShape], size: int) -> None:
        self.graphs, self.step, self.shapes = graphs, step, shapes
        self.chosen = torch.zeros(size, dtype=torch.int64, device=graphs.device)
        self.recorded: dict[BatchShape, torch.cuda.CUDAGraph | None] = {}
        self.pool: Any = None

    def __call__(self, chosen: Tensor, shape: BatchShape) -> None:
        """One step on the graphs `chosen`, (batch size,) on the device."""
        if chosen.device.type != "cuda" or shape not in self.shapes:
            self.step(self.graphs.batch(chosen, shape))
            return
        self.chosen.copy_(chosen)
        if shape not in self.recorded:
            self.recorded[shape] = None
            self.step(self.graphs.batch(self.chosen, shape))
            return
        graph = self.recorded[shape]
        if graph is None:
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, pool=self.pool, stream=torch.cuda.current_stream()):
                self.step(self.graphs.batch(self.chosen, shape))
            self.pool = graph.pool()  # shapes are replayed one at a time and may share their memory
            self.recorded[shape] = graph
        graph.replay()
