"""`voigt evaluate`: a model against labeled data."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer

from voigt.cli import options
from voigt.cli.delivery import names
from voigt.cli.devices import tell_device
from voigt.cli.faults import one_sentence, tell
from voigt.cli.progress import progress
from voigt.errors import InputError, TargetError


def evaluate(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A model that ships or a model file.")],
    data: Annotated[list[Path], typer.Argument(metavar="DATA", help="Labeled extended XYZ or Parquet files.")],
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
    allow_unseen: options.AllowUnseen = False,
    device: options.Device = "auto",
    matbench: Annotated[
        bool, typer.Option("--matbench", help="Score the official MatBench fold that the model was trained without.")
    ] = False,
    fold_models: Annotated[
        list[Path] | None,
        typer.Option("--fold-model", metavar="FILE", help="With --matbench: a model of another fold; repeatable."),
    ] = None,
    rivals: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="With --matbench: predictions of other models; by default rivals.parquet beside DATA, if it is there.",
        ),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="With --matbench: only so many crystals of each fold, for a quick look."),
    ] = None,
    export: Annotated[
        Path | None,
        typer.Option(metavar="FILE.json.gz", help="With --matbench: write predictions as the matbench package does."),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
    debug: options.Debug = False,
) -> None:
    """Score a model on labeled data.

    The report goes to standard output as Markdown.
    """
    with one_sentence(debug):
        matbench_only = {"--fold-model": fold_models, "--rivals": rivals, "--limit": limit, "--export": export}
        others = {"--where": where, "--functional": functional, "--split": split if split != "test" else None}
        misplaced, verb = (others, "does not go") if matbench else (matbench_only, "goes only")
        for option, value in misplaced.items():
            if value is not None:
                raise InputError(f"{option} {verb} with --matbench; leave one of them out")
        if matbench:
            models = [model, *map(str, fold_models or ())]
            words = [model, str(data[0]), "--matbench"]
            words += [word for name in models[1:] for word in ("--fold-model", name)]
            stated = {"--rivals": rivals, "--properties": properties, "--limit": limit}
            command = _command(words, stated, baseline, allow_unseen)
            _evaluate_matbench(
                models, data, rivals, properties, limit, export, baseline, allow_unseen, command, output, quiet, device
            )
            return
        from voigt.evaluation.report import markdown, write_report
        from voigt.evaluation.run import evaluate_model
        from voigt.models.checkpoint import load_model
        from voigt.models.devices import find_device, move

        loaded = move(load_model(model), find_device(device))
        tell_device(loaded.device, quiet)
        with progress("crystals", quiet=quiet) as advance:
            result = evaluate_model(
                loaded,
                data,
                split=split,
                where=where,
                functional=functional,
                properties=names(properties),
                baseline=baseline,
                allow_unseen=allow_unseen,
                advance=advance,
            )
        title = f"{loaded.name} on {', '.join(path.name for path in data)} ({split})"
        stated = {"--split": split, "--where": where, "--functional": functional, "--properties": properties}
        command = _command([model, *map(str, data)], stated, baseline, allow_unseen)
        if output is not None:
            write_report(result.evaluation, result.scored, output, title, command, result.notes)
        typer.echo(markdown(result.evaluation, title, command, result.notes), nl=False)
        if output is not None and not quiet:
            tell(f"wrote {output / 'report.md'}")


def _evaluate_matbench(
    models: list[str],
    data: list[Path],
    rivals: Path | None,
    properties: str | None,
    limit: int | None,
    export: Path | None,
    baseline: bool,
    allow_unseen: bool,
    command: str,
    output: Path | None,
    quiet: bool,
    device: str,
) -> None:
    """Score models on the folds that they hold out; wrong calls are refused before the first prediction."""
    from voigt.evaluation.matbench.export import check_export
    from voigt.evaluation.matbench.export import export as write_export
    from voigt.evaluation.matbench.report import markdown, write_report
    from voigt.evaluation.matbench.run import evaluate_matbench
    from voigt.files import make_folder
    from voigt.models.checkpoint import load_model
    from voigt.models.devices import find_device, move

    if len(data) != 1:
        raise TargetError(f"--matbench scores the crystals of one table, not of {len(data)} files; name one")
    beside = data[0].parent / "rivals.parquet"
    rivals = rivals if rivals is not None or not beside.is_file() else beside
    if export is not None:
        check_export(export)
    if output is not None:
        make_folder(output)
    place = find_device(device)
    loaded = [move(load_model(name), place) for name in models]
    tell_device(place, quiet)
    with progress("crystals", quiet=quiet) as advance:
        result = evaluate_matbench(
            loaded,
            data[0],
            rivals=rivals,
            property_name=properties,
            limit=limit,
            baseline=baseline,
            allow_unseen=allow_unseen,
            advance=advance,
        )
    if output is not None:
        write_report(result, output, command)
    absent = 0 if export is None else write_export(result, export)
    typer.echo(markdown(result, command), nl=False)
    if output is not None and not quiet:
        tell(f"wrote {output / 'report.md'}")
    if export is not None and not quiet:
        tell(f"wrote {export}")
    if absent:
        tell(f"{export} lacks {absent:,} crystals of {result.task.name}: the matbench package will refuse it")


def _command(words: Sequence[str], options: Mapping[str, object], baseline: bool, allow_unseen: bool) -> str:
    """The call that repeats the evaluation."""
    words = ["voigt", "evaluate", *words]
    for option, value in options.items():
        words += [option, str(value)] if value is not None else []
    words += [] if baseline else ["--no-baseline"]
    return shlex.join([*words, "--allow-unseen"] if allow_unseen else words)
