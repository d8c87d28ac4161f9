"""Outputs of ABINIT and anaddb, as versions 7 and 9 print them; databases have a file of their own."""

from __future__ import annotations

from typing import Any

import ase
import numpy as np
import pytest
from ase.units import Bohr, Hartree
from numpy.typing import NDArray
from tests.calculations.codes.tensors import symmetric
from tests.calculations.runs import asymmetric, only, run_file, triclinic

from voigt.calculations.calculation import Calculation
from voigt.calculations.codes import abinit
from voigt.notes import Failure
from voigt.tensors.voigt import elastic_to_voigt, piezo_to_voigt

COUNT = 5
CHARGES = asymmetric(1, COUNT, 3, 3)
EPS = symmetric(2, 3, 12)
PIEZO = asymmetric(3, 3, 6) / 100
RULE = "=" * 80


def table(title: str, entries: list[tuple[int, int, int, int, float]], note: str = "", indent: str = " ") -> str:
    lines = ["", f"{indent}{title}, in cartesian coordinates,", *([f"{indent}({note}) "] if note else [])]
    lines += ["    j1       j2             matrix element", " dir pert dir pert     real part    imaginary part", "  "]
    for number, (a, p, b, q, value) in enumerate(entries):
        lines += [""] * (number % 3 == 0) + [f"{a:4d}{p:5d}{b:4d}{q:5d} {value:20.10f} {0:20.10f}"]
    return "\n".join(lines) + "\n"


def dielectric() -> str:
    electric = COUNT + 2
    entries = [(i + 1, electric, j + 1, electric, EPS[i, j]) for i in range(3) for j in range(3)]
    return table("Dielectric tensor", entries)


def charges(values: NDArray[Any], way: str) -> str:
    """As dyout3 orders them: atoms first for the response to fields, fields first for that to displacements."""
    electric, axes = COUNT + 2, range(3)
    if way == "from electric field response":
        entries = [
            (u + 1, atom + 1, f + 1, electric, values[atom, f, u]) for f in axes for atom in range(COUNT) for u in axes
        ]
    else:
        entries = [
            (f + 1, electric, u + 1, atom + 1, values[atom, f, u]) for atom in range(COUNT) for u in axes for f in axes
        ]
    return table("Effective charges", entries, way, indent="  ")


def strains() -> str:
    entries = [(f + 1, COUNT + 2, s % 3 + 1, COUNT + 3 + s // 3, PIEZO[f, s]) for f in range(3) for s in range(6)]
    return table("Rigid-atom proper piezoelectric tensor", entries, "from strain response")


def variables(atoms: ase.Atoms, suffix: str = "", **others: str) -> str:
    cell = atoms.cell.array / Bohr
    kinds = list(dict.fromkeys(atoms.numbers))
    rows = [" ".join(f"{x:.10E}" for x in row) for row in cell]
    places = [" ".join(f"{x:.10E}" for x in row) for row in atoms.get_scaled_positions(wrap=False)]
    lines = [
        "            acell      1.0000000000E+00  1.0000000000E+00  1.0000000000E+00 Bohr",
        "             ecut      2.00000000E+01 Hartree",
        "-          fftalg         112",
        f"            natom          {len(atoms)}",
        f"           ntypat          {len(kinds)}",
        *(f"{name:>17s}        {value}" for name, value in others.items()),
        f"{'rprim' + suffix:>17s}      " + ("\n" + " " * 23).join(rows),
        f"            typat      {' '.join(str(kinds.index(number) + 1) for number in atoms.numbers)}",
        f"{'xred' + suffix:>17s}      " + ("\n" + " " * 23).join(places),
        f"            znucl        {' '.join(f'{kind:.5f}' for kind in kinds)}",
    ]
    return "\n".join(lines) + "\n"


def output(sections: dict[int, str], echo: str, version: str = "9.10.1", finished: bool = True) -> str:
    body = "".join(f"== DATASET {n:2d} {'=' * 66}\n{text}" for n, text in sections.items())
    before = f" -outvars: echo values of preprocessed input variables --------\n{echo}\n{RULE}\n"
    head = f"== END DATASET(S) {'=' * 62}\n{RULE}\n\n -outvars: echo values of variables after computation  --------"
    after = f"{head}\n{echo}\n{RULE}\n"
    return f"\n.Version {version} of ABINIT \n\n{before}{body}{after if finished else ''}"


SETTINGS = {"ixc": "-116133", "kptrlatt": "4    0    0      0    3    0      0    0    2"}


def read(*files: tuple[str, str]) -> list[Any]:
    found = [run_file(name, text) for name, text in files]
    assert all(abinit.recognizes(file) for file in found)
    return list(abinit.read(found))


@pytest.mark.parametrize("way", ["from electric field response", "from phonon response"])
@pytest.mark.parametrize("version", ["7.10.5", "9.10.1"])
def test_which_index_is_the_field_follows_from_its_number(way: str, version: str) -> None:
    text = output({1: "", 3: dielectric() + charges(CHARGES, way)}, variables(triclinic(), **SETTINGS), version)
    found = only(read(("run.abo", text)))
    np.testing.assert_allclose(found.targets["born_charges"], CHARGES, atol=1e-9)
    np.testing.assert_allclose(found.targets["eps_inf"], EPS, atol=1e-9)
    np.testing.assert_allclose(found.atoms.positions, triclinic().positions, atol=1e-8)
    assert found.provenance.version == version


def test_the_response_to_fields_comes_first_and_a_difference_is_a_problem() -> None:
    both = charges(CHARGES + 0.3, "from phonon response") + charges(CHARGES, "from electric field response")
    found = only(read(("run.abo", output({1: both}, variables(triclinic())))))
    np.testing.assert_allclose(found.targets["born_charges"], CHARGES, atol=1e-9)
    assert any("differ by 0.3 e" in text for text in found.problems)


def test_piezoelectric_tensor_of_clamped_ions() -> None:
    found = only(read(("run.abo", output({1: strains()}, variables(triclinic())))))
    per_area = 1.602176634e-19 / (0.529177210903e-10) ** 2
    np.testing.assert_allclose(piezo_to_voigt(found.targets["piezo_clamped"]), PIEZO * per_area, rtol=1e-6)


def test_provenance_of_a_data_set() -> None:
    echo = variables(triclinic(), **SETTINGS, nsppol="2", nspden="2", usepawu="1", upawu="0.0 0.15 0.0 Hartree")
    provenance = only(read(("run.abo", output({1: dielectric()}, echo)))).provenance
    assert (provenance.functional, provenance.spin, provenance.kpoints) == ("PBEsol", "collinear", (4, 3, 2))
    assert provenance.cutoff == pytest.approx(20 * Hartree, abs=1e-4)
    assert provenance.hubbard_u == {"Ti": pytest.approx(0.15 * Hartree, abs=1e-5)}


def test_every_data_set_has_its_own_crystal() -> None:
    first, second = triclinic(1), triclinic(2)
    one = variables(first, suffix="1")
    kept = [line for line in variables(second, suffix="2").splitlines() if "rprim2" in line or "xred2" in line]
    rows = variables(second, suffix="2").splitlines()
    for name in ("rprim2", "xred2"):
        start = next(number for number, line in enumerate(rows) if name in line)
        kept += rows[start + 1 : start + (3 if name == "rprim2" else COUNT)]
    order = sorted(kept, key=rows.index)
    text = output({1: dielectric(), 2: charges(CHARGES, "from phonon response")}, one + "\n".join(order) + "\n")
    found = read(("run.abo", text))
    assert [sorted(outcome.targets) for outcome in found] == [["eps_inf"], ["born_charges"]]
    np.testing.assert_allclose(found[0].atoms.positions, first.positions, atol=1e-8)
    np.testing.assert_allclose(found[1].atoms.positions, second.positions, atol=1e-8)


def test_a_run_that_did_not_finish_has_the_crystal_of_its_input_and_a_problem() -> None:
    found = only(read(("run.abo", output({1: dielectric()}, variables(triclinic()), finished=False))))
    np.testing.assert_allclose(found.atoms.positions, triclinic().positions, atol=1e-8)
    assert any("did not finish" in text for text in found.problems)


def test_a_response_that_did_not_converge_is_a_problem() -> None:
    warning = " scprqt:  WARNING -\n  nstep=   20 was not enough SCF cycles to converge;\n"
    found = only(read(("run.abo", output({1: warning + dielectric()}, variables(triclinic())))))
    assert any("did not converge" in text for text in found.problems)


def test_tensors_without_all_directions_are_left_out_and_named() -> None:
    part = "\n".join(line for line in dielectric().splitlines() if not line.startswith("   3    7   3"))
    found = only(
        read(("run.abo", output({1: f"{part}\n{charges(CHARGES, 'from phonon response')}"}, variables(triclinic()))))
    )
    assert list(found.targets) == ["born_charges"]
    assert any("eps_inf has components" in text for text in found.problems)


def test_a_ground_state_holds_no_tensors() -> None:
    (failure,) = read(("run.abo", output({1: " etotal\n"}, variables(triclinic()))))
    assert isinstance(failure, Failure)
    assert "holds no tensors" in failure.problem


def anaddb(count: int = COUNT, crystal: str = "") -> str:
    rows = "\n".join(
        f"{atom + 1:10d}{u + 1:10d}" + "".join(f"{CHARGES[atom, f, u]:16.6E}" for f in range(3))
        for atom in range(count)
        for u in range(3)
    )

    def square(values: NDArray[Any], width: int = 16, digits: int = 8) -> str:
        return "\n".join("".join(f"{x:{width}.{digits}f}" for x in row) for row in values)

    elastic = symmetric(5, 6) / 10
    return f"""
.Version 8.10.3 of ANADDB

 read the DDB information and perform some checks
{crystal}
 Effective charge tensors after
 imposition of the charge neutrality,
 and eventual restriction to some part :
   atom    displacement
{rows}
 Now, the imaginary part of the dynamical matrix is zeroed

 Elastic Tensor (clamped ion) (unit:10^2GP):

{square(elastic + 1, 12, 7)}

 Elastic Tensor (relaxed ion) (unit:10^2GP):
  (at fixed electric field boundary condition)

{square(elastic, 12, 7)}

 Proper piezoelectric constants (clamped ion) (unit:c/m^2)

{square(PIEZO.T + 1)}

 ddb_piezo : WARNING -
  The three eigenvalues are:   -1.016026E-04   -1.389885E-05   -2.054240E-05

 Proper piezoelectric constants (relaxed ion) (unit:c/m^2)

{square(PIEZO.T)}

 Electronic dielectric tensor
{square(EPS)}

 Relaxed ion dielectric tensor
{square(EPS + 2 * np.eye(3))}
"""


def test_anaddb_has_rows_of_displacements_and_of_strains() -> None:
    run = output({1: dielectric()}, variables(triclinic(), **SETTINGS))
    found = only(read(("run.abo", run), ("anaddb.out", anaddb())))
    np.testing.assert_allclose(found.targets["born_charges"], CHARGES, rtol=1e-6)
    np.testing.assert_allclose(piezo_to_voigt(found.targets["piezo_total"]), PIEZO, atol=1e-8)
    np.testing.assert_allclose(piezo_to_voigt(found.targets["piezo_clamped"]), PIEZO + 1, atol=1e-8)
    np.testing.assert_allclose(found.targets["eps_ionic"], 2 * np.eye(3), atol=1e-7)
    elastic = symmetric(5, 6) * 10
    np.testing.assert_allclose(elastic_to_voigt(found.targets["elastic"]), elastic, atol=1e-4)
    assert found.provenance.functional == "PBEsol"
    assert any(text.startswith("born_charges: transposed") for text in found.provenance.conversions)


def test_newer_versions_of_anaddb_name_their_crystal() -> None:
    cell = "\n".join(
        f" R({n})= " + "".join(f"{x:11.7f}" for x in row) for n, row in enumerate(triclinic().cell / Bohr, 1)
    )
    sites = "\n".join(
        f"    {n})  " + "".join(f"{x:11.7f}" for x in place) + f"  {symbol:>2s}"
        for n, (place, symbol) in enumerate(
            zip(triclinic().get_scaled_positions(wrap=False), triclinic().get_chemical_symbols(), strict=True), 1
        )
    )
    found = only(read(("anaddb.out", anaddb(crystal=f"{cell}\n Reduced atomic positions\n{sites}\n"))))
    np.testing.assert_allclose(found.atoms.positions, triclinic().positions, atol=1e-5)


def test_anaddb_alone_without_a_crystal_fails_with_a_remedy() -> None:
    (failure,) = read(("anaddb.out", anaddb()))
    assert "put the DDB or the output of ABINIT beside it" in failure.problem


def test_anaddb_of_other_atoms_than_the_crystal_beside_it_fails() -> None:
    run = output({1: dielectric()}, variables(triclinic()))
    found = read(("run.abo", run), ("anaddb.out", anaddb(count=4)))
    assert [isinstance(outcome, Calculation) for outcome in found] == [True, False]
