"""Dynamical matrices of ph.x (.dyn files, as text and as XML): cell, atoms, permittivity, Born charges, springs at
Gamma.

From PHonon/PH/write_epsilon_and_zeu.f90, sym_and_write_zue.f90 and io_dyn_mat.f90: "E-U" is zstareu(field,
displacement) with the field in the rows; "U-E" is zstarue(displacement, polarization) with the displacement in the
rows, the transpose of ours. XML files hold arrays in the order of Fortran, first index fastest, so that zstareu
stands transposed there. Matrices are second derivatives without masses, Ry/bohr^2, of positions in units of
celldm(1).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import ase
import numpy as np

from voigt.calculations.calculation import Calculation, Provenance, RunFile
from voigt.calculations.codes.espresso_lattices import lattice
from voigt.calculations.codes.lattice_response import with_relaxed_ions
from voigt.calculations.codes.parsing import Array, count_of_atoms, matrix, numbers, permittivity
from voigt.errors import InputError

_TEXT = re.compile(r"^ +Dynamical  ?Matrix in cartesian axes", re.MULTILINE)
_XML = re.compile(r"<GEOMETRY_INFO>")
_MOST_SPRINGS = 300
"""Atoms up to which the matrix, 9 n^2 numbers, is read."""


def is_matrix_file(head: str) -> bool:
    """Whether a file begins like a dynamical matrix of ph.x."""
    return _TEXT.search(head) is not None or (head.lstrip().startswith("<?xml") and _XML.search(head) is not None)


def read_matrix_file(file: RunFile) -> Iterator[Calculation]:
    """The calculation of a file at Gamma; nothing of one at another wave vector, or of a metal."""
    text = file.read()
    parse = _xml if text.lstrip().startswith("<?xml") else _text
    conversions: list[str] = []
    problems: list[str] = []
    found = parse(text, conversions)
    if found is None:
        return
    atoms, tensors, springs = found
    targets = dict(tensors)
    targets["eps_inf"] = permittivity(targets["eps_inf"], "eps_inf", conversions, problems)
    if springs is not None:
        with_relaxed_ions(targets, springs, float(atoms.get_volume()), conversions, problems)
    provenance = Provenance((file.path,), "Quantum ESPRESSO", conversions=tuple(conversions))
    yield Calculation(atoms, targets, provenance, tuple(problems))


Found = tuple[ase.Atoms, dict[str, Array], Array | None]
"""Crystal, eps_inf and born_charges, springs at Gamma (n_atoms, n_atoms, 3, 3) in eV/Angstrom^2."""


def _text(text: str, conversions: list[str]) -> Found | None:
    lines = text.splitlines()
    heads = [number for number, line in enumerate(lines) if line.strip() == "Dielectric Tensor:"]
    if not heads:
        return None
    atoms, body = _text_crystal(lines)
    tensors: dict[str, Array] = {"eps_inf": matrix(lines, heads[-1] + 1, 3, 3)}
    for name, transposed in (("E-U", False), ("U-E", True)):
        starts = [number for number, line in enumerate(lines) if line.strip().startswith(f"Effective Charges {name}")]
        if not starts or "born_charges" in tensors:
            continue
        rows = [line for line in lines[starts[-1] + 1 :] if line.strip() and "atom" not in line][: 3 * len(atoms)]
        charges = matrix(rows, 0, 3 * len(atoms), 3).reshape(-1, 3, 3)
        tensors["born_charges"] = charges.transpose(0, 2, 1) if transposed else charges
        if transposed:
            conversions.append("born_charges: transposed from rows of displacements (U-E) to rows of fields")
    return atoms, tensors, _text_springs(lines[body:], len(atoms))


def _text_crystal(lines: Sequence[str]) -> tuple[ase.Atoms, int]:
    """The crystal, and the line after it."""
    first = numbers(lines[2])
    if len(first) != 9:
        raise InputError("does not begin with numbers of types and atoms, ibrav and celldm; export it again")
    kinds, count, place = int(first[0]), count_of_atoms(first[1]), 3
    given = first[3:]
    if int(first[2]) == 0:
        cell = matrix(lines, place + 1, 3, 3) * given[0]
        place += 4
    else:
        cell = lattice(int(first[2]), given)
    types = [re.match(r"\s*(\d+)\s+'(.*?)'\s+\S+", line) for line in lines[place : place + kinds]]
    rows = [line.split() for line in lines[place + kinds : place + kinds + count]]
    if None in types or len(rows) != count or any(len(row) != 5 for row in rows):
        raise InputError("has no complete list of types and atoms; export it again")
    names = {match[1]: match[2].strip() for match in types if match}
    return _atoms([names[row[1]] for row in rows], [numbers(" ".join(row[2:])) for row in rows], cell, given[0]), (
        place + kinds + count
    )


def _text_springs(lines: Sequence[str], count: int) -> Array | None:
    """The first matrix, if it is the one at Gamma and whole."""
    start = next((number for number, line in enumerate(lines) if _TEXT.match(line)), None)
    if start is None or count > _MOST_SPRINGS:
        return None
    words = [line.split() for line in lines[start + 1 : start + 5 + 8 * count**2] if line.strip()]
    wave = numbers(" ".join(words[0]))
    values: list[float] = []
    for row in words[1:]:
        if len(values) == 18 * count**2:
            break
        if len(row) > 2:  # real and imaginary parts; lines of two numbers say which atoms
            values += numbers(" ".join(row))
    if any(wave) or len(values) != 18 * count**2:
        return None
    real = np.array(values).reshape(count, count, 3, 3, 2)[..., 0]
    return real * _spring_unit()


def _xml(text: str, conversions: list[str]) -> Found | None:
    if "<EPSILON" not in text:
        return None
    alat = _tag(text, "CELL_DIMENSIONS", 6)[0]
    count = count_of_atoms(_tag(text, "NUMBER_OF_ATOMS", 1)[0])
    cell = _tag(text, "AT", 9).reshape(3, 3) * alat
    sites = re.findall(r'<ATOM\.\d+ SPECIES="([^"]*)"[^>]*?TAU="([^"]*)"', text)
    if len(sites) != count:
        raise InputError(f"lists {len(sites)} atoms instead of {count}; export it again")
    atoms = _atoms([name.strip() for name, _ in sites], [numbers(place) for _, place in sites], cell, alat)
    tensors: dict[str, Array] = {"eps_inf": _tag(text, "EPSILON", 9).reshape(3, 3)}
    if "<ZSTAR" in text:
        charges = np.array([_tag(text, f"Z_AT_.{atom}", 9) for atom in range(1, count + 1)]).reshape(-1, 3, 3)
        tensors["born_charges"] = charges.transpose(0, 2, 1)
        conversions.append("born_charges: transposed from the order of Fortran arrays to rows of fields")
    if count > _MOST_SPRINGS or _tag(text, "Q_POINT", 3).any():
        return atoms, tensors, None
    blocks = re.findall(r"<PHI\.(\d+)\.(\d+)[^>]*>([^<]*)<", text)[: count**2]
    if len(blocks) != count**2:
        return atoms, tensors, None
    springs = np.zeros((count, count, 3, 3))
    for first, second, values in blocks:
        springs[int(first) - 1, int(second) - 1] = np.array(numbers(values)).reshape(3, 3, 2)[..., 0].T
    return atoms, tensors, springs * _spring_unit()


def _tag(text: str, name: str, count: int) -> Array:
    """Numbers in the first element of a name."""
    match = re.search(rf"<{re.escape(name)}(?:\s[^>]*)?>([^<]*)<", text)
    values = numbers(match[1]) if match else []
    if len(values) != count:
        raise InputError(f"has {len(values)} numbers in {name} instead of {count}; export it again")
    return np.array(values)


def _atoms(labels: Sequence[str], places: Sequence[Sequence[float]], cell: Array, alat: float) -> ase.Atoms:
    """The crystal of a cell in bohr and places in units of alat."""
    from ase.io.espresso import label_to_symbol

    unit = _bohr()
    return ase.Atoms(
        [label_to_symbol(label) for label in labels], np.array(places) * alat * unit, cell=cell * unit, pbc=True
    )


def _bohr() -> float:
    from ase.units import create_units

    return float(create_units("2006")["Bohr"])


def _spring_unit() -> float:
    """eV/Angstrom^2 per Ry/bohr^2."""
    from ase.units import create_units

    units = create_units("2006")
    return float(units["Rydberg"] / units["Bohr"] ** 2)
