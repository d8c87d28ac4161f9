"""VASP: every tensor of both versions in our index order and units, with the structure of its own step."""

from __future__ import annotations

import numpy as np
import pytest
from tests.calculations import vasp_files as vasp
from tests.calculations.runs import asymmetric, calculations, here, only, run_file, triclinic

from voigt.calculations.codes.vasp import read, recognizes
from voigt.notes import Failure
from voigt.tensors.properties import PROPERTIES

Z = asymmetric(1, 5, 3, 3)
EPS = np.array([[5.123456, 0.3, -0.2], [0.3, 6.2, 0.1], [-0.2, 0.1, 7.3]])
IONIC = np.array([[20.5, -1.3, 0.4], [-1.3, 30.25, 2.0], [0.4, 2.0, 11.0]])
E_CLAMPED, E_IONIC = asymmetric(2, 3, 6), asymmetric(3, 3, 6)
C = asymmetric(4, 6, 6)
C_RIGID, C_RELAXATION = C + C.T, -0.1 * (C + C.T)
TITLES_5 = {
    "permittivity": "(including local field effects in DFT)",
    "born": "(in e, cummulative output)",
    "piezo": " for field in x, y, z        (C/m^2)",
}
TITLES_6 = {
    "permittivity": "(including local field effects in DFT)",
    "born": "(including local field effects) (in |e|, cummulative output)",
    "piezo": "(including local field effects)  for field in x, y, z        (C/m^2)",
}


def blocks(titles: dict[str, str]) -> list[str]:
    return [
        vasp.permittivity(EPS, titles["permittivity"]),
        vasp.piezo(E_CLAMPED * 16.02176634 / 3.9**3, titles["piezo"].replace("(C/m^2)", "(e  Angst)")),
        vasp.piezo(E_CLAMPED, titles["piezo"]),
        vasp.born(Z, titles["born"]),
        vasp.moduli(C_RIGID, "SYMMETRIZED ELASTIC MODULI (kBar)"),
        vasp.permittivity(IONIC, "IONIC CONTRIBUTION"),
        vasp.piezo(E_IONIC, "IONIC CONTR  for field in x, y, z        (C/m^2)"),
        vasp.moduli(C_RELAXATION, "ELASTIC MODULI CONTR FROM IONIC RELAXATION (kBar)"),
        vasp.moduli(C_RIGID + C_RELAXATION, "TOTAL ELASTIC MODULI (kBar)"),
    ]


def run(*files: tuple[str, str]) -> list:
    return list(read([run_file(name, text) for name, text in files]))


@pytest.mark.parametrize(("version", "titles"), [("5.4.4", TITLES_5), ("6.4.1", TITLES_6)])
def test_every_tensor_of_outcar_is_in_our_order_and_unit(version, titles):
    atoms = triclinic()
    found = only(run(("OUTCAR", vasp.outcar(atoms, *blocks(titles), version=version, ibrion=6))))
    assert found.problems == ()
    assert set(found.targets) == {"born_charges", "eps_inf", "eps_ionic", "piezo_clamped", "piezo_total", "elastic"}
    np.testing.assert_allclose(found.targets["born_charges"], Z, atol=1e-5)  # row: field, column: displacement
    np.testing.assert_allclose(found.targets["eps_inf"], EPS, atol=1e-6)
    np.testing.assert_allclose(found.targets["eps_ionic"], IONIC, atol=1e-6)
    stored = {name: PROPERTIES[name].to_storage(value) for name, value in found.targets.items()}
    np.testing.assert_allclose(stored["piezo_clamped"], E_CLAMPED, atol=1e-5)
    np.testing.assert_allclose(stored["piezo_total"], E_CLAMPED + E_IONIC, atol=1e-5)
    np.testing.assert_allclose(stored["elastic"], C_RIGID + C_RELAXATION, atol=1e-4)
    np.testing.assert_allclose(found.atoms.positions, atoms.positions, atol=1e-5)
    assert found.provenance.version == version
    assert any("columns from xx yy zz xy yz zx" in text for text in found.provenance.conversions)


def test_columns_in_another_order_are_put_in_ours():
    """Whatever order a version prints: it is read from the line above the numbers."""
    names = ("XX", "YY", "ZZ", "YZ", "XZ", "XY")
    rows = "".join(f" {axis}  {vasp.row(values, 12, 5)}\n" for axis, values in zip("xyz", E_CLAMPED, strict=True))
    block = f" PIEZOELECTRIC TENSOR {TITLES_6['piezo']}\n          {'   '.join(names)}\n {'-' * 80}\n{rows}"
    found = only(run(("OUTCAR", vasp.outcar(triclinic(), block))))
    np.testing.assert_allclose(PROPERTIES["piezo_clamped"].to_storage(found.targets["piezo_clamped"]), E_CLAMPED)


def test_a_piezoelectric_tensor_per_cell_is_divided_by_the_volume():
    atoms = triclinic()
    block = vasp.piezo(E_CLAMPED, " for field in x, y, z        (e  Angst)")
    found = only(run(("OUTCAR", vasp.outcar(atoms, block, version="5.2.12"))))
    expected = E_CLAMPED * 1.602176634e-19 * 1e-10 / (atoms.get_volume() * 1e-30)
    np.testing.assert_allclose(
        PROPERTIES["piezo_clamped"].to_storage(found.targets["piezo_clamped"]), expected, rtol=1e-4
    )


def test_cruder_approximations_are_no_labels():
    """LCALCEPS with LRPA prints three values of everything."""
    words = "(including local field effects)"
    texts = [
        vasp.permittivity(EPS, words),
        vasp.permittivity(EPS + 1, "(excluding local field effects)"),
        vasp.permittivity(EPS + 2, "(including local field effects in RPA (Hartree))"),
        vasp.born(Z, f"{words} (in |e|, cummulative output)"),
        vasp.born(Z + 1, "(excluding local field effects) (in |e|, cummulative output)"),
    ]
    found = only(run(("OUTCAR", vasp.outcar(triclinic(), *texts, settings="   LCALCEPS=     T    use PEAD\n"))))
    np.testing.assert_allclose(found.targets["eps_inf"], EPS, atol=1e-6)
    np.testing.assert_allclose(found.targets["born_charges"], Z, atol=1e-5)


def test_settings_say_where_labels_come_from():
    text = vasp.outcar(
        triclinic(), vasp.permittivity(EPS), functional="PS", hubbard="  0.0  3.5  0.0", spin=2, version="5.4.4"
    )
    provenance = only(run(("OUTCAR", text))).provenance
    assert (provenance.code, provenance.version, provenance.functional) == ("VASP", "5.4.4", "PBEsol+U")
    assert provenance.hubbard_u == {"Ti": 3.5}
    assert (provenance.spin, provenance.kpoints, provenance.cutoff) == ("collinear", (6, 6, 4), 520.0)


@pytest.mark.parametrize(
    ("settings", "functional"),
    [
        ("", "PBE"),
        ("   LHFCALC =     T    Hartree Fock is set to\n   HFSCREEN=    0.2000\n   AEXX    =    0.2500\n", "HSE06"),
        ("   METAGGA = R2SCAN\n", "R2SCAN"),
    ],
)
def test_functionals_have_the_names_that_people_use(settings, functional):
    head = vasp.head(triclinic(), settings="   LEPSILON=     T\n")
    if settings:
        key = settings.split()[0]
        head = "".join(
            line for line in head.splitlines(keepends=True) if not line.lstrip().startswith(key.split("=")[0])
        )
    text = head + settings + vasp.ionic_step(triclinic()) + vasp.permittivity(EPS) + vasp.END
    assert only(run(("OUTCAR", text))).provenance.functional == functional


@pytest.mark.parametrize("version", ["5.4.4", "6.4.1"])
def test_tensors_of_vasprun(version):
    atoms = triclinic()
    tensors = vasp.xml_matrix("epsilon", EPS) + vasp.xml_born(Z) + vasp.xml_matrix("epsilon_ion", IONIC)
    found = only(run(("vasprun.xml", vasp.vasprun([(atoms, tensors)], version, ibrion=8))))
    np.testing.assert_allclose(found.targets["born_charges"], Z, atol=1e-8)
    np.testing.assert_allclose(found.targets["eps_inf"], EPS, atol=1e-8)
    np.testing.assert_allclose(found.targets["eps_ionic"], IONIC, atol=1e-8)
    assert (found.provenance.version, found.provenance.functional, found.provenance.cutoff) == (version, "PBE", 520.0)
    assert found.provenance.kpoints == (6, 6, 4)


def test_files_of_one_run_are_one_calculation():
    atoms = triclinic()
    xml = vasp.vasprun([(atoms, vasp.xml_matrix("epsilon", EPS) + vasp.xml_born(Z))])
    found = only(run(("OUTCAR", vasp.outcar(atoms, vasp.born(Z), vasp.piezo(E_CLAMPED))), ("vasprun.xml", xml)))
    assert set(found.targets) == {"born_charges", "eps_inf", "piezo_clamped"}
    assert found.problems == ()
    assert found.provenance.files == ("run/vasprun.xml", "run/OUTCAR")


def test_files_that_contradict_each_other_are_named():
    atoms = triclinic()
    xml = vasp.vasprun([(atoms, vasp.xml_matrix("epsilon", EPS))])
    found = only(run(("OUTCAR", vasp.outcar(atoms, vasp.permittivity(EPS + 0.5))), ("vasprun.xml", xml)))
    np.testing.assert_allclose(found.targets["eps_inf"], EPS)
    assert "eps_inf differs by 0.5 between vasprun.xml and OUTCAR" in found.problems[0]


def test_files_of_different_structures_stay_apart():
    xml = vasp.vasprun([(triclinic(7), vasp.xml_matrix("epsilon", EPS))])
    found = calculations(run(("OUTCAR", vasp.outcar(triclinic(), vasp.permittivity(EPS + 1))), ("vasprun.xml", xml)))
    assert [round(one.targets["eps_inf"][0, 0] - EPS[0, 0], 6) for one in found] == [0, 1]
    assert "this structure is in the first alone" in found[1].problems[0]


def test_several_runs_of_one_folder_are_paired_by_their_names():
    one, two = triclinic(1), triclinic(2)
    found = calculations(
        run(
            ("OUTCAR.a", vasp.outcar(one, vasp.born(Z))),
            ("OUTCAR.b", vasp.outcar(two, vasp.born(Z))),
            ("vasprun.b.xml", vasp.vasprun([(two, vasp.xml_matrix("epsilon", EPS))])),
            ("vasprun.xml.a", vasp.vasprun([(one, vasp.xml_matrix("epsilon", EPS + 1))])),
        )
    )
    assert [set(each.targets) for each in found] == [{"born_charges", "eps_inf"}] * 2
    np.testing.assert_allclose([each.targets["eps_inf"][0, 0] for each in found], [EPS[0, 0] + 1, EPS[0, 0]])


def test_tensors_belong_to_the_structure_of_their_own_step():
    """A relaxation whose last step has the response, and a trajectory where each step has it."""
    start, end = triclinic(1), triclinic(2)
    relaxed = vasp.head(start) + vasp.ionic_step(start, 1) + vasp.ionic_step(end, 2) + vasp.permittivity(EPS) + vasp.END
    np.testing.assert_allclose(only(run(("OUTCAR", relaxed))).atoms.positions, end.positions, atol=1e-5)
    moving = vasp.head(start)
    for number, atoms in enumerate((start, end), start=1):
        moving += vasp.ionic_step(atoms, number) + vasp.permittivity(EPS + number)
    found = calculations(run(("OUTCAR", moving + vasp.END)))
    np.testing.assert_allclose([each.targets["eps_inf"][0, 0] for each in found], EPS[0, 0] + [1, 2], atol=1e-6)
    np.testing.assert_allclose(found[0].atoms.positions, start.positions, atol=1e-5)
    np.testing.assert_allclose(found[1].atoms.positions, end.positions, atol=1e-5)
    xml = vasp.vasprun([(start, vasp.xml_matrix("epsilon", EPS)), (end, vasp.xml_matrix("epsilon", EPS + 1))])
    both = calculations(run(("vasprun.xml", xml)))
    np.testing.assert_allclose(both[0].atoms.positions, start.positions, atol=1e-6)
    np.testing.assert_allclose(both[1].atoms.positions, end.positions, atol=1e-6)


def test_finite_differences_belong_to_the_structure_that_is_not_displaced():
    atoms, displaced = triclinic(), triclinic()
    displaced.positions[0, 0] += 0.015
    text = vasp.head(atoms, ibrion=6) + vasp.ionic_step(atoms, 1) + vasp.permittivity(EPS) + vasp.born(Z)
    text += vasp.ionic_step(displaced, 2) + vasp.permittivity(IONIC, "IONIC CONTRIBUTION") + vasp.END
    found = only(run(("OUTCAR", text)))
    np.testing.assert_allclose(found.atoms.positions, atoms.positions, atol=1e-5)
    np.testing.assert_allclose(found.targets["eps_ionic"], IONIC, atol=1e-6)
    steps = [(atoms, vasp.xml_matrix("epsilon", EPS)), (displaced, vasp.xml_matrix("epsilon_ion", IONIC))]
    found = only(run(("vasprun.xml", vasp.vasprun(steps, ibrion=6))))
    np.testing.assert_allclose(found.atoms.positions, atoms.positions, atol=1e-6)
    np.testing.assert_allclose(found.targets["eps_ionic"], IONIC, atol=1e-6)


def test_moduli_of_clamped_ions_are_no_property():
    text = vasp.outcar(
        triclinic(), vasp.permittivity(EPS), vasp.moduli(C_RIGID, "SYMMETRIZED ELASTIC MODULI (kBar)"), ibrion=6
    )
    found = only(run(("OUTCAR", text)))
    assert set(found.targets) == {"eps_inf"}
    assert "clamped ions are left out" in found.problems[0]


UNFINISHED = vasp.head(triclinic()) + vasp.ionic_step(triclinic())


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "is empty"),
        ("garbage\n" * 10, "holds no response"),
        (vasp.outcar(triclinic(), settings="   LEPSILON=     F\n"), "set LEPSILON or LCALCEPS"),
        (UNFINISHED, "breaks off before the response was calculated"),
        (UNFINISHED + vasp.END, "though LEPSILON asks for it"),
        (UNFINISHED + vasp.permittivity(EPS)[:150], "is cut short"),
        (vasp.head(triclinic()) + vasp.permittivity(EPS), "no finished ionic step"),
        (
            vasp.head(triclinic()) + vasp.ionic_step(triclinic(), reached=False) + vasp.permittivity(EPS) + vasp.END,
            "did not converge",
        ),
        (
            vasp.head(triclinic())
            + vasp.ionic_step(triclinic(), rounds=60).replace("aborting loop because EDIFF is reached", "")
            + vasp.permittivity(EPS)
            + vasp.END,
            "did not converge: the electrons of ionic step 1 stopped in NELM = 60 rounds",
        ),
    ],
)
def test_runs_that_went_wrong_are_named(text, reason):
    (failure,) = run(("OUTCAR", text))
    assert isinstance(failure, Failure)
    assert (failure.source, failure.kind) == ("run/OUTCAR", "unreadable")
    assert reason in failure.problem


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("<modeling>", "no finished ionic step"),
        (vasp.vasprun([(triclinic(), "")]), "though LEPSILON asks for it"),
        (vasp.vasprun([(triclinic(), vasp.xml_matrix("epsilon", EPS))], rounds=60), "did not converge"),
        (
            "<modeling>\n<!DOCTYPE x [<!ENTITY a 'b'>]>\n<calculation><varray name=\"epsilon\" >",
            "no finished ionic step",
        ),
    ],
)
def test_vaspruns_that_went_wrong_are_named(text, reason):
    (failure,) = run(("vasprun.xml", text))
    assert isinstance(failure, Failure)
    assert reason in failure.problem


def test_what_is_whole_of_a_broken_run_is_delivered():
    text = UNFINISHED + vasp.permittivity(EPS) + vasp.born(Z)[:300]
    found = only(run(("OUTCAR", text)))
    assert set(found.targets) == {"eps_inf"}
    assert "cut short" in found.problems[0]
    assert "the run broke off after these tensors" in found.problems[1]
    beside = only(run(("OUTCAR", text), ("vasprun.xml", "<modeling><calculation>")))
    assert any(problem.startswith("vasprun.xml beside it holds no finished ionic step") for problem in beside.problems)


def test_stars_are_no_numbers():
    found = only(run(("OUTCAR", vasp.outcar(triclinic(), vasp.permittivity(EPS), vasp.born(Z).replace("5", "*")))))
    assert set(found.targets) == {"eps_inf"}


def test_one_step_that_did_not_converge_leaves_the_others():
    one, two = triclinic(1), triclinic(2)
    text = vasp.head(one) + vasp.ionic_step(one, 1, reached=False) + vasp.permittivity(EPS)
    found = only(run(("OUTCAR", text + vasp.ionic_step(two, 2) + vasp.permittivity(EPS + 1) + vasp.END)))
    np.testing.assert_allclose(found.targets["eps_inf"][0, 0], EPS[0, 0] + 1, atol=1e-6)
    assert "another ionic step is left out, since it did not converge" in found.problems[0]


def test_outputs_are_recognized_by_what_they_hold():
    assert recognizes(run_file("dfpt.log", vasp.head(triclinic())))
    assert recognizes(run_file("something", vasp.vasprun([(triclinic(), "")])))
    assert recognizes(run_file("OUTCAR", ""))  # to be named as empty
    assert not recognizes(run_file("INCAR", "LEPSILON = .TRUE.\n"))


def test_a_vasprun_of_vasp_itself():
    path = here("vasp/vasprun_dfpt.xml")
    if not path.exists():
        pytest.skip("this ASE comes without its test data")
    found = only(run(("vasprun.xml", path.read_text())))
    assert found.atoms.get_chemical_formula() == "BN" or len(found.atoms) == 2
    np.testing.assert_allclose(found.targets["eps_inf"], 2.69584350 * np.eye(3), atol=1e-7)
    np.testing.assert_allclose(found.targets["born_charges"][:, 0, 0], [1.14672091, -1.14672091])
    assert found.provenance.functional == "PBE"
    assert (found.provenance.version, found.provenance.kpoints) == ("6.3.2", (3, 3, 3))


def test_an_outcar_of_vasp_itself_without_response():
    path = here("vasp/OUTCAR_example_1")
    if not path.exists():
        pytest.skip("this ASE comes without its test data")
    (failure,) = run(("OUTCAR", path.read_text()))
    assert isinstance(failure, Failure)
    assert "holds no response" in failure.problem
