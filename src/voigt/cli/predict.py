"""`voigt predict`: tensors of crystals in files."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from voigt.cli import options
from voigt.cli.delivery import MOST_TABLES, NothingDoneError, Tally, count, names, print_lines
from voigt.cli.devices import tell_device
from voigt.cli.faults import SOME_FAILED, one_sentence, tell
from voigt.cli.progress import progress
from voigt.errors import DomainError, InputError
from voigt.text import file_stem

if TYPE_CHECKING:
    from voigt.notes import Failure
    from voigt.prediction.result import Prediction


def predict(
    inputs: options.Inputs,
    properties: options.Properties = None,
    model: options.Model = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write .json, .csv, .extxyz or .parquet.")
    ] = None,
    born: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Write phonopy's BORN; for several crystals put {id} into the name."),
    ] = None,
    functional: options.Functional = None,
    all_atoms: Annotated[
        bool, typer.Option("--all-atoms", help="Print every atom, not one of each symmetry-equivalent set.")
    ] = False,
    symmetry: options.Symmetry = True,
    sum_rule: options.SumRule = True,
    total_charge: Annotated[
        float | None,
        typer.Option(metavar="Q", help="Charge of the cell, e; by default what the structure states, or 0."),
    ] = None,
    symprec: options.Symprec = 1e-3,
    allow_unseen: options.AllowUnseen = False,
    device: options.Device = "auto",
    workers: options.PredictWorkers = 0,
    quiet: options.QuietTables = False,
    debug: options.Debug = False,
) -> None:
    """Predict Born charges and other tensors of crystals.

    Tables go to standard output. Exit codes: 0 all done, 1 some inputs failed, 2 the call was wrong.
    """
    with one_sentence(debug):
        from voigt.prediction.plan import choose_models
        from voigt.prediction.result import Settings
        from voigt.prediction.stream import predict_planned
        from voigt.structures import read
        from voigt.writers import write_predictions, writer_of

        settings = Settings(
            properties=names(properties),
            functional=functional,
            symmetrize=symmetry,
            sum_rule=sum_rule,
            total_charge=total_charge,
            symprec=symprec,
            allow_unseen=allow_unseen,
            device=device,
        )
        plan = choose_models(model, settings)
        tell_device(plan.shares[0].model.device, quiet)
        if output is not None:
            writer_of(output)
            if any(Path(name).exists() and output.exists() and output.samefile(name) for name in inputs):
                raise InputError(f"--output {output} is one of the inputs, which it would replace; give another name")
        if born is not None and not {"born_charges", "eps_inf"} <= set(plan.properties):
            raise DomainError(
                "--born needs born_charges and eps_inf; ask for both or choose a model that predicts both"
            )
        structures = read(inputs)
        first = list(islice(structures, MOST_TABLES + 1))
        if born is not None and "{id}" not in born and len(first) > 1:
            raise InputError(
                f"--born {born} is one file, but the input holds several crystals; write {{id}} into its name"
            )
        to_file = output is not None or born is not None
        show = not (quiet and to_file) and (output is None or len(first) <= MOST_TABLES)
        delivery = _Delivery(Tally(quiet, all_warnings=show), born, show, all_atoms)
        with progress("crystals", quiet=quiet or show) as advance:
            predictions = delivery.deliver(predict_planned(chain(first, structures), plan, workers=workers), advance)
            with suppress(NothingDoneError):
                if output is not None:
                    write_predictions(predictions, output, plan.properties)
                else:
                    deque(predictions, maxlen=0)
        delivery.summarize(output)
    if delivery.tally.failed:
        raise typer.Exit(SOME_FAILED)


@dataclass
class _Delivery:
    """Prints tables and writes BORN files as predictions come."""

    tally: Tally
    born: str | None
    show: bool
    all_atoms: bool
    written: set[str] = field(default_factory=set)

    def deliver(self, results: Iterable[Prediction | Failure], advance: Callable[[], None]) -> Iterator[Prediction]:
        """Pass predictions on, each printed and written."""
        from voigt.writers.table import prediction_lines

        for prediction in self.tally.results(results, advance):
            if self.show:
                lines = prediction_lines(prediction, self.all_atoms, sys.stdout.isatty())
                print_lines([(), *lines] if self.tally.done else lines)
            if self.born is not None:
                self._write_born(prediction, Path(self.born.replace("{id}", file_stem(prediction.id))))
            yield prediction

    def summarize(self, output: Path | None) -> None:
        """One line at the end, if there is something to tell."""
        tally = self.tally
        if tally.quiet or (tally.failed == 0 and output is None):
            return
        failures = f", {count(tally.failed, 'failure')}" if tally.failed else ""
        warned = f", {tally.warned} with warnings" if tally.warned else ""
        place = f"; wrote {output}" if output is not None and tally.done else ""
        tell(f"{count(tally.done, 'crystal')} predicted{warned}{failures}{place}")

    def _write_born(self, prediction: Prediction, path: Path) -> None:
        from voigt.response.phonons.born_files import write_born

        try:
            if str(path).casefold() in self.written:  # some file systems do not tell a from A
                raise InputError(f"{prediction.id}: {path} already holds another crystal; give ids that differ more")
            write_born(prediction, path)
        except InputError as error:
            self.tally.fail(str(error))
            return
        self.written.add(str(path).casefold())
        if not self.tally.quiet:
            charges, eps = (prediction.functionals[name] for name in ("born_charges", "eps_inf"))
            if charges != eps:
                stated = f"Born charges for {charges or 'no stated functional'} and eps_inf for {eps or 'none'}"
                tell(f"warning: {prediction.id}: BORN holds {stated}")
            tell(f"wrote {path}")
