"""Forces and force constants as users keep them: packed, without symmetry, of a unit cell, of structures off rest."""

from __future__ import annotations

import bz2
import gzip
import lzma
from pathlib import Path
from typing import Any

import ase
import numpy as np
import phonopy
import pytest
import yaml
from ase.build import bulk
from ase.calculators.calculator import Calculator, all_changes
from ase.neighborlist import neighbor_list
from phonopy import Phonopy
from phonopy.file_IO import write_FORCE_CONSTANTS, write_force_constants_to_hdf5, write_FORCE_SETS
from phonopy.interface.vasp import write_vasp
from tests import crystals
from tests.response.projects import Springs, spring_phonon, to_ase, write_project

from voigt.errors import InputError
from voigt.response.phonons.cells import to_phonopy
from voigt.response.phonons.nac import limit_at_gamma
from voigt.response.phonons.project import Project, read_project
from voigt.response.phonons.tensors import with_parameters

BORN = "14.4\n2.4 0 0 0 2.4 0 0 0 2.4\n1.1 0 0 0 1.1 0 0 0 1.1\n-1.1 0 0 0 -1.1 0 0 0 -1.1\n"


def at_gamma(project: Project) -> np.ndarray:
    project.phonon.run_qpoints([[0, 0, 0]])
    return np.asarray(project.phonon.qpoints.frequencies[0])


@pytest.fixture(scope="module")
def salt() -> Phonopy:
    """NaCl, conventional cell as unit cell."""
    atoms = crystals.rocksalt(cubic=True)
    return spring_phonon(atoms[np.argsort(atoms.numbers)], (1, 1, 1))


@pytest.mark.parametrize("ending", [".xz", ".gz", ".bz2", ".lzma"])
def test_packed_force_sets(ending: str, salt: Phonopy, tmp_path: Path) -> None:
    home = write_project(tmp_path, salt, "disp")
    plain = at_gamma(read_project(home))
    content = (home / "FORCE_SETS").read_bytes()
    (home / "FORCE_SETS").unlink()
    pack = {".xz": lzma.compress, ".gz": gzip.compress, ".bz2": bz2.compress}
    packed = lzma.compress(content, format=lzma.FORMAT_ALONE) if ending == ".lzma" else pack[ending](content)
    (home / f"FORCE_SETS{ending}").write_bytes(packed)
    project = read_project(home)
    np.testing.assert_allclose(at_gamma(project), plain, atol=1e-9)
    assert project.source == f"phonopy_disp.yaml, FORCE_SETS{ending}"


@pytest.mark.parametrize("tag", ["", "SYMMETRY = .FALSE.\n"])
def test_displacements_of_all_atoms(tag: str, salt: Phonopy, tmp_path: Path) -> None:
    """As phonopy makes them without symmetry; the primitive cell, found as ever, has two atoms."""
    other = Phonopy(salt.unitcell, np.eye(3, dtype=int), primitive_matrix="P", is_symmetry=False)
    other.generate_displacements()
    assert len({entry["number"] for entry in other.dataset["first_atoms"]}) == 8
    # These springs are harmonic, so that their force constants give the forces.
    constants = spring_constants(salt)
    other.forces = [
        -np.einsum("kij,j->ki", constants[:, entry["number"]], entry["displacement"])
        for entry in other.dataset["first_atoms"]
    ]
    write_vasp(tmp_path / "POSCAR-unitcell", salt.unitcell)
    write_FORCE_SETS(other.dataset, filename=tmp_path / "FORCE_SETS")
    (tmp_path / "phonopy.conf").write_text(f"DIM = 1 1 1\n{tag}")
    expected = at_gamma(read_project(write_project(tmp_path / "usual", salt, "params")))
    for symmetrize in (True, False):
        project = read_project(tmp_path, symmetrize=symmetrize)
        assert len(project.phonon.primitive) == 2
        np.testing.assert_allclose(at_gamma(project)[3:], expected[3:], atol=1e-5)


def spring_constants(phonon: Phonopy) -> np.ndarray:
    """All rows of the force constants of a phonon, symmetrized."""
    twin = Phonopy(phonon.unitcell, phonon.supercell_matrix, primitive_matrix="P")
    twin.dataset = phonon.dataset
    twin.produce_force_constants(calculate_full_force_constants=True)
    twin.symmetrize_force_constants(show_drift=False)
    return np.array(twin.force_constants)


@pytest.fixture(scope="module")
def old() -> Phonopy:
    """Two cells of NaCl in a row, with force constants and charges of all atoms of the unit cell."""
    atoms = crystals.rocksalt(cubic=True)
    cell = to_phonopy(atoms[np.argsort(atoms.numbers)])
    old = Phonopy(cell, np.diag([2, 1, 1]), primitive_matrix="P", is_symmetry=False)
    springs = Springs()
    springs.get_forces(to_ase(old.supercell))
    old.generate_displacements()
    old.forces = [springs.get_forces(to_ase(cell)) for cell in old.supercells_with_displacements]
    old.produce_force_constants(calculate_full_force_constants=False)
    signs = np.where(np.array(old.primitive.symbols) == "Na", 1.1, -1.1)
    old.nac_params = {"born": signs[:, None, None] * np.eye(3), "dielectric": 2.4 * np.eye(3), "factor": 14.4}
    return old


@pytest.mark.parametrize("kind", ["text", "hdf5", "yaml"])
def test_force_constants_and_charges_of_the_atoms_of_the_unit_cell(kind: str, old: Phonopy, tmp_path: Path) -> None:
    """As phonopy 2 wrote them where no primitive axes were given; ours are of the primitive cell."""
    rows = old.primitive.p2s_map
    old.save(tmp_path / "phonopy.yaml", settings={"force_constants": kind == "yaml", "displacements": False})
    if kind == "text":
        write_FORCE_CONSTANTS(old.force_constants, filename=tmp_path / "FORCE_CONSTANTS", p2s_map=rows)
    elif kind == "hdf5":
        write_force_constants_to_hdf5(old.force_constants, tmp_path / "force_constants.hdf5", rows)
    content = yaml.safe_load((tmp_path / "phonopy.yaml").read_text())
    del content["primitive_matrix"]
    (tmp_path / "phonopy.yaml").write_text(yaml.safe_dump(content))
    project = read_project(tmp_path)
    assert (len(project.phonon.primitive), project.phonon.force_constants.shape[:2]) == (2, (2, 16))
    assert project.own_nac is not None
    ours = limit_at_gamma(with_parameters(project, project.own_nac), [1, 0, 0])[0]
    old.run_qpoints([[0, 0, 0]], nac_q_direction=old.primitive.cell @ [1, 0, 0])
    theirs = old.qpoints.frequencies[0]
    assert ours[-1] == pytest.approx(theirs[-1], abs=1e-4)
    assert ours[-1] - ours[-2] > 0.5


def test_the_block_of_a_yaml_file_wins_over_born(salt: Phonopy, tmp_path: Path) -> None:
    """As in phonopy, and a note says so."""
    twin = Phonopy(salt.unitcell, salt.supercell_matrix, primitive_matrix="F")
    twin.dataset = salt.dataset
    signs = np.where(np.array(twin.primitive.symbols) == "Na", 1.5, -1.5)
    twin.nac_params = {"born": signs[:, None, None] * np.eye(3), "dielectric": 2.4 * np.eye(3), "factor": 14.4}
    twin.produce_force_constants()
    home = write_project(tmp_path, twin, "params")
    assert read_project(home).nac_block == "phonopy_params.yaml"
    assert "set_aside" not in [note.kind for note in read_project(home).notes]
    (home / "BORN").write_text(BORN)
    project = read_project(home)
    assert project.own_nac is not None
    np.testing.assert_allclose(abs(project.own_nac["born"][:, 0, 0]), 1.5)
    (note,) = [note for note in project.notes if note.kind == "set_aside"]
    assert note.text == "BORN is not read: the nac: block of phonopy_params.yaml wins, as it does in phonopy"
    theirs = phonopy.load(home / "phonopy_params.yaml")
    np.testing.assert_allclose(abs(theirs.nac_params["born"][:, 0, 0]), 1.5)
    named = phonopy.load(home / "phonopy_params.yaml", born_filename=home / "BORN")  # what `--write-born` advises
    np.testing.assert_allclose(abs(named.nac_params["born"][:, 0, 0]), 1.1)


# Structures that are not at rest


class Ions(Calculator):
    """Born-Mayer repulsion and screened Coulomb attraction, smooth at the cutoff; perhaps with noise."""

    implemented_properties = ("energy", "forces")

    def __init__(self, noise: float = 0.0, cutoff: float = 5.0) -> None:
        super().__init__()
        self.noise, self.cutoff, self.rng = noise, cutoff, np.random.default_rng(0)

    def calculate(self, atoms: ase.Atoms, properties: list[str], system_changes: list[str] = all_changes) -> None:
        super().calculate(atoms, properties, system_changes)
        first, second, distance, vector = neighbor_list("ijdD", atoms, self.cutoff)
        charges = np.where(atoms.symbols == "Zn", 1.0, -1.0)
        attraction = 14.4 * charges[first] * charges[second] * np.exp(-0.3 * distance)
        energy = 1200 * np.exp(-distance / 0.3) + attraction / distance
        slope = -4000 * np.exp(-distance / 0.3) - attraction * (0.3 / distance + 1 / distance**2)
        smooth = (1 - distance / self.cutoff) ** 2
        slope = slope * smooth - energy * 2 * (1 - distance / self.cutoff) / self.cutoff
        forces = self.noise * self.rng.normal(size=(len(atoms), 3))
        np.add.at(forces, first, (slope / distance)[:, None] * vector)
        self.results = {"energy": 0.5 * float(np.sum(energy * smooth)), "forces": forces}


def wurtzite(u: float) -> ase.Atoms:
    return bulk("ZnS", "wurtzite", 3.4, c=5.4, u=u)


@pytest.fixture(scope="module")
def at_rest() -> float:
    """Internal coordinate of wurtzite without forces."""
    low, high = 0.33, 0.43
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if forces_on(wurtzite(middle))[1, 2] < 0 else (low, middle)
    return middle


def test_a_calculator_on_a_structure_that_is_not_at_rest(at_rest: float, tmp_path: Path) -> None:
    """Residual forces are subtracted: frequencies come near those at rest, and a note gives the largest force."""
    found: dict[str, Any] = {}
    for name, u in (("rest", at_rest), ("near", at_rest + 0.0025)):
        wurtzite(u).write(tmp_path / f"{name}.vasp", format="vasp")
        found[name] = read_project(tmp_path / f"{name}.vasp", Ions(), dim=[2, 2, 1])
    assert not {"not_relaxed", "asymmetric_forces"} & {note.kind for note in found["rest"].notes}
    (note,) = [note for note in found["near"].notes if note.kind == "not_relaxed"]
    largest = np.linalg.norm(forces_on(wurtzite(at_rest + 0.0025)), axis=1).max()
    assert largest > 0.05
    assert f"forces up to {largest:.2g} eV/Angstrom); relax it first" in note.text
    np.testing.assert_allclose(at_gamma(found["near"]), at_gamma(found["rest"]), atol=0.3)


def test_noise_of_a_calculator_is_a_doubt_and_no_other_structure(at_rest: float, tmp_path: Path) -> None:
    wurtzite(at_rest).write(tmp_path / "a.vasp", format="vasp")
    clean = at_gamma(read_project(tmp_path / "a.vasp", Ions(), dim=[2, 2, 1]))
    project = read_project(tmp_path / "a.vasp", Ions(noise=0.004), dim=[2, 2, 1])
    (note,) = [note for note in project.notes if note.kind == "asymmetric_forces"]
    assert "contradicts the symmetry of the structure" in note.text
    assert "another order of atoms" not in note.text
    assert at_gamma(project)[-1] == pytest.approx(clean[-1], rel=0.2)


def forces_on(atoms: ase.Atoms) -> np.ndarray:
    atoms.calc = Ions()
    return np.asarray(atoms.get_forces())


def displaced(atoms: ase.Atoms, subtract: bool) -> Phonopy:
    """A project whose forces have those of the perfect supercell subtracted, or not."""
    phonon = Phonopy(to_phonopy(atoms), np.diag([2, 2, 1]), primitive_matrix="P")
    phonon.generate_displacements(is_plusminus=False)  # the difference of two signs is free of what acts at rest
    rest = forces_on(to_ase(phonon.supercell)) if subtract else 0.0
    phonon.forces = [forces_on(to_ase(cell)) - rest for cell in phonon.supercells_with_displacements]
    phonon.produce_force_constants()
    return phonon


def test_forces_of_a_structure_that_is_not_at_rest_are_recognized(at_rest: float, tmp_path: Path) -> None:
    """Not taken for another structure; subtracting what acts on the perfect crystal is the remedy, and it helps."""
    home = write_project(tmp_path / "raw", displaced(wurtzite(at_rest + 0.02), subtract=False), "params")
    largest = np.linalg.norm(forces_on(wurtzite(at_rest + 0.02)), axis=1).max()
    with pytest.raises(InputError, match=r"so that the structure was not relaxed; .*phonopy-init --fz") as caught:
        read_project(home)
    stated = float(str(caught.value).split("forces of about ")[1].split()[0])
    assert stated == pytest.approx(largest, rel=0.1)
    assert "another order of atoms" not in str(caught.value)
    home = write_project(tmp_path / "subtracted", displaced(wurtzite(at_rest + 0.02), subtract=True), "params")
    assert [note.kind for note in read_project(home).notes] == ["processing"]


def test_small_forces_at_rest_are_a_doubt(at_rest: float, tmp_path: Path) -> None:
    phonon = Phonopy(to_phonopy(wurtzite(at_rest + 0.0025)), np.diag([2, 2, 1]), primitive_matrix="P")
    phonon.generate_displacements(is_plusminus=True)
    phonon.forces = [forces_on(to_ase(cell)) for cell in phonon.supercells_with_displacements]
    phonon.produce_force_constants()
    notes = read_project(write_project(tmp_path, phonon, "params")).notes
    assert [note.kind for note in notes] == ["processing", "not_relaxed"]
    assert "phonopy-init --fz" in notes[1].text
