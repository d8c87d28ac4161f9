"""`voigt models`: what ships, and what a model file says of itself."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from voigt.cli import options
from voigt.cli.delivery import print_columns, print_lines
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
        from voigt.writers.elements import element_lines

        shipped = available_models()
        if name is None:
            if not shipped:
                tell("no models ship with this installation; train one with 'voigt train'")
                return
            rows = [_row(load_model(key), path) for key, path in shipped.items()]
            print_columns([("name", "predicts", "members", "functionals", "elements", "size"), *rows])
            return
        loaded = load_model(name)
        path = loaded.path or Path(name)
        drawn = bool(loaded.card.element_counts) and _wide_enough()
        typer.echo("\n".join(_facts(loaded, path, listed=not drawn)))
        if drawn:
            print_lines([(), *element_lines(loaded.card.elements, loaded.card.element_counts)])
        card = path.with_suffix(".md")
        if card.is_file():
            with card.open(encoding="utf-8", errors="replace") as stream:
                lines = stream.read(_LONGEST_CARD).rstrip().splitlines()
            typer.echo("\n".join(["", *map(one_line, lines)]))


def _row(model: LoadedModel, path: Path) -> tuple[str, ...]:
    return (
        model.name,
        ", ".join(model.hypers.properties),
        str(model.ensemble_size),
        ", ".join(model.hypers.functionals or model.card.functionals) or "not stated",
        str(len(model.card.elements)),
        f"{path.stat().st_size / 1e6:.1f} MB",
    )


def _wide_enough() -> bool:
    """Whether a periodic table fits; a file or another program takes lines of any width."""
    from voigt.writers.elements import TABLE_WIDTH

    return not sys.stdout.isatty() or shutil.get_terminal_size().columns >= TABLE_WIDTH


def _facts(model: LoadedModel, path: Path, listed: bool) -> list[str]:
    """What the file itself says; `listed`: name the elements, which a table would show as well."""
    from ase.data import chemical_symbols

    from voigt.tensors.properties import PROPERTIES
    from voigt.text import printable

    parameters = sum(parameter.numel() for parameter in model.members[0].parameters())
    _, _, members, functionals, elements, size = _row(model, path)
    units = ", ".join(f"{name} ({PROPERTIES[name].unit})" for name in model.hypers.properties)
    symbols = f": {' '.join(chemical_symbols[z] for z in model.card.elements)}" if listed else ""
    lines = [
        f"name         {model.name}",
        f"file         {path} ({size})",
        f"predicts     {units}",
        f"method       {model.hypers.method}, members: {members}, networks: {len(model.members)}, "
        f"parameters of one network: {parameters:,}, "
        f"cutoff {model.hypers.cutoff:g} Angstrom",
        f"functionals  {functionals}",
        f"elements     {elements}{symbols}",
    ]
    lines += [f"data         {printable(f'{name} ({digest})')}" for name, digest in model.card.data.items()]
    lines += [f"{printable(key):<12} {value:.5g}" for key, value in model.card.metrics.items()]
    return lines
