"""The page of `voigt serve` in a browser, from a dropped file to a BORN file."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import ase.io
import httpx
import numpy as np
import pytest
from ase.build import bulk
from phonopy.file_IO import parse_BORN
from phonopy.structure.atoms import PhonopyAtoms
from tests import crystals
from tests.conftest import REPOSITORY
from tests.response.projects import spring_phonon, write_project

MODULES = REPOSITORY / "frontend" / "node_modules"
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)

# A browser with software rendering and one slow core.
pytestmark = [pytest.mark.timeout(280), pytest.mark.slow]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, examples: Path) -> Path:
    """What is dropped on the page."""
    place = tmp_path_factory.mktemp("page")
    shutil.copy(examples / "SiO2-quartz.cif", place / "quartz.cif")
    shutil.copy(examples / "ZnO.cif", place)
    shutil.copy(examples / "three_crystals.xyz", place / "three.xyz")
    (place / "garbage.cif").write_bytes(bytes(range(256)) * 4)
    ase.io.write(place / "pasted.vasp", bulk("CaO", "rocksalt", a=4.81), format="vasp")
    ase.io.write(place / "metal.vasp", bulk("Cu", cubic=True), format="vasp")
    ase.io.write(place / "unseen.vasp", bulk("Po", "sc", a=3.36), format="vasp")
    ase.io.write(place / "large.vasp", bulk("MgO", "rocksalt", a=4.21, cubic=True) * (10, 10, 8), format="vasp")
    project = write_project(place / "salt", spring_phonon(crystals.rocksalt()), "conf")
    with zipfile.ZipFile(place / "project.zip", "w") as archive:
        for path in project.iterdir():
            archive.write(path, f"salt/{path.name}")
    return place


@pytest.fixture(scope="module")
def walk(folder: Path, address: str) -> dict[str, Any]:
    """What a walk through the page found."""
    node = shutil.which("node")
    if node is None or CHROMIUM is None:
        pytest.skip("needs node and chromium")
    if not (MODULES / "playwright-core").is_dir():
        pytest.skip("frontend/node_modules is absent: run `npm ci` in frontend/")
    script = Path(__file__).parent / "walk.mjs"
    command = [node, str(script), address, CHROMIUM, str(folder), str(MODULES)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=270)
    assert done.returncode == 0, done.stderr
    return json.loads((folder / "found.json").read_text())


@pytest.fixture(scope="module")
def quartz(folder: Path, address: str) -> dict[str, Any]:
    """The same crystal as the HTTP API gives it."""
    files = {"file": ("quartz.cif", (folder / "quartz.cif").read_bytes())}
    response = httpx.post(f"{address}/api/predict", files=files, timeout=60)
    response.raise_for_status()
    return response.json()["crystals"][0]


def number(text: str) -> float:
    """A number as the page writes it: a true minus sign, a dot for zero by symmetry."""
    return 0.0 if text == "·" else float(text.replace("−", "-"))


def test_charges_of_silicon_are_those_of_the_api(walk: dict[str, Any], quartz: dict[str, Any]) -> None:
    (born,) = [entry for entry in quartz["scene"]["properties"] if entry["name"] == "born_charges"]
    (row,) = [row for row in walk["born"] if row[1] == "Si"]
    assert row[2] == "3a"
    np.testing.assert_allclose([number(cell) for cell in row[3:12]], np.ravel(born["values"][0]), atol=5.01e-4)
    assert float(row[12]) == pytest.approx(born["interval"][0], abs=5.01e-4)


def test_one_atom_of_each_set_is_listed(walk: dict[str, Any]) -> None:
    assert [row[:2] for row in walk["born"]] == [["0", "Si"], ["3", "O"]]
    assert walk["heading"].split() == ["SiO2", "P3221"]


def test_all_properties_have_a_section(walk: dict[str, Any]) -> None:
    expected = {
        "born_charges",
        "eps_inf",
        "eps_ionic",
        "eps_total",
        "elastic",
        "piezo_clamped",
        "band_gap",
        "formation_energy",
    }
    assert set(walk["sections"]) == expected


def test_what_symmetry_says_of_a_uniaxial_permittivity_is_marked(walk: dict[str, Any]) -> None:
    assert (walk["zeros"], walk["free"]) == (6, 2)


def test_both_signs_of_charge_are_seen(walk: dict[str, Any]) -> None:
    orange, blue = walk["colors"]
    assert 0.02 < orange < 0.5  # silicon is larger and has the larger charge
    assert 0.005 < blue < orange


def test_crystal_and_surface_turn_together(walk: dict[str, Any]) -> None:
    before, after = (np.reshape(m, (3, 3)) for m in walk["turnedByKey"])
    angle = np.degrees(np.arccos((np.trace(after @ before.T) - 1) / 2))
    assert angle == pytest.approx(7.5, abs=1e-3)
    np.testing.assert_allclose((after @ before.T)[1], [0, 1, 0], atol=1e-9)  # about the vertical of the screen
    assert walk["bothTurned"] == [True, True]


def test_the_pointer_turns_too_and_orientations_stay_rotations(walk: dict[str, Any]) -> None:
    before, after = (np.reshape(m, (3, 3)) for m in walk["turnedByPointer"])
    assert np.abs(after - before).max() > 0.1
    np.testing.assert_allclose(after @ after.T, np.eye(3), atol=1e-9)
    assert np.linalg.det(after) == pytest.approx(1)


def test_looking_along_c_shows_c_as_a_point(walk: dict[str, Any]) -> None:
    np.testing.assert_allclose(np.reshape(walk["alongC"], (3, 3)) @ [0, 0, 1], [0, 0, 1], atol=1e-9)


def test_hovering_shows_numbers(walk: dict[str, Any], quartz: dict[str, Any]) -> None:
    assert re.match(r"(Si|O) \d", walk["hover"])
    assert "n·Z·n = " in walk["hover"]
    (young,) = re.findall(r"E\(n\) = ([0-9.]+) GPa", walk["hoverSurface"])
    compliance = api_compliance(walk)
    (direction,) = re.findall(r"n = \(([^)]*)\)", walk["hoverSurface"])
    n = np.array([number(part) for part in direction.split(", ")])
    s = np.array([n[0] ** 2, n[1] ** 2, n[2] ** 2, n[1] * n[2], n[2] * n[0], n[0] * n[1]]) / (n @ n)
    assert float(young) == pytest.approx(1 / (s @ compliance @ s), rel=0.03)  # n has two decimals


def api_compliance(walk: dict[str, Any]) -> np.ndarray:
    return np.array(walk["saved"]["derived"]["moduli"]["compliance"])


@pytest.fixture(scope="module", autouse=True)
def saved(walk: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The JSON file that the page gave away."""
    walk["saved"] = json.loads((folder / "out.json").read_text())
    return walk["saved"]


def test_phonopy_reads_the_born_file(walk: dict[str, Any], folder: Path, quartz: dict[str, Any]) -> None:
    structure = quartz["scene"]["structure"]
    cell = PhonopyAtoms(
        symbols=structure["species"], cell=structure["cell"], scaled_positions=structure["scaled_positions"]
    )
    born = parse_BORN(cell, filename=str(folder / "out.BORN"))
    values = {entry["name"]: entry["values"] for entry in quartz["scene"]["properties"]}
    np.testing.assert_allclose(born["born"], values["born_charges"], atol=2e-3)
    np.testing.assert_allclose(born["dielectric"], values["eps_inf"], atol=2e-3)
    assert walk["bornName"].endswith(".BORN")


def test_other_files_hold_the_same(folder: Path, saved: dict[str, Any]) -> None:
    values = {entry["name"]: entry["values"] for entry in saved["scene"]["properties"]}
    rows = list(csv.DictReader(io.StringIO((folder / "out.csv").read_text())))
    pairs = [f"Z{i}{j}" for i in "123" for j in "123"]
    charges = np.array([[float(row[pair]) for pair in pairs] for row in rows]).reshape(-1, 3, 3)
    np.testing.assert_allclose(charges, values["born_charges"], atol=1e-6)
    atoms = ase.io.read(folder / "out.extxyz", format="extxyz")
    assert atoms.get_chemical_symbols() == saved["scene"]["structure"]["species"]
    np.testing.assert_allclose(np.reshape(atoms.info["eps_inf"], (3, 3)), values["eps_inf"], atol=1e-4)


def test_figures_are_files(folder: Path) -> None:
    assert (folder / "out.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert (folder / "out.svg").read_text().startswith("<svg ")
    infrared = (folder / "infrared.svg").read_text()
    assert "reflectivity" in infrared
    assert 'stroke="rgb(' in infrared  # the style of the page came along


def test_the_command_repeats_all_of_it(walk: dict[str, Any]) -> None:
    assert walk["command"].startswith("voigt predict quartz.cif")
    assert "elastic" in walk["command"]


def test_the_page_keeps_to_its_own_server_and_policy(walk: dict[str, Any], address: str) -> None:
    foreign = [url for url in walk["requests"] if not url.startswith((address, "data:", f"blob:{address}"))]
    assert foreign == []
    assert walk["console"] == []


def test_everything_has_a_name_and_is_reached_by_the_keyboard(walk: dict[str, Any]) -> None:
    assert walk["nameless"] == []
    assert walk["live"] >= 2
    assert {"INPUT", "BUTTON", "SELECT", "CANVAS"} <= set(walk["tabs"])


def test_dark_and_narrow(walk: dict[str, Any]) -> None:
    red, green, blue = (int(part) for part in re.findall(r"\d+", walk["dark"])[:3])
    assert red + green + blue < 150
    assert walk["width390"] == 390  # nothing to scroll sideways


def test_examples_pasted_text_and_files_of_several_crystals(walk: dict[str, Any]) -> None:
    assert walk["example"].split()[0] == "MgO"
    assert walk["pasted"].split()[0] == "CaO"
    assert walk["several"] == 3
    assert walk["second"].split()[0] == "BaTiO3"


@pytest.mark.parametrize("name", ["garbage.cif", "unseen.vasp", "large.vasp"])
def test_the_sentence_of_the_api_appears(walk: dict[str, Any], folder: Path, address: str, name: str) -> None:
    text, shown = walk["refused"][name]
    files = {"file": (name, (folder / name).read_bytes())}
    answer = httpx.post(f"{address}/api/predict", files=files, timeout=60)
    assert answer.status_code in (400, 413, 422)
    assert answer.json()["text"].split() == text.split()
    assert not shown  # no tensors of an earlier crystal beside it


def test_a_metal_gets_its_warning(walk: dict[str, Any]) -> None:
    about = [sentence for sentence in walk["metal"] if "metal" in sentence]
    assert len(about) == 1  # once, though it concerns many properties
    assert "Z*, ε∞" in about[0]
    assert walk["marked"] >= 4  # each of which refers to it


def test_a_phonopy_project_becomes_bands_spectra_and_moving_atoms(walk: dict[str, Any]) -> None:
    assert walk["phonons"].startswith("Phonons of ")
    assert [label.split(" of ")[0] for label in walk["charts"]] == ["Phonon bands", "Infrared reflectivity"]
    assert walk["slider"]
    assert walk["moves"]
    # Along any direction of a cubic crystal one of three optical modes is shifted upward.
    frequencies = [[number(cell) for cell in row[2:]] for row in walk["splitting"]]
    assert len(frequencies) == 3
    assert max(row[1] for row in frequencies) > frequencies[0][0] + 1


def test_the_picture_is_there_soon(walk: dict[str, Any]) -> None:
    # Half a second on an idle machine with a graphics card; this one renders in software beside other tests.
    assert walk["drawnMs"] < 5000
