"""Training recipes: everything that decides a training run, in one YAML file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from voigt.data.splits import Count, SplitSettings
from voigt.errors import RecipeError
from voigt.models.methods import DEFAULT_METHOD, Hypers, parse_hypers
from voigt.reasons import plain_reason
from voigt.safe_yaml import load_yaml
from voigt.tensors.properties import PROPERTIES
from voigt.text import one_line

MOST_CHARACTERS = 1_000_000
MOST_VALUES = 100_000
"""Of a recipe; those that ship have less than 2,000 characters."""
_SHOWN = 10  # problems of a recipe that are listed


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class DataSource(_Section):
    """One labeled file (extended XYZ, or Parquet with columns numbers, cell, frac)."""

    path: str = Field(description="File, relative to the data folder.")
    where: str | None = Field(None, description="Keep crystals whose info key of this name is true: closed_shell.")
    functional: str | None = Field(None, description="Functional of crystals that state none.")
    targets: tuple[str, ...] | None = Field(
        None,
        description="Which of the recipe's targets this file has; by default all of them. None of them ([]): crystals "
        "of its training part for the `teacher` to label.",
    )
    having: str | None = Field(None, description="Keep crystals that have a label of this one of the targets.")
    max_atoms: Count | None = Field(None, ge=1, description="Leave out crystals with more atoms.")
    limit: Count | None = Field(
        None,
        ge=1,
        description="Take at random so many training crystals of this file, and a tenth as many for validation.",
    )


class TargetSettings(_Section):
    """Loss of one property."""

    loss: Literal["l1", "l2", "huber", "relative", "log"] = Field(
        "l1",
        description="Mean absolute (the paper's), squared, or Huber difference of components; 'relative': Frobenius "
        "norm of the difference over that of the label, the quantity that EwT counts; 'log': difference of the "
        "logarithms of the norms plus that of the normalized tensors, for labels of very different size.",
    )
    weight: float = Field(1.0, gt=0, description="Weight in the total loss.")
    scale: float = Field(1.0, gt=0, description="Differences are divided by this (unit of the property).")
    sign_cost: float | None = Field(
        None,
        ge=0,
        description="For labels whose sign is not certain (piezoelectric tensors in axes fixed by convention): each "
        "crystal may count as its reversed label at this extra loss. Only with 'relative' and 'log'.",
    )
    auxiliary: bool = Field(
        False, description="Learn it because it teaches the network something, but leave it out of the model file."
    )
    delta: float = Field(1.0, gt=0, description="Where Huber turns from square to linear, in units of scale.")
    zeros: bool = Field(
        True,
        description="Whether labels of zero count; false for sources that write zeros where nothing was computed.",
    )
    floor: float | None = Field(
        None,
        gt=0,
        description="With 'relative': labels of a smaller norm, zeros among them, count as if they had this one (unit "
        "of the property).",
    )

    @model_validator(mode="after")
    def _keys_fit_the_loss(self) -> TargetSettings:
        if self.sign_cost is not None and self.loss not in ("relative", "log"):
            raise ValueError("sign_cost needs loss 'relative' or 'log'")
        if self.floor is not None and self.loss != "relative":
            raise ValueError("floor needs loss 'relative'")
        return self


class OptimizerSettings(_Section):
    """AdamW and its schedule."""

    lr: float = Field(0.005, gt=0, description="Peak learning rate.")
    weight_decay: float = Field(0.01, ge=0, description="Decoupled weight decay of matrices (not of biases).")
    schedule: Literal["constant", "cosine"] = Field("cosine", description="After the warm-up.")
    warmup_steps: Count = Field(200, ge=0, description="Steps of linear rise from zero.")
    final: float = Field(0.01, ge=0, le=1, description="Last learning rate as a share of the peak (cosine).")
    clip: float = Field(1.0, gt=0, description="Largest gradient norm.")
    ema: float = Field(0.999, ge=0, lt=1, description="Decay of the running average of weights; 0 turns it off.")


class Recipe(_Section):
    """A training run. Every key has a default but `name`, `data` and `targets`."""

    name: str = Field(
        description="Name of the run and of its model file.", pattern=r"^[A-Za-z0-9_-][A-Za-z0-9._-]*$", max_length=100
    )
    model: Hypers = Field(
        default_factory=lambda: parse_hypers({"method": DEFAULT_METHOD}),
        description="Network; `method` names its kind.",
    )
    data: tuple[DataSource, ...] = Field(min_length=1, description="Labeled files.")
    data_root: str = Field(".", description="Folder of the data, relative to the recipe; VOIGT_DATA overrides it.")
    targets: dict[str, TargetSettings] = Field(min_length=1, description="Property name -> its loss.")
    split: SplitSettings = Field(default_factory=SplitSettings, description="Training, validation, test crystals.")
    optimizer: OptimizerSettings = Field(default_factory=OptimizerSettings, description="AdamW and its schedule.")
    batch_size: Count = Field(16, ge=1, description="Crystals per step.")
    epochs: Count = Field(100, ge=1, description="Passes over the training crystals.")
    steps_per_checkpoint: Count | None = Field(
        None, ge=1, description="Validate and save after so many steps instead of after every pass."
    )
    patience: Count | None = Field(None, ge=1, description="Stop after so many validations without improvement.")
    symmetry: float | None = Field(
        1e-3,
        gt=0,
        description="symprec (Angstrom) of the symmetry that reduces the graphs; null: all atoms get messages.",
    )
    finetune: str | None = Field(None, description="Model file or shipped model to start from.")
    teacher: str | None = Field(
        None,
        description="Model file or shipped model, an ensemble of as many members as `model.members`: the heads learn "
        "what its members say of crystals without any label (data with `targets: []`).",
    )
    member: Count = Field(0, ge=0, description="Which member of an ensemble to fine-tune.")
    frozen: Count = Field(
        0,
        ge=0,
        description="With `finetune`: so many blocks of message passing, counted from the elements, keep their "
        "weights, as do elements and functionals; a step then takes less time.",
    )
    start_functionals: dict[str, str] = Field(
        {},
        description="With `finetune`: new functional -> the one of the trained model that it starts as; by default the "
        "model's first.",
    )
    seed: Count = Field(0, ge=0, description="Seed of initial weights and of the order of crystals.")
    precision: Literal["32", "64"] = Field("32", description="Floating-point precision.")
    stored_precision: Literal["32", "16"] = Field(
        "32", description="Bits of a number in the model file: 16 halve it and change predictions by about 0.1 %."
    )
    compile: bool = Field(False, description="Use torch.compile for the tensor products (needs a C++ compiler).")
    threads: int = Field(1, ge=1, le=4096, description="CPU threads.")
    workers: int = Field(
        0, ge=0, le=1024, description="Processes that put batches together; 0: the training process itself."
    )
    graph_store: str | None = Field(
        None,
        description="Folder for the graphs of all crystals, built at the first training and shared by those with other "
        "targets, splits and networks, relative to the working directory; null: graphs stay in memory.",
    )

    @field_validator("targets")
    @classmethod
    def _known(cls, targets: dict[str, TargetSettings]) -> dict[str, TargetSettings]:
        unknown = [repr(name) for name in targets if name not in PROPERTIES]
        if unknown:
            shown = _short(", ".join(unknown))
            raise ValueError(f"unknown property {shown}; choose from {', '.join(PROPERTIES)}")
        return targets

    @field_validator("precision", "stored_precision", mode="before")
    @classmethod
    def _digits(cls, precision: object) -> object:
        """YAML reads `precision: 64` as a number."""
        return str(precision) if isinstance(precision, int) else precision


def load_recipe(path: str | Path) -> Recipe:
    """Read and check a recipe; relative data folders become absolute.

    Raises
    ------
    RecipeError
        The file is missing, not YAML, or holds unknown keys or wrong values (all of them are listed).
    """
    path = Path(path)
    try:
        with path.open(encoding="utf-8") as stream:
            text = stream.read(MOST_CHARACTERS + 1)
    except FileNotFoundError as error:
        raise RecipeError(f"no recipe {path}; give the path of a YAML file") from error
    except (OSError, ValueError) as error:  # ValueError: undecodable, or a path with a null character
        raise RecipeError(f"{path} is not readable YAML: {plain_reason(error)}") from error
    if len(text) > MOST_CHARACTERS:
        raise RecipeError(f"{path} has more than {MOST_CHARACTERS:,} characters: it is no recipe")
    content = recipe_yaml(text, str(path))
    if not isinstance(content, dict):
        raise RecipeError(f"{path} must hold keys and values, see docs/recipe.md")
    recipe = parse_recipe(content, str(path))
    root = os.environ.get("VOIGT_DATA") or str((path.parent / recipe.data_root).resolve())
    return recipe.model_copy(update={"data_root": root})


def recipe_yaml(text: str, source: str) -> Any:
    """YAML of a recipe as plain values; RecipeError that names `source` if it is none, or too much of it."""
    return load_yaml(text, source, RecipeError, most_values=MOST_VALUES)


def parse_recipe(content: dict[str, Any], source: str) -> Recipe:
    """Validate the content of a recipe.

    Raises
    ------
    RecipeError
        Unknown keys or wrong values; each is named with what was expected.
    """
    content = dict(content)
    model, targets = content.get("model", {}), content.get("targets")
    if isinstance(model, dict) and isinstance(targets, dict) and targets:
        content["model"] = {"method": DEFAULT_METHOD, "properties": [str(name) for name in targets], **model}
    try:
        recipe = Recipe.model_validate(content)
    except ValidationError as error:
        problems = error.errors(include_url=False)
        lines = [f"{_place(e)}: {_explain(e)}" for e in problems[:_SHOWN]]
        more = f"; and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
        raise RecipeError(f"{source}: {'; '.join(lines)}{more}") from error
    if set(recipe.targets) != set(recipe.model.properties):
        raise RecipeError(
            f"{source}: targets ({', '.join(recipe.targets)}) and model.properties "
            f"({', '.join(recipe.model.properties)}) must name the same properties"
        )
    if (recipe.teacher is None) != (recipe.model.ensemble_size == 1):
        raise RecipeError(f"{source}: a teacher and model.members above 1 need each other")
    if recipe.teacher is None and any(file.targets == () for file in recipe.data):
        raise RecipeError(f"{source}: a file without targets needs a teacher")
    strange = [file.having for file in recipe.data if file.having not in (None, *(file.targets or recipe.targets))]
    if strange:
        raise RecipeError(f"{source}: having: {', '.join(map(str, strange))} is none of the targets of its file")
    if recipe.finetune is None and (recipe.frozen or recipe.start_functionals):
        raise RecipeError(f"{source}: frozen and start_functionals need finetune, the model to start from")
    if all(target.auxiliary for target in recipe.targets.values()):
        raise RecipeError(f"{source}: all targets are auxiliary; one at least must be what the model is for")
    return recipe


def _place(error: Any) -> str:
    """Keys that lead to the fault, as they stand in the recipe: pydantic puts the method after `model`."""
    keys = [str(key) for key in error["loc"]]
    if error["type"] == "union_tag_invalid":
        keys.append("method")
    elif keys[:1] == ["model"]:
        del keys[1:2]
    return _short(".".join(keys)) or "recipe"


def _short(text: str) -> str:
    """What a recipe holds, for a sentence: one line of printable characters, not endless."""
    plain = one_line(text[:81])
    return f"{plain[:80]}..." if len(plain) > 80 else plain


def _explain(error: Any) -> str:
    if error["type"] == "extra_forbidden":
        method = f" of method {error['loc'][1]}" if error["loc"][0] == "model" else ""
        return f"unknown key{method}, check its spelling against docs/recipe.md"
    if error["type"] == "union_tag_invalid":
        return f"unknown method '{_short(error['ctx']['tag'])}'; choose from {error['ctx']['expected_tags']}"
    if error["type"] == "missing":
        return "required key is missing"
    message = str(error["msg"]).removeprefix("Value error, ")
    given = "" if error["type"] == "value_error" else f" (got {_short(repr(error['input']))})"
    return message[0].lower() + message[1:] + given
