"""Compile the kernels of the messages for devices that need not be there: registers, memory and instructions.

    python -m benchmarks.tools.kernels [--capability 80 90] [--channels 32 64 96]

Needs Triton, whose package brings the assembler for NVIDIA's devices.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from benchmarks.tools.timing import table

from voigt.models.equivariant.frames import coupling_terms
from voigt.models.equivariant.paths import NUM_ROWS, coupling_paths


@dataclass(frozen=True)
class Compiled:
    """What a kernel takes of a device.

    Attributes
    ----------
    name, dtype, capability, channels, mixed
        Which kernel, for which numbers, device (90: H100), width of the network and couplings.
    registers, stack, shared
        Registers of a thread; bytes in memory of a thread, which is not zero if registers do not suffice; bytes that
        the threads of a program share.
    ptx
        Text of the program.
    """

    name: str
    dtype: torch.dtype
    capability: int
    channels: int
    mixed: bool
    registers: int
    stack: int
    shared: int
    ptx: str


class _Absent:
    """Stands for the driver of a device."""

    def __init__(self, capability: int) -> None:
        self.capability = capability

    def get_current_device(self) -> int:
        return self.capability  # compiled kernels are remembered by device

    def get_current_stream(self, _device: int) -> int:
        return 0

    def get_current_target(self) -> Any:
        from triton.backends.compiler import GPUTarget

        return GPUTarget("cuda", self.capability, 32)


def compile_kernels(dtype: torch.dtype, capability: int, channels: int, mixed: bool) -> list[Compiled]:
    """Both kernels, by the calls that a network makes.

    Raises
    ------
    Exception
        Of Triton's compiler or the assembler, of whatever kind.
    """
    import triton

    from voigt.models.equivariant import fused

    triton.runtime.driver.set_active(_Absent(capability))
    terms = coupling_terms(coupling_paths(), 1, 1.0, mixed).terms
    count = 1 + max(term.strength for term in terms)
    source, target = torch.tensor([1, 0, 1]), torch.tensor([0, 1, 1])
    rows, frames = torch.zeros(2, NUM_ROWS, channels, dtype=dtype), torch.zeros(3, NUM_ROWS, NUM_ROWS, dtype=dtype)
    strengths = torch.zeros(count, 3, channels, dtype=dtype)

    def found(kernel: Any, call: Callable[[], object]) -> Compiled:
        compiled, run = [], kernel.run
        kernel.run = lambda *given, **options: compiled.append(run(*given, **options | {"warmup": True}))
        try:
            call()
        finally:
            kernel.run = run
        used = _resources(compiled[0].asm["cubin"], triton.knobs.nvidia.cuobjdump.path)
        return Compiled(
            kernel.__name__, dtype, capability, channels, mixed, used["REG"], used["STACK"] + used["LOCAL"],
            used["SHARED"], compiled[0].asm["ptx"],
        )  # fmt: skip

    return [
        found(fused._messages, lambda: fused.fused_messages(terms, rows, strengths, frames, source, target, 2)),
        found(fused._gradients, lambda: fused.fused_gradients(terms, rows, strengths, frames, source, target, rows)),
    ]


def _resources(binary: bytes, cuobjdump: str) -> dict[str, int]:
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(binary)
        file.flush()
        command = [cuobjdump, "-res-usage", file.name]
        text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return {name: int(value) for name, value in re.findall(r"(\w+):(\d+)", text)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--capability", type=int, nargs="+", default=[80, 90])
    parser.add_argument("--channels", type=int, nargs="+", default=[32, 64, 96])
    arguments = parser.parse_args()
    rows = []
    for capability in arguments.capability:
        for channels in arguments.channels:
            for dtype in (torch.float32, torch.float64):
                for mixed in (True, False):
                    for one in compile_kernels(dtype, capability, channels, mixed):
                        counts = [len(re.findall(pattern, one.ptx)) for pattern in (r"\bld\.global", r"\bst\.global")]
                        numbers = [one.registers, one.stack, one.shared, *counts]
                        names = [one.name[1:], f"sm_{capability}", str(dtype)[6:], str(channels), str(mixed)]
                        rows.append(names + [str(number) for number in numbers])
    header = ["kernel", "device", "numbers", "channels", "mixed", "registers", "stack", "shared", "loads", "stores"]
    table(header, rows)


if __name__ == "__main__":
    main()
