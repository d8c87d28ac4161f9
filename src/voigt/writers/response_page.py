"""The report on a response as one HTML file for people who were not there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from voigt import __version__
from voigt.notes import Note
from voigt.response.phonons.modes import WAVENUMBER
from voigt.structures.formula import reduced_formula
from voigt.writers import response_sections as sections
from voigt.writers.markdown import counted
from voigt.writers.response_html import Markup, code, document, figure, items, join, link, paragraph, section, table
from voigt.writers.response_repetition import potential_identity, repetition
from voigt.writers.response_summary import crystal_text, facts, relaxation_text

if TYPE_CHECKING:
    from voigt.response.assembly import Response

_ANCHORS = {
    **dict.fromkeys(sections.PERMITTIVITY, "permittivity"),
    **dict.fromkeys(sections.ELASTIC, "elastic"),
    **dict.fromkeys(sections.PIEZO, "piezo"),
    "born_charges": "charges",
    "phonons": "infrared",
}
"""Name of a quantity -> section of the page; those without one stand in the summary."""
_CONTENTS = {
    "crystal": "Crystal", "summary": "Summary", "charges": "Born charges", "permittivity": "Permittivity",
    "infrared": "Infrared modes", "lo-to": "LO-TO splitting", "figures": "Figures", "refraction": "Refraction",
    "elastic": "Elastic tensors", "moduli": "Moduli", "piezo": "Piezoelectricity", "method": "How it was done",
    "files": "Files", "again": "Do it again",
}  # fmt: skip
_MODES = frozenset(("unstable_modes", "soft_modes", "not_relaxed"))
"""Kinds of notes that concern frequencies, whatever else they name."""
_FORMULAS = (
    ("eps_ionic", "Z Φ⁻¹ Z / V", "Gonze and Lee, Phys. Rev. B 55, 10355 (1997)"),
    ("LO modes", "Φ + 4π (q·Z)(q·Z) / (V q·eps_inf·q)", "Gonze and Lee, Phys. Rev. B 55, 10355 (1997)"),
    ("elastic", "C(clamped) − Λ Φ⁻¹ Λ / V", "Wu, Vanderbilt and Hamann, Phys. Rev. B 72, 035105 (2005)"),
    ("piezo_ionic", "Z Φ⁻¹ Λ / V", "Wu, Vanderbilt and Hamann, Phys. Rev. B 72, 035105 (2005)"),
    ("piezo_d, eps_free", "e S, eps_total + e d", "Nye, Physical Properties of Crystals (1985)"),
)
_LEGEND = (
    "Z: Born charges, eps_inf and clamped e by the networks; Φ, Λ: force constants and internal strain (forces per "
    "strain), C(clamped): stiffness at fixed fractional coordinates by the potential; V: volume of the cell, S = C⁻¹."
)


def page(response: Response, figures: Mapping[str, bytes], files: Mapping[str, str]) -> str:
    """The whole page.

    Parameters
    ----------
    response
        What is reported.
    figures
        PNG files by name: "bands", "infrared" and perhaps "directions".
    files
        Name -> what it holds, of those beside the page.
    """
    formula = reduced_formula(response.atoms)
    warnings = [note for note in response.notes if note.is_warning]
    body = [
        Markup(f"<h1>Response of {join([formula])}</h1>"),
        paragraph(f"{crystal_text(response)}, id {response.id}. Predicted without a DFT calculation; in the Cartesian "
                  "axes of relaxed.vasp, Voigt order xx yy zz yz zx xy."),
        _warnings(warnings),
        Markup(f'<nav aria-label="Contents">{items([link(*entry) for entry in _CONTENTS.items()])}</nav>'),
        _crystal(response),
        _summary(response, warnings),
        sections.charges(response),
        sections.tensors(response, "permittivity", "Permittivity", sections.PERMITTIVITY),
        sections.infrared(response),
        sections.splitting(response),
        _pictures(response, figures),
        sections.refraction(response),
        sections.tensors(response, "elastic", "Elastic tensors", sections.ELASTIC),
        sections.moduli(response),
        sections.tensors(response, "piezo", "Piezoelectric tensors", sections.PIEZO, paragraph(
            "Rows: direction of the polarization. Columns: strain (e) or stress (d); shears of d are doubled, so that "
            "e = d C holds for the matrices.")),
        _method(response),
        section("files", "Files in this folder",
                table("All numbers of this page are in them", ["file", "holds"], list(files.items()), "lw")),
        _again(response),
    ]  # fmt: skip
    return document(f"Response of {formula} ({response.id})", body)


def _warnings(warnings: Sequence[Note]) -> Markup:
    if not warnings:
        return paragraph("No warnings.")
    entries = []
    for number, note in enumerate(warnings, start=1):
        places = dict.fromkeys(_anchor(name) for name in _concerned(note))
        links = join([link(place, place) for place in places], ", ")
        entries.append(join([Markup(f'<span id="warning-{number}">'), note.sentence, Markup("</span> ("), links, ")"]))
    return Markup(f'<div class="warnings" role="note">\n<h2>Warnings</h2>\n{items(entries, ordered=True)}\n</div>')


def _concerned(note: Note) -> tuple[str, ...]:
    names = tuple(note.properties)
    return (*names, "phonons") if note.kind in _MODES or not names else names


def _anchor(name: str) -> str:
    return _ANCHORS.get(name, "summary")


def _crystal(response: Response) -> Markup:
    symmetry, atoms, given = response.prediction.symmetry, response.atoms, response.given
    rows = [
        ["formula", reduced_formula(atoms)],
        ["space group", f"{symmetry.international} ({symmetry.number}), {symmetry.crystal_system}, point group "
                        f"{symmetry.point_group}"],
        ["cell", f"{_cell(atoms.cell.cellpar())}, {counted(len(atoms), 'atom')}, {atoms.get_volume():.2f} Å³"],
        ["as given", f"{_cell(given.cell.cellpar())}, {counted(len(given), 'atom')}, {given.get_volume():.2f} Å³"],
        ["relaxation", relaxation_text(response)],
    ]  # fmt: skip
    return section("crystal", "Crystal", table("Structure", ["", "value"], rows, "lw"))


def _cell(lengths: Sequence[float]) -> str:
    a, b, c, alpha, beta, gamma = lengths
    return f"{a:.4f}, {b:.4f}, {c:.4f} Å; {alpha:.2f}, {beta:.2f}, {gamma:.2f}°"


def _summary(response: Response, warnings: Sequence[Note]) -> Markup:
    rows: list[list[object]] = []
    for fact in facts(response):
        marks = [
            Markup(f'<sup><a href="#warning-{k}" title="warning {k}">{k}</a></sup>')
            for k, note in enumerate(warnings, start=1)
            if set(_concerned(note)) & set(fact.concerns)
        ]
        anchors = dict.fromkeys(map(_anchor, fact.concerns[:1]))
        label = join([link(next(iter(anchors)), fact.label), *marks], " ")
        rows.append([label, fact.value, fact.unit, fact.interval, fact.source, fact.others])
    head = ["quantity", "value", "unit", "± (90 %)", "from", "each way by itself"]
    words = (
        "± (90 %): nine of ten crystals like those of training deviate less from DFT; it is known for what networks "
        "predict and for means with it. Small numbers refer to the warnings."
    )
    return section("summary", "Summary", table("Principal values and extremes", head, rows, "lllrlw"), paragraph(words))


def _pictures(response: Response, figures: Mapping[str, bytes]) -> Markup:
    formula = reduced_formula(response.atoms)
    words = {
        "bands": (
            f"Phonon frequencies of {formula} along lines between special points, with and without NAC",
            "Phonon bands. Blue: with the non-analytical correction (NAC); gray: without.",
        ),
        "infrared": (
            f"Permittivity and reflectivity of {formula} against wavenumber",
            f"Permittivity and reflectivity at normal incidence, linewidth "
            f"{', '.join(f'{w:.3g}' for w in np.asarray(response.infrared.linewidths) * WAVENUMBER)} cm⁻¹. Bars reach "
            "from each TO to its LO frequency, where a crystal without damping reflects all light.",
        ),
        "directions": (
            f"Young's modulus of {formula}, and its longitudinal piezoelectric coefficient if any, in three planes",
            "Young's modulus of bars and, where there is one, the longitudinal piezoelectric coefficient d of plates, "
            "cut along every direction of three planes; the distance from the center is the size.",
        ),
    }
    pictures = [figure(figures[name], *text) for name, text in words.items() if name in figures]
    return section("figures", "Figures", *pictures)


def _method(response: Response) -> Markup:
    identity, source = potential_identity(response.potential)
    prediction, phonon = response.prediction, response.phonons.project.phonon
    matrix = " ".join(str(int(n)) for n in np.asarray(phonon.supercell_matrix).ravel())
    rows: list[list[object]] = [
        [name, prediction.models[name], prediction.functionals[name] or "–"] for name in prediction.models
    ]
    facts_of = [
        ["potential", f"{identity}{f'; {source}' if source else ''}"],
        ["supercell matrix", f"{matrix} ({len(phonon.supercell)} atoms)"],
        ["displacements", f"{response.settings.displacement:g} Å"],
        ["Voigt", __version__],
    ]
    times = [[name, f"{seconds:.1f}"] for name, seconds in response.seconds.items()]
    done = [note.sentence for note in response.notes if not note.is_warning]
    return section(
        "method",
        "How it was done",
        table("Models and the functional that they stand for", ["property", "model", "functional"], rows, "lll"),
        table("Potential", ["", "value"], facts_of, "lw"),
        table("What was assembled", ["quantity", "formula", "source"], _FORMULAS, "lll"),
        paragraph(_LEGEND),
        *([Markup("<h3>Steps</h3>"), items(done)] if done else []),
        table("Wall time", ["step", "seconds"], times),
    )


def _again(response: Response) -> Markup:
    command, lines = repetition(response)
    return section("again", "Do it again", paragraph("In this folder:"), code([command]), code(lines))
