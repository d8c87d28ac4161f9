"""Every way in which phonopy keeps a project gives the same force constants; what does not fit is named."""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import phonopy
import pytest
from phonopy import Phonopy
from phonopy.file_IO import (
    parse_BORN,
    parse_FORCE_CONSTANTS,
    parse_FORCE_SETS,
    write_FORCE_CONSTANTS,
    write_force_constants_to_hdf5,
    write_FORCE_SETS,
)
from phonopy.interface.vasp import read_vasp, write_vasp
from tests import crystals
from tests.response.projects import LAYOUTS, spring_phonon, write_project

from voigt.errors import InputError
from voigt.notes import Note
from voigt.response.phonons.born_files import born_file
from voigt.response.phonons.files import axes_of, parse_axes, parse_dim
from voigt.response.phonons.nac import limit_at_gamma
from voigt.response.phonons.project import Project, read_born, read_project, unit_cell
from voigt.response.phonons.tensors import corrected_parameters, with_nac, with_parameters


@pytest.fixture(scope="module")
def salt() -> Phonopy:
    """NaCl, conventional cell as unit cell, 64 atoms in the supercell."""
    atoms = crystals.rocksalt(cubic=True)
    return spring_phonon(atoms[np.argsort(atoms.numbers)])


@pytest.fixture
def folder(salt: Phonopy, tmp_path: Path) -> Path:
    """The layout of phonondb: POSCAR, phonopy.conf, disp.yaml, FORCE_SETS."""
    return write_project(tmp_path / "salt", salt, "conf")


def at_gamma(phonon: Phonopy) -> np.ndarray:
    phonon.run_qpoints([[0, 0, 0]])
    return phonon.qpoints.frequencies[0]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_the_same_force_constants(layout: str, salt: Phonopy, tmp_path: Path) -> None:
    project = read_project(write_project(tmp_path, salt, layout))
    assert (len(project.phonon.unitcell), len(project.phonon.primitive), len(project.phonon.supercell)) == (8, 2, 64)
    expected = salt.force_constants[salt.primitive.p2s_map]
    np.testing.assert_allclose(project.phonon.force_constants, expected, atol=1e-6)
    assert project.own_nac is None
    assert project.phonon.nac_params is None
    assert unit_cell(project).get_chemical_formula() == "Cl4Na4"


def test_files_of_the_working_folder_are_not_read(
    folder: Path, salt: Phonopy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """phonopy.load would take FORCE_SETS and BORN from there."""
    elsewhere = write_project(tmp_path / "elsewhere", salt, "conf")
    (elsewhere / "BORN").write_text("default\n9 0 0 0 9 0 0 0 9\n1 0 0 0 1 0 0 0 1\n-1 0 0 0 -1 0 0 0 -1\n")
    monkeypatch.chdir(elsewhere)
    assert read_project(folder).own_nac is None
    (folder / "FORCE_SETS").unlink()
    with pytest.raises(InputError, match=r"has no forces: no FORCE_SETS, .*or give --calculator"):
        read_project(folder)


def test_a_yaml_of_another_code_is_converted(salt: Phonopy, tmp_path: Path) -> None:
    """Quantum ESPRESSO: bohr and Ry/bohr; frequencies must not change."""
    units = phonopy.physical_units.get_calculator_physical_units("qe")
    cell = salt.unitcell.copy()
    cell.cell = salt.unitcell.cell / units.distance_to_A
    cell.scaled_positions = salt.unitcell.scaled_positions
    other = Phonopy(cell, salt.supercell_matrix, primitive_matrix=salt.primitive_matrix, calculator="qe")
    factor = units.force_to_eVperA / units.distance_to_A
    other.force_constants = salt.force_constants / factor
    other.nac_params = {"born": [np.eye(3), -np.eye(3)], "dielectric": 3 * np.eye(3), "factor": 2.0}
    other.save(tmp_path / "phonopy.yaml", settings={"force_constants": True})
    project = read_project(tmp_path)
    np.testing.assert_allclose(project.phonon.unitcell.cell, salt.unitcell.cell, atol=1e-8)
    np.testing.assert_allclose(at_gamma(project.phonon)[3:], at_gamma(salt)[3:], atol=1e-4)
    assert project.own_nac is not None
    assert project.own_nac["factor"] == pytest.approx(14.39965, abs=1e-4)  # e^2 = 2 in Ry and bohr
    other.run_qpoints([[0, 0, 0]], nac_q_direction=other.primitive.cell @ [1, 0, 0])
    ours = limit_at_gamma(with_parameters(project, project.own_nac), [1, 0, 0])[0]
    np.testing.assert_allclose(ours[3:], other.qpoints.frequencies[0][3:], atol=1e-3)


@pytest.mark.parametrize("name", ["BPO4_mp-3589", "HgS_mp-634"])
def test_reference_frequencies_of_real_crystals(name: str, dft_data: Callable[[str], Path]) -> None:
    """phonopy with its own recipe wrote reference.json; five decimals."""
    home = dft_data(f"phonons/{name}")
    reference = json.loads((home / "reference.json").read_text())
    project = read_project(home)
    np.testing.assert_allclose(project.phonon.supercell_matrix, reference["supercell_matrix"])
    np.testing.assert_allclose(at_gamma(project.phonon), reference["gamma_no_nac_THz"], atol=1e-4)
    assert project.own_nac is not None
    polar = with_parameters(project, project.own_nac)
    for axis, expected in reference["gamma_nac_THz"].items():
        frequencies, _ = limit_at_gamma(polar, [float(digit) for digit in axis])
        np.testing.assert_allclose(frequencies, expected, atol=2e-5)


def test_nac_is_that_of_phonopy_for_our_born_file(dft_data: Callable[[str], Path], tmp_path: Path) -> None:
    home = dft_data("phonons/HgS_mp-634")
    project = read_project(home)
    rng = np.random.default_rng(0)
    atoms = unit_cell(project)
    reference = project.own_nac
    assert reference is not None
    # All atoms of this unit cell are in the primitive cell, in the same order.
    z = reference["born"] + 0.02 * rng.normal(size=reference["born"].shape)
    eps = reference["dielectric"] + 0.1 * np.eye(3)
    polar = with_nac(project, z, eps)
    born = polar.nac_params
    assert born is not None
    (tmp_path / "BORN").write_text(born_file(atoms, born["born"], born["dielectric"]))
    files = {"unitcell_filename": home / "POSCAR-unitcell", "force_sets_filename": home / "FORCE_SETS"}
    theirs = phonopy.load(
        supercell_matrix=project.phonon.supercell_matrix, born_filename=tmp_path / "BORN", primitive_matrix="P", **files
    )
    for direction in ([1, 0, 0], [0, 0, 1], [0.3, -0.5, 0.8]):
        theirs.run_qpoints([[0, 0, 0]], nac_q_direction=theirs.primitive.cell @ direction)
        ours, _ = limit_at_gamma(polar, direction)
        np.testing.assert_allclose(ours[3:], theirs.qpoints.frequencies[0][3:], atol=1e-6)


def test_charges_of_any_cell_arrive_at_the_right_atoms(tmp_path: Path) -> None:
    """A shuffled supercell as unit cell: the atoms of phonopy's primitive cell get the charges of their element."""
    atoms = crystals.rocksalt(cubic=True)
    atoms = atoms[[3, 4, 0, 7, 1, 2, 6, 5]]
    project = read_project(write_project(tmp_path, spring_phonon(atoms, (2, 2, 2)), "params"))
    signs = np.where(atoms.symbols == "Na", 1.1, -1.1)
    polar = with_nac(project, signs[:, None, None] * np.eye(3), 2.4 * np.eye(3))
    assert polar.nac_params is not None
    found = {symbol: z[0, 0] for symbol, z in zip(polar.primitive.symbols, polar.nac_params["born"], strict=True)}
    assert found == pytest.approx({"Na": 1.1, "Cl": -1.1})


def test_nac_is_not_applied_twice(folder: Path) -> None:
    project = read_project(folder)
    charges = np.where(unit_cell(project).symbols == "Na", 1.0, -1.0)[:, None, None] * np.eye(3)
    polar = with_nac(project, charges, 2.4 * np.eye(3))
    doubled = Project(project.folder, polar, project.source, None)
    with pytest.raises(InputError, match="must not be applied twice"):
        with_nac(doubled, charges, 2.4 * np.eye(3))
    assert project.phonon.nac_params is None  # the project itself stays without


def test_corrections_can_be_switched_off(folder: Path) -> None:
    project = read_project(folder)
    charges = np.where(unit_cell(project).symbols == "Na", 1.3, -1.0)[:, None, None] * np.diag([1.0, 1.0, 1.2])
    left = with_nac(project, charges, 2.4 * np.eye(3), symmetrize=False, sum_rule=False)
    assert left.nac_params is not None
    np.testing.assert_allclose(sorted(left.dynamical_matrix.born[:, 0, 0]), [-1.0, 1.3])
    np.testing.assert_allclose(sorted(left.dynamical_matrix.born[:, 2, 2]), [-1.2, 1.56])
    done = with_nac(project, charges, 2.4 * np.eye(3))
    mean = 1.15 * np.mean([1.0, 1.0, 1.2])
    expected = np.array([-1, 1])[:, None, None] * mean * np.eye(3)
    np.testing.assert_allclose(sorted(done.dynamical_matrix.born, key=lambda z: z[0, 0]), expected, atol=1e-9)


def test_without_symmetry_force_constants_are_those_that_phonopy_makes(folder: Path) -> None:
    """Symmetry has saved all displacements but two, and phonopy cannot do without it there."""
    project = read_project(folder, symmetrize=False)
    assert project.notes == (Note("processing", "force constants not symmetrized"),)
    theirs = phonopy.load(
        unitcell_filename=folder / "POSCAR",
        supercell_matrix=project.phonon.supercell_matrix,
        primitive_matrix="F",
        force_sets_filename=folder / "FORCE_SETS",
        symmetrize_fc=False,
    )
    expected = theirs.force_constants
    if len(expected) == len(theirs.supercell):
        expected = expected[theirs.primitive.p2s_map]
    np.testing.assert_allclose(project.phonon.force_constants, expected, atol=1e-8)


def test_the_sum_rule_can_be_left_out_alone(folder: Path) -> None:
    """phonopy imposes it together with the symmetry, whatever is asked for."""
    project = read_project(folder)
    charges = np.where(unit_cell(project).symbols == "Na", 1.5, -1.0)[:, None, None] * np.eye(3)
    eps = 2.4 * np.eye(3)
    left = with_nac(project, charges, eps, sum_rule=False)
    np.testing.assert_allclose(sorted(left.dynamical_matrix.born[:, 0, 0]), [-1.0, 1.5])
    highest = [limit_at_gamma(polar, [1, 0, 0])[0][-1] for polar in (left, with_nac(project, charges, eps))]
    assert abs(highest[0] - highest[1]) > 0.05
    masses, volume = project.phonon.primitive.masses, project.phonon.primitive.volume
    order = np.argsort(-left.nac_params["born"][:, 0, 0])  # Na first
    vector = np.array([1.5, -1.0]) / np.sqrt(masses[order])
    phi = at_gamma(project.phonon)[3] ** 2 * np.outer(*[[1, -1] / np.sqrt(masses[order])] * 2) / (1 / masses).sum()
    field = 4 * np.pi * 14.399652 / (2.4 * volume) * 15.633302**2 * np.outer(vector, vector)
    assert highest[0] == pytest.approx(np.sqrt(np.linalg.eigvalsh(phi + field)[1]), rel=1e-5)


def test_corrections_of_given_tensors(folder: Path) -> None:
    """With both steps those of phonopy, and each can be left out."""
    (folder / "BORN").write_text("14.4\n2.4 0 0 0 2.6 0 0 0 2.4\n1.5 0 0 0 1.1 0 0 0 1.1\n-1 0 0 0 -1 0 0 0 -1\n")
    project = read_project(folder)
    assert project.own_nac is not None
    done, steps = corrected_parameters(project, project.own_nac)
    theirs = with_parameters(project, project.own_nac).dynamical_matrix
    np.testing.assert_allclose(done["born"], theirs.born, atol=1e-9)
    np.testing.assert_allclose(done["dielectric"], theirs.dielectric_constant, atol=1e-9)
    assert done["factor"] == 14.4
    assert [step.split(" imposed")[0] for step in steps] == ["symmetry Fm-3m", "sum rule"]
    raw, steps = corrected_parameters(project, project.own_nac, symmetrize=False, sum_rule=False)
    np.testing.assert_array_equal(raw["born"], project.own_nac["born"])
    assert "not imposed" in steps[0]
    assert "miss it by up to 0.5 e" in steps[1]


@pytest.mark.parametrize("code", ["qe", "cp2k", "abinit"])
def test_born_of_another_code_has_the_factor_of_its_units(code: str, salt: Phonopy, tmp_path: Path) -> None:
    """Read from BORN and from the YAML file, and written so that phonopy applies it to force constants of that code."""
    units = phonopy.physical_units.get_calculator_physical_units(code)
    cell = salt.unitcell.copy()
    cell.cell = salt.unitcell.cell / units.distance_to_A
    cell.scaled_positions = salt.unitcell.scaled_positions
    other = Phonopy(cell, salt.supercell_matrix, primitive_matrix=salt.primitive_matrix, calculator=code)
    other.force_constants = salt.force_constants / (units.force_to_eVperA / units.distance_to_A)
    tensors = {"born": np.array([-np.eye(3), np.eye(3)]), "dielectric": 3 * np.eye(3)}
    if other.primitive.symbols[0] == "Na":
        tensors["born"] = -tensors["born"]
    other.nac_params = {**tensors, "factor": units.nac_factor}
    other.run_qpoints([[0, 0, 0]], nac_q_direction=other.primitive.cell @ [1, 0, 0])
    expected = other.qpoints.frequencies[0][3:]
    other.save(tmp_path / "phonopy.yaml", settings={"force_constants": True})
    project = read_project(tmp_path)
    assert project.own_nac is not None
    found = [limit_at_gamma(with_parameters(project, project.own_nac), [1, 0, 0])[0][3:]]
    signs = np.where(unit_cell(project).symbols == "Na", 1.0, -1.0)
    text = born_file(
        unit_cell(project),
        signs[:, None, None] * np.eye(3),
        3 * np.eye(3),
        primitive_matrix=project.phonon.primitive_matrix,
        factor=project.nac_unit,
    )
    (tmp_path / "BORN").write_text(text)
    found.append(limit_at_gamma(with_parameters(project, read_born(project, tmp_path / "BORN")), [1, 0, 0])[0][3:])
    other.nac_params = parse_BORN(other.primitive, filename=tmp_path / "BORN")
    other.run_qpoints([[0, 0, 0]], nac_q_direction=other.primitive.cell @ [1, 0, 0])
    found.append(other.qpoints.frequencies[0][3:])
    np.testing.assert_allclose(found, [expected] * 3, atol=1e-3)
    assert expected[-1] - expected[0] > 0.5


@pytest.mark.parametrize("unit", [None, "hartree/au^2"])
def test_units_of_force_constants_in_hdf5(unit: str | None, salt: Phonopy, tmp_path: Path) -> None:
    """Of another code: its own unit if the file states none."""
    units = phonopy.physical_units.get_calculator_physical_units("qe")
    cell = salt.unitcell.copy()
    cell.cell = salt.unitcell.cell / units.distance_to_A
    cell.scaled_positions = salt.unitcell.scaled_positions
    other = Phonopy(cell, salt.supercell_matrix, primitive_matrix=salt.primitive_matrix, calculator="qe")
    other.save(tmp_path / "phonopy_disp.yaml", settings={"force_sets": False, "displacements": False})
    constants = salt.force_constants / (units.force_to_eVperA / units.distance_to_A) / (1 if unit is None else 2)
    write_force_constants_to_hdf5(constants, tmp_path / "force_constants.hdf5", physical_unit=unit)
    np.testing.assert_allclose(at_gamma(read_project(tmp_path).phonon)[3:], at_gamma(salt)[3:], atol=1e-4)


def test_born_beside_a_yaml_file(salt: Phonopy, tmp_path: Path) -> None:
    """As FORCE_SETS is, whether the folder is named or the file."""
    write_project(tmp_path, salt, "params")
    (tmp_path / "BORN").write_text("14.4\n2.4 0 0 0 2.4 0 0 0 2.4\n1 0 0 0 1 0 0 0 1\n-1 0 0 0 -1 0 0 0 -1\n")
    for place in (tmp_path, tmp_path / "phonopy_params.yaml"):
        assert read_project(place).own_nac is not None


def test_own_nac_is_read_and_completed(folder: Path) -> None:
    text = "# no factor\n2.4 0 0 0 2.4 0 0 0 2.4\n1.1 0 0 0 1.1 0 0 0 1.1\n-1.1 0 0 0 -1.1 0 0 0 -1.1\n"
    (folder / "BORN").write_text(text)
    project = read_project(folder)
    assert project.own_nac is not None
    assert project.own_nac["factor"] == pytest.approx(14.399652, abs=1e-5)
    np.testing.assert_allclose(project.own_nac["born"][0], 1.1 * np.eye(3), atol=1e-12)
    (folder / "BORN").write_text(text + "1 0 0 0 1 0 0 0 1\n")  # one atom too many
    project = read_project(folder)
    assert project.own_nac is None
    assert project.notes[-1].kind == "unusable_born"
    assert "Too many atoms" in project.notes[-1].text
    with pytest.raises(InputError, match="Too many atoms in the BORN file"):
        read_born(project, folder / "BORN")
    with pytest.raises(InputError, match="NOWHERE does not exist"):
        read_born(project, "NOWHERE")


# Bad input


def fails(folder: Path, match: str, **options: object) -> None:
    with pytest.raises(InputError, match=match) as caught:
        read_project(folder, **options)
    assert "\n" not in str(caught.value)


def test_missing_files_are_named(folder: Path, tmp_path: Path) -> None:
    fails(tmp_path / "nowhere", "does not exist; give the folder")
    (tmp_path / "empty").mkdir()
    fails(tmp_path / "empty", "holds no phonopy project: none of phonopy_params.yaml, .* POSCAR, SPOSCAR")
    fails(folder / "POSCAR", "no folder and no phonopy YAML file")
    (folder / "phonopy.conf").unlink()
    (folder / "disp.yaml").unlink()
    fails(folder, "no supercell matrix in its files; give it with --dim")
    assert len(read_project(folder, dim=[2, 2, 2]).phonon.supercell) == 64


def test_another_supercell_is_refused(folder: Path) -> None:
    fails(folder, r"POSCAR and the supercell in disp.yaml do not match: 8 atoms .* against 64", dim=[1, 1, 1])
    (folder / "disp.yaml").unlink()
    fails(folder, "FORCE_SETS has forces on 64 atoms, but the supercell has 8; check --dim", dim=[1, 1, 1])
    fails(folder, "determinant must be positive", dim=[0, 1, 1])
    fails(folder, r"so skewed that 4e\+06 cells surround .* of 8", dim=[2, 0, 0, 1_000_000, 2, 0, 0, 0, 2])
    fails(folder, "a supercell of 640 cells has more than 5000 atoms", dim=[8, 8, 10])
    fails(folder, "3 or 9 integers, not 2", dim=[2, 2])
    fails(folder, "primitive axes 'X' are not", primitive_axes="X")
    fails(folder, "check its cell, --dim and --primitive-axes", primitive_axes=np.diag([0.5, 0.5, 0.7]))


def test_a_flat_unit_cell_is_refused(folder: Path) -> None:
    """Before the supercell's matrix is made of it."""
    lines = (folder / "POSCAR").read_text().splitlines()
    (folder / "POSCAR").write_text("\n".join([*lines[:4], lines[3], *lines[5:]]))
    (folder / "phonopy.conf").unlink()
    fails(folder, "volume")


def test_forces_beyond_all_numbers_make_no_warning(folder: Path) -> None:
    text = (folder / "FORCE_SETS").read_text().splitlines()
    text[-1] = "1e200 0.0 -1e200"
    (folder / "FORCE_SETS").write_text("\n".join(text))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fails(folder, "not finite|are not drawn back|contradict|cannot be")


def test_a_supercell_that_is_not_finite_is_refused(folder: Path) -> None:
    text = (folder / "disp.yaml").read_text()
    lines = text.splitlines()
    for start, refused in (("    coordinates:", "do not match"), ("  position:", "do not match")):
        places = [k for k, line in enumerate(lines) if line.startswith(start)]
        for k in places[-1:]:
            changed = [*lines[:k], f"{start} [ .nan, 0.0, .inf ]", *lines[k + 1 :]]
            (folder / "disp.yaml").write_text("\n".join(changed))
            fails(folder, refused)


@pytest.mark.parametrize(
    ("name", "old", "new", "match"),
    [
        ("POSCAR", "1.0", "Mg", "POSCAR: 'Mg' is not a number; it should be"),
        ("BORN", "2.6", "&xxe;", "BORN: '&xxe;' is not a number; it must"),
        ("BORN", "2.6", "\udcff", "BORN: it is not UTF-8 text; it must"),
    ],
)
def test_parsers_of_phonopy_are_not_quoted(folder: Path, name: str, old: str, new: str, match: str) -> None:
    (folder / "BORN").write_text("14.4\n2.4 0 0 0 2.6 0 0 0 2.4\n1.5 0 0 0 1.1 0 0 0 1.1\n-1 0 0 0 -1 0 0 0 -1\n")
    text = (folder / name).read_text()
    assert old in text
    (folder / name).write_text(text.replace(old, new, 1), errors="surrogateescape")
    if name == "BORN":
        (note,) = [note for note in read_project(folder).notes if note.kind == "unusable_born"]
        assert match in note.text
    else:
        fails(folder, match)


def test_another_order_of_atoms_is_refused(folder: Path) -> None:
    cell = read_vasp(folder / "POSCAR")
    order = np.argsort(-cell.numbers, kind="stable")
    shuffled = type(cell)(cell=cell.cell, numbers=cell.numbers[order], scaled_positions=cell.scaled_positions[order])
    write_vasp(folder / "POSCAR", shuffled)
    fails(folder, r"do not match: \d+ atoms, from number 1 on, .* the order of atoms must be that of the calculation")


def test_forces_in_another_order_are_seen_without_any_other_file(folder: Path) -> None:
    """Nothing says so but the force constants themselves."""
    (folder / "disp.yaml").unlink()
    perfect = parse_FORCE_SETS(filename=folder / "FORCE_SETS")

    def in_order(order: np.ndarray) -> None:
        dataset = parse_FORCE_SETS(filename=folder / "FORCE_SETS")
        for entry, old in zip(dataset["first_atoms"], perfect["first_atoms"], strict=True):
            entry["forces"] = old["forces"][order]
        write_FORCE_SETS(dataset, filename=folder / "FORCE_SETS")

    # Na and Cl exchanged: an operation of these springs, so that symmetry and sum rule still hold.
    in_order(np.arange(64)[::-1])
    fails(folder, "not drawn back to their places by their own force constants; they belong to another structure")
    # All but the displaced atoms.
    order = np.arange(64)
    rest = np.setdiff1d(order, [entry["number"] for entry in perfect["first_atoms"]])
    order[rest] = np.random.default_rng(0).permutation(rest)
    in_order(order)
    fails(folder, r"% of the force constants contradict the symmetry of the structure")
    in_order(np.arange(64))
    assert len(read_project(folder).phonon.supercell) == 64


def test_force_constants_of_another_structure_are_refused(salt: Phonopy, tmp_path: Path) -> None:
    home = write_project(tmp_path, salt, "constants")
    constants = parse_FORCE_CONSTANTS(home / "FORCE_CONSTANTS")
    order = np.random.default_rng(0).permutation(64)
    write_FORCE_CONSTANTS(constants[np.ix_(order, order)], filename=home / "FORCE_CONSTANTS")
    fails(home, "another structure or another order of atoms")
    write_FORCE_CONSTANTS(constants[:32, :32].copy(), filename=home / "FORCE_CONSTANTS")
    fails(home, "force constants of 32 x 32 atoms do not belong to a supercell of 64 atoms")
    write_FORCE_CONSTANTS(constants, filename=home / "FORCE_CONSTANTS")
    text = (home / "FORCE_CONSTANTS").read_text()
    (home / "FORCE_CONSTANTS").write_text(text[: len(text) // 2])
    fails(home, r"FORCE_CONSTANTS: .*; it does not fit the structure")


def test_displacements_of_another_run_are_refused(folder: Path) -> None:
    dataset = parse_FORCE_SETS(filename=folder / "FORCE_SETS")
    dataset["first_atoms"][0]["displacement"] = -dataset["first_atoms"][0]["displacement"]
    write_FORCE_SETS(dataset, filename=folder / "FORCE_SETS")
    fails(folder, "displacements are not those of disp.yaml; the files belong to two runs")


@pytest.mark.parametrize(("value", "problem"), [("nan", "forces are not finite"), ("wat", "'wat' is not a number")])
def test_forces_that_are_no_numbers(value: str, problem: str, folder: Path) -> None:
    lines = (folder / "FORCE_SETS").read_text().splitlines()
    lines[9] = f"{value} 0.0 0.0"
    (folder / "FORCE_SETS").write_text("\n".join(lines))
    fails(folder, problem)
    (folder / "FORCE_SETS").write_text("\n".join(lines[:30]))
    fails(folder, "FORCE_SETS: ")


def test_broken_yaml_and_conf(salt: Phonopy, tmp_path: Path) -> None:
    home = write_project(tmp_path / "a", salt, "params")
    text = (home / "phonopy_params.yaml").read_text()
    (home / "phonopy_params.yaml").write_text(text[: len(text) // 2] + "\n  - [")
    fails(home, "phonopy_params.yaml is not readable YAML, line [0-9]+: ")
    (home / "phonopy_params.yaml").write_text(text.replace("coordinates", "places"))
    fails(home, "phonopy_params.yaml.*; write it anew with phonopy-init")
    (home / "phonopy_params.yaml").write_text("phonopy:\n  version: 4\n")
    fails(home, "holds no unit cell")
    home = write_project(tmp_path / "b", salt, "constants")
    (home / "phonopy.conf").write_text("DIM = 2 2\n")
    fails(home, "phonopy.conf: DIM is 3 or 9 integers, not 2")
    (home / "POSCAR").write_text("nothing\n")
    fails(home, "POSCAR: .*; it should be a POSCAR")


def test_numbers_beyond_all_cells_are_refused(folder: Path) -> None:
    for many in (10**12, 10**30, -(10**400)):
        fails(folder, "DIM repeats the cell more than", dim=[2, 0, 0, many, 2, 0, 0, 0, 2])
    for word in ("1e999999999", "nan", "inf", "9" * 4000 + "/1"):
        with pytest.raises(InputError, match="9 numbers"):
            axes_of(parse_axes(f"{word} 0 0 0 1 0 0 0 1"))


def test_options_as_words() -> None:
    assert parse_dim("2 0 0 0 2 0 0 0 1") == [2, 0, 0, 0, 2, 0, 0, 0, 1]
    assert parse_axes("0 1/2 1/2 1/2 0 1/2 1/2 1/2 0") == [0, 0.5, 0.5, 0.5, 0, 0.5, 0.5, 0.5, 0]
    assert parse_axes("F") == "F"
    with pytest.raises(InputError, match="DIM 'two' is not 3 or 9 integers"):
        parse_dim("two")
    with pytest.raises(InputError, match=r"DIM '2 \\x00 2' is not"):
        parse_dim("2 \0 2")
    with pytest.raises(InputError, match="not 9 numbers"):
        parse_axes("1/0 a b")


def test_primitive_axes_of_the_conf_file(folder: Path) -> None:
    shutil.copy(folder / "phonopy.conf", folder / "old.conf")
    (folder / "phonopy.conf").write_text("DIM = 2 2 2\nPRIMITIVE_AXES = P\n")
    assert len(read_project(folder).phonon.primitive) == 8
    assert len(read_project(folder, primitive_axes="auto").phonon.primitive) == 2
    (folder / "phonopy.conf").write_text("DIM = 2 2 2\nPRIMITIVE_AXIS = 0 1/2 1/2  1/2 0 1/2  1/2 1/2 0\nMASS = 8*1\n")
    fails(folder, "MASS takes one number per atom")
    (folder / "phonopy.conf").write_text("DIM = 2 2 2\nMASS = 23 23 23 23 35 35 35 35\n")
    assert set(read_project(folder).phonon.primitive.masses) == {23.0, 35.0}
