"""Predictions as tables for the eye: the same text with styles on a terminal, and plain elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from voigt.errors import VoigtError
from voigt.structures.formula import reduced_formula
from voigt.tensors.layout import headings, norm, stored
from voigt.tensors.pattern import Pattern, find_pattern
from voigt.tensors.properties import PROPERTIES, Property

if TYPE_CHECKING:
    from rich.text import Text

    from voigt.prediction.result import Prediction
    from voigt.structures.symmetry import Symmetry

Line: TypeAlias = tuple[tuple[str, str], ...]  # pieces of one line, each with its rich style

_COMPONENTS = ("xx", "xy", "xz", "yx", "yy", "yz", "zx", "zy", "zz")
# Order of each point group, by which a cell that hides operations (a supercell of lower symmetry) is recognized.
_ORDERS = {
    group: order
    for order, groups in (
        (1, "1"), (2, "-1 2 m"), (3, "3"), (4, "2/m 222 mm2 4 -4"), (6, "-3 32 3m 6 -6"), (8, "mmm 4/m 422 4mm -42m"),
        (12, "-3m 6/m 622 6mm -62m -6m2 23"), (16, "4/mmm"), (24, "6/mmm m-3 432 -43m"), (48, "m-3m"),
    )
    for group in groups.split()
}  # fmt: skip
_CENTERING = {"P": 1, "A": 2, "B": 2, "C": 2, "I": 2, "R": 3, "F": 4}
_HEADER, _TITLE, _NOTE, _INDEPENDENT = "bold", "underline", "dim", "bold"
_ZERO = "·"
_INTERVAL = "± (90 %)"
# Fraction of a tensor's norm below which an entry counts as zero: the axes of a cell whose lattice vectors were rounded
# in its file are turned by as much.
_TURNED = 1e-3


def prediction_lines(prediction: Prediction, all_atoms: bool = False, terminal: bool = False) -> list[Line]:
    """Lines of the table of one crystal.

    `prediction`: the crystal; tensors are printed with three decimals, in the Cartesian axes of its cell. `all_atoms`:
    one row for every atom; otherwise one for each set of symmetry-equivalent atoms. `terminal`: mark independent
    components by style instead of a trailing asterisk.
    """
    lines: list[Line] = [((_header(prediction), _HEADER),)]
    for name, value in prediction.values.items():
        prop = PROPERTIES[name]
        lines += [(), ((_title(prediction, prop), _TITLE),)]
        pattern = _pattern(prediction, prop)
        if prop.per == "atom":
            lines += _atom_rows(prediction, prop, value, all_atoms)
        else:
            lines += _crystal_rows(prop, value, pattern, terminal)
        notes = [] if pattern is None else [_pattern_note(pattern, prediction.symmetry, terminal)]
        lines += [((note, _NOTE),) for note in [*notes, *_notes(prediction, prop, all_atoms)]]
    return lines


def plain_text(lines: Iterable[Line]) -> str:
    """Lines without styles."""
    return "\n".join("".join(text for text, _ in line) for line in lines)


def rich_text(lines: Iterable[Line]) -> Text:
    """Lines with styles; print it with `soft_wrap=True`, so that rows are not broken."""
    from rich.text import Text

    return Text("\n").join(Text.assemble(*line) for line in lines)


def site_labels(symmetry: Symmetry) -> list[str]:
    """Multiplicity in the conventional cell and Wyckoff letter of every atom, e.g. "4a", for any input cell.

    The letter alone for a supercell that does not have all operations of the crystal.
    """
    if len(symmetry.rotations) != _ORDERS.get(symmetry.point_group, 0):
        return list(symmetry.wyckoffs)
    centering = _CENTERING[symmetry.international[0]]
    sizes = np.bincount(symmetry.orbits, minlength=len(symmetry.orbits))[symmetry.orbits]
    counts = sizes * centering // symmetry.translations
    return [f"{count}{letter}" for count, letter in zip(counts, symmetry.wyckoffs, strict=True)]


def _header(prediction: Prediction) -> str:
    count = len(prediction.atoms)
    models = list(dict.fromkeys(prediction.models.values()))
    functional = _only(prediction.functionals)
    parts = [
        reduced_formula(prediction.atoms),
        f"{prediction.symmetry.international} ({prediction.symmetry.number})",
        f"{count} atom{'' if count == 1 else 's'}",
        f"id {prediction.id}",
        f"model{'' if len(models) == 1 else 's'} {', '.join(models)}",
    ]
    return "  ".join([*parts, *([f"functional {functional}"] if functional else [])])


def _title(prediction: Prediction, prop: Property) -> str:
    unit = "" if prop.unit == "1" else f", {prop.unit}"
    meaning = prop.meaning.split(" = ")[0] if prop.per == "atom" else prop.name
    origin = []
    if _only(prediction.models) is None:
        origin.append(f"model {prediction.models[prop.name]}")
    if _only(prediction.functionals) is None and prediction.functionals[prop.name] is not None:
        origin.append(f"functional {prediction.functionals[prop.name]}")
    return "  ".join([f"{prop.label[0].upper()}{prop.label[1:]} {meaning}{unit}", *origin])


def _only(labels: Mapping[str, str | None]) -> str | None:
    """The label of all properties, None if they differ or have none."""
    different = set(labels.values())
    return different.pop() if len(different) == 1 else None


def _pattern(prediction: Prediction, prop: Property) -> Pattern | None:
    """What symmetry says of a crystal's tensor; None where it was not imposed."""
    if not prediction.symmetrized or prop.per == "atom" or prop.rank == 0:
        return None
    try:
        return find_pattern(prediction.symmetry.rotations, prop, _TURNED)
    except ValueError:  # operations found with a large tolerance need not be a group
        return None


def _pattern_note(pattern: Pattern, symmetry: Symmetry, terminal: bool) -> str:
    group = f"crystal system {symmetry.crystal_system} ({symmetry.point_group}"
    order = _ORDERS.get(symmetry.point_group, pattern.order)
    # A supercell may lack operations of its crystal.
    group += ")" if pattern.order == order else f", {pattern.order} of its {order} operations in this cell)"
    mark = "bold" if terminal else "*"
    count = f"{pattern.count} independent component{'' if pattern.count == 1 else 's'} ({mark})"
    zeros = [f"{_ZERO} zero by symmetry"] if pattern.zero.any() else []
    return f"{group}: {', '.join([count if pattern.count else 'no component allowed', *zeros])}"


def _notes(prediction: Prediction, prop: Property, all_atoms: bool) -> list[str]:
    """Lines below the table of one property."""
    notes = []
    if prop.per == "atom":
        shown = "every atom" if all_atoms else "one atom of each symmetry-equivalent set"
        notes.append(f"{shown}, counted from 0; site: multiplicity and Wyckoff letter")
    if prop.name == "born_charges" and prediction.drift is not None:
        drift = float(abs(prediction.drift).max())
        count = len(prediction.atoms)
        notes.append(f"raw charge drift max |sum Z|: {drift:.4f} e per cell, {drift / count:.4f} e per atom")
    notes += _derived(prop, prediction.values[prop.name])
    if prop.name in prediction.residual:
        notes.append(f"raw symmetry residual |T - PT|/|T|: {prediction.residual[prop.name]:.1e}")
    if prop.name in prediction.spread:
        if prop.per == "atom":
            notes.append("spread: Frobenius norm of the standard deviation over the ensemble")
        else:
            spread = float(norm(prop, prediction.spread[prop.name]))
            notes.append(f"spread over the ensemble (Frobenius norm): {spread:.3f}")
    if prop.name in prediction.interval:
        notes.append(_interval_note(prop, prediction.interval[prop.name]))
    return notes


def _interval_note(prop: Property, interval: NDArray[np.float64]) -> str:
    if prop.per == "atom":
        return f"{_INTERVAL}: Frobenius norm of the error"
    unit = "" if prop.unit == "1" else f" {prop.unit}"
    return f"{_INTERVAL}{', Frobenius norm of the error' if prop.rank else ''}: {float(interval):.3f}{unit}"


def _derived(prop: Property, tensor: NDArray[np.float64]) -> list[str]:
    """What `voigt.response` makes of one Cartesian tensor; nothing where the tensor makes no sense."""
    try:
        if prop.name == "eps_inf":
            return [_refraction(tensor)]
        if prop.name == "elastic":
            return _stiffness(tensor)
    except VoigtError:  # the tensor is not finite, or no light can travel
        pass
    return []


def _refraction(eps_inf: NDArray[np.float64]) -> str:
    from voigt.response.optics import refractive_indices

    optics = refractive_indices(eps_inf)
    if optics.kind == "isotropic":
        return f"refractive index {optics.mean_index:.3f} (isotropic)"
    indices = ", ".join(f"{index:.3f}" for index in optics.indices)
    sign = "positive" if optics.sign > 0 else "negative"
    return f"refractive indices {indices}, birefringence {optics.birefringence:.3f} ({optics.kind}, {sign})"


def _stiffness(elastic: NDArray[np.float64]) -> list[str]:
    from voigt.response.elasticity import born_stability, moduli

    stability = born_stability(elastic)
    if not stability.stable:
        return [f"not mechanically stable: smallest eigenvalue {stability.smallest_eigenvalue:.1f} GPa, no averages"]
    average = moduli(elastic)
    return [
        f"bulk modulus K_H {average.bulk_hill:.1f} GPa, shear modulus G_H {average.shear_hill:.1f} GPa, "
        f"Young E {average.young:.1f} GPa, Poisson nu {average.poisson:.3f}",
        f"universal anisotropy {average.universal_anisotropy:.3f}, mechanically stable "
        f"(smallest eigenvalue {stability.smallest_eigenvalue:.1f} GPa)",
    ]


def _atom_rows(prediction: Prediction, prop: Property, value: NDArray[np.float64], all_atoms: bool) -> list[Line]:
    symmetry, symbols = prediction.symmetry, prediction.atoms.get_chemical_symbols()
    count = len(symbols)
    chosen = range(count) if all_atoms else np.unique(symmetry.orbits).tolist()
    labels = site_labels(symmetry)
    spread = prediction.spread.get(prop.name)
    norms = None if spread is None else norm(prop, spread)
    columns = {"spread": norms, _INTERVAL: prediction.interval.get(prop.name)}
    more = {title: column for title, column in columns.items() if column is not None}
    width = max(4, len(str(count)))
    heads = "".join(f"{title:>{_wide(title)}}" for title in more)
    rows = [f"{'atom':>{width}}  {'el':2}  {'site':5}" + _cells(_COMPONENTS) + heads]
    for index in chosen:
        row = f"{index:>{width}}  {symbols[index]:2}  {labels[index]:5}" + _numbers(value[index].reshape(-1))
        rows.append(row + "".join(f"{float(column[index]):{_wide(title)}.3f}" for title, column in more.items()))
    return [((row, ""),) for row in rows]


def _wide(title: str) -> int:
    """Characters of a column: those of a number, or its title and what parts it from the column before."""
    return max(9, len(title) + 2)


def _crystal_rows(prop: Property, value: NDArray[np.float64], pattern: Pattern | None, terminal: bool) -> list[Line]:
    if prop.rank == 0:
        return [((_numbers(np.atleast_1d(value)).lstrip(), ""),)]
    names, columns = headings(prop)
    matrix = stored(prop, value)
    if pattern is None:
        rows = [f"{name:>4}" + _numbers(row) for name, row in zip(names, matrix, strict=True)]
        return [((row, ""),) for row in [" " * 4 + _cells(columns), *rows]]
    lines: list[Line] = [((" " * 4 + " ".join(_cells([column]) for column in columns), ""),)]
    for name, row, zeros, independent in zip(names, matrix, pattern.zero, pattern.independent, strict=True):
        cells = [_marked(*entry, terminal) for entry in zip(row, zeros, independent, strict=True)]
        lines.append(((f"{name:>4}", ""), *cells[:-1], (cells[-1][0].rstrip(), cells[-1][1])))
    return lines


def _marked(value: float, zero: bool, independent: bool, terminal: bool) -> tuple[str, str]:
    """A cell of ten characters: a number and its mark, or a dot where the number has its point."""
    if zero:
        return f"{_ZERO:>6}    ", ""
    number = _numbers(np.array([value]))
    if not independent:
        return f"{number} ", ""
    return (f"{number} ", _INDEPENDENT) if terminal else (f"{number}*", "")


def _cells(names: Sequence[str]) -> str:
    return "".join(f"{name:>9}" for name in names)


def _numbers(values: NDArray[np.float64]) -> str:
    """Three decimals; adding 0.0 turns -0.000 into 0.000."""
    return "".join(f"{value:9.3f}" for value in np.round(values, 3) + 0.0)
