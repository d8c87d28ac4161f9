"""`voigt evaluate`: a model against labelled data."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
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
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Score a model on labelled data.

    The report goes to standard output as Markdown.
    """
    with one_sentence(debug):
        matbench_only = {"--fold-model": fold_models, "--rivals": rivals, "--limit": limit, "--export": export}
        others = {"--where": where, "--functional": functional, "--split": split if split != "test" else None}
        _refuse(others if matbench else matbench_only, "does not go" if matbench else "goes only")
        if matbench:
            models = [model, *map(str, fold_models or ())]
            options = _Matbench(models, data, rivals, properties, limit, export, baseline, allow_unseen)
            _evaluate_matbench(options, output, quiet)
            return
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


@dataclass(frozen=True)
class _Matbench:
    """What `--matbench` and the options beside it ask for."""

    models: list[str]
    data: list[Path]
    rivals: Path | None
    properties: str | None
    limit: int | None
    export: Path | None
    baseline: bool
    allow_unseen: bool

    def command(self) -> str:
        """The call that repeats the evaluation."""
        words = ["voigt", "evaluate", self.models[0], str(self.data[0]), "--matbench"]
        words += [word for name in self.models[1:] for word in ("--fold-model", name)]
        for option, value in (("--rivals", self.rivals), ("--properties", self.properties), ("--limit", self.limit)):
            words += [option, str(value)] if value is not None else []
        words += [] if self.baseline else ["--no-baseline"]
        return shlex.join([*words, "--allow-unseen"] if self.allow_unseen else words)


def _evaluate_matbench(options: _Matbench, output: Path | None, quiet: bool) -> None:
    """Score models on the folds that they hold out; whatever can be refused is refused before the first prediction."""
    from voigt.errors import TargetError
    from voigt.evaluation.matbench.export import check_export, export
    from voigt.evaluation.matbench.report import make_folder, markdown, write_report
    from voigt.evaluation.matbench.run import evaluate_matbench
    from voigt.models.checkpoint import load_model

    if len(options.data) != 1:
        raise TargetError(f"--matbench scores the crystals of one table, not of {len(options.data)} files; name one")
    beside = options.data[0].parent / "rivals.parquet"
    rivals = options.rivals if options.rivals is not None or not beside.is_file() else beside
    if options.export is not None:
        check_export(options.export)
    if output is not None:
        make_folder(output)
    loaded = [load_model(name) for name in options.models]
    with progress("crystals", quiet=quiet) as advance:
        found = evaluate_matbench(
            loaded,
            options.data[0],
            rivals=rivals,
            property_name=options.properties,
            limit=options.limit,
            baseline=options.baseline,
            allow_unseen=options.allow_unseen,
            advance=advance,
        )
    if output is not None:
        write_report(found, output, options.command())
    absent = 0 if options.export is None else export(found, options.export)
    typer.echo(markdown(found, options.command()), nl=False)
    if output is not None and not quiet:
        tell(f"wrote {output / 'report.md'}")
    if options.export is not None and not quiet:
        tell(f"wrote {options.export}")
    if absent:
        tell(f"{options.export} lacks {absent:,} crystals of {found.task.name}: the matbench package will refuse it")


def _refuse(options: Mapping[str, object], verb: str) -> None:
    """Say which option is out of place."""
    from voigt.errors import InputError

    for option, value in options.items():
        if value is not None:
            raise InputError(f"{option} {verb} with --matbench; leave one of them out")


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
