"""Errors of bulk and shear modulus (Hill) that follow from predicted elastic tensors, beside the training means.

    VOIGT_DATA=... python -m benchmarks.accuracy.moduli_errors [--model elastic] [--split test]
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import numpy as np
import torch

from voigt.data import read_labeled
from voigt.evaluation.run import evaluate_model
from voigt.models.checkpoint import load_model
from voigt.response.elasticity import moduli


def hill(tensors: np.ndarray) -> np.ndarray:
    """(n, 3, 3, 3, 3) in GPa -> (n, 2): bulk and shear modulus."""
    found = moduli(tensors)
    return np.stack([found.bulk_hill, found.shear_hill], axis=1)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default=os.environ.get("VOIGT_DATA", "."), help="folder that holds tensors/")
    parser.add_argument("--model", default="elastic")
    parser.add_argument("--split", default="test")
    options = parser.parse_args()
    torch.set_num_threads(1)
    path = Path(options.data) / "tensors" / "elastic.extxyz"
    train = hill(np.stack([c.targets["elastic"] for c in read_labeled(path, ["elastic"]) if c.split == "train"]))
    scored = [s for s in evaluate_model(load_model(options.model), [path], options.split).scored if s.predicted]
    label = hill(np.stack([s.labels["elastic"] for s in scored]))
    predicted = hill(np.stack([s.predicted["elastic"] for s in scored]))
    print(f"{len(label)} crystals in {options.split}\n")
    print("| | MAE, GPa | of the training mean | within 10 % |\n|---|--:|--:|--:|")
    for k, name in enumerate(("bulk modulus K_H", "shear modulus G_H")):
        error = np.abs(predicted[:, k] - label[:, k])
        trivial = np.abs(train[:, k].mean() - label[:, k]).mean()
        print(f"| {name} | {error.mean():.2f} | {trivial:.2f} | {100 * (error < 0.1 * label[:, k]).mean():.1f} % |")


if __name__ == "__main__":
    main()
