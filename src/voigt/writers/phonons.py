"""Phonons at Gamma and bands as a table for the eye, as JSON and as CSV."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from voigt.errors import InputError
from voigt.files import atomic_write
from voigt.response.phonons.modes import WAVENUMBER
from voigt.response.phonons.nac import SPLIT, GammaPhonons, Segment, distinct

if TYPE_CHECKING:
    from phonopy import Phonopy

    from voigt.response.phonons.project import Project
    from voigt.response.phonons.workflow import PhononResult

MIXED = 0.5
"""Share of a mode in its partner below which the table says so."""
SUFFIXES = (".json", ".csv")


def heading(project: Project) -> list[str]:
    """What was read: formula, space group, sizes of cells, files."""
    phonon = project.phonon
    dataset: Any = phonon.primitive_symmetry.dataset
    group = f"{dataset.international} ({dataset.number})" if hasattr(dataset, "international") else "symmetry not used"
    count = len(phonon.primitive)
    cells = f"{count} atom{'' if count == 1 else 's'} in the primitive cell, {len(phonon.supercell)} in the supercell"
    return [f"{_formula(phonon)}  {group}  {cells}", f"read from {project.source}"]


def table(phonons: GammaPhonons) -> list[str]:
    """Lines of the table at Gamma: every mode without NAC and, along each distinct direction, with it."""
    modes, columns = phonons.modes, distinct(phonons)
    width = max([5, *(len(label) for label in phonons.labels if label)])
    places = "".join(f"  {'q || ' + ' = '.join(names):<27}" for _, names in columns)
    titles = "".join(f"  {'THz':>8} {'cm^-1':>8} {'LO-TO':>8} " for _ in columns)
    lines = [
        f"{'mode':>4}  {'irrep':{width}}  {'without NAC':<17}{places}".rstrip(),
        f"{'':4}  {'':{width}}  {'THz':>8} {'cm^-1':>8}{titles}".rstrip(),
    ]
    mixed = False
    for k, frequency in enumerate(modes.frequencies):
        name = phonons.labels[k] or "-"
        row = f"{k + 1:>4}  {name:{width}}  {_both_units(frequency)}"
        for along, _ in columns:
            shifted = float(along.frequencies[along.partner[k]])
            change = float(phonons.splitting(along)[k])
            words = "·" if abs(change) < SPLIT else f"{change:+.3f}"
            vague = along.overlap[k] < MIXED and abs(change) >= SPLIT
            mixed = mixed or vague
            row += f"  {_both_units(shifted)} {words:>8}{'~' if vague else ' '}"
        lines.append(row.rstrip())
    return [*lines, *_notes(phonons, mixed)]


def band_summary(segments: Sequence[Segment]) -> str:
    """One sentence: the path, and where the lowest frequency lies."""
    path = segments[0].labels[0]
    for before, segment in zip((None, *segments[:-1]), segments, strict=True):
        jump = before is not None and before.labels[1] != segment.labels[0]
        path += f"|{segment.labels[0]}-{segment.labels[1]}" if jump else f"-{segment.labels[1]}"
    lowest = min(segments, key=lambda segment: float(segment.frequencies.min()))
    highest = max(float(segment.frequencies.max()) for segment in segments)
    row = int(lowest.frequencies.min(axis=1).argmin())
    place = " ".join(f"{value:.3f}" for value in lowest.qpoints[row] + 0.0)
    return (
        f"bands along {path}: lowest {frequency_text(float(lowest.frequencies.min()), 3)} THz at q = ({place}) between "
        f"{lowest.labels[0]} and {lowest.labels[1]}, highest {highest:.3f} THz"
    )


def as_record(result: PhononResult) -> dict[str, Any]:
    """All results as numbers and text for JSON; THz, e, Angstrom, Cartesian axes of the unit cell."""
    project, phonons = result.project, result.phonons
    primitive = project.phonon.primitive
    parameters = None if result.polar is None else result.polar.nac_params
    return {
        "formula": _formula(project.phonon),
        "source": project.source,
        "nac": result.nac,
        "primitive_cell": rounded(primitive.cell),
        "scaled_positions": rounded(primitive.scaled_positions),
        "symbols": list(primitive.symbols),
        "masses": rounded(primitive.masses),
        "born_charges": None if parameters is None else rounded(parameters["born"]),
        "eps_inf": None if parameters is None else rounded(parameters["dielectric"]),
        "gamma": {
            "frequencies_THz": rounded(phonons.modes.frequencies),
            "eigenvectors": rounded(phonons.modes.eigenvectors),
            "irreps": list(phonons.labels),
            "acoustic": phonons.rigid.tolist(),
            "imaginary": (phonons.imaginary + 1).tolist(),
            "directions": [
                {
                    "direction": rounded(along.direction),
                    "frequencies_THz": rounded(along.frequencies),
                    "partner": (along.partner + 1).tolist(),
                    "splitting_THz": rounded(phonons.splitting(along)),
                    "overlap": rounded(along.overlap),
                }
                for along in phonons.along
            ],
        },
        "bands": None
        if result.bands is None
        else [
            {
                "from": segment.labels[0],
                "to": segment.labels[1],
                "qpoints": rounded(segment.qpoints),
                "distances": rounded(segment.distances),
                "frequencies_THz": rounded(segment.frequencies),
            }
            for segment in result.bands
        ],
    }


def check_suffix(path: Path) -> None:
    """InputError, before any work is done, for neither .json nor .csv."""
    if path.suffix.lower() not in SUFFIXES:
        raise InputError(f"{path}: write {' or '.join(SUFFIXES)}")


def write_record(record: dict[str, Any], path: Path) -> None:
    """Write JSON, or the modes at Gamma as CSV: one row for each mode and direction; InputError or OutputError."""
    check_suffix(path)
    with atomic_write(path) as stream:
        if path.suffix.lower() == ".json":
            json.dump(record, stream, indent=1)
            stream.write("\n")
        else:
            writer = csv.writer(stream, lineterminator="\n")
            writer.writerows(_rows(record["gamma"]))


def _rows(gamma: dict[str, Any]) -> list[list[Any]]:
    rows: list[list[Any]] = [
        ["mode", "irrep", "acoustic", "THz", "cm-1", "qx", "qy", "qz", "nac_THz", "nac_cm-1", "lo_to_THz", "overlap"]
    ]
    for k, frequency in enumerate(gamma["frequencies_THz"]):
        kind = gamma["irreps"][k] or "", int(gamma["acoustic"][k])
        fixed = [k + 1, *kind, frequency, round(frequency * WAVENUMBER, 4)]
        for along in gamma["directions"]:
            shifted = along["frequencies_THz"][along["partner"][k] - 1]
            moved = [shifted, round(shifted * WAVENUMBER, 4), along["splitting_THz"][k], along["overlap"][k]]
            rows.append([*fixed, *along["direction"], *moved])
        if not gamma["directions"]:
            rows.append([*fixed, *[""] * 7])
    return rows


def _notes(phonons: GammaPhonons, mixed: bool) -> list[str]:
    notes = []
    imaginary = phonons.imaginary
    if len(imaginary):
        named = ", ".join(f"{k + 1} ({frequency_text(phonons.modes.frequencies[k], 3)} THz)" for k in imaginary)
        notes.append(f"imaginary: mode{'' if len(imaginary) == 1 else 's'} {named}; the structure is not at a minimum")
    if phonons.along:
        notes.append("without NAC: q = 0 itself, where no direction is given and NAC is inactive")
        notes.append(f"LO-TO: THz, by overlap of eigenvectors; · below {SPLIT:g} THz")
    if mixed:
        notes.append(f"~ the field mixes modes: less than {100 * MIXED:.0f} % of this one is in its partner")
    return notes


def _formula(phonon: Phonopy) -> str:
    from voigt.response.phonons.cells import to_ase
    from voigt.structures.formula import reduced_formula

    return reduced_formula(to_ase(phonon.primitive))


def _both_units(value: float) -> str:
    """THz and cm^-1, in 17 columns."""
    return f"{frequency_text(value, 3):>8} {frequency_text(value * WAVENUMBER, 1):>8}"


def frequency_text(value: float, digits: int) -> str:
    """A frequency, imaginary ones with an i; what rounds to zero without a sign."""
    text = f"{abs(value):.{digits}f}"
    return text + "i" if value < 0 and float(text) else text


def rounded(values: Any) -> Any:
    """Numbers for JSON, to eight decimals and without negative zeros."""
    return (np.round(np.asarray(values, dtype=np.float64), 8) + 0.0).tolist()
