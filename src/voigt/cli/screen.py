"""`voigt screen`: properties of every crystal of a large collection; `voigt screen report`: what was found."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from typer.core import TyperGroup

from voigt.cli.faults import SOME_FAILED, one_sentence, tell
from voigt.cli.progress import progress
from voigt.errors import DomainError, InputError

if TYPE_CHECKING:
    from voigt.screening.query.expressions import Expression
    from voigt.screening.screen import Summary

DEFAULT = "<collection>"
"""Name of the command that `voigt screen COLLECTION` stands for; nobody types it, and no usage line shows it."""
TOP = 20

Where = Annotated[str | None, typer.Option(metavar="EXPR", help='Keep these: "eps_total > 20 and band_gap > 3".')]
Rank = Annotated[str | None, typer.Option(metavar="EXPR", help='Largest first: "eps_total * band_gap".')]
Top = Annotated[int, typer.Option(metavar="N", min=1, help="How many crystals of the selection are shown and written.")]
Ascending = Annotated[bool, typer.Option("--ascending", help="Smallest --rank first.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress and no messages but errors.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]


class _Screen(TyperGroup):
    """`voigt screen X` is the command on collections unless X is the name of another one."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        first = args[0] if args else "--help"
        return super().parse_args(ctx, args if first in self.commands else [DEFAULT, *(args or ["--help"])])

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        name, command, rest = super().resolve_command(ctx, args)
        return "" if name == DEFAULT else name, command, rest


screen = typer.Typer(cls=_Screen, rich_markup_mode=None, help="Predict a large collection, resumable; report on it.")


@screen.command(DEFAULT, hidden=True)
def collection(
    source: Annotated[
        str,
        typer.Argument(
            metavar="COLLECTION",
            help="Parquet, a folder, tar or zip of CIF or POSCAR, extended XYZ, ASE database, JSON lines of pymatgen "
            "structures (all also .gz), or optimade:URL?filter=...",
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Store: new, or one to go on with.")],
    properties: Annotated[
        str | None, typer.Option(metavar="A,B", help="What to predict; by default what the expressions name.")
    ] = None,
    model: Annotated[
        str | None, typer.Option(metavar="NAME|FILE", help="A model; by default those that ship and give --properties.")
    ] = None,
    functional: Annotated[
        str | None, typer.Option(metavar="NAME", help="Functional whose response is wanted, e.g. PBE.")
    ] = None,
    prefilter: Annotated[
        str | None,
        typer.Option(metavar="EXPR", help="Run models that it does not need only where it is true: 'band_gap > 0.5'."),
    ] = None,
    where: Where = None,
    rank: Rank = None,
    top: Top = TOP,
    ascending: Ascending = False,
    limit: Annotated[int | None, typer.Option(metavar="N", min=1, help="Only the first N of the collection.")] = None,
    workers: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Processes that compute; by default one for each core.")
    ] = None,
    device: Annotated[str, typer.Option(metavar="NAME", help="Of the networks: cpu, cuda, cuda:1, mps.")] = "cpu",
    engine: Annotated[
        Literal["local", "ray"], typer.Option(help="This machine, or Ray Data (extra: ray); same results.")
    ] = "local",
    address: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="Ray cluster; by default a local one is started.")
    ] = None,
    compiled: Annotated[
        bool, typer.Option("--compile", help="torch.compile the tensor products: pays from some thousand crystals on.")
    ] = False,
    max_edges: Annotated[
        int, typer.Option(metavar="N", min=1, help="Neighbours in one batch; halved when memory runs out.")
    ] = 20_000,
    symmetry: Annotated[
        bool, typer.Option("--symmetry/--no-symmetry", help="Project onto the crystal's space group.")
    ] = True,
    sum_rule: Annotated[
        bool, typer.Option("--sum-rule/--no-sum-rule", help="Make the Born charges of a cell sum to zero.")
    ] = True,
    symprec: Annotated[float, typer.Option(metavar="D", help="Tolerance of the space group, Angstrom.")] = 1e-3,
    allow_unseen: Annotated[
        bool, typer.Option("--allow-unseen", help="Predict for elements that a model was not trained on.")
    ] = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Predict every crystal of a collection into a store that survives any interruption; then filter and rank.

    The same command goes on where it was stopped. `voigt screen report DIR` tells what was found; `voigt screen report
    --help` has its options. Exit codes: 0 all done, 1 some crystals failed (DIR/failed.csv), 2 the call was wrong.
    """
    with one_sentence(debug):
        from voigt.prediction.result import Settings
        from voigt.screening.job import Job, pinned, stages_of
        from voigt.screening.screen import Listener, Resources, Wish, screen
        from voigt.screening.sources.collections import open_collection

        condition, ranking = _parsed("--where", where, "truth"), _parsed("--rank", rank, "number")
        asked = _properties(properties, model, (condition, ranking))
        settings = Settings(
            functional=functional,
            symmetrize=symmetry,
            sum_rule=sum_rule,
            symprec=symprec,
            allow_unseen=allow_unseen,
            max_edges=max_edges,
        )
        job = pinned(Job(asked, model, settings, prefilter, device, compiled))
        known = stages_of(job).plan.properties
        for option, expression in (("--where", condition), ("--rank", ranking)):
            _check_needs(option, expression, known)
        if engine == "ray":
            _check_ray()
        _check_place(source, output)
        members = open_collection(source)
        resources = Resources(engine, workers or _cores(), address)
        total = limit if members.count is None else min(limit or members.count, members.count)
        with progress("crystals", total, quiet) as advance:
            listener = Listener(_silent if quiet else tell, advance)
            wish = None if where is rank is None else Wish(where, rank, ascending)
            words = shlex.join(["voigt", *sys.argv[1:]])
            try:
                summary = screen(members, output, job, resources, limit, wish, words, listener)
            except KeyboardInterrupt:
                listener.tell(f"interrupted; what is done is in {output}, the same command goes on")
                raise
        if not quiet:
            _tell_summary(summary, output)
        if condition is not None or ranking is not None:
            _select(output, condition, ranking, top, ascending, quiet)
    if summary.failed:
        raise typer.Exit(SOME_FAILED)


@screen.command()
def report(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Store of a screening.")],
    where: Where = None,
    rank: Rank = None,
    top: Top = TOP,
    ascending: Ascending = False,
    pareto: Annotated[
        str | None, typer.Option(metavar="X,Y", help="Scalars whose Pareto front is drawn; both are to be large.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="DIR", help="Folder of the report; by default DIR/report.")
    ] = None,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Write what a screening found: ranked table, CIF files, Pareto front, distributions, elements, Markdown summary.

    Without --where and --rank those of the last `voigt screen` are used.
    """
    with one_sentence(debug):
        from voigt.screening.report.report import write_report
        from voigt.screening.store.store import read_manifest

        noted = read_manifest(folder).get("selection", {})
        asked = where is not None or rank is not None
        written = write_report(
            folder,
            where=_parsed("--where", where if asked else noted.get("where"), "truth"),
            rank=_parsed("--rank", rank if asked else noted.get("rank"), "number"),
            top=top,
            pareto=_pair(pareto),
            output=output or folder / "report",
            ascending=ascending if asked else noted.get("ascending", False),
        )
        if not quiet:
            counts = f"{written.crystals} crystals, {written.failed} failed"
            tell(f"{counts}; {written.passed} selected, {written.top} shown")
        typer.echo(written.page)


def _parsed(option: str, text: str | None, kind: Literal["truth", "number"]) -> Expression | None:
    from voigt.screening.query.expressions import parse

    return None if text is None else parse(text, option, kind)


def _properties(
    text: str | None, model: str | None, expressions: tuple[Expression | None, ...]
) -> tuple[str, ...] | None:
    """Properties to predict, None for all of a model."""
    if text is not None:
        return tuple(name.strip() for name in text.split(",") if name.strip())
    if model is not None:
        return None
    needed = sorted({name for entry in expressions if entry is not None for name in entry.properties})
    if not needed:
        raise DomainError("what is to be predicted? Give --properties, --model, or an expression to --where or --rank")
    return tuple(needed)


def _check_needs(option: str, expression: Expression | None, known: tuple[str, ...]) -> None:
    absent = [] if expression is None else sorted(expression.properties - set(known))
    if absent:
        raise DomainError(f"{option} needs {', '.join(absent)}; add it to --properties")


def _check_place(source: str, output: Path) -> None:
    if os.path.isdir(source) and output.resolve().is_relative_to(Path(source).resolve()):
        raise InputError(f"{output} lies inside {source} and would become part of it; give a folder outside to -o")


def _check_ray() -> None:
    from importlib.util import find_spec

    if find_spec("ray") is None:
        raise DomainError('--engine ray needs Ray: pip install "voigt[ray]", or leave it out for this machine alone')


def _cores() -> int:
    """Cores that this process may use, which a job scheduler may have limited."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _silent(_: str) -> None:
    """Nothing."""


def _tell_summary(summary: Summary, folder: Path) -> None:
    state = "complete" if summary.complete else "stopped at --limit"
    failed = f", {summary.failed} failed ({folder / 'failed.csv'})" if summary.failed else ""
    tell(f"{folder}: {summary.crystals} crystals{failed}; {summary.computed} of this run; {state}")


def _select(
    folder: Path, where: Expression | None, rank: Expression | None, top: int, ascending: bool, quiet: bool
) -> None:
    """Show the best crystals and write them to DIR/selection.csv."""
    from voigt.screening.query.selection import select, write_selection
    from voigt.screening.report.listing import selection_text, summary_text
    from voigt.screening.store.store import result_parts

    selection = select(result_parts(folder), where, rank, top, ascending)
    path = folder / "selection.csv"
    write_selection(selection, path)
    typer.echo(selection_text(selection))
    if not quiet:
        tell(f"{summary_text(selection)}; wrote {path}; more: voigt screen report {folder}")


def _pair(text: str | None) -> tuple[str, str] | None:
    if text is None:
        return None
    names = [name.strip() for name in text.split(",")]
    if len(names) != 2 or not all(names):
        raise InputError(f"--pareto {text}: give two scalars, e.g. eps_total,band_gap")
    return names[0], names[1]
