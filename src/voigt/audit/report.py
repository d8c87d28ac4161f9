"""The report on an audit: a table for the terminal, JSON for programs, a page for people."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from voigt import __version__
from voigt.audit.finding import MEANING, SEVERITIES, Finding
from voigt.audit.run import Audit
from voigt.files import atomic_write, make_folder
from voigt.writers.markdown import counted, number
from voigt.writers.response_html import Markup, document, items, join, link, paragraph, section, table

MOST_ROWS = 500
"""Findings of one kind on the page; the JSON file has all."""
MOST_SENTENCES = 5
"""Errors of single frames that the terminal shows in words."""
_TITLES = {"error": "Errors", "warning": "Warnings", "info": "Good to know"}
_FILTER = """
.show label{margin-right:1rem}
main:has(#show-error:checked) section:is([id^="warning-"],[id^="info-"]),
main:has(#show-warning:checked) section:is([id^="error-"],[id^="info-"]),
main:has(#show-info:checked) section:is([id^="error-"],[id^="warning-"]){display:none}
""".strip()


def groups(audit: Audit) -> list[tuple[str, str, str, list[Finding]]]:
    """Findings by severity, kind and property, errors first."""

    def key(finding: Finding) -> tuple[int, str, str]:
        return SEVERITIES.index(finding.severity), finding.kind, finding.property

    found: list[tuple[str, str, str, list[Finding]]] = []
    for (place, kind, name), members in groupby(sorted(audit.findings, key=key), key):
        found.append((SEVERITIES[place], kind, name, list(members)))
    return found


def summary_rows(audit: Audit) -> list[tuple[str, ...]]:
    """Rows of the table for the terminal, its head first: severity, kind, property, findings, frames, example."""
    rows: list[tuple[str, ...]] = [("severity", "kind", "property", "findings", "first frame", "meaning")]
    for severity, kind, name, members in groups(audit):
        frames = [finding for finding in members if finding.frame >= 0]
        first = frames[0].id if frames else "(file)"
        rows.append((severity, kind, name or "-", f"{len(members):,}", first, MEANING[kind]))
    return rows


def file_statements(audit: Audit) -> list[str]:
    """Sentences on the whole file, with what to do."""
    of_file = [finding for finding in audit.findings if finding.frame < 0]
    return [f"{finding.severity}: {_advised(finding)}" for finding in of_file]


def error_statements(audit: Audit, most: int = MOST_SENTENCES) -> list[str]:
    """Sentences on the first frames with errors."""
    errors = [finding for finding in audit.findings if finding.frame >= 0 and finding.severity == "error"]
    lines = [f"frame {finding.frame} ({finding.id}): {_advised(finding)}" for finding in errors[:most]]
    if len(errors) > most:
        lines.append(f"... and {len(errors) - most:,} more errors; -o DIR lists all")
    return lines


def write_report(audit: Audit, folder: str | Path) -> tuple[Path, Path]:
    """Write report.json and report.html into a folder, which is made; returns their paths.

    Raises
    ------
    OutputError
        They cannot be written.
    """
    home = make_folder(folder)
    with atomic_write(home / "report.json") as stream:
        json.dump(record(audit), stream, indent=1)
        stream.write("\n")
    with atomic_write(home / "report.html") as stream:
        stream.write(page(audit))
    return home / "report.json", home / "report.html"


def record(audit: Audit) -> dict[str, Any]:
    """Everything as plain data."""
    counts = {severity: sum(f.severity == severity for f in audit.findings) for severity in SEVERITIES}
    return {
        "voigt": __version__,
        "source": audit.source,
        "frames": len(audit.frames),
        "unreadable": audit.unreadable,
        "labels": audit.labels(),
        "compared_with_models": audit.compared,
        "counts": counts,
        "verdicts": [asdict(verdict) for verdict in audit.verdicts],
        "findings": [finding.record() for finding in audit.findings],
        "repairs": [asdict(repair) for repair in audit.repairs],
    }


def page(audit: Audit) -> str:
    """The report as one HTML page without scripts."""
    found = groups(audit)
    name = Path(audit.source).name
    labels = ", ".join(f"{many:,} {label}" for label, many in audit.labels().items()) or "none"
    counts = ", ".join(
        counted(sum(len(members) for kind, _, _, members in found if kind == severity), word)
        for severity, word in (("error", "error"), ("warning", "warning"), ("info", "remark"))
    )
    compared = "compared with the models that ship" if audit.compared else "not compared with models"
    rows = [
        [severity, link(_anchor(severity, kind, label), kind), label or "–", f"{len(members):,}", MEANING[kind]]
        for severity, kind, label, members in found
    ]
    statements = file_statements(audit)
    body = [
        Markup(f"<style>{_FILTER}</style>"),
        Markup(f"<h1>Audit of {join([name])}</h1>"),
        paragraph(f"{counted(len(audit.frames), 'frame')}, {audit.unreadable} unreadable; labels: {labels}; "
                  f"{compared}. Found: {counts}."),
        items(statements) if statements else paragraph("No statement on the file as a whole."),
        table("Findings", ["severity", "kind", "property", "findings", "what it is"], rows, "lllrw"),
        _choice(),
        *(_section(*entry) for entry in found),
        _repairs(audit),
    ]  # fmt: skip
    return document(f"Audit of {name}", body)


def _choice() -> Markup:
    """Buttons that hide the sections of other severities, by style alone."""
    words = {"all": "all"} | {str(severity): _TITLES[severity].lower() for severity in SEVERITIES}
    buttons = [
        f'<label><input type="radio" name="show" id="show-{key}"{" checked" if key == "all" else ""}> {text}</label>'
        for key, text in words.items()
    ]
    return Markup(f'<p class="show">Show: {"".join(buttons)}</p>')


def _anchor(severity: str, kind: str, label: str) -> str:
    return f"{severity}-{kind}-{label or 'crystal'}"


def _section(severity: str, kind: str, label: str, members: Sequence[Finding]) -> Markup:
    largest = sorted(members, key=lambda f: (f.frame >= 0, -abs(f.value) if f.value == f.value else 0.0, f.frame))
    rows = [
        ["file" if f.frame < 0 else str(f.frame), f.id, number(f.value), _advised(f), _matrix(f)]
        for f in largest[:MOST_ROWS]
    ]
    title = f"{_TITLES[severity]}: {MEANING[kind]}" + (f" ({label})" if label else "")
    head = ["frame", "id", "value", "what was found, and what to do", "rotation that mends it"]
    blocks = [table(f"{counted(len(members), 'finding')}, the largest values first", head, rows, "llrww")]
    if len(members) > MOST_ROWS:
        blocks.append(paragraph(f"The first {MOST_ROWS} of {len(members):,}; report.json holds all."))
    return section(_anchor(severity, kind, label), title, *blocks)


def _repairs(audit: Audit) -> Markup:
    changed = {repair.frame for repair in audit.repairs}
    words = f"--fix changes {counted(len(audit.repairs), 'label')} of {counted(len(changed), 'frame')}."
    ids = {frame.index: frame.crystal.id for frame in audit.frames}
    rows = [[str(r.frame), ids.get(r.frame, ""), r.action, r.text] for r in audit.repairs[:MOST_ROWS]]
    blocks = [paragraph(words)]
    if rows:
        blocks.append(table("Changes that are certain", ["frame", "id", "action", "change"], rows, "lllw"))
    return section("repairs", "What can be mended", *blocks)


def _advised(finding: Finding) -> str:
    return f"{finding.text}; {finding.fix}" if finding.fix else finding.text


def _matrix(finding: Finding) -> str:
    if not finding.rotation:
        return ""
    return "; ".join(" ".join(f"{entry + 0.0:.4f}" for entry in row) for row in np.round(finding.rotation, 4).tolist())
