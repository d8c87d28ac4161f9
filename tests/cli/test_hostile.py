"""Files of strangers on the command line: one sentence, the right exit code, and nothing outside the folder."""

from __future__ import annotations

import json
import pickle
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
import pytest
from tests import crystals
from typer.testing import Result

Call = Callable[..., Result]


def json_lines(path: Path, ids: Sequence[str]) -> Path:
    """Structures as OPTIMADE and others give them, one a line; lone surrogates stand as \\ud800 in JSON."""
    atoms = crystals.rocksalt()
    lattice = {"matrix": atoms.cell.tolist()}
    sites = [
        {"species": [{"element": symbol, "occu": 1}], "abc": place.tolist()}
        for symbol, place in zip(atoms.get_chemical_symbols(), atoms.get_scaled_positions(), strict=True)
    ]
    structure = {"@class": "Structure", "lattice": lattice, "sites": sites}
    path.write_text("".join(json.dumps({"id": name, "structure": structure}) + "\n" for name in ids))
    return path


@pytest.mark.parametrize("suffix", ["extxyz", "csv", "parquet", "json"])
@pytest.mark.parametrize("name", ["two\nlines", "\ud800", "tab\there", "\x1b[2J", "=1+1", "x" * 200_000])
def test_ids_that_break_files(voigt: Call, tiny_model: str, tmp_path: Path, suffix: str, name: str) -> None:
    source, target = json_lines(tmp_path / "in.jsonl", ["good1", name, "good2"]), tmp_path / f"out.{suffix}"
    result = voigt("predict", source, "-o", target, "--model", tiny_model, "-q")
    assert (result.exit_code, result.stderr) == (0, "")
    if suffix == "extxyz":
        assert [frame.info["id"] for frame in ase.io.read(target, ":")][::2] == ["good1", "good2"]
    else:
        assert "good2" in target.read_bytes().decode("utf-8", "ignore")
    if suffix != "csv":
        return
    again = voigt("predict", source, "--model", tiny_model)  # and on the terminal
    assert again.exit_code == 0
    assert "\x1b" not in again.stdout + again.stderr


@pytest.mark.parametrize("letter", ["\u202e", "\u200b", "\u2028", "\u2066", "\x9b", "\ufeff"])
def test_letters_that_a_terminal_obeys_are_not_printed(
    voigt: Call, tiny_model: str, tmp_path: Path, letter: str
) -> None:
    source = json_lines(tmp_path / "in.jsonl", ["good", f"a{letter}gnp"])
    with source.open("a") as stream:
        stream.write(json.dumps({"id": f"b{letter}gnp", "structure": {"lattice": letter}}) + "\n")
    broken = tmp_path / f"{letter}.cif"
    broken.write_text(f"data_{letter}\n_cell_length_a {letter}\n_atom_site_label {letter}\n")
    for arguments in ([source], [broken], [tmp_path / f"absent{letter}.cif"]):
        result = voigt("predict", *arguments, "--model", tiny_model)
        assert result.stderr
        assert letter not in result.stdout + result.stderr


def test_files_named_by_ids_stay_in_their_folder(voigt: Call, tiny_model: str, tmp_path: Path) -> None:
    ids = ["../up", "..", "/tmp/absolute", "a/b", "A/B", "x" * 5000, "con", ".", "a\x00b"]
    folder = tmp_path / "deep" / "out"
    folder.mkdir(parents=True)
    source = json_lines(tmp_path / "in.jsonl", ids)
    before = sorted(tmp_path.rglob("*"))
    result = voigt("predict", source, "--model", tiny_model, "--born", folder / "{id}", "-q")
    assert result.exit_code == 1  # a_b and A_B are one file on some systems, and dots alone have no name
    assert "already holds another crystal" in result.stderr
    written = set(tmp_path.rglob("*")) - set(before)
    assert {path.parent for path in written} == {folder}
    assert sorted(len(path.name) for path in written)[-1] <= 80
    assert len({path.name.casefold() for path in written}) == len(written) == 6


@pytest.mark.parametrize("command", ["models", "predict", "evaluate", "finetune"])
@pytest.mark.parametrize("harm", ["channels", "nested", "card", "pickle", "cut", "header"])
def test_model_files(voigt: Call, tiny_model: str, tmp_path: Path, command: str, harm: str) -> None:
    """Absurd hyper-parameters, metadata of other types, and what is no model at all."""
    path, mark = tmp_path / "mine.safetensors", tmp_path / "mark"
    content = bytearray(Path(tiny_model).read_bytes())
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    if harm == "pickle":
        content = bytearray(pickle.dumps(_Touch(mark)))
    elif harm == "cut":
        del content[len(content) // 2 :]
    elif harm == "header":
        content[:8] = (2**62).to_bytes(8, "little")
    else:
        hypers = json.loads(header["__metadata__"]["hypers"])
        hypers[0]["channels"] = 10**9
        header["__metadata__"] |= {
            "channels": {"hypers": json.dumps(hypers)},
            "nested": {"hypers": "[" * 50_000},
            "card": {"card": json.dumps({"elements": {"a": [1]}, "functionals": 5})},
        }[harm]
        text = json.dumps(header).encode()
        content[: 8 + length] = len(text).to_bytes(8, "little") + text
    path.write_bytes(content)
    ase.io.write(tmp_path / "in.extxyz", crystals.rocksalt())
    words: dict[str, Sequence[Any]] = {
        "models": ("models", path),
        "predict": ("predict", tmp_path / "in.extxyz", "--model", path),
        "evaluate": ("evaluate", path, tmp_path / "in.extxyz"),
        "finetune": ("train", _recipe(tmp_path, finetune=str(path)), "-o", tmp_path / "run"),
    }
    start = time.perf_counter()
    result = voigt(*words[command])
    assert time.perf_counter() - start < 10
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.splitlines()[-1].startswith(f"voigt: {path} ")
    assert "unexpected" not in result.stderr
    assert not mark.exists()


class _Touch:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def _recipe(folder: Path, **changes: Any) -> Path:
    """One pass over four crystals of point charges."""
    frames = []
    for k in range(4):
        atoms = crystals.rocksalt()
        atoms.rattle(0.03, seed=k)
        atoms.arrays["born_charges"] = np.outer([1.0, -1.0], np.eye(3))
        atoms.info.update(id=f"c{k}", split="val" if k > 2 else "train")
        frames.append(atoms)
    ase.io.write(folder / "salts.extxyz", frames)
    content = {
        "name": "salt",
        "data": [{"path": "salts.extxyz"}],
        "data_root": str(folder),
        "model": {"channels": 8, "interactions": 1, "cutoff": 4.0, "hidden": 8},
        "targets": {"born_charges": {}},
        "epochs": 1,
        **changes,
    }
    (folder / "recipe.yaml").write_text(json.dumps(content))  # JSON is YAML
    return folder / "recipe.yaml"


def test_a_pickle_for_a_checkpoint(voigt: Call, tmp_path: Path) -> None:
    recipe, run, mark = _recipe(tmp_path), tmp_path / "run", tmp_path / "mark"
    assert voigt("train", recipe, "-o", run).exit_code == 0
    (run / "salt.safetensors").unlink()
    (run / "checkpoints" / "last.ckpt").write_bytes(pickle.dumps(_Touch(mark)))
    result = voigt("train", recipe, "-o", run, "--resume")
    assert result.exit_code == 2
    assert "last.ckpt is not a complete checkpoint" in result.stderr.splitlines()[-1]
    assert not mark.exists()


@pytest.mark.parametrize(
    "text",
    [
        "\n".join(["a0: &a0 [x, x]", *(f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12))]),
        "a: " + "[" * 100_000,
        f"epochs: {'9' * 5000}",
        "name: !!python/object/apply:os.getcwd []",
    ],
    ids=["bomb", "nested", "number", "object"],
)
def test_recipes(voigt: Call, tmp_path: Path, text: str) -> None:
    (tmp_path / "r.yaml").write_text(text)
    start = time.perf_counter()
    result = voigt("train", tmp_path / "r.yaml")
    assert time.perf_counter() - start < 3
    assert (result.exit_code, result.stdout) == (2, "")
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"voigt: {tmp_path / 'r.yaml'}")
    assert "unexpected" not in line
