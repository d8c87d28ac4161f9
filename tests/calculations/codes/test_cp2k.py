"""Outputs of CP2K, as versions 2.6 and 2024 print them, with atomic polar tensors in them or in a file of their own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from ase.units import Bohr
from numpy.typing import NDArray
from tests.calculations.codes.tensors import symmetric
from tests.calculations.runs import asymmetric, only, run_file, triclinic

from voigt.calculations.codes import cp2k
from voigt.notes import Failure

CHARGES = asymmetric(1, 5, 3, 3)
ALPHA = symmetric(2, 3, 60)
VOLUME = triclinic().get_volume() / Bohr**3


def polarizability(periodic: bool = True) -> str:
    a = ALPHA
    rows = [("xx,yy,zz", (a[0, 0], a[1, 1], a[2, 2])), ("xy,xz,yz", (a[0, 1], a[0, 2], a[1, 2]))]
    rows += [("yx,zx,zy", (a[1, 0], a[2, 0], a[2, 1]))]
    lines = [" POLAR| Response to the perturbation operator " + ("Berry phase_x" if periodic else "R_x"), ""]
    for unit, factor in (("a.u.", 1.0), ("ang^3", Bohr**3)):
        lines += [f" POLAR| Polarizability tensor [{unit}]"]
        lines += [f" POLAR| {names:<14s} " + "".join(f" {x * factor:18.12f}" for x in values) for names, values in rows]
    return "\n".join(lines) + "\n"


def polar_tensors(values: NDArray[Any] = CHARGES) -> str:
    """Rows of displacements, as dcdr_print writes them."""
    lines = ["APT | Write the final apt matrix per atom (Position perturbation)"]
    for number, tensor in enumerate(values, 1):
        lines += [f"APT | Atom{number:3d} - GAPT {np.trace(tensor) / 3:15.6f}"]
        lines += ["APT | " + "".join(f"{x:15.6f}" for x in row) for row in tensor.T]
    lines += ["APT | Write the total apt matrix"]
    lines += ["APT | " + "".join(f"{x:15.6f}" for x in row) for row in values.sum(axis=0).T]
    return "\n".join([*lines, "APT | End Write the final apt matrix"]) + "\n"


def output(body: str, version: str = "2024.1", end: bool = True) -> str:
    atoms = triclinic()
    cell = "\n".join(
        f" CELL| Vector {name} [angstrom]:  " + "".join(f"{x:10.3f}" for x in row) + f"   |{name}| = 3.9"
        for name, row in zip("abc", atoms.cell.array, strict=True)
    )
    title, width = (
        ("  ATOMIC COORDINATES IN angstrom", 12) if version < "3" else (" ATOMIC COORDINATES IN ANGSTROM", 14)
    )
    sites = "\n".join(
        f"  {n:6d} {1:4d} {atom.symbol:<2s} {atom.number:4d} "
        + "".join(f"{x:{width}.6f}" for x in atom.position)
        + "  6.0000  20.0"
        for n, atom in enumerate(atoms, 1)
    )
    return f""" DBCSR| CPU Multiplication driver                                           BLAS
 CP2K| version string:                                    CP2K version {version}
 CELL| Volume [angstrom^3]:                                           {atoms.get_volume():.6f}
{cell}
 FUNCTIONAL| ROUTINE=NEW
 FUNCTIONAL| PBE:
 FUNCTIONAL| J.P.Perdew, K.Burke, M.Ernzerhof, Phys. Rev. Letter, vol. 77, n 18,
 DFT| Spin restricted (spin-compensated) Kohn-Sham calculation               RKS

 MODULE QUICKSTEP: {title}

   Atom Kind Element         X             Y             Z       Z(eff)     Mass
{sites}



{body}
{"  **** **** ******  **  PROGRAM ENDED AT                 2024-10-05 10:00:00.000" if end else ""}
"""


def restart() -> str:
    cell = "\n".join(
        f"{name} " + " ".join(f"{x:.10f}" for x in row) for name, row in zip("ABC", triclinic().cell.array, strict=True)
    )
    sites = "\n".join(f"{atom.symbol} " + " ".join(f"{x:.10f}" for x in atom.position) for atom in triclinic())
    return (
        f"&FORCE_EVAL\n&SUBSYS\n&CELL\n{cell}\n&END CELL\n&COORD\n{sites}\n&END COORD\n&END SUBSYS\n&END FORCE_EVAL\n"
    )


def read(*files: tuple[str, str]) -> list[Any]:
    found = [run_file(name, text) for name, text in files]
    assert all(cp2k.recognizes(file) for file in found)
    return list(cp2k.read(found))


@pytest.mark.parametrize("version", ["2.6.2", "2024.1"])
def test_polarizability_of_the_cell_makes_the_permittivity(version: str) -> None:
    found = only(read(("run.out", output(polarizability(), version)), ("run.restart", restart())))
    np.testing.assert_allclose(found.targets["eps_inf"], np.eye(3) + 4 * np.pi * ALPHA / VOLUME, atol=1e-8)
    assert found.provenance.functional == "PBE"
    assert found.provenance.version == version
    assert found.problems == ()


def test_rows_of_polar_tensors_are_displacements() -> None:
    found = only(read(("run.out", output(polar_tensors()))))
    np.testing.assert_allclose(found.targets["born_charges"], CHARGES, atol=1e-6)
    assert any("transposed" in text for text in found.provenance.conversions)
    np.testing.assert_allclose(found.atoms.positions, triclinic().positions, atol=1e-6)


def test_polar_tensors_in_a_file_of_their_own_belong_to_the_run_beside_it() -> None:
    found = only(read(("run.out", output(polarizability())), ("run-dcdr-1_0.data", polar_tensors())))
    assert set(found.targets) == {"eps_inf", "born_charges"}
    np.testing.assert_allclose(found.targets["born_charges"], CHARGES, atol=1e-6)
    assert found.provenance.files == ("run/run.out", "run/run-dcdr-1_0.data")


def test_an_input_beside_an_output_has_the_digits_of_the_crystal() -> None:
    alone = only(read(("run.out", output(polar_tensors()))))
    beside = only(read(("run.out", output(polar_tensors())), ("run.restart", restart())))
    exact = triclinic().cell.array
    assert np.abs(alone.atoms.cell.array - exact).max() > 1e-5
    np.testing.assert_allclose(beside.atoms.cell.array, exact, atol=1e-9)


def test_a_polarizability_that_is_not_periodic_is_a_problem() -> None:
    found = only(read(("run.out", output(polarizability(periodic=False)))))
    assert any("PERIODIC_DIPOLE_OPERATOR" in text for text in found.problems)


@pytest.mark.parametrize(
    ("files", "word"),
    [
        ([("run.out", output(polar_tensors(CHARGES[:4])))], "4 atoms instead of 5"),
        ([("run.data", polar_tensors())], "does not say which crystal"),
        ([("run.out", output("\n".join(polarizability().splitlines()[:4])))], "ends within its polarizability"),
        ([("run.out", output(""))], "neither a polarizability nor"),
    ],
)
def test_what_is_missing_is_named(files: list[tuple[str, str]], word: str) -> None:
    (failure,) = read(*files)
    assert isinstance(failure, Failure)
    assert word in failure.problem


def test_a_run_that_ended_early_has_a_problem() -> None:
    assert any(
        "did not finish" in text for text in only(read(("run.out", output(polarizability(), end=False)))).problems
    )
