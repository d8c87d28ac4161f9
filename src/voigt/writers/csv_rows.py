"""Predictions as CSV: one atom a row if there are Born charges, else one crystal a row."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING

from voigt.files import atomic_write
from voigt.structures.formula import reduced_formula
from voigt.tensors.layout import flat, headings
from voigt.tensors.properties import PROPERTIES, Property
from voigt.text import csv_cell

if TYPE_CHECKING:
    from voigt.prediction.result import Prediction

_ATOM = ("id", "atom", "element", *(f"Z{field}{displacement}" for field in "123" for displacement in "123"), "interval")
_CRYSTAL = ("id", "formula", "space_group", "atoms")


def write_csv(predictions: Iterable[Prediction], path: str | Path, properties: Sequence[str] | None = None) -> int:
    """Write one table, see `voigt.writers.write_predictions`; returns the number of crystals.

    An id that a spreadsheet would take for a formula begins with an apostrophe, see `voigt.text.csv_cell`.

    Atoms: id, index from 0, element, Z11, Z12, ... Z33 and the half-width of the 90 % interval in e (empty where it is
    not known). The first digit is the field (polarization), the second the displacement, in the Cartesian axes of the
    input. Crystals: id, reduced formula, number of the space group, number of atoms, and every component of every
    property, named band_gap, eps_inf_xz, piezo_total_y_zx (row y, column zx), elastic_xx_yz, then its half-width,
    eps_inf_interval. Where one of several models failed, atoms have no rows, crystals empty places.
    """
    remaining = iter(predictions)
    first = list(islice(remaining, 1))
    names = tuple(first[0].values if first else ()) if properties is None else properties
    columns = {name: _columns(PROPERTIES[name]) for name in names}
    by_atom = "born_charges" in names
    count = 0
    with atomic_write(path) as stream:
        rows = csv.writer(stream, lineterminator="\n")
        rows.writerow(_ATOM if by_atom else [*_CRYSTAL, *chain.from_iterable(columns.values())])
        for prediction in chain(first, remaining):
            if by_atom and "born_charges" not in prediction.values:
                continue
            rows.writerows(_atoms(prediction) if by_atom else [_crystal(prediction, columns)])
            count += 1
    return count


def _atoms(prediction: Prediction) -> Iterator[list[object]]:
    charges = prediction.values["born_charges"].reshape(-1, 9)
    widths = prediction.interval.get("born_charges")
    for index, (symbol, tensor) in enumerate(zip(prediction.atoms.symbols, charges, strict=True)):
        width = "" if widths is None else f"{widths[index]:.8f}"
        yield [csv_cell(prediction.id), index, symbol, *(f"{value:.8f}" for value in tensor), width]


def _crystal(prediction: Prediction, columns: Mapping[str, Sequence[str]]) -> list[object]:
    atoms = prediction.atoms
    cells: list[object] = [csv_cell(prediction.id), reduced_formula(atoms), prediction.symmetry.number, len(atoms)]
    for name, titles in columns.items():
        value, width = prediction.values.get(name), prediction.interval.get(name)
        numbers = [""] * (len(titles) - 1) if value is None else [f"{x:.8g}" for x in flat(PROPERTIES[name], value)]
        cells += [*numbers, "" if width is None else f"{float(width):.8g}"]
    return cells


def _columns(prop: Property) -> list[str]:
    """A scalar has its name, a tensor its name with the indices of each component; then comes the half-width."""
    interval = f"{prop.name}_interval"
    if prop.rank == 0:
        return [prop.name, interval]
    rows, across = headings(prop)
    between = "" if prop.rank == 2 else "_"
    return [*(f"{prop.name}_{row}{between}{column}" for row in rows for column in across), interval]
