"""Outputs of CASTEP, as versions 16 and 24 print them, and its .elastic files."""

from __future__ import annotations

import re
from typing import Any

import ase
import numpy as np
import pytest
from numpy.typing import NDArray
from tests.calculations.codes.tensors import symmetric
from tests.calculations.runs import asymmetric, only, run_file, triclinic

from voigt.calculations.codes import castep
from voigt.notes import Failure
from voigt.tensors.voigt import elastic_to_voigt, piezo_to_voigt

CHARGES = asymmetric(1, 5, 3, 3)
EPS = symmetric(2, 3, 12)
STATIC = EPS + symmetric(3, 3, 20)
ELASTIC = symmetric(4, 6) * 10
PIEZO = asymmetric(5, 3, 6)
RULE = " " + "=" * 79


def crystal() -> ase.Atoms:
    """In the order of CASTEP: all atoms of an element together."""
    return triclinic()


def output(
    body: str,
    version: str = "24.1",
    functional: str = "PBE for solids (2008)",
    spin: str = "non-spin",
    end: bool = True,
) -> str:
    atoms = crystal()
    reciprocal = 2 * np.pi * np.linalg.inv(atoms.cell.array).T
    lattice = "\n".join(
        "".join(f"{x:14.7f}" for x in row) + "   " + "".join(f"{x:14.7f}" for x in other)
        for row, other in zip(atoms.cell.array, reciprocal, strict=True)
    )
    seen: dict[str, int] = {}
    rows = []
    for symbol, place in zip(atoms.get_chemical_symbols(), atoms.get_scaled_positions(wrap=False), strict=True):
        seen[symbol] = seen.get(symbol, 0) + 1
        rows.append(
            f"            x {symbol:>2s}   {seen[symbol]:10d}      " + "".join(f"{x:11.6f}" for x in place) + "   x "
        )
    lengths, angles = atoms.cell.cellpar()[:3], atoms.cell.cellpar()[3:]
    parameters = "\n".join(
        f"                    {n} = {length:11.6f}          {name} = {angle:11.6f}"
        for n, name, length, angle in zip("abc", ("alpha", "beta ", "gamma"), lengths, angles, strict=True)
    )
    tail = "Initialisation time =      4.81 s\nCalculation time    =     10.00 s\nFinalisation time   =      4.80 s\n"
    tail += "Total time          =     20.00 s\n"
    return f""" +-------------------------------------------------+
 |      CCC   AA    SSS  TTTTT  EEEEE  PPPP        |
 +-------------------------------------------------+
 | Welcome to Academic Release CASTEP version {version} |
 +-------------------------------------------------+

 using functional                               : {functional}
 Born charge sum rule                           : not enforced
 plane wave basis set cut-off                   :   680.0000   eV
 treating system as {spin}-polarized

                           -------------------------------
                                      Unit Cell
                           -------------------------------
        Real Lattice(A)              Reciprocal Lattice(1/A)
{lattice}

                       Lattice parameters(A)       Cell Angles
{parameters}

                           -------------------------------
                                     Cell Contents
                           -------------------------------
                         Total number of ions in cell =    5
                      Total number of species in cell =    3
                        Max number of any one species =    3

            xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx
            x  Element    Atom        Fractional coordinates of atoms  x
            x            Number           u          v          w      x
            x----------------------------------------------------------x
{chr(10).join(rows)}
            xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx

                           -------------------------------
                              k-Points For BZ Sampling
                           -------------------------------
                       MP grid size for SCF calculation is  4  3  2
                            with an offset of   0.000  0.000  0.000

{body}
{tail if end else ""}"""


def table(values: NDArray[Any], labels: str = "") -> str:
    names = labels or " " * len(values)
    return "\n".join(f" {name} " + "".join(f"{x:13.6f}" for x in row) for name, row in zip(names, values, strict=True))


def permittivity(static: bool = True) -> str:
    rows = ["".join(f"{x:12.5f}" for x in row) for row in (np.hstack([EPS, STATIC]) if static else EPS)]
    right = ("             DC Permittivity (f=0)", "             ---------------------") if static else ("", "")
    head = ("        Optical Permittivity (f->infinity)", "        ----------------------------------")
    return "\n".join([RULE, head[0] + right[0], head[1] + right[1], *rows, RULE]) + "\n"


def charges(tags: bool = False) -> str:
    """Rows of displacements."""
    seen: dict[str, int] = {}
    lines = [RULE, "                   Born Effective Charges", "                   ----------------------"]
    for symbol, tensor in zip(crystal().get_chemical_symbols(), CHARGES, strict=True):
        seen[symbol] = seen.get(symbol, 0) + 1
        for number, row in enumerate(tensor.T):
            name = f"{symbol:>4s}{seen[symbol]:8d}   " if number == 0 else " " * 15
            lines.append(name + "".join(f"{x:12.5f}" for x in row) + (" ID=one" if tags and number == 0 else ""))
    return "\n".join([*lines, RULE]) + "\n"


def read(*files: tuple[str, str]) -> list[Any]:
    found = [run_file(name, text) for name, text in files]
    assert all(castep.recognizes(file) for file in found)
    return list(castep.read(found))


@pytest.mark.parametrize(("version", "tags"), [("16.1", False), ("24.1", True)])
def test_columns_are_fields(version: str, tags: bool) -> None:
    found = only(read(("a.castep", output(permittivity() + charges(tags), version))))
    np.testing.assert_allclose(found.targets["born_charges"], CHARGES)
    np.testing.assert_allclose(found.targets["eps_inf"], EPS, atol=1e-5)
    np.testing.assert_allclose(found.targets["eps_total"], STATIC, atol=1e-5)
    np.testing.assert_allclose(found.targets["eps_ionic"], STATIC - EPS, atol=2e-5)
    np.testing.assert_allclose(found.atoms.positions, crystal().positions, atol=1e-5)
    assert "born_charges: transposed from rows of displacements to rows of fields" in found.provenance.conversions
    assert found.problems == ()


def test_a_permittivity_of_clamped_ions_alone() -> None:
    found = only(read(("a.castep", output(permittivity(static=False)))))
    assert list(found.targets) == ["eps_inf"]


def test_an_infinite_static_permittivity_is_left_out_and_named() -> None:
    text = permittivity()
    for row in STATIC:
        text = text.replace("".join(f"{x:12.5f}" for x in row), "    Infinity    Infinity    Infinity")
    found = only(read(("a.castep", output(text))))
    assert list(found.targets) == ["eps_inf"]
    assert any("unstable" in problem for problem in found.problems)


def tensors(frozen: bool = True, relaxed: bool = True) -> str:
    heads = "       xx           yy           zz           zy           zx           yx"
    blocks = []
    if relaxed:
        blocks += [f"{RULE}\n          Elastic Constants Tensor (GPa)\n {'-' * 79}\n{table(ELASTIC)}\n{RULE}"]
        blocks += [f"{RULE}\n          Piezoelectric Constants Tensor (C/m^2)\n{heads}\n{table(PIEZO, 'XYZ')}\n{RULE}"]
    if frozen:
        blocks += [f"{RULE}\n          Elastic Constants Tensor (Frozen Ion) (GPa)\n{table(ELASTIC + 7)}\n{RULE}"]
        title = "Piezoelectric Constants Tensor (Frozen Ion) (C/m^2)"
        blocks += [f"{RULE}\n          {title}\n{heads}\n{table(PIEZO + 7, 'XYZ')}\n{RULE}"]
    return "\n\n".join(blocks)


def test_elastic_and_piezoelectric_tensors_have_our_order() -> None:
    found = only(read(("a.castep", output(tensors()))))
    np.testing.assert_allclose(elastic_to_voigt(found.targets["elastic"]), ELASTIC, atol=1e-6)
    np.testing.assert_allclose(piezo_to_voigt(found.targets["piezo_total"]), PIEZO, atol=1e-6)
    np.testing.assert_allclose(piezo_to_voigt(found.targets["piezo_clamped"]), PIEZO + 7, atol=1e-6)


def test_elastic_constants_of_frozen_ions_are_not_those_of_the_crystal() -> None:
    found = only(read(("a.castep", output(tensors(relaxed=False)))))
    assert list(found.targets) == ["piezo_clamped"]
    assert any("frozen ions" in text for text in found.problems)


def elastic_file() -> str:
    atoms = crystal()
    cell = "\n".join("".join(f"{x:22.15f}" for x in row) for row in atoms.cell.array)
    sites = "\n".join(
        f"     {n}   " + "".join(f"{x:22.15f}" for x in place) + f"  {symbol}   20.0"
        for n, (symbol, place) in enumerate(
            zip(atoms.get_chemical_symbols(), atoms.get_scaled_positions(wrap=False), strict=True), 1
        )
    )

    def block(title: str, values: NDArray[Any]) -> str:
        rows = "\n".join("  ".join(re.sub(r"^(-?)0\.", r"\1.", f"{x:.16G}") for x in row) for row in values)
        return f" BEGIN {title}\n{rows}\n END {title.split('(', maxsplit=1)[0].strip()}\n"

    header = f"  Number of ions                5\n Unit cell vectors (A)\n{cell}\n Fractional Co-ordinates\n{sites}\n"
    blocks = [block("Elastic Constants  (GPa)", ELASTIC), block("Elastic Constants [Frozen Ion] (GPa)", ELASTIC + 7)]
    blocks += [block("Piezoelectric (C/m^2)", PIEZO), block("Piezoelectric [Frozen Ion] (C/m^2)", PIEZO + 7)]
    return f" BEGIN header\n{header} END header\n{''.join(blocks)}"


def test_an_elastic_file_alone_and_beside_its_output() -> None:
    found = only(read(("a.elastic", elastic_file())))
    np.testing.assert_allclose(elastic_to_voigt(found.targets["elastic"]), ELASTIC)
    np.testing.assert_allclose(piezo_to_voigt(found.targets["piezo_total"]), PIEZO)
    np.testing.assert_allclose(piezo_to_voigt(found.targets["piezo_clamped"]), PIEZO + 7)
    both = only(read(("a.castep", output(charges())), ("a.elastic", elastic_file())))
    assert set(both.targets) == {"born_charges", "elastic", "piezo_total", "piezo_clamped"}
    assert both.provenance.functional == "PBEsol"


def test_provenance() -> None:
    text = output(permittivity(), "16.1", "Local Density Approximation", spin="spin")
    provenance = only(read(("a.castep", text))).provenance
    assert (provenance.code, provenance.version, provenance.functional) == ("CASTEP", "16.1", "LDA")
    assert (provenance.spin, provenance.kpoints, provenance.cutoff) == ("collinear", (4, 3, 2), 680.0)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        (output("\n".join(charges().splitlines()[:-4])), "no Born charges of O 3"),
        (output("\n".join(permittivity().splitlines()[:4])), "ends within a table"),
        (output(" nothing"), "holds no tensors"),
    ],
)
def test_what_is_missing_is_named(text: str, word: str) -> None:
    (failure,) = read(("a.castep", text))
    assert isinstance(failure, Failure)
    assert word in failure.problem
    assert failure.source == "run/a.castep"


def test_a_run_that_ended_after_its_tensors_has_a_problem() -> None:
    found = only(read(("a.castep", output(charges(), end=False))))
    assert any("did not finish" in text for text in found.problems)
    np.testing.assert_allclose(found.atoms.positions, crystal().positions, atol=1e-5)
