"""`voigt data select`: which frames to label next."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from voigt.cli import options
from voigt.cli.delivery import print_columns
from voigt.cli.faults import one_sentence, tell
from voigt.cli.progress import progress
from voigt.errors import InputError


def select(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A model that ships or a model file.")],
    data: Annotated[list[Path], typer.Argument(metavar="DATA", help="Frames to choose from, labeled or not.")],
    count: Annotated[int, typer.Option("-n", min=1, metavar="N", help="How many frames.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE.extxyz", help="Where to write them.")],
    labeled: Annotated[
        list[Path] | None,
        typer.Option("--labeled", metavar="FILE", help="Frames that have labels already; repeatable."),
    ] = None,
    split: Annotated[
        str | None, typer.Option(metavar="NAME", help="Choose from frames whose info key split has this value.")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No table, no progress.")] = False,
    debug: options.Debug = False,
) -> None:
    """Choose the frames whose labels would teach a model most.

    Those where the members of the model disagree, and that resemble neither each other nor what is labeled already;
    the most valuable first.
    """
    with one_sentence(debug):
        from voigt.finetuning.selection import read_sound, select_frames, write_choice
        from voigt.models.checkpoint import load_model

        if output.suffix not in (".extxyz", ".xyz"):
            raise InputError(f"{output} is no extended XYZ; name the output FILE.extxyz")
        loaded = load_model(model)
        frames = [entry for entry in read_sound(data) if split is None or entry.atoms.info.get("split") == split]
        known = [entry.atoms for entry in read_sound(labeled or ())]
        with progress("frames", len(frames), quiet) as advance:
            chosen = select_frames(loaded, [entry.atoms for entry in frames], count, known, advance)
        write_choice([frames[choice.index].atoms for choice in chosen], output)
        if not quiet:
            cells = [
                (str(rank), frames[c.index].id, f"{c.spread:.3f}", f"{c.distance:.3f}")
                for rank, c in enumerate(chosen, start=1)
            ]
            print_columns([("rank", "frame", "spread", "distance"), *cells])
            tell(f"wrote {output}")
