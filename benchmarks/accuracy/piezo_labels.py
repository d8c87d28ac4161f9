"""What the piezoelectric labels allow: trivial predictions, signs of zincblende crystals, errors up to the sign.

    VOIGT_DATA=... python -m benchmarks.accuracy.piezo_labels [--model runs/total/total.safetensors] [--split test]

The axes of the labels follow a convention (IEEE) that leaves the sign of e14 open in classes such as -43m: a quarter
turn about a cubic axis maps the axes onto equally good ones and reverses the tensor. Measured signs, with the positive
[111] axis from cation to anion, are negative for GaAs, GaP, GaSb, AlSb, InSb and positive for ZnS, ZnSe, ZnTe, CdTe
(Arlt and Quadflieg, Phys. Status Solidi 25, 323 (1968); Berlincourt, Jaffe, Shiozawa, Phys. Rev. 129, 1009 (1963)).
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import numpy as np
import torch
from ase import Atoms

from voigt.data import LabeledCrystal, read_labeled
from voigt.evaluation.metrics import norms
from voigt.evaluation.run import evaluate_model
from voigt.graphs.neighbors import neighbor_list
from voigt.models.checkpoint import load_model

PROPERTY = "piezo_total"
MEASURED = {"GaAs": -1, "GaP": -1, "GaSb": -1, "AlSb": -1, "InSb": -1, "ZnS": 1, "ZnSe": 1, "ZnTe": 1, "CdTe": 1}
# Electropositive partners first: which atom of a pair is the cation.
CATIONS = ("Ag", "Mg", "Be", "Mn", "Zn", "Cd", "Al", "Ga", "In", "B", "Si")


def e14(crystal: LabeledCrystal, cation: int) -> float:
    """e14 with +[111] from cation to anion, whatever the axes: mean of e(b, b, b) over the four bonds b."""
    pairs = neighbor_list(crystal.atoms, 4.0)
    mine = (pairs.target == cation) & (pairs.source != cation)
    bonds = pairs.vector[mine][pairs.distance[mine] < 1.05 * pairs.distance[mine].min()]
    unit = bonds / np.linalg.norm(bonds, axis=1)[:, None]
    longitudinal = np.einsum("ijk,ni,nj,nk->n", crystal.targets[PROPERTY], unit, unit, unit)
    return float(longitudinal.mean() * np.sqrt(3.0) / 2.0)  # e(n, n, n) = 6 e14 / 3^1.5 along [111]


def cation_of(atoms: Atoms) -> int | None:
    """Index of the cation of a two-atom cell, None if the list does not tell."""
    symbols = atoms.get_chemical_symbols()
    places = [CATIONS.index(symbol) if symbol in CATIONS else None for symbol in symbols]
    known = [place for place in places if place is not None]
    return places.index(min(known)) if known else None


def sign_table(crystals: list[LabeledCrystal]) -> str:
    """Zincblende crystals of the file, their e14 and the measured sign."""
    lines = ["| crystal | e14 of the label, C/m^2 | measured sign |", "|---|--:|---|"]
    for crystal in crystals:
        cation = cation_of(crystal.atoms)
        if str(crystal.atoms.info["spacegroup"]) not in ("216", "F-43m") or len(crystal.atoms) != 2 or cation is None:
            continue
        symbols = crystal.atoms.get_chemical_symbols()
        formula = symbols[cation] + symbols[1 - cation]
        sign = {1: "+", -1: "-", None: ""}[MEASURED.get(formula)]
        lines.append(f"| {formula} | {e14(crystal, cation):+.3f} | {sign} |")
    return "\n".join(lines)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default=os.environ.get("VOIGT_DATA", "."), help="folder that holds tensors/")
    parser.add_argument("--model", default=None, help="file of a network for piezo_total; none: labels only")
    parser.add_argument("--split", default="test")
    options = parser.parse_args()
    torch.set_num_threads(1)
    path = Path(options.data) / "tensors" / "piezo.extxyz"
    crystals = read_labeled(path, [PROPERTY])
    label = np.stack([c.targets[PROPERTY] for c in crystals if c.split == options.split])
    mean = np.mean([c.targets[PROPERTY] for c in crystals if c.split == "train"], axis=0)
    print(f"{len(label)} crystals in {options.split}; mean Frobenius norm of the error, C/m^2")
    print(f"  zero tensor          {norms(label).mean():.4f}")
    print(f"  mean training tensor {norms(label - mean).mean():.4f}\n")
    print(sign_table(crystals) + "\n")
    if options.model is None:
        return
    scored = [s for s in evaluate_model(load_model(options.model), [path], options.split).scored if s.predicted]
    predicted = np.stack([s.predicted[PROPERTY] for s in scored])
    label = np.stack([s.labels[PROPERTY] for s in scored])
    same, reversed_, size = norms(predicted - label), norms(predicted + label), norms(label)
    either = np.minimum(same, reversed_)
    print("| | as labeled | up to the sign |\n|---|--:|--:|")
    print(f"| mean Frobenius norm | {same.mean():.4f} | {either.mean():.4f} |")
    for x in (25, 10, 5):
        within = [100 * (error / size < x / 100).mean() for error in (same, either)]
        print(f"| EwT {x} % | {within[0]:.1f} | {within[1]:.1f} |")
    print(f"\nshare of crystals whose sign is that of the label: {100 * (same < reversed_).mean():.0f} %")


if __name__ == "__main__":
    main()
