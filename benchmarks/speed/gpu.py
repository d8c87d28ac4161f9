"""Speed on a CUDA device: networks against e3nn and other kernels, training steps, models end to end, and the floor.

    [VOIGT_DATA=...] python -m benchmarks.speed.gpu [-o FOLDER] [--only presets,profile] [--quick --device cpu]

Prints Markdown tables in at most --seconds (330): each section has a time limit, and one that fails or takes too long
prints why and leaves the rest to the others. -o also writes gpu.json. Times are of the wall clock between
synchronizations, medians of rounds in which candidates run in turn. Without VOIGT_DATA the crystals are variations of
the examples. cuequivariance-torch (with its kernels) and openequivariance are compared where they are installed.
--quick shrinks everything and runs on a CPU too: a test that it runs, which measures nothing.
"""

from __future__ import annotations

import argparse
import os
import platform
import warnings
from contextlib import suppress
from functools import partial
from importlib import metadata
from pathlib import Path

import torch
from benchmarks.tools.gpu.measuring import Section, run_sections
from benchmarks.tools.gpu.networks import against_e3nn, other_kernels, presets
from benchmarks.tools.gpu.predictions import agreement, end_to_end, ensembles, memory
from benchmarks.tools.gpu.profiles import profile
from benchmarks.tools.gpu.training import steps_of_methods

from voigt.models.devices import describe, find_device

SECONDS = 330.0


def sections(device: torch.device, quick: bool, crystals: int, compiled: bool) -> dict[str, tuple[float, Section]]:
    """All of them with their limits in seconds; what may break a device comes last."""
    return {
        "agreement": (40.0, partial(agreement, device, quick)),
        "presets": (120.0 if compiled else 40.0, partial(presets, device, quick, compiled)),
        "end to end": (90.0, partial(end_to_end, device, quick, crystals)),
        "ensembles": (40.0, partial(ensembles, device, quick)),
        "training": (60.0, partial(steps_of_methods, device, quick)),
        "e3nn": (80.0, partial(against_e3nn, device, quick)),
        "profile": (30.0, partial(profile, device, quick)),
        "memory": (30.0, partial(memory, device, quick)),
        "kernels": (100.0, partial(other_kernels, device, quick)),
    }


def versions() -> list[str]:
    """Of what is measured and compared, as far as it is installed."""
    found = []
    for name in ("torch", "triton", "e3nn", "cuequivariance-torch", "openequivariance"):
        with suppress(metadata.PackageNotFoundError):
            found.append(f"{name} {metadata.version(name)}")
    return found


def main(arguments: list[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--crystals", type=int, default=1000, help="of the section 'end to end'")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="for all sections together")
    parser.add_argument("--only", help="sections, separated by commas")
    parser.add_argument("--compile", action="store_true", help="presets with torch.compile too, a minute more")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("-o", "--output", type=Path, metavar="FOLDER")
    options = parser.parse_args(arguments)
    warnings.filterwarnings("ignore", category=UserWarning)
    device = find_device(options.device)
    chosen = sections(device, options.quick, 8 if options.quick else options.crystals, options.compile)
    if options.only is not None:
        unknown = set(options.only.split(",")) - set(chosen)
        if unknown:
            parser.error(f"no section {', '.join(sorted(unknown))}; there are {', '.join(chosen)}")
        chosen = {name: chosen[name] for name in chosen if name in options.only.split(",")}
    cores, precision = len(os.sched_getaffinity(0)), torch.get_float32_matmul_precision()
    machine = f"{describe(device)}, {cores} cores, Python {platform.python_version()}, {', '.join(versions())}"
    print(f"{machine}; float32, matrix products in '{precision}' precision.\n", flush=True)
    missing = run_sections(chosen, options.seconds, machine, options.output)
    print(
        "\n".join(["Not measured:", *(f"* {name}: {why}" for name, why in missing.items())]) if missing else "All ran."
    )


if __name__ == "__main__":
    main()
