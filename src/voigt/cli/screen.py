"""`voigt screen`: properties of every crystal of a large collection; `voigt screen report`: a report on the results."""

from __future__ import annotations

import shlex
import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from typer.core import TyperGroup

from voigt.cli import options
from voigt.cli.delivery import names
from voigt.cli.faults import SOME_FAILED, one_sentence, tell
from voigt.cli.options import AllowUnseen, Debug, Functional, Model, Properties, Quiet, SumRule, Symmetry, Symprec
from voigt.cli.progress import progress
from voigt.errors import InputError

DEFAULT = "<collection>"
"""Name of the command that `voigt screen COLLECTION` stands for; it is never typed, and no usage line shows it."""
TOP = 20

Where = Annotated[str | None, typer.Option(metavar="EXPR", help='Keep these: "eps_total > 20 and band_gap > 3".')]
Rank = Annotated[str | None, typer.Option(metavar="EXPR", help='Largest first: "eps_total * band_gap".')]
Top = Annotated[int, typer.Option(metavar="N", min=1, help="How many crystals of the selection are shown and written.")]
Ascending = Annotated[bool, typer.Option("--ascending", help="Smallest --rank first.")]


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
    properties: Properties = None,
    model: Model = None,
    functional: Functional = None,
    prefilter: Annotated[
        str | None,
        typer.Option(metavar="EXPR", help="Run models that it does not need only where it is true: 'band_gap > 0.5'."),
    ] = None,
    where: Where = None,
    rank: Rank = None,
    top: Top = TOP,
    ascending: Ascending = False,
    refine: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Assemble the best N of --rank with --potential, and rank them again."),
    ] = None,
    potential: options.Potential = None,
    relax: options.Relax = None,
    limit: Annotated[int | None, typer.Option(metavar="N", min=1, help="Only the first N of the collection.")] = None,
    workers: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Processes that compute; by default one for each core.")
    ] = None,
    device: Annotated[str, typer.Option(metavar="NAME", help="Of the networks: cpu, cuda, cuda:1, mps.")] = "cpu",
    engine: Annotated[
        Literal["local", "ray"], typer.Option(help="This machine, or a Ray cluster (extra: ray); same results.")
    ] = "local",
    address: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="Ray cluster; by default a local one is started.")
    ] = None,
    compiled: Annotated[
        bool,
        typer.Option("--compile", help="torch.compile the networks; on a CPU quicker for scalars, slower for tensors."),
    ] = False,
    max_edges: Annotated[
        int, typer.Option(metavar="N", min=1, help="Neighbors in one batch; halved when memory runs out.")
    ] = 20_000,
    symmetry: Symmetry = True,
    sum_rule: SumRule = True,
    symprec: Symprec = 1e-3,
    allow_unseen: AllowUnseen = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Predict every crystal of a collection into a store that survives any interruption; then filter and rank.

    The same command goes on where it was stopped. `voigt screen report DIR` writes a report on the results; `voigt
    screen report --help` has its options. Exit codes: 0 all done, 1 some crystals failed (DIR/failed.csv), 2 the call
    was wrong.
    """
    with one_sentence(debug):
        from voigt.prediction.result import Settings
        from voigt.screening.job import Job, for_criteria
        from voigt.screening.query.criteria import read_criteria
        from voigt.screening.query.selection import select, write_selection
        from voigt.screening.report.listing import selection_text, summary_text
        from voigt.screening.screen import Listener, check_outside, choose_resources, screen_collection
        from voigt.screening.sources.collections import open_collection
        from voigt.screening.store.parts import result_parts

        criteria = read_criteria(where, rank, ascending)
        second = _second_stage(refine, potential, relax, rank)
        settings = Settings(
            functional=functional,
            symmetrize=symmetry,
            sum_rule=sum_rule,
            symprec=symprec,
            allow_unseen=allow_unseen,
            max_edges=max_edges,
        )
        job = for_criteria(Job(names(properties), model, settings, prefilter, device, compiled), criteria)
        resources = choose_resources(engine, workers, address)
        check_outside(output, source)
        members = open_collection(source)
        counts = [count for count in (limit, members.count) if count is not None]
        with progress("crystals", min(counts, default=None), quiet) as advance:
            summary = screen_collection(
                members,
                output,
                job,
                resources=resources,
                limit=limit,
                criteria=criteria,
                command=shlex.join(["voigt", *sys.argv[1:]]),
                listener=Listener(advance=advance) if quiet else Listener(tell, advance),
            )
        if not quiet:
            tell(summary.sentence(output))
        if criteria.given:
            selection = select(result_parts(output), criteria.where, criteria.rank, top, ascending)
            write_selection(selection, output / "selection.csv")
            typer.echo(selection_text(selection))
            if not quiet:
                written = f"wrote {output / 'selection.csv'}; more: voigt screen report {output}"
                tell(f"{summary_text(selection)}; {written}")
        if second is not None:
            _refine(output, second, resources.workers, criteria, quiet)
    if summary.failed:
        raise typer.Exit(SOME_FAILED)


def _second_stage(refine: int | None, potential: str | None, relax: Any, rank: str | None) -> tuple[int, Any] | None:
    """How many are refined and how; errors of these options before hours of work."""
    if refine is None:
        if potential is not None or relax is not None:
            raise InputError("--potential and --relax are for the second stage; add --refine N")
        return None
    if rank is None:
        raise InputError("--refine takes the best, and nothing says which they are; give --rank")
    from voigt.response.potentials import DEFAULT, load_potential
    from voigt.screening.refine.run import Refining

    load_potential(potential or DEFAULT)
    return refine, Refining(potential or DEFAULT, relax or "positions")


def _refine(folder: Path, second: tuple[int, Any], workers: int, criteria: Any, quiet: bool) -> None:
    from voigt.screening.refine import refine, write_refinement
    from voigt.screening.report.listing import refinement_text

    most, how = second
    with progress("refined crystals", most, quiet) as advance:
        refinement = refine(folder, most, criteria, replace(how, workers=workers), advance)
    path = write_refinement(refinement, folder)
    typer.echo(f"\n{refinement_text(refinement)}")
    if not quiet:
        failed = sum(crystal.state == "failed" for crystal in refinement.crystals)
        tell(f"{len(refinement.crystals)} refined, {failed} failed; wrote {path}")


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
    """Report on a screening: ranked table, CIF files, Pareto front, distributions, elements, Markdown summary.

    Without --where and --rank those of the last `voigt screen` are used.
    """
    with one_sentence(debug):
        from voigt.screening.query.criteria import read_criteria
        from voigt.screening.report.report import write_report

        criteria = read_criteria(where, rank, ascending)
        written = write_report(
            folder, criteria if criteria.given else None, top=top, pareto=_pair(pareto), output=output
        )
        if not quiet:
            counts = f"{written.crystals} crystals, {written.failed} failed"
            tell(f"{counts}; {written.passed} selected, {written.top} shown")
        typer.echo(written.page)


@screen.command()
def compact(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Store of a screening.")],
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Put the small parts of a store together, into files of some 50,000 crystals: quicker to open and to read.

    A screening does so at its end; this is for one that was stopped. A kill loses nothing.
    """
    with one_sentence(debug):
        from voigt.screening.store.compaction import compact as put_together

        before, after = put_together(folder)
        if not quiet:
            tell(f"{folder}: {before} parts before, {after} now")


def _pair(text: str | None) -> tuple[str, str] | None:
    if text is None:
        return None
    scalars = [name.strip() for name in text.split(",")]
    if len(scalars) != 2 or not all(scalars):
        raise InputError(f"--pareto {text}: give two scalars, e.g. eps_total,band_gap")
    return scalars[0], scalars[1]
