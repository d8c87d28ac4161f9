"""The report on a screening: ranked table with structures, Pareto front, distributions, coverage, a page on it all."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import ase
import ase.io
import numpy as np

from voigt.errors import OutputError
from voigt.files import atomic_write, make_folder
from voigt.screening.query.criteria import Criteria, read_criteria
from voigt.screening.query.derived import DERIVED, diagnostic
from voigt.screening.query.expressions import parse
from voigt.screening.query.selection import read_crystals, select
from voigt.screening.query.uncertainty import deviations
from voigt.screening.refine.ranking import read_refinement
from voigt.screening.report.crystals import front_page
from voigt.screening.report.figures import Plane, distribution_figure, elements_figure, pareto_figure
from voigt.screening.report.findings import Front, Material, check_objectives, flags_of, front_of, ranked
from voigt.screening.report.page import Findings, page
from voigt.screening.report.survey import Survey, read_failures, read_survey
from voigt.screening.report.wording import axis_label
from voigt.screening.store.manifest import read_manifest
from voigt.screening.store.parts import result_parts
from voigt.structures.rows import atoms_from_row
from voigt.tensors.properties import PROPERTIES
from voigt.text import csv_cell
from voigt.writers.figures import save_figure

PAGE, TOP, PARETO, STRUCTURES = "report.md", "top.csv", "pareto.csv", "structures"
CHOOSING = "pareto.html"
"""The front as a page on which a click shows a crystal."""

_PREFERRED = (
    ("eps_total", "band_gap"),
    ("eps_inf", "band_gap"),
    ("piezo_total_norm", "band_gap"),
    ("bulk_modulus", "shear_modulus"),
    ("band_gap", "-formation_energy"),
    ("eps_total", "eps_inf"),
)
_PARTIAL = re.compile(r"_(min|mid|max)$")  # of a tensor: its mean and ratio say enough unless they are requested
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
    criteria: Criteria | None = None,
    *,
    top: int = 20,
    pareto: tuple[str, str] | None = None,
    output: str | Path | None = None,
) -> Report:
    """Write report.md with its tables (top.csv, pareto.csv), figures (PNG) and structures (CIF) into a folder.

    The same store and request give the same files. Each is replaced whole or not at all; structures that an earlier
    report has left there go.

    Parameters
    ----------
    folder
        Of the screening; it may still be running.
    criteria
        Which crystals the table shows, and in which order; None: the criteria of the last screening.
    top
        Rows of the table.
    pareto
        Names of two scalars, a minus before one of which less is better: "-formation_energy". None: permittivity and
        gap, or what else there is; no front if there is nothing.
    output
        Folder to write to; it is made. None: "report" in the folder of the screening.

    Raises
    ------
    InputError
        No screening, no results, an unknown name, or one that this screening lacks.
    OutputError
        The folder cannot be written.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> from voigt.screening import Job, open_collection, read_criteria, screen_collection
    >>> with TemporaryDirectory() as folder:
    ...     summary = screen_collection(open_collection("examples/three_crystals.xyz"), folder, Job(("band_gap",)))
    ...     report = write_report(folder, read_criteria("num_atoms < 5", "band_gap"))
    ...     files = sorted(path.name for path in report.page.parent.iterdir())
    >>> report.crystals, report.passed, files
    (3, 2, ['distributions.png', 'elements.png', 'report.md', 'structures', 'top.csv'])
    """
    output = Path(folder) / "report" if output is None else Path(output)
    manifest = read_manifest(folder)
    if criteria is None:
        criteria = read_criteria(**manifest.get("selection", {}))
    parts = result_parts(folder)
    properties = [name for name in manifest["job"]["properties"] if name in PROPERTIES]
    objectives = _objectives(pareto, properties)
    plain = [text.removeprefix("-").strip() for text in objectives or ()]
    known = [name for name, entry in DERIVED.items() if entry.predicted and set(entry.properties) <= set(properties)]
    usual = [name for name in known if not _PARTIAL.search(name)]  # shown for every question
    selection = select(parts, criteria.where, criteria.rank, top, criteria.ascending, plain)
    scalars = [name for name in selection.names if not diagnostic(name)]
    involved = sorted(scalars, key=lambda name: not DERIVED[name].properties)  # what is predicted comes first
    shown = list(dict.fromkeys([*usual, *involved]))
    intervals = [name for name in selection.names if name.endswith("_interval")]
    survey = read_survey(parts, properties, [*shown, *intervals], criteria.where)
    failures = read_failures(folder)
    spread = deviations(parts, selection.ids, [parse(name) for name in involved])
    best = ranked(survey, selection, involved, spread)
    front = None if objectives is None else front_of(survey, objectives, involved, parts)

    make_folder(output / STRUCTURES)
    _write_structures(output, best, read_crystals(parts, selection.ids))
    with atomic_write(output / TOP) as stream:
        stream.write(_csv(best, involved, _file_of))
    matched = None if criteria.where is None else survey.matched
    _write_front(output, (parts, manifest), survey, front, involved, matched is not None)
    labels = {name: axis_label(name, 44) for name in shown}
    values = {name: survey.scalars[name] for name in shown}
    save_figure(distribution_figure(values, labels, matched), output / "distributions.png")
    held = survey.held + failures.refused
    save_figure(elements_figure(held, survey.trusted, failures.refused), output / "elements.png")
    findings = Findings(
        manifest, survey, failures, selection, best, front, tuple(involved), spread, read_refinement(folder)
    )
    with atomic_write(output / PAGE) as stream:
        stream.write(page(findings, criteria))
    on_front = 0 if front is None else len(front.materials)
    return Report(output / PAGE, len(survey), failures.count, selection.passed, len(best), on_front)


def _objectives(requested: tuple[str, str] | None, properties: Sequence[str]) -> tuple[str, str] | None:
    """Those requested, or the first pair that these properties give."""
    if requested is not None:
        check_objectives(requested)
        return requested
    held = {name for name, entry in DERIVED.items() if set(entry.properties) <= set(properties)}
    return next((pair for pair in _PREFERRED if {text.removeprefix("-") for text in pair} <= held), None)


def _file_of(material: Material) -> str:
    """`structures/007-mp-1143-Al2O3.cif`: a safe name for any id."""
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
        atoms = atoms_from_row(atoms.numbers, atoms.cell.array[order], fractional)
    content = io.BytesIO()
    ase.io.write(content, atoms, format="cif")
    name = _UNSAFE.sub("_", material.id)[:80]
    return content.getvalue().replace(b"data_image0", f"data_{name}".encode(), 1)


def _csv(materials: Sequence[Material], names: Sequence[str], file_of: Callable[[Material], str] | None) -> str:
    """A table for programs: values, standard deviations and half-widths in full, what is missing empty."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    with_rank = any(material.rank is not None for material in materials)
    titles = chain.from_iterable((name, f"{name}_std", f"{name}_interval") for name in names)
    head = ["place", "id", "formula", "spacegroup", *titles]
    rows.writerow([*head, *(["rank", "rank_std"] * with_rank), "flags", *(["structure"] if file_of else [])])
    for material in materials:
        entries = ((*material.values[name], material.intervals[name]) for name in names)
        numbers = [*chain.from_iterable(entries), *(material.rank or ())]
        cells = ["" if value != value else f"{value:.8g}" for value in numbers]
        start = [material.place, csv_cell(material.id), csv_cell(material.formula), material.spacegroup or ""]
        rows.writerow([*start, *cells, material.flags, *([file_of(material)] if file_of else [])])
    return text.getvalue()


def _write_front(
    output: Path,
    store: tuple[Sequence[Path], Mapping[str, Any]],
    survey: Survey,
    front: Front | None,
    names: Sequence[str],
    conditional: bool,
) -> None:
    """pareto.csv, pareto.png and pareto.html, or none of an earlier report."""
    if front is None:
        for name in (PARETO, "pareto.png", CHOOSING):
            (output / name).unlink(missing_ok=True)
        return
    with atomic_write(output / PARETO) as stream:
        stream.write(_csv(front.materials, names, None))
    properties = sorted({prop for name in front.names for prop in DERIVED[name].properties})
    first, second = front.names
    plane = Plane(
        x=survey.scalars[first],
        y=survey.scalars[second],
        labels=(axis_label(first, 90), axis_label(second, 60)),
        maximize=front.maximize,
        front=front.mask,
        doubtful=np.logical_or.reduce(list(flags_of(survey, properties).values())),
        formulas=survey.formulas.tolist(),
        matched=survey.matched if conditional else None,
    )
    save_figure(pareto_figure(plane), output / "pareto.png")
    with atomic_write(output / CHOOSING) as stream:
        stream.write(front_page(*store, front, plane))
