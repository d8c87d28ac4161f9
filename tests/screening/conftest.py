"""Fixtures of the screening tests."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.predictions import save_several_models, save_tiny_model

from voigt.screening.job import Job


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Job:
    """Born charges and eps_inf by an ensemble of two small random networks."""
    return Job(None, str(save_tiny_model(tmp_path_factory.mktemp("models") / "tiny.safetensors")))


@pytest.fixture(scope="session")
def several(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of four small models: born, dielectric, elastic (no zinc), piezo."""
    return save_several_models(tmp_path_factory.mktemp("shipped"))


@pytest.fixture
def shipped(several: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The small models in the place of those that ship."""
    monkeypatch.setattr("voigt.models.checkpoint.WEIGHTS", several)
    return several


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts of two crystals."""
    monkeypatch.setattr("voigt.screening.compute.CRYSTALS", 2)
