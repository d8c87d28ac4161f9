"""Fixtures of the command-line tests."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.predictions import save_tiny_model
from typer.testing import CliRunner, Result

from voigt.cli.main import app


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """File of an ensemble of two small random networks."""
    return str(save_tiny_model(tmp_path_factory.mktemp("models") / "tiny.safetensors"))


@pytest.fixture
def voigt() -> Callable[..., Result]:
    """Call the command line in this process."""

    def call(*words: object, stdin: str | None = None) -> Result:
        return CliRunner().invoke(app, [str(word) for word in words], input=stdin)

    return call
