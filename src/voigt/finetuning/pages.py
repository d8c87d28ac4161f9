"""What a fine-tuning writes for people: the recipe with its reasons, the report and the card of the model."""

from __future__ import annotations

from collections.abc import Sequence

from ase.data import chemical_symbols

from voigt.finetuning.comparison import Comparison, comparison_table
from voigt.finetuning.plan import Plan
from voigt.models.checkpoint import LoadedModel
from voigt.prediction.calibration import FEWEST
from voigt.safe_yaml import dump_yaml
from voigt.text import one_line
from voigt.training.datamodule import TrainingData
from voigt.writers.markdown import counted, escaped, table

FORGETTING = (
    "What the model knew of other compounds may be lost: no set of other compounds ships, so that this is not "
    "measured. Keep the model that this one came from for everything else."
)
NEIGHBORS = (
    "Neighbors in time resemble each other: the intervals, which take test frames for independent, are too narrow for "
    "a trajectory."
)


def recipe_page(plan: Plan) -> str:
    """The recipe as YAML that `voigt train` reads, the reasons as comments."""
    content = plan.recipe.model_dump(mode="json", exclude_defaults=True)
    content["model"] = plan.recipe.model.model_dump(mode="json", exclude_defaults=True)
    content["model"]["method"] = plan.recipe.model.method
    content["model"].pop("properties", None)
    content["split"] = {"kind": plan.recipe.split.kind, **content.get("split", {})}
    content["targets"] = {name: content["targets"].get(name, {}) for name in plan.recipe.targets}
    content["data_root"] = plan.recipe.data_root
    comments = "".join(f"# {one_line(reason)}\n" for reason in plan.reasons)
    return comments + dump_yaml(content)


def report_page(
    before: LoadedModel, after: LoadedModel, plan: Plan, comparisons: Sequence[Comparison], verdict: str
) -> str:
    """Verdict, table, decisions, learning curve."""
    blocks = [f"# {escaped(after.name)}, fine-tuned from {escaped(before.name)}", verdict]
    if comparisons:
        blocks += [
            comparison_table(comparisons),
            "Mean absolute errors of all components on test frames, which decided nothing. *trivial*: averages of the "
            "training labels (of each element, or of the crystal). In brackets and in the last column 95 % intervals, "
            "bootstrap over frames; the last one is of the difference on the same frames.",
            NEIGHBORS if plan.recipe.split.kind != "formula" else "",
        ]
    blocks += [FORGETTING, "## What was decided", "\n".join(f"- {escaped(reason)}" for reason in plan.reasons)]
    blocks += ["## Learning curve", "![Validation error over the passes](learning_curve.png)"]
    return "\n\n".join(block for block in blocks if block) + "\n"


def model_card_page(
    before: LoadedModel, after: LoadedModel, plan: Plan, data: TrainingData, comparisons: Sequence[Comparison]
) -> str:
    """The card of the fine-tuned model, in the form of those that ship."""
    elements = " ".join(chemical_symbols[z] for z in after.card.elements)
    digests = "; ".join(f"{escaped(name)} ({digest})" for name, digest in data.digests.items())
    parts = ", ".join(f"{len(rows)} {part}" for part, rows in data.parts.items())
    few = f"none: fewer than {FEWEST} validation frames"
    rows = [
        ["predicts", ", ".join(f"`{name}`" for name in after.hypers.properties)],
        ["started from", escaped(before.name)],
        ["networks", counted(after.ensemble_size, "member")],
        ["functionals", escaped(", ".join(after.hypers.functionals or after.card.functionals) or "not stated")],
        ["training data", f"{digests}: {parts} frames"],
        ["elements", elements],
        ["recipe", "`recipe.yaml` beside this file"],
        ["intervals", "90 %, from the validation part" if after.intervals else few],
    ]
    blocks = [f"# {escaped(after.name)}", table(["", ""], rows, "ll")]
    if comparisons:
        blocks += ["## Figures on the test part", comparison_table(comparisons)]
    blocks += ["## Known limits", f"* {FORGETTING}"]
    blocks += [f"* {NEIGHBORS}"] if plan.recipe.split.kind != "formula" else []
    return "\n\n".join(blocks) + "\n"
