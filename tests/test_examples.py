"""The scripts in examples/ run in an empty folder, and what they find is right: closed forms, symmetry, experiment."""

from __future__ import annotations

import csv
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase.calculators.fd import calculate_numerical_forces
from ase.io import read
from matplotlib.image import imread
from phonopy.file_IO import parse_BORN
from scipy import constants

import voigt

TO_THZ = np.sqrt(constants.e / constants.atomic_mass) / constants.angstrom / (2e12 * np.pi)
"""THz of the square root of 1 eV/Angstrom^2/amu."""
E2_PER_EPS0 = constants.e / (constants.epsilon_0 * constants.angstrom)
"""e^2/eps_0 in eV Angstrom."""
TO_WAVENUMBER = 1e10 / constants.c
"""1/cm per THz."""

PBESOL_ZNO = {"along c": (2.236, 7.80), "across c": (2.208, 8.71)}
"""Born charge of zinc and eps_inf of wurtzite: Kyoto University phonon database (Togo, ph20180417), mp-2133."""

Script = Callable[[str], dict[str, Any]]


@pytest.fixture
def script(examples: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Script:
    """Runs an example in an empty folder, as `python examples/NAME` would; returns its variables."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(examples))

    def run(name: str) -> dict[str, Any]:
        assert len((examples / name).read_text().splitlines()) < 80
        return runpy.run_path(str(examples / name))

    return run


def is_figure(path: Path) -> bool:
    """More than one color, and large enough to read."""
    image = imread(path)
    return min(image.shape[:2]) > 400 and bool(np.ptp(image[..., :3], axis=(0, 1)).min() > 0.5)


def test_every_script_is_listed_and_tested(examples: Path) -> None:
    scripts = {path.name for path in examples.glob("*.py")}
    listed = (examples / "README.md").read_text()
    here = Path(__file__).read_text()
    assert len(scripts) >= 8
    assert [name for name in sorted(scripts) if f"`{name}`" not in listed] == []
    assert [name for name in sorted(scripts - {"toy_springs.py"}) if f'script("{name}")' not in here] == []


@pytest.mark.parametrize(("crystal", "name"), [("MgO.vasp", "magnesium_oxide"), ("ZnO.cif", "zinc_oxide")])
def test_forces_of_the_springs_are_the_gradient_of_their_energy(crystal: str, name: str, examples: Path) -> None:
    atoms = read(examples / crystal).repeat((2, 1, 1))
    atoms.rattle(0.05, seed=1)
    atoms.calc = runpy.run_path(str(examples / "toy_springs.py"))[name]()
    assert abs(atoms.get_forces()).max() > 0.1
    np.testing.assert_allclose(atoms.get_forces(), calculate_numerical_forces(atoms, 1e-4), atol=1e-6)


def test_born_file(script: Script, examples: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = script("born_file.py")
    primitive = found["phonon"].primitive
    text = Path("LiNbO3.BORN").read_text().splitlines()
    assert len(text) == 2 + 3  # factor, eps_inf, one of each element
    born = parse_BORN(primitive, filename="LiNbO3.BORN")
    z, eps = born["born"], born["dielectric"]
    assert z.shape == (10, 3, 3)
    np.testing.assert_allclose(z.sum(axis=0), 0, atol=1e-7)  # acoustic sum rule
    # What one gets without taking steps oneself. phonopy's atoms are found by element and place.
    whole = voigt.predict(examples / "LiNbO3.cif")[0]
    for atom in range(10):
        shift = whole.atoms.get_scaled_positions() - whole.atoms.cell.scaled_positions(primitive.positions[atom])
        (same,) = np.flatnonzero(np.linalg.norm((shift - np.rint(shift)) @ whole.atoms.cell.array, axis=1) < 1e-3)
        np.testing.assert_allclose(z[atom], whole.values["born_charges"][same], atol=1e-5)
    # Point group 3m: eps_inf is uniaxial; on the threefold axis Z is too, apart from an antisymmetric part.
    np.testing.assert_allclose(eps, np.diag([eps[0, 0], eps[0, 0], eps[2, 2]]), atol=1e-6)
    for atom in np.flatnonzero(np.array(primitive.symbols) != "O"):
        a, b = z[atom, 0, :2]
        np.testing.assert_allclose(z[atom], [[a, b, 0], [-b, a, 0], [0, 0, z[atom, 2, 2]]], atol=1e-6)
    # phonopy contracts a wave vector with the first index, Euphonic and ABINIT's arrays with the last.
    q, oxygen = np.array([0.3, -0.5, 0.8]), found["oxygen"]
    assert abs(z[oxygen] - z[oxygen].T).max() > 0.05
    np.testing.assert_allclose(found["euphonic"]["born"][oxygen] @ q, q @ z[oxygen], atol=1e-7)
    np.testing.assert_allclose(found["abinit"]["becs_cart"][oxygen] @ q, q @ z[oxygen], atol=1e-7)
    assert "sum rule imposed" in capsys.readouterr().out


def test_phonons_lo_to(script: Script, capsys: pytest.CaptureFixture[str]) -> None:
    found = script("phonons_lo_to.py")
    atoms, z, eps = found["crystal"].atoms, found["z"][0, 0, 0], found["eps_inf"][0, 0]
    reduced = atoms.get_masses().prod() / atoms.get_masses().sum()
    squared = 2 * found["magnesium_oxide"]().bonds["Mg", "O"][0] / reduced  # two of six bonds are stretched
    transverse = TO_THZ * np.sqrt(squared)
    longitudinal = TO_THZ * np.sqrt(squared + E2_PER_EPS0 * z**2 / (eps * atoms.get_volume() * reduced))
    np.testing.assert_allclose(found["phonons"].modes.frequencies[:3], 0, atol=1e-3)
    np.testing.assert_allclose(found["optical"], transverse, rtol=1e-3)  # three of one frequency
    assert transverse * TO_WAVENUMBER == pytest.approx(401, abs=1)
    for along in found["phonons"].along:  # the same in every direction of a cubic crystal
        np.testing.assert_allclose(along.frequencies[3:], [transverse, transverse, longitudinal], rtol=1e-3)
    assert found["longitudinal"] == pytest.approx(718, rel=0.06)  # measured
    assert is_figure(Path("bands.png"))
    assert "measured 718" in capsys.readouterr().out


def test_infrared_spectrum(script: Script, capsys: pytest.CaptureFixture[str]) -> None:
    found = script("infrared_spectrum.py")
    response = found["response"]
    # Of wurtzite's optical modes A1 + 2 B1 + E1 + 2 E2, light sees A1 along c and E1 across.
    assert sorted(entry.irrep for entry in response.optical) == ["A1", "B1", "B1", "E1", "E2", "E2"]
    active = {entry.irrep: entry for entry in response.optical if entry.active}
    assert set(active) == {"A1", "E1"}
    assert max(entry.intensity for entry in response.optical if not entry.active) < 1e-9
    np.testing.assert_allclose(np.linalg.eigvalsh(active["A1"].strength)[:2], 0, atol=1e-9)
    assert abs(active["E1"].strength[2]).max() < 1e-9
    # All strengths together are those of free ions, since the acoustic modes carry no charge.
    z = found["crystal"].values["born_charges"]
    total = np.einsum("aik,ajk,a->ij", z, z, 1 / response.modes.masses)
    np.testing.assert_allclose(sum(entry.strength for entry in response.optical), total, atol=1e-6)
    for entry in active.values():  # Born and Huang: e^2 S / (eps_0 V w^2)
        square = (entry.frequency / TO_THZ) ** 2  # eV/Angstrom^2/amu
        expected = E2_PER_EPS0 * entry.strength / (response.modes.volume * square)
        np.testing.assert_allclose(entry.share, expected, rtol=1e-6, atol=1e-9)
    for relation in found["relations"]:
        assert relation.reason is None
        assert relation.longitudinal > relation.transverse
        assert relation.product == pytest.approx(relation.ratio, rel=1e-4)
    for name, (transverse, longitudinal) in found["MEASURED"].items():
        relation = found["relations"][list(found["DIRECTIONS"]).index(name)]
        assert relation.transverse[0] * TO_WAVENUMBER == pytest.approx(transverse, rel=0.03)
        # Of the same springs with charges and eps_inf as PBEsol itself gives them, which screens too much.
        charge, eps_inf = PBESOL_ZNO[name]
        i = 2 if name == "along c" else 0
        ionic = active["A1" if i == 2 else "E1"].share[i, i] * (charge / z[:, i, i].max()) ** 2
        screened = relation.transverse[0] * np.sqrt(1 + ionic / eps_inf)
        assert relation.longitudinal[0] == pytest.approx(screened, rel=0.03)
        assert relation.longitudinal[0] * TO_WAVENUMBER == pytest.approx(longitudinal, rel=0.15)
        assert relation.longitudinal[0] * TO_WAVENUMBER < longitudinal
    light = found["light"]
    lowest = min(relation.longitudinal[0] for relation in found["relations"]) * TO_WAVENUMBER
    inside = (light.wavenumbers > 420) & (light.wavenumbers < lowest - 30)  # between TO and LO, two widths off
    assert inside.sum() > 20
    assert light.reflectivity.max() < 1
    assert light.reflectivity[inside].min() > 0.7 > light.reflectivity[0].max()
    with Path("permittivity.csv").open() as stream:
        static = next(csv.DictReader(stream))
    assert float(static["eps_real_zz"]) == pytest.approx(response.eps_0[2, 2], rel=1e-6)
    assert is_figure(Path("reflectivity.png"))
    assert "inactive" in capsys.readouterr().out


def test_ionic_piezo(script: Script, capsys: pytest.CaptureFixture[str]) -> None:
    found = script("ionic_piezo.py")
    e, d, elastic = found["e_ionic"], found["d_ionic"], found["elastic"]
    # Springs that keep their length: the sublattices move by a/4 per unit of shear angle.
    expected = found["z"][0, 0, 0] * constants.e / (5.409 * constants.angstrom) ** 2
    assert found["kleinman"] == pytest.approx(1, abs=1e-3)
    assert abs(e[0, 1, 2]) == pytest.approx(expected, rel=1e-3)
    levi_civita = np.zeros((3, 3, 3))
    levi_civita[[0, 1, 2, 0, 2, 1], [1, 2, 0, 2, 1, 0], [2, 0, 1, 1, 0, 2]] = 1
    np.testing.assert_allclose(e, e[0, 1, 2] * levi_civita, atol=1e-6)  # -43m: e14 = e25 = e36 alone
    np.testing.assert_allclose(d, d[0, 1, 2] * levi_civita, atol=1e-3)
    # e14 = d14 C44, with d14 = 2 d_123, in C/m^2 = pm/V GPa / 1000
    assert 2 * d[0, 1, 2] * elastic[1, 2, 1, 2] / 1000 == pytest.approx(e[0, 1, 2], rel=1e-4)
    assert "closed form" in capsys.readouterr().out


def test_field_md(script: Script, capsys: pytest.CaptureFixture[str]) -> None:
    found = script("field_md.py")
    assert found["measured"] == pytest.approx(found["expected"], rel=0.01)
    assert found["measured"] == pytest.approx(9.64 - 3.01, rel=0.1)  # Jasperse et al., Phys. Rev. 146, 526 (1966)
    assert abs(found["atoms"].get_momenta().sum(axis=0)).max() < 1e-9
    assert "eps_ionic" in capsys.readouterr().out


def test_polarization_path(script: Script, capsys: pytest.CaptureFixture[str]) -> None:
    """BaTiO3 at room temperature: 0.26 C/m^2, Wieder, Phys. Rev. 99, 1161 (1955)."""
    found = script("polarization_path.py")
    assert abs(found["path"].si[-1, 2]) == pytest.approx(0.26, abs=0.08)
    assert "C/m^2" in capsys.readouterr().out


def test_trajectory_spectrum(script: Script, capsys: pytest.CaptureFixture[str]) -> None:
    found = script("trajectory_spectrum.py")
    spectrum, expected = found["spectrum"], found["transverse"]
    assert expected == pytest.approx(401, abs=1)
    assert spectrum.wavenumbers[spectrum.isotropic.argmax()] == pytest.approx(expected, abs=spectrum.resolution)
    assert "1/cm" in capsys.readouterr().out
