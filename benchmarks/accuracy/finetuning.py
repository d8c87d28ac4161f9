"""What `voigt finetune` and `voigt data select` bring on molecular dynamics of one material.

    VOIGT_DATA=... python -m benchmarks.accuracy.finetuning -o runs/finetuning --sets zro2_md:20,sio2_md:5
    VOIGT_DATA=... python -m benchmarks.accuracy.finetuning -o runs/finetuning --select zro2_md:3

Numbers after a colon are minutes of processor time for each training. Trained on the training frames, weights chosen on
the validation frames, scored once on the test frames. Finished runs are read back, interrupted ones go on.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from voigt.evaluation.finishing import finish_model
from voigt.files import atomic_write
from voigt.finetuning.comparison import Comparison, compare, comparison_table, scored_crystals
from voigt.finetuning.run import Options, finetune
from voigt.finetuning.selection import read_sound, select_frames, write_choice
from voigt.models.checkpoint import load_model
from voigt.safe_json import load_json
from voigt.training.datamodule import read_data
from voigt.training.device import Budget, train_on_device
from voigt.training.ensemble import join_models
from voigt.training.recipe import Recipe, parse_recipe, recipe_yaml

MODEL = "born"
SCRATCH = {"channels": 32, "interactions": 3, "self_product": True}
"""Network of trainings from nothing, as in the report on one material."""


def plan_of(folder: Path) -> tuple[Recipe, int, float]:
    """Recipe, members and seconds of each of a fine-tuning."""
    state = load_json((folder / "finetune.json").read_text(encoding="utf-8"))
    recipe = parse_recipe(recipe_yaml((folder / "recipe.yaml").read_text(encoding="utf-8"), "recipe"), "recipe")
    return recipe, int(state["members"]), float(state["seconds"])


def from_scratch(folder: Path, place: Path) -> tuple[Comparison, ...]:
    """The fine-tuned model of `folder` (as "before") against networks that had the same data and time and no model."""
    recipe, members, seconds = plan_of(folder)
    content = recipe.model_dump(mode="json", exclude={"model", "finetune", "start_functionals", "frozen"})
    functionals = list(recipe.model.functionals)
    content |= {"model": {**SCRATCH, "functionals": functionals}, "name": f"{recipe.name}-scratch"}
    content["optimizer"] |= {"lr": 0.003}
    data = read_data(recipe)
    files = []
    for k in range(members):
        own = parse_recipe({**content, "seed": recipe.seed + k}, "from scratch")
        member = place / f"member-{k}"
        file = member / f"{own.name}.safetensors"
        if not file.is_file():
            train_on_device(own, member, Budget("cpu", seconds, True), (member / "device.ckpt").is_file(), data)
        files.append(file)
    path = join_models(files, place / f"{content['name']}.safetensors")
    finish_model(path, data)
    names, test = tuple(recipe.targets), list(data.select("test"))
    models = (folder / f"{recipe.name}.safetensors", path)
    sides = [scored_crystals(load_model(file), test, names) for file in models]
    return compare(sides[0], sides[1], list(data.select("train")), names)


def cached(file: Path, compute: Any) -> Any:
    """A result as JSON, computed once."""
    if not file.is_file():
        value = compute()
        with atomic_write(file) as stream:
            json.dump(value, stream)
    return load_json(file.read_text(encoding="utf-8"))


def material_row(name: str, minutes: float, output: Path, root: Path, scratch_too: bool) -> list[str]:
    """One row of the table: before, fine-tuned, from scratch, averages."""
    folder = output / f"{name}-{minutes:g}"

    def tuned() -> dict[str, Any]:
        done = finetune(MODEL, [root / "born" / f"{name}.extxyz"], folder, Options(minutes, processor_time=True))
        print(comparison_table(done.comparisons), done.verdict, sep="\n\n", file=sys.stderr)
        return {"entries": [asdict(entry) for entry in done.comparisons]}

    def scratch() -> dict[str, Any]:
        compared = from_scratch(folder, folder / "scratch")
        return {entry.name: asdict(entry.after) for entry in compared}

    entry = cached(folder / "tuned.json", tuned)["entries"][0]
    nothing = cached(folder / "scratch.json", scratch)[entry["name"]] if scratch_too else None
    recipe, members, _ = plan_of(folder)
    train = len(read_data(recipe).parts["train"])
    sides = (entry["before"], entry["after"], nothing, entry["trivial"])
    return [name, str(train), f"{minutes:g}", str(members), *map(_shown, sides)]


def _shown(estimate: dict[str, float] | None) -> str:
    if estimate is None:
        return "not run"
    return f"{estimate['value']:.4f} ({estimate['low']:.4f} to {estimate['high']:.4f})"


def selection_rows(name: str, minutes: float, output: Path, root: Path, seeds: Sequence[int]) -> list[list[str]]:
    """Fine-tuning on half of the training frames, chosen or drawn, and on all of them."""
    frames = read_sound([root / "born" / f"{name}.extxyz"])
    train = [k for k, entry in enumerate(frames) if entry.atoms.info["split"] == "train"]
    rest = [k for k, entry in enumerate(frames) if entry.atoms.info["split"] != "train"]
    half = len(train) // 2
    pool = [frames[k].atoms for k in train]

    def choose() -> list[int]:
        return [choice.index for choice in select_frames(load_model(MODEL), pool, half)]

    folder = output / f"{name}-selection-{minutes:g}"
    folder.mkdir(parents=True, exist_ok=True)
    chosen = cached(folder / "chosen.json", choose)
    choices = {"all": list(range(len(train)))} | {f"selected, seed {seed}": chosen for seed in seeds}
    for seed in seeds:
        drawn = np.random.default_rng(seed).permutation(len(train))[:half]
        choices[f"random, seed {seed}"] = sorted(drawn.tolist())
    rows = []
    for title, members in choices.items():
        own = folder / title.replace(", ", "-").replace(" ", "-")
        own.mkdir(exist_ok=True)
        seed = int(title[-1]) if title != "all" else seeds[0]
        path = own / f"{name}.extxyz"
        if not path.is_file():
            write_choice([frames[k].atoms for k in sorted([*rest, *(train[i] for i in members)])], path)

        def run(path: Path = path, own: Path = own, seed: int = seed) -> dict[str, Any]:
            wanted = Options(minutes, seed, members=1, processor_time=True)
            done = finetune(MODEL, [path], own / "run", wanted)
            return asdict(done.comparisons[0].after)

        rows.append([title, str(len(members)), _shown(cached(own / "error.json", run))])
        print("|", " | ".join(rows[-1]), "|", file=sys.stderr, flush=True)
    return rows


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("VOIGT_DATA", ".")))
    parser.add_argument("--sets", help="SET:MINUTES, with commas between them")
    parser.add_argument("--select", help="SET:MINUTES")
    parser.add_argument("--seeds", default="0,1")
    parser.add_argument("--without-scratch", action="store_true", help="leave trainings from nothing out")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(message)s")
    options.output.mkdir(parents=True, exist_ok=True)
    if options.sets:
        print("| set | training frames | minutes | networks | before | fine-tuned | from scratch | averages |")
        print("|---|--:|--:|--:|--:|--:|--:|--:|")
        for entry in options.sets.split(","):
            name, _, minutes = entry.partition(":")
            row = material_row(name, float(minutes), options.output, options.data, not options.without_scratch)
            print("|", " | ".join(row), "|", flush=True)
    if options.select:
        name, _, minutes = options.select.partition(":")
        seeds = [int(seed) for seed in options.seeds.split(",")]
        rows = selection_rows(name, float(minutes), options.output, options.data, seeds)
        print("| training frames | number | MAE (e) |\n|---|--:|--:|")
        for row in rows:
            print("|", " | ".join(row), "|")


if __name__ == "__main__":
    main()
