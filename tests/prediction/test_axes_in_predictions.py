"""Canonical frames on the way from a structure to a prediction: warnings, tolerance, several models."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from ase.build import bulk
from tests import crystals

import voigt
from voigt.graphs import AxesOptions, build_graph
from voigt.models.checkpoint import ModelCard, save_model
from voigt.models.goectp.hypers import GoeCTPHypers
from voigt.models.goectp.model import GoeCTP
from voigt.structures.symmetry import find_symmetry


@pytest.fixture
def model(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    network = GoeCTP(GoeCTPHypers(properties=("eps_inf", "piezo_total", "elastic"), width=8, layers=1, hidden=16))
    save_model([network.eval()], tmp_path / "mine.safetensors", ModelCard(elements=tuple(range(1, 95))))
    return tmp_path / "mine.safetensors"


def test_a_needle_is_reported_and_a_common_crystal_is_not(model):
    needle = bulk("NaCl", "rocksalt", a=5.6)
    needle.set_cell(np.diag([4.0, 4.1, 900.0]))
    (prediction,) = voigt.predict(needle, model)
    assert any("needle" in sentence for sentence in prediction.warnings)
    (prediction,) = voigt.predict(crystals.rutile(), model)
    assert prediction.warnings == ()


def test_a_cell_about_to_gain_symmetry_is_reported(model):
    almost = crystals.rutile()
    almost.set_cell(almost.cell.array * np.array([1.0, 1.003, 1.0]), scale_atoms=True)
    (prediction,) = voigt.predict(almost, model)
    assert any("frames jump" in sentence for sentence in prediction.warnings)


def test_a_loose_tolerance_loosens_the_lattice_too(model):
    almost = crystals.rutile()
    almost.set_cell(almost.cell.array * np.array([1.0, 1.003, 1.0]), scale_atoms=True)
    (prediction,) = voigt.predict(almost, model, voigt.Settings(symprec=0.05))
    assert prediction.symmetry.crystal_system == "tetragonal"
    eps, raw = prediction.values["eps_inf"], prediction.raw["eps_inf"]
    assert abs(eps[0, 0] - eps[1, 1]) < 1e-6
    assert abs(raw[0, 0] - raw[1, 1]) < 1e-5, "the mean over frames has the symmetry without being projected"
    assert not any("do not map its lattice" in sentence for sentence in prediction.warnings)


def test_centrosymmetric_crystals_have_no_piezoelectric_tensor_at_all(model):
    for atoms in (crystals.rutile(), crystals.baddeleyite()):
        (prediction,) = voigt.predict(atoms, model)
        assert np.abs(prediction.values["piezo_total"]).max() < 1e-12
        assert prediction.residual["piezo_total"] < 1e-4 or np.linalg.norm(prediction.raw["piezo_total"]) < 1e-5


def test_frames_of_a_graph_and_their_group():
    atoms = crystals.zincblende()
    options = AxesOptions("average", "primitive")
    alone = build_graph(atoms, 4.0, frame=options)
    shared = build_graph(atoms, 4.0, symmetry=find_symmetry(atoms), frame=options)
    assert (len(alone.frames), len(shared.frames), len(shared.operations)) == (48, 2, 24)
    assert len(build_graph(atoms, 4.0).frames) == 0
    assert len(build_graph(atoms, 4.0, frame=AxesOptions("single", "none")).frames) == 1
    # Atoms have no cosets: their operations would have to be carried along.
    all_frames = AxesOptions("average", "primitive", cosets=False)
    every = build_graph(atoms, 4.0, symmetry=find_symmetry(atoms), frame=all_frames)
    assert len(every.frames) == 48
