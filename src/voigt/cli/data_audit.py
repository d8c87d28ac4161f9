"""`voigt data audit`: what is wrong in a labeled file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from voigt.cli import options
from voigt.cli.delivery import print_columns
from voigt.cli.faults import SOME_FAILED, one_sentence, tell
from voigt.cli.progress import progress


def audit(
    data: Annotated[Path, typer.Argument(metavar="DATA", help="Labeled extended XYZ, Parquet, or other structures.")],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="DIR", help="Write report.json and report.html."),
    ] = None,
    fix: Annotated[
        Path | None,
        typer.Option(metavar="OUT.extxyz", help="Write a cleaned copy: only what is certain, each change listed."),
    ] = None,
    model: Annotated[bool, typer.Option("--model/--no-model", help="Compare labels with the models that ship.")] = True,
    symprec: options.Symprec = 1e-3,
    limit: Annotated[int | None, typer.Option(min=1, metavar="N", help="Look at the first N frames only.")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
    debug: options.Debug = False,
) -> None:
    """Look for everything that is wrong or doubtful in a labeled file.

    A table goes to standard output. Exit code 1: something is certainly wrong.
    """
    with one_sentence(debug):
        from voigt.audit import audit_file, summary_rows, write_clean, write_report
        from voigt.audit.report import error_statements, file_statements
        from voigt.audit.writing import require_extxyz
        from voigt.text import one_line
        from voigt.writers.markdown import counted

        if fix is not None:
            require_extxyz(fix)
        with progress("frames and predictions", None, quiet) as advance:
            found = audit_file(data, model, symprec, limit, advance)
        typer.echo(f"{counted(len(found.frames), 'frame')}, {counted(sum(found.labels().values()), 'label')}, "
                   f"{found.unreadable} unreadable")  # fmt: skip
        if found.findings:
            print_columns(summary_rows(found))
        else:
            typer.echo("nothing found")
        for statement in (*file_statements(found), *error_statements(found)):
            typer.echo(one_line(statement))
        if output is not None:
            for path in write_report(found, output):
                tell(f"wrote {path}")
        if fix is not None:
            changed = write_clean(found, fix)
            tell(f"wrote {fix}: {counted(len(found.repairs), 'change')} in {counted(changed, 'frame')}")
        if found.has_errors:
            raise typer.Exit(SOME_FAILED)
