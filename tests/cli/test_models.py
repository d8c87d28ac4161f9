"""`voigt models`: the list of what ships and the card of one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.predictions import ELEMENTS, save_tiny_model
from typer.testing import Result

Call = Callable[..., Result]


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A weights folder with two models, one of them with a card."""
    save_tiny_model(tmp_path / "alpha.safetensors")
    save_tiny_model(tmp_path / "beta.safetensors", members=1, properties=("eps_inf",))
    (tmp_path / "alpha.md").write_text("# alpha\n\nTrained for a test, MAE 0.5 e.\n")
    monkeypatch.setattr("voigt.models.checkpoint.WEIGHTS", tmp_path)
    return tmp_path


def test_list(voigt: Call, shipped: Path) -> None:
    result = voigt("models")
    assert result.exit_code == 0
    heading, alpha, beta = result.stdout.splitlines()
    assert heading.split() == ["name", "predicts", "members", "functionals", "elements", "size"]
    size = f"{(shipped / 'alpha.safetensors').stat().st_size / 1e6:.1f}"
    assert alpha.split() == ["alpha", "born_charges,", "eps_inf", "2", "PBEsol,", "PBE", str(len(ELEMENTS)), size, "MB"]
    assert beta.split()[:3] == ["beta", "eps_inf", "1"]


def test_card_of_a_shipped_model(voigt: Call, shipped: Path) -> None:
    result = voigt("models", "alpha")
    assert result.exit_code == 0
    assert "born_charges (e), eps_inf (1)" in result.stdout
    assert "O F Na Mg Al Si Cl Ti Zn Ba" in result.stdout
    assert result.stdout.endswith("# alpha\n\nTrained for a test, MAE 0.5 e.\n")


def test_a_file_tells_what_it_holds(voigt: Call, tiny_model: str) -> None:
    result = voigt("models", tiny_model)
    assert result.exit_code == 0
    assert "members: 2" in result.stdout
    assert "PBEsol, PBE" in result.stdout


def test_nothing_ships(voigt: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("voigt.models.checkpoint.WEIGHTS", tmp_path)
    result = voigt("models")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "voigt train" in result.stderr


def test_unknown_name_lists_what_ships(voigt: Call, shipped: Path) -> None:
    result = voigt("models", "gamma")
    assert result.exit_code == 2
    assert "no model 'gamma'" in result.stderr
    assert "alpha, beta" in result.stderr
