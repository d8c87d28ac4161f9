"""Has eps_inf learned derivatives? Fluctuations of the predicted eps_inf along molecular dynamics against DFPT's.

    VOIGT_DATA=... python -m benchmarks.accuracy.eps_fluctuations [--model born] [--frames 60]

Raman intensities are squares of d eps_inf / dQ. For every trajectory, frames are drawn evenly; the mean over them is
taken away from each of the six components, and what is left is compared: correlation, slope of the predicted against
the calculated fluctuations, and the ratio of their standard deviations. The mean error says how far the average tensor
is off. Prints Markdown.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import ase.io
import numpy as np
import torch

from voigt.api import Settings, load_model
from voigt.prediction.result import Prediction
from voigt.prediction.stream import predict_structures
from voigt.structures import InputStructure

TRAJECTORIES = ("sio2_md", "zro2_md", "batio3_md")
_UPPER = np.triu_indices(3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="born")
    parser.add_argument("--functional")
    parser.add_argument("--frames", type=int, default=60)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    model = load_model(arguments.model)
    print("| trajectory | atoms | frames | correlation | slope | ratio of deviations | mean calculated | predicted |")
    print("|---|--:|--:|--:|--:|--:|--:|--:|")
    for name in TRAJECTORIES:
        frames = ase.io.read(Path(os.environ["VOIGT_DATA"]) / "born" / f"{name}.extxyz", ":")
        labeled = [frame for frame in frames if "eps_inf" in frame.info]
        if not labeled:
            print(f"| {name} | | 0 | | | | | |")
            continue
        chosen = [labeled[k] for k in np.linspace(0, len(labeled) - 1, arguments.frames).astype(int)]
        settings = Settings(
            properties=("eps_inf",), functional=arguments.functional, symmetrize=False, check_domain=False
        )
        structures = [InputStructure(name, k, str(k), frame) for k, frame in enumerate(chosen)]
        found = [entry for entry in predict_structures(structures, model, settings) if isinstance(entry, Prediction)]
        predicted = np.array([entry.values["eps_inf"] for entry in found])[:, *_UPPER]
        label = np.array([np.reshape(chosen[int(entry.id)].info["eps_inf"], (3, 3)) for entry in found])[:, *_UPPER]
        ours, theirs = (values - values.mean(axis=0) for values in (predicted, label))
        correlation = float((ours * theirs).sum() / np.sqrt((ours**2).sum() * (theirs**2).sum()))
        slope = float((ours * theirs).sum() / (theirs**2).sum())
        ratio = float(np.sqrt((ours**2).sum() / (theirs**2).sum()))
        means = label[:, [0, 3, 5]].mean(), predicted[:, [0, 3, 5]].mean()
        print(
            f"| {name} | {len(chosen[0])} | {len(found)} | {correlation:.3f} | {slope:.2f} | {ratio:.2f} "
            f"| {means[0]:.3f} | {means[1]:.3f} |"
        )


if __name__ == "__main__":
    main()
