"""What ships: version, citation, example crystals and the content of the wheel."""

from __future__ import annotations

import os
import re
import shutil
import site
import subprocess
import sys
import zipfile
from importlib.metadata import entry_points, version
from pathlib import Path

import numpy as np
import pytest
import spglib
import yaml
from ase import Atoms
from ase.io import read
from ase.neighborlist import neighbor_list

import voigt

REPOSITORY = Path(__file__).resolve().parent.parent

# Space group, atoms in the cell and cation-anion bond lengths (angstrom): a/2 for NaCl and MgO, from the published
# parameters along and across c for BaTiO3, and as the papers that examples/README.md names state them for the others.
CRYSTALS = {
    "NaCl.cif": (225, 8, ("Na", "Cl"), (2.8201,)),
    "MgO.vasp": (225, 2, ("Mg", "O"), (2.1068,)),
    "BaTiO3.vasp": (99, 5, ("Ti", "O"), (0.466 * 4.018, np.hypot(1.9999, 0.033 * 4.018), 0.534 * 4.018)),
    "SiO2-quartz.cif": (154, 9, ("Si", "O"), (1.605, 1.614)),
    "ZnO.cif": (186, 4, ("Zn", "O"), (1.973, 1.992)),
    "LiNbO3.cif": (161, 30, ("Nb", "O"), (1.889, 2.112)),
}


def space_group(atoms: Atoms) -> int:
    dataset = spglib.get_symmetry_dataset((atoms.cell.array, atoms.get_scaled_positions(), atoms.numbers), symprec=1e-4)
    assert dataset is not None
    return dataset.number


def bond_lengths(atoms: Atoms, pair: tuple[str, str], below: float) -> list[float]:
    """Distinct distances of a pair of elements, to three decimals, in rising order."""
    first, second, distance = neighbor_list("ijd", atoms, below)
    symbols = np.array(atoms.get_chemical_symbols())
    chosen = (symbols[first] == pair[0]) & (symbols[second] == pair[1])
    return sorted(set(distance[chosen].round(3)))


def test_version_is_the_same_everywhere() -> None:
    citation = yaml.safe_load((REPOSITORY / "CITATION.cff").read_text())
    released = re.findall(r"^## \[([^]]+)\]", (REPOSITORY / "CHANGELOG.md").read_text(), flags=re.MULTILINE)
    assert version("voigt") == voigt.__version__
    assert str(citation["version"]) == voigt.__version__
    assert released[0] == voigt.__version__


def test_citation_names_the_three_methods() -> None:
    citation = yaml.safe_load((REPOSITORY / "CITATION.cff").read_text())
    assert citation["cff-version"] == "1.2.0"
    assert {"title", "message", "authors", "license"} <= citation.keys()
    identifiers = {
        reference["notes"]: reference.get("doi") or reference["identifiers"][0]["value"]
        for reference in citation["references"]
    }
    assert identifiers == {
        "Equivar": "10.1038/s41598-025-01250-5",
        "GoeCTP": "arXiv:2410.02372",
        "SEN": "10.1038/s41467-023-40756-2",
    }
    required = {"title", "authors", "year"}
    assert [reference["notes"] for reference in citation["references"] if not required <= reference.keys()] == []


def test_the_command_is_installed() -> None:
    (command,) = entry_points(group="console_scripts", name="voigt")
    assert callable(command.load())


@pytest.mark.parametrize("name", CRYSTALS)
def test_example_is_the_crystal_it_claims_to_be(name: str, examples: Path) -> None:
    number, size, pair, lengths = CRYSTALS[name]
    atoms = read(examples / name)
    assert len(atoms) == size
    assert space_group(atoms) == number
    assert bond_lengths(atoms, pair, below=max(lengths) + 0.1) == pytest.approx(lengths, abs=1e-3)


def test_every_example_is_checked_and_has_its_source_named(examples: Path) -> None:
    files = {path.name for path in examples.iterdir() if path.suffix in {".cif", ".vasp", ".xyz"}}
    assert files == {*CRYSTALS, "three_crystals.xyz", "families.xyz"}
    readme = (examples / "README.md").read_text()
    assert [name for name in sorted(files) if f"`{name}`" not in readme] == []
    unsourced = [name for name in CRYSTALS if not re.search(r"\((19|20)\d\d\)", (examples / name).read_text())]
    assert unsourced == []


def test_the_frames_are_the_single_crystals(examples: Path) -> None:
    frames = {frame.info["id"]: frame for frame in read(examples / "three_crystals.xyz", index=":")}
    singles = {"MgO": "MgO.vasp", "BaTiO3-tetragonal": "BaTiO3.vasp", "ZnO-wurtzite": "ZnO.cif"}
    assert frames.keys() == singles.keys()
    for identifier, name in singles.items():
        single = read(examples / name)
        assert frames[identifier].pbc.all()
        assert frames[identifier].get_chemical_symbols() == single.get_chemical_symbols()
        np.testing.assert_allclose(frames[identifier].get_all_distances(mic=True), single.get_all_distances(mic=True),
                                   atol=1e-6)
        assert space_group(frames[identifier]) == CRYSTALS[name][0]


def test_the_families_are_of_the_prototypes_they_claim(examples: Path) -> None:
    """Space group of the prototype, and cations as far from anions as their ionic radii (Shannon 1976) say."""
    groups = {"rocksalt": {225}, "perovskite": {221, 99}, "rutile": {136}, "wurtzite": {186}}
    frames = read(examples / "families.xyz", index=":")
    assert len({frame.info["id"] for frame in frames}) == len(frames)
    radii = {"Li": 0.76, "Na": 1.02, "K": 1.38, "Mg": 0.72, "Ca": 1.00, "Sr": 1.18, "Ba": 1.35, "F": 1.33, "Cl": 1.81,
             "Br": 1.96, "O": 1.40, "S": 1.84}
    for frame in frames:
        assert space_group(frame) in groups[frame.info["family"]], frame.info["id"]
        symbols = frame.get_chemical_symbols()
        if frame.info["family"] == "rocksalt" and set(symbols) <= set(radii):
            nearest = neighbor_list("d", frame, 4.5).min()
            assert nearest == pytest.approx(sum(radii[symbol] for symbol in symbols), rel=0.08), frame.info["id"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", str(REPOSITORY), "--no-deps", "--no-build-isolation", "--quiet",
               "--wheel-dir", str(folder)]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    (path,) = folder.glob("*.whl")
    assert path.name == f"voigt-{voigt.__version__}-py3-none-any.whl"
    return path


def test_wheel_holds_types_weights_and_cards_and_nothing_else(wheel: Path) -> None:
    source = REPOSITORY / "src"
    expected = {
        path.relative_to(source).as_posix()
        for path in source.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and not path.name.startswith(".")
    }
    weights = {name for name in expected if name.endswith(".safetensors")}
    with zipfile.ZipFile(wheel) as archive:
        sizes = {entry.filename: entry.file_size for entry in archive.infolist()}
        information = f"voigt-{voigt.__version__}.dist-info"
        metadata = archive.read(f"{information}/METADATA").decode()
    packaged = {name for name in sizes if not name.startswith(information)}

    assert "voigt/py.typed" in packaged
    assert packaged == expected
    assert f"{information}/licenses/LICENSE" in sizes
    assert "License-Expression: MIT" in metadata
    assert [name for name in weights if name.replace(".safetensors", ".md") not in packaged] == []
    assert sum(sizes[name] for name in weights) < 30e6
    assert [name for name in packaged if name.endswith((".pt", ".pth", ".pkl", ".ckpt"))] == []
    assert wheel.stat().st_size < 30e6


def test_the_wheel_works_in_an_empty_environment(wheel: Path, examples: Path, tmp_path: Path) -> None:
    """Nothing but the wheel and its dependencies, which come from this environment without its own voigt."""
    environment = tmp_path / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(environment)], check=True)
    python = environment / "bin" / "python"
    install = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps", str(wheel)]
    subprocess.run(install, check=True, capture_output=True)
    (packages,) = environment.glob("lib/python*/site-packages")
    (packages / "dependencies.pth").write_text("\n".join(site.getsitepackages()))  # an editable voigt is not followed
    place = tmp_path / "elsewhere"
    place.mkdir()
    shutil.copy(examples / "MgO.vasp", place)

    def run(*words: str) -> str:
        command = [str(environment / "bin" / "voigt"), *words]
        # Warnings of the interpreter would be seen on the second stream.
        done = subprocess.run(command, cwd=place, capture_output=True, text=True, check=False, env=clean)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    clean = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    where = subprocess.run([str(python), "-c", "import voigt; print(voigt.__file__)"], cwd=place, capture_output=True,
                           text=True, check=True, env=clean)
    assert Path(where.stdout.strip()).is_relative_to(packages)
    assert "predict" in run("--help")
    shipped = {path.stem for path in (REPOSITORY / "src" / "voigt" / "weights").glob("*.safetensors")}
    assert shipped <= set(run("models").split())
    assert "MgO  Fm-3m (225)  2 atoms" in run("predict", "MgO.vasp")
