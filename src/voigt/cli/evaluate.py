"""`voigt evaluate`: a model against labelled data."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from voigt.cli.faults import one_sentence, tell
from voigt.cli.progress import progress


def evaluate(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A model that ships or a model file.")],
    data: Annotated[list[Path], typer.Argument(metavar="DATA", help="Labelled extended XYZ or Parquet files.")],
    split: Annotated[str, typer.Option(metavar="NAME", help="train, val, test or all.")] = "test",
    where: Annotated[
        str | None, typer.Option(metavar="KEY", help="Only frames whose info key of this name is true.")
    ] = None,
    functional: Annotated[
        str | None, typer.Option(metavar="NAME", help="Functional of labels that state none.")
    ] = None,
    properties: Annotated[
        str | None, typer.Option(metavar="A,B", help="What to score; by default all that model and data share.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="DIR", help="Write report.md, metrics.json and parity plots."),
    ] = None,
    baseline: Annotated[
        bool,
        typer.Option("--baseline/--no-baseline", help="Score the averages of the training split beside the model."),
    ] = True,
    allow_unseen: Annotated[
        bool, typer.Option("--allow-unseen", help="Score crystals with elements that the model was not trained on.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Score a model on labelled data.

    The report goes to standard output as Markdown.
    """
    with one_sentence(debug):
        from voigt.evaluation.report import markdown, write_report
        from voigt.evaluation.run import evaluate_model
        from voigt.models.checkpoint import load_model

        names = None if properties is None else [name.strip() for name in properties.split(",") if name.strip()]
        loaded = load_model(model)
        with progress("crystals", quiet=quiet) as advance:
            found = evaluate_model(
                loaded,
                data,
                split=split,
                where=where,
                functional=functional,
                properties=names,
                baseline=baseline,
                allow_unseen=allow_unseen,
                advance=advance,
            )
        title = f"{loaded.name} on {', '.join(path.name for path in data)} ({split})"
        command = _command(model, data, split, where, functional, properties, baseline, allow_unseen)
        if output is not None:
            write_report(found.evaluation, found.scored, output, title, command, found.notes)
        typer.echo(markdown(found.evaluation, title, command, found.notes), nl=False)
        if output is not None and not quiet:
            tell(f"wrote {output / 'report.md'}")


def _command(
    model: str,
    data: list[Path],
    split: str,
    where: str | None,
    functional: str | None,
    properties: str | None,
    baseline: bool,
    allow_unseen: bool,
) -> str:
    """The call that repeats the evaluation."""
    words = ["voigt", "evaluate", model, *map(str, data), "--split", split]
    for option, value in (("--where", where), ("--functional", functional), ("--properties", properties)):
        words += [option, value] if value is not None else []
    words += [] if baseline else ["--no-baseline"]
    return shlex.join([*words, "--allow-unseen"] if allow_unseen else words)
