"""Outputs of ph.x, as versions 6.0 and 7.2 print them, and its dynamical matrices, as text and as XML."""

from __future__ import annotations

from typing import Any

import ase
import numpy as np
import pytest
from ase.units import create_units
from numpy.typing import NDArray
from tests.calculations.codes.tensors import symmetric
from tests.calculations.runs import asymmetric, only, run_file, triclinic

from voigt.calculations.calculation import Calculation
from voigt.calculations.codes import espresso
from voigt.calculations.codes.espresso_lattices import lattice
from voigt.errors import InputError
from voigt.notes import Failure

UNITS = create_units("2006")
ALAT = 7.5
CHARGES = asymmetric(1, 5, 3, 3)
EPS = symmetric(2, 3, 12)


def in_alat(atoms: ase.Atoms) -> tuple[NDArray[Any], NDArray[Any]]:
    return atoms.cell.array / ALAT / UNITS["Bohr"], atoms.positions / ALAT / UNITS["Bohr"]


def phonon_output(
    atoms: ase.Atoms,
    version: str = "7.2",
    tail: str = "",
    functional: str = "     Exchange-correlation= PBESOL\n                           (   1   4  10   8   0   0   0)",
) -> str:
    cell, places = in_alat(atoms)
    axes = "\n".join(
        f"               a({n}) = ( {row[0]:7.4f} {row[1]:7.4f} {row[2]:7.4f} )  " for n, row in enumerate(cell, 1)
    )
    sites = "\n".join(
        f"     {n:4d}     {symbol:<5s} 50.0000   tau({n:5d}) = ({x:11.5f}{y:11.5f}{z:11.5f}  )"
        for n, (symbol, (x, y, z)) in enumerate(zip(atoms.get_chemical_symbols(), places, strict=True), 1)
    )
    return f"""
     Program PHONON v.{version} starts on  1Jan2024 at  1: 2: 3

     Calculation of q =    0.0000000   0.0000000   0.0000000

     bravais-lattice index     =            0
     lattice parameter (alat)  =  {ALAT:12.4f}  a.u.
     number of atoms/cell      =  {len(atoms):12d}
     number of atomic types    =            3
     kinetic-energy cut-off    =      40.0000  Ry
{functional}
      Hubbard parameters:
      U ( 2)     =  3.50000000

     crystal axes: (cart. coord. in units of alat)
{axes}

     Atoms inside the unit cell:

     site n.  atom      mass           positions (alat units)
{sites}

     PseudoPot. # 1 for Sr read from file:
     PseudoPot. # 2 for Ti read from file:
     PseudoPot. # 3 for O  read from file:
{tail}
     JOB DONE.
"""


def permittivity() -> str:
    rows = "\n".join("          (" + "".join(f"{x:18.9f}" for x in row) + " )" for row in EPS)
    return f"\n          Dielectric constant in cartesian axis \n\n{rows}\n"


def charges(values: NDArray[Any], title: str, letter: str = "E", corrected: bool = False) -> str:
    """One row for each field or polarization, as summarize_zeu and summarize_zue print them."""
    lines = [f"\n          Effective charges {title}\n"]
    for number, tensor in enumerate(values, 1):
        lines.append(f"           atom {number:4d}   X Mean Z*:{np.trace(tensor) / 3:15.5f}")
        for axis, row in zip("xyz", tensor, strict=True):
            name = f"{letter}*{axis} (" if corrected else f"{letter}{axis}  ("
            lines.append(f"      {name}" + "".join(f"{x:15.5f}" for x in row) + " )")
    return "\n".join(lines) + "\n"


OLD = "(d Force / dE) in cartesian axis"
RAW = "(d Force / dE) in cartesian axis without acoustic sum rule applied (asr)"
CORRECTED = "(d Force / dE) in cartesian axis with asr applied: "


def matrix_file(atoms: ase.Atoms, blocks: str = "", springs: NDArray[Any] | None = None, wave: float = 0.0) -> str:
    cell, places = in_alat(atoms)
    kinds = list(dict.fromkeys(atoms.get_chemical_symbols()))
    lines = ["Dynamical matrix file", "a title", f"{len(kinds):3d}{len(atoms):5d}{0:4d}{ALAT:12.7f}" + f"{0:12.7f}" * 5]
    lines += ["Basis vectors", *("  " + "".join(f"{x:15.9f}" for x in row) for row in cell)]
    lines += [f"           {n}  '{kind:<4s}'    45000.5" for n, kind in enumerate(kinds, 1)]
    lines += [
        f"{n:5d}{kinds.index(symbol) + 1:5d}" + "".join(f"{x:18.10f}" for x in place)
        for n, (symbol, place) in enumerate(zip(atoms.get_chemical_symbols(), places, strict=True), 1)
    ]
    lines += ["", "     Dynamical  Matrix in cartesian axes", "", f"     q = ( {wave:14.9f}{0:14.9f}{0:14.9f} ) ", ""]
    values = np.zeros((len(atoms), len(atoms), 3, 3)) if springs is None else springs
    for first, second in np.ndindex(len(atoms), len(atoms)):
        lines.append(f"{first + 1:5d}{second + 1:5d}")
        lines += ["".join(f"{x:12.8f}{0:12.8f}  " for x in row) for row in values[first, second]]
    return "\n".join(lines) + "\n" + blocks


def tensor_blocks(kind: str, values: NDArray[Any]) -> str:
    head = {"E-U": "Effective Charges E-U: Z_{alpha}{s,beta}", "U-E": "Effective Charges U-E: Z_{s,alpha}{beta}"}[kind]
    wide = "".join(f"{x:24.12f}" for x in EPS.ravel())
    lines = [
        "",
        "     Dielectric Tensor:",
        "",
        *(wide[72 * row : 72 * row + 72] for row in range(3)),
        "",
        f"     {head}",
        "",
    ]
    for number, tensor in enumerate(values, 1):
        lines += [f"     atom # {number:4d}", *("".join(f"{x:24.12f}" for x in row) for row in tensor)]
    return "\n".join(lines) + "\n"


def read(*files: tuple[str, str]) -> list[Any]:
    found = [run_file(name, text) for name, text in files]
    assert all(espresso.recognizes(file) for file in found)
    return list(espresso.read(found))


def test_rows_of_forces_are_fields_in_the_layout_of_version_6() -> None:
    found = only(read(("ph.out", phonon_output(triclinic(), "6.0", permittivity() + charges(CHARGES, OLD)))))
    np.testing.assert_allclose(found.targets["born_charges"], CHARGES)
    np.testing.assert_allclose(found.targets["eps_inf"], EPS, atol=1e-8)
    np.testing.assert_allclose(found.atoms.positions, triclinic().positions, atol=1e-4)
    np.testing.assert_allclose(found.atoms.cell.array, triclinic().cell.array, atol=1e-3)


def test_charges_before_the_sum_rule_are_taken_in_the_layout_of_version_7() -> None:
    corrected = CHARGES - CHARGES.mean(axis=0)
    tail = permittivity() + charges(CHARGES, RAW) + charges(corrected, CORRECTED, corrected=True)
    found = only(read(("ph.out", phonon_output(triclinic(), "7.2", tail))))
    np.testing.assert_allclose(found.targets["born_charges"], CHARGES)
    assert found.problems == ()
    assert found.provenance.version == "7.2"


def test_corrected_charges_alone_are_read_and_said_to_be_so() -> None:
    tail = charges(CHARGES, CORRECTED, corrected=True)
    found = only(read(("ph.out", phonon_output(triclinic(), tail=tail))))
    np.testing.assert_allclose(found.targets["born_charges"], CHARGES)
    assert any("sum divided among the atoms" in text for text in found.provenance.conversions)


def test_rows_of_polarizations_are_ours_too() -> None:
    tail = charges(CHARGES, "(d P / du) in cartesian axis ", letter="P")
    found = only(read(("ph.out", phonon_output(triclinic(), tail=tail))))
    np.testing.assert_allclose(found.targets["born_charges"], CHARGES)


def test_two_ways_that_differ_are_a_problem() -> None:
    tail = charges(CHARGES, OLD) + charges(CHARGES + 0.2, "(d P / du) in cartesian axis ", letter="P")
    found = only(read(("ph.out", phonon_output(triclinic(), tail=tail))))
    np.testing.assert_allclose(found.targets["born_charges"], CHARGES)
    assert any("differ by 0.2 e" in text for text in found.problems)


def test_provenance_of_a_run() -> None:
    provenance = only(read(("ph.out", phonon_output(triclinic(), tail=permittivity())))).provenance
    assert (provenance.code, provenance.functional, provenance.hubbard_u) == ("Quantum ESPRESSO", "PBEsol", {"Ti": 3.5})
    assert provenance.cutoff == pytest.approx(40 * 13.605693, abs=1e-3)
    old = "     Exchange-correlation      =  SLA  PW   PBX  PBC ( 1  4  3  4 0 0)"
    assert only(read(("a", phonon_output(triclinic(), "5.4", permittivity(), old)))).provenance.functional == "PBE"


def test_a_run_that_ended_after_its_tensors_is_delivered_with_a_problem() -> None:
    text = phonon_output(triclinic(), tail=permittivity()).replace("JOB DONE", "")
    assert any("did not finish" in problem for problem in only(read(("ph.out", text))).problems)


def test_a_cycle_that_did_not_converge_is_a_problem() -> None:
    tail = permittivity() + "     No convergence has been achieved\n"
    found = only(read(("ph.out", phonon_output(triclinic(), tail=tail))))
    assert any("did not converge" in text for text in found.problems)


@pytest.mark.parametrize("lines", [1, 2, 9])
def test_a_run_that_ended_within_its_charges_fails(lines: int) -> None:
    text = phonon_output(triclinic(), tail=charges(CHARGES, OLD)).partition("     JOB DONE")[0].rstrip()
    (failure,) = read(("ph.out", "\n".join(text.splitlines()[:-lines])))
    assert isinstance(failure, Failure)
    assert (failure.kind, failure.source) == ("unreadable", "run/ph.out")


def test_numbers_that_did_not_fit_are_named() -> None:
    text = phonon_output(triclinic(), tail=permittivity()).replace(f"{EPS[0, 0]:18.9f}", "*" * 18)
    (failure,) = read(("ph.out", text))
    assert "where a number belongs" in failure.problem


def test_a_metal_and_another_wave_vector_hold_no_tensors() -> None:
    (failure,) = read(("ph.out", phonon_output(triclinic())), ("a.dyn2", matrix_file(triclinic(), wave=0.5)))
    assert isinstance(failure, Failure)
    assert "epsil" in failure.problem


def test_two_runs_in_one_output_are_two_calculations() -> None:
    other = triclinic(7)
    texts = [phonon_output(atoms, tail=permittivity()) for atoms in (triclinic(), other)]
    found = read(("ph.out", "".join(texts)))
    assert len(found) == 2
    np.testing.assert_allclose(found[1].atoms.positions, other.positions, atol=1e-4)


def test_rows_of_a_matrix_file_are_fields_if_it_says_so() -> None:
    found = only(read(("a.dyn1", matrix_file(triclinic(), tensor_blocks("E-U", CHARGES)))))
    np.testing.assert_allclose(found.targets["born_charges"], CHARGES, atol=1e-11)
    np.testing.assert_allclose(found.targets["eps_inf"], EPS, atol=1e-11)
    np.testing.assert_allclose(found.atoms.positions, triclinic().positions, atol=1e-7)


def test_rows_of_displacements_are_transposed() -> None:
    found = only(read(("a.dyn1", matrix_file(triclinic(), tensor_blocks("U-E", CHARGES.transpose(0, 2, 1))))))
    np.testing.assert_allclose(found.targets["born_charges"], CHARGES, atol=1e-11)
    assert any("transposed" in text for text in found.provenance.conversions)


def test_xml_holds_arrays_in_the_order_of_fortran() -> None:
    cell, places = in_alat(triclinic())
    symbols = triclinic().get_chemical_symbols()

    def numbers(values: NDArray[Any]) -> str:
        return "\n".join(f"{x:.15E}" for x in np.ravel(values))

    sites = "\n".join(
        f'<ATOM.{n} SPECIES="{s} " INDEX="1" TAU="{" ".join(f"{x:.12f}" for x in place)}"/>'
        for n, (s, place) in enumerate(zip(symbols, places, strict=True), 1)
    )
    blocks = "".join(
        f'<Z_AT_.{n} type="real" size="9" columns="3">\n{numbers(z.T)}\n</Z_AT_.{n}>' for n, z in enumerate(CHARGES, 1)
    )
    text = f"""<?xml version="1.0"?>
<Root><GEOMETRY_INFO><NUMBER_OF_ATOMS type="integer" size="1">5</NUMBER_OF_ATOMS>
<CELL_DIMENSIONS type="real" size="6">{ALAT} 0 0 0 0 0</CELL_DIMENSIONS>
<AT type="real" size="9" columns="3">{numbers(cell)}</AT>{sites}</GEOMETRY_INFO>
<DIELECTRIC_PROPERTIES><EPSILON type="real" size="9" columns="3">{numbers(EPS)}</EPSILON>
<ZSTAR>{blocks}</ZSTAR></DIELECTRIC_PROPERTIES>
<DYNAMICAL_MAT_.1><Q_POINT type="real" size="3" columns="3">0.0 0.0 0.0</Q_POINT></DYNAMICAL_MAT_.1></Root>"""
    found = only(read(("a.dyn1.xml", text)))
    np.testing.assert_allclose(found.targets["born_charges"], CHARGES)
    np.testing.assert_allclose(found.atoms.cell.array, triclinic().cell.array)


def test_ions_of_a_spring_add_what_they_must() -> None:
    atoms = ase.Atoms("LiF", [[0, 0, 0], [1.9, 2.0, 2.1]], cell=np.diag([4.0, 4.1, 4.2]), pbc=True)
    pull = np.diag([0.1, 0.2, 0.4])  # Ry/bohr^2
    springs = np.einsum("ij,ab->ijab", [[1.0, -1.0], [-1.0, 1.0]], pull)
    values = np.array([np.diag([1.0, 1.1, 1.2]), np.diag([-1.0, -1.1, -1.2])])
    found = only(read(("a.dyn", matrix_file(atoms, tensor_blocks("E-U", values), springs))))
    volume = atoms.get_volume() / UNITS["Bohr"] ** 3
    expected = 4 * np.pi / volume * np.diag(values[0]) ** 2 / (np.diag(pull) / 2)  # e^2 and Hartree, half a Rydberg
    np.testing.assert_allclose(np.diag(found.targets["eps_ionic"]), expected, rtol=1e-5)


def test_an_unstable_crystal_has_no_eps_ionic() -> None:
    atoms = ase.Atoms("LiF", [[0, 0, 0], [1.9, 2.0, 2.1]], cell=np.diag([4.0, 4.1, 4.2]), pbc=True)
    springs = np.einsum("ij,ab->ijab", [[1.0, -1.0], [-1.0, 1.0]], np.diag([0.1, -0.2, 0.4]))
    found = only(read(("a.dyn", matrix_file(atoms, tensor_blocks("E-U", CHARGES[:2]), springs))))
    assert "eps_ionic" not in found.targets
    assert any("unstable" in text for text in found.problems)


def test_files_of_one_run_are_one_calculation() -> None:
    rounded = charges(CHARGES.round(3), RAW)
    found = only(
        read(
            ("ph.out", phonon_output(triclinic(), tail=permittivity() + rounded)),
            ("a.dyn1", matrix_file(triclinic(), tensor_blocks("E-U", CHARGES))),
        )
    )
    np.testing.assert_allclose(found.targets["born_charges"], CHARGES, atol=1e-11)  # of the file with more digits
    assert found.provenance.files == ("run/a.dyn1", "run/ph.out")
    assert found.provenance.functional == "PBEsol"


def test_runs_of_one_crystal_with_two_functionals_stay_apart() -> None:
    other = phonon_output(triclinic(), tail=permittivity(), functional="     Exchange-correlation= PBE")
    found = read(("a.out", phonon_output(triclinic(), tail=permittivity())), ("b.out", other))
    assert [outcome.provenance.functional for outcome in found if isinstance(outcome, Calculation)] == ["PBEsol", "PBE"]


@pytest.mark.parametrize(
    ("ibrav", "lengths"),
    [
        (4, (1, 1, 1.6, 90, 90, 120)), (5, (1, 1, 1, 70, 70, 70)), (-5, (1, 1, 1, 70, 70, 70)),
        (12, (1, 1.2, 1.5, 90, 90, 75)), (-12, (1, 1.2, 1.5, 90, 75, 90)), (14, (1, 1.2, 1.5, 81, 75, 68)),
        (8, (1, 1.2, 1.5, 90, 90, 90)),
    ],
)  # fmt: skip
def test_primitive_lattices_have_their_lengths_and_angles(ibrav: int, lengths: tuple[float, ...]) -> None:
    a, b, c, *angles = lengths
    alpha, beta, gamma = np.cos(np.radians(angles))
    cosines = {5: (alpha, 0, 0), -5: (alpha, 0, 0), 12: (gamma, 0, 0), -12: (0, beta, 0), 14: (alpha, beta, gamma)}
    vectors = lattice(ibrav, [a, b, c, *cosines.get(ibrav, (0, 0, 0))])
    np.testing.assert_allclose(ase.Atoms(cell=vectors).cell.cellpar(), lengths, atol=1e-9)


@pytest.mark.parametrize(
    ("ibrav", "share"), [(2, 4), (3, 2), (-3, 2), (7, 2), (9, 2), (-9, 2), (91, 2), (10, 4), (11, 2), (13, 2), (-13, 2)]
)
def test_centered_lattices_hold_the_conventional_one(ibrav: int, share: int) -> None:
    b, c = (1.0, 1.0) if abs(ibrav) in (2, 3) else (1.0, 1.5) if ibrav == 7 else (1.2, 1.5)
    first, second = (0.3, 0.0) if ibrav == 13 else (0.0, 0.3) if ibrav == -13 else (0.0, 0.0)
    conventional = np.diag([1.0, b, c])
    if ibrav == 13:
        conventional[1] = [b * 0.3, b * np.sqrt(1 - 0.09), 0]
    if ibrav == -13:
        conventional[2] = [c * 0.3, 0, c * np.sqrt(1 - 0.09)]
    multiples = conventional @ np.linalg.inv(lattice(ibrav, [1.0, b, c, first, second, 0.0]))
    np.testing.assert_allclose(multiples, multiples.round(), atol=1e-9)
    assert abs(np.linalg.det(multiples)) == pytest.approx(share)


@pytest.mark.parametrize("ibrav", [0, 15, 4, 5])
def test_lattices_without_their_parameters_are_refused(ibrav: int) -> None:
    with pytest.raises(InputError):
        lattice(ibrav, [1.0, 0.0, 0.0, -0.9, 0.0, 0.0])
