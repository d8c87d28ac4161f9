"""`voigt data split`: train, val and test of a labeled file, and what leaks between them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from voigt.cli import options
from voigt.cli.delivery import print_columns
from voigt.cli.faults import SOME_FAILED, one_sentence, tell
from voigt.errors import InputError


def split(
    data: Annotated[Path, typer.Argument(metavar="DATA", help="Labeled extended XYZ, Parquet, or other structures.")],
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", metavar="OUT", help="File with the info key split; .extxyz, or .parquet of one."
        ),
    ],
    by: Annotated[
        str, typer.Option(metavar="METHOD", help="formula, prototype, composition, time or random.")
    ] = "formula",
    fractions: Annotated[str, typer.Option(metavar="A,B,C", help="Shares of train, val and test.")] = "0.8,0.1,0.1",
    seed: Annotated[int, typer.Option(min=0, metavar="N", help="Seed of the draw.")] = 0,
    gap: Annotated[int, typer.Option(min=0, metavar="N", help="With time: frames left out between blocks.")] = 0,
    clusters: Annotated[
        int | None, typer.Option(min=2, metavar="N", help="With composition: number of clusters.")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No leakage report.")] = False,
    debug: options.Debug = False,
) -> None:
    """Split a labeled file and report how near val and test are to train.

    The report goes to standard output, and as JSON to OUT with the suffix .leakage.json. Exit code 1: some frames could
    not be read and are left out.
    """
    with one_sentence(debug):
        from voigt.audit.splitting import split_file, summary_rows
        from voigt.data.splitting import SplitRequest

        try:
            shares = tuple(float(part) for part in fractions.split(","))
        except ValueError as error:
            raise InputError(f"fractions '{fractions}' are no numbers; write them as 0.8,0.1,0.1") from error
        request = SplitRequest(by, shares, seed, gap, clusters)  # type: ignore[arg-type]
        result = split_file(data, output, request, leakage=not quiet)
        if not quiet:
            print_columns(summary_rows(result), numbers=True)
        for failure in result.failures:
            tell(f"failed: {failure.reason}")
        tell(f"wrote {output}: {result.counts_text}")
        if result.failures:
            raise typer.Exit(SOME_FAILED)
