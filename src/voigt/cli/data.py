"""`voigt data`: from calculations to training files. The other commands of the group are in files of their own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from voigt.cli.data_audit import audit
from voigt.cli.data_select import select
from voigt.cli.data_split import split
from voigt.cli.delivery import NothingDoneError, Tally, count, print_columns
from voigt.cli.faults import SOME_FAILED, one_sentence, tell
from voigt.cli.options import Debug, Quiet
from voigt.cli.progress import progress

if TYPE_CHECKING:
    from voigt.calculations.frames import Frame
    from voigt.notes import Failure

data = typer.Typer(
    rich_markup_mode=None,
    no_args_is_help=True,
    help="Labeled crystals: convert calculations, audit, split and select them.",
)


@data.command()
def convert(
    sources: Annotated[
        list[Path],
        typer.Argument(
            metavar="SOURCE",
            help="Outputs of VASP, Quantum ESPRESSO, ABINIT, CP2K, CASTEP, FHI-aims, CRYSTAL, GPAW, phonopy projects, "
            "JSON of the Materials Project, JARVIS or MatBench; folders and archives of them.",
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="Frames: .extxyz or .parquet.")],
    report: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write every frame and failure with its origin and problems, as JSON."),
    ] = None,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Find calculations by their content and write their tensors as labels, in the conventions of voigt.

    Runs that crashed, did not converge or hold no response are named; the others are written. Exit codes: 0 all done, 1
    some runs failed, 2 the call was wrong.
    """
    with one_sentence(debug):
        from voigt.calculations.convert import convert as frames_of
        from voigt.calculations.frames import require_format, write_frames
        from voigt.calculations.summary import Summary

        require_format(output)
        summary = Summary()
        tally = Tally(quiet, all_warnings=False)

        def noted(outcomes: Iterator[Frame | Failure]) -> Iterator[Frame | Failure]:
            for outcome in outcomes:
                summary.add(outcome)
                yield outcome

        with progress("runs", quiet=quiet) as advance, suppress(NothingDoneError):
            write_frames(tally.results(noted(frames_of(sources, advance)), lambda: None), output)
        if report is not None:
            summary.write(report)
        if not quiet:
            if tally.done:
                print_columns(summary.rows(), numbers=True)
            _tell(tally, summary.functionals, output)
    if tally.failed or not tally.done:
        raise typer.Exit(SOME_FAILED)


def _tell(tally: Tally, functionals: dict[str, int], output: Path) -> None:
    """One line on what was done, one on functionals that training should not mix."""
    failures = f", {count(tally.failed, 'failure')}" if tally.failed else ""
    warned = f", {tally.warned} with warnings" if tally.warned else ""
    place = f"; wrote {output}" if tally.done else "; nothing written"
    tell(f"{count(tally.done, 'frame')} converted{warned}{failures}{place}")
    if len(functionals) > 1:
        shown = ", ".join(f"{name} ({number})" for name, number in sorted(functionals.items()))
        tell(f"several functionals: {shown}; every frame says its own: train on one, or let the model tell them apart")


for command in (audit, split, select):
    data.command()(command)
