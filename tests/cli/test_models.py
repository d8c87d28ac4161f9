"""`voigt models`: the list of what ships and the card of one."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from tests.predictions import ELEMENTS, save_tiny_model
from typer.testing import Result

from voigt.cli.models import models
from voigt.models.checkpoint import load_model, save_model

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


LISTED = "O F Na Mg Al Si Cl Ti Zn Ba"
COUNTS = {8: 1234, 9: 56, 11: 30, 12: 20, 13: 19, 14: 999, 17: 41, 22: 3, 30: 77, 56: 400}


@pytest.fixture
def counted(tiny_model: str, tmp_path: Path) -> Path:
    """A model file that states its training crystals by element."""
    loaded = load_model(tiny_model)
    save_model(loaded.members, tmp_path / "counted.safetensors", replace(loaded.card, element_counts=COUNTS))
    return tmp_path / "counted.safetensors"


class Screen(io.StringIO):
    """Standard output that is a terminal."""

    def isatty(self) -> bool:
        return True


def on_terminal(path: Path, columns: int, monkeypatch: pytest.MonkeyPatch) -> str:
    """What a terminal of so many columns gets."""
    screen = Screen()
    monkeypatch.setattr(sys, "stdout", screen)
    monkeypatch.setattr("shutil.get_terminal_size", lambda: os.terminal_size((columns, 24)))
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    models(str(path))
    return screen.getvalue()


def test_training_crystals_of_each_element_are_drawn(voigt: Call, counted: Path) -> None:
    result = voigt("models", counted)
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert f"elements     {len(ELEMENTS)}" in lines
    assert LISTED not in result.stdout
    oxygen = next(k for k, line in enumerate(lines) if " O " in f"{line} ")
    assert lines[oxygen].split() == ["·"] * 5 + ["O", "F", "·"]
    assert lines[oxygen + 1].split() == ["1.2k", "56"]
    sodium = next(k for k, line in enumerate(lines) if line.startswith("Na"))
    assert lines[sodium + 1].split() == ["30", "20", "(19)", "999", "41"]
    titanium = next(line for line in lines if " Ti " in line)
    assert titanium.index("Ti") == 5 * 3  # group 4
    assert "\x1b" not in result.stdout
    assert max(map(len, lines[oxygen:])) <= 100


def test_an_older_file_without_counts_lists_its_elements(voigt: Call, tiny_model: str) -> None:
    lines = voigt("models", tiny_model).stdout.splitlines()
    assert f"elements     {len(ELEMENTS)}: {LISTED}" in lines


def test_a_narrow_terminal_gets_the_list(counted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert LISTED in on_terminal(counted, 80, monkeypatch)


def test_a_wide_terminal_gets_the_table_in_color(counted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = on_terminal(counted, 100, monkeypatch)
    assert LISTED not in text
    assert "\x1b[33m(19)\x1b[0m" in text
    assert "\x1b[2m·\x1b[0m" in text
