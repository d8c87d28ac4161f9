"""YAML of phonopy: nothing in it runs, old spellings and other units are understood, and moments that are none."""

from __future__ import annotations

import bz2
import gzip
import lzma
import pickle
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import phonopy
import pytest
import yaml
from phonopy import Phonopy
from phonopy.file_IO import write_force_constants_to_hdf5
from tests import crystals
from tests.response.projects import spring_phonon, write_project

from voigt.errors import InputError
from voigt.response.phonons import yaml_files
from voigt.response.phonons.project import Project, read_project
from voigt.response.phonons.yaml_files import unit_of

PACKERS = {".xz": lzma.compress, ".gz": gzip.compress, ".bz2": bz2.compress}


@pytest.fixture(scope="module")
def salt() -> Phonopy:
    """NaCl, two atoms, 16 in the supercell."""
    return spring_phonon(crystals.rocksalt())


def highest(project: Project) -> float:
    project.phonon.run_qpoints([[0, 0, 0]])
    return float(project.phonon.qpoints.frequencies[0][-1])


def expected(phonon: Phonopy) -> float:
    phonon.run_qpoints([[0, 0, 0]])
    return float(phonon.qpoints.frequencies[0][-1])


def rewrite(path: Path, change: Any) -> None:
    content = yaml.safe_load(path.read_text())
    change(content)
    path.write_text(yaml.safe_dump(content))


def test_forces_on_some_of_the_atoms_are_refused(salt: Phonopy, tmp_path: Path) -> None:
    home = write_project(tmp_path, salt, "params")

    def change(content: Any) -> None:
        del content["displacements"][-1]["forces"][-1]

    rewrite(home / "phonopy_params.yaml", change)
    with pytest.raises(InputError, match=r"has forces on 15 atoms, but the supercell has 16; check --dim"):
        read_project(home)


def test_atoms_at_infinity_are_refused_without_a_warning(salt: Phonopy, tmp_path: Path) -> None:
    home = write_project(tmp_path, salt, "params")

    def change(content: Any) -> None:
        content["unit_cell"]["points"][1]["coordinates"] = [0.5, float("inf"), 0.0]

    rewrite(home / "phonopy_params.yaml", change)
    with pytest.raises(InputError, match="not finite"):
        read_project(home)


# Nothing runs


def trap(marker: Path) -> str:
    """YAML that makes a folder where a loader builds Python objects."""
    return f"phonopy: !!python/object/apply:os.mkdir ['{marker}']\n"


def test_the_trap_works(tmp_path: Path) -> None:
    yaml.unsafe_load(trap(tmp_path / "ran"))
    assert (tmp_path / "ran").exists()


@pytest.mark.parametrize("ending", ["", *PACKERS, ".lzma"])
@pytest.mark.parametrize("name", ["phonopy_params.yaml", "phonopy.yaml", "phonopy_disp.yaml"])
def test_no_code_of_a_yaml_file_runs(name: str, ending: str, tmp_path: Path) -> None:
    content = trap(tmp_path / "ran").encode()
    if ending == ".lzma":
        content = lzma.compress(content, format=lzma.FORMAT_ALONE)
    elif ending:
        content = PACKERS[ending](content)
    (tmp_path / (name + ending)).write_bytes(content)
    for place in (tmp_path, tmp_path / (name + ending)):
        with pytest.raises(InputError, match=r"line 1: tag !!python/object/apply:os.mkdir asks for more"):
            read_project(place)
    assert not (tmp_path / "ran").exists()


def test_no_code_beside_a_poscar_runs(salt: Phonopy, tmp_path: Path) -> None:
    home = write_project(tmp_path / "salt", salt, "conf")
    (home / "disp.yaml").write_text(trap(tmp_path / "ran"))
    with pytest.raises(InputError, match=r"disp.yaml, line 1: tag !!python"):
        read_project(home)
    (home / "disp.yaml").unlink()
    pickled = b"cposix\nmkdir\n(S'" + str(tmp_path / "ran").encode() + b"'\ntR."
    for name in ("FORCE_CONSTANTS", "FORCE_SETS", "force_constants.hdf5", "BORN"):
        home = write_project(tmp_path / name, salt, "conf")
        (home / name).write_bytes(pickled)
        if name == "BORN":
            assert read_project(home).notes[-1].kind == "unusable_born"
            continue
        with pytest.raises(InputError, match=name):
            read_project(home)
    assert not (tmp_path / "ran").exists()
    pickle.loads(pickled)  # the trap works
    assert (tmp_path / "ran").exists()


def test_force_constants_of_hdf5_lie_in_the_file_itself(salt: Phonopy, tmp_path: Path) -> None:
    home = write_project(tmp_path, salt, "disp")
    write_force_constants_to_hdf5(salt.force_constants, home / "elsewhere.hdf5")
    with h5py.File(home / "force_constants.hdf5", "w") as file:
        file["force_constants"] = h5py.ExternalLink("elsewhere.hdf5", "force_constants")
    with pytest.raises(InputError, match="force_constants is not inside of the file"):
        read_project(home)
    with h5py.File(home / "force_constants.hdf5", "w") as file:
        file.create_dataset(
            "force_constants", (10**6, 10**6, 3, 3), "f8", chunks=(1, 1, 3, 3)
        )  # 72 TB that are not there
    with pytest.raises(InputError, match="force constants of 1000000 x 1000000 atoms do not belong"):
        read_project(home)
    (home / "force_constants.hdf5").unlink()
    (home / "FORCE_CONSTANTS").write_text("1000000 1000000\n")
    with pytest.raises(InputError, match="force constants of 1000000 x 1000000 atoms do not belong"):
        read_project(home)


def test_what_is_too_large_is_not_read(salt: Phonopy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = write_project(tmp_path, salt, "params")
    path = home / "phonopy_params.yaml"
    rewrite(path, lambda content: content.update(supercell_matrix=[[1000, 0, 0], [0, 1000, 0], [0, 0, 1000]]))
    with pytest.raises(InputError, match="a supercell of 1000000000 cells has more than 5000 atoms"):
        read_project(home)
    path.write_text("a: [" + "1, " * 1000 + "1]")
    monkeypatch.setattr(yaml_files, "MOST_CHARACTERS", 1000)
    with pytest.raises(InputError, match="holds more than 1000 bytes; it is not read"):
        read_project(home)
    path.unlink()
    (home / "phonopy_params.yaml.xz").write_bytes(lzma.compress(b" " * 1001))
    with pytest.raises(InputError, match="holds more than 1000 bytes; it is not read"):
        read_project(home)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"[1, 2]", "holds no keys and values"),
        (b"", "holds no keys and values"),
        (b"\xff\xfe\x00", "is not text"),
        (b"phonopy: {version: '4'}\n", "holds no unit cell"),
        (b"unit_cell: 3\n", "write it anew with phonopy-init"),
        (b"unit_cell: {lattice: [[1, 0], 2], points: [1]}\n", "write it anew with phonopy-init"),
        (b"phonopy: {calculator: nobody}\n", "name a code that phonopy knows"),
        (b"phonopy: {calculator: nobody}\nphysical_unit: {length: parsec}\n", "unknown unit 'parsec'"),
    ],
)
def test_other_content_is_one_sentence(content: bytes, problem: str, tmp_path: Path) -> None:
    (tmp_path / "phonopy.yaml").write_bytes(content)
    with pytest.raises(InputError, match=problem) as caught:
        read_project(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("ending", [".xz", ".gz", ".bz2"])
def test_a_broken_archive_is_one_sentence(ending: str, tmp_path: Path) -> None:
    packed = PACKERS[ending](b"phonopy: {version: '4'}\n" * 1000)
    (tmp_path / f"phonopy.yaml{ending}").write_bytes(packed[: len(packed) // 2])
    with pytest.raises(InputError, match=r"phonopy.yaml.* cannot be read: .*; pack it anew"):
        read_project(tmp_path)


def test_the_unit_cell_must_be_a_crystal(salt: Phonopy, tmp_path: Path) -> None:
    path = write_project(tmp_path, salt, "params") / "phonopy_params.yaml"
    rewrite(path, lambda content: content["unit_cell"]["points"][1].update(coordinates=[0.0, 0.0, 0.001]))
    with pytest.raises(InputError, match=r"the unit cell in phonopy_params.yaml atoms 0 .* apart"):
        read_project(path)


# Units


def spelled(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_angstrom_with_a_capital_letter(salt: Phonopy, tmp_path: Path) -> None:
    """As phonopy wrote it up to version 2."""
    path = write_project(tmp_path, salt, "params") / "phonopy_params.yaml"
    spelled(path, "angstrom", "Angstrom")
    with pytest.raises(ValueError, match="conflicts with calculator settings"):
        phonopy.load(path)  # if it reads it again, the helper may go
    assert highest(read_project(path)) == pytest.approx(expected(salt), abs=1e-5)


@pytest.mark.parametrize("code", [None, "qe", "cp2k", "abinit"])
@pytest.mark.parametrize("stated", ["length force force_constants", "length", ""])
def test_units_are_those_that_the_file_states(code: str | None, stated: str, salt: Phonopy, tmp_path: Path) -> None:
    """The name of the code is needed only for those that are not stated."""
    units = phonopy.physical_units.get_calculator_physical_units(code)
    cell = salt.unitcell.copy()
    cell.cell = salt.unitcell.cell / units.distance_to_A
    cell.scaled_positions = salt.unitcell.scaled_positions
    other = Phonopy(cell, salt.supercell_matrix, primitive_matrix=salt.primitive_matrix, calculator=code)
    other.force_constants = salt.force_constants / (units.force_to_eVperA / units.distance_to_A)
    path = tmp_path / "phonopy.yaml"
    other.save(path, settings={"force_constants": True})

    def change(content: dict[str, Any]) -> None:
        named = {"length": units.length_unit, "force": units.force_unit, "force_constants": units.force_constants_unit}
        content["physical_unit"] = {key: named[key].replace("angstrom", "Angstrom") for key in stated.split()}
        if stated.count(" "):
            content["phonopy"].pop("calculator", None)

    rewrite(path, change)
    project = read_project(path)
    np.testing.assert_allclose(project.phonon.unitcell.cell, salt.unitcell.cell, atol=1e-8)
    assert highest(project) == pytest.approx(expected(salt), abs=1e-4)
    factor = None if code is None else pytest.approx(units.nac_factor, rel=1e-6)
    assert project.nac_unit == factor


@pytest.mark.parametrize("text", ["furlong", "eV/furlong", "Angstrom/eV", "eV^2", "", "eV/Angstrom^3", "x" * 1000])
def test_other_units_are_refused(text: str) -> None:
    with pytest.raises(InputError, match="unknown unit") as caught:
        unit_of(text)
    assert len(str(caught.value)) < 200


# Moments


@pytest.mark.parametrize("zero", [0, [0.0, 0.0, 0.0]])
def test_moments_that_are_all_zero_are_none(zero: Any, tmp_path: Path) -> None:
    atoms = crystals.rocksalt(cubic=True)
    phonon = spring_phonon(atoms, (1, 1, 1))
    path = write_project(tmp_path, phonon, "params") / "phonopy_params.yaml"
    without = highest(read_project(path))

    def change(content: dict[str, Any]) -> None:
        for name in ("primitive_cell", "unit_cell", "supercell"):
            for point in content[name]["points"]:
                point["magnetic_moment"] = zero

    rewrite(path, change)
    for symmetrize in (True, False):
        assert highest(read_project(path, symmetrize=symmetrize)) == pytest.approx(without, abs=1e-6)


def test_moments_of_an_antiferromagnet_lower_the_symmetry(tmp_path: Path) -> None:
    """Na up and down in layers along c, in the YAML file and as MAGMOM: a tetragonal primitive cell of four atoms."""
    atoms = crystals.rocksalt(cubic=True)
    atoms = atoms[np.argsort(atoms.numbers)]
    phonon = spring_phonon(atoms, (1, 1, 1))
    moments = np.where(atoms.symbols == "Na", np.where(np.isclose(atoms.positions[:, 2], 0), 1.0, -1.0), 0.0)
    yaml_home = write_project(tmp_path / "yaml", phonon, "yaml_constants")

    def change(content: dict[str, Any]) -> None:
        for point, moment in zip(content["unit_cell"]["points"], moments, strict=True):
            point["magnetic_moment"] = float(moment)
        del content["primitive_matrix"]

    rewrite(yaml_home / "phonopy.yaml", change)
    conf_home = write_project(tmp_path / "conf", phonon, "constants")
    conf = (conf_home / "phonopy.conf").read_text()
    (conf_home / "phonopy.conf").write_text(conf + "MAGMOM = " + " ".join(map(str, moments)) + "\n")
    for home in (yaml_home, conf_home):
        assert len(read_project(home).phonon.primitive) == 4
    (conf_home / "phonopy.conf").write_text(conf + "MAGMOM = 0 0 0 0 0 0 0 0\n")
    assert len(read_project(conf_home).phonon.primitive) == 2
    (conf_home / "phonopy.conf").write_text(conf + "MAGMOM = 1 -1\n")
    with pytest.raises(InputError, match="MAGMOM has 2 numbers for 8 atoms"):
        read_project(conf_home)
