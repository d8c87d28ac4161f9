"""Sections of the page on a response that hold its numbers: charges, tensors, modes, refraction, moduli."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from voigt.response.arrays import direction_name
from voigt.response.elasticity import born_stability
from voigt.response.optics import reflectivity_normal
from voigt.response.phonons.infrared_modes import KM_PER_MOL
from voigt.response.phonons.modes import WAVENUMBER
from voigt.tensors.layout import AXES
from voigt.tensors.pattern import Pattern
from voigt.writers.markdown import number, unit_symbol
from voigt.writers.phonons import frequency_text
from voigt.writers.response_html import Markup, join, paragraph, row, section, table, text
from voigt.writers.response_record import described, symmetry_pattern, voigt_matrix
from voigt.writers.response_summary import ROUTES, interval_text
from voigt.writers.table import site_labels

if TYPE_CHECKING:
    from voigt.response.assembly import Quantity, Response

PERMITTIVITY = ("eps_inf", "eps_ionic", "eps_total", "eps_free")
ELASTIC = ("elastic", "elastic_clamped")
PIEZO = ("piezo_total", "piezo_clamped", "piezo_ionic", "piezo_d")
_DECIMALS = {"GPa": 1, "pm/V": 2}
_ZERO = "·"
_SAME = 1e-3
"""Share of the norm below which two tensors count as the same."""
_PAIRS = tuple(a + b for a in AXES for b in AXES)


def charges(response: Response) -> Markup:
    """Born charges of one atom of each orbit."""
    entry, symmetry = response.quantities["born_charges"], response.prediction.symmetry
    symbols, labels = response.atoms.get_chemical_symbols(), site_labels(symmetry)
    head = ["atom", "site", "mean", *_PAIRS]
    rows: list[list[object]] = []
    for atom in np.unique(symmetry.orbits).tolist():
        tensor = entry.value[atom]
        mean = f"{float(np.trace(tensor)) / 3:.3f}"
        row = [f"{symbols[atom]} {atom}", labels[atom], mean, *(_fixed(value, 3) for value in tensor.flat)]
        rows.append(row if entry.interval is None else [*row, f"{float(entry.interval[atom]):.3f}"])
    if entry.interval is not None:
        head.append("± (90 %)")
    caption = f"Z[field, displacement] in e, one atom of each set of equivalent ones, counted from 0; {entry.origin}"
    words = "Dipole per displacement of an atom: a charge of +2 moves as much charge as a rigid doubly charged ion."
    return section(
        "charges", "Born effective charges", paragraph(words), table(caption, head, rows, "ll" + "r" * (len(head) - 2))
    )


def tensors(response: Response, anchor: str, title: str, names: Sequence[str], *more: Markup) -> Markup:
    """Full tensors of some quantities, with what each way says by itself."""
    blocks: list[Markup] = []
    for name in names:
        if name in response.quantities:
            blocks += _tensor(response, name)
    absent = [name for name in names if name not in response.quantities]
    missing = [paragraph(f"Not available: {', '.join(absent)}; the warnings say why.")] if absent else []
    return section(anchor, title, *blocks, *missing, *more)


def infrared(response: Response) -> Markup:
    """Every set of modes at Gamma, with what light sees of it."""
    answer = response.infrared.response
    head = ["mode", "irrep", "TO, cm⁻¹", "THz", "intensity, km/mol", "share of eps_ionic xx", "yy", "zz"]
    rows: list[list[object]] = []
    for entry in answer.sets:
        names = ", ".join(str(member + 1) for member in entry.members)
        places = [frequency_text(entry.wavenumber, 1), frequency_text(entry.frequency, 3)]
        shares = [_fixed(value, 3) for value in np.diag(entry.share)]
        if entry.kind == "acoustic":
            seen = ["acoustic", "", "", ""]
        elif entry.kind == "imaginary":
            seen = [_fixed(entry.intensity * KM_PER_MOL, 1), "excluded", "", ""]
        else:
            seen = [_fixed(entry.intensity * KM_PER_MOL, 1) if entry.active else "silent", *shares]
        rows.append([names, entry.irrep or "–", *places, *seen])
    caption = "Modes at q = 0 without macroscopic field (TO); degenerate ones together; i: imaginary"
    lines = [paragraph("Frequencies come from the potential, intensities from its eigenvectors and the Born charges.")]
    if answer.excluded:
        words = "Imaginary modes are left out of the shares and of the spectrum: the structure is not at a minimum, and"
        lines.append(paragraph(f"{words} voigt respond --follow goes to one."))
    return section("infrared", "Infrared modes", *lines, table(caption, head, rows, "llrrrrrr"))


def splitting(response: Response) -> Markup:
    """TO and LO frequencies along each direction, and whether the relation of Lyddane, Sachs and Teller holds."""
    blocks = []
    for relation, names in zip(response.infrared.relations, response.infrared.directions, strict=True):
        rows = [
            [k, *(frequency_text(f * WAVENUMBER, 1) for f in pair), _fixed((pair[1] - pair[0]) * WAVENUMBER, 1),
             *(frequency_text(f, 3) for f in pair)]
            for k, pair in enumerate(zip(relation.transverse, relation.longitudinal, strict=True), start=1)
        ]  # fmt: skip
        mixed = "" if relation.axis else "; no axis of the crystal: modes are neither transverse nor longitudinal"
        caption = f"q along {' = '.join(names)}{mixed}"
        head = ["pair", "TO, cm⁻¹", "LO, cm⁻¹", "LO − TO, cm⁻¹", "TO, THz", "LO, THz"]
        blocks.append(table(caption, head, rows) if rows else paragraph(f"{caption}: no mode has a dipole."))
        if relation.reason is None:
            check = f"∏ (LO/TO)² = {relation.product:.5g}, eps_0/eps_inf = {relation.ratio:.5g}"
            blocks.append(paragraph(f"Lyddane-Sachs-Teller: {check}."))
        else:
            blocks.append(paragraph(f"Lyddane-Sachs-Teller does not apply: {relation.reason}."))
    words = (
        "Poles (TO) and zeros (LO) of the permittivity. The product is of frequencies that phonopy gives with NAC, the "
        "quotient of permittivities summed over modes: they agree if charges, force constants and NAC fit together."
    )
    return section("lo-to", "LO-TO splitting", paragraph(words), *blocks)


def refraction(response: Response) -> Markup:
    """Indices along the principal axes, birefringence, optic axes."""
    optics = response.optics
    if optics is None:
        return section("refraction", "Refraction", paragraph("No refractive indices; the warnings say why."))
    rows = [
        [f"n{k}", f"{index:.4f}", direction_name(axis), f"{100 * float(reflectivity_normal(index)):.1f} %"]
        for k, (index, axis) in enumerate(zip(optics.indices, optics.axes, strict=True), start=1)
    ]
    if optics.kind == "isotropic":
        rows = [["n", *rows[0][1:2], "any direction", rows[0][3]]]
    head = ["index", "value", "field along", "reflects"]
    lines = [table("sqrt of the principal values of eps_inf, for light far below the gap", head, rows, "lrlr")]
    if optics.kind != "isotropic":
        axes = " and ".join(direction_name(axis) for axis in optics.optic_axes)
        sign = "positive" if optics.sign > 0 else "negative"
        angle = "" if optics.kind == "uniaxial" else f", 2V = {optics.axial_angle:.1f}°"
        what = f"Optically {optics.kind} and {sign}, birefringence {optics.birefringence:.4f}"
        lines.append(paragraph(f"{what}; light sees none along {axes}{angle}."))
    return section("refraction", "Refraction", *lines)


def moduli(response: Response) -> Markup:
    """Averages over a polycrystal."""
    found, elastic = response.moduli, response.quantities.get("elastic")
    if found is None or elastic is None:
        return section("moduli", "Elastic moduli", paragraph("No moduli; the warnings say why."))
    bulk = [number(float(value)) for value in (found.bulk_voigt, found.bulk_reuss, found.bulk_hill)]
    shear = [number(float(value)) for value in (found.shear_voigt, found.shear_reuss, found.shear_hill)]
    rows = [["bulk modulus, GPa", *bulk], ["shear modulus, GPa", *shear]]
    softest = float(born_stability(elastic.value).smallest_eigenvalue)
    words = (
        f"Young's modulus {number(float(found.young))} GPa, Poisson's ratio {float(found.poisson):.3f}, Pugh's ratio "
        f"{float(found.pugh):.2f}, universal anisotropy {float(found.universal_anisotropy):.2f}. Mechanically stable: "
        f"the smallest eigenvalue of the stiffness is {number(softest)} GPa."
    )
    averages = table("Averages over a polycrystal", ["", "Voigt (upper)", "Reuss (lower)", "Hill"], rows)
    return section("moduli", "Elastic moduli", averages, paragraph(words))


def _tensor(response: Response, name: str) -> list[Markup]:
    entry, (label, meaning) = response.quantities[name], described(name)
    title = Markup(f"<h3>{text(label[0].upper() + label[1:])}, {text(name)}</h3>")
    pattern = symmetry_pattern(response, entry.value.ndim)
    if pattern is not None and pattern.zero.all():
        return [title, paragraph(f"Zero by symmetry: {meaning}.")]
    twin = {"elastic_clamped": "elastic", "eps_free": "eps_total"}.get(name, "")
    if twin in response.quantities and _alike(entry.value, response.quantities[twin].value):
        reason = "strain moves no ions" if name == "elastic_clamped" else "there is no piezoelectricity"
        return [title, paragraph(f"Like {twin}: {reason}.")]
    others = [way for way in response.routes.get(name, ()) if way.route != entry.route]
    matrices = [_matrix(name, entry, pattern, meaning, entry.origin)]
    matrices += [_matrix(name, way, pattern, f"by {ROUTES[way.route]}", way.origin) for way in others]
    return [title, row(matrices)]


def _matrix(name: str, entry: Quantity, pattern: Pattern | None, meaning: str, origin: str) -> Markup:
    rows, columns, matrix = voigt_matrix(name, entry.value)
    unit, digits = unit_symbol(entry.unit), _DECIMALS.get(entry.unit, 3)
    caption = f"{meaning}{f', in {unit}' if unit else ''}; {origin}"
    if entry.interval is not None:
        caption += f"; ± {interval_text(entry.interval)} (90 %, norm of the error of the whole tensor)"
    cells = [[_cell(matrix[i, j], digits, pattern, (i, j)) for j in range(len(columns))] for i in range(len(rows))]
    return table(caption, ["", *columns], [[row, *entries] for row, entries in zip(rows, cells, strict=True)])


def _cell(value: float, digits: int, pattern: Pattern | None, place: tuple[int, int]) -> object:
    """An entry: a dot where symmetry forbids it, marked where it determines others."""
    if pattern is not None and pattern.zero[place]:
        return _ZERO
    figure = _fixed(value, digits)
    free = pattern is not None and pattern.independent[place]
    return join([Markup('<strong class="free">'), figure, Markup("</strong>")]) if free else figure


def _alike(first: NDArray[np.float64], second: NDArray[np.float64]) -> bool:
    return bool(np.linalg.norm(first - second) <= _SAME * np.linalg.norm(second))


def _fixed(value: float, digits: int) -> str:
    """Decimals without a negative zero."""
    return f"{round(float(value), digits) + 0.0:.{digits}f}"
