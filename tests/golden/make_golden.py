"""How the frozen files of this folder were made: with voigt 0.1.0, before its inside was rebuilt.

Documentation, and no test: it imports modules of that time and need not run on later code. It was run with the code of
commit 6636615 in a folder OLD, this repository in NEW, on one thread:

    export PYTHONPATH=OLD/src:OLD:NEW VOIGT_DATA=DATA OMP_NUM_THREADS=1
    python -m tests.golden.make_golden [inputs] [models] [predictions] [store] [commands] [training] [api] [noise]

`tests` is a namespace package: `tests.golden` comes from the last of these folders, the old `tests.training.synthetic`
and `tests.response.projects`, which make up crystals and springs, from the second. cases.py lists what is frozen.

Nothing of the shared data is kept: crystals are named by file, place and id, and stored is what voigt said of them.
Inputs of their own (odd.xyz, project/, models/, training/) are made up here.
"""

from __future__ import annotations

import inspect
import json
import logging
import os
import re
import shutil
import sys
import tempfile
import warnings
from collections.abc import Sequence
from dataclasses import MISSING, fields
from functools import partial
from pathlib import Path
from typing import Any

import ase
import ase.io
import numpy as np
import torch
import yaml
from safetensors.numpy import load_file
from tests import crystals
from tests.golden import cases
from tests.golden.cases import GOLDEN
from tests.golden.compare import thinned
from tests.response.projects import spring_phonon, write_project
from tests.training import synthetic
from tests.training.test_sen_training import SMALL
from tests.training.test_sen_training import table as sen_table
from typer.testing import CliRunner, Result

import voigt
from voigt.api import Failure, predict_frames
from voigt.cli.main import app
from voigt.models.checkpoint import ModelCard, save_model
from voigt.models.methods import build_network, parse_hypers
from voigt.structures.reading import read

log = logging.getLogger("golden")

SHARED = Path(os.environ.get("VOIGT_DATA", "."))
CHOICE = (
    ("born/phonondb.extxyz", 60),
    ("born/mp.extxyz", 40),
    ("tensors/elastic.extxyz", 40),
    ("tensors/piezo.extxyz", 30),
    ("scalars/mp_scalars.parquet", 30),
)
"""Of each file so many crystals of the test split with at most LARGEST atoms, evenly spaced in the file."""
LARGEST = 32
ELEMENTS = tuple(range(1, 95))
SEN = {"width": 8, "edge_width": 4, "embedding": 8, "composition_width": 4, "composition_layers": 1, "object_width": 4,
       "num_radial": 6, "part_capsules": 3, "part_features": 3, "object_capsules": 2, "object_layers": 1, "loops": 2,
       "cutoff": 4.0}
NETWORKS: dict[str, tuple[int, dict[str, Any]]] = {
    "equivar": (2, {"method": "equivar", "properties": ["born_charges", "eps_inf"], "functionals": ["PBEsol", "PBE"],
                    "channels": 4, "interactions": 2, "hidden": 6, "embedding": 4, "num_radial": 6, "cutoff": 4.0,
                    "self_product": True}),
    "equivar_published": (1, {"method": "equivar", "channels": 4, "interactions": 2, "embedding": 4, "num_radial": 6,
                              "properties": ["born_charges", "piezo_total", "elastic", "eps_total"], "cutoff": 3.5,
                              "neighbors": "mic", "envelope": "none", "paths": "published", "weights": "shared",
                              "update": "linear", "periodic_table": False, "element_reference": False,
                              "sum_rule": "learned", "normalization": "integral", "self_interaction": "species"}),
    "goectp_equivar": (1, {"method": "goectp", "properties": ["eps_inf", "eps_ionic", "eps_total", "elastic"],
                           "backbone": "equivar", "width": 4, "layers": 1, "hidden": 8, "cutoff": 4.0}),
    "goectp_readout": (1, {"method": "goectp", "properties": ["born_charges", "piezo_total"], "backbone": "equivar",
                           "equivariant_readout": True, "width": 4, "layers": 1, "hidden": 8, "cutoff": 4.0}),
    "goectp_ecomformer": (1, {"method": "goectp", "properties": ["eps_inf", "piezo_total"], "backbone": "ecomformer",
                              "width": 6, "layers": 2, "hidden": 8, "num_radial": 8, "cutoff": 4.0}),
    "goectp_icomformer": (1, {"method": "goectp", "properties": ["eps_inf", "band_gap"], "backbone": "icomformer",
                              "width": 6, "layers": 2, "hidden": 8, "num_radial": 8, "cutoff": 4.0,
                              "functionals": ["PBE", "PBEsol"]}),
    "goectp_crystalformer": (1, {"method": "goectp", "properties": ["eps_inf", "elastic"], "backbone": "crystalformer",
                                 "width": 6, "heads": 2, "layers": 2, "hidden": 8, "num_radial": 8, "cutoff": 4.0}),
    "goectp_single": (1, {"method": "goectp", "properties": ["eps_inf"], "backbone": "ecomformer", "frame": "single",
                          "cell": "niggli", "directions": "none", "width": 6, "layers": 1, "hidden": 8, "num_radial": 8,
                          "cutoff": 4.0}),
    "sen": (1, {"method": "sen", "properties": ["band_gap", "formation_energy"], "direction_width": 3,
                **SEN}),
    "sen_plain": (1, {"method": "sen", "properties": ["formation_energy"], "directions": "none", "aggregate": "mean",
                      "envelope": "none", **SEN, "loops": 1}),
}
"""Members and hyper-parameters of the small model files."""
SURE = {"metal.bias": -5.0, "readouts.band_gap.bias": 3.0}
TINY = {"batch_size": 3, "epochs": 5, "precision": "64", "seed": 3}
RECIPES: dict[str, dict[str, Any]] = {
    "equivar": {**TINY, "batch_size": 2, "data": [{"path": "crystals.extxyz"}], "targets": {
        "born_charges": {}, "eps_inf": {"loss": "relative", "weight": 0.3}},
        "model": {"channels": 6, "interactions": 1, "cutoff": 4.0, "num_radial": 8, "hidden": 8, "embedding": 6},
        "optimizer": {"lr": 0.01, "warmup_steps": 2, "ema": 0.9}},
    "goectp": {**TINY, "batch_size": 2, "data": [{"path": "crystals.extxyz"}], "targets": {"eps_inf": {"loss": "log"}},
               "model": {"method": "goectp", "backbone": "ecomformer", "frame": "stochastic", "width": 8, "layers": 1,
                         "heads": 2, "hidden": 8, "num_radial": 8, "cutoff": 4.0},
               "optimizer": {"lr": 0.01, "warmup_steps": 2, "ema": 0.9}},
    "sen": {**TINY, "epochs": 10, "data": [{"path": "crystals.parquet", "functional": "PBE"}], "targets": {
        "band_gap": {"loss": "huber"}, "formation_energy": {"auxiliary": True}},
        "model": {"method": "sen", **SMALL}, "optimizer": {"lr": 0.003, "warmup_steps": 0, "ema": 0.9},
        "split": {"kind": "folds", "column": "gap_fold", "fold": 0, "val_fraction": 0.2}},
}
"""Twenty steps each, in double precision: an optimizer that divides by the size of a gradient can bring rounding to any
size, and so it stays far below what is allowed."""


def outcomes(inputs: Any, model: str | Path | None = None, settings: voigt.Settings | None = None) -> list[Any]:
    """Predictions and failures, in order."""
    return list(predict_frames(read(inputs), model, settings or voigt.Settings()))


def command(*words: str) -> Result:
    """The command line in this process; a store notes the words of the call."""
    sys.argv = ["voigt", *words]
    return CliRunner().invoke(app, list(words))


def make_inputs() -> None:
    """Springs between the atoms of wurtzite with charges of its own, and labelled crystals that were made up.

    odd.xyz was written by hand: sound crystals, likely metals, elements that a model does not know, broken frames.
    """
    shutil.rmtree(GOLDEN / "project", ignore_errors=True)
    write_project(GOLDEN / "project", spring_phonon(crystals.wurtzite(), (2, 2, 1), 3.4), "params")
    (GOLDEN / "project" / "BORN").write_text(
        "14.399652\n5 0 0 0 5 0 0 0 5.2\n2.1 0 0 0 2.1 0 0 0 2.2\n-2.1 0 0 0 -2.1 0 0 0 -2.2\n"
    )
    folder = GOLDEN / "training"
    folder.mkdir(exist_ok=True)
    synthetic.write_data(folder, name="crystals.extxyz")
    sen_table(folder).rename(folder / "crystals.parquet")
    for name, recipe in RECIPES.items():
        text = yaml.safe_dump({"name": name, **recipe}, sort_keys=False)
        (folder / f"{name}.yaml").write_text(f"# Twenty steps on crystals that were made up.\n{text}")


def make_models() -> None:
    """Files of small networks with random weights, strong enough that every part of a network speaks."""
    folder = GOLDEN / "models"
    folder.mkdir(exist_ok=True)
    for name, (members, content) in NETWORKS.items():
        networks = []
        for seed in range(members):
            torch.manual_seed(seed)
            networks.append(build_network(parse_hypers(content)))
            with torch.no_grad():
                for key, parameter in networks[-1].named_parameters():
                    parameter.add_((0.2 if name.startswith("sen") else 0.3) * torch.randn_like(parameter))
                    if key in SURE:  # an insulator: of a metal nothing is seen but a zero
                        parameter.fill_(SURE[key])
        card = ModelCard(elements=ELEMENTS, functionals=("PBEsol", "PBE"), metrics={"val/loss": 0.5})
        save_model(networks, folder / f"{name}.safetensors", card)
    paths = [str(cases.EXAMPLES / file) for file in cases.FOR_MODELS]
    records = {name: cases.record(outcomes(paths, folder / f"{name}.safetensors")) for name in NETWORKS}
    cases.save_records(GOLDEN / "models", records)


def make_predictions() -> None:
    """All shipped models for the examples and for two hundred crystals of the shared data."""
    paths = [str(cases.EXAMPLES / name) for name in cases.STRUCTURES]
    records = {
        name: cases.record(outcomes(paths, model, voigt.Settings(**settings)))
        for name, (model, settings) in cases.VARIANTS.items()
    }
    cases.save_records(GOLDEN / "examples", records)
    chosen = [entry for file, count in CHOICE for entry in choose(file, count)]
    (GOLDEN / "crystals.json").write_text("[\n" + ",\n".join(map(json.dumps, chosen)) + "\n]\n")
    atoms = cases.data_crystals(SHARED, chosen)
    records = {}
    for model in cases.MODELS:
        strict = cases.record(outcomes(atoms, model))
        records[model] = strict
        refused = [atoms[int(k)] for k in strict[0]["failed"]]
        if refused:
            unseen = outcomes(refused, model, voigt.Settings(allow_unseen=True))
            records[f"{model} for unseen elements"] = cases.record(unseen)
    cases.save_records(GOLDEN / "data", records)


def choose(file: str, count: int) -> list[tuple[str, int, str]]:
    """Crystals of the test split, evenly spaced: file, place, id."""
    if file.endswith(".parquet"):
        import pyarrow.parquet as pq

        columns = pq.read_table(SHARED / file, columns=["mp_id", "split", "numbers"]).to_pydict()
        rows = zip(columns["mp_id"], columns["split"], map(len, columns["numbers"]), strict=True)
    else:
        frames = ase.io.iread(SHARED / file, index=":")
        rows = ((str(atoms.info["id"]), atoms.info["split"], len(atoms)) for atoms in frames)
    fit = [(file, k, name) for k, (name, split, size) in enumerate(rows) if split == "test" and size <= LARGEST]
    return [fit[k] for k in np.linspace(0, len(fit) - 1, count).astype(int).tolist()]


def in_workplace(action: Any) -> None:
    """Do something in a temporary folder with copies of what commands need."""
    here = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(cases.workplace(Path(folder)))
        try:
            action()
        finally:
            os.chdir(here)


def make_store() -> None:
    """Two screenings, without the lock that a process holds."""

    for name in cases.STORES:
        (GOLDEN / name).mkdir(exist_ok=True)

    def screen() -> None:
        for name, words in cases.STORES.items():
            shutil.rmtree(name)
            result = command(*words, "-o", name)
            log.info("%s: exit code %d, %s", name, result.exit_code, result.stderr)
            shutil.rmtree(GOLDEN / name)
            Path(name, "lock").unlink()
            shutil.copytree(name, GOLDEN / name)

    in_workplace(screen)


def make_commands() -> None:
    """What commands print and write."""
    shutil.rmtree(GOLDEN / "commands", ignore_errors=True)

    for name, words in cases.COMMANDS.items():
        in_workplace(partial(run_command, words, cases.WRITTEN.get(name, ()), GOLDEN / "commands" / name))


def run_command(words: Sequence[str], written: Sequence[str], folder: Path) -> None:
    """Keep the output of one call and the files that it wrote."""
    result = command(*words)
    folder.mkdir(parents=True)
    (folder / "stdout").write_text(result.stdout, encoding="utf-8")
    (folder / "stderr").write_text(f"{result.stderr}exit code {result.exit_code}\n", encoding="utf-8")
    for file in written:
        copy = Path(shutil.copy(file, folder))
        if copy.suffix == ".json":
            content = thinned(json.loads(copy.read_text()))
            copy.write_text(json.dumps(content, ensure_ascii=False) + "\n")


def make_training() -> None:
    """Figures and weights after twenty steps of each method."""

    def train() -> None:
        found = {}
        for name in RECIPES:
            result = command("train", f"training/{name}.yaml", "-o", f"run-{name}")
            log.info("%s: exit code %d, %s", name, result.exit_code, result.stderr)
            model = Path(f"run-{name}/{name}.safetensors")
            card = dict(voigt.load_model(model).card.metrics)
            found[name] = {**cases.training_summary(model.parent, load_file(model)), "card": card}
        (GOLDEN / "training.json").write_text(on_lines(found))

    in_workplace(train)


def on_lines(content: Any) -> str:
    """JSON in which the innermost lists stand on one line."""
    text = json.dumps(content, indent=1)
    return re.sub(r"\[[^\[\]{}]*\]", lambda match: " ".join(match.group().split()), text) + "\n"


def make_api() -> None:
    """Names, order and defaults of what a notebook may use, and what loaded models say of themselves."""
    found: dict[str, Any] = {"__all__": sorted(voigt.__all__)}
    for name in ("predict", "load_model"):
        parameters = inspect.signature(getattr(voigt, name)).parameters.values()
        found[name] = [[p.name, p.kind.name, None if p.default is p.empty else repr(p.default)] for p in parameters]
    for kind in (voigt.Settings, voigt.Prediction, Failure):
        defaults = [[entry.name, None if entry.default is MISSING else repr(entry.default)] for entry in fields(kind)]
        found[kind.__name__] = defaults
    found["models"] = {name: cases.described(voigt.load_model(name)) for name in cases.MODELS}
    (GOLDEN / "api.json").write_text(on_lines(found))


def show_noise() -> None:
    """By how many times what is allowed other batches, or other instructions of the processor, change predictions.

    Run it again with ATEN_CPU_CAPABILITY=default and with ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2
    MKL_ENABLE_INSTRUCTIONS=AVX2. Nothing is written.
    """
    atoms = cases.data_crystals(SHARED, json.loads((GOLDEN / "crystals.json").read_text()))
    old = cases.load_records(GOLDEN / "data")
    for model in cases.MODELS:
        for edges in (20_000, 3_000, 1):
            _, arrays = cases.record(outcomes(atoms, model, voigt.Settings(max_edges=edges)))
            worst = max(cases.excesses(arrays, old[model][1]).items(), key=lambda item: item[1])
            log.info("%s, %d edges in a batch: %s by %.2f of what is allowed", model, edges, *worst)


PARTS = {
    "inputs": make_inputs,
    "models": make_models,
    "predictions": make_predictions,
    "store": make_store,
    "commands": make_commands,
    "training": make_training,
    "api": make_api,
    "noise": show_noise,
}


def main(parts: Sequence[str]) -> None:
    """Make what is named, by default all but the measurement of noise."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", DeprecationWarning)
    for name in parts or [name for name in PARTS if name != "noise"]:
        log.info("== %s", name)
        PARTS[name]()


if __name__ == "__main__":
    main(list(sys.argv[1:]))
