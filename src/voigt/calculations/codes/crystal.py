"""CRYSTAL (14, 17, 23): coupled-perturbed permittivities, Born charges and elastic constants.

Born charges have rows of fields and columns of displacements, as ours: in outputs with normal modes, rows contracted
with the displacements give the printed "BORN CHARGE VECTOR IN THE BASIS OF NORMAL MODES", columns do not. Units of e.
The permittivity lists XX XY XZ YY YZ ZZ, clamped ions; the "SUM TENSOR OF THE VIBRATIONAL CONTRIBUTIONS" is that of
the ions. Elastic constants are the upper triangle in the order xx yy zz yz xz xy, GPa, ions relaxed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import ase
import numpy as np

from voigt.calculations.calculation import Calculation, Outcome, Provenance, RunFile
from voigt.calculations.codes.combining import combined
from voigt.calculations.codes.parsing import Array, count_of_atoms, guarded, matrix, numbers, permittivity
from voigt.errors import InputError
from voigt.tensors.voigt import elastic_from_voigt

_MISSING = "holds no tensors; run CRYSTAL with FREQCALC and INTENS, INTCPHF, CPHF or ELASTCON"
_BANNER = re.compile(r"^ \*[ \t]+CRYSTAL(\d\d|\d{4})[ \t]+\*", re.MULTILINE)
_COMPONENTS = {"XX": (0, 0), "XY": (0, 1), "XZ": (0, 2), "YY": (1, 1), "YZ": (1, 2), "ZZ": (2, 2)}
_EPSILON = re.compile(r"^[ \t]*(?:([\d.]+)[ \t]+)?(XX|XY|XZ|YY|YZ|ZZ)\s+(\S+)\s+(\S+)\s+(\S+)", re.MULTILINE)
_CHARGE = re.compile(r"^ ATOM\s+(\d+)\s+([A-Z]{1,2})\s+DYNAMIC CHARGE")
_TENSORS = re.compile(
    r"ATOMIC BORN CHARGE TENSOR|EPSILON\(R|EPSILON       CHI\(1\)|STRAIN MATRIX|SYMMETRIZED ELASTIC CONSTANTS"
)
_SITE = re.compile(r"^\s+\d+\s+(\d+)\s+([A-Z]{1,2})((?:\s+[-+.\dE]+){3})\s*$")


def recognizes(file: RunFile) -> bool:
    """Whether it is an output of CRYSTAL."""
    return _BANNER.search(file.head) is not None


def read(files: Sequence[RunFile]) -> Iterator[Outcome]:
    """The runs in a folder."""
    outcomes = (outcome for file in files for outcome in guarded(file, "CRYSTAL output", _output))
    return combined(outcomes, files, _MISSING)


def _output(file: RunFile) -> Iterator[Calculation]:
    text = file.read()
    lines = text.splitlines()
    conversions: list[str] = []
    problems: list[str] = []
    targets: dict[str, Array] = {}
    if (values := _permittivity(text)) is not None:
        targets["eps_inf"] = values
    atoms = _crystal(lines)
    charges = _charges(lines, len(atoms))
    if charges is not None:
        targets["born_charges"] = charges
    sums = [number for number, line in enumerate(lines) if "SUM TENSOR OF THE VIBRATIONAL CONTRIBUTIONS" in line]
    if sums:
        targets["eps_ionic"] = permittivity(matrix(lines, sums[-1] + 1, 3, 3), "eps_ionic", conversions, problems)
    start = next((number for number, line in enumerate(lines) if "SYMMETRIZED ELASTIC CONSTANTS FOR" in line), None)
    if start is not None and "IN GPA" in lines[start].upper():
        targets["elastic"] = _elastic(lines[start + 1 :])
        conversions.append("elastic: from the upper triangle")
    if re.search(r"PIEZOELECTRIC (?:TENSOR|CONSTANTS)", text):
        problems.append("the piezoelectric tensor is not read; enter it by hand if it is needed")
    if re.search(r"^ (?:ERROR|SCF ENDED - TOO MANY CYCLES)", text, re.MULTILINE):
        problems.append("CRYSTAL reports an error or a cycle that did not converge; look at the output")
    elif "EEEEEEEEEE TERMINATION" not in text:
        problems.append(
            "CRYSTAL did not finish after it had printed its tensors; repeat it if it stopped with an error"
        )
    provenance = _provenance(file, text, conversions)
    yield Calculation(atoms, targets, provenance, tuple(problems))


def _permittivity(text: str) -> Array | None:
    """The last static one: where the first column is a frequency (since 17), that of frequency zero."""
    values = np.full((3, 3), np.nan)
    text = text.partition("STRAIN MATRIX")[0]  # what follows belongs to strained copies
    head = text.rfind("EPSILON(R")  # real and imaginary part
    first = head if head >= 0 else text.rfind("EPSILON       CHI(1)")
    if first < 0:
        return None
    for frequency, component, *columns in _EPSILON.findall(text[first : first + 4000]):
        row, column = _COMPONENTS[component]
        if frequency and numbers(frequency)[0]:
            continue
        if np.isnan(values[row, column]):  # the table ends before other components of the same name follow
            values[row, column] = values[column, row] = numbers(columns[2])[0]
    if np.isnan(values).any():
        raise InputError("ends within its dielectric tensor; let CRYSTAL finish")
    return values


def _charges(lines: Sequence[str], count: int) -> Array | None:
    starts = [number for number, line in enumerate(lines) if "ATOMIC BORN CHARGE TENSOR" in line]
    if not starts:
        return None
    found: dict[int, Array] = {}
    for number in range(starts[-1], len(lines)):
        if len(found) == count:
            break
        if match := _CHARGE.match(lines[number]):
            rows = [line for line in lines[number + 1 : number + 7] if len(line.split()) == 4]
            found[int(match[1])] = matrix(rows, 0, 3, 3)
    if sorted(found) != list(range(1, count + 1)):
        raise InputError(f"has Born charges of {len(found)} atoms instead of {count}; let CRYSTAL finish")
    return np.array([found[atom] for atom in range(1, count + 1)])


def _elastic(lines: Sequence[str]) -> Array:
    rows = [numbers(line) for line in lines[:12] if line.strip().startswith("|")][:6]
    if [len(row) for row in rows] != [6, 5, 4, 3, 2, 1]:
        raise InputError("has no elastic constants of a crystal in three dimensions; give one, or let CRYSTAL finish")
    upper = np.zeros((6, 6))
    for number, row in enumerate(rows):
        upper[number, number:] = row
    return elastic_from_voigt(upper + np.triu(upper, 1).T)


def _crystal(lines: Sequence[str]) -> ase.Atoms:
    """The last cell and atoms before the tensors, or the first strained copy: after any geometry optimization."""
    end = next((number for number, line in enumerate(lines) if _TENSORS.search(line)), len(lines))
    head, sites = "DIRECT LATTICE VECTORS CARTESIAN COMPONENTS (ANGSTROM)", "CARTESIAN COORDINATES - PRIMITIVE CELL"
    cells = [number for number, line in enumerate(lines[:end]) if head in line]
    places = [number for number, line in enumerate(lines[:end]) if sites in line]
    if not cells or not places:
        raise InputError("has no cell and atoms (CARTESIAN COORDINATES - PRIMITIVE CELL); give the whole output")
    rows: list[re.Match[str]] = []
    for line in lines[places[-1] + 1 :]:
        if match := _SITE.match(line):
            rows.append(match)
        elif rows:
            break
    count_of_atoms(len(rows))
    cell = matrix(lines, cells[-1] + 1, 3, 3)
    symbols = [row[2].capitalize() for row in rows]
    return ase.Atoms(symbols, [numbers(row[3]) for row in rows], cell=cell, pbc=True)


def _provenance(file: RunFile, text: str, conversions: Sequence[str]) -> Provenance:
    banner = _BANNER.search(text)
    release = re.search(r"(?:public|Release|release)\s*:\s*([\w.]+)", text)
    mesh = re.search(r"SHRINK\. FACT\.\(MONKH\.\)\s+(\d+)\s+(\d+)\s+(\d+)", text)
    spin = "collinear" if re.search(r"TYPE OF CALCULATION :\s+UNRESTRICTED", text) else "none"
    return Provenance(
        files=(file.path,),
        code="CRYSTAL",
        version=" ".join(match[1] for match in (banner, release) if match),
        functional=_functional(text),
        spin=spin if "TYPE OF CALCULATION" in text else "",
        kpoints=tuple(int(word) for word in mesh.groups()) if mesh else (),
        conversions=tuple(conversions),
    )


def _functional(text: str) -> str:
    found = re.search(r"\(EXCHANGE\)\[CORRELATION\] FUNCTIONAL:\s*\((.*?)\)\[(.*?)\]", text)
    if found is None:
        return "HF" if "HARTREE-FOCK HAMILTONIAN" in text else ""
    exchange, correlation = (" ".join(word.upper().split()) for word in found.groups())
    share = re.search(r"HYBRID EXCHANGE - PERCENTAGE OF FOCK EXCHANGE\s+([\d.]+)", text)
    hybrid = float(share[1]) if share else 0.0
    known = {
        ("PERDEW-BURKE-ERNZERHOF", "PERDEW-BURKE-ERNZERHOF", 0.0): "PBE",
        ("PERDEW-BURKE-ERNZERHOF", "PERDEW-BURKE-ERNZERHOF", 25.0): "PBE0",
        ("BECKE 88", "LEE-YANG-PARR", 0.0): "BLYP",
        ("BECKE 88", "LEE-YANG-PARR", 20.0): "B3LYP",
        ("WU-COHEN GGA", "LEE-YANG-PARR", 16.0): "WC1LYP",
        ("SLATER", "VOSKO-WILK-NUSAIR", 0.0): "LDA",
        ("DIRAC-SLATER LDA", "VOSKO-WILK-NUSAIR", 0.0): "LDA",
        ("DIRAC-SLATER LDA", "PERDEW-ZUNGER", 0.0): "LDA",
    }
    if "PBESOL" in exchange.replace(" ", "") or "SOL" in exchange:
        return "PBEsol" if not hybrid else f"PBEsol with {hybrid:g} % exact exchange"
    name = f"{exchange.title()}, {correlation.title()}" + (f", {hybrid:g} % exact exchange" if hybrid else "")
    return known.get((exchange, correlation, hybrid), name)
