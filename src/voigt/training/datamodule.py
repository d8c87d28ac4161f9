"""Labeled crystals as batches: graphs are built once and kept in memory, or in a store on disk."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import lightning
import numpy as np
from torch.utils.data import DataLoader, Sampler

from voigt.data.labeled import Crystals, JoinedCrystals, LabeledCrystal, as_crystals, file_digest
from voigt.data.reading import read_labeled
from voigt.data.splits import Parts, SplitSettings, check_filled, hash_place, hide_labels, split_crystals
from voigt.errors import InputError, RecipeError, TargetError
from voigt.graphs import CrystalBatch, CrystalGraph, collate, pack
from voigt.graphs.building import GraphOptions, structure_graph
from voigt.tensors.properties import PROPERTIES
from voigt.training.graph_store import (
    GraphStore,
    StoredGraphs,
    edge_counts,
    label_tensor,
    open_or_build,
    store_key,
)
from voigt.training.recipe import Recipe


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

    crystals: Sequence[LabeledCrystal]
    parts: Parts
    digests: dict[str, str]

    def select(self, part: str) -> Crystals:
        """Crystals of one part."""
        return as_crystals(self.crystals).take(self.parts[part])

    def elements(self, part: str) -> tuple[int, ...]:
        """Atomic numbers that occur in a part, ascending."""
        return self.select(part).elements()

    def functionals(self, part: str) -> tuple[str, ...]:
        """Functionals that crystals of a part state, the most frequent first."""
        count = Counter(name for name in self.select(part).functionals() if name)
        return tuple(sorted(count, key=lambda name: (-count[name], name)))


def read_data(recipe: Recipe) -> TrainingData:
    """Read all files of a recipe and split them.

    Raises
    ------
    RecipeError
        A data file does not exist (all missing files are named), or functionals are mixed without telling them apart.
    InputError, TargetError
        As `read_labeled` and the splits.
    """
    paths = [Path(recipe.data_root) / source.path for source in recipe.data]
    missing = [str(path) for path in paths if not path.is_file()]
    if missing:
        raise RecipeError(f"data not found: {', '.join(missing)}; set data_root in the recipe or VOIGT_DATA")
    files: list[Crystals] = []
    total = 0
    parts: Parts = {"train": [], "val": [], "test": []}
    for source, path in zip(recipe.data, paths, strict=True):
        names = list(recipe.targets) if source.targets is None else list(source.targets)
        crystals = as_crystals(read_labeled(path, names, source.where, source.functional, source.max_atoms))
        split = split_crystals(crystals, recipe.split)
        if source.having is not None:
            split = _labeled_only(split, crystals, source.having)
        split = {"train": split["train"], "val": [], "test": []} if source.targets == () else check_filled(split)
        crystals = hide_labels(crystals, split, recipe.split)
        if source.limit is not None:
            for part, count in (("train", source.limit), ("val", max(source.limit // 10, 1))):
                chosen = np.random.default_rng(recipe.split.seed).permutation(split[part])[:count]
                split[part] = sorted(chosen.tolist())
        for name, members in split.items():
            parts[name] += [total + i for i in members]
        files.append(crystals)
        total += len(crystals)
    crystals = files[0] if len(files) == 1 else JoinedCrystals(files)
    largest = recipe.split.max_train_atoms
    if largest is not None:
        sizes = crystals.take(parts["train"]).sizes()
        parts["train"] = [i for i, size in zip(parts["train"], sizes, strict=True) if size <= largest]
    if recipe.split.max_train is not None:
        parts["train"] = _first(crystals, parts["train"], recipe.split, recipe.split.max_train)
    _check_functionals(recipe, crystals.take(parts["train"] + parts["val"]))
    return TrainingData(crystals, parts, {str(s.path): file_digest(p) for s, p in zip(recipe.data, paths, strict=True)})


def _labeled_only(parts: Parts, crystals: Crystals, name: str) -> Parts:
    """Parts without the crystals that have no label of a property."""
    present = [label is not None and bool(np.isfinite(label).all()) for label in crystals.labels(name)]
    return {part: [i for i in members if present[i]] for part, members in parts.items()}


def _first(crystals: Crystals, members: list[int], settings: SplitSettings, count: int) -> list[int]:
    """So many training crystals; of folds, whose order may mean something, in the order of a hash."""
    if settings.kind != "folds":
        return members[:count]
    places = [hash_place(name, settings.seed) for name in crystals.take(members).ids()]
    return sorted(members[i] for i in np.argsort(places, kind="stable")[:count])


def _check_functionals(recipe: Recipe, crystals: Crystals) -> None:
    """Labels of different functionals differ systematically: they are told apart or refused, never mixed silently."""
    stated = {functional or "none stated" for functional in crystals.functionals()}
    known = set(recipe.model.functionals)
    if known and stated - known:
        raise RecipeError(
            f"the data have labels of functional {', '.join(sorted(stated - known))}, model.functionals is "
            f"{', '.join(recipe.model.functionals)}; add it there, or state the functional of a file under data"
        )
    if not known and len(stated) > 1:
        raise RecipeError(
            f"the data mix the functionals {', '.join(sorted(stated))}; state that of every file under data and list "
            "them in model.functionals, so that the network tells them apart, or train on one of them"
        )


def check_parts(data: TrainingData, recipe: Recipe) -> None:
    """Check that there is something to learn from and to be judged by.

    Raises
    ------
    TargetError
        No training or no validation crystal has a label of some target.
    """
    chosen = {part: data.select(part) for part in ("train", "val")}
    without = [
        f"'{name}' in {part}"
        for name in recipe.targets
        for part, crystals in chosen.items()
        if not crystals.has_label(name)
    ]
    if without:
        raise TargetError(f"no crystal has a label {', '.join(without)}; give more data or another split")


def training_graph(crystal: LabeledCrystal, recipe: Recipe) -> CrystalGraph:
    """Graph of one labeled crystal, reduced by symmetry if the recipe says so."""
    options = graph_options(recipe)
    try:
        graph = structure_graph(crystal.atoms, options)
    except InputError as error:
        raise InputError(f"{crystal.source}, id {crystal.id}: {error}") from error
    targets = {
        name: label_tensor(PROPERTIES[name], crystal.targets.get(name), graph.num_atoms, options.dtype)
        for name in recipe.targets
    }
    return replace(graph, functional=crystal.functional if recipe.model.functionals else None, targets=targets)


def graph_options(recipe: Recipe) -> GraphOptions:
    """How the network of a recipe wants its graphs."""
    hypers = recipe.model
    return GraphOptions(
        cutoff=hypers.cutoff,
        neighbors=hypers.neighbors,
        symprec=recipe.symmetry,
        frame=hypers.axes_options,
        precision=recipe.precision,
        rotations=hypers.uses_rotations,
    )


def open_graph_store(recipe: Recipe, data: TrainingData, processes: int | None = None) -> GraphStore:
    """The store that a recipe names, built if need be: graphs of all crystals of its files, in order, without labels.

    Raises
    ------
    RecipeError
        The folder holds graphs of other files or options.
    InputError, OutputError
        As `build_store`.
    """
    content = [
        {"content": data.digests[str(file.path)], "where": file.where, "max_atoms": file.max_atoms}
        for file in recipe.data
    ]
    key = store_key(graph_options(recipe), content, len(data.crystals))
    return open_or_build(recipe.graph_store or "", data.crystals, key, processes)


def stored_graphs(store: GraphStore, recipe: Recipe, data: TrainingData, part: str) -> StoredGraphs:
    """Graphs of one part with the labels of the recipe."""
    crystals = data.select(part)
    return StoredGraphs(
        store,
        data.parts[part],
        {name: crystals.labels(name) for name in recipe.targets},
        crystals.functionals() if recipe.model.functionals else None,
        graph_options(recipe).dtype,
    )


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

    @property
    def sampler(self) -> ShuffledBatches:
        """Itself: Lightning tells the epoch to the `sampler` of a sampler of batches, not to that itself."""
        return self

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
        counts = edge_counts(graphs)
        order = np.argsort(counts, kind="stable")
        self.batches = [order[batch].tolist() for batch in pack(counts[order].tolist(), max_edges)]

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[list[int]]:
        return iter(self.batches)


class CrystalDataModule(lightning.LightningDataModule):
    """Training and validation batches of a recipe."""

    def __init__(self, recipe: Recipe, data: TrainingData) -> None:
        super().__init__()
        self.recipe = recipe
        self.train_graphs: Sequence[CrystalGraph]
        self.val_graphs: Sequence[CrystalGraph]
        if recipe.graph_store is None:
            self.train_graphs = [training_graph(crystal, recipe) for crystal in data.select("train")]
            self.val_graphs = [training_graph(crystal, recipe) for crystal in data.select("val")]
        else:
            store = open_graph_store(recipe, data)
            self.train_graphs = stored_graphs(store, recipe, data, "train")
            self.val_graphs = stored_graphs(store, recipe, data, "val")

    def train_dataloader(self) -> DataLoader[CrystalBatch]:
        recipe = self.recipe
        sampler = ShuffledBatches(len(self.train_graphs), recipe.batch_size, recipe.seed, recipe.steps_per_checkpoint)
        return _loader(self.train_graphs, sampler, recipe.workers)

    def val_dataloader(self) -> DataLoader[CrystalBatch]:
        return _loader(self.val_graphs, BudgetBatches(self.val_graphs), self.recipe.workers)


def _loader(
    graphs: Sequence[CrystalGraph], sampler: Sampler[list[int]], workers: int
) -> DataLoader[CrystalBatch]:
    return DataLoader(
        graphs,  # type: ignore[arg-type]
        batch_sampler=sampler,
        collate_fn=collate,
        num_workers=workers,
        persistent_workers=workers > 0,
    )
