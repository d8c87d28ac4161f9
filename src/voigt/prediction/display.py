"""How a prediction shows itself in a console and in a notebook."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from voigt.structures.formula import reduced_formula
from voigt.tensors.layout import VOIGT, stored
from voigt.tensors.properties import PROPERTIES, Property
from voigt.text import one_line

if TYPE_CHECKING:
    from voigt.prediction.result import Prediction
    from voigt.viewer import View

MOST_NAMES, MOST_WORDS, MOST_ROWS = 3, 96, 20
"""Properties and characters of a sentence in a summary, rows of a table."""
INTERVAL = "± (90 %)"
PAIRS = tuple(a + b for a in "xyz" for b in "xyz")


def summary(prediction: Prediction) -> str:
    """Five lines at most: crystal, three properties (of four or more, two and the names of the others), notes."""
    names = list(prediction.values)
    lines = [f"Prediction {_shortened(prediction.id)}: {_crystal(prediction)}"]
    shown = names if len(names) <= MOST_NAMES else names[: MOST_NAMES - 1]
    lines += [f"  {_range(prediction, name)}" for name in shown]
    if len(names) > len(shown):
        lines.append(f"  and {', '.join(names[len(shown) :])}")
    spread = [f"{_digits(np.abs(value).max())} {_unit(name)}".strip() for name, value in prediction.spread.items()]
    if len(lines) < 4 and spread:
        lines.append(f"  largest spread {', '.join(spread[:MOST_NAMES])}")
    kinds = list(dict.fromkeys(note.kind for note in prediction.notes))
    if kinds:
        more = f" and {len(prediction.notes) - 1} more" if len(prediction.notes) > 1 else ""
        first = _shortened(prediction.notes[0].text)
        lines.append(f"  {prediction.notes[0].kind}: {first}{more}")
    else:
        lines.append("  no notes")
    return "\n".join(lines)


def html_tables(prediction: Prediction) -> str:
    """Tables of all properties and the list of notes; every text of the input is escaped."""
    parts = [f"<p><b>{escape(_shortened(prediction.id))}</b>: {escape(_crystal(prediction))}</p>"]
    for name, value in prediction.values.items():
        prop = PROPERTIES[name]
        title = f"{prop.meaning}{', ' + _unit(name) if _unit(name) else ''}"
        parts.append(f"<p>{escape(name)}: {escape(title)}; {escape(_origin(prediction, name))}</p>")
        parts.append(_table(*_rows(prediction, prop, stored(prop, value))))
        if prop.per == "crystal" and name in prediction.interval:
            what = ", Frobenius norm of the error" if prop.rank else ""
            width = f"{_digits(float(prediction.interval[name]))} {_unit(name)}".strip()
            parts.append(f"<p>{INTERVAL}{what}: {escape(width)}</p>")
    for name, sheet in prediction.sheets.items():
        parts.append(f"<p>{escape(name)} of the layers without vacuum, {sheet.thickness:.2f} Angstrom thick</p>")
        parts.append(_table(("", "x", "y", "z"), _matrix("xyz", sheet.permittivity)))
    if prediction.notes:
        items = "".join(f"<li>{escape(note.kind)}: {escape(note.sentence)}</li>" for note in prediction.notes)
        parts.append(f"<ul>{items}</ul>")
    return f"<div>{''.join(parts)}</div>"


def view(prediction: Prediction) -> View:
    """A page with pictures of the crystal and its tensors, which a notebook shows and which stands alone as a file.

    Examples
    --------
    >>> import voigt
    >>> view(voigt.predict("examples/MgO.vasp")[0])
    View(title='MgO: MgO, Fm-3m (225), 2 atoms', height=780)
    """
    from dataclasses import asdict

    from voigt.prediction.scene import scene
    from voigt.viewer import View, stand_alone

    title = f"{_shortened(prediction.id)}: {_crystal(prediction)}"
    return View(stand_alone([asdict(scene(prediction))], title), title)


def _rows(
    prediction: Prediction, prop: Property, value: NDArray[np.float64]
) -> tuple[Sequence[str], Iterable[Sequence[str]]]:
    if prop.per == "atom":
        chosen = np.unique(prediction.symmetry.orbits, return_index=True)[1].tolist()
        symbols = prediction.atoms.get_chemical_symbols()
        widths = prediction.interval.get(prop.name)
        shown = sorted(chosen)[:MOST_ROWS]
        rows = [[str(k), symbols[k], *map(_fixed, np.ravel(value[k]))] for k in shown]
        if widths is None:
            return ("atom", "element", *PAIRS), rows
        rows = [[*row, _fixed(widths[k])] for k, row in zip(shown, rows, strict=True)]
        return ("atom", "element", *PAIRS, INTERVAL), rows
    if value.ndim == 0:
        return ("",), [[_fixed(float(value))]]
    labels = [("x", "y", "z") if length == 3 else VOIGT for length in value.shape]
    return ("", *labels[1]), _matrix(labels[0], value)


def _matrix(labels: Iterable[str], value: NDArray[np.float64]) -> list[list[str]]:
    return [[label, *map(_fixed, row)] for label, row in zip(labels, value, strict=True)]


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    top = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table><tr>{top}</tr>{body}</table>"


def _crystal(prediction: Prediction) -> str:
    symmetry, count = prediction.symmetry, len(prediction.atoms)
    group = f"{symmetry.international} ({symmetry.number})"
    return f"{reduced_formula(prediction.atoms)}, {group}, {count} atom{'' if count == 1 else 's'}"


def _range(prediction: Prediction, name: str) -> str:
    value, unit = prediction.values[name], f" {_unit(name)}".rstrip()
    if value.ndim == 0:
        what = _digits(float(value)) + unit
    elif PROPERTIES[name].per == "atom":
        mean = np.trace(value, axis1=1, axis2=2) / 3
        what = f"means of atoms {_digits(mean.min())} to {_digits(mean.max())}{unit}"
    elif value.ndim == 2:
        principal = np.linalg.eigvalsh((value + value.T) / 2)
        what = f"principal values {', '.join(map(_digits, principal))}{unit}"
    else:
        what = f"largest component {_digits(np.abs(stored(PROPERTIES[name], value)).max())}{unit}"
    if name in prediction.interval:
        low, high = (_digits(limit) for limit in (prediction.interval[name].min(), prediction.interval[name].max()))
        what += f", ± {low if low == high else f'{low} to {high}'} (90 %)"
    return f"{name}: {what}; {_origin(prediction, name)}"


def _origin(prediction: Prediction, name: str) -> str:
    functional = prediction.functionals.get(name)
    return f"model {prediction.models[name]}{f', {functional}' if functional else ''}"


def _unit(name: str) -> str:
    unit = PROPERTIES[name].unit
    return "" if unit == "1" else unit


def _fixed(value: float) -> str:
    return f"{float(value):.3f}"


def _digits(value: float) -> str:
    return f"{float(value):.3g}"


def _shortened(text: str) -> str:
    text = one_line(" ".join(text.split()))
    return text if len(text) <= MOST_WORDS else f"{text[: MOST_WORDS - 3]}..."
