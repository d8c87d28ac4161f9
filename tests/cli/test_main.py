"""The command as a whole: quick help, exit codes, one sentence for an error."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
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


def modules_after(code: str, *words: str) -> tuple[str, set[str]]:
    """What a fresh interpreter prints, and the modules that it has loaded."""
    code += "\nimport json, sys; json.dump(sorted(sys.modules), sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=True)
    return done.stdout, set(json.loads(done.stderr.splitlines()[-1]))


COMMAND = "import voigt.cli.main as m\ntry: m.run()\nexcept SystemExit: pass"


def test_help_and_import_load_nothing_heavy() -> None:
    printed, loaded = modules_after(COMMAND, "--help")
    assert "Commands:" in printed
    assert HEAVY & loaded == set()
    _, loaded = modules_after("import voigt")
    assert HEAVY & loaded == set()
    assert {name for name in loaded if name.startswith("voigt")} == {"voigt"}


def test_predict_loads_only_what_it_needs(examples: Path) -> None:
    """torch is most of the start: what else takes long to import has no part in a prediction."""
    printed, loaded = modules_after(COMMAND, "predict", str(examples / "MgO.vasp"), "--quiet")
    assert "born" in printed
    assert "torch" in loaded
    unused = {"e3nn", "torch._dynamo", "sympy", "ase.io", "phonopy", "matplotlib", "pyarrow", "pandas", "yaml"}
    unused |= {"lightning", "pymatgen", "ray", "sklearn", "scipy.integrate", "scipy.optimize", "scipy.stats"}
    assert unused & loaded == set()


def test_help_is_quick() -> None:
    seconds = []
    for code in (COMMAND, COMMAND, COMMAND, "pass", "pass", "pass"):
        start = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-c", code, "--help"], capture_output=True, check=True)
        end = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds.append(end.ru_utime + end.ru_stime - start.ru_utime - start.ru_stime)
    assert min(seconds[:3]) - min(seconds[3:]) < 0.5  # about 0.13 s


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
