"""Derivative databases of ABINIT (DDB): second derivatives of the energy at Gamma, and the tensors they are.

Perturbations, with n atoms: 1 to n displacements, n + 2 the electric field, n + 3 strains xx yy zz, n + 4 strains yz
xz xy. Displacements and fields are in reduced coordinates and become Cartesian as in src/72_response/cart29.F90 and
cart39.F90: displacements by the inverse cell, fields by the cell over 2 pi. Born charges are that plus the charge of
the ion (zion) and stand there twice, as d/dE d/du and d/du d/dE, of which dtech9.F90 and we take the mean; the
permittivity is 1 - 4 pi/V d2E/dE2; the proper piezoelectric tensor of clamped ions is d2E/dE deta over V
(piezo9.F90), in the sign of dP/deta, as Born charges are. Atomic units. What relaxing ions add is computed as anaddb
does, with the sum rule for springs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import ase
import numpy as np

from voigt.calculations.calculation import Calculation, Outcome, Provenance, RunFile
from voigt.calculations.codes.abinit_words import functional_of_ixc, spin_of
from voigt.calculations.codes.combining import combined
from voigt.calculations.codes.lattice_response import with_relaxed_ions
from voigt.calculations.codes.parsing import Array, count_of_atoms, guarded, permittivity
from voigt.errors import InputError

_HEAD = "**** DERIVATIVE DATABASE ****"
_BLOCK = re.compile(r"^ 2nd derivatives \([^)]*\)\s*- # elements :\s*(\d+)", re.MULTILINE)
_END_OF_HEADER = re.compile(
    r"^[ \t]*(?:Description of the (?:potentials|PAW)|No information on the potentials)", re.MULTILINE
)
_MOST_PERTURBATIONS = 500
"""The matrix of all perturbations has 9 n^2 numbers."""


def recognizes(file: RunFile) -> bool:
    """Whether it is a derivative database."""
    return _HEAD in file.head[:2000]


def read(files: Sequence[RunFile]) -> Iterator[Outcome]:
    """The databases in a folder."""
    missing = "holds no second derivatives by electric field or strain at Gamma; merge it with those (mrgddb)"
    outcomes = (outcome for file in files for outcome in guarded(file, "ABINIT DDB", read_database))
    return combined(outcomes, files, missing)


def read_database(file: RunFile) -> Iterator[Calculation]:
    """The calculation of one database; without tensors if it has none at Gamma."""
    text = file.read()
    header = _header(text)
    atoms = _crystal(header)
    derivatives = _derivatives(text, len(atoms))
    conversions: list[str] = []
    problems: list[str] = []
    targets = {} if derivatives is None else _targets(derivatives, atoms, header, conversions, problems)
    provenance = Provenance(
        files=(file.path,),
        code="ABINIT",
        functional=functional_of_ixc(int(_one(header, "ixc", 0.0))),
        spin=spin_of(_one(header, "nsppol", 1.0), _one(header, "nspinor", 1.0), _one(header, "nspden", 1.0)),
        cutoff=_cutoff(header),
        conversions=tuple(conversions),
    )
    yield Calculation(atoms, targets, provenance, tuple(problems))


@dataclass(frozen=True)
class _Derivatives:
    """Values [direction, perturbation, direction, perturbation] as they stand in the file, and which are there."""

    values: Array
    known: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]

    def part(self, first: int, second: int) -> Array | None:
        """The 3 x 3 block of two perturbations, counted from 0, if it is whole."""
        return self.values[:, first, :, second] if self.known[:, first, :, second].all() else None

    def rows(self, first: Sequence[int], second: Sequence[int]) -> Array | None:
        """Blocks of several perturbations, (3 n, 3 m), if they are whole."""
        blocks = [[self.part(one, other) for other in second] for one in first]
        if any(block is None for row in blocks for block in row):
            return None
        return np.block(blocks)  # type: ignore[arg-type]


def _targets(
    found: _Derivatives, atoms: ase.Atoms, header: dict[str, list[float]], conversions: list[str], problems: list[str]
) -> dict[str, Array]:
    from ase.units import Bohr, Hartree
    from scipy import constants

    from voigt.tensors.voigt import elastic_from_voigt, piezo_from_voigt

    bohr, hartree = float(Bohr), float(Hartree)
    cell = atoms.cell.array / bohr
    volume, count = float(abs(np.linalg.det(cell))), len(atoms)
    inverse, field = np.linalg.inv(cell), cell.T / (2 * np.pi)
    sites, electric, strains = list(range(count)), count + 1, [count + 2, count + 3]
    targets: dict[str, Array] = {}
    clamped = found.part(electric, electric)
    if clamped is not None:
        targets["eps_inf"] = permittivity(
            np.eye(3) - 4 * np.pi / volume * field @ clamped @ field.T, "eps_inf", conversions, problems
        )
    ions = np.array(header["zion"])[np.array(header["typat"], dtype=int) - 1]
    charges = [_charge(found, site, electric, inverse, field, ions[site]) for site in sites]
    whole = [charge for charge in charges if charge is not None]
    if whole and len(whole) == count:
        targets["born_charges"] = np.array(whole)
        conversions.append("born_charges: from second derivatives in reduced coordinates, with the charges of the ions")
    elif whole:
        problems.append(
            f"the DDB has Born charges of {len(whole)} of {count} atoms, which are left out; merge in the others"
        )
    mixed = found.rows([electric], strains)
    if mixed is None and (swapped := found.rows(strains, [electric])) is not None:
        mixed = swapped.T
    if mixed is not None:
        per_area = constants.elementary_charge / (bohr * 1e-10) ** 2
        targets["piezo_clamped"] = piezo_from_voigt(field @ mixed / volume * per_area)
        conversions.append("piezo_clamped: from second derivatives by reduced fields and strains, e/bohr^2 to C/m^2")
    springs = found.rows(sites, sites)
    if springs is None:
        if found.known[:, :count, :, :count].any():
            problems.append(
                "not all second derivatives by displacements are there, so that tensors of relaxed ions are left out"
            )
        return targets
    springs = np.einsum("ci,aibj,dj->abcd", inverse, springs.reshape(count, 3, count, 3), inverse) * hartree / bohr**2
    coupling, stiffness = found.rows(sites, strains), found.rows(strains, strains)
    if coupling is not None:
        coupling = np.einsum("ci,aij->acj", inverse, coupling.reshape(count, 3, 6)) * hartree / bohr
    pressure = hartree / bohr**3 * constants.elementary_charge * 1e21  # GPa per Hartree/bohr^3
    with_relaxed_ions(
        targets,
        springs,
        float(atoms.get_volume()),
        conversions,
        problems,
        None if coupling is None else piezo_from_voigt(coupling),
        None if stiffness is None else elastic_from_voigt((stiffness + stiffness.T) / 2 / volume * pressure),
    )
    return targets


def _charge(found: _Derivatives, site: int, electric: int, inverse: Array, field: Array, ion: float) -> Array | None:
    """Z[field, displacement] of an atom, the mean of what is there."""
    ways = []
    if (way := found.part(electric, site)) is not None:
        ways.append(field @ way @ inverse.T)
    if (way := found.part(site, electric)) is not None:
        ways.append(field @ way.T @ inverse.T)
    return ion * np.eye(3) + np.mean(ways, axis=0) if ways else None


def _derivatives(text: str, count: int) -> _Derivatives | None:
    """All second derivatives at Gamma, later blocks first in what several have."""
    size = count + 4
    if size > _MOST_PERTURBATIONS:
        raise InputError(f"has {count} atoms, too many for a database of all second derivatives; use a smaller cell")
    values, known = np.zeros((3, size, 3, size)), np.zeros((3, size, 3, size), dtype=bool)
    body = text[:index] if (index := text.find("List of bloks and their characteristics")) > 0 else text
    for match in _BLOCK.finditer(body):
        lines = body[match.end() :].lstrip("\n").split("\n", int(match[1]) + 1)
        if not lines[0].lstrip().startswith("qpt"):
            raise InputError("has a block of second derivatives without its wave vector; export it again")
        if any(float(word) for word in _words(lines[0])[1:4]):
            continue
        rows = [_words(line) for line in lines[1 : int(match[1]) + 1]]
        if len(rows) < int(match[1]) or any(len(row) != 6 for row in rows):
            raise InputError("ends within a block of second derivatives; let ABINIT finish or merge it again")
        places = np.array([row[:4] for row in rows], dtype=int) - 1
        inside = (places[:, 1] < size) & (places[:, 3] < size)
        index_of = tuple(places[inside].T)
        values[index_of] = np.array([float(row[4]) for row in rows])[inside]
        known[index_of] = True
    return _Derivatives(values, known) if known.any() else None


def _header(text: str) -> dict[str, list[float]]:
    """Variable -> numbers."""
    end = _END_OF_HEADER.search(text)
    if end is None:
        raise InputError("ends within its header; let ABINIT finish")
    values: dict[str, list[float]] = {}
    current: list[float] = []
    for line in text[: end.start()].splitlines()[4:]:
        words = _words(line)
        if words and re.fullmatch(r"[A-Za-z]\w*", words[0]):
            current = values.setdefault(words.pop(0).lower(), [])
        try:
            current += [float(word) for word in words]
        except ValueError:  # the title, which anybody may write
            current = []
    return values


def _crystal(header: dict[str, list[float]]) -> ase.Atoms:
    from ase.units import Bohr

    count = count_of_atoms(_one(header, "natom", 0.0))
    sizes = {"acell": 3, "rprim": 9, "typat": count, "xred": 3 * count}
    wrong = [name for name, size in sizes.items() if len(header.get(name, [])) != size]
    kinds = np.array(header.get("typat", []), dtype=int)
    nuclei = header.get("znucl", [])
    if wrong or not ((kinds >= 1) & (kinds <= len(nuclei))).all() or len(header.get("zion", [])) != len(nuclei):
        raise InputError(f"has no complete {', '.join(wrong) or 'znucl and zion'} in its header; export it again")
    cell = np.array(header["acell"])[:, None] * np.reshape(header["rprim"], (3, 3)) * float(Bohr)
    if any(number % 1 for number in nuclei):
        raise InputError("has mixed atoms; choose an ordered structure")
    numbers = np.array(nuclei, dtype=int)[kinds - 1]
    return ase.Atoms(numbers, scaled_positions=np.reshape(header["xred"], (-1, 3)), cell=cell, pbc=True)


def _words(line: str) -> list[str]:
    """Words of a line, exponents as Python writes them."""
    return re.sub(r"(?<=\d)[dD](?=[-+]\d)", "e", line).split()


def _one(header: dict[str, list[float]], name: str, default: float) -> float:
    return header[name][0] if header.get(name) else default


def _cutoff(header: dict[str, list[float]]) -> float | None:
    from ase.units import Hartree

    return round(_one(header, "ecut", 0.0) * float(Hartree), 6) or None
