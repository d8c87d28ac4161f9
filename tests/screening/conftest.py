"""Fixtures of the screening tests."""

from __future__ import annotations

import pytest
from tests.predictions import save_tiny_model

from voigt.screening.job import Job


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Job:
    """Born charges and eps_inf by an ensemble of two small random networks."""
    return Job(None, str(save_tiny_model(tmp_path_factory.mktemp("models") / "tiny.safetensors")))


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts of two crystals."""
    monkeypatch.setattr("voigt.screening.compute.CRYSTALS", 2)
