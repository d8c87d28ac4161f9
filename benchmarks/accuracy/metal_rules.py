"""How well metals are told: by the gap model, as predictions do it, and by the rules of composition.

    VOIGT_DATA=... python -m benchmarks.accuracy.metal_rules [--crystals 4000]

A metal is a crystal whose calculated PBE gap is zero. The limit is chosen on the validation crystals of the model that
ships for band gaps; the crystals of the official fold 0, which this model has not seen, are the test. Then the false
alarms among the insulators that the models of charges and permittivities are tested on.
"""

from __future__ import annotations

import argparse
import os
import random
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ase
import numpy as np
from numpy.typing import NDArray

from voigt.data import read_labeled
from voigt.evaluation.run import crystal_parts
from voigt.models.checkpoint import LoadedModel, load_model
from voigt.prediction import Prediction, Settings, predict_structures
from voigt.prediction.plan import gap_model
from voigt.structures import InputStructure
from voigt.structures.domain import metal_reason

LIMITS = (0.0, 0.05, 0.1, 0.2, 0.3, 0.5)
Flags = NDArray[np.bool_]


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default=os.environ.get("VOIGT_DATA", "."))
    parser.add_argument("--crystals", type=int, default=4000)
    options = parser.parse_args()
    root = Path(options.data)
    name = gap_model()
    if name is None:
        raise SystemExit("no model that ships predicts band gaps")
    model = load_model(name)
    path = root / "scalars" / "mp_scalars.parquet"
    labeled = read_labeled(path, ("band_gap",), None, "PBE")
    parts = crystal_parts(path, labeled, model.card)
    for part in ("val", "test"):
        indices = [i for i in parts[part] if "band_gap" in labeled[i].targets]
        chosen = [labeled[i] for i in random.Random(0).sample(indices, min(options.crystals, len(indices)))]
        gaps, rules, places = judged([crystal.atoms for crystal in chosen], model)
        metals = np.array([float(crystal.targets["band_gap"]) == 0.0 for crystal in chosen])[places]
        print(f"{part}: {len(places)} of {len(chosen)} crystals, {metals.sum()} without a gap")
        report("rules of composition", rules, metals)
        for limit in LIMITS if part == "val" else LIMITS[:1]:
            report(f"predicted gap up to {limit:g} eV", gaps <= limit, metals)
        report("no predicted gap, or a rule", (gaps <= 0.0) | rules, metals)
    for file in ("born/phonondb.extxyz", "born/mp.extxyz"):
        crystals = read_labeled(root / file, ("eps_inf",), "trusted")
        gaps, rules, _ = judged([crystal.atoms for crystal in crystals if crystal.split == "test"], model)
        print(f"{file}, {len(gaps)} insulators of the test part: called metals by the gap model "
              f"{100 * np.mean(gaps <= 0.0):.1f} %, by the rules {100 * np.mean(rules):.1f} %")


def judged(crystals: Sequence[ase.Atoms], model: LoadedModel) -> tuple[NDArray[np.float64], Flags, list[int]]:
    """Predicted gap and whether a rule calls it a metal, for the crystals that can be predicted, and their places."""
    inputs = [InputStructure("data", k, str(k), bare(atoms)) for k, atoms in enumerate(crystals)]
    start = time.perf_counter()
    results = list(predict_structures(inputs, model, Settings(properties=("band_gap",), check_domain=False)))
    seconds = time.perf_counter() - start
    places = [k for k, result in enumerate(results) if isinstance(result, Prediction)]
    found = [result for result in results if isinstance(result, Prediction)]
    print(f"{1e3 * seconds / max(len(found), 1):.1f} ms per crystal with symmetry and graph")
    gaps = np.array([float(result.values["band_gap"]) for result in found])
    rules = np.array([metal_reason(result.atoms, result.symmetry) is not None for result in found])
    return gaps, rules, places


def bare(atoms: ase.Atoms) -> ase.Atoms:
    """The crystal alone."""
    return ase.Atoms(atoms.numbers, positions=atoms.positions, cell=atoms.cell, pbc=True)


def report(name: str, flags: Flags, metals: Flags) -> None:
    """Precision and recall, and the share of insulators that are called metals."""
    right: Any = (flags & metals).sum()
    precision, recall = right / flags.sum(), right / metals.sum()
    false = (flags & ~metals).sum() / (~metals).sum()
    f1 = 2 * precision * recall / (precision + recall)
    print(f"  {name:28s} precision {100 * precision:.1f} %, recall {100 * recall:.1f} %, F1 {100 * f1:.1f} %, "
          f"false alarms {100 * false:.1f} % of the crystals with a gap")


if __name__ == "__main__":
    main()
