"""Fixtures shared by all tests."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    """Two noisy cores make threaded results slow and timings meaningless."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def dft_data() -> Callable[[str], Path]:
    """Path of a file of real DFT data (VOIGT_DATA or ../shared/data), or a skip that says what is missing."""
    root = Path(os.environ.get("VOIGT_DATA", REPOSITORY.parent / "shared" / "data"))

    def find(relative: str) -> Path:
        path = root / relative
        if not path.exists():
            pytest.skip(f"real DFT data not found: {path} (set VOIGT_DATA to the folder that holds {relative})")
        return path

    return find


@pytest.fixture(scope="session")
def examples() -> Path:
    """Folder of the example structures."""
    return REPOSITORY / "examples"


@pytest.fixture(scope="session")
def several(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of four small models: born, dielectric, elastic (no zinc), piezo."""
    from tests.predictions import save_several_models  # most tests need no networks

    return save_several_models(tmp_path_factory.mktemp("shipped"))


@pytest.fixture
def shipped(several: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The small models in the place of those that ship."""
    monkeypatch.setattr("voigt.models.checkpoint.WEIGHTS", several)
    return several
