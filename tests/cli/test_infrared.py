"""`voigt infrared`: what arrives, what is said, and what happens to bad input."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread
from tests import crystals
from tests.response.potentials.toys import Wells, register, wells
from tests.response.projects import spring_phonon, write_project
from typer.testing import Result

from voigt.response.phonons.project import read_project

Call = Callable[..., Result]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rock salt with springs between neighbors, which carries a BORN of its own with charges of one e."""
    path = write_project(tmp_path_factory.mktemp("nacl"), spring_phonon(crystals.rocksalt()), "params")
    unit = "1 0 0 0 1 0 0 0 1"
    (path / "BORN").write_text(f"14.399652\n2.5 0 0 0 2.5 0 0 0 2.5\n{unit}\n{unit.replace('1', '-1')}\n")
    return path


def closed_form(folder: Path) -> tuple[float, float]:
    """Frequency of the vibration (THz) and eps_ionic of two ions with unit charges and one force constant."""
    phonon = read_project(folder).phonon
    rows = phonon.force_constants[0]
    stiffness = rows[np.array(phonon.primitive.s2p_map) == phonon.primitive.p2s_map[0]].sum(axis=0)[0, 0]
    masses = phonon.primitive.masses
    reduced = masses.prod() / masses.sum()
    return 15.633302 * np.sqrt(stiffness / reduced), 180.9513 / (phonon.primitive.volume * stiffness)


def test_everything_about_a_crystal_of_two_ions(voigt: Call, folder: Path, tmp_path: Path) -> None:
    files = {name: tmp_path / name for name in ("spectrum.csv", "all.json", "plot.png")}
    result = voigt("infrared", folder, "--nac", "project", "-o", files["all.json"], "--plot", files["plot.png"])
    assert result.exit_code == 0, result.stderr
    assert "Born charges and eps_inf: of the project itself" in result.stdout
    assert "acoustic" in result.stdout
    frequency, ionic = closed_form(folder)
    record = json.loads(files["all.json"].read_text())
    np.testing.assert_allclose(record["eps_ionic"], ionic * np.eye(3), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(record["eps_0"], (2.5 + ionic) * np.eye(3), rtol=1e-4, atol=1e-6)
    rigid, optical = record["modes"]
    assert (rigid["kind"], optical["kind"]) == ("acoustic", "optical")
    assert (rigid["modes"], optical["modes"], optical["irrep"]) == ([1, 2, 3], [4, 5, 6], "T1u")
    assert optical["frequency_THz"] == pytest.approx(frequency, rel=1e-5)
    assert optical["frequency_cm-1"] == pytest.approx(frequency * 33.356410, rel=1e-5)
    (along,) = record["directions"]
    assert along["longitudinal_THz"] == [pytest.approx(frequency * np.sqrt(1 + ionic / 2.5), rel=1e-4)]
    relation = along["lyddane_sachs_teller"]
    assert relation["ratio"] == pytest.approx(1 + ionic / 2.5, rel=1e-4)
    assert relation["product"] == pytest.approx(relation["ratio"], rel=1e-5)
    # phonopy's frequencies with phonopy's constants, not the algebra of one set of oscillator strengths.
    assert abs(relation["product"] / relation["ratio"] - 1) > 1e-9
    row = next(line.split() for line in result.stdout.splitlines() if line.lstrip().startswith("4-6"))
    assert float(row[2]) == pytest.approx(frequency, abs=6e-4)
    assert [float(word) for word in row[-3:]] == [pytest.approx(ionic, abs=6e-5)] * 3
    assert float(row[8]) == pytest.approx(float(row[7]) * 42.2561, rel=1e-3)
    assert imread(files["plot.png"]).shape[0] > 600

    result = voigt("infrared", folder, "--nac", "project", "-q", "-o", files["spectrum.csv"], "--linewidth", "0.3THz")
    assert (result.exit_code, result.stderr) == (0, "")
    with files["spectrum.csv"].open() as stream:
        rows = list(csv.DictReader(stream))
    values = {name: np.array([float(row[name]) for row in rows]) for name in rows[0]}
    np.testing.assert_allclose(values["cm-1"], values["THz"] * 33.356410, rtol=1e-6)
    assert values["eps_real_xx"][0] == pytest.approx(2.5 + ionic, rel=1e-4)
    peak = values["THz"][values["eps_imag_zz"].argmax()]
    assert peak == pytest.approx(frequency, abs=0.02)
    # At the peak Im eps = eps_ionic f / width.
    assert values["eps_imag_zz"].max() == pytest.approx(ionic * frequency / 0.3, rel=1e-2)
    n = np.sqrt(values["eps_real_xx"][0])
    assert values["reflectivity_[100]"][0] == pytest.approx(((n - 1) / (n + 1)) ** 2, rel=1e-4)


def test_predicted_tensors_are_used_and_named(voigt: Call, folder: Path, tiny_model: str) -> None:
    result = voigt("infrared", folder, "--model", tiny_model, "--functional", "PBE", "--direction", "1 1 0")
    assert result.exit_code == 0, result.stderr
    assert "predicted, model tiny, functional PBE" in result.stdout
    assert "along [110]" in result.stdout
    assert "are left aside" in result.stderr
    assert "sum rule" in result.stderr


def test_force_constants_and_piezoelectricity_from_a_calculator(
    voigt: Call, tmp_path: Path, tiny_model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Springs at rest in zincblende: a shear gamma_yz shifts the sublattices by gamma a/4 along x."""
    atoms = crystals.zincblende()
    atoms.write(tmp_path / "ZnS.vasp", format="vasp")
    (tmp_path / "bonds.py").write_text(
        "import numpy as np\n"
        "from ase.calculators.calculator import Calculator, all_changes\n"
        "from ase.neighborlist import neighbor_list\n"
        "class Bonds(Calculator):\n"
        "    implemented_properties = ['energy', 'forces']\n"
        "    def calculate(self, atoms=None, properties=(), system_changes=all_changes):\n"
        "        super().calculate(atoms, properties, system_changes)\n"
        "        i, d, v = neighbor_list('idD', atoms, 4.2)\n"
        f"        rest = np.where(d < 3.0, {5.409 * np.sqrt(3) / 4!r}, {5.409 / np.sqrt(2)!r})\n"
        "        forces = np.zeros((len(atoms), 3))\n"
        "        np.add.at(forces, i, (5.0 * (d - rest) / d)[:, None] * v)\n"
        "        self.results = {'energy': 1.25 * ((d - rest) ** 2).sum(), 'forces': forces}\n"
    )
    monkeypatch.chdir(tmp_path)
    (tmp_path / "BORN").write_text("14.399652\n6 0 0 0 6 0 0 0 6\n2 0 0 0 2 0 0 0 2\n-2 0 0 0 -2 0 0 0 -2\n")
    words = ("--calculator", "bonds:Bonds", "--born", tmp_path / "BORN", "--dim", "1 1 1", "--piezo")
    result = voigt("infrared", tmp_path / "ZnS.vasp", *words, "--model", tiny_model, "-q")
    assert result.exit_code == 0, result.stderr
    lines = result.stdout.splitlines()
    start = next(k for k, line in enumerate(lines) if line.startswith("ionic part of the piezoelectric tensor"))
    matrix = np.array([[float(word) for word in line.split()[1:]] for line in lines[start + 2 : start + 5]])
    # dF_x = 4 k r gamma / sqrt 27, Phi = 4 k / 3, r = a sqrt 3 / 4; e_14 = Z e/V a/4, its sign by the sublattice.
    size = 2 * 16.0217663 / (5.409**3 / 4) * (5.409 / 4)
    expected = np.zeros((3, 6))
    expected[[0, 1, 2], [3, 4, 5]] = size
    np.testing.assert_allclose(abs(matrix), expected, atol=2e-3)


def test_a_potential_by_name_gives_the_spectrum_of_a_structure(
    voigt: Call, tmp_path: Path, tiny_model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cations in single wells: omega^2 = a (1/m + 1/M), and eps_ionic = 4 pi k Z^2 / (V a)."""
    register(monkeypatch, "wells", lambda: Wells(depth=-2.0))
    wells().write(tmp_path / "salt.vasp", format="vasp")
    unit = "1 0 0 0 1 0 0 0 1"
    (tmp_path / "BORN").write_text(f"14.4\n2 0 0 0 2 0 0 0 2\n{unit}\n{unit.replace('1', '-1')}\n")
    words = ("--potential", "wells", "--dim", "1 1 1", "--displacement", "0.001", "--born", tmp_path / "BORN")
    result = voigt(
        "infrared", tmp_path / "salt.vasp", *words, "--model", tiny_model, "--piezo", "-o", tmp_path / "all.json"
    )
    assert result.exit_code == 0, result.stderr
    record = json.loads((tmp_path / "all.json").read_text())
    np.testing.assert_allclose(record["eps_ionic"], 180.9513 / (64 * 2.0) * np.eye(3), rtol=1e-3, atol=1e-6)
    assert "ionic part of the piezoelectric tensor" in result.stdout


def test_without_an_elastic_tensor_the_rest_is_delivered(
    voigt: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rn is not among the elements of the model that ships."""
    atoms = crystals.rocksalt()
    atoms.symbols[0] = "Rn"
    atoms.write(tmp_path / "RnCl.vasp", format="vasp")
    monkeypatch.chdir(tmp_path)
    unit = "1 0 0 0 1 0 0 0 1"
    (tmp_path / "BORN").write_text(f"14.4\n2 0 0 0 2 0 0 0 2\n{unit}\n{unit.replace('1', '-1')}\n")
    words = ("--calculator", "tests.response.projects:Springs", "--dim", "1 1 1", "--born", "BORN", "--piezo")
    result = voigt("infrared", tmp_path / "RnCl.vasp", *words, "-o", "all.json", "-q")
    assert result.exit_code == 0, result.stderr
    assert "ionic part of the piezoelectric tensor" in result.stdout
    assert "no d = e S, since there is no elastic tensor: " in result.stdout
    assert "--nac project" not in result.stdout
    assert (tmp_path / "all.json").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--linewidth", "10"), "a number with a unit"),
        (("--linewidth", "1,2cm-1"), "one linewidth or 1"),
        (("--direction", "0 0 0"), "not all zero"),
        (("--direction", "north"), "not three numbers"),
        (("-o", "spectrum.txt"), ".json or .csv"),
        (("--born", "BORN", "--nac", "project"), "two sources"),
        (("--born", "absent"), "absent"),
        (("--piezo",), "--calculator"),
        (("--plot", "absent/plot.png"), "cannot write"),
        (("--plot", "plot.xyz"), "a figure has one of the endings"),
    ],
)
def test_bad_calls_are_one_sentence(
    voigt: Call, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    source = () if "--born" in words else ("--nac", "project")
    result = voigt("infrared", folder, "-q", *source, *words)
    assert result.exit_code == 2
    assert said in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert "unexpected" not in result.stderr
    assert not list(tmp_path.iterdir())


def test_project_without_charges_and_no_project_at_all(voigt: Call, tmp_path: Path) -> None:
    path = write_project(tmp_path / "bare", spring_phonon(crystals.rocksalt()), "params")
    result = voigt("infrared", path, "--nac", "project")
    assert result.exit_code == 2
    assert "carries no sound Born charges of its own, neither in a YAML file nor as BORN" in result.stderr
    (path / "BORN").write_text("14.4\n1 2 3\n")
    result = voigt("infrared", path, "--nac", "project")
    assert result.exit_code == 2
    assert "BORN file format of line 2 is incorrect" in result.stderr
    result = voigt("infrared", tmp_path / "nowhere")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "does not exist" in result.stderr


def test_a_metal_is_refused_unless_insisted_on(voigt: Call, tmp_path: Path, tiny_model: str) -> None:
    atoms = crystals.rocksalt()
    atoms.symbols[:] = "MgAl"
    path = write_project(tmp_path / "alloy", spring_phonon(atoms), "params")
    result = voigt("infrared", path, "--model", tiny_model)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "alloy: no infrared response: probably a metal" in result.stderr
    assert "--allow-metal goes on all the same" in result.stderr
    result = voigt("infrared", path, "--model", tiny_model, "--allow-metal")
    assert result.exit_code == 0
    assert "warning: probably a metal" in result.stderr


def test_imaginary_modes_are_counted_and_eps_ionic_is_flagged(voigt: Call, tmp_path: Path) -> None:
    phonon = spring_phonon(crystals.rocksalt())
    # Only the mode at Gamma is turned round: its stiffness of 10 eV/A^2 (two bonds along each axis) becomes -10.
    signs = np.where(phonon.supercell.numbers == 11, 1.0, -1.0)
    cells = len(signs) / 2
    phonon.force_constants = phonon.force_constants - 20 / cells * np.multiply.outer(np.outer(signs, signs), np.eye(3))
    path = write_project(tmp_path / "soft", phonon, "yaml_constants")
    (path / "BORN").write_text("14.4\n2.5 0 0 0 2.5 0 0 0 2.5\n1 0 0 0 1 0 0 0 1\n-1 0 0 0 -1 0 0 0 -1\n")
    result = voigt("infrared", path, "--nac", "project", "-o", tmp_path / "out.json")
    assert result.exit_code == 0, result.stderr
    assert "warning: 3 optical modes with imaginary or vanishing frequency excluded" in result.stderr
    assert "do not use them" in result.stdout
    assert "does not apply: imaginary modes" in result.stdout
    record = json.loads((tmp_path / "out.json").read_text())
    np.testing.assert_allclose(record["eps_0"], 2.5 * np.eye(3), atol=1e-9)
    assert [entry["kind"] for entry in record["modes"]].count("imaginary") == 1
    assert record["directions"][0]["lyddane_sachs_teller"] is None
