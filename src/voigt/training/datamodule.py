"""Labelled crystals as batches: graphs are built once and kept in memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import lightning
import numpy as np
import torch
from torch.utils.data import DataLoader, Sampler

from voigt.data.labelled import LabelledCrystal, file_digest, read_labelled
from voigt.data.splits import Parts, block_split, formula_split, stored_split
from voigt.errors import InputError, RecipeError, TargetError
from voigt.structures.batch import CrystalBatch, CrystalGraph, build_graph, collate, pack
from voigt.structures.symmetry import Symmetry, find_symmetry
from voigt.tensors.properties import PROPERTIES
from voigt.training.recipe import Recipe, SplitSettings


@dataclass(frozen=True)
class TrainingData:
    """Crystals of a recipe with their split.

    Attributes
    ----------
    crystals
        All crystals of all files.
    parts
        "train", "val", "test" -> indices.
    digests
        File name -> digest.
    """

    crystals: Sequence[LabelledCrystal]
    parts: Parts
    digests: dict[str, str]

    def select(self, part: str) -> list[LabelledCrystal]:
        return [self.crystals[i] for i in self.parts[part]]


def read_data(recipe: Recipe) -> TrainingData:
    """Read all files of a recipe and split them.

    Raises
    ------
    RecipeError
        A data file does not exist (all missing files are named), or functionals are mixed without telling them apart.
    InputError, TargetError
        As `read_labelled` and the splits.
    """
    paths = [Path(recipe.data_root) / source.path for source in recipe.data]
    missing = [str(path) for path in paths if not path.is_file()]
    if missing:
        raise RecipeError(f"data not found: {', '.join(missing)}; set data_root in the recipe or VOIGT_DATA")
    crystals: list[LabelledCrystal] = []
    parts: Parts = {"train": [], "val": [], "test": []}
    for source, path in zip(recipe.data, paths, strict=True):
        names = list(recipe.targets) if source.targets is None else list(source.targets)
        own = read_labelled(path, names, source.where, source.functional, source.max_atoms)
        split = split_crystals(own, recipe.split)
        if source.limit is not None:
            for part, count in (("train", source.limit), ("val", max(source.limit // 10, 1))):
                chosen = np.random.default_rng(recipe.split.seed).permutation(split[part])[:count]
                split[part] = sorted(chosen.tolist())
        for name, members in split.items():
            parts[name] += [len(crystals) + i for i in members]
        crystals += own
    if recipe.split.max_train is not None:
        parts["train"] = parts["train"][: recipe.split.max_train]
    _check_functionals(recipe, [crystals[i] for i in parts["train"] + parts["val"]])
    return TrainingData(crystals, parts, {str(s.path): file_digest(p) for s, p in zip(recipe.data, paths, strict=True)})


def _check_functionals(recipe: Recipe, crystals: Sequence[LabelledCrystal]) -> None:
    """Labels of different functionals differ systematically: they are told apart or refused, never mixed silently."""
    found = {crystal.functional or "none stated" for crystal in crystals}
    known = set(recipe.model.functionals)
    if known and found - known:
        raise RecipeError(
            f"the data have labels of functional {', '.join(sorted(found - known))}, model.functionals is "
            f"{', '.join(recipe.model.functionals)}; add it there, or state the functional of a file under data"
        )
    if not known and len(found) > 1:
        raise RecipeError(
            f"the data mix the functionals {', '.join(sorted(found))}; state that of every file under data and list "
            "them in model.functionals, so that the network tells them apart, or train on one of them"
        )


def check_parts(data: TrainingData, recipe: Recipe) -> None:
    """See that there is something to learn from and to be judged by.

    Raises
    ------
    TargetError
        No training or no validation crystal has a label of some target.
    """
    bare = [
        f"'{name}' in {part}"
        for name in recipe.targets
        for part in ("train", "val")
        if not any(name in crystal.targets for crystal in data.select(part))
    ]
    if bare:
        raise TargetError(f"no crystal has a label {', '.join(bare)}; give more data or another split")


def split_crystals(crystals: Sequence[LabelledCrystal], settings: SplitSettings) -> Parts:
    """Apply the split of a recipe to the crystals of one file."""
    if settings.kind == "stored":
        return stored_split([crystal.split for crystal in crystals])
    if settings.kind == "formula":
        return formula_split([crystal.group for crystal in crystals], settings.fractions, settings.seed)
    return block_split(len(crystals), settings.fractions, settings.gap)


def training_graph(crystal: LabelledCrystal, recipe: Recipe) -> CrystalGraph:
    """Graph of one labelled crystal, reduced by symmetry if the recipe says so."""
    targets = {}
    for name in recipe.targets:
        prop = PROPERTIES[name]
        count = len(crystal.atoms) if prop.per == "atom" else 1
        label = crystal.targets.get(name, np.full((count, *prop.shape), np.nan))
        targets[name] = torch.as_tensor(np.asarray(label)).view(count, *prop.shape).to(_dtype(recipe))
    hypers = recipe.model
    return build_graph(
        crystal.atoms,
        hypers.cutoff,
        mic=hypers.neighbors == "mic",
        symmetry=_symmetry(crystal, recipe.symmetry),
        functional=crystal.functional if hypers.functionals else None,
        targets=targets,
        dtype=_dtype(recipe),
        frame=hypers.frame_options,
    )


def _symmetry(crystal: LabelledCrystal, symprec: float | None) -> Symmetry | None:
    try:
        return None if symprec is None else find_symmetry(crystal.atoms, symprec)
    except InputError as error:
        raise InputError(
            f"{crystal.source}, id {crystal.id}: no space group found with symmetry: {symprec}; give another value or "
            "null in the recipe"
        ) from error


def _dtype(recipe: Recipe) -> torch.dtype:
    return torch.float64 if recipe.precision == "64" else torch.float32


class ShuffledBatches(Sampler[list[int]]):
    """Batches whose order depends on seed and position only, so that a resumed run sees what the lost one would have.

    The crystals are shuffled anew in every pass; the last incomplete batch of a pass is dropped. One Lightning epoch is
    `steps` batches of this endless stream (one pass if None), starting where the previous one ended.
    """

    def __init__(self, count: int, batch_size: int, seed: int, steps: int | None) -> None:
        self.count, self.size, self.seed = count, min(batch_size, count), seed
        self.per_pass = count // self.size
        self.steps = self.per_pass if steps is None else steps
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning before each epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[list[int]]:
        first = self.epoch * self.steps
        for step in range(first, first + self.steps):
            turn, place = divmod(step, self.per_pass)
            order = np.random.default_rng([self.seed, turn]).permutation(self.count)
            yield order[place * self.size : (place + 1) * self.size].tolist()


class BudgetBatches(Sampler[list[int]]):
    """Fixed batches for validation, packed by an edge budget from the smallest crystal to the largest."""

    def __init__(self, graphs: Sequence[CrystalGraph], max_edges: int = 8000) -> None:
        order = sorted(range(len(graphs)), key=lambda i: graphs[i].num_edges)
        self.batches = [[order[i] for i in batch] for batch in pack([graphs[i] for i in order], max_edges)]

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[list[int]]:
        return iter(self.batches)


class CrystalDataModule(lightning.LightningDataModule):
    """Training and validation batches of a recipe."""

    def __init__(self, recipe: Recipe, data: TrainingData) -> None:
        super().__init__()
        self.recipe = recipe
        self.train_graphs = [training_graph(crystal, recipe) for crystal in data.select("train")]
        self.val_graphs = [training_graph(crystal, recipe) for crystal in data.select("val")]

    def train_dataloader(self) -> DataLoader[CrystalBatch]:
        recipe = self.recipe
        sampler = ShuffledBatches(len(self.train_graphs), recipe.batch_size, recipe.seed, recipe.steps_per_checkpoint)
        return _loader(self.train_graphs, sampler)

    def val_dataloader(self) -> DataLoader[CrystalBatch]:
        return _loader(self.val_graphs, BudgetBatches(self.val_graphs))


def _loader(graphs: list[CrystalGraph], sampler: Sampler[list[int]]) -> DataLoader[CrystalBatch]:
    return DataLoader(graphs, batch_sampler=sampler, collate_fn=collate)  # type: ignore[arg-type]
