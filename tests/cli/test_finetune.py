"""`voigt finetune` and the choice of frames on the command line."""

from __future__ import annotations

import ase.io
import pytest
import typer
from tests.finetuning.worlds import frames, small_model, write_frames
from typer.testing import CliRunner

from voigt.cli.data_select import select
from voigt.cli.finetune import finetune


@pytest.fixture
def app():
    commands = typer.Typer()
    commands.command()(finetune)
    commands.command()(select)
    return commands


def call(app, *words):
    return CliRunner().invoke(app, [str(word) for word in words])


def test_prints_errors_verdict_and_model(app, tmp_path):
    start, data = small_model(tmp_path), write_frames(tmp_path / "salt.extxyz", frames(30))
    result = call(app, "finetune", start, data, "-o", tmp_path / "run", "--minutes", "0.05", "--members", "1", "-q")
    assert result.exit_code == 0, result.stderr
    lines = result.stdout.splitlines()
    assert lines[0].split()[:2] == ["error", "(MAE)"]
    assert lines[1].split()[:2] == ["born_charges", "e"]
    assert lines[-1] == f"model {tmp_path / 'run' / 'salt.safetensors'}"
    assert (tmp_path / "run" / "report.md").is_file()


def test_data_without_a_usable_label_are_refused_in_one_sentence(app, tmp_path):
    images = frames(6)
    for atoms in images:
        del atoms.info["eps_inf"], atoms.arrays["born_charges"]
    result = call(app, "finetune", small_model(tmp_path), write_frames(tmp_path / "a.extxyz", images), "-o", tmp_path)
    assert result.exit_code == 2
    assert "labels found: none" in result.stderr
    assert "Traceback" not in result.stderr


def test_an_interrupted_call_says_how_to_go_on(app, tmp_path, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("voigt.finetuning.run.train_on_device", interrupted)
    start, data = small_model(tmp_path), write_frames(tmp_path / "salt.extxyz", frames(30))
    result = call(app, "finetune", start, data, "-o", tmp_path / "run", "--minutes", "0.05", "-q")
    assert result.exit_code == 130
    assert "repeat the call" in result.stderr


def test_selected_frames_are_written_and_listed(app, tmp_path):
    start, data = small_model(tmp_path, members=2), write_frames(tmp_path / "salt.extxyz", frames(6))
    result = call(app, "select", start, data, "-n", "3", "-o", tmp_path / "next.extxyz")
    assert result.exit_code == 0, result.stderr
    chosen = [atoms.info["id"] for atoms in ase.io.read(tmp_path / "next.extxyz", ":")]
    assert len(set(chosen)) == 3
    assert [line.split()[1] for line in result.stdout.splitlines()[1:]] == chosen


def test_frames_like_those_that_are_labeled_come_last(app, tmp_path):
    images = frames(4)
    start, data = small_model(tmp_path, members=2), write_frames(tmp_path / "salt.extxyz", images)
    known = write_frames(tmp_path / "known.extxyz", images[:2])
    call(app, "select", start, data, "-n", "2", "-o", tmp_path / "next.extxyz", "--labeled", known)
    chosen = {atoms.info["id"] for atoms in ase.io.read(tmp_path / "next.extxyz", ":")}
    assert chosen == {"f2", "f3"}


def test_another_format_is_refused_before_any_work(app, tmp_path):
    data = write_frames(tmp_path / "salt.extxyz", frames(2))
    result = call(app, "select", "born", data, "-n", "1", "-o", tmp_path / "next.cif")
    assert result.exit_code == 2
    assert "extended XYZ" in result.stderr
