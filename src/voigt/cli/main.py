"""The command `voigt`. Nothing heavy is imported here or at the top of the other files of this folder."""

from __future__ import annotations

from typing import Annotated

import typer

from voigt import __version__
from voigt.cli.data import data
from voigt.cli.evaluate import evaluate
from voigt.cli.explain import explain
from voigt.cli.finetune import finetune
from voigt.cli.infrared import infrared
from voigt.cli.models import models
from voigt.cli.phonons import phonons
from voigt.cli.predict import predict
from voigt.cli.respond import respond
from voigt.cli.screen import screen
from voigt.cli.serve import serve
from voigt.cli.train import train
from voigt.memory import keep_freed_memory

app = typer.Typer(
    name="voigt",
    help="Response tensors of crystals from their structure.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
for command in (predict, train, finetune, evaluate, explain, phonons, infrared, respond, models, serve):
    app.command()(command)
app.add_typer(screen, name="screen")
app.add_typer(data, name="data")


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"voigt {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and stop.")
    ] = False,
) -> None:
    """Response tensors of crystals from their structure."""


def run() -> None:
    """Entry point. Exit codes: 0 all done, 1 some inputs failed, 2 the call was wrong, 130 interrupted."""
    keep_freed_memory()
    app()
