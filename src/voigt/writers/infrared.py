"""The infrared response as a table for the eye, as JSON, and its spectrum as CSV."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from voigt.files import atomic_write
from voigt.response.arrays import direction_name
from voigt.response.phonons.infrared_modes import KM_PER_MOL, Infrared, ModeSet
from voigt.response.phonons.longitudinal_modes import Longitudinal
from voigt.response.phonons.modes import WAVENUMBER
from voigt.response.phonons.spectra import Spectrum
from voigt.writers.phonons import frequency_text, heading, rounded

if TYPE_CHECKING:
    from voigt.response.phonons.workflow import InfraredResult, PiezoResult

_PAIRS = (("xx", 0, 0), ("yy", 1, 1), ("zz", 2, 2), ("yz", 1, 2), ("zx", 2, 0), ("xy", 0, 1))


def table(response: Infrared) -> list[str]:
    """One line for each set of modes at Gamma: acoustic and excluded ones too, so that the numbers are complete."""
    width = max([5, *(len(entry.irrep or "") for entry in response.sets)])
    lines = [
        f"{'mode':>7}  {'irrep':{width}} {'THz':>9} {'cm^-1':>8}   {'strength (e^2/amu)':^26}  {'IR intensity':^19}"
        f"   {'share of eps_ionic':^26}",
        f"{'':7}  {'':{width}} {'':9} {'':8}  {'xx':>8} {'yy':>8} {'zz':>8}  {'(D/A)^2/amu':>11} {'km/mol':>8}"
        f"  {'xx':>8} {'yy':>8} {'zz':>8}",
    ]
    return [line.rstrip() for line in (*lines, *(_row(entry, width) for entry in response.sets))]


def tensor_lines(response: Infrared) -> list[str]:
    """eps_inf, eps_ionic and eps_0 side by side."""
    lines = [f"{'':4}{'eps_inf':^29}  {'eps_ionic':^29}  {'eps_0':^29}".rstrip()]
    for i, axis in enumerate("xyz"):
        rows = (tensor[i] for tensor in (response.eps_inf, response.eps_ionic, response.eps_0))
        lines.append(f"{axis:>3} " + "  ".join("".join(f"{_clean(value):>9} " for value in row)[:-1] for row in rows))
    return lines


def relation_lines(relations: Sequence[tuple[Longitudinal, tuple[str, ...]]]) -> list[str]:
    """Transverse and longitudinal frequencies along each distinct direction, and the Lyddane-Sachs-Teller relation.

    TO and LO are poles and zeros of the permittivity; the product is over all modes, active or not.
    """
    lines = []
    for relation, names in relations:
        mixed = "" if relation.axis else "  (no axis: modes are neither transverse nor longitudinal)"
        lines.append(f"along {' = '.join(names)}{mixed}")
        for transverse, longitudinal in zip(relation.transverse, relation.longitudinal, strict=True):
            lines.append(
                f"  TO {transverse:8.3f} THz {transverse * WAVENUMBER:7.1f} cm^-1   LO {longitudinal:8.3f} THz "
                f"{longitudinal * WAVENUMBER:7.1f} cm^-1"
            )
        if not len(relation.transverse):
            lines.append("  no mode with a dipole")
        if relation.reason is None:
            lines.append(
                f"  Lyddane-Sachs-Teller: prod (LO/TO)^2 = {relation.product:.6g}, eps_0/eps_inf = {relation.ratio:.6g}"
            )
        else:
            lines.append(f"  Lyddane-Sachs-Teller does not apply: {relation.reason}")
    return lines


def as_record(result: InfraredResult) -> dict[str, Any]:
    """All results for JSON: THz, cm^-1, e, amu, Cartesian axes of the project's unit cell."""
    response, spectrum = result.response, result.spectrum
    return {
        "crystal": heading(result.project),
        "tensors": result.tensors.name,
        "warnings": list(response.warnings),
        "eps_inf": rounded(response.eps_inf),
        "eps_ionic": rounded(response.eps_ionic),
        "eps_0": rounded(response.eps_0),
        "volume_A3": response.modes.volume,
        "mode_effective_charges_e_per_sqrt_amu": rounded(response.charges),
        "modes": [
            {
                "modes": [member + 1 for member in entry.members],
                "kind": entry.kind,
                "irrep": entry.irrep,
                "infrared_active": entry.active,
                "frequency_THz": round(entry.frequency, 8),
                "frequency_cm-1": round(entry.wavenumber, 6),
                "oscillator_strength_e2_per_amu": rounded(entry.strength),
                "intensity_D2_per_A2_amu": round(entry.intensity, 8),
                "intensity_km_per_mol": round(entry.intensity * KM_PER_MOL, 6),
                "share_of_eps_ionic": rounded(entry.share),
            }
            for entry in response.sets
        ],
        "directions": [
            {
                "direction": rounded(relation.direction),
                "transverse_THz": rounded(relation.transverse),
                "longitudinal_THz": rounded(relation.longitudinal),
                "lyddane_sachs_teller": None
                if relation.reason is not None
                else {"product": relation.product, "ratio": relation.ratio},
                "axis": relation.axis,
                "why_not": relation.reason,
            }
            for relation in result.relations
        ],
        "linewidth_THz": rounded(result.linewidths),
        "spectrum": {
            "frequency_THz": rounded(spectrum.frequencies),
            "permittivity_real": rounded(spectrum.permittivity.real),
            "permittivity_imaginary": rounded(spectrum.permittivity.imag),
            "directions": rounded(spectrum.directions),
            "reflectivity": rounded(spectrum.reflectivity),
            "loss": rounded(spectrum.loss),
            "absorption_cm-1": rounded(spectrum.absorption),
        },
    }


def piezo_lines(result: PiezoResult) -> list[str]:
    """Ionic parts of e and d as Voigt matrices."""
    from voigt.response.piezoelectricity import strain_coefficients_to_voigt
    from voigt.tensors.voigt import piezo_to_voigt

    lines = ["ionic part of the piezoelectric tensor e (C/m^2); add the clamped-ion part"]
    lines += _matrix(piezo_to_voigt(result.e))
    if result.d is None:
        return [*lines, str(result.reason)]
    title = "ionic part of d = e S (pm/V), S from the predicted elastic tensor"
    return [*lines, title, *_matrix(strain_coefficients_to_voigt(result.d))]


def write_json(record: dict[str, Any], path: str | Path) -> None:
    """Write what `as_record` made; OutputError."""
    with atomic_write(path) as stream:
        json.dump(record, stream, allow_nan=False)
        stream.write("\n")


def write_csv(spectrum: Spectrum, path: str | Path) -> None:
    """Write a spectrum, one row for each frequency; OutputError."""
    columns = [("THz", spectrum.frequencies), ("cm-1", spectrum.wavenumbers)]
    eps = spectrum.permittivity
    columns += [(f"eps_real_{pair}", eps[:, i, j].real) for pair, i, j in _PAIRS]
    columns += [(f"eps_imag_{pair}", eps[:, i, j].imag) for pair, i, j in _PAIRS]
    kinds = {"reflectivity": spectrum.reflectivity, "loss": spectrum.loss, "absorption_cm-1": spectrum.absorption}
    for k, n in enumerate(spectrum.directions):
        columns += [(f"{kind}_{direction_name(n).replace(' ', '_')}", values[:, k]) for kind, values in kinds.items()]
    with atomic_write(path) as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow([name for name, _ in columns])
        for row in zip(*(values for _, values in columns), strict=True):
            writer.writerow([f"{value:.8g}" for value in row])


def _row(entry: ModeSet, width: int) -> str:
    first, last = entry.members[0] + 1, entry.members[-1] + 1
    consecutive = last - first + 1 == len(entry.members)
    numbers = f"{first}-{last}" if last > first and consecutive else ",".join(str(m + 1) for m in entry.members)
    start = (
        f"{numbers:>7}  {entry.irrep or '-':{width}} {frequency_text(entry.frequency, 3):>9} "
        f"{frequency_text(entry.wavenumber, 1):>8}"
    )
    if entry.kind == "acoustic":
        return f"{start}  acoustic"
    strength = " ".join(f"{_small(value):>8}" for value in np.diag(entry.strength))
    row = f"{start}  {strength}  {_small(entry.intensity):>11} {_small(entry.intensity * KM_PER_MOL, 1):>8}"
    if entry.kind == "imaginary":
        return f"{row}  excluded"
    return f"{row}  " + " ".join(f"{_small(value):>8}" for value in np.diag(entry.share))


def _small(value: float, digits: int = 4) -> str:
    """A dot for what is zero but for rounding."""
    return "·" if abs(value) < 1e-7 else f"{value:.{digits}f}"


def _clean(value: float) -> str:
    return f"{round(float(value), 4) + 0.0:.4f}"


def _matrix(rows: NDArray[np.float64]) -> list[str]:
    lines = ["    " + "".join(f"{name:>9}" for name in ("xx", "yy", "zz", "yz", "zx", "xy"))]
    return lines + [
        f"{axis:>3} " + "".join(f"{round(float(value), 3) + 0.0:9.3f}" for value in row)
        for axis, row in zip("xyz", rows, strict=True)
    ]
