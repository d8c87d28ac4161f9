"""Outputs of CRYSTAL 14, 17 and 23."""

from __future__ import annotations

from typing import Any

import ase
import numpy as np
import pytest
from tests.calculations.codes.tensors import symmetric
from tests.calculations.runs import asymmetric, only, run_file, triclinic

from voigt.calculations.codes import crystal
from voigt.notes import Failure
from voigt.tensors.voigt import elastic_to_voigt

CHARGES = asymmetric(1, 5, 3, 3).round(3)
EPS = symmetric(2, 3, 12).round(4)
IONIC = symmetric(3, 3)
ELASTIC = symmetric(4, 6).round(3) * 10
PAIRS = {"XX": (0, 0), "XY": (0, 1), "XZ": (0, 2), "YY": (1, 1), "YZ": (1, 2), "ZZ": (2, 2)}
PBE = "(PERDEW-BURKE-ERNZERHOF)[PERDEW-BURKE-ERNZERHOF]"


def geometry(atoms: ase.Atoms) -> str:
    cell = "\n".join("".join(f"  {x:19.12E}" for x in row) for row in atoms.cell.array)
    sites = "\n".join(
        f"{n:5d}   {atom.number:3d} {atom.symbol.upper():<2s}   " + "".join(f" {x:19.12E}" for x in atom.position)
        for n, atom in enumerate(atoms, 1)
    )
    return f"""
 DIRECT LATTICE VECTORS CARTESIAN COMPONENTS (ANGSTROM)
          X                    Y                    Z
{cell}


 CARTESIAN COORDINATES - PRIMITIVE CELL
 *******************************************************************************
 *      ATOM          X(ANGSTROM)         Y(ANGSTROM)         Z(ANGSTROM)
 *******************************************************************************
{sites}

"""


def output(
    body: str, version: str = "17", functional: str = PBE, hybrid: str = "", end: bool = True, first: str = ""
) -> str:
    share = f" HYBRID EXCHANGE - PERCENTAGE OF FOCK EXCHANGE      {hybrid}\n" if hybrid else ""
    return f""" *******************************************************************************
 *                               CRYSTAL{version}                                     *
 *                      public : 1.0.2 - March 1st, 2018                       *
 *******************************************************************************
 EEEEEEEEEE STARTING  DATE 20 09 2019 TIME 09:22:19.2
                       FREQUENCY CALCULATION
{first}{geometry(triclinic())} TYPE OF CALCULATION :  RESTRICTED CLOSED SHELL
 (EXCHANGE)[CORRELATION] FUNCTIONAL:{functional}
{share} SHRINK. FACT.(MONKH.)    4  3  2  NUMBER OF K POINTS IN THE IBZ     24
{body}
{" EEEEEEEEEE TERMINATION  DATE 09 08 2024 TIME 11:44:23.8" if end else ""}
"""


def permittivity_14() -> str:
    rows = [
        f"     {name}   {1:12.4f} {2:12.4f} {EPS[pair]:12.4f} {EPS[pair] - 1:12.4f}" for name, pair in PAIRS.items()
    ]
    head = "  COMPONENT    ALPHA(REAL, IMAGINARY)         EPSILON       CHI(1)"
    return "\n".join([" POLARIZABILITY (ALPHA), DIELECTRIC (EPSILON)", "", head, *rows, ""]) + "\n"


def permittivity_17(frequencies: tuple[float, ...] = (0.0,)) -> str:
    rows = [
        f"  {f:5.3f}   {name}   {1:12.4f} {2:12.4f} {EPS[pair] + f:12.4f} {0:12.4f} {EPS[pair] - 1:12.4f}"
        for f in frequencies
        for name, pair in PAIRS.items()
    ]
    head = "  FR.(eV) COMP.   ALPHA(Re,Im)           EPSILON(Re,Im)                CHI(1)"
    return (
        "\n".join([" POLARIZABILITY (ALPHA), DIELECTRIC (EPSILON)", "", head, *rows, "", " DIELECTRIC TENSOR", ""])
        + "\n"
    )


def charges() -> str:
    lines = ["", " ATOMIC BORN CHARGE TENSOR (UNITS OF e, ELECTRON CHARGE).", " DYNAMIC CHARGE = 1/3 * TRACE .", ""]
    for number, (symbol, tensor) in enumerate(zip(triclinic().get_chemical_symbols(), CHARGES, strict=True), 1):
        lines += [f" ATOM {number:3d} {symbol.upper():<2s} DYNAMIC CHARGE {np.trace(tensor) / 3:12.6f}", ""]
        lines += ["              1           2           3"]
        lines += [f"{row + 1:4d}    " + "".join(f"{x:12.4E}" for x in tensor[row]) for row in range(3)]
        lines += [""]
    return "\n".join(lines) + "\n"


def ionic() -> str:
    rows = "\n".join("   " + "".join(f"{x:11.5f}" for x in row) for row in IONIC)
    return f" SUM TENSOR OF THE VIBRATIONAL CONTRIBUTIONS TO THE STATIC DIELECTRIC     TENSOR\n\n{rows}\n"


def elastic() -> str:
    rows = "\n".join(f" |{'':{9 * n}s}" + "".join(f"{x:10.3f}" for x in ELASTIC[n, n:]) + " |" for n in range(6))
    return f" SYMMETRIZED ELASTIC CONSTANTS FOR TRICLINIC    CASE, IN GPa\n\n{rows}\n\n"


def read(text: str) -> list[Any]:
    file = run_file("crystal.out", text)
    assert crystal.recognizes(file)
    return list(crystal.read([file]))


@pytest.mark.parametrize(
    ("version", "table"), [("14", permittivity_14()), ("17", permittivity_17()), ("23", permittivity_17((0.0, 1.5)))]
)
def test_rows_are_fields(version: str, table: str) -> None:
    found = only(read(output(table + charges() + ionic(), version)))
    np.testing.assert_allclose(found.targets["born_charges"], CHARGES, atol=1e-3)
    np.testing.assert_allclose(found.targets["eps_inf"], EPS, atol=1e-4)
    np.testing.assert_allclose(found.targets["eps_ionic"], IONIC, atol=1e-5)
    np.testing.assert_allclose(found.atoms.positions, triclinic().positions, atol=1e-9)
    assert found.problems == ()
    assert found.provenance.version == f"{version} 1.0.2"


def test_a_permittivity_of_a_strained_copy_is_not_that_of_the_crystal() -> None:
    strained = " STRAIN MATRIX   1 :\n" + permittivity_17().replace(f"{EPS[0, 0]:12.4f}", f"{99:12.4f}")
    found = only(read(output(permittivity_17() + strained)))
    np.testing.assert_allclose(found.targets["eps_inf"], EPS, atol=1e-4)


def test_elastic_constants_fill_an_upper_triangle() -> None:
    found = only(read(output(elastic())))
    np.testing.assert_allclose(elastic_to_voigt(found.targets["elastic"]), ELASTIC, atol=1e-3)


def test_the_crystal_is_that_after_the_optimization_and_before_the_strains() -> None:
    strained = " STRAIN MATRIX   1 :\n" + geometry(triclinic(8))
    found = only(read(output(strained + elastic(), first=geometry(triclinic(9)))))
    np.testing.assert_allclose(found.atoms.positions, triclinic().positions, atol=1e-9)


@pytest.mark.parametrize(
    ("functional", "hybrid", "label"),
    [(PBE, "", "PBE"), (PBE, "25.0000", "PBE0"), ("(BECKE 88)[LEE-YANG-PARR]", "20.0000", "B3LYP")],
)
def test_provenance(functional: str, hybrid: str, label: str) -> None:
    provenance = only(read(output(charges(), functional=functional, hybrid=hybrid))).provenance
    assert (provenance.functional, provenance.spin, provenance.kpoints) == (label, "none", (4, 3, 2))
    assert provenance.cutoff is None


def test_a_piezoelectric_tensor_is_said_to_be_left_out() -> None:
    found = only(read(output(elastic() + " PIEZOELECTRIC TENSOR\n")))
    assert any("not read" in text for text in found.problems)


def test_a_run_that_ended_after_its_tensors_has_a_problem() -> None:
    assert any("did not finish" in text for text in only(read(output(charges(), end=False))).problems)


@pytest.mark.parametrize(
    ("body", "word"),
    [
        ("\n".join(charges().splitlines()[:-14]), "Born charges of 3 atoms instead of 5"),
        ("\n".join(permittivity_17().splitlines()[:7]), "ends within its dielectric tensor"),
        ("\n".join(elastic().splitlines()[:5]), "no elastic constants of a crystal"),
        (charges().replace("E+00", "****", 1), "where a number belongs"),
        ("", "holds no tensors"),
    ],
)
def test_what_is_missing_is_named(body: str, word: str) -> None:
    (failure,) = read(output(body))
    assert isinstance(failure, Failure)
    assert word in failure.problem
