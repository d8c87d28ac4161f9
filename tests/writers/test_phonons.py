"""Tables, records and figures of phonons hold the numbers that were computed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from tests import crystals
from tests.response.projects import spring_phonon, write_project

from voigt.errors import InputError, OutputError
from voigt.response.phonons.nac import band_structure, gamma_phonons
from voigt.response.phonons.project import Project, read_project, unit_cell
from voigt.response.phonons.tensors import with_nac
from voigt.response.phonons.workflow import PhononResult
from voigt.writers.figures import save_figure
from voigt.writers.phonon_figures import band_figure
from voigt.writers.phonons import as_record, band_summary, heading, table, write_record


@pytest.fixture(scope="module")
def salt(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return read_project(write_project(tmp_path_factory.mktemp("salt"), spring_phonon(crystals.rocksalt()), "params"))


def salt_charges(project: Project) -> np.ndarray:
    signs = np.where(unit_cell(project).numbers == 11, 1.1, -1.1)
    return signs[:, None, None] * np.eye(3)


def test_imaginary_modes_are_named() -> None:
    phonon = spring_phonon(crystals.rocksalt())
    phonon.force_constants = -phonon.force_constants
    phonons = gamma_phonons(phonon, None)
    text = "\n".join(table(phonons))
    assert "imaginary: modes 1 (" in text
    assert "i THz); the structure is not at a minimum" in text.replace("i THz), ", "; ")


def test_the_summary_of_bands_names_path_and_lowest_frequency(salt: Project) -> None:
    bands = band_structure(with_nac(salt, salt_charges(salt), 2.4 * np.eye(3)), points=9)
    text = band_summary(bands)
    lowest = min(segment.frequencies.min() for segment in bands)
    assert lowest < -0.1  # springs to nearest neighbors alone do not hold the field
    assert text.startswith(f"bands along G-X-W-K-G-L-U-W-L-K|U-X: lowest {-lowest:.3f}i THz at q = (")


def test_a_figure_of_bands(salt: Project, tmp_path: Path) -> None:
    polar = with_nac(salt, salt_charges(salt), 2.4 * np.eye(3))
    bands, plain = band_structure(polar, points=9), band_structure(salt.phonon, points=9)
    figure = band_figure("NaCl", bands, plain)
    (axes,) = figure.axes
    drawn = [line for line in axes.lines if len(line.get_xdata()) > 2]
    assert len(drawn) == 2 * 6 * len(bands)
    top = max(float(np.max(line.get_ydata())) for line in drawn)
    assert top == pytest.approx(max(segment.frequencies.max() for segment in bands))
    names = [label.get_text() for label in axes.get_xticklabels()]
    assert names[:2] == [r"$\Gamma$", r"$\mathrm{X}$"]
    assert any("|" in name for name in names)
    save_figure(figure, tmp_path / "bands.png")
    assert (tmp_path / "bands.png").read_bytes()[:4] == b"\x89PNG"
    with pytest.raises(OutputError):
        save_figure(figure, tmp_path / "nowhere" / "bands.png")


def test_record_and_table_hold_the_same_numbers(salt: Project, tmp_path: Path) -> None:
    polar = with_nac(salt, salt_charges(salt), 2.4 * np.eye(3))
    phonons = gamma_phonons(salt.phonon, polar)
    record = as_record(PhononResult(salt, "predicted", polar, None, False, phonons, None, None, ()))
    write_record(record, tmp_path / "out.json")
    read = json.loads((tmp_path / "out.json").read_text())
    assert read == record
    assert read["eps_inf"] == [[2.4, 0, 0], [0, 2.4, 0], [0, 0, 2.4]]
    np.testing.assert_allclose(sorted(z[0][0] for z in read["born_charges"]), [-1.1, 1.1])
    (first, *_) = read["gamma"]["directions"]
    np.testing.assert_allclose(first["frequencies_THz"], phonons.along[0].frequencies, atol=1e-7)
    write_record(record, tmp_path / "out.csv")
    header, *rows = [line.split(",") for line in (tmp_path / "out.csv").read_text().splitlines()]
    assert len(rows) == 6 * 3
    last = dict(zip(header, rows[-1], strict=True))
    assert float(last["lo_to_THz"]) == pytest.approx(phonons.splitting(phonons.along[2])[5], abs=1e-7)
    assert float(last["nac_cm-1"]) == pytest.approx(float(last["nac_THz"]) * 33.35641, abs=1e-3)
    lines = table(phonons)
    words = next(line for line in lines if line.split()[:1] == ["6"]).split()
    assert words[1] == "T1u"
    assert float(words[6]) == pytest.approx(float(last["lo_to_THz"]), abs=6e-4)
    assert heading(salt)[0] == "NaCl  Fm-3m (225)  2 atoms in the primitive cell, 16 in the supercell"
    with pytest.raises(InputError, match=r"write .json or .csv"):
        write_record(record, tmp_path / "out.txt")
