"""What `voigt data audit` finds of mistakes made on purpose and of known traps, and what splits leak.

    VOIGT_DATA=... python -m benchmarks.accuracy.audit [--crystals 200] [--tables axes,splits]

Four tables, from the data of docs/data.md. The first takes tensors that obey the symmetry of their crystals, moves them
into other axes or another order of components, and audits the copy: how many that changed by more than a tenth are
reported, and how many `--fix` brings back to within a twentieth of what they were. pymatgen gives the axes of the IEEE
standard, so that the search is compared with another program. The second alters a sign, a unit or an order of indices
of all labels, which only the models that ship can tell. The third audits files as they are. The fourth splits
tensors/dielectric in several ways.
"""

from __future__ import annotations

import argparse
import os
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import ase
import numpy as np
import torch
from numpy.typing import NDArray

from voigt.audit.cleaning import repaired
from voigt.audit.conventions import check_conventions
from voigt.audit.frames import Frame, read_frame
from voigt.audit.hypotheses import ORDERS
from voigt.audit.model import check_models
from voigt.audit.orientations import orientations
from voigt.audit.run import audit_file
from voigt.data import LabeledCrystal, read_labeled
from voigt.data.reading import label_of
from voigt.data.splitting import SplitRequest, fingerprint, measure_leakage, split_labels
from voigt.data.tensor_symmetry import turned
from voigt.tensors.layout import flat
from voigt.tensors.properties import PROPERTIES, Property
from voigt.writers.markdown import table

Array = NDArray[np.float64]
Mistake = Callable[[Property, Array, ase.Atoms], Array]
SYMPREC = 1e-3


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default=os.environ.get("VOIGT_DATA", "."))
    parser.add_argument("--crystals", type=int, default=200, help="of each file, drawn with a fixed seed")
    parser.add_argument("--tables", default="axes,models,files,splits", help="which tables, with commas between them")
    options = parser.parse_args()
    torch.set_num_threads(1)
    root, start = Path(options.data), time.process_time()
    tables = {
        "axes": lambda: mistakes_of_axes(root, options.crystals),
        "models": lambda: mistakes_of_all(root),
        "files": lambda: traps(root),
        "splits": lambda: leakage(root),
    }
    for name in options.tables.split(","):
        print(tables[name]())
        print(f"\n({time.process_time() - start:.0f} s of CPU)\n")


def drawn(path: Path, name: str, count: int) -> list[Frame]:
    """Frames of a file that have a label, drawn at random."""
    crystals = read_labeled(path, (name,))
    labeled = [place for place, crystal in enumerate(crystals) if name in crystal.targets]
    chosen = np.random.default_rng(0).permutation(labeled)[:count]
    return [read_frame(int(place), _only(crystals[int(place)], name), SYMPREC)[0] for place in sorted(chosen)]


def _only(crystal: LabeledCrystal, name: str) -> LabeledCrystal:
    """The crystal without its other labels."""
    atoms = crystal.atoms.copy()
    for other in PROPERTIES:
        if other != name:
            atoms.info.pop(other, None)
            atoms.arrays.pop(other, None)
    return replace(crystal, atoms=atoms)


def with_label(frame: Frame, prop: Property, tensor: Array) -> Frame:
    """The frame with another label."""
    atoms = frame.crystal.atoms.copy()
    (atoms.arrays if prop.per == "atom" else atoms.info)[prop.name] = flat(prop, tensor)
    return replace(frame, crystal=replace(frame.crystal, atoms=atoms, targets={prop.name: tensor}))


def into_ieee(prop: Property, tensor: Array, atoms: ase.Atoms) -> Array:
    """In the axes of the IEEE standard as pymatgen has them."""
    from pymatgen.core import Structure
    from pymatgen.core.tensors import Tensor

    structure = Structure(atoms.cell.array, atoms.get_chemical_symbols(), atoms.get_scaled_positions())
    return turned(prop, tensor, np.array(Tensor.get_ieee_rotation(structure), dtype=np.float64)[None])[0]


def into_standard(prop: Property, tensor: Array, atoms: ase.Atoms) -> Array:
    """In the axes of the cell that spglib standardizes."""
    rotation = next(entry.rotation for entry in orientations(atoms) if entry.name == "standardized")
    return turned(prop, tensor, rotation.T[None])[0]


def into_vasp_order(prop: Property, tensor: Array, _: ase.Atoms) -> Array:
    """In the order in which VASP prints."""
    back = np.argsort(ORDERS["xx yy zz xy yz zx"])
    stored = prop.to_storage(tensor)[..., back]
    return prop.from_storage(stored[..., back, :] if prop.rank == 4 else stored)


MISTAKES: dict[str, Mistake] = {
    "none": lambda _, tensor, __: tensor,
    "IEEE axes (pymatgen)": into_ieee,
    "standardized axes (spglib)": into_standard,
    "order of VASP": into_vasp_order,
}


def mistakes_of_axes(root: Path, count: int) -> str:
    """The first table."""
    rows = []
    for file, name in (("piezo", "piezo_total"), ("elastic", "elastic"), ("dielectric", "eps_inf")):
        prop = PROPERTIES[name]
        frames = drawn(root / "tensors" / f"{file}.extxyz", name, count)
        predictions = {} if name == "piezo_total" else check_models(frames, SYMPREC)[1][name]
        for words, mistake in MISTAKES.items():
            if prop.storage == "cartesian" and "VASP" in words:
                continue
            made = {f.index: mistake(prop, f.crystal.targets[name], f.crystal.atoms) for f in frames}
            rows.append([name, words, "no", *_scored(prop, frames, made, {})])
            if predictions and "axes" in words:
                rows.append([name, words, "yes", *_scored(prop, frames, made, predictions)])
    head = ["label", "mistake", "models", "labels", "changed", "symmetry can tell", "reported", "mended", "verdict",
            "made worse by --fix"]  # fmt: skip
    return table(head, rows, "lll" + "r" * 5 + "lr")


def _scored(
    prop: Property, frames: Sequence[Frame], made: dict[int, Array], predictions: dict[int, Array]
) -> list[str]:
    """Counts for one mistake."""
    altered = [with_label(frame, prop, made[frame.index]) for frame in frames]
    findings, repairs, verdict = check_conventions(altered, prop, predictions)
    reported = {f.frame for f in findings if f.kind in ("wrong_frame", "wrong_order", "symmetry")}
    repair_of = {repair.frame: repair for repair in repairs}
    changed = told = mended = spoiled = 0
    for frame, wrong in zip(frames, altered, strict=True):
        truth, now = frame.crystal.targets[prop.name], wrong.crystal.targets[prop.name]
        repair = repair_of.get(frame.index)
        after = label_of(repaired(wrong.crystal.atoms, [repair] if repair else []), prop)
        error = np.inf if after is None else _apart(after, truth)
        if _apart(now, truth) > 0.1:
            changed += 1
            told += frame.index in reported
            mended += error < 0.05
        spoiled += error > max(0.05, _apart(now, truth) + 0.02)
    share = f"{verdict.name} ({verdict.mended} of {verdict.deciding})" if verdict.name else "–"
    of_told = f"{100 * told / changed:.0f} %" if changed else "–"
    of_all = f"{100 * mended / changed:.0f} %" if changed else "–"
    return [str(len(frames)), str(changed), of_told, str(len(reported)), of_all, share, str(spoiled)]


def _apart(first: Array, second: Array) -> float:
    return float(np.linalg.norm(first - second) / max(float(np.linalg.norm(second)), 1e-12))


def mistakes_of_all(root: Path) -> str:
    """The second table: what models tell."""
    cases: list[tuple[str, str, int, str, Callable[[Array], Array]]] = [
        ("born/phonondb.extxyz", "born_charges", 150, "none", lambda z: z),
        ("born/phonondb.extxyz", "born_charges", 150, "indices exchanged", lambda z: z.transpose(0, 2, 1)),
        ("born/phonondb.extxyz", "born_charges", 150, "sign reversed", lambda z: -z),
        ("tensors/elastic.extxyz", "elastic", 60, "none", lambda c: c),
        ("tensors/elastic.extxyz", "elastic", 60, "in kBar", lambda c: 10 * c),
        ("born/mp.extxyz", "piezo_clamped", 80, "none", lambda e: e),
        ("born/mp.extxyz", "piezo_clamped", 80, "sign reversed", lambda e: -e),
    ]
    rows = []
    for file, name, count, words, mistake in cases:
        prop = PROPERTIES[name]
        frames = [f for f in drawn(root / file, name, 10 * count) if np.any(f.crystal.targets[name])][:count]
        altered = [with_label(frame, prop, mistake(frame.crystal.targets[name])) for frame in frames]
        findings = check_models(altered, SYMPREC)[0]
        of_file = [f"{f.kind} ({f.value:.3g})" for f in findings if f.frame < 0 and f.kind != "not_compared"]
        outliers = sum(f.kind == "outlier" for f in findings)
        rows.append([name, words, str(len(frames)), ", ".join(of_file) or "–", str(outliers)])
    return table(["label", "mistake", "labels", "statement on the file (share or factor)", "outliers"], rows, "llrlr")


def traps(root: Path) -> str:
    """The third table: files as they are."""
    rows = []
    for file, models, limit in (
        ("born/phonondb.extxyz", False, None),
        ("born/mp.extxyz", False, None),
        ("born/batio3_md.extxyz", False, None),
        ("born/zro2_md.extxyz", False, None),
        ("tensors/dielectric.extxyz", False, 3000),
        ("tensors/piezo.extxyz", False, None),
        ("tensors/piezo_p4mm_signs.extxyz", True, None),
        ("scalars/mp_scalars.parquet", False, 2000),
    ):
        found = audit_file(root / file, models, SYMPREC, limit)
        counts = Counter((f.severity, f.kind) for f in found.findings)
        words = [f"{kind} {many}" for (_, kind), many in counts.items()]
        rows.append([file, str(len(found.frames)), ", ".join(words)])
    return table(["file", "frames", "findings, errors and warnings first"], rows, "lrl")


def leakage(root: Path) -> str:
    """The fourth table: the test part against the training part."""
    crystals = read_labeled(root / "tensors" / "dielectric.extxyz", ())
    prints = [fingerprint(crystal.atoms) for crystal in crystals]
    rows = []
    for method in ("random", "formula", "composition", "prototype"):
        start = time.process_time()
        labels = split_labels(crystals, SplitRequest(method))
        seconds = time.process_time() - start
        found = measure_leakage(crystals, labels, prints)[-1]
        sizes = Counter(labels)
        rows.append([
            method, f"{sizes['train']}/{sizes['val']}/{sizes['test']}",
            *(f"{100 * np.mean(values):.1f} %" for values in (
                found.formulas, found.structure <= 0.02, np.isfinite(found.duplicate))),
            *(f"{np.quantile(found.composition, q):.3f}" for q in (0.1, 0.5)),
            *(f"{np.quantile(found.structure, q):.3f}" for q in (0.1, 0.5)),
            f"{seconds:.1f}",
        ])  # fmt: skip
    head = ["split by", "train/val/test", "formula in train", "geometry in train", "near duplicate in train",
            "composition, 10 %", "median", "structure (Å), 10 %", "median", "CPU s"]  # fmt: skip
    return table(head, rows)


if __name__ == "__main__":
    main()
