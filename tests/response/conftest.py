"""Fixtures of the tests of what tensors are for."""

from __future__ import annotations

import pytest
from tests.predictions import save_tiny_model


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """File of a small random model of Born charges and eps_inf."""
    return str(save_tiny_model(tmp_path_factory.mktemp("models") / "tiny.safetensors"))
