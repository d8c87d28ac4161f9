"""Predictions as tables for the eye: the same text with styles on a terminal, and plain elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from voigt.tensors.properties import PROPERTIES, Property
from voigt.writers.layout import headings, norm, reduced_formula, stored

if TYPE_CHECKING:
    from rich.text import Text

    from voigt.prediction import Prediction
    from voigt.structures.symmetry import Symmetry

Line: TypeAlias = tuple[str, str]
"""Text and rich style of one line."""

_COMPONENTS = ("xx", "xy", "xz", "yx", "yy", "yz", "zx", "zy", "zz")
# Order of each point group, by which a cell that hides operations (a supercell of lower symmetry) is recognised.
_ORDERS = {
    **{"1": 1, "-1": 2, "2": 2, "m": 2, "2/m": 4, "222": 4, "mm2": 4, "mmm": 8, "4": 4, "-4": 4, "4/m": 8, "422": 8},
    **{"4mm": 8, "-42m": 8, "4/mmm": 16, "3": 3, "-3": 6, "32": 6, "3m": 6, "-3m": 12, "6": 6, "-6": 6, "6/m": 12},
    **{
        "622": 12,
        "6mm": 12,
        "-62m": 12,
        "-6m2": 12,
        "6/mmm": 24,
        "23": 12,
        "m-3": 24,
        "432": 24,
        "-43m": 24,
        "m-3m": 48,
    },
}
_CENTRING = {"P": 1, "A": 2, "B": 2, "C": 2, "I": 2, "R": 3, "F": 4}
_HEADER, _TITLE, _NOTE = "bold", "underline", "dim"


def prediction_lines(prediction: Prediction, model: str, all_atoms: bool = False) -> list[Line]:
    """Lines of the table of one crystal.

    Parameters
    ----------
    prediction
        The crystal; tensors are printed with three decimals, in the Cartesian axes of its cell.
    model
        Name of the model, for the header.
    all_atoms
        One row for every atom; otherwise one for each set of symmetry-equivalent atoms.
    """
    lines = [(_header(prediction, model), _HEADER)]
    for name, value in prediction.values.items():
        prop = PROPERTIES[name]
        lines.append(("", ""))
        lines.append((_title(prop), _TITLE))
        if prop.per == "atom":
            lines += _atom_rows(prediction, prop, value, all_atoms)
        else:
            lines += _crystal_rows(prop, value)
        lines += [(note, _NOTE) for note in _notes(prediction, prop, all_atoms)]
    return lines


def plain_text(lines: Iterable[Line]) -> str:
    """Lines without styles."""
    return "\n".join(text for text, _ in lines)


def rich_text(lines: Iterable[Line]) -> Text:
    """Lines with styles; print it with `soft_wrap=True`, so that rows are not broken."""
    from rich.text import Text

    return Text("\n").join(Text(text, style=style) for text, style in lines)


def site_labels(symmetry: Symmetry) -> list[str]:
    """Multiplicity in the conventional cell and Wyckoff letter of every atom, e.g. "4a", whatever the input cell.

    The letter alone for a supercell that does not have all operations of the crystal.
    """
    translations = max(int((abs(symmetry.rotations - np.eye(3)).max(axis=(1, 2)) < 1e-6).sum()), 1)
    if len(symmetry.rotations) != _ORDERS.get(symmetry.point_group, 0) * translations:
        return list(symmetry.wyckoffs)
    centring = _CENTRING[symmetry.international[0]]
    sizes = np.bincount(symmetry.orbits, minlength=len(symmetry.orbits))[symmetry.orbits]
    counts = sizes * centring // translations
    return [f"{count}{letter}" for count, letter in zip(counts, symmetry.wyckoffs, strict=True)]


def _header(prediction: Prediction, model: str) -> str:
    count = len(prediction.atoms)
    parts = [
        reduced_formula(prediction.atoms),
        f"{prediction.symmetry.international} ({prediction.symmetry.number})",
        f"{count} atom{'' if count == 1 else 's'}",
        f"id {prediction.id}",
        f"model {model}",
    ]
    return "  ".join([*parts, *([f"functional {prediction.functional}"] if prediction.functional else [])])


def _title(prop: Property) -> str:
    unit = "" if prop.unit == "1" else f", {prop.unit}"
    meaning = prop.meaning.split(" = ")[0] if prop.per == "atom" else prop.name
    return f"{prop.label[0].upper()}{prop.label[1:]} {meaning}{unit}"


def _atom_rows(prediction: Prediction, prop: Property, value: NDArray[np.float64], all_atoms: bool) -> list[Line]:
    symmetry, symbols = prediction.symmetry, prediction.atoms.get_chemical_symbols()
    count = len(symbols)
    chosen = range(count) if all_atoms else np.unique(symmetry.orbits).tolist()
    labels = site_labels(symmetry)
    spread = prediction.spread.get(prop.name)
    norms = None if spread is None else norm(prop, spread)
    width = max(4, len(str(count)))
    rows = [f"{'atom':>{width}}  {'el':2}  {'site':5}" + _cells(_COMPONENTS) + _cells(["spread"] * (norms is not None))]
    for index in chosen:
        row = f"{index:>{width}}  {symbols[index]:2}  {labels[index]:5}" + _numbers(value[index].reshape(-1))
        rows.append(row + (_numbers(norms[index : index + 1]) if norms is not None else ""))
    return [(row, "") for row in rows]


def _crystal_rows(prop: Property, value: NDArray[np.float64]) -> list[Line]:
    if prop.rank == 0:
        return [(_numbers(np.atleast_1d(value)).lstrip(), "")]
    names, columns = headings(prop)
    rows = [" " * 4 + _cells(columns)]
    rows += [f"{name:>4}" + _numbers(row) for name, row in zip(names, stored(prop, value), strict=True)]
    return [(row, "") for row in rows]


def _notes(prediction: Prediction, prop: Property, all_atoms: bool) -> list[str]:
    notes = []
    if prop.per == "atom":
        shown = "every atom" if all_atoms else "one atom of each symmetry-equivalent set"
        notes.append(f"{shown}, counted from 0; site: multiplicity and Wyckoff letter")
    if prop.name == "born_charges" and prediction.drift is not None:
        drift = float(abs(prediction.drift).max())
        count = len(prediction.atoms)
        notes.append(f"raw charge drift max |sum Z|: {drift:.4f} e per cell, {drift / count:.4f} e per atom")
    if prop.name in prediction.residual:
        notes.append(f"raw symmetry residual |T - PT|/|T|: {prediction.residual[prop.name]:.1e}")
    if prop.name in prediction.spread:
        if prop.per == "atom":
            notes.append("spread: Frobenius norm of the standard deviation over the ensemble")
        else:
            spread = float(norm(prop, prediction.spread[prop.name]))
            notes.append(f"spread over the ensemble (Frobenius norm): {spread:.3f}")
    return notes


def _cells(names: Sequence[str]) -> str:
    return "".join(f"{name:>9}" for name in names)


def _numbers(values: NDArray[np.float64]) -> str:
    """Three decimals; adding 0.0 turns -0.000 into 0.000."""
    return "".join(f"{value:9.3f}" for value in np.round(values, 3) + 0.0)
