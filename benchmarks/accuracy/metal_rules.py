"""How well the composition rules of `voigt.structures.domain` tell metals: against calculated PBE gaps.

    VOIGT_DATA=... python -m benchmarks.accuracy.metal_rules [--crystals 5000]
"""

from __future__ import annotations

import argparse
import os
import random
from pathlib import Path

from voigt.data import read_parquet
from voigt.structures.domain import metal_reason
from voigt.structures.symmetry import find_symmetry


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default=os.environ.get("VOIGT_DATA", "."))
    parser.add_argument("--crystals", type=int, default=5000)
    options = parser.parse_args()
    frames = [
        frame.atoms
        for frame in read_parquet(Path(options.data) / "scalars" / "mp_scalars.parquet")
        if frame.atoms is not None and "band_gap" in frame.atoms.info
    ]
    chosen = random.Random(0).sample(frames, options.crystals)
    counts = {(flag, metal): 0 for flag in (True, False) for metal in (True, False)}
    for atoms in chosen:
        counts[metal_reason(atoms, find_symmetry(atoms)) is not None, atoms.info["band_gap"] == 0.0] += 1
    flagged, metals = counts[True, True] + counts[True, False], counts[True, True] + counts[False, True]
    print(f"{options.crystals} crystals, {metals} without a gap")
    print(f"flagged: {flagged}; of these without a gap: {100 * counts[True, True] / flagged:.1f} %")
    print(f"of the crystals without a gap, flagged: {100 * counts[True, True] / metals:.1f} %")


if __name__ == "__main__":
    main()
