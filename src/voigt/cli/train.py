"""`voigt train`: from a recipe to a model file."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from voigt.cli import options
from voigt.cli.delivery import print_columns
from voigt.cli.faults import one_sentence, tell
from voigt.errors import RecipeError

if TYPE_CHECKING:
    from voigt.training.recipe import Recipe

INTERRUPTED = 130
RECIPES = Path(__file__).resolve().parent.parent / "training" / "recipes"


def train(
    recipe: Annotated[str, typer.Argument(metavar="RECIPE", help="YAML file, or the name of a recipe that ships.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="DIR", help="Folder of the run; by default runs/<name>.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue an interrupted run.")] = False,
    folds: Annotated[
        int | None, typer.Option(min=2, metavar="K", help="Cross-validate: K networks, each scored on its logger fold.")
    ] = None,
    members: Annotated[
        int | None, typer.Option(min=2, metavar="M", help="Train an ensemble of M networks, one seed each.")
    ] = None,
    seed: Annotated[int | None, typer.Option(metavar="N", help="Instead of the recipe's seed.")] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change a key of the recipe, e.g. optimizer.lr=0.002."),
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Keep all graphs on this device (cpu, cuda) and never wait for it; members are trained side by side.",
        ),
    ] = None,
    seconds: Annotated[
        float | None,
        typer.Option(min=1, metavar="S", help="With --device: end after this time instead of the recipe's passes."),
    ] = None,
    debug: options.Debug = False,
) -> None:
    """Train a network as a recipe says."""
    with one_sentence(debug):
        from voigt.training.recipe import load_recipe

        if folds is not None and members is not None:
            raise RecipeError("--folds and --members exclude each other; cross-validate first, then train the ensemble")
        if device is not None and folds is not None:
            raise RecipeError("--device and --folds exclude each other; cross-validation runs without --device")
        if seconds is not None and device is None:
            raise RecipeError("--seconds needs --device: name cpu or cuda")
        shipped = RECIPES / f"{recipe}.yaml"
        given = load_recipe(shipped if shipped.is_file() and not Path(recipe).exists() else recipe)
        changed = changed_recipe(given, [*(changes or []), *([f"seed={seed}"] if seed is not None else [])])
        start_log(debug)
        folder = output or Path("runs") / changed.name
        if device is None:
            _train(changed, folder, resume, folds, members)
        else:
            _train_on_device(changed, folder, resume, members, device, seconds)


def changed_recipe(recipe: Recipe, changes: list[str]) -> Recipe:
    """The recipe with keys replaced, `key.sub=value`; values are YAML, numbers in a key count list items from 0.

    RecipeError if a change is no assignment, or the result is no valid recipe.
    """
    from voigt.training.recipe import parse_recipe, recipe_yaml

    if not changes:
        return recipe
    content = recipe.model_dump(mode="json")
    for change in changes:
        key, sign, text = change.partition("=")
        if not sign or not key:
            raise RecipeError(f"--set {change} is no assignment; write --set key=value or --set section.key=value")
        try:
            value = recipe_yaml(text, "--set")
        except RecipeError as error:
            raise RecipeError(f"--set {change}: the value is no YAML; quote it") from error
        *sections, last = key.split(".")
        target: Any = content
        for section in sections:
            target = _enter(target, section, change)
        if isinstance(target, list):
            _enter(target, last, change)
            target[int(last)] = value
        else:
            target[last] = value
    return parse_recipe(content, "recipe with --set")


def _enter(target: Any, name: str, change: str) -> Any:
    if isinstance(target, list) and name.isdigit() and int(name) < len(target):
        return target[int(name)]
    if isinstance(target, dict) and isinstance(target.get(name), (dict, list)):
        return target[name]
    raise RecipeError(
        f"--set {change}: the recipe has no section '{name}'; check its spelling against docs/recipe.md"
    )


def _train(recipe: Recipe, folder: Path, resume: bool, folds: int | None, members: int | None) -> None:
    from voigt.training.crossval import cross_validate
    from voigt.training.ensemble import train_ensemble
    from voigt.training.run import TrainingStopped
    from voigt.training.run import train as train_one

    try:
        if folds is not None:
            validation = cross_validate(recipe, folds, folder, resume)
            for result in validation.folds:
                typer.echo(f"model {result.model}")
            rows = [(name, f"{mean:.5g}", f"{validation.std[name]:.2g}") for name, mean in validation.mean.items()]
            print_columns([("metric", "mean of folds", "std"), *rows], numbers=True)
        elif members is not None:
            from voigt.models.checkpoint import load_model

            path = train_ensemble(recipe, members, folder, resume)
            _finish(path, recipe)
            typer.echo(f"model {path}")
            _print_metrics("metric (mean of members)", load_model(path).card.metrics)
        else:
            single = train_one(recipe, folder, resume)
            _finish(single.model, recipe)
            typer.echo(f"model {single.model}")
            _print_metrics("metric", single.metrics)
            tell(f"trained in {single.seconds:.0f} s")
    except TrainingStopped as error:
        tell(f"voigt: {error}")
        raise typer.Exit(INTERRUPTED) from None


def _train_on_device(
    recipe: Recipe, folder: Path, resume: bool, members: int | None, device: str, seconds: float | None
) -> None:
    from voigt.models.checkpoint import load_model
    from voigt.training.device import Budget, train_members_on_device, train_on_device

    budget = Budget(device, seconds)
    if members is None:
        single = train_on_device(recipe, folder, budget, resume)
        _finish(single.model, recipe)
        typer.echo(f"model {single.model}")
        _print_metrics("metric", single.metrics)
        tell(f"trained in {single.seconds:.0f} s")
        return
    path = train_members_on_device(recipe, members, folder, budget, resume)
    _finish(path, recipe)
    typer.echo(f"model {path}")
    _print_metrics("metric (mean of members)", load_model(path).card.metrics)


def _finish(path: Path, recipe: Recipe) -> None:
    """Intervals and the range of the training crystals."""
    from voigt.evaluation.finishing import finish_model, training_data
    from voigt.models.checkpoint import load_model

    finish_model(path, training_data(load_model(path).card, recipe.data_root))


def start_log(debug: bool) -> None:
    """Progress lines of training to standard error, without the advice of lightning."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(message)s"))
    logger = logging.getLogger("voigt")
    logger.handlers = [handler]
    logger.setLevel(logging.INFO)
    logger.propagate = False
    if not debug:
        for name in ("lightning", "lightning.pytorch", "lightning.fabric"):
            logging.getLogger(name).setLevel(logging.WARNING)


def _print_metrics(heading: str, metrics: Mapping[str, float]) -> None:
    print_columns([(heading, "value"), *((name, f"{value:.5g}") for name, value in metrics.items())], numbers=True)
