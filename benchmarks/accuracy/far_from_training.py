"""What the note far_from_training is worth: errors of the crystals that get it, and whether broken crystals do.

    VOIGT_DATA=... python -m benchmarks.accuracy.far_from_training [NAME|FILE ...] [--crystals 700] [--broken 60]

For each model: the share of test crystals with the note, and mean and median relative error of its properties for these
and for all; then the share of flagged crystals among those that are spoiled on purpose: compressed to 70 % of every
length, half and twice the volume, atoms in random places, one atom in a large box, one bond shortened to 70 %, atoms
shaken by 0.3 Angstrom.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator, Sequence
from typing import Any

import ase
import numpy as np

from voigt.evaluation.finishing import drawn, training_data
from voigt.graphs.neighbors import neighbor_list
from voigt.models.checkpoint import LoadedModel, load_model
from voigt.prediction import Prediction, Settings, predict_structures
from voigt.structures import InputStructure
from voigt.structures.checks import problems

KIND = "far_from_training"
TRIES = 50


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=["born", "elastic"])
    parser.add_argument("--data", default=os.environ.get("VOIGT_DATA", "."))
    parser.add_argument("--crystals", type=int, default=700)
    parser.add_argument("--broken", type=int, default=60)
    options = parser.parse_args()
    for name in options.models:
        model = load_model(name)
        crystals = drawn(model, training_data(model.card, options.data), "test", options.crystals)
        print(name)
        errors_of_flagged(model, crystals)
        chosen = np.random.default_rng(0).choice(len(crystals), min(options.broken, len(crystals)), replace=False)
        flagged_of_broken(model, [crystals[i].atoms for i in chosen])


def errors_of_flagged(model: LoadedModel, crystals: Sequence[Any]) -> None:
    """Table of errors."""
    flags, errors = [], []
    for functional in dict.fromkeys(crystal.functional for crystal in crystals):
        own = [crystal for crystal in crystals if crystal.functional == functional]
        settings = Settings(functional=functional if functional in model.hypers.functionals else None)
        inputs = [InputStructure("data", k, crystal.id, bare(crystal.atoms)) for k, crystal in enumerate(own)]
        for crystal, result in zip(own, predict_structures(inputs, model, settings), strict=True):
            if isinstance(result, Prediction):
                flags.append(KIND in {note.kind for note in result.notes})
                errors.append([error(result, crystal, name) for name in model.hypers.properties])
    flagged, table = np.array(flags), np.array(errors)
    print(f"  {len(flags)} test crystals, {flagged.sum()} flagged ({100 * flagged.mean():.1f} %)")
    for name, column in zip(model.hypers.properties, table.T, strict=True):
        if flagged.any():
            part = column[flagged]
            print(f"  {name}: relative error of flagged {np.nanmean(part):.3f}, median {np.nanmedian(part):.3f}; "
                  f"of all {np.nanmean(column):.3f}, median {np.nanmedian(column):.3f}")


def error(result: Prediction, crystal: Any, name: str) -> float:
    """Norm of the error over that of the label; NaN without one."""
    label = crystal.targets.get(name)
    if label is None:
        return float("nan")
    label = np.reshape(np.asarray(label, dtype=np.float64), result.values[name].shape)
    return float(np.linalg.norm(result.values[name] - label) / max(float(np.linalg.norm(label)), 1e-6))


def flagged_of_broken(model: LoadedModel, crystals: Sequence[ase.Atoms]) -> None:
    """Share of spoiled crystals that are refused or get the note, or that on vacuum."""
    rng = np.random.default_rng(0)
    counts: dict[str, list[int]] = {}
    for atoms in crystals:
        for name, spoiled in broken(bare(atoms), rng):
            if problems(spoiled):
                continue  # refused before any model sees it
            (result,) = predict_structures([InputStructure("data", 0, name, spoiled)], model, Settings())
            kinds = {note.kind for note in result.notes} if isinstance(result, Prediction) else {KIND}
            counts.setdefault(name, []).append(bool(kinds & {KIND, "vacuum"}))
    for name, entries in counts.items():
        print(f"  {name}: {100 * np.mean(entries):.0f} % of {len(entries)}")


def broken(atoms: ase.Atoms, rng: np.random.Generator) -> Iterator[tuple[str, ase.Atoms]]:
    """Crystals spoiled in each way."""
    for name, factor in (("lengths x 0.7", 0.7), ("volume x 0.5", 0.5 ** (1 / 3)), ("volume x 2", 2 ** (1 / 3))):
        other = atoms.copy()
        other.set_cell(atoms.cell * factor, scale_atoms=True)
        yield name, other
    gas = atoms.copy()
    for _ in range(TRIES):
        gas.set_scaled_positions(rng.random((len(atoms), 3)))
        if not problems(gas):
            break
    yield "random places", gas
    yield "one atom in a box of 12 Angstrom", ase.Atoms([int(atoms.numbers[0])], cell=[12.0] * 3, pbc=True)
    short, pairs = atoms.copy(), neighbor_list(atoms, 5.0)
    if len(pairs.distance):
        nearest = int(np.argmin(pairs.distance))
        short.positions[pairs.target[nearest]] += 0.3 * pairs.vector[nearest]
        yield "one bond x 0.7", short
    shaken = atoms.copy()
    shaken.positions += rng.normal(scale=0.3, size=(len(atoms), 3))
    yield "shaken by 0.3 Angstrom", shaken


def bare(atoms: ase.Atoms) -> ase.Atoms:
    """The crystal alone."""
    return ase.Atoms(atoms.numbers, positions=atoms.positions, cell=atoms.cell, pbc=True)


if __name__ == "__main__":
    main()
