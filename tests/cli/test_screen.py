"""`voigt screen COLLECTION -o DIR`: exit codes, messages, and that the same command goes on."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import ase.io
import pytest
from tests.screening.screenings import FullDisk, check, ended, forked, manifest, rows, salts, unlike, unseen
from typer.testing import Result

from voigt.screening.store.parts import result_parts
from voigt.screening.store.store import open_store

Call = Callable[..., Result]

IDS = [atoms.info["id"] for atoms in unlike()]


@pytest.fixture
def good(tmp_path: Path) -> Path:
    path = tmp_path / "good.extxyz"
    ase.io.write(path, unlike())
    return path


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """With one crystal of an element that the model does not know."""
    path = tmp_path / "mixed.extxyz"
    ase.io.write(path, [*unlike(), unseen("potash")])
    return path


@pytest.fixture
def screen(voigt: Call, tiny_model: str, tmp_path: Path) -> Call:
    """The command with the small model and one process, into the folder "s"."""

    def call(*words: object) -> Result:
        return voigt("screen", *words, "-o", tmp_path / "s", "--model", tiny_model, "--workers", "1")

    return call


def test_all_done_is_zero_and_the_summary_stands_on_standard_error(screen: Call, good: Path, tmp_path: Path) -> None:
    result = screen(good)
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == f"{tmp_path / 's'}: 5 crystals; 5 of this run; complete\n"
    check(tmp_path / "s", IDS)
    assert manifest(tmp_path / "s")["sessions"][0]["command"].startswith("voigt")
    result = screen(good)
    assert result.exit_code == 0
    assert result.stderr.splitlines() == [
        f"{tmp_path / 's'}: 5 crystals are done, which is all of them; nothing to do",
        f"{tmp_path / 's'}: 5 crystals; 0 of this run; complete",
    ]


def test_some_failed_is_one_and_they_are_listed(screen: Call, mixed: Path, tmp_path: Path) -> None:
    result = screen(mixed)
    assert result.exit_code == 1
    listed = tmp_path / "s" / "failed.csv"
    assert f"5 crystals, 1 failed ({listed}); 6 of this run; complete" in result.stderr
    with listed.open(newline="") as stream:
        (row,) = csv.DictReader(stream)
    assert (row["id"], row["index"]) == ("potash", "5")
    assert "K not among" in row["reason"]
    assert screen(mixed).exit_code == 1  # they are still missing
    check(tmp_path / "s", IDS, ["potash"])


@pytest.mark.parametrize("words", [[], ["--where", "eps_inf > -1e9", "--rank", "eps_inf"]])
def test_quiet_says_nothing_but_results(screen: Call, mixed: Path, words: list[str]) -> None:
    for code in (1, 1):
        result = screen(mixed, "-q", *words)
        assert (result.exit_code, result.stderr) == (code, "")
        assert bool(result.stdout) == bool(words)


def test_a_limit_and_the_rest(screen: Call, good: Path, tmp_path: Path) -> None:
    result = screen(good, "--limit", 2)
    assert result.exit_code == 0
    assert "2 crystals; 2 of this run; stopped at --limit" in result.stderr
    result = screen(good)
    assert "2 crystals are done, going on with the rest" in result.stderr
    assert "5 crystals; 3 of this run; complete" in result.stderr
    check(tmp_path / "s", IDS)


def test_filter_and_ranking(screen: Call, mixed: Path, tmp_path: Path) -> None:
    """On standard output the best, in the order of the values that are stored; all of it again without computing."""
    result = screen(mixed, "--where", "spacegroup != 225", "--rank", "eps_inf", "--top", 3)
    assert result.exit_code == 1
    assert f"wrote {tmp_path / 's' / 'selection.csv'}" in result.stderr
    traces = {row["id"]: sum(row["eps_inf"][::4]) / 3 for row in rows(tmp_path / "s").to_pylist()}
    del traces["salt"]
    best = sorted(traces, key=lambda name: -traces[name])[:3]
    assert [line.split()[1] for line in result.stdout.splitlines()[1:]] == best
    with (tmp_path / "s" / "selection.csv").open(newline="") as stream:
        listed = list(csv.DictReader(stream))
    assert [row["id"] for row in listed] == best
    assert [float(row["eps_inf"]) for row in listed] == pytest.approx([traces[name] for name in best])
    assert manifest(tmp_path / "s")["selection"] == {
        "where": "spacegroup != 225", "rank": "eps_inf", "ascending": False
    }
    again = screen(mixed, "--rank", "eps_inf", "--ascending", "--top", 1)
    assert "nothing to do" in again.stderr
    assert len(again.stdout.splitlines()) == 2


def test_what_is_asked_for_follows_from_the_expressions(
    voigt: Call, good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.predictions import save_several_models

    (tmp_path / "shipped").mkdir()
    monkeypatch.setattr("voigt.models.checkpoint.WEIGHTS", save_several_models(tmp_path / "shipped"))
    words = ["--where", "bulk_modulus > -1e9", "--rank", "piezo_total_norm", "--workers", "1"]
    result = voigt("screen", good, "-o", tmp_path / "s", *words)
    assert result.exit_code == 0, result.stderr
    assert manifest(tmp_path / "s")["job"]["properties"] == ["elastic", "piezo_total"]
    # One model does not know zinc: the crystal is there without that property, and cannot be judged.
    assert len(result.stdout.splitlines()) == 1 + 4
    words = ["--properties", "elastic,eps_total", "--prefilter", "bulk_modulus > 1e9", "--workers", "1"]
    result = voigt("screen", good, "-o", tmp_path / "t", *words)
    assert result.exit_code == 1, result.stderr  # zinc: what the prefilter needs is not known
    assert rows(tmp_path / "t")["eps_total"].null_count == 4


@pytest.mark.parametrize(
    ("words", "messages"),
    [
        (["good.extxyz", "-o", "s"], "what is to be predicted? Give --properties, --model, or an expression"),
        (["good.extxyz", "-o", "s", "--properties", "color"], "color"),
        (["good.extxyz", "-o", "s", "--properties", "band_gap", "--where", "eps_total > 3"],
         "--where needs eps_total; add it to --properties"),
        (["good.extxyz", "-o", "s", "--where", "band_gap >"], "--where"),
        (["good.extxyz", "-o", "s", "--rank", "__import__('os')"], "--rank"),
        (["good.extxyz", "-o", "s", "--properties", "band_gap", "--prefilter", "num_atoms < 9"],
         "--prefilter needs no model"),
        (["nowhere.extxyz", "-o", "s", "--properties", "band_gap"], "no such file or folder: nowhere.extxyz"),
        (["good.extxyz", "-o", "s", "--properties", "band_gap", "--device", "abacus"],
         "device abacus cannot be used"),
        (["good.extxyz", "-o", "good.extxyz", "--properties", "band_gap"], "cannot write good.extxyz"),
        (["good.extxyz", "-o", ".", "--properties", "band_gap"], "is not empty and holds no screening"),
        ([".", "-o", "s", "--properties", "band_gap"], "s lies inside . and would become part of it"),
        (["report", "nowhere"], "nowhere holds no screening"),
    ],
)
def test_wrong_calls_are_two_and_one_sentence(
    voigt: Call, good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], messages: str
) -> None:
    monkeypatch.chdir(tmp_path)
    result = voigt("screen", *words)
    assert (result.exit_code, result.stdout) == (2, "")
    assert messages in result.stderr
    assert result.stderr.startswith("voigt: ")
    assert len(result.stderr.splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["good.extxyz"]


def test_options_are_checked_and_explained(voigt: Call, good: Path) -> None:
    for words in (["--limit", "0"], ["--workers", "0"], ["--engine", "steam"], ["--top", "-1"]):
        result = voigt("screen", good, "-o", "s", *words)
        assert result.exit_code == 2
        assert "Error: " in result.stderr
    result = voigt("screen", "--help")
    assert result.exit_code == 0
    named = "--output --properties --model --prefilter --where --rank --top --limit --workers --device --engine --quiet"
    assert [name for name in named.split() if name not in result.stdout] == []
    assert "COLLECTION" in result.stdout
    assert "voigt screen report" in result.stdout


def test_another_job_or_collection_is_two(screen: Call, good: Path, mixed: Path, tmp_path: Path) -> None:
    screen(good)
    result = screen(good, "--no-symmetry")
    assert result.exit_code == 2
    assert "another job (symmetrize was True and is False); give the same options" in result.stderr
    ase.io.write(good, unlike()[:3])
    result = screen(good)
    assert result.exit_code == 2
    assert "0 crystals differ, 2 are gone; put it back or screen into a new folder" in result.stderr
    ase.io.write(good, [*unlike(), *salts(2)])
    result = screen(good)
    assert result.exit_code == 0
    assert "5 crystals are done, 2 of the collection are not" in result.stderr
    assert "7 crystals; 2 of this run; complete" in result.stderr


def test_a_folder_in_use_is_two_and_names_its_holder(screen: Call, good: Path, tmp_path: Path) -> None:
    ready, writer = os.pipe()

    def hold() -> None:
        with open_store(tmp_path / "s", {}, {}, "holder"):
            os.write(writer, b"x")
            signal.pause()

    holder = forked(hold)
    os.read(ready, 1)
    result = screen(good)
    os.kill(holder, signal.SIGKILL)
    ended(holder)
    assert result.exit_code == 2
    assert f"is being written by process {holder} on " in result.stderr


def test_a_full_disk_is_two_and_the_same_command_goes_on(
    screen: Call, good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("voigt.screening.compute.CRYSTALS", 2)
    with monkeypatch.context() as patch:
        FullDisk(patch, 20_000)
        result = screen(good)
    assert result.exit_code == 2
    assert result.stderr.endswith(": No space left on device; free space or choose another place\n")
    assert len(result.stderr.splitlines()) == 1
    assert len(result_parts(tmp_path / "s")) == 1
    assert screen(good).exit_code == 0
    check(tmp_path / "s", IDS)


def test_a_store_can_be_screened(screen: Call, voigt: Call, good: Path, tiny_model: str, tmp_path: Path) -> None:
    """Its parts hold the structures, in the layout of collections."""
    screen(good)
    words = ["-o", tmp_path / "t", "--model", tiny_model, "--workers", 1]
    assert voigt("screen", tmp_path / "s" / "parts", *words).exit_code == 0
    assert rows(tmp_path / "t")["input_digest"].to_pylist() == rows(tmp_path / "s")["input_digest"].to_pylist()


def test_ctrl_c_ends_all_processes_without_a_word_too_many(tiny_model: str, tmp_path: Path) -> None:
    """A terminal sends it to all of them; also while the workers still start."""
    ase.io.write(tmp_path / "salts.extxyz", salts(400))
    (tmp_path / "program.py").write_text(
        # A job in the background inherits that Ctrl-C is ignored, which Python leaves as it is.
        "import signal\nfrom voigt.cli.main import run\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "if __name__ == '__main__':\n    run()\n"
    )
    words = ["screen", "salts.extxyz", "-o", "s", "--model", tiny_model, "--workers", "2"]
    command = [sys.executable, "program.py", *words]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        while not (tmp_path / "s" / "manifest.json").exists():
            time.sleep(0.05)
        time.sleep(1.0)  # importing torch takes the workers longer
        os.killpg(process.pid, signal.SIGINT)
        _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in stderr
    assert stderr == "interrupted; what is done is in s, the same command goes on\n"
    limit = time.monotonic() + 10
    while group_lives(process.pid):
        assert time.monotonic() < limit
        time.sleep(0.05)


def group_lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True
