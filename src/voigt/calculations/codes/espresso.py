"""Quantum ESPRESSO: outputs of ph.x, dynamical matrices (`espresso_matrices`), and pw.x for what it says of the run.

Index order, from PHonon/PH/summarize.f90 (versions 6.0 to 7.4): "d Force / dE" prints zstareu(field, displacement),
one row "Ex" for each field; "d P / du" prints zstarue(displacement, atom, polarization), one row "Px" for each
polarization. Both are ours, in e. The permittivity is that of clamped ions.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import ase
import numpy as np

from voigt.calculations.calculation import Calculation, Outcome, Provenance, RunFile
from voigt.calculations.codes.combining import combined
from voigt.calculations.codes.espresso_matrices import is_matrix_file, read_matrix_file
from voigt.calculations.codes.parsing import (
    Array,
    count_of_atoms,
    functional_label,
    guarded,
    matrix,
    numbers,
    permittivity,
    structure,
)
from voigt.errors import InputError
from voigt.structures.readers.espresso import read_espresso_output

_MISSING = (
    "holds neither Born charges nor a dielectric tensor; run ph.x at Gamma with epsil = .true. for an insulator, "
    "and give its output or .dyn file"
)
_RUN = re.compile(r"^[ \t]*Program (PHONON|PWSCF) v\.?[ \t]*(\S+)", re.MULTILINE)
_PERMITTIVITY = re.compile(r"^\s*Dielectric constant in cartesian axis\s*$")
_CHARGES = re.compile(r"Effective charges \(d (Force / dE|P / du)\) in cartesian axis(.*)")
_ROW = re.compile(r"\s*(?:E\*?|P)[xyz]\s+\(")
_SITE = re.compile(r"\s*\d+\s+([A-Z][A-Za-z0-9_-]*)\s+\S+\s+tau\(\s*\d+\)\s*=\s*\((.*)\)")
_AXIS = re.compile(r"\s*a\([123]\)\s*=\s*\((.*)\)")
_DIFFERENT = 0.05
"""e: what two ways to the same charges may differ by in a converged calculation."""


def recognizes(file: RunFile) -> bool:
    """Whether it is an output of ph.x or pw.x, or a dynamical matrix of ph.x."""
    return _RUN.search(file.head) is not None or is_matrix_file(file.head)


def read(files: Sequence[RunFile]) -> Iterator[Outcome]:
    """The runs in a folder: every crystal once, with the numbers of its .dyn file, which have more digits."""

    def outcomes() -> Iterator[Outcome]:
        dynamical = [file for file in files if is_matrix_file(file.head)]
        for file in dynamical:
            yield from guarded(file, "Quantum ESPRESSO dynamical matrix", read_matrix_file)
        outputs = [file for file in files if file not in dynamical]
        for file in sorted(
            outputs, key=lambda each: "Program PWSCF" not in each.head
        ):  # pw.x prints more digits than ph.x
            yield from guarded(file, "Quantum ESPRESSO output", _outputs)

    return combined(outcomes(), files, _MISSING)


def _outputs(file: RunFile) -> Iterator[Calculation]:
    text = file.read()
    starts = list(_RUN.finditer(text))
    ends = [match.start() for match in starts[1:]] + [len(text)]
    for match, end in zip(starts, ends, strict=True):
        run = text[match.start() : end]
        if match[1] == "PWSCF":
            yield from _pwscf(file, run)
        else:
            yield from _phonon(file, run)


def _pwscf(file: RunFile, text: str) -> Iterator[Calculation]:
    try:
        atoms = structure(read_espresso_output(text))
    except InputError:  # it only lends its words to what ph.x computed
        return
    spin = "collinear" if "Starting magnetic structure" in text else "none"
    yield Calculation(atoms, {}, _provenance(file, text, spin, atoms))


def _phonon(file: RunFile, text: str) -> Iterator[Calculation]:
    lines = text.splitlines()
    heads = [number for number, line in enumerate(lines) if _PERMITTIVITY.match(line)]
    charges = [(number, match) for number, line in enumerate(lines) if (match := _CHARGES.search(line))]
    atoms = _crystal(lines) if heads or charges else None
    if atoms is None:
        return
    conversions: list[str] = []
    problems: list[str] = []
    targets: dict[str, Array] = {}
    if heads:
        targets["eps_inf"] = permittivity(matrix(lines, heads[-1] + 1, 3, 3), "eps_inf", conversions, problems)
    found: dict[str, Array] = {}
    for number, match in charges:
        corrected = "with asr applied" in match[2]
        name = "corrected" if corrected else match[1]
        found[name] = _tensors(lines, number + 1, len(atoms))
    ways = [found[name] for name in ("Force / dE", "P / du", "corrected") if name in found]
    if ways:
        targets["born_charges"] = ways[0]
        if "corrected" in found and len(found) == 1:
            conversions.append("born_charges: as ph.x corrected them, their sum divided among the atoms")
    if {"Force / dE", "P / du"} <= found.keys():
        difference = float(np.abs(found["Force / dE"] - found["P / du"]).max())
        if difference > _DIFFERENT:
            problems.append(
                f"the Born charges as forces in a field, which are taken, and as polarization by displacements differ "
                f"by {difference:.2g} e: converge k-points and tr2_ph"
            )
    if re.search(r"No convergence has been achieved|convergence NOT achieved", text, re.IGNORECASE):
        problems.append("a cycle of ph.x did not converge; change alpha_mix(1) or tr2_ph and repeat it")
    if "JOB DONE" not in text:
        problems.append("ph.x did not finish after it had printed its tensors; repeat it if it stopped with an error")
    yield Calculation(atoms, targets, _provenance(file, text, "", atoms, conversions), tuple(problems))


def _tensors(lines: Sequence[str], start: int, count: int) -> Array:
    rows: list[list[float]] = []
    for line in lines[start:]:
        if _ROW.match(line):
            rows.append(numbers(line)[-3:])
        if len(rows) == 3 * count or _CHARGES.search(line):
            break
    if len(rows) != 3 * count or any(len(row) != 3 for row in rows):
        raise InputError(f"has Born charges of {len(rows) // 3} atoms instead of {count}; let ph.x finish")
    return np.array(rows).reshape(count, 3, 3)


def _crystal(lines: Sequence[str]) -> ase.Atoms:
    """Cell and atoms as ph.x prints them: five digits of the lattice parameter."""
    from ase.io.espresso import label_to_symbol
    from ase.units import create_units

    text = "\n".join(lines)
    alat = re.search(r"lattice parameter \(a(?:lat|_0)\)\s*=\s*(\S+)", text)
    axes = [numbers(match[1]) for line in lines if (match := _AXIS.match(line))][:3]
    count = re.search(r"number of atoms/cell\s*=\s*(\d+)", text)
    sites = [match for line in lines if (match := _SITE.match(line))]
    if alat is None or count is None or len(axes) != 3 or len(sites) < int(count[1]):
        raise InputError("has no complete list of cell and atoms before its tensors; give the whole output of ph.x")
    sites = sites[: count_of_atoms(float(count[1]))]
    unit = numbers(alat[1])[0] * float(create_units("2006")["Bohr"])
    places = np.array([numbers(site[2]) for site in sites]) * unit
    return ase.Atoms([label_to_symbol(site[1]) for site in sites], places, cell=np.array(axes) * unit, pbc=True)


def _provenance(file: RunFile, text: str, spin: str, atoms: ase.Atoms, conversions: Sequence[str] = ()) -> Provenance:
    from ase.units import Rydberg

    run = _RUN.search(text)
    name = re.search(r"Exchange-correlation\s*=\s*([^(\n]*)", text)
    cutoff = re.search(r"kinetic-energy cut-?off\s*=\s*(\S+)\s*Ry", text)
    return Provenance(
        files=(file.path,),
        code="Quantum ESPRESSO",
        version=run[2] if run else "",
        functional=functional_label(name[1]) if name else "",
        hubbard_u=_hubbard(text, atoms),
        spin="noncollinear" if re.search(r"Noncollinear calculation|calculation with spin-orbit", text) else spin,
        cutoff=round(numbers(cutoff[1])[0] * float(Rydberg), 6) if cutoff else None,
        conversions=tuple(conversions),
    )


def _hubbard(text: str, atoms: ase.Atoms) -> dict[str, float]:
    """U of each element, eV; versions before 7 name the number of the type."""
    species = dict(re.findall(r"PseudoPot\. #\s*(\d+) for\s+([A-Z][a-z]?)", text))
    found: dict[str, float] = {}
    for label, value in re.findall(r"^[ \t]*U ?\([ \t]*([\w-]+)[ \t]*\)[ \t]*=[ \t]*([-\d.]+)", text, re.MULTILINE):
        element = species.get(label, "") if label.isdigit() else re.match("[A-Z][a-z]?|", label)[0]  # type: ignore[index]
        if element in atoms.get_chemical_symbols():
            found[element] = max(found.get(element, 0.0), float(value))
    return found
