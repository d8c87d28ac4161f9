"""Seeds that this package or phonopy writes: models, checkpoints, stores, recipes, projects; and how each is spoiled.

They are made once per campaign, before its workers are forked.
"""

from __future__ import annotations

import json
import re
import tempfile
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

from tests.fuzz import containers, crystals
from tests.fuzz.crystals import CRYSTALS
from tests.fuzz.mutators import json_text, json_value, spoiled


def _content(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


# Models and trainings


@cache
def model_file() -> bytes:
    """An ensemble of two small random networks for Born charges and eps_inf."""
    from tests.predictions import save_tiny_model

    elements = tuple(sorted({symbol for crystal in CRYSTALS for symbol in crystal.symbols}))
    with tempfile.TemporaryDirectory() as folder:
        return save_tiny_model(Path(folder) / "m.safetensors", elements=elements).read_bytes()


@cache
def checkpoint_file() -> bytes:
    """The state of a training with all its kinds of values, without the training."""
    import torch

    from voigt.training.checkpoints import checkpoint_bytes

    run = {"name": "tiny", "epochs": 4, "patience": None, "content of the data files": {"data.extxyz": "ab"}}
    weights = {f"network.{k}": torch.ones(3, k + 1) for k in range(3)}
    optimizer = [{"state": {0: (1.0, 2)}}]
    state = {"voigt_run": run, "state_dict": weights, "epoch": 1, "optimizer_states": optimizer}
    return checkpoint_bytes({**state, "voigt_metrics": {"val/loss": 0.5}})


RECIPE = b"""\
name: tiny
model: {channels: 8, interactions: 1, cutoff: 4.0, num_radial: 8, hidden: 8}
data:
  - path: absent.extxyz
    where: closed_shell
    max_atoms: 20
targets:
  born_charges: {loss: l1, weight: 1.0}
  eps_inf: {loss: relative, weight: 0.3, scale: 2.0}
split: {kind: formula, seed: 1}
optimizer: {lr: 0.01, warmup_steps: 2, ema: 0.9}
batch_size: 2
epochs: 4
"""
"""Its data do not exist, so that a recipe that is understood trains nothing."""

_TAGS = (
    "!!python/object/apply:os.system ['touch canary']", "!!python/object/new:os.system ['touch canary']",
    "!!python/name:os.system", "!!python/module:os", "!!python/tuple [1, 2]", "!!binary aGVsbG8=",
    "!!timestamp 2001-01-01",
    "!!set {a, b}", "!!float nan", "!!int '1_0'", "!unknown x", "!!omap [a: 1]", "2001-01-01", "1:30:00", "0o17", "~",
    "<<: {a: 1}",
    "&a [*a]", "&a {b: *a}", "*missing", "? [1, 2]", "@x", "`x", "%x", "{a: b: c}", "- - -", "\t- x", ".inf", ".nan",
    "9" * 5000, "'",
)  # fmt: skip


def yaml_bomb(rng: Random) -> bytes:
    """Aliases of aliases: ten lines that stand for billions of values."""
    levels, width = rng.choice((3, 9, 30)), rng.choice((2, 10))
    lines = ["a0: &a0 [x, x]"] + [f"a{k}: &a{k} [{', '.join([f'*a{k - 1}'] * width)}]" for k in range(1, levels)]
    return ("\n".join(lines) + "\n").encode()


def bad_yaml(rng: Random, data: bytes) -> bytes:
    change = rng.random()
    if change < 0.15:
        return yaml_bomb(rng) + data if rng.random() < 0.5 else data + yaml_bomb(rng)
    places = [m.span(1) for m in re.finditer(rb"[:,\-\[] +([^\s,\[\]{}]+)", data)]
    if places and change < 0.5:
        start, end = rng.choice(places)
        return data[:start] + rng.choice(_TAGS).encode() + data[end:]
    return spoiled(rng, data)


def bad_recipe(rng: Random) -> bytes:
    if rng.random() < 0.4:
        import yaml

        return json_text(json_value(rng, yaml.safe_load(RECIPE)))
    return bad_yaml(rng, RECIPE)


# Phonopy projects

LAYOUTS = ("params", "disp", "conf", "sposcar", "constants", "compact", "hdf5", "yaml_constants")
BORN = b"14.400\n3.1 0 0 0 3.1 0 0 0 3.1\n1.95 0 0 0 1.95 0 0 0 1.95\n-1.95 0 0 0 -1.95 0 0 0 -1.95\n"


@cache
def project_files(layout: str) -> dict[str, bytes]:
    """A small project of rock salt with forces of springs."""
    from tests.response.projects import spring_phonon, write_project

    with tempfile.TemporaryDirectory() as folder:
        project = write_project(Path(folder) / "project", spring_phonon(containers.to_ase(CRYSTALS[0])), layout)
        return _content(project)


def bad_project(rng: Random) -> dict[str, bytes]:
    files = dict(project_files(rng.choice(LAYOUTS)))
    name = rng.choice(sorted(files))
    change = rng.random()
    if change < 0.08:
        del files[name]
    elif change < 0.14:
        other = project_files(rng.choice(LAYOUTS))
        files[rng.choice(sorted(other))] = spoiled(rng, other[rng.choice(sorted(other))])
    elif change < 0.2 and not name.endswith(".hdf5"):
        suffix = rng.choice((".xz", ".gz"))
        files[f"{name}{suffix}"] = spoiled(rng, containers.PACKINGS[suffix](files.pop(name)), binary=True)
    elif name.endswith((".yaml", ".conf")) and rng.random() < 0.6:
        files[name] = bad_yaml(rng, files[name])
    else:
        files[name] = spoiled(rng, files[name], binary=name.endswith(".hdf5"))
    if rng.random() < 0.1:
        files["BORN"] = spoiled(rng, BORN)
    return files


# Screenings


def collection_file() -> bytes:
    """The crystals of the store, and one that has no structure."""
    lines = [json_text(crystals.json_line(crystal)) for crystal in CRYSTALS]
    return b"\n".join([*lines, b'{"id": "broken", "structure": {}}']) + b"\n"


@cache
def store_files() -> dict[str, bytes]:
    """A finished screening in parts of two crystals; times in its manifest are those of no clock."""
    from tests.fuzz.actions import MODEL, screen

    with tempfile.TemporaryDirectory() as folder:
        MODEL.parent.mkdir(exist_ok=True)
        MODEL.write_bytes(model_file())
        (Path(folder) / "a.jsonl").write_bytes(collection_file())
        screen(Path(folder) / "a.jsonl", Path(folder) / "store")
        files = _content(Path(folder) / "store")
    files.pop("lock", None)
    manifest = json.loads(files["manifest.json"])
    manifest["sessions"] = _without_clock(manifest["sessions"])
    return {**files, "manifest.json": json.dumps(manifest, indent=1).encode()}


def _without_clock(value: Any) -> Any:
    """Seconds, memory and moments as fixed values."""
    if isinstance(value, dict):
        return {key: _without_clock(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_without_clock(entry) for entry in value]
    if isinstance(value, str):
        return re.sub(r"\d{4}-\d\d-\d\dT.*", "2026-01-01T00:00:00+00:00", value)
    return 1.0 if isinstance(value, float) else value


def bad_store(rng: Random) -> dict[str, bytes]:
    """Manifest, parts, failures or names of files."""
    import pyarrow.parquet as pq

    files = dict(store_files())
    parts = sorted(name for name in files if name.endswith(".parquet"))
    part = rng.choice(parts)
    change = rng.randrange(9)
    if change == 0:
        files["manifest.json"] = json_text(json_value(rng, json.loads(files["manifest.json"])))
    elif change == 1:
        files["manifest.json"] = spoiled(rng, files["manifest.json"])
    elif change == 2:
        files[part] = containers.spoil_parquet(rng, files[part])
    elif change in (3, 4):
        with tempfile.NamedTemporaryFile(suffix=".parquet") as stream:
            stream.write(files[part])
            stream.flush()
            table = pq.read_table(stream.name)
        files[part] = containers.parquet(containers.spoil_table(rng, table))
    elif change == 5:  # a copy under another name
        other = rng.choice(
            (
                "part-000009.parquet",
                "part-.parquet",
                "part-000001 copy.parquet",
                "part-x.parquet",
                parts[0].split("/")[-1],
            )
        )
        files[f"{rng.choice(('parts', 'failed'))}/{other}"] = files[part]
    elif change == 6:
        files[part] = b""
    elif change == 7:
        del files[rng.choice(sorted(files))]
    else:
        name = rng.choice(sorted(files))
        files[name] = spoiled(rng, files[name], binary=not name.endswith((".json", ".csv")))
    return files


def seeds() -> tuple[Any, ...]:
    """Make everything that workers share."""
    return (
        model_file(),
        checkpoint_file(),
        store_files(),
        containers.trajectory(),
        *(project_files(layout) for layout in LAYOUTS),
    )
