"""`voigt finetune`: a model that ships, or your own, on your labeled frames."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from voigt.cli import options
from voigt.cli.delivery import print_columns
from voigt.cli.faults import one_sentence, tell
from voigt.cli.train import INTERRUPTED, start_log


def finetune(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A model that ships or a model file.")],
    data: Annotated[list[Path], typer.Argument(metavar="DATA", help="Labeled extended XYZ or Parquet files.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="Folder for model, recipe and report.")
    ],
    minutes: Annotated[float, typer.Option(min=0.05, metavar="T", help="Time for all of it, on one processor.")] = 30.0,
    members: Annotated[
        int | None,
        typer.Option(min=1, max=20, metavar="M", help="Networks of the ensemble; by default as time allows."),
    ] = None,
    functional: Annotated[
        str | None, typer.Option(metavar="NAME", help="Functional of labels that state none.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, metavar="N", help="Seed of the first network.")] = 0,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
    debug: options.Debug = False,
) -> None:
    """Fine-tune a model on labeled frames; no recipe needed.

    Split, learning rate, early stopping and number of networks follow from the data and the time. The errors before
    and after go to standard output, with those of plain averages and whether the result is worth using. A call that
    was interrupted goes on when it is repeated.
    """
    with one_sentence(debug):
        from voigt.evaluation.report import interval
        from voigt.finetuning.run import Options, finetune
        from voigt.writers.markdown import number, unit_symbol

        if not quiet:
            start_log(debug)
        wanted = Options(minutes, seed, functional, members)
        try:
            done = finetune(model, data, output, wanted, (lambda _: None) if quiet else tell)
        except KeyboardInterrupt:
            tell(f"voigt: stopped; repeat the call to go on at the last validation in {output}")
            raise typer.Exit(INTERRUPTED) from None
        rows = [("error (MAE)", "", "before", "after", "trivial", "before - after")]
        for entry in done.comparisons:
            before, after, trivial = (number(side.value) for side in (entry.before, entry.after, entry.trivial))
            rows.append((entry.name, unit_symbol(entry.unit), before, after, trivial, interval(entry.gain)))
        if done.comparisons:
            print_columns(rows)
        typer.echo(done.verdict)
        typer.echo(f"model {done.model}")
        if not quiet:
            tell(f"wrote {done.report}")
