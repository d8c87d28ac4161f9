"""CP2K: polarizability of the cell (LINRES, POLAR) and atomic polar tensors (LINRES, DCDR).

The polarizability is the response of the dipole of the cell to the average field, in bohr^3
(src/qs_linres_polar_utils.F), so that eps_inf = 1 + 4 pi alpha/V. Rows of numbers are xx yy zz, xy xz yz and yx zx
zy. Atomic polar tensors ("APT |", files *.data) have rows of displacements and columns of the dipole, in e: the sum
rules that src/qs_dcdr_utils.F prints below them turn apt(delta, alpha) with the atoms in the first index and with the
dipole in the second. They are the transpose of our Born charges. Outputs print the cell to 0.001 Angstrom; an input
or restart file of the same crystal beside it has all digits, which are taken.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import ase
import numpy as np

from voigt.calculations.calculation import Calculation, Outcome, Provenance, RunFile
from voigt.calculations.codes.combining import combined
from voigt.calculations.codes.parsing import Array, functional_label, guarded, numbers, permittivity, structure
from voigt.errors import InputError
from voigt.structures.readers.cp2k import read_cp2k

_MISSING = "holds neither a polarizability nor atomic polar tensors; run CP2K with LINRES and POLAR or DCDR"
_START = re.compile(r"^ (?:DBCSR|CP2K)\|", re.MULTILINE)
_TENSORS = re.compile(r"^[ \t]*APT \| Write the final apt matrix per atom", re.MULTILINE)
_INPUT = re.compile(r"^[ \t]*&FORCE_EVAL\b", re.MULTILINE | re.IGNORECASE)
_VECTOR = re.compile(r"^ CELL\| Vector ([abc]) \[angstrom\]:?((?:\s+[-\d.]+){3})", re.MULTILINE)
_SITE = re.compile(r"[ \t]+\d+[ \t]+\d+[ \t]+[A-Z]\w*[ \t]+(\d+)((?:[ \t]+-?\d+\.\d+){3})\s")
_ROW = re.compile(r"^\s*APT \|((?:\s+-?\d+\.\d+){3})\s*$")


def recognizes(file: RunFile) -> bool:
    """Whether it is an output of CP2K, its atomic polar tensors, or an input of it."""
    return any(pattern.search(file.head) for pattern in (_START, _TENSORS, _INPUT))


def read(files: Sequence[RunFile]) -> Iterator[Outcome]:
    """The runs in a folder; atomic polar tensors belong to the only crystal of the other files in it."""

    def outcomes() -> Iterator[Outcome]:
        found: list[Outcome] = []
        outputs = [file for file in files if _START.search(file.head)]
        tensors = [file for file in files if file not in outputs and _TENSORS.search(file.head)]
        inputs = [file for file in files if file not in outputs and file not in tensors]
        for file in inputs:
            yield from guarded(file, "CP2K input", _input)
        for file in outputs:
            found += guarded(file, "CP2K output", _output)
        yield from found
        crystals = [outcome for outcome in found if isinstance(outcome, Calculation)]
        for file in tensors:
            yield from guarded(file, "CP2K atomic polar tensors", lambda each: _apart(each, crystals, inputs))

    return combined(outcomes(), files, _MISSING)


def _input(file: RunFile) -> Iterator[Calculation]:
    try:
        yield Calculation(structure(read_cp2k(file.read())), {}, Provenance((file.path,), "CP2K"))
    except InputError:  # it only lends its digits to an output
        return


def _output(file: RunFile) -> Iterator[Calculation]:
    text = file.read()
    atoms = _crystal(text)
    conversions: list[str] = []
    problems: list[str] = []
    targets: dict[str, Array] = {}
    alpha = _polarizability(text)
    if alpha is not None:
        from ase.units import Bohr

        printed = re.search(r"^ CELL\| Volume \[angstrom\^3\]:?\s+([\d.]+)", text, re.MULTILINE)  # has more digits
        volume = (numbers(printed[1])[0] if printed else float(atoms.get_volume())) / float(Bohr) ** 3
        targets["eps_inf"] = permittivity(np.eye(3) + 4 * np.pi * alpha / volume, "eps_inf", conversions, problems)
        conversions.append("eps_inf: 1 + 4 pi alpha/V of the polarizability of the cell")
        if "Berry phase_" not in text:
            problems.append(
                "the polarizability is not that of the periodic operator (PERIODIC_DIPOLE_OPERATOR); repeat it with it"
            )
    if _TENSORS.search(text):
        targets["born_charges"] = _charges(text, len(atoms))
        conversions.append("born_charges: transposed from rows of displacements to rows of dipoles")
    if "SCF run NOT converged" in text:
        problems.append("a cycle of CP2K did not converge; repeat it with more iterations")
    if "PROGRAM ENDED AT" not in text:
        problems.append("CP2K did not finish; repeat it if it stopped with an error")
    yield Calculation(atoms, targets, _provenance(file, text, conversions), tuple(problems) if targets else ())


def _apart(file: RunFile, crystals: Sequence[Calculation], inputs: Sequence[RunFile]) -> Iterator[Calculation]:
    """Tensors in a file of their own."""
    provenance = Provenance((file.path,), "CP2K")
    if len(crystals) == 1:
        atoms, provenance = crystals[0].atoms, crystals[0].provenance
    elif not crystals and len(inputs) == 1:
        atoms = structure(read_cp2k(inputs[0].read()))
    else:
        raise InputError("does not say which crystal it is of; put the output of its run, and no other, beside it")
    conversion = "born_charges: transposed from rows of displacements to rows of dipoles"
    provenance = Provenance(
        files=tuple(dict.fromkeys((*provenance.files, file.path))),
        code="CP2K",
        version=provenance.version,
        functional=provenance.functional,
        spin=provenance.spin,
        kpoints=provenance.kpoints,
        cutoff=provenance.cutoff,
        conversions=(conversion,),
    )
    yield Calculation(atoms, {"born_charges": _charges(file.read(), len(atoms))}, provenance)


def _charges(text: str, count: int) -> Array:
    rows: list[list[float]] = []
    for line in text[[match.end() for match in _TENSORS.finditer(text)][-1] :].splitlines():
        if "Write the total apt matrix" in line:
            break
        if match := _ROW.match(line):
            rows.append(numbers(match[1]))
    if len(rows) != 3 * count:
        raise InputError(
            f"has atomic polar tensors of {len(rows) / 3:g} atoms instead of {count}; compute them for all atoms"
        )
    return np.array(rows).reshape(count, 3, 3).transpose(0, 2, 1)


def _polarizability(text: str) -> Array | None:
    """The last one, bohr^3."""
    start = text.rfind("POLAR| Polarizability tensor [a.u.]")
    if start < 0:
        return None
    alpha = np.full((3, 3), np.nan)
    for line in text[start : start + 600].splitlines()[1:4]:
        names = re.search(r"((?:[xyz]{2},){2}[xyz]{2})", line)
        if names is not None:
            for pair, value in zip(names[1].split(","), numbers(line[names.end() :]), strict=True):
                alpha["xyz".index(pair[0]), "xyz".index(pair[1])] = value
    if np.isnan(alpha).any():
        raise InputError("ends within its polarizability; let CP2K finish")
    return alpha


def _crystal(text: str) -> ase.Atoms:
    cell = {name: numbers(values) for name, values in _VECTOR.findall(text)}
    start = text.rfind("ATOMIC COORDINATES IN")
    lines = text[start:].splitlines() if start >= 0 else [""]
    sites: list[re.Match[str]] = []
    for line in lines[1:]:
        if match := _SITE.match(line):
            sites.append(match)
        elif sites:
            break
    if len(cell) != 3 or not sites:
        raise InputError("has no cell and atoms (CELL| Vector, ATOMIC COORDINATES); raise PRINT_LEVEL")
    from ase.units import Bohr

    unit = float(Bohr) if "ATOMIC COORDINATES IN BOHR" in lines[0].upper() else 1.0
    places = np.array([numbers(site[2]) for site in sites]) * unit
    return ase.Atoms([int(site[1]) for site in sites], places, cell=[cell[name] for name in "abc"], pbc=True)


def _provenance(file: RunFile, text: str, conversions: Sequence[str]) -> Provenance:
    version = re.search(r"CP2K\| version string:\s+CP2K version (\S+)", text)
    names = re.findall(r"^ FUNCTIONAL\| ([A-Z0-9_]+):", text, re.MULTILINE)
    mesh = re.search(r"K-Point grid\s+(\d+)\s+(\d+)\s+(\d+)", text)
    spins = re.search(
        r"Spin unrestricted \(spin-polarized\) Kohn-Sham calculation|DFT\| Spin unrestricted .* UKS|UKS", text
    )
    return Provenance(
        files=(file.path,),
        code="CP2K",
        version=version[1] if version else "",
        functional=functional_label(" ".join(dict.fromkeys(names))),
        spin="collinear" if spins else "none",
        kpoints=tuple(int(word) for word in mesh.groups()) if mesh else (1, 1, 1),
        conversions=tuple(conversions),
    )
