"""Derivative databases: tensors of one's own, turned into second derivatives in reduced coordinates."""

from __future__ import annotations

from typing import Any

import ase
import numpy as np
import pytest
from ase.units import Bohr, Hartree
from numpy.typing import NDArray
from tests.calculations.codes.tensors import symmetric
from tests.calculations.runs import asymmetric, only, run_file, triclinic

from voigt.calculations.codes import abinit, abinit_ddb
from voigt.notes import Failure
from voigt.tensors.voigt import elastic_to_voigt, piezo_to_voigt

COUNT = 5
IONS = {"Sr": 10.0, "Ti": 12.0, "O": 6.0}
CHARGES = asymmetric(1, COUNT, 3, 3)
EPS = symmetric(2, 3, 12)
PIEZO = asymmetric(3, 3, 6) / 10
ELASTIC = symmetric(4, 6, 60)
STRAIN = asymmetric(5, COUNT, 3, 6) / 10
PER_AREA = 1.602176634e-19 / (Bohr * 1e-10) ** 2


def springs() -> NDArray[Any]:
    """Positive definite but for translations, Hartree/bohr^2."""
    half = np.random.default_rng(6).normal(size=(3 * COUNT, 3 * COUNT))
    whole = half @ half.T / 100
    translations = np.tile(np.eye(3), (COUNT, 1)) / np.sqrt(COUNT)
    rest = np.eye(3 * COUNT) - translations @ translations.T
    return (rest @ whole @ rest).reshape(COUNT, 3, COUNT, 3)


def derivatives(parts: set[str], halves: tuple[float, float] = (1.0, 1.0)) -> dict[tuple[int, int, int, int], float]:
    """Entries (direction, perturbation, direction, perturbation) of what `parts` names.

    The field in reduced coordinates is dE_red = A E_cart 2 pi^-1 turned round, displacements are fractional: both are
    linear maps of the Cartesian ones, undone here by solving instead of the formulas of the reader.
    """
    atoms = triclinic()
    cell = atoms.cell.array / Bohr
    volume = abs(np.linalg.det(cell))
    # d/dE_cart = (A^T / 2 pi) d/dE_red and d/du_cart = A^-1 d/dx, so that the reduced ones are the solutions of these.
    field = np.linalg.inv(cell.T / (2 * np.pi))
    electric, axes = COUNT + 2, range(3)
    found: dict[tuple[int, int, int, int], float] = {}

    def put(values: NDArray[Any], first: int, second: int) -> None:
        for i in axes:
            for j in axes:
                found[i + 1, first, j + 1, second] = values[i, j]

    if "eps" in parts:
        put(field @ ((np.eye(3) - EPS) * volume / (4 * np.pi)) @ field.T, electric, electric)
    for site, symbol in enumerate(atoms.get_chemical_symbols()):
        electronic = CHARGES[site] - IONS[symbol] * np.eye(3)
        mixed = field @ electronic @ cell.T
        if "field" in parts:
            put(mixed * halves[0], electric, site + 1)
        if "phonon" in parts:
            put((mixed * halves[1]).T, site + 1, electric)
    for half in (0, 1):
        columns = slice(3 * half, 3 * half + 3)
        if "piezo" in parts:
            put(field @ PIEZO[:, columns] / PER_AREA * volume, electric, COUNT + 3 + half)
        if "strain" in parts:
            for site in range(COUNT):
                put(cell @ STRAIN[site, :, columns], site + 1, COUNT + 3 + half)
            for other in (0, 1):
                block = ELASTIC[columns, 3 * other : 3 * other + 3] / 29421.02648 * volume
                put(block, COUNT + 3 + half, COUNT + 3 + other)
    if "springs" in parts:
        values = springs()
        for one in range(COUNT):
            for other in range(COUNT):
                put(cell @ values[one, :, other] @ cell.T, one + 1, other + 1)
    return found


def fortran(value: float, width: int = 22, digits: int = 14) -> str:
    return f"{value:{width}.{digits}E}".replace("E", "D")


def database(entries: dict[tuple[int, int, int, int], float], version: str = "100401", wave: float = 0.0) -> str:
    atoms = triclinic()
    kinds = list(dict.fromkeys(atoms.get_chemical_symbols()))
    nuclei = [ase.Atom(kind).number for kind in kinds]

    def variable(name: str, values: Any) -> str:
        rows = np.array(values, dtype=float).reshape(-1, 3) if len(values) % 3 == 0 else [values]
        text = ("\n" + " " * 10).join("".join(fortran(x) for x in row) for row in rows)
        return f"{name:>10s}{text}"

    head = [
        "", " **** DERIVATIVE DATABASE ****    ", f"+DDB, Version number    {version}", "", " my 2 title", "",
        "    usepaw         0", f"     natom         {COUNT}", "      nkpt         1", "    nsppol         1",
        f"    ntypat         {len(kinds)}", variable("acell", [1.0, 1.0, 1.0]), variable("ecut", [20.0]),
        "       ixc        11", "    nspden         1", "   nspinor         1",
        variable("rprim", (atoms.cell.array / Bohr).ravel()),
        "     typat" + "".join(f"{kinds.index(s) + 1:5d}" for s in atoms.get_chemical_symbols()),
        variable("xred", atoms.get_scaled_positions(wrap=False).ravel()), variable("znucl", [float(n) for n in nuclei]),
        variable("zion", [IONS[kind] for kind in kinds]), "", "  No information on the potentials yet", "",
        " **** Database of total energy derivatives ****", " Number of data blocks=    1", "",
    ]  # fmt: skip
    body = [f" 2nd derivatives (non-stat.)  - # elements :{len(entries):8d}"]
    body.append(" qpt" + "".join(f"{x:16.8E}" for x in (wave, 0.0, 0.0)) + "   1.0")
    body += [
        "".join(f"{number:4d}" for number in place) + fortran(value) + fortran(0.0) for place, value in entries.items()
    ]
    tail = ["", " List of bloks and their characteristics ", "", body[0], body[1]]
    return "\n".join([*head, *body, *tail]) + "\n"


def read(text: str) -> list[Any]:
    file = run_file("run_DDB", text)
    assert abinit_ddb.recognizes(file)
    return list(abinit_ddb.read([file]))


@pytest.mark.parametrize("version", ["10929", "100401", "20230401"])
@pytest.mark.parametrize("way", ["field", "phonon"])
def test_reduced_coordinates_become_cartesian(way: str, version: str) -> None:
    found = only(read(database(derivatives({"eps", way}), version)))
    np.testing.assert_allclose(found.targets["eps_inf"], EPS, atol=1e-9)
    np.testing.assert_allclose(found.targets["born_charges"], CHARGES, atol=1e-9)
    np.testing.assert_allclose(found.atoms.positions, triclinic().positions, atol=1e-9)


def test_charges_that_stand_there_twice_are_averaged() -> None:
    found = only(read(database(derivatives({"field", "phonon"}, halves=(0.9, 1.1)))))
    np.testing.assert_allclose(found.targets["born_charges"], CHARGES, atol=1e-9)


def test_piezoelectric_tensor_of_clamped_ions() -> None:
    found = only(read(database(derivatives({"piezo"}))))
    np.testing.assert_allclose(piezo_to_voigt(found.targets["piezo_clamped"]), PIEZO, rtol=1e-6)


def test_relaxed_ions_solve_their_equations() -> None:
    found = only(read(database(derivatives({"eps", "field", "piezo", "strain", "springs"}))))
    volume = abs(np.linalg.det(triclinic().cell.array / Bohr))
    # Displacements (in the frame of the mean) that a field and strains cause: K u = Z^T E - Lambda eta, atomic units.
    matrix = springs().reshape(3 * COUNT, 3 * COUNT) + np.kron(np.ones((COUNT, COUNT)), np.eye(3))
    strain = STRAIN - STRAIN.mean(axis=0)
    charge = (CHARGES - CHARGES.mean(axis=0)).transpose(0, 2, 1).reshape(3 * COUNT, 3)
    by_field = np.linalg.solve(matrix, charge)
    by_strain = np.linalg.solve(matrix, -strain.reshape(3 * COUNT, 6))
    np.testing.assert_allclose(found.targets["eps_ionic"], 4 * np.pi / volume * charge.T @ by_field, rtol=1e-5)
    total = PIEZO + charge.T @ by_strain / volume * PER_AREA
    np.testing.assert_allclose(piezo_to_voigt(found.targets["piezo_total"]), total, rtol=1e-5, atol=1e-5)
    relaxed = ELASTIC + strain.reshape(-1, 6).T @ by_strain / volume * 29421.02648
    np.testing.assert_allclose(elastic_to_voigt(found.targets["elastic"]), relaxed, rtol=1e-4, atol=1e-2)


def test_an_unstable_crystal_has_no_relaxed_ions() -> None:
    entries = derivatives({"eps", "field", "springs"})
    negative = {place: -value if max(place[1], place[3]) <= COUNT else value for place, value in entries.items()}
    found = only(read(database(negative)))
    assert set(found.targets) == {"eps_inf", "born_charges"}
    assert any("unstable" in text for text in found.problems)


def test_provenance() -> None:
    provenance = only(read(database(derivatives({"eps"})))).provenance
    assert (provenance.code, provenance.functional, provenance.spin) == ("ABINIT", "PBE", "none")
    assert provenance.cutoff == pytest.approx(20 * Hartree, abs=1e-4)


def test_another_wave_vector_holds_no_tensors() -> None:
    (failure,) = read(database(derivatives({"springs"}), wave=0.5))
    assert isinstance(failure, Failure)
    assert "mrgddb" in failure.problem


def test_charges_of_some_atoms_are_left_out_and_named() -> None:
    entries = {place: value for place, value in derivatives({"eps", "field"}).items() if place[3] != 3}
    found = only(read(database(entries)))
    assert list(found.targets) == ["eps_inf"]
    assert any("4 of 5 atoms" in text for text in found.problems)


@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
def test_a_database_that_is_cut_short_fails(share: float) -> None:
    text = database(derivatives({"eps", "field", "springs"})).partition("\n List of bloks")[0]
    (failure,) = read(text[: int(share * len(text))])
    assert isinstance(failure, Failure)
    assert failure.kind == "unreadable"


def test_abinit_reads_databases_too() -> None:
    file = run_file("run_DDB", database(derivatives({"eps"})))
    assert abinit.recognizes(file)
    np.testing.assert_allclose(only(list(abinit.read([file]))).targets["eps_inf"], EPS, atol=1e-9)
