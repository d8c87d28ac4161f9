"""The report on a screening: ranked table with structures, Pareto front, distributions, coverage, a page on it all."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import ase
import ase.io
import numpy as np

from voigt.errors import OutputError
from voigt.evaluation.figures import save_figure
from voigt.files import atomic_write
from voigt.screening.query.derived import DERIVED
from voigt.screening.query.expressions import Expression, parse
from voigt.screening.query.selection import read_crystals, select
from voigt.screening.query.uncertainty import deviations
from voigt.screening.report.figures import Plane, distribution_figure, elements_figure, pareto_figure
from voigt.screening.report.findings import Front, Material, check_objectives, flags_of, front_of, ranked
from voigt.screening.report.page import Findings, page
from voigt.screening.report.survey import Survey, read_failures, survey
from voigt.screening.report.wording import axis_label
from voigt.screening.store.store import read_manifest, result_parts
from voigt.tensors.properties import PROPERTIES

PAGE, TOP, PARETO, STRUCTURES = "report.md", "top.csv", "pareto.csv", "structures"

_PREFERRED = (
    ("eps_total", "band_gap"),
    ("eps_inf", "band_gap"),
    ("piezo_total_norm", "band_gap"),
    ("bulk_modulus", "shear_modulus"),
    ("band_gap", "-formation_energy"),
    ("eps_total", "eps_inf"),
)
_PARTIAL = re.compile(r"_(min|mid|max)$")  # of a tensor: its mean and ratio say enough unless they are asked for
_UNSAFE = re.compile(r"[^A-Za-z0-9._+-]+")


@dataclass(frozen=True)
class Report:
    """What was written.

    Attributes
    ----------
    page
        The Markdown file, in the folder of all others.
    crystals, failed
        In the store.
    passed
        Crystals that satisfy the condition and have a rank.
    top
        Rows of the table.
    front
        Crystals on the Pareto front.
    """

    page: Path
    crystals: int
    failed: int
    passed: int
    top: int
    front: int


def write_report(
    folder: str | Path,
    *,
    where: Expression | None,
    rank: Expression | None,
    top: int,
    pareto: tuple[str, str] | None,
    output: str | Path,
    ascending: bool = False,
) -> Report:
    """Write report.md with its tables (top.csv, pareto.csv), figures (PNG) and structures (CIF) into a folder.

    The same store and request give the same files. Each is replaced whole or not at all; structures that an earlier
    report has left there go.

    Parameters
    ----------
    folder
        Of the screening; it may still be running.
    where
        Condition, see `voigt.screening.query.expressions`; None: all crystals.
    rank
        What the table is ordered by, the largest first; None: the order of the collection.
    top
        Rows of the table.
    pareto
        Names of two scalars, a minus before one of which less is better: "-formation_energy". None: permittivity and
        gap, or what else there is; no front if there is nothing.
    output
        Folder to write to; it is made.
    ascending
        The smallest rank first.

    Raises
    ------
    InputError
        No screening, no results, an unknown name, or one that this screening lacks.
    OutputError
        The folder cannot be written.
    """
    output = Path(output)
    manifest = read_manifest(folder)
    parts = result_parts(folder)
    properties = [name for name in manifest["job"]["properties"] if name in PROPERTIES]
    objectives = _objectives(pareto, properties)
    plain = [text.removeprefix("-").strip() for text in objectives or ()]
    usual = _usual(properties)
    selection = select(parts, where, rank, top, ascending, plain)
    scalars = [name for name in selection.names if not name.endswith("_spread")]
    involved = sorted(scalars, key=lambda name: not DERIVED[name].properties)  # what is predicted comes first
    shown = list(dict.fromkeys([*usual, *involved]))
    found = survey(parts, properties, shown, where)
    failures = read_failures(folder)
    spread = deviations(parts, selection.ids, [parse(name) for name in involved])
    best = ranked(found, selection, involved, spread)
    front = None if objectives is None else front_of(found, objectives, involved, parts)

    _make(output / STRUCTURES)
    _write_structures(output, best, read_crystals(parts, selection.ids))
    with atomic_write(output / TOP) as stream:
        stream.write(_csv(best, involved, _file_of))
    matched = None if where is None else found.matched
    _write_front(output, found, front, involved, matched is not None)
    labels = {name: axis_label(name, 44) for name in shown}
    values = {name: found.scalars[name] for name in shown}
    save_figure(distribution_figure(values, labels, matched), output / "distributions.png")
    held = found.held + failures.refused
    save_figure(elements_figure(held, found.trusted, failures.refused), output / "elements.png")
    findings = Findings(manifest, found, failures, selection, best, front, tuple(involved), spread)
    with atomic_write(output / PAGE) as stream:
        stream.write(page(findings, where, rank))
    on_front = 0 if front is None else len(front.materials)
    return Report(output / PAGE, len(found), failures.count, selection.passed, len(best), on_front)


def _objectives(asked: tuple[str, str] | None, properties: Sequence[str]) -> tuple[str, str] | None:
    """Those asked for, or the first pair that these properties give."""
    if asked is not None:
        check_objectives(asked)
        return asked
    for pair in _PREFERRED:
        if all(set(DERIVED[text.removeprefix("-")].properties) <= set(properties) for text in pair):
            return pair
    return None


def _usual(properties: Sequence[str]) -> list[str]:
    """Scalars whose distribution is of interest, whatever the question."""
    return [
        name
        for name, entry in DERIVED.items()
        if entry.predicted and set(entry.properties) <= set(properties)
        if not _PARTIAL.search(name)
    ]


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = error.strerror or error
        raise OutputError(f"cannot make the folder {folder}: {reason}; choose another place") from error


def _file_of(material: Material) -> str:
    """`structures/007-mp-1143-Al2O3.cif`, whatever an id is made of."""
    name = "-".join(_UNSAFE.sub("_", text)[:80] for text in (material.id, material.formula))
    return f"{STRUCTURES}/{material.place:03d}-{name}.cif"


def _write_structures(output: Path, best: Sequence[Material], crystals: Iterable[ase.Atoms]) -> None:
    old = _listed(output)
    for material, atoms in zip(best, crystals, strict=True):
        with atomic_write(output / _file_of(material), "wb") as stream:
            stream.write(_cif(material, atoms))
    for name in old - {_file_of(material) for material in best}:
        try:
            (output / name).unlink(missing_ok=True)
        except OSError as error:
            reason = error.strerror or error
            raise OutputError(f"cannot remove {output / name}: {reason}; remove it yourself") from error


def _listed(output: Path) -> set[str]:
    """Structures of an earlier report, by its table: nothing else is ever removed."""
    try:
        with (output / TOP).open(encoding="utf-8", newline="") as stream:
            names = {row.get("structure") or "" for row in csv.DictReader(stream)}
    except (OSError, UnicodeDecodeError, csv.Error):
        return set()
    return {name for name in names if re.fullmatch(rf"{STRUCTURES}/[0-9]{{3,}}-[A-Za-z0-9._+-]+\.cif", name)}


def _cif(material: Material, atoms: ase.Atoms) -> bytes:
    """P1, in the cell that was screened.

    A CIF knows lengths and angles only, and its reader builds a right-handed cell: two vectors of a left-handed one
    change places, or the file would show the mirror image.
    """
    if np.linalg.det(atoms.cell.array) < 0:
        order = [1, 0, 2]
        fractional = atoms.get_scaled_positions(wrap=False)[:, order]
        atoms = ase.Atoms(atoms.numbers, cell=atoms.cell.array[order], scaled_positions=fractional, pbc=True)
    content = io.BytesIO()
    ase.io.write(content, atoms, format="cif")
    name = _UNSAFE.sub("_", material.id)[:80]
    return content.getvalue().replace(b"data_image0", f"data_{name}".encode(), 1)


def _csv(materials: Sequence[Material], names: Sequence[str], file_of: Callable[[Material], str] | None) -> str:
    """A table for programs: values and their standard deviations in full, what is missing empty."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    with_rank = any(material.rank is not None for material in materials)
    head = ["place", "id", "formula", "spacegroup", *chain.from_iterable((name, f"{name}_std") for name in names)]
    rows.writerow([*head, *(["rank", "rank_std"] * with_rank), "flags", *(["structure"] if file_of else [])])
    for material in materials:
        numbers = [*chain.from_iterable(material.values[name] for name in names), *(material.rank or ())]
        cells = ["" if value != value else f"{value:.8g}" for value in numbers]
        start = [material.place, material.id, material.formula, material.spacegroup or ""]
        rows.writerow([*start, *cells, material.flags, *([file_of(material)] if file_of else [])])
    return text.getvalue()


def _write_front(output: Path, found: Survey, front: Front | None, names: Sequence[str], conditional: bool) -> None:
    """pareto.csv and pareto.png, or none of an earlier report."""
    if front is None:
        for name in (PARETO, "pareto.png"):
            (output / name).unlink(missing_ok=True)
        return
    with atomic_write(output / PARETO) as stream:
        stream.write(_csv(front.materials, names, None))
    properties = sorted({prop for name in front.names for prop in DERIVED[name].properties})
    first, second = front.names
    plane = Plane(
        x=found.scalars[first],
        y=found.scalars[second],
        labels=(axis_label(first, 90), axis_label(second, 60)),
        maximise=front.maximise,
        front=front.mask,
        doubtful=np.logical_or.reduce(list(flags_of(found, properties).values())),
        formulas=found.formulas.tolist(),
        matched=found.matched if conditional else None,
    )
    save_figure(pareto_figure(plane), output / "pareto.png")
