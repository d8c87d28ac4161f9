"""LO-TO splitting with predicted Born charges and eps_inf, against DFPT, for 30 crystals of phonondb.

    VOIGT_DATA=... python -m benchmarks.accuracy.lo_to [--model born] [--only NaCl HgS]

Force constants are DFT's throughout; only the tensors of the non-analytical term change. Prints Markdown.

LO modes: those that the DFPT tensors move by more than 0.1 THz, along each Cartesian axis that gives other frequencies.
A mode of one calculation is compared with that of the same eigenvector in another. "Recovered" is 1 - |error| /
splitting, per mode, averaged over a crystal. Crystals with elements that the model was not trained on are predicted all
the same, marked, and summed up apart. For the worst crystals the error is taken to pieces: tensors are predicted one at
a time, the others being DFPT's.
"""

from __future__ import annotations

import argparse
import itertools
import os
import re
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import ase
import numpy as np
import torch
from ase.data import chemical_symbols

from voigt.api import Settings, load_model, predict
from voigt.models.checkpoint import LoadedModel
from voigt.prediction.plan import choose_models
from voigt.response.phonons.born_files import parameters_for, write_born
from voigt.response.phonons.infrared_modes import Infrared, infrared
from voigt.response.phonons.modes import GammaModes, gamma_modes, irreps
from voigt.response.phonons.nac import AXES, Along, distinct, gamma_phonons, match
from voigt.response.phonons.project import Project, read_project, unit_cell
from voigt.response.phonons.tensors import with_parameters

LEAST = 0.1
"""THz of splitting that makes a mode longitudinal."""
WANTED = ("born_charges", "eps_inf")
PREDICTED, NOMINAL, NONE = "predicted", "nominal charges", "no NAC"
WORST = 3
COMPONENTS = [a + b for a in "xyz" for b in "xyz"]

# Common oxidation states, the usual one first.
OXIDATION = {
    **dict.fromkeys(("Li", "Na", "K", "Rb", "Ag"), (1,)),
    **dict.fromkeys(("Be", "Mg", "Ca", "Zn", "Cd", "Hg"), (2,)),
    **dict.fromkeys(("Al", "Sc", "Ga", "La", "B"), (3,)),
    **dict.fromkeys(("F", "Cl", "Br", "I"), (-1,)),
    **dict.fromkeys(("O",), (-2,)),
    **{"Cu": (1, 2), "Ge": (4, 2), "Sn": (4, 2), "Pb": (2, 4), "Si": (4,), "C": (4,), "P": (5, 3, -3)},
    **{"S": (-2, 6, 4), "Se": (-2, 6, 4), "Te": (-2, 6, 4), "As": (-3, 5, 3)},
}

Parameters = dict[str, np.ndarray | float]


@dataclass(frozen=True)
class Outcome:
    """One crystal with one choice of tensors."""

    lo: np.ndarray
    """(L,) THz of the reference's LO modes here."""
    everything: np.ndarray
    """(K,) THz of all optical modes, sorted along each direction."""
    response: Infrared | None


@dataclass(frozen=True)
class Result:
    """One crystal with all choices; `reference` is DFPT."""

    name: str
    splitting: np.ndarray
    """(L,) THz."""
    along: np.ndarray
    """(L,) names of the directions."""
    reference: Outcome
    others: dict[str, Outcome]
    tensors: tuple[Parameters, Parameters]
    """DFPT, predicted."""
    symbols: list[str]
    """Elements of the primitive cell, atom by atom."""
    unseen: str
    """Elements that the model does not know."""

    @property
    def label(self) -> str:
        """Name with what to know of it."""
        return self.name + (f" ({self.unseen} unseen)" if self.unseen else "")

    def error(self, choice: str) -> float:
        """Mean absolute error of the LO frequencies, THz."""
        return float(abs(self.others[choice].lo - self.reference.lo).mean())

    def shifts(self, choice: str) -> str:
        """LO frequencies minus the reference's, THz, direction by direction."""
        differences = self.others[choice].lo - self.reference.lo
        rows = {name: [f"{d:+.3f}" for d in differences[self.along == name]] for name in dict.fromkeys(self.along)}
        return "; ".join(f"{name} {' '.join(words)}" for name, words in rows.items())

    def recovered(self, choice: str) -> float:
        """Part of the splitting."""
        return float((1 - abs(self.others[choice].lo - self.reference.lo) / abs(self.splitting)).mean())


def nominal_charges(atoms: ase.Atoms) -> dict[str, int]:
    """Oxidation states that balance; the most usual ones first."""
    symbols, counts = np.unique(atoms.get_chemical_symbols(), return_counts=True)
    choices = itertools.product(*(OXIDATION[symbol] for symbol in symbols))
    neutral = [states for states in choices if int(np.dot(states, counts)) == 0]
    ranks = [sum(OXIDATION[s].index(state) for s, state in zip(symbols, states, strict=True)) for states in neutral]
    if not neutral:
        raise SystemExit(f"no neutral oxidation states of {atoms.get_chemical_formula()}")
    return dict(zip(symbols.tolist(), neutral[int(np.argmin(ranks))], strict=True))


def mean_permittivity(path: Path) -> float:
    """Mean over the training crystals of the mean eigenvalue of eps_inf."""
    means = []
    with path.open(encoding="utf-8") as stream:
        for line in stream:
            if "Lattice=" not in line or not re.search(r"\bsplit=\"?train\b", line):
                continue
            if found := re.search(r"\beps_inf=\"([^\"]+)\"", line):
                means.append(np.trace(np.reshape([float(word) for word in found[1].split()], (3, 3))) / 3)
    print(f"Mean eps_inf of {len(means)} training crystals: {np.mean(means):.3f}.\n")
    return float(np.mean(means))


def outcome(
    project: Project, modes: GammaModes, axes: Sequence[Along], chosen: list[np.ndarray], parameters: Parameters
) -> Outcome:
    """LO modes of the reference (their numbers `chosen` along `axes`) with other tensors."""
    there = gamma_phonons(project.phonon, with_parameters(project, parameters), [along.direction for along in axes])
    lo, everything = [], []
    for reference, along, numbers in zip(axes, there.along, chosen, strict=True):
        lo.append(along.frequencies[match(reference.eigenvectors, along.eigenvectors)[0][numbers]])
        everything.append(np.sort(along.frequencies)[3:])
    response = infrared(modes, parameters["born"], parameters["dielectric"], irreps(project.phonon, modes))
    return Outcome(np.concatenate(lo), np.concatenate(everything), response)


def crystal(folder: Path, model: LoadedModel, settings: Settings, mean_eps: float) -> Result:
    """All choices for one crystal."""
    project = read_project(folder)
    atoms, phonon = unit_cell(project), project.phonon
    dfpt = project.own_nac
    if dfpt is None:
        raise SystemExit(f"{folder}: no BORN")
    (prediction,) = predict(atoms, model, settings)
    predicted = parameters_for(phonon, prediction.values["born_charges"], prediction.values["eps_inf"])
    states = nominal_charges(atoms)
    z = np.array([states[symbol] for symbol in atoms.get_chemical_symbols()])[:, None, None] * np.eye(3)
    nominal = parameters_for(phonon, z, mean_eps * np.eye(3))
    modes = gamma_modes(phonon)
    table = gamma_phonons(phonon, with_parameters(project, dfpt), AXES)
    axes = [along for along, _ in distinct(table)]
    moved = [np.flatnonzero(abs(table.splitting(along)) > LEAST) for along in axes]
    chosen = [along.partner[rows] for along, rows in zip(axes, moved, strict=True)]
    splitting = np.concatenate([table.splitting(along)[rows] for along, rows in zip(axes, moved, strict=True)])
    names = np.concatenate([[along.name] * len(rows) for along, rows in zip(axes, moved, strict=True)])
    transverse = np.concatenate([table.modes.frequencies[rows] for rows in moved])
    optical = np.concatenate([np.sort(table.modes.frequencies)[3:]] * len(axes))
    others = {
        PREDICTED: outcome(project, modes, axes, chosen, predicted),
        NOMINAL: outcome(project, modes, axes, chosen, nominal),
        NONE: Outcome(transverse, optical, None),
        "Z": outcome(project, modes, axes, chosen, {**dfpt, "born": predicted["born"]}),
        "eps_inf": outcome(project, modes, axes, chosen, {**dfpt, "dielectric": predicted["dielectric"]}),
    }
    symbols = list(phonon.primitive.symbols)
    if len(states) > 2:
        for element in states:
            born = one_element(dfpt["born"], predicted["born"], symbols, element, phonon.primitive.masses)
            others[f"Z of {element}"] = outcome(project, modes, axes, chosen, {**dfpt, "born": born})
    reference = outcome(project, modes, axes, chosen, dfpt)
    known = {chemical_symbols[number] for number in model.card.elements}
    unseen = " ".join(sorted(set(states) - known))
    return Result(folder.name, splitting, names, reference, others, (dfpt, predicted), symbols, unseen)


def one_element(
    dfpt: np.ndarray, predicted: np.ndarray, symbols: Sequence[str], element: str, masses: np.ndarray
) -> np.ndarray:
    """Charges of DFPT with those of one element predicted.

    The surplus is shared out by mass, which adds nothing to the charge of an optical mode: its displacements, weighted
    with masses, sum to zero.
    """
    mixed = np.where((np.array(symbols) == element)[:, None, None], predicted, dfpt)
    return mixed - (masses / masses.sum())[:, None, None] * mixed.sum(axis=0)


def print_crystals(results: Sequence[Result]) -> None:
    print("## By crystal\n")
    print("LO modes: number; largest splitting (THz); MAE of LO frequencies (THz); part of the splitting recovered.\n")
    print(
        "| crystal | LO modes | largest | predicted | nominal | no NAC | recovered | nominal | eps_inf DFPT/predicted |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for result in sorted(results, key=lambda entry: entry.error(PREDICTED)):
        errors = " | ".join(f"{result.error(choice):.3f}" for choice in (PREDICTED, NOMINAL, NONE))
        parts = " | ".join(f"{100 * result.recovered(choice):.0f} %" for choice in (PREDICTED, NOMINAL))
        eps = " / ".join(f"{np.trace(parameters['dielectric']) / 3:.2f}" for parameters in result.tensors)
        largest = abs(result.splitting).max()
        print(f"| {result.label} | {len(result.splitting)} | {largest:.2f} | {errors} | {parts} | {eps} |")


def print_summary(results: Sequence[Result], what: str) -> None:
    print(f"\n## Summary: {what} ({len(results)} crystals)\n")
    print(
        "| | LO MAE, mean over crystals | median | over modes | all optical modes | recovered, mean over crystals |"
        " of all splitting |"
    )
    print("|---|---|---|---|---|---|---|")
    total = sum(abs(result.splitting).sum() for result in results)
    for choice in (PREDICTED, NOMINAL, NONE):
        differences = np.concatenate([abs(r.others[choice].lo - r.reference.lo) for r in results])
        every = np.concatenate([abs(r.others[choice].everything - r.reference.everything) for r in results])
        errors = [result.error(choice) for result in results]
        parts = np.mean([result.recovered(choice) for result in results])
        print(
            f"| {choice} | {np.mean(errors):.3f} THz | {np.median(errors):.3f} | {differences.mean():.3f} | "
            f"{every.mean():.3f} | {100 * parts:.1f} % | {100 * (1 - differences.sum() / total):.1f} % |"
        )
    print(
        f"\n{sum(len(r.splitting) for r in results)} LO modes, mean splitting "
        f"{total / sum(len(r.splitting) for r in results):.3f} THz. "
        f"No NAC recovers nothing by definition."
    )


def intensity_error(ours: Infrared, reference: Infrared) -> float:
    """Sum over modes of |I - I_DFPT| relative to the sum of I_DFPT."""
    mine, theirs = (np.array([e.intensity for e in x.sets if e.kind == "optical"]) for x in (ours, reference))
    return float(abs(mine - theirs).sum() / theirs.sum())


def print_response(results: Sequence[Result], what: str) -> None:
    print(f"\n## Ionic permittivity and infrared intensities: {what} ({len(results)} crystals)\n")
    print("eps_ionic: mean of the diagonal, error relative to DFPT, crystals without soft modes; intensities: sum over")
    print("modes of |I - I_DFPT| relative to the sum of I_DFPT.\n")
    print("| | eps_ionic, mean relative error | median | eps_0, mean relative error | intensities, mean | median |")
    print("|---|---|---|---|---|---|")
    for choice in (PREDICTED, NOMINAL):
        pairs = [(r.others[choice].response, r.reference.response) for r in results]
        sound = [(a, b) for a, b in pairs if a is not None and b is not None and not b.excluded]
        ionic = [abs(np.trace(a.eps_ionic) / np.trace(b.eps_ionic) - 1) for a, b in sound]
        static = [abs(np.trace(a.eps_0) / np.trace(b.eps_0) - 1) for a, b in sound]
        intensity = [intensity_error(a, b) for a, b in sound]
        print(
            f"| {choice} | {100 * np.mean(ionic):.1f} % | {100 * np.median(ionic):.1f} % | "
            f"{100 * np.mean(static):.1f} % | {100 * np.mean(intensity):.1f} % | {100 * np.median(intensity):.1f} % |"
        )


def print_response_by_crystal(results: Sequence[Result]) -> None:
    print("\n## Ionic permittivity and infrared intensities by crystal\n")
    print("| crystal | eps_ionic DFPT | predicted | nominal | intensities, predicted off by | nominal off by |")
    print("|---|---|---|---|---|---|")
    for result in results:
        reference = result.reference.response
        ours, nominal = (result.others[choice].response for choice in (PREDICTED, NOMINAL))
        if reference is None or ours is None or nominal is None:
            continue
        means = " | ".join(f"{np.trace(entry.eps_ionic) / 3:.2f}" for entry in (reference, ours, nominal))
        off = " | ".join(f"{100 * intensity_error(entry, reference):.1f} %" for entry in (ours, nominal))
        soft = ", soft modes excluded" if reference.excluded else ""
        print(f"| {result.label}{soft} | {means} | {off} |")


def print_worst(results: Sequence[Result]) -> None:
    worst = sorted(results, key=lambda entry: -entry.error(PREDICTED))[:WORST]
    print(f"\n## The worst {WORST}\n")
    print("LO modes where the tensors of the second column are predicted and the others are DFPT's (THz).\n")
    print("| crystal | predicted | LO error | shift of each LO mode | splitting recovered |")
    print("|---|---|---|---|---|")
    for result in worst:
        for choice in (choice for choice in result.others if choice not in (NOMINAL, NONE)):
            name = "Z and eps_inf" if choice == PREDICTED else choice
            error, part = result.error(choice), 100 * result.recovered(choice)
            print(f"| {result.label} | {name} | {error:.3f} | {result.shifts(choice)} | {part:.0f} % |")
    print("\n| crystal | tensor | components | DFPT | predicted | difference |")
    print("|---|---|---|---|---|---|")
    for result in worst:
        dfpt, predicted = result.tensors
        rows = dict.fromkeys(
            (f"Z of {symbol}, e", *entry)
            for symbol, theirs, ours in zip(result.symbols, dfpt["born"], predicted["born"], strict=True)
            for entry in components(theirs, ours)
        )
        rows |= dict.fromkeys(("eps_inf", *entry) for entry in components(dfpt["dielectric"], predicted["dielectric"]))
        for name, where, theirs, ours in rows:
            part = 100 * (ours / theirs - 1)
            print(f"| {result.label} | {name} | {where} | {theirs:.2f} | {ours:.2f} | {part:+.0f} % |")


def components(theirs: np.ndarray, ours: np.ndarray) -> list[tuple[str, float, float]]:
    """Components of two tensors that are not zero, those of equal values together: names, of one, of the other."""
    groups: dict[tuple[float, float], list[str]] = {}
    pairs = zip(theirs.ravel().round(2).tolist(), ours.ravel().round(2).tolist(), strict=True)
    for name, pair in zip(COMPONENTS, pairs, strict=True):
        if any(pair):
            groups.setdefault(pair, []).append(name)
    return [(" ".join(names), *pair) for pair, names in groups.items()]


def print_speed(folder: Path, model: LoadedModel, settings: Settings) -> None:
    """From POSCAR to BORN in one process that has its model."""
    times = []
    with tempfile.TemporaryDirectory() as place:
        for _ in range(6):
            start = time.perf_counter(), time.process_time()
            (prediction,) = predict(folder / "POSCAR-unitcell", model, settings)
            write_born(prediction, Path(place) / "BORN")
            times.append((time.perf_counter() - start[0], time.process_time() - start[1]))
    wall, cpu = np.median(times[1:], axis=0)
    print(
        f"\n## Speed\n\nPOSCAR to BORN, {len(prediction.atoms)} atoms ({folder.name}), one thread, model loaded: "
        f"{1000 * wall:.0f} ms ({1000 * cpu:.0f} ms of CPU time), first call {1000 * times[0][0]:.0f} ms."
    )


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default=os.environ.get("VOIGT_DATA", "."))
    parser.add_argument("--model", default=None)
    parser.add_argument("--functional", default="PBEsol")
    parser.add_argument("--only", nargs="*", default=[], help="beginnings of names of folders")
    options = parser.parse_args()
    torch.set_num_threads(1)
    root = Path(options.data)
    settings = Settings(properties=WANTED, functional=options.functional, allow_unseen=True)
    model = (
        choose_models(options.model, settings).shares[0].model if options.model is None else load_model(options.model)
    )
    folders = sorted(path.parent for path in (root / "phonons").glob("*/FORCE_SETS"))
    folders = [f for f in folders if not options.only or f.name.startswith(tuple(options.only))]
    print(f"Model {model.name}, functional {options.functional}.\n")
    mean_eps = mean_permittivity(root / "born" / "phonondb.extxyz")
    results = [crystal(folder, model, settings, mean_eps) for folder in folders]
    known = [result for result in results if not result.unseen]
    print_crystals(results)
    print_summary(known, "elements that the model knows")
    if len(known) < len(results):
        print_summary(results, "all")
    print_response(known, "elements that the model knows")
    if len(known) < len(results):
        print_response(results, "all")
    print_response_by_crystal(results)
    print_worst(results)
    twenty = root / "phonons" / "CaCO3_mp-4626"
    print_speed(twenty, model, settings)


if __name__ == "__main__":
    main()
