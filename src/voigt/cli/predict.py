"""`voigt predict`: tensors of crystals in files."""

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
from voigt.errors import DomainError, InputError, VoigtError

if TYPE_CHECKING:
    from voigt.prediction.result import Prediction
    from voigt.prediction.stream import Failure

MOST_TABLES = 20
"""With -o, tables are printed for at most so many crystals, and warnings of the first so many."""


def predict(
    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="INPUT",
            help="CIF, POSCAR, extended XYZ, vasprun.xml, ASE database, pymatgen JSON, a folder of these, or - for "
            "standard input.",
        ),
    ],
    properties: Annotated[
        str | None, typer.Option(metavar="A,B", help="What to predict; by default all that the model knows.")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|FILE",
            help="A model that ships (see voigt models) or a file; by default those that ship and give --properties, "
            "or born.",
        ),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write .json, .csv, .extxyz or .parquet.")
    ] = None,
    born: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Write phonopy's BORN; for several crystals put {id} into the name."),
    ] = None,
    functional: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Functional whose response is wanted, e.g. PBEsol; voigt models lists them."),
    ] = None,
    all_atoms: Annotated[
        bool, typer.Option("--all-atoms", help="Print every atom, not one of each symmetry-equivalent set.")
    ] = False,
    symmetry: Annotated[
        bool, typer.Option("--symmetry/--no-symmetry", help="Project onto the crystal's space group.")
    ] = True,
    sum_rule: Annotated[
        bool, typer.Option("--sum-rule/--no-sum-rule", help="Make the Born charges sum to the total charge.")
    ] = True,
    total_charge: Annotated[float, typer.Option(metavar="Q", help="Charge of the cell, e.")] = 0.0,
    symprec: Annotated[float, typer.Option(metavar="D", help="Tolerance of the space group, Angstrom.")] = 1e-3,
    allow_unseen: Annotated[
        bool, typer.Option("--allow-unseen", help="Predict for elements that the model was not trained on.")
    ] = False,
    quiet: Annotated[
        bool,
        typer.Option("--quiet", "-q", help="No warnings and progress, and no tables if results go to a file."),
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Predict Born charges and other tensors of crystals.

    Tables go to standard output. Exit codes: 0 all done, 1 some inputs failed, 2 the call was wrong.
    """
    with one_sentence(debug):
        from voigt.prediction.plan import choose_models
        from voigt.prediction.result import Settings
        from voigt.prediction.stream import predict_planned
        from voigt.structures.reading import read

        settings = Settings(
            properties=_names(properties),
            functional=functional,
            symmetrize=symmetry,
            sum_rule=sum_rule,
            total_charge=total_charge,
            symprec=symprec,
            allow_unseen=allow_unseen,
        )
        plan = choose_models(model, settings)
        _check_call(plan.properties, output, born)
        frames = read(inputs)
        first = list(islice(frames, MOST_TABLES + 1))
        if born is not None and "{id}" not in born and len(first) > 1:
            raise InputError(
                f"--born {born} is one file, but the input holds several crystals; write {{id}} into its name"
            )
        to_file = output is not None or born is not None
        show = not (quiet and to_file) and (output is None or len(first) <= MOST_TABLES)
        delivery = _Delivery(born, show, all_atoms, quiet)
        with progress("crystals", quiet=quiet or show) as advance:
            results = predict_planned(chain(first, frames), plan)
            _write(delivery.predictions(_each(results, advance)), output, plan.properties)
        delivery.summarise(output)
    if delivery.failed:
        raise typer.Exit(SOME_FAILED)


@dataclass
class _Delivery:
    """Shows results as they come and counts them."""

    born: str | None
    show: bool
    all_atoms: bool
    quiet: bool
    predicted: int = 0
    failed: int = 0
    warned: int = 0
    written: set[Path] = field(default_factory=set)

    def predictions(self, results: Iterable[Prediction | Failure]) -> Iterator[Prediction]:
        """Predictions among the results; failures are named on standard error."""
        from voigt.prediction.stream import Failure

        for result in results:
            if isinstance(result, Failure):
                self._fail(result.reason)
                continue
            self._warn(result)
            if self.show:
                _print_table(result, self.all_atoms, first=self.predicted == 0)
            if self.born is not None:
                self._write_born(result, self.born)
            self.predicted += 1
            yield result
        if not self.predicted:
            raise _NothingPredicted

    def summarise(self, output: Path | None) -> None:
        """One line at the end, if there is something to tell."""
        if self.quiet or (self.failed == 0 and output is None):
            return
        failures = f", {_count(self.failed, 'failure')}" if self.failed else ""
        warned = f", {self.warned} with warnings" if self.warned else ""
        place = f"; wrote {output}" if output is not None and self.predicted else ""
        tell(f"{_count(self.predicted, 'crystal')} predicted{warned}{failures}{place}")

    def _warn(self, prediction: Prediction) -> None:
        """Tell the warnings of a crystal; of many crystals without tables only the first."""
        self.warned += bool(prediction.warnings)
        if not self.quiet and (self.show or self.warned <= MOST_TABLES):
            for warning in prediction.warnings:
                tell(f"warning: {prediction.id}: {warning}")

    def _write_born(self, prediction: Prediction, born: str) -> None:
        from voigt.response.phonons.born_file import write_born

        path = Path(born.replace("{id}", re.sub(r"[^\w.+-]+", "_", prediction.id)))
        try:
            if path in self.written:
                raise InputError(f"{prediction.id}: {path} already holds another crystal; give ids that differ more")
            write_born(prediction, path)
        except InputError as error:
            self._fail(str(error))
        else:
            self.written.add(path)
            if not self.quiet:
                self._tell_mixture(prediction)
                tell(f"wrote {path}")

    def _tell_mixture(self, prediction: Prediction) -> None:
        charges, eps = (prediction.functionals[name] for name in ("born_charges", "eps_inf"))
        if charges != eps:
            stated = f"Born charges for {charges or 'no stated functional'} and eps_inf for {eps or 'none'}"
            tell(f"warning: {prediction.id}: BORN holds {stated}")

    def _fail(self, reason: str) -> None:
        self.failed += 1
        tell(f"failed: {reason}")


class _NothingPredicted(VoigtError):
    """Every input failed: no output file is written over an earlier one."""


def _write(predictions: Iterator[Prediction], output: Path | None, properties: Sequence[str]) -> None:
    from voigt.writers import write_predictions

    try:
        if output is not None:
            write_predictions(predictions, output, properties)
        else:
            for _ in predictions:
                pass
    except _NothingPredicted:
        return


def _each(results: Iterable[Prediction | Failure], advance: Callable[[], None]) -> Iterator[Prediction | Failure]:
    for result in results:
        yield result
        advance()


def _check_call(properties: Sequence[str], output: Path | None, born: str | None) -> None:
    """Find what is wrong with the call before any work is done."""
    from voigt.writers import writer_of

    if output is not None:
        writer_of(output)
    if born is not None and not {"born_charges", "eps_inf"} <= set(properties):
        raise DomainError("--born needs born_charges and eps_inf; ask for both or choose a model that predicts both")


def _names(text: str | None) -> tuple[str, ...] | None:
    return None if text is None else tuple(name.strip() for name in text.split(",") if name.strip())


def _print_table(prediction: Prediction, all_atoms: bool, first: bool) -> None:
    from voigt.writers.table import plain_text, prediction_lines, rich_text

    terminal = sys.stdout.isatty()
    lines = prediction_lines(prediction, all_atoms, terminal)
    if not first:
        lines = [(), *lines]
    if terminal:
        from rich.console import Console

        Console().print(rich_text(lines), soft_wrap=True)
    else:
        typer.echo(plain_text(lines))


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
