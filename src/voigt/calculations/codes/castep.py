"""CASTEP: .castep outputs and .elastic files.

Born charges have rows of displacements and columns of fields ("the columns representing the X,Y,Z electric field
directions and the rows the X,Y,Z displacement directions", CASTEP's guide to dielectric properties), the transpose of
ours. Permittivities stand side by side, optical (clamped ions) and static, which is the sum. Elastic constants are in
GPa, piezoelectric ones in C/m^2 with rows of polarizations, both in the order xx yy zz zy zx yx, which is ours;
without "Frozen Ion" the ions are relaxed. .phonon files hold none of these tensors.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import ase
import numpy as np

from voigt.calculations.calculation import Calculation, Outcome, Provenance, RunFile
from voigt.calculations.codes.combining import combined
from voigt.calculations.codes.parsing import (
    Array,
    count_of_atoms,
    functional_label,
    guarded,
    matrix,
    numbers,
    permittivity,
)
from voigt.errors import InputError
from voigt.tensors.voigt import elastic_from_voigt, piezo_from_voigt

_MISSING = "holds no tensors; run CASTEP with task : phonon+efield or efield"
_BANNER = re.compile(r"\|\s*CCC\s+AA\s+SSS\s+TTTTT\s+EEEEE\s+PPPP|Welcome to (?:.*)CASTEP|Materials Studio CASTEP")
_ION = re.compile(r"^\s*([A-Z][a-z]?)(?::\S+)?\s+(\d+)\s+([-+.\d]+\s+[-+.\d]+\s+[-+.\d]+)(?:\s+ID=\S+)?\s*$")


def recognizes(file: RunFile) -> bool:
    """Whether it is a .castep or an .elastic file."""
    return _BANNER.search(file.head) is not None or _is_elastic_file(file.head)


def read(files: Sequence[RunFile]) -> Iterator[Outcome]:
    """The runs in a folder; elastic constants from the .elastic file, which has more digits."""

    def outcomes() -> Iterator[Outcome]:
        for file in files:
            if _BANNER.search(file.head) is None:
                yield from guarded(file, "CASTEP .elastic file", _elastic_file)
        for file in files:
            if _BANNER.search(file.head) is not None:
                yield from guarded(file, "CASTEP output", _output)

    return combined(outcomes(), files, _MISSING)


def _is_elastic_file(head: str) -> bool:
    """Whether it begins like one; the header of a .phonon file counts its branches."""
    return (
        head.lstrip().startswith("BEGIN header")
        and "Number of branches" not in head
        and "Unit cell vectors (A)" in head
    )


def _output(file: RunFile) -> Iterator[Calculation]:
    text = file.read()
    lines = text.splitlines()
    atoms = _crystal(lines)
    conversions: list[str] = []
    problems: list[str] = []
    targets = _permittivities(lines, conversions, problems)
    starts = [number for number, line in enumerate(lines) if line.strip() == "Born Effective Charges"]
    if starts:
        targets["born_charges"] = _charges(lines[starts[-1] + 1 :], atoms)
        conversions.append("born_charges: transposed from rows of displacements to rows of fields")
        if re.search(r"Born charge sum rule\s*:\s*explicitly enforced", text):
            conversions.append("born_charges: the acoustic sum rule was enforced by CASTEP")
    for title, name in _TABLES:
        table = next((n for n in reversed(range(len(lines))) if lines[n].strip() == title), None)
        if table is not None:
            _add(targets, name, matrix(lines, table + 1, 6 if name == "elastic" else 3, 6))
    if "elastic" not in targets and "Elastic Constants Tensor (Frozen Ion)" in text:
        problems.append(
            "the elastic constants are those of frozen ions only and are left out; add a phonon calculation at Gamma"
        )
    if "Total time          =" not in text:
        problems.append("CASTEP did not finish after it had printed its tensors; repeat it if it stopped with an error")
    if re.search(r"scissors operator\s*:\s*[1-9]", text):
        problems.append(
            "a scissors operator shifts the bands: permittivity and Born charges are not those of the functional"
        )
    yield Calculation(atoms, targets, _provenance(file, text, conversions), tuple(problems))


_TABLES = (
    ("Elastic Constants Tensor (GPa)", "elastic"),
    ("Piezoelectric Constants Tensor (C/m^2)", "piezo_total"),
    ("Piezoelectric Constants Tensor (Frozen Ion) (C/m^2)", "piezo_clamped"),
)


def _crystal(lines: Sequence[str]) -> ase.Atoms:
    """The last cell and atoms; read here, as ASE wants a run that went on to its end."""
    cells = [number for number, line in enumerate(lines) if line.strip().startswith("Real Lattice(A)")]
    tables = [number for number, line in enumerate(lines) if "Fractional coordinates of atoms" in line]
    if not cells or not tables:
        raise InputError("has no cell and atoms; give the whole output of CASTEP")
    both = matrix(lines, cells[-1] + 1, 3, 6)  # the reciprocal lattice stands beside
    symbols, places = [], []
    for line in lines[tables[-1] + 1 :]:
        if match := _ION.match(line.strip().strip("x")):
            symbols.append(match[1])
            places.append(numbers(match[3]))
        elif symbols:
            break
    count_of_atoms(len(symbols))
    return ase.Atoms(symbols, scaled_positions=places, cell=both[:, :3], pbc=True)


def _permittivities(lines: Sequence[str], conversions: list[str], problems: list[str]) -> dict[str, Array]:
    starts = [number for number, line in enumerate(lines) if "Optical Permittivity (f->infinity)" in line]
    if not starts:
        return {}
    has_static = "DC Permittivity (f=0)" in lines[starts[-1]]
    rows = lines[starts[-1] + 1 : starts[-1] + 6]
    if has_static and any("nfinity" in line or "***" in line for line in rows):  # of a crystal with imaginary modes
        problems.append("CASTEP gives no static permittivity, as the crystal is unstable at Gamma; relax it first")
        rows, has_static = [" ".join(line.split()[:3]) for line in rows], False
    table = matrix(rows, 0, 3, 6 if has_static else 3)
    targets = {"eps_inf": permittivity(table[:, :3], "eps_inf", conversions, problems)}
    if has_static:
        targets["eps_total"] = permittivity(table[:, 3:], "eps_total", conversions, problems)
        targets["eps_ionic"] = targets["eps_total"] - targets["eps_inf"]
        conversions.append("eps_ionic: static less optical permittivity")
    return targets


def _charges(lines: Sequence[str], atoms: ase.Atoms) -> Array:
    """Z[atom, field, displacement], in the order of the atoms."""
    found: dict[tuple[str, int], Array] = {}
    for number, line in enumerate(lines):
        if line.strip().startswith("====") and found:
            break
        if match := _ION.match(line):
            rows = [match[3], *lines[number + 1 : number + 3]]
            found[match[1], int(match[2])] = matrix(rows, 0, 3, 3)
    seen: dict[str, int] = {}
    ordered = []
    for symbol in atoms.get_chemical_symbols():
        seen[symbol] = seen.get(symbol, 0) + 1
        if (symbol, seen[symbol]) not in found:
            raise InputError(f"has no Born charges of {symbol} {seen[symbol]}; let CASTEP finish")
        ordered.append(found[symbol, seen[symbol]])
    return np.array(ordered).transpose(0, 2, 1)


def _elastic_file(file: RunFile) -> Iterator[Calculation]:
    lines = file.read().splitlines()
    stripped = [line.strip() for line in lines]
    count = count_of_atoms(numbers(next((line for line in stripped if line.startswith("Number of ions")), "0"))[-1])
    if "Unit cell vectors (A)" not in stripped or "Fractional Co-ordinates" not in stripped:
        raise InputError("has no cell and atoms in its header; export it again")
    cell = matrix(lines, stripped.index("Unit cell vectors (A)") + 1, 3, 3)
    place = stripped.index("Fractional Co-ordinates") + 1
    sites = [line.split() for line in lines[place : place + count]]
    if any(len(site) < 5 for site in sites):
        raise InputError("does not list all of its atoms; export it again")
    positions = np.array([numbers(" ".join(site[1:4])) for site in sites])
    atoms = ase.Atoms([site[4].split(":")[0] for site in sites], scaled_positions=positions, cell=cell, pbc=True)
    targets: dict[str, Array] = {}
    for pattern, name in (
        (r"BEGIN Elastic Constants\s*\(GPa\)", "elastic"),
        (r"BEGIN Piezoelectric\s*\(C/m\^2\)", "piezo_total"),
        (r"BEGIN Piezoelectric \[Frozen Ion\]\s*\(C/m\^2\)", "piezo_clamped"),
    ):
        start = next((number for number, line in enumerate(stripped) if re.fullmatch(pattern, line)), None)
        if start is not None:
            _add(targets, name, matrix(lines, start + 1, 6 if name == "elastic" else 3, 6))
    yield Calculation(atoms, targets, Provenance((file.path,), "CASTEP"))


def _add(targets: dict[str, Array], name: str, table: Array) -> None:
    targets[name] = elastic_from_voigt((table + table.T) / 2) if name == "elastic" else piezo_from_voigt(table)


def _provenance(file: RunFile, text: str, conversions: Sequence[str]) -> Provenance:
    def last(pattern: str) -> str:
        found = re.findall(pattern, text)
        return str(found[-1]).strip() if found else ""

    version = last(r"CASTEP version\s+([\w.+-]+)")
    cutoff = last(r"plane wave basis set cut-off\s*:\s*(\S+)\s*eV")
    mesh = last(r"MP grid size for SCF calculation is\s+(\d+\s+\d+\s+\d+)")
    spin = "none" if "treating system as non-spin-polarized" in text else ""
    if "treating system as spin-polarized" in text:
        spin = "collinear"
    if re.search(r"treating system as non-collinear|spin-orbit coupling\s*:\s*on", text):
        spin = "noncollinear"
    return Provenance(
        files=(file.path,),
        code="CASTEP",
        version=version,
        functional=functional_label(last(r"using functional\s*:\s*(.+)")),
        spin=spin,
        kpoints=tuple(int(word) for word in mesh.split()),
        cutoff=numbers(cutoff)[0] if cutoff else None,
        conversions=tuple(conversions),
    )
