"""`voigt explain`: what a capsule network sees in crystals."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from voigt.cli import options
from voigt.cli.delivery import MOST_TABLES, NothingDoneError, Tally, count, print_lines
from voigt.cli.devices import tell_device
from voigt.cli.faults import SOME_FAILED, one_sentence, tell
from voigt.cli.progress import progress
from voigt.errors import OutputError
from voigt.text import file_stem

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from voigt.interpretation.crystals import CrystalExplanation
    from voigt.interpretation.sets import Collection, SetSummary
    from voigt.notes import Failure


def explain(
    inputs: options.Inputs,
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
    allow_unseen: options.AllowUnseen = False,
    symprec: options.Symprec = 1e-3,
    device: options.Device = "auto",
    quiet: options.QuietTables = False,
    debug: options.Debug = False,
) -> None:
    """Show what a capsule network (SEN) makes of crystals: shares of atoms, capsules, attention.

    Tables go to standard output: of every crystal, up to 20, and of all together if there are several. Exit codes: 0
    all done, 1 some inputs failed, 2 the call was wrong.
    """
    with one_sentence(debug):
        from voigt.interpretation.crystals import choose, explain_structures
        from voigt.interpretation.records import write_json
        from voigt.interpretation.sets import Collection
        from voigt.models.devices import find_device, move
        from voigt.prediction.result import Settings
        from voigt.structures import read

        subject = choose(model, property_name, member)
        move(subject.model, find_device(device))
        tell_device(subject.model.device, quiet)
        structures = read(inputs)
        first = list(islice(structures, MOST_TABLES + 1))
        _check_call(output, figures, stages, len(first))
        singly = len(first) <= MOST_TABLES
        to_file = output is not None or figures is not None
        delivery = _Delivery(Tally(quiet, False), Collection(), singly, not (quiet and to_file), figures)
        settings = Settings(symprec=symprec, allow_unseen=allow_unseen)
        with progress("crystals", quiet=quiet or singly) as advance:
            results = explain_structures(chain(first, structures), subject, settings)
            crystals = delivery.deliver(results, advance)
            with suppress(NothingDoneError):
                if output is not None:
                    write_json(crystals, output, delivery.summary, stages)
                else:
                    deque(crystals, maxlen=0)
                    delivery.summary()
        delivery.finish(output)
    if delivery.tally.failed:
        raise typer.Exit(SOME_FAILED)


@dataclass
class _Delivery:
    """Prints and draws explanations as they come, and gathers them."""

    tally: Tally
    collection: Collection
    singly: bool
    show: bool
    figures: Path | None
    drawn: int = 0
    folders: set[str] = field(default_factory=set)

    def deliver(
        self, results: Iterable[CrystalExplanation | Failure], advance: Callable[[], None]
    ) -> Iterator[CrystalExplanation]:
        """Pass explanations on, each printed, drawn and added to the collection."""
        from voigt.interpretation.table import crystal_lines

        for crystal in self.tally.results(results, advance):
            if self.show and self.singly:
                print_lines([*([()] if self.tally.done else []), *crystal_lines(crystal)])
            if self.figures is not None and self.singly:
                from voigt.interpretation.figures import crystal_figures

                self._draw(self.figures / self._folder(crystal.id), crystal_figures(crystal))
            self.collection.add(crystal)
            yield crystal

    def summary(self) -> SetSummary | None:
        """Print the figures of the set and draw its maps; None for a single crystal."""
        from voigt.interpretation.table import summary_lines

        if self.tally.done < 2:
            return None
        summary = self.collection.summary()
        if self.show:
            print_lines([*([()] if self.singly else []), *summary_lines(summary)])
        if self.figures is not None:
            from voigt.interpretation.maps import set_figures

            self._draw(self.figures, set_figures(self.collection))
        return summary

    def finish(self, output: Path | None) -> None:
        """One line at the end, if there is something to tell."""
        tally = self.tally
        if tally.quiet or (tally.failed == 0 and output is None and self.figures is None):
            return
        wrote = [f"wrote {output}"] if output is not None and tally.done else []
        wrote += [f"{count(self.drawn, 'figure')} in {self.figures}"] if self.drawn else []
        failures = [count(tally.failed, "failure")] if tally.failed else []
        tell("; ".join([", ".join([f"{count(tally.done, 'crystal')} explained", *failures]), *wrote]))

    def _folder(self, name: str) -> str:
        """A folder of its own for every crystal, named by its id."""
        stem = file_stem(name)
        number, folder = 1, stem
        while folder.casefold() in self.folders:  # some file systems do not tell a from A
            number += 1
            folder = f"{stem}-{number}"
        self.folders.add(folder.casefold())
        return folder

    def _draw(self, folder: Path, figures: Sequence[tuple[str, Figure]]) -> None:
        from voigt.writers.figures import save_figure

        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"cannot make {folder}: {error.strerror or error}; choose another --figures") from error
        for stem, figure in figures:
            save_figure(figure, folder / f"{stem}.png")
        self.drawn += len(figures)


def _check_call(output: Path | None, figures: Path | None, stages: bool, crystals: int) -> None:
    """Find what is wrong with the call before any work is done."""
    if output is not None and output.suffix.lower() != ".json":
        raise OutputError(f"cannot write {output}: explanations are written as .json")
    if stages and output is None:
        raise OutputError("--stages adds matrices to a file; name it with -o FILE.json")
    if figures is not None:
        from voigt.interpretation.maps import FEWEST, check_maps

        if crystals >= FEWEST:
            check_maps()
