"""The command as a whole: quick help, exit codes, one sentence for an error."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

import voigt as package

Call = Callable[..., Result]
COMMANDS = ("predict", "train", "evaluate", "explain", "phonons", "infrared", "screen", "models")
HEAVY = {
    "torch",
    "numpy",
    "ase",
    "e3nn",
    "spglib",
    "phonopy",
    "lightning",
    "matplotlib",
    "pyarrow",
    "pymatgen",
    "pydantic",
    "yaml",
}


def test_help_names_every_command(voigt: Call) -> None:
    result = voigt("--help")
    assert result.exit_code == 0
    assert [name for name in COMMANDS if name not in result.stdout] == []


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_a_command_explains_its_options(voigt: Call, command: str) -> None:
    result = voigt(command, "--help")
    assert result.exit_code == 0
    assert "--debug" in result.stdout
    if command == "predict":
        options = (
            "--properties --model --output --born --functional --no-symmetry --no-sum-rule --total-charge --symprec"
        )
        options += " --allow-unseen --all-atoms --quiet"
        assert [option for option in options.split() if option not in result.stdout] == []


def test_help_is_quick_and_imports_nothing_heavy() -> None:
    code = "import sys, json, voigt.cli.main as m\ntry: m.run()\nfinally: json.dump(sorted(sys.modules), sys.stderr)"
    seconds = []
    for _ in range(3):
        start = time.monotonic()
        done = subprocess.run([sys.executable, "-c", code, "--help"], capture_output=True, text=True, check=True)
        seconds.append(time.monotonic() - start)
    assert "Commands:" in done.stdout
    assert HEAVY.intersection(json.loads(done.stderr)) == set()
    assert min(seconds) < 1.0


def test_version(voigt: Call) -> None:
    result = voigt("--version")
    assert (result.exit_code, result.stdout) == (0, f"voigt {package.__version__}\n")


def test_wrong_calls_end_with_two(voigt: Call) -> None:
    for words in (["nonsense"], ["predict"], ["predict", "a.cif", "--functiona", "PBE"], ["train"]):
        result = voigt(*words)
        assert result.exit_code == 2, words
        assert result.stdout == ""
        assert "Error: " in result.stderr


def test_an_error_is_one_sentence_and_debug_shows_where(voigt: Call, tmp_path: Path) -> None:
    missing = tmp_path / "missing.safetensors"
    result = voigt("models", missing)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith(f"voigt: no model '{missing}'")
    assert len(result.stderr.splitlines()) == 1
    result = voigt("models", missing, "--debug")
    assert result.exit_code == 2
    assert "Traceback (most recent call last)" in result.stderr
    assert f"voigt: no model '{missing}'" in result.stderr.splitlines()[-1]


def test_a_defect_of_the_program_is_no_traceback_either(voigt: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise ZeroDivisionError("division by\nzero")

    monkeypatch.setattr("voigt.models.checkpoint.available_models", broken)
    result = voigt("models")
    assert result.exit_code == 2
    assert result.stderr == (
        "voigt: unexpected ZeroDivisionError: division by zero; run with --debug for the traceback and report it\n"
    )


def test_interruption_ends_with_130(voigt: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("voigt.models.checkpoint.available_models", interrupted)
    result = voigt("models")
    assert result.exit_code == 130
    assert "Traceback" not in result.stderr
