"""Several networks of one recipe that differ in their seed, joined into one model file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from voigt.errors import RecipeError
from voigt.models.checkpoint import ModelCard, load_model, save_model
from voigt.training.datamodule import read_data
from voigt.training.recipe import Recipe
from voigt.training.run import train


def train_ensemble(recipe: Recipe, members: int, folder: str | Path, resume: bool = False) -> Path:
    """Train `members` networks with seeds recipe.seed, recipe.seed + 1, ... and join them.

    With `finetune` each starts from another member of that ensemble, from recipe.member on, as far as there are.
    Finished members are not trained again when resuming.

    Returns
    -------
    Path of `<folder>/<name>.safetensors`.
    """
    folder = Path(folder)
    data = read_data(recipe)
    files = []
    for k in range(members):
        place = folder / f"member-{k}"
        file = place / f"{recipe.name}.safetensors"
        if not (resume and file.is_file()):
            started = (place / "checkpoints" / "last.ckpt").is_file()
            train(member_recipe(recipe, k), place, resume=resume and started, data=data)
        files.append(file)
    return join_models(files, folder / f"{recipe.name}.safetensors")


def member_recipe(recipe: Recipe, k: int) -> Recipe:
    """The recipe of member k: its seed, and the member of the ensemble that it starts from."""
    sources = 1 if recipe.finetune is None else len(load_model(recipe.finetune).members)
    return recipe.model_copy(update={"seed": recipe.seed + k, "member": (recipe.member + k) % sources})


def join_models(files: Sequence[str | Path], path: str | Path) -> Path:
    """Write the members of several model files into one ensemble.

    Raises
    ------
    RecipeError
        The models differ in properties, functionals, or in what their graphs must hold.
    WeightsError
        A file is not a model.
    """
    loaded = [load_model(file) for file in files]
    first = loaded[0]
    for other in loaded[1:]:
        for key in ("properties", "functionals", "cutoff", "neighbors", "axes_options"):
            if getattr(other.hypers, key) != getattr(first.hypers, key):
                raise RecipeError(f"{files[0]} and {other.name} differ in {key}; an ensemble needs the same")
    keys = set(first.card.metrics).intersection(*(entry.card.metrics for entry in loaded))
    card = ModelCard(
        elements=tuple(sorted(set.intersection(*(set(entry.card.elements) for entry in loaded)))),
        functionals=first.card.functionals,
        data=first.card.data,
        metrics={key: sum(entry.card.metrics[key] for entry in loaded) / len(loaded) for key in sorted(keys)},
        recipe=first.card.recipe,
        element_counts=_least_counts([entry.card.element_counts for entry in loaded]),
    )
    members = [member for entry in loaded for member in entry.members]
    save_model(members, path, card, first.card.recipe.get("stored_precision") == "16")
    return Path(path)


def _least_counts(counts: Sequence[Mapping[int, int]]) -> dict[int, int]:
    """Training crystals of each element that every member has seen at least; empty if a file does not say."""
    return {z: min(entry[z] for entry in counts) for z in sorted(set.intersection(*map(set, counts)))}
