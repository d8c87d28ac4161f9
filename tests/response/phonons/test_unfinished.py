"""Folders that are no project yet: the sentence names the line of phonopy-init that comes next."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk
from phonopy import Phonopy
from phonopy.scripts import phonopy_init  # noqa: F401 - the command that the sentences name exists
from tests.response.projects import spring_phonon, write_project

from voigt.errors import InputError
from voigt.response.phonons.cells import to_phonopy
from voigt.response.phonons.project import read_project

QE = "&SYSTEM\n ibrav = 0, nat = 2, ntyp = 2\n/\nATOMIC_POSITIONS crystal\n"
CASTEP = "%BLOCK LATTICE_CART\n%ENDBLOCK LATTICE_CART\n%BLOCK POSITIONS_FRAC\n"
MAKE = "{} writes displaced cells, and phonopy-init -f reads the forces that you calculate for them"

# Files of a folder, and what the sentence ends with.
FOLDERS: Mapping[str, tuple[dict[str, str], str]] = {
    "qe": ({"NaCl.in": QE}, MAKE.format("phonopy-init --qe -c NaCl.in --dim 2 2 2 -d")),
    "qe, forces": (
        {"NaCl.in": QE, "NaCl-001.out": "", "NaCl-002.out": "", "NaCl.ph.out": "", "supercell-001.in": QE},
        "write phonopy_disp.yaml with phonopy-init --qe -c NaCl.in --dim 2 2 2 -d, with the --dim of the calculation, "
        "and then FORCE_SETS with phonopy-init -f NaCl-001.out NaCl-002.out",
    ),
    "abinit": ({"NaCl.in": "acell 1\nznucl 11 17\n"}, MAKE.format("phonopy-init --abinit -c NaCl.in --dim 2 2 2 -d")),
    "aims": (
        {"geometry.in": "lattice_vector 1 0 0\n", "disp-001/aims.out": ""},
        "phonopy-init -f disp-001/aims.out",
    ),
    "cp2k": (
        {"Si.inp": "&CELL\n&END\n", "Si-supercell-001-forces-1_0.xyz": ""},
        "--cp2k -c Si.inp --dim 2 2 2 -d, with the --dim of the calculation, and then FORCE_SETS with phonopy-init -f "
        "Si-supercell-001-forces-1_0.xyz",
    ),
    "crystal": ({"crystal.o": "", "supercell-001.o": ""}, "phonopy-init -f supercell-001.o"),
    "dftb+": ({"geo.gen": "", "results.tag": ""}, "phonopy-init -f results.tag"),
    "elk": ({"elk.in": "avec\natoms\n"}, MAKE.format("phonopy-init --elk -c elk.in --dim 2 2 2 -d")),
    "siesta": (
        {"Si.fdf": "LatticeConstant 1 Ang\n", "disp-001/Si.FA": "", "disp-002/Si.FA": ""},
        "phonopy-init -f disp-001/Si.FA disp-002/Si.FA",
    ),
    "turbomole": (
        {"control": "$coord file=coord\n", "coord": ""},
        MAKE.format("phonopy-init --turbomole -c control --dim 2 2 2 -d"),
    ),
    "wien2k": ({"NaCl.struct": "", "NaCl-001.scf": ""}, "phonopy-init -f NaCl-001.scf"),
    "castep": (
        {"unitcell.cell": CASTEP, "tail.cell": "KPOINT_MP_GRID 2 2 2\n", "FORCE_SETS": ""},
        "FORCE_SETS lacks its cells, which phonopy-init --castep -c unitcell.cell --dim 2 2 2 -d writes to "
        "phonopy_disp.yaml, with the --dim of FORCE_SETS",
    ),
    "vasp": ({"POSCAR.vasp": ""}, MAKE.format("phonopy-init -c POSCAR.vasp --dim 2 2 2 -d")),
    "blanks": ({"my file.struct": ""}, MAKE.format("phonopy-init --wien2k -c 'my file.struct' --dim 2 2 2 -d")),
    "yaml": (
        {"phonopy_fc.yaml.xz": "", "my-phonopy.yml": ""},
        "give one of its YAML files: my-phonopy.yml phonopy_fc.yaml.xz",
    ),
    "folders": ({f"{n}/POSCAR": "" for n in "abcd"}, "give one of the projects in it: a b c ..."),
    "nothing": ({"README": ""}, "make one: phonopy-init -c POSCAR --dim 2 2 2 -d"),
}


@pytest.mark.parametrize("name", FOLDERS)
def test_a_folder_without_a_project(name: str, tmp_path: Path) -> None:
    files, ending = FOLDERS[name]
    for path, content in files.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(content)
    with pytest.raises(InputError, match="holds no phonopy project") as caught:
        read_project(tmp_path)
    assert str(caught.value).endswith(ending)


@pytest.mark.parametrize(
    ("code", "outputs", "line"),
    [
        (None, (), "calculate those of the displaced cells and write FORCE_SETS with phonopy-init -f OUTPUT..."),
        (None, ("disp-001/vasprun.xml", "disp-002/vasprun.xml"), "-f disp-001/vasprun.xml disp-002/vasprun.xml"),
        (None, ("vasprun.xml-001",), "write FORCE_SETS with phonopy-init -f vasprun.xml-001"),
        ("qe", ("NaCl-001.out", "NaCl.ph.out"), "write FORCE_SETS with phonopy-init -f NaCl-001.out"),
        ("lammps", ("lammps_forces_Si.0",), "write FORCE_SETS with phonopy-init -f lammps_forces_Si.0"),
        ("nobody", (), "name a code that phonopy knows"),
    ],
)
def test_displaced_cells_without_forces(code: str | None, outputs: tuple[str, ...], line: str, tmp_path: Path) -> None:
    phonon = Phonopy(to_phonopy(bulk("Si")), np.diag([2, 2, 2]), calculator=None if code == "nobody" else code)
    phonon.generate_displacements()
    phonon.save(tmp_path / "phonopy_disp.yaml")
    if code == "nobody":
        text = (tmp_path / "phonopy_disp.yaml").read_text().replace("phonopy:\n", "phonopy:\n  calculator: nobody\n")
        (tmp_path / "phonopy_disp.yaml").write_text(text.replace("physical_unit", "units"))
    for path in outputs:
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text("")
    with pytest.raises(InputError) as caught:
        read_project(tmp_path)
    assert line in str(caught.value)


def test_a_poscar_alone_or_with_force_constants_of_vasp(tmp_path: Path) -> None:
    home = write_project(tmp_path, spring_phonon(bulk("Si")), "constants")
    (home / "FORCE_CONSTANTS").unlink()
    with pytest.raises(InputError, match="displace atoms with phonopy-init --dim 2 2 2 -d and calculate forces"):
        read_project(home)
    (home / "vasprun.xml").write_text("")
    with pytest.raises(InputError, match=r"a calculation of force constants with phonopy-init --fc vasprun.xml"):
        read_project(home)
