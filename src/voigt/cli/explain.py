"""`voigt explain`: what a capsule network sees in crystals."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from voigt.cli.faults import SOME_FAILED, one_sentence, tell
from voigt.cli.progress import progress
from voigt.errors import OutputError, VoigtError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from voigt.interpretation.crystals import CrystalExplanation
    from voigt.interpretation.sets import Collection, SetSummary
    from voigt.prediction.stream import Failure
    from voigt.writers.table import Line

MOST_TABLES = 20
"""Tables and figures of single crystals are made for at most so many."""


def explain(
    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="INPUT",
            help="CIF, POSCAR, extended XYZ, vasprun.xml, ASE database, pymatgen JSON, a folder of these, or - for "
            "standard input.",
        ),
    ],
    model: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|FILE",
            help="A SEN model that ships (see voigt models) or a file; by default that of --property.",
        ),
    ] = None,
    property_name: Annotated[
        str | None,
        typer.Option(
            "--property",
            metavar="NAME",
            help="formation_energy or band_gap; by default all that --model predicts, or formation_energy.",
        ),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write all numbers to FILE.json.")
    ] = None,
    figures: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write figures (PNG) to a folder, made if need be.")
    ] = None,
    stages: Annotated[
        bool, typer.Option("--stages", help="With -o: the vectors of atoms and their attention at every stage too.")
    ] = False,
    member: Annotated[int, typer.Option(metavar="K", help="Which network of an ensemble, from 0.")] = 0,
    allow_unseen: Annotated[
        bool, typer.Option("--allow-unseen", help="Explain crystals with elements that the model was not trained on.")
    ] = False,
    symprec: Annotated[float, typer.Option(metavar="D", help="Tolerance of the space group, Angstrom.")] = 1e-3,
    quiet: Annotated[
        bool,
        typer.Option("--quiet", "-q", help="No warnings and progress, and no tables if results go to a file."),
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Show what a capsule network (SEN) makes of crystals: shares of atoms, capsules, attention.

    Tables go to standard output: of every crystal, up to 20, and of all together if there are several. Exit codes: 0
    all done, 1 some inputs failed, 2 the call was wrong.
    """
    with one_sentence(debug):
        from voigt.interpretation.crystals import choose, explain_frames
        from voigt.interpretation.sets import Collection
        from voigt.prediction.result import Settings
        from voigt.structures.reading import read

        subject = choose(model, property_name, member)
        frames = read(inputs)
        first = list(islice(frames, MOST_TABLES + 1))
        _check_call(output, figures, stages, len(first))
        singly = len(first) <= MOST_TABLES
        to_file = output is not None or figures is not None
        delivery = _Delivery(Collection(), singly, not (quiet and to_file), quiet, figures)
        settings = Settings(symprec=symprec, allow_unseen=allow_unseen)
        with progress("crystals", quiet=quiet or singly) as advance:
            results = explain_frames(chain(first, frames), subject, settings)
            _write(delivery.crystals(_each(results, advance)), output, delivery.summary, stages)
        delivery.finish(output)
    if delivery.failed:
        raise typer.Exit(SOME_FAILED)


@dataclass
class _Delivery:
    """Shows results as they come, draws them and counts them."""

    collection: Collection
    singly: bool
    show: bool
    quiet: bool
    figures: Path | None
    explained: int = 0
    failed: int = 0
    warned: int = 0
    drawn: int = 0
    folders: set[str] = field(default_factory=set)

    def crystals(self, results: Iterable[CrystalExplanation | Failure]) -> Iterator[CrystalExplanation]:
        """Explanations among the results; failures are named on standard error."""
        from voigt.interpretation.table import crystal_lines
        from voigt.prediction.stream import Failure

        for result in results:
            if isinstance(result, Failure):
                self.failed += 1
                tell(f"failed: {result.reason}")
                continue
            self._warn(result)
            if self.show and self.singly:
                _print([*([()] if self.explained else []), *crystal_lines(result)])
            if self.figures is not None and self.singly:
                from voigt.interpretation.figures import crystal_figures

                self._draw(self.figures / self._folder(result.id), crystal_figures(result))
            self.collection.add(result)
            self.explained += 1
            yield result
        if not self.explained:
            raise _NothingExplained

    def summary(self) -> SetSummary | None:
        """Print the figures of the set and draw its maps; None for a single crystal."""
        from voigt.interpretation.table import summary_lines

        if self.explained < 2:
            return None
        found = self.collection.summary()
        if self.show:
            _print([*([()] if self.singly else []), *summary_lines(found)])
        if self.figures is not None:
            from voigt.interpretation.maps import set_figures

            self._draw(self.figures, set_figures(self.collection))
        return found

    def finish(self, output: Path | None) -> None:
        """One line at the end, if there is something to tell."""
        if self.quiet or (self.failed == 0 and output is None and self.figures is None):
            return
        wrote = [f"wrote {output}"] if output is not None and self.explained else []
        wrote += [f"{_count(self.drawn, 'figure')} in {self.figures}"] if self.drawn else []
        failures = [f"{_count(self.failed, 'failure')}"] if self.failed else []
        said = [f"{_count(self.explained, 'crystal')} explained", *failures]
        tell("; ".join([", ".join(said), *wrote]))

    def _warn(self, crystal: CrystalExplanation) -> None:
        self.warned += bool(crystal.warnings)
        if not self.quiet and self.warned <= MOST_TABLES:
            for warning in crystal.warnings:
                tell(f"warning: {crystal.id}: {warning}")

    def _folder(self, name: str) -> str:
        """A folder of its own for every crystal, named by its id."""
        stem = re.sub(r"[^\w.+-]+", "_", name).strip(".") or "crystal"
        number, folder = 1, stem
        while folder in self.folders:
            number += 1
            folder = f"{stem}-{number}"
        self.folders.add(folder)
        return folder

    def _draw(self, folder: Path, figures: Sequence[tuple[str, Figure]]) -> None:
        from voigt.evaluation.figures import save_figure

        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"cannot make {folder}: {error.strerror or error}; choose another --figures") from error
        for stem, figure in figures:
            save_figure(figure, folder / f"{stem}.png")
        self.drawn += len(figures)


class _NothingExplained(VoigtError):
    """Every input failed: no output file is written over an earlier one."""


def _write(
    crystals: Iterator[CrystalExplanation],
    output: Path | None,
    summary: Callable[[], SetSummary | None],
    stages: bool,
) -> None:
    from voigt.interpretation.records import write_json

    try:
        if output is not None:
            write_json(crystals, output, summary, stages)
            return
        for _ in crystals:
            pass
        summary()
    except _NothingExplained:
        return


def _each(
    results: Iterable[CrystalExplanation | Failure], advance: Callable[[], None]
) -> Iterator[CrystalExplanation | Failure]:
    for result in results:
        yield result
        advance()


def _check_call(output: Path | None, figures: Path | None, stages: bool, frames: int) -> None:
    """Find what is wrong with the call before any work is done."""
    if output is not None and output.suffix.lower() != ".json":
        raise OutputError(f"cannot write {output}: explanations are written as .json")
    if stages and output is None:
        raise OutputError("--stages adds matrices to a file; name it with -o FILE.json")
    if figures is not None:
        from voigt.interpretation.maps import FEWEST, check_maps

        if frames >= FEWEST:
            check_maps()


def _print(lines: Sequence[Line]) -> None:
    from voigt.writers.table import plain_text, rich_text

    if sys.stdout.isatty():
        from rich.console import Console

        Console().print(rich_text(lines), soft_wrap=True)
    else:
        typer.echo(plain_text(lines))


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
