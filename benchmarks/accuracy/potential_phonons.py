"""Phonons at Gamma from the structure alone, against DFPT, for 30 crystals of phonondb.

    VOIGT_DATA=... python -m benchmarks.accuracy.potential_phonons [--relax positions] [--only NaCl HgS]

The reference is the project: force constants, Born charges and eps_inf of DFT. Beside it stand springs of a potential
in the cell of the project with the predicted charges, as `voigt respond` has them (force constants at Gamma take the
primitive cell alone), and DFT's force constants with the predicted charges. Frequencies are compared in order: optical
ones without the field (TO), and with it along each Cartesian axis that differs (LO and TO); and mode by mode, each with
the mode of DFT that moves the atoms in the same way. Infrared intensities are compared mode by mode, as part of the sum
of all: 0 if they agree, 2 if all of it is elsewhere. Prints Markdown.
"""

from __future__ import annotations

import argparse
import os
import warnings
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from voigt.errors import VoigtError
from voigt.response.phonons import ProjectSettings, calculated_project, gamma_phonons, read_project, unit_cell
from voigt.response.phonons.infrared_modes import Infrared
from voigt.response.phonons.nac import AXES, GammaPhonons, distinct
from voigt.response.phonons.project import Project
from voigt.response.phonons.tensors import ProjectTensors, project_tensors
from voigt.response.phonons.workflow import infrared_of
from voigt.response.potentials import DEFAULT, Relax

Array = NDArray[np.float64]


def modes(project: Project, tensors: ProjectTensors) -> tuple[GammaPhonons, Infrared]:
    """Phonons along the axes, and the infrared response."""
    if tensors.polar is None:
        raise SystemExit(f"{project.folder}: no NAC")
    return gamma_phonons(project.phonon, tensors.polar, AXES), infrared_of(project, tensors).response


def matched(found: Infrared, reference: Infrared) -> tuple[Array, Array, float]:
    """Frequencies of optical modes of DFT and of the modes that move the atoms most like them, and how far intensities
    are off: sum of their differences set by set over their sum."""
    sets = [entry for entry in reference.sets if entry.kind != "acoustic"]
    overlap = np.einsum("mia,nia->mn", reference.modes.eigenvectors, found.modes.eigenvectors) ** 2
    # A mode shares with all of a degenerate set, in which eigenvectors are arbitrary.
    rows = [member for entry in sets for member in entry.members]
    shares = np.concatenate([np.tile(overlap[list(e.members)].sum(axis=0), (len(e.members), 1)) for e in sets])
    columns = [member for entry in found.sets if entry.kind != "acoustic" for member in entry.members]
    places, chosen = linear_sum_assignment(-shares[:, columns])
    twins = np.array(columns)[chosen[np.argsort(places)]]
    theirs, ours = (np.square(one.charges).sum(axis=1) for one in (reference, found))
    wrong, start = 0.0, 0
    for entry in sets:
        size = len(entry.members)
        wrong += abs(float(ours[twins[start : start + size]].sum() - theirs[list(entry.members)].sum()))
        start += size
    return reference.modes.frequencies[rows], found.modes.frequencies[twins], wrong / float(theirs[rows].sum())


def compared(found: GammaPhonons, reference: GammaPhonons) -> tuple[Array, Array]:
    """Differences in THz: of optical modes without the field, and with it along the axes that the reference tells."""
    theirs = reference.modes.frequencies[~reference.rigid]
    ours = found.modes.frequencies[~found.rigid]
    along = []
    for entry, _ in distinct(reference):
        twin = next(one for one in found.along if one.name == entry.name)
        along.append(np.sort(twin.frequencies)[3:] - np.sort(entry.frequencies)[3:])
    return np.sort(ours) - np.sort(theirs), np.concatenate(along) if along else np.empty(0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--potential", default=DEFAULT)
    parser.add_argument("--relax", default="positions", choices=("none", "positions"))
    parser.add_argument("--only", nargs="*", default=())
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    relax: Relax = arguments.relax
    home = Path(os.environ["VOIGT_DATA"]) / "phonons"
    names = ("TO", "with NAC", "eps", "eps, DFT springs", "TO by mode", "intensities", "intensities, DFT springs")
    sums: dict[str, list[Array]] = {name: [] for name in names}
    print(
        "| crystal | TO, mean absolute | bias | by mode | with NAC, mean absolute | intensities | eps_0 DFPT | ours | "
        "DFT springs | remark |"
    )
    print("|---|--:|--:|--:|--:|--:|--:|--:|--:|---|")
    for folder in sorted(path for path in home.iterdir() if path.is_dir()):
        if arguments.only and folder.name.split("_")[0] not in arguments.only:
            continue
        try:
            project = read_project(folder)
            settings = ProjectSettings(allow_metal=True, allow_unseen=True, functional="PBEsol")
            reference, eps = modes(project, project_tensors(project, ProjectSettings(tensors="project")))
            _, half = modes(project, project_tensors(project, settings))
            springs = calculated_project(
                unit_cell(project), folder.name, arguments.potential, dim=(1, 1, 1), relax=relax, symprec=1e-3
            )
            found, ours = modes(springs, project_tensors(springs, settings))
        except VoigtError as error:
            print(f"| {folder.name} | | | | | | | | | {error} |", flush=True)
            continue
        bare, polar = compared(found, reference)
        true, twin, misplaced = matched(ours, eps)
        relative = [float(np.linalg.norm(one.eps_0 - eps.eps_0) / np.linalg.norm(eps.eps_0)) for one in (ours, half)]
        values = (bare, polar, *np.array(relative)[:, None], twin - true)
        for name, entry in zip(names, (*values, np.array([misplaced]), np.array([matched(half, eps)[2]])), strict=True):
            sums[name].append(entry)
        means = " | ".join(f"{np.trace(one.eps_0) / 3:.2f}" for one in (eps, ours, half))
        soft = "imaginary modes" if len(found.imaginary) else ""
        by_mode, along = abs(twin - true).mean(), abs(polar).mean()
        errors = f"{abs(bare).mean():.3f} | {bare.mean():+.3f} | {by_mode:.3f} | {along:.3f}"
        print(f"| {folder.name} | {errors} | {misplaced:.3f} | {means} | {soft} |", flush=True)
    print()
    for name in ("TO", "TO by mode", "with NAC"):
        whole = np.concatenate(sums[name])
        by_crystal = [abs(values).mean() for values in sums[name] if len(values)]
        print(
            f"{name}: mean absolute error {abs(whole).mean():.3f} THz over {len(whole)} frequencies, bias "
            f"{whole.mean():+.3f}, median of crystals {np.median(by_crystal):.3f}"
        )
    for name in ("eps", "eps, DFT springs"):
        print(f"eps_0, relative error, {name}: median {np.median(np.concatenate(sums[name])):.3f}")
    for name in ("intensities", "intensities, DFT springs"):
        print(f"{name}: misplaced, median {np.median(np.concatenate(sums[name])):.3f}")


if __name__ == "__main__":
    main()
