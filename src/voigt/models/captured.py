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
from voigt.models.network import Members, Outputs
from voigt.tensors.properties import PROPERTIES

Pass = Callable[[CrystalBatch], Members]
Record = Callable[[Callable[[], Members]], tuple[Members, Callable[[], None]]]

LARGEST = 65_536
"""Edges of a batch; larger ones keep a device busy, whoever starts its kernels."""
RECORDINGS = 16
"""Sizes that are kept; each holds its tensors on the device."""


@dataclass
class _Recording:
    """What is replayed: the tensors it reads, and those that it writes."""

    batch: CrystalBatch
    outputs: Members
    replay: Callable[[], None]


class Captured:
    """Outputs of networks, recorded for sizes that come again.

    The first batch of a size is computed as it is, the second one is recorded, and what the recording gives is compared
    with what was computed. If that fails, or the device cannot record, all is computed as it is from then on.

    Parameters
    ----------
    run
        The forward pass of all members.
    record
        Runs a function, and gives its outputs with what runs it again into the same tensors.
    """

    def __init__(self, run: Pass, record: Record) -> None:
        self.run, self.record = run, record
        self.recordings: OrderedDict[tuple[Any, ...], _Recording | None] = OrderedDict()
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
            self.recordings[size] = self._recorded(filled, outputs, batch) if size in self.recordings else None
            self.recordings.move_to_end(size)
            while len(self.recordings) > RECORDINGS:
                self.recordings.popitem(last=False)
            return outputs
        self.recordings.move_to_end(size)
        for name, value in _tensors(filled).items():
            getattr(recording.batch, name).copy_(value)
        recording.replay()
        return _without_padding(recording.outputs, batch)

    def _recorded(self, filled: CrystalBatch, expected: Members, batch: CrystalBatch) -> _Recording | None:
        fields: dict[str, Any] = {name: value.clone() for name, value in _tensors(filled).items()}
        own = replace(filled, **fields)
        try:
            outputs, replay = self.record(lambda: self.run(own))
            replay()
            found = _without_padding(outputs, batch)
        except RuntimeError:  # whatever of the networks, of torch or of the driver cannot be recorded
            self.failed = True
            return None
        if not _close(found, expected):
            self.failed = True
            return None
        return _Recording(own, outputs, replay)


def record_on_cuda(run: Callable[[], Members]) -> tuple[Members, Callable[[], None]]:
    """A CUDA graph of a function that has run on tensors of the same sizes before."""
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        outputs = run()
    return outputs, graph.replay


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
        bool(torch.allclose(value, other[name], rtol=1e-3, atol=1e-3 * float(other[name].abs().max()), equal_nan=True))
        for one, two in zip(found, expected, strict=True)
        for values, other in zip(one, two, strict=True)
        for name, value in values.items()
    )
