"""From a model and labeled frames to a fine-tuned model, its figures and whether it is worth using."""

from __future__ import annotations

import json
import logging
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from voigt.data.labeled import file_digest
from voigt.errors import RecipeError
from voigt.evaluation.evaluation import plain
from voigt.evaluation.finishing import finish_model
from voigt.files import atomic_write, make_folder
from voigt.finetuning.comparison import Comparison, compare, scored_crystals, verdict
from voigt.finetuning.curve import curve_figure, read_points, write_curve
from voigt.finetuning.pages import model_card_page, recipe_page, report_page
from voigt.finetuning.plan import Plan, make_plan
from voigt.finetuning.survey import survey
from voigt.models.checkpoint import MOST_MEMBERS, LoadedModel, load_model
from voigt.reasons import plain_reason
from voigt.safe_json import load_json
from voigt.training.datamodule import TrainingData, check_parts, read_data
from voigt.training.device import Budget, train_on_device
from voigt.training.ensemble import join_models, member_recipe
from voigt.training.recipe import parse_recipe, recipe_yaml
from voigt.writers.figures import save_figure

log = logging.getLogger("voigt.finetuning")

STATE = "finetune.json"
RECIPE = "recipe.yaml"


@dataclass(frozen=True)
class Options:
    """What may be asked for.

    Attributes
    ----------
    minutes
        Time for all of it, on one processor.
    seed
        Of the first network; the others have the next ones.
    functional
        Functional of frames that state none.
    members
        Networks of the ensemble; None: as many as there is time for.
    processor_time
        Count `minutes` in time of the processor, not of the wall: for measurements on a machine with other work.
    """

    minutes: float = 30.0
    seed: int = 0
    functional: str | None = None
    members: int | None = None
    processor_time: bool = False


@dataclass(frozen=True)
class Finetuned:
    """What fine-tuning leaves.

    Attributes
    ----------
    model
        The model file.
    report
        Page with table, verdict and learning curve.
    comparisons
        Before, after, trivial on the test part, the most important property first; empty without a test part.
    verdict
        Whether it is worth using.
    """

    model: Path
    report: Path
    comparisons: tuple[Comparison, ...]
    verdict: str


def finetune(
    start: str,
    files: Sequence[str | Path],
    folder: str | Path,
    options: Options = Options(),
    say: Callable[[str], None] = log.info,
) -> Finetuned:
    """Fine-tune a model on labeled frames, with everything decided by the data and the time.

    A call that was interrupted goes on where it stood at its last validation, if it is repeated.

    Parameters
    ----------
    start
        Name of a model that ships, or a model file.
    files
        Labeled extended XYZ or Parquet files.
    folder
        For the model, the recipe, the report and the state; made if need be.
    options
        Time, seed, functional, members.
    say
        Called with a sentence at every stage.

    Raises
    ------
    InputError, TargetError
        Unusable frames or labels, or too few.
    DomainError, WeightsError
        The model cannot be fine-tuned here, or read.
    RecipeError
        The folder holds another fine-tuning.
    OutputError
        A file cannot be written.

    Examples
    --------
    >>> from voigt.finetuning import finetune
    >>> done = finetune("born", ["mine.extxyz"], "runs/mine", Options(minutes=5))  # doctest: +SKIP
    >>> print(done.verdict)  # doctest: +SKIP
    """
    folder = make_folder(folder)
    model = load_model(start)
    named = os.path.abspath(start) if model.path == Path(start) else start  # a recipe is read from anywhere
    plan, data = _planned(model, named, files, folder, options, say)
    for reason in plan.reasons:
        say(reason)
    path = _trained(plan, data, folder, options, say)
    say("intervals from the validation part")
    finish_model(path, data)
    return _judged(model, path, plan, data, folder, say)


def _planned(
    model: LoadedModel,
    start: str,
    files: Sequence[str | Path],
    folder: Path,
    options: Options,
    say: Callable[[str], None],
) -> tuple[Plan, TrainingData]:
    """The plan of this call: that of the folder if it was interrupted, else a new one, which is written down."""
    missing = [str(path) for path in files if not os.path.isfile(path)]
    if missing:
        raise RecipeError(f"data not found: {', '.join(missing)}")
    call = {
        "start": file_digest(model.path) if model.path else start,
        "data": [file_digest(path) for path in files],
        **asdict(options),
    }
    if (folder / STATE).is_file():
        plan = _read_plan(folder, call)
        say(f"going on with the fine-tuning in {folder}")
        return plan, read_data(plan.recipe)
    say("reading the data")
    found = survey(model, files, options.functional)
    plan, data = make_plan(model, start, found, options.minutes, options.seed, options.members)
    check_parts(data, plan.recipe)
    with atomic_write(folder / RECIPE) as stream:
        stream.write(recipe_page(plan))
    state = {"call": call, "members": plan.members, "seconds": plan.seconds, "reasons": plan.reasons}
    with atomic_write(folder / STATE) as stream:
        json.dump(state, stream, indent=1)
        stream.write("\n")
    return _read_plan(folder, call), data


def _read_plan(folder: Path, call: Mapping[str, Any]) -> Plan:
    """The plan that is written in a folder.

    Raises RecipeError: it belongs to another call, or is damaged.
    """
    remedy = "choose another -o folder"
    try:
        state = load_json((folder / STATE).read_text(encoding="utf-8"))
        stored = dict(state["call"])
        text = (folder / RECIPE).read_text(encoding="utf-8")
        plan = Plan(
            recipe=parse_recipe(recipe_yaml(text, RECIPE), str(folder / RECIPE)),
            members=int(state["members"]),
            seconds=float(state["seconds"]),
            reasons=tuple(str(reason) for reason in state["reasons"]),
        )
        if not 0 < plan.members <= MOST_MEMBERS or not 0 < plan.seconds < math.inf:
            raise ValueError("members or seconds are out of bounds")
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise RecipeError(f"{folder / STATE} cannot be read ({plain_reason(error)}); {remedy}") from error
    changed = [key for key, value in call.items() if stored.get(key) != value]
    if changed:
        listed = ", ".join(changed)
        raise RecipeError(f"{folder} holds a fine-tuning with another {listed}; repeat that call or {remedy}")
    return plan


def member_folders(folder: Path, plan: Plan) -> list[Path]:
    """Where each network is trained."""
    return [folder / f"member-{k}" for k in range(plan.members)]


def _trained(plan: Plan, data: TrainingData, folder: Path, options: Options, say: Callable[[str], None]) -> Path:
    """The model file of all members."""
    files = []
    for k, place in enumerate(member_folders(folder, plan)):
        recipe = member_recipe(plan.recipe, k)
        file = place / f"{recipe.name}.safetensors"
        if not file.is_file():
            say(f"network {k + 1} of {plan.members}, {plan.seconds / 60:.1f} minutes at most")
            budget = Budget("cpu", plan.seconds, options.processor_time)
            train_on_device(recipe, place, budget, (place / "device.ckpt").is_file(), data)
        files.append(file)
    return join_models(files, folder / f"{plan.recipe.name}.safetensors")


def _judged(
    model: LoadedModel, path: Path, plan: Plan, data: TrainingData, folder: Path, say: Callable[[str], None]
) -> Finetuned:
    """Scores on the test part, figures and pages."""
    tuned, names = load_model(path), tuple(plan.recipe.targets)
    test = list(data.select("test"))
    comparisons: tuple[Comparison, ...] = ()
    if test:
        say(f"before and after on {len(test)} test frames")
        sides = [scored_crystals(entry, test, names) for entry in (model, tuned)]
        comparisons = compare(sides[0], sides[1], list(data.select("train")), names)
    points = read_points(member_folders(folder, plan))
    write_curve(points, folder / "learning_curve.csv")
    save_figure(curve_figure(points), folder / "learning_curve.png")
    opinion = verdict(comparisons)
    figures = {"verdict": opinion, "properties": {entry.name: asdict(entry) for entry in comparisons}}
    with atomic_write(folder / "comparison.json") as stream:
        json.dump(plain(figures), stream, indent=1, allow_nan=False)
        stream.write("\n")
    with atomic_write(path.with_suffix(".md")) as stream:
        stream.write(model_card_page(model, tuned, plan, data, comparisons))
    report = folder / "report.md"
    with atomic_write(report) as stream:
        stream.write(report_page(model, tuned, plan, comparisons, opinion))
    return Finetuned(path, report, comparisons, opinion)
