"""`voigt models`: what ships, and what a model file says of itself."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from voigt.cli import options
from voigt.cli.delivery import print_columns
from voigt.cli.faults import one_sentence, tell

if TYPE_CHECKING:
    from voigt.models.checkpoint import LoadedModel

_LONGEST_CARD = 100_000  # characters


def models(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME|FILE]", help="Show the card of one model.", show_default=False)
    ] = None,
    debug: options.Debug = False,
) -> None:
    """List the models that ship, or show the card of one."""
    with one_sentence(debug):
        from voigt.models.checkpoint import available_models, load_model
        from voigt.text import one_line

        shipped = available_models()
        if name is None:
            if not shipped:
                tell("no models ship with this installation; train one with 'voigt train'")
                return
            rows = [_row(load_model(key), path) for key, path in shipped.items()]
            print_columns([("name", "predicts", "members", "functionals", "elements", "size"), *rows])
            return
        path = shipped.get(name, Path(name))
        loaded = load_model(name)
        typer.echo("\n".join(_facts(loaded, path)))
        card = path.with_suffix(".md")
        if card.is_file():
            with card.open(encoding="utf-8", errors="replace") as stream:
                lines = stream.read(_LONGEST_CARD).rstrip().splitlines()
            typer.echo("\n".join(["", *map(one_line, lines)]))


def _row(model: LoadedModel, path: Path) -> tuple[str, ...]:
    return (
        model.name,
        ", ".join(model.hypers.properties),
        str(len(model.members)),
        ", ".join(model.hypers.functionals or model.card.functionals) or "not stated",
        str(len(model.card.elements)),
        f"{path.stat().st_size / 1e6:.1f} MB",
    )


def _facts(model: LoadedModel, path: Path) -> list[str]:
    """What the file itself says."""
    from ase.data import chemical_symbols

    from voigt.tensors.properties import PROPERTIES
    from voigt.text import printable

    parameters = sum(parameter.numel() for parameter in model.members[0].parameters())
    _, _, members, functionals, elements, size = _row(model, path)
    units = ", ".join(f"{name} ({PROPERTIES[name].unit})" for name in model.hypers.properties)
    lines = [
        f"name         {model.name}",
        f"file         {path} ({size})",
        f"predicts     {units}",
        f"method       {model.hypers.method}, members: {members}, parameters of one: {parameters:,}, "
        f"cutoff {model.hypers.cutoff:g} Angstrom",
        f"functionals  {functionals}",
        f"elements     {elements}: {' '.join(chemical_symbols[z] for z in model.card.elements)}",
    ]
    lines += [printable(f"data         {name} ({digest})") for name, digest in model.card.data.items()]
    lines += [printable(f"{key:<12} {value:.5g}") for key, value in model.card.metrics.items()]
    return lines
