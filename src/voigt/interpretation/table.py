"""Explanations as tables for the eye, in the style of those of `voigt predict`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from voigt.interpretation.crystals import (
    NONE,
    CrystalExplanation,
    main_object,
    orbit_sums,
    relative_entropy,
    strongest_orbits,
)
from voigt.interpretation.measures import Dependence
from voigt.interpretation.objects import ATOMS, IN_USE, POLYHEDRA, USED, Meaning, Motif, Objects
from voigt.interpretation.sets import Dimension, SetSummary
from voigt.models.sen.heads import SYSTEMS
from voigt.structures.formula import reduced_formula
from voigt.tensors.properties import PROPERTIES
from voigt.writers.table import Line

_HEADER, _TITLE, _NOTE = "bold", "underline", "dim"


def crystal_lines(crystal: CrystalExplanation) -> list[Line]:
    """Lines of the tables of one crystal: prediction and shares, capsules, attention; one row for each orbit."""
    return [
        ((_header(crystal), _HEADER),),
        *((_plain(text)) for text in _predictions(crystal)),
        *_section("Sites", _site_rows(crystal), _site_notes(crystal)),
        *_section("Part capsules, the most present first", _capsule_rows(crystal), _CAPSULE_NOTES),
        *_section("Attention", _attention_rows(crystal), _ATTENTION_NOTES),
        (),
        *(_plain(text) for text in _whole(crystal)),
    ]


def summary_lines(summary: SetSummary) -> list[Line]:
    """Lines of the figures of a set of crystals."""
    systems = ", ".join(f"{count} {name}" for name, count in summary.systems.items())
    mean, deviation = summary.presence_entropy
    return [
        ((f"{summary.crystals} crystals: {systems}", _HEADER),),
        *_section("Embeddings by crystal system", _separation_rows(summary), ()),
        *_section(
            "Effective dimensions (participation ratio)",
            [
                f"{'':16}{'dimensions':>11}{'of':>6}{'vectors':>9}",
                _dimension_row("embedding", summary.embedding),
                _dimension_row("atoms, start", summary.stages[0]),
                *(_dimension_row(f"atoms, loop {k}", stage) for k, stage in enumerate(summary.stages[1:], start=1)),
            ],
            ("vectors of atoms: one of each orbit; n vectors have n - 1 dimensions at most",),
        ),
        *_section(
            "Strongest capsule of a site",
            [
                f"{'':16}{'bits':>8}{'normalized':>12}{'adjusted':>10}{'p':>8}{'labels':>8}{'orbits':>8}",
                *(_dependence_row(name, dependence) for name, dependence in summary.sites.items()),
            ],
            (
                "mutual information; adjusted: 0 is what chance gives, 1 if each determines the other",
                "p: share of permuted labels that reach it",
            ),
        ),
        *_section(
            "Presence of part capsules",
            [
                f"entropy in a crystal {mean:.3f} +- {deviation:.3f} bits, of {np.log2(len(summary.presence)):.3f}",
                f"entropy of the mean  {summary.usage_entropy:.3f} bits",
                f"effective parts      {summary.effective_parts[0]:.1f} in a crystal, "
                f"{summary.effective_parts[1]:.1f} over the set",
                *_overlap_rows(summary),
            ],
            (
                "the second exceeds the first as far as different crystals use different capsules",
                "overlap: how far the same atoms form two parts, in crystals of three orbits and more",
            ),
        ),
        *_section(
            "Object capsules",
            [
                f"explain {100 * summary.explained:.0f} % of the present parts",
                f"effective objects {summary.effective_objects:.1f} over the set",
            ],
            (),
        ),
        *_section("Objects", _object_rows(summary.objects), _OBJECT_NOTES if summary.objects.in_use else ()),
        *_section("Main object of an atom", _decision_rows(summary.objects), _DECISION_NOTES),
    ]


def _header(crystal: CrystalExplanation) -> str:
    count, symmetry = len(crystal.atoms), crystal.symmetry
    parts = [
        reduced_formula(crystal.atoms),
        f"{symmetry.international} ({symmetry.number})",
        f"{count} atom{'' if count == 1 else 's'}",
        f"id {crystal.id}",
        f"model {crystal.model}",
        *([f"member {crystal.member} of {crystal.members}"] if crystal.members > 1 else []),
    ]
    return "  ".join(parts)


def _predictions(crystal: CrystalExplanation) -> list[str]:
    matrices = crystal.matrices
    lines = [
        f"{PROPERTIES[name].label} {_rounded(matrices.prediction[name])} {PROPERTIES[name].unit}"
        for name in crystal.properties
    ]
    if matrices.metal_probability is not None and "band_gap" in crystal.properties:
        lines.append(f"probability of a metal {matrices.metal_probability:.3f}")
    return lines


def _site_rows(crystal: CrystalExplanation) -> list[str]:
    sums = {name: orbit_sums(crystal, crystal.matrices.shares[name]) for name in crystal.additive}
    width = max(8, *(len(orbit.site_symmetry) for orbit in crystal.orbits))
    columns = [(f"{_short(name)}, each", f"{_short(name)}, all") for name in crystal.additive]
    heads = "".join(f"{text:>{len(text) + 2}}" for pair in columns for text in pair)
    rows = [f"{'atom':>4}  {'el':2}  {'site':5}  {'symmetry':{width}}{'atoms':>7}{heads}"]
    for k, orbit in enumerate(crystal.orbits):
        cells = ""
        for name, pair in zip(crystal.additive, columns, strict=True):
            total = float(sums[name][k])
            each = total / len(orbit.atoms)
            cells += f"{_rounded(each):>{len(pair[0]) + 2}}{_rounded(total):>{len(pair[1]) + 2}}"
        first, size = orbit.atoms[0], len(orbit.atoms)
        rows.append(f"{first:>4}  {orbit.element:2}  {orbit.site:5}  {orbit.site_symmetry:{width}}{size:>7}{cells}")
    return rows


def _site_notes(crystal: CrystalExplanation) -> list[str]:
    notes = ["one row for each set of symmetry-equivalent atoms; atom: the first of them, counted from 0"]
    for name in crystal.additive:
        total = crystal.matrices.additive[name]
        label, unit = PROPERTIES[name].label, PROPERTIES[name].unit
        whole = f"the shares add up to {_rounded(total)} {unit}"
        differs = abs(total - crystal.matrices.prediction[name]) > 5e-4
        notes.append(f"{label}: {whole}, {'the gap if this is an insulator' if differs else 'the prediction'}")
    return notes


def _short(name: str) -> str:
    """Column of a property: its unit says what stands there."""
    return {"formation_energy": "energy", "band_gap": "gap"}.get(name, name)


def _capsule_rows(crystal: CrystalExplanation) -> list[str]:
    matrices = crystal.matrices
    strongest = [
        ", ".join(f"{orbit.label} {100 * share:.0f} %" for orbit, share in strongest_orbits(crystal, k))
        for k in range(len(matrices.presence))
    ]
    width = max(map(len, strongest))
    heads = f"{'object':>6}  {'posterior':>9}  {'log p':>9}"
    rows = [f"{'capsule':>7}  {'presence':>8}  {'strongest orbits':{width}}  {heads}"]
    for k in np.argsort(-matrices.presence, kind="stable"):
        best, probability = main_object(crystal, int(k))
        rows.append(
            f"{k:>7}  {matrices.presence[k]:>8.3f}  {strongest[k]:{width}}  {NONE if best is None else best:>6}"
            f"  {probability:>9.3f}  {_rounded(float(matrices.log_likelihood[k])):>9}"
        )
    return rows


_CAPSULE_NOTES = (
    "strongest orbits: share of all their atoms in the forming of the capsule",
    "object: the object capsule to which the part most probably belongs; log p: log likelihood of its pose",
)


def _attention_rows(crystal: CrystalExplanation) -> list[str]:
    matrices = crystal.matrices
    entropies = [relative_entropy(loop)[crystal.representatives] for loop in matrices.channel_attention]
    atoms, bonds = (orbit_sums(crystal, steps[-1]) for steps in (matrices.atom_attention, matrices.bond_attention))
    width = max(5, *(len(orbit.label) for orbit in crystal.orbits))
    loops = "".join(f"{f'loop {k}':>8}" for k in range(1, len(entropies) + 1))
    rows = [f"{'orbit':{width}}{loops}{'atoms':>9}{'bonds':>8}"]
    for k, orbit in enumerate(crystal.orbits):
        cells = "".join(f"{values[k]:>8.3f}" for values in entropies)
        rows.append(f"{orbit.label:{width}}{cells}{atoms[k]:>9.3f}{bonds[k]:>8.3f}")
    return rows


_ATTENTION_NOTES = (
    "loops: entropy of the attention over channels (1: all alike, 0: one channel)",
    "atoms, bonds: weight of the orbit in the last step of Set2Set",
)


def _whole(crystal: CrystalExplanation) -> list[str]:
    matrices = crystal.matrices
    weights = ", ".join(f"{element} {weight:.3f}" for element, weight in matrices.element_attention.items())
    lines = [f"weights in the composition: {weights}"]
    if matrices.crystal_system_probabilities is not None:
        best = int(matrices.crystal_system_probabilities.argmax())
        probability, actual = matrices.crystal_system_probabilities[best], crystal.symmetry.crystal_system
        lines.append(f"crystal system recognized: {SYSTEMS[best]} ({probability:.3f}); it is {actual}")
    if matrices.space_group_probabilities is not None:
        best = int(matrices.space_group_probabilities.argmax())
        probability, number = matrices.space_group_probabilities[best], crystal.symmetry.number
        lines.append(f"space group recognized: {best + 1} ({probability:.3f}); it is {number}")
    return lines


def _separation_rows(summary: SetSummary) -> list[str]:
    separation = summary.separation
    if separation is None:
        return ["no silhouette: it needs two systems, one of them with two crystals"]
    sampled = f" ({summary.sampled} crystals drawn at random)" if summary.sampled < summary.crystals else ""
    return [
        f"silhouette {separation.silhouette:.3f}{sampled}",
        f"with permuted labels {separation.chance:.3f} +- {separation.deviation:.3f}, p = {separation.p_value:.3f}",
    ]


def _overlap_rows(summary: SetSummary) -> list[str]:
    if summary.overlap is None:
        return []
    return [f"overlap of parts     {summary.overlap:.3f}, cosine over {summary.overlapping} crystals"]


_SHOWN = 2  # motifs of each kind that are shown for an object

_OBJECT_NOTES = (
    "rows: atoms and polyhedra of which an object holds more than the set does",
    f"main in: crystals that belong to it more than to others; used by: those of which {100 * USED:.0f} % belong to it",
    "share: of all that it holds; lift: over the share in the set; center: lift of the center alone",
    "p: adjusted for the number of motifs",
    "purity: share of the crystals that use the object in which the motif occurs; set: of all crystals",
)

_DECISION_NOTES = (
    "mutual information with the object that holds most of an atom",
    "adjusted: 0 is what chance gives, 1 if nothing else decides; beyond it: of what the element leaves open",
)


def _object_rows(objects: Objects) -> list[str]:
    chosen = {
        meaning: [*meaning.leading(ATOMS, _SHOWN), *meaning.leading(POLYHEDRA, _SHOWN)]
        for meaning in objects.in_use
    }
    if not chosen:
        return [f"none has {100 * IN_USE:.0f} % of the present parts"]
    width = max((len(motif.label) for motifs in chosen.values() for motif in motifs), default=0) + 2
    rows = [f"{'':{width}}{'share':>9}{'lift':>7}{'center':>8}{'p':>8}{'purity':>9}{'set':>8}"]
    for meaning, motifs in chosen.items():
        rows += [_object_row(meaning), *(_motif_row(motif, width) for motif in motifs)]
        rows += [] if motifs else ["  nothing more often than by chance"]
    return rows


def _object_row(meaning: Meaning) -> str:
    share = f"object {meaning.capsule}: {100 * meaning.present:.1f} % of the present parts"
    return f"{share}; main in {meaning.main_in}, used by {meaning.used_in}"


def _motif_row(motif: Motif, width: int) -> str:
    center = "" if motif.kind in ("element", "group") else f"{motif.center_lift:.1f}"
    chance = f"{motif.p_value:.3f}" if motif.p_value >= 0.001 else "<0.001"
    purity = "" if motif.purity is None else f"{100 * motif.purity:.1f} %"
    numbers = f"{f'{100 * motif.share:.1f} %':>9}{motif.lift:>7.1f}{center:>8}{chance:>8}"
    return f"{f'  {motif.label}':{width}}{numbers}{purity:>9}{f'{100 * motif.purity_in_set:.1f} %':>8}"


def _decision_rows(objects: Objects) -> list[str]:
    rows = [("element", objects.element), *((f"beyond it, {name}", told) for name, told in objects.beyond.items())]
    width = max(len(name) for name, _ in rows)
    return [f"{'':{width}}{'bits':>8}{'adjusted':>10}{'p':>8}"] + [
        f"{name:{width}}{told.bits:>8.3f}{told.adjusted:>10.3f}{told.p_value:>8.3f}"
        for name, told in rows
        if told is not None
    ]


def _dimension_row(name: str, dimension: Dimension) -> str:
    return f"{name:16}{dimension.ratio:>11.2f}{dimension.width:>6}{dimension.vectors:>9}"


def _dependence_row(name: str, dependence: Dependence | None) -> str:
    if dependence is None:
        return f"{name:16}not defined: in every crystal all atoms are equivalent"
    numbers = f"{dependence.bits:>8.3f}{dependence.normalized:>12.3f}{dependence.adjusted:>10.3f}"
    return f"{name:16}{numbers}{dependence.p_value:>8.3f}{dependence.labels:>8}{dependence.items:>8}"


def _section(title: str, rows: Iterable[str], notes: Sequence[str]) -> list[Line]:
    return [(), ((title, _TITLE),), *(_plain(row) for row in rows), *(((note, _NOTE),) for note in notes)]


def _plain(text: str) -> Line:
    return ((text, ""),)


def _rounded(value: float | NDArray[np.float64]) -> str:
    """Three decimals, no -0.000."""
    return f"{np.round(value, 3) + 0.0:.3f}"
