"""Forward passes that are recorded once for a size of batch and then replayed by the device alone.

A network is some hundred small kernels. For small batches Python takes longer to start them than the device to run
them; a CUDA graph starts all of them at once, but for one size of every tensor. So batches are padded to few sizes.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from voigt.graphs import CrystalBatch
from voigt.graphs.padding import padded
from voigt.models.network import ROUNDING, Members, Outputs, Pass
from voigt.tensors.properties import PROPERTIES

Record = Callable[[Callable[[], Members]], tuple[Members, Callable[[], None]]]

LARGEST = 65_536
"""Edges of a batch; larger ones keep a device busy, whoever starts its kernels."""
RECORDINGS = 64
"""Sizes that are kept. Each holds the tensors of a batch on the device; those of the networks lie in one place."""


@dataclass
class _Recording:
    """What is replayed: the tensors it reads, and those that it writes."""

    batch: CrystalBatch
    outputs: Members
    replay: Callable[[], None]


class Captured:
    """Outputs of networks, recorded for sizes that come again.

    The first batch of a size is computed as it is, the second one is recorded too, and what the recording gives is
    compared with what was computed. If that fails, or the device cannot record, all is computed as it is from then on.

    Parameters
    ----------
    run
        The forward pass of all members.
    record
        Runs a function, and gives its outputs with what runs it again into the same tensors.
    """

    def __init__(self, run: Pass, record: Record) -> None:
        self.run, self.record = run, record
        self.recordings: OrderedDict[tuple[Any, ...], _Recording] = OrderedDict()
        self.seen: set[tuple[Any, ...]] = set()
        self.too_large: set[tuple[Any, ...]] = set()
        self.failed = False

    def __call__(self, batch: CrystalBatch) -> Members:
        """Outputs of a batch whose `functional_row` and `most_elements` are known, if its networks ask for them."""
        if self.failed or len(batch.edge_source) > LARGEST or len(batch.frames) or batch.targets:
            return self.run(batch)
        filled = padded(batch)
        size = _size(filled)
        recording = self.recordings.get(size)
        if recording is None:
            outputs = self.run(batch)
            if size in self.seen and size not in self.too_large:
                try:
                    self._keep(size, self._recorded(filled, outputs, batch))
                except torch.OutOfMemoryError:
                    self.too_large.add(size)
            self.seen.add(size)
            return outputs
        self.recordings.move_to_end(size)
        for name, value in _tensors(filled).items():
            getattr(recording.batch, name).copy_(value)
        recording.replay()
        return _without_padding(recording.outputs, batch)

    def _keep(self, size: tuple[Any, ...], recording: _Recording | None) -> None:
        if recording is None:
            self.failed = True
            self.recordings.clear()
            return
        self.recordings[size] = recording
        if len(self.recordings) > RECORDINGS:
            self.recordings.popitem(last=False)

    @torch.inference_mode(False)
    @torch.no_grad()
    def _recorded(self, filled: CrystalBatch, expected: Members, batch: CrystalBatch) -> _Recording | None:
        fields: dict[str, Any] = {name: value.clone() for name, value in _tensors(filled).items()}
        own = replace(filled, **fields)
        try:
            self.run(own)  # libraries choose and load their kernels for these sizes, which a recording may not
            outputs, replay = self.record(lambda: self.run(own))
            replay()
            found = _without_padding(outputs, batch)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError:  # whatever of the networks, of torch or of the driver cannot be recorded
            return None
        return _Recording(own, outputs, replay) if _close(found, expected) else None


def record_on_cuda() -> Record:
    """Makes CUDA graphs of functions that have run on tensors of the same sizes before.

    All share their memory, since one is replayed at a time and its outputs are copied before the next.
    """
    pool = torch.cuda.graph_pool_handle()

    def record(run: Callable[[], Members]) -> tuple[Members, Callable[[], None]]:
        graph, before = torch.cuda.CUDAGraph(), torch.cuda.current_stream()
        try:
            with torch.cuda.graph(graph, pool=pool):
                outputs = run()
        finally:  # a recording that fails stays on its stream
            torch.cuda.set_stream(before)
        return outputs, graph.replay

    return record


def _tensors(batch: CrystalBatch) -> dict[str, Tensor]:
    return {name: value for name, value in vars(batch).items() if isinstance(value, Tensor)}


def _size(batch: CrystalBatch) -> tuple[Any, ...]:
    return (*((name, value.shape, value.dtype) for name, value in _tensors(batch).items()), batch.most_elements)


def _without_padding(outputs: Members, batch: CrystalBatch) -> Members:
    """Copies of what belongs to the crystals of `batch`."""

    def cut(values: Outputs) -> Outputs:
        count = {"atom": len(batch.numbers), "crystal": batch.num_crystals}
        return {name: value[: count[PROPERTIES[name].per]].clone() for name, value in values.items()}

    return [(cut(raw), cut(neutral)) for raw, neutral in outputs]


def _close(found: Members, expected: Members) -> bool:
    """Whether both are the same but for the order of sums."""
    return all(
        bool(torch.allclose(value, other[name], rtol=1e-3, atol=_tolerance(other[name]), equal_nan=True))
        for one, two in zip(found, expected, strict=True)
        for values, other in zip(one, two, strict=True)
        for name, value in values.items()
    )


def _tolerance(values: Tensor) -> float:
    """What symmetry makes zero is rounding, and differs with the order of sums."""
    largest = float(values.abs().nan_to_num(posinf=0.0).max()) if values.numel() else 0.0
    return max(1e-3 * largest, ROUNDING)
