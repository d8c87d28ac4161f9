"""What the capsules of a SEN model hold: the tables of docs/explain.md.

    VOIGT_DATA=... python -m benchmarks.accuracy.sen_objects [--model NAME|FILE] [-o runs/explain]
        [--figure docs/img/objects.png]

Draws 1,000 crystals from the test crystals of the gap's fold 0, always the same, and writes them to OUT/test.xyz with
their ids, as `voigt explain` takes them. Prints Markdown tables: which atoms of examples/families.xyz the parts of the
first network hold, and to which objects its families belong; "A thousand crystals" for all networks; and for each
network the objects with the clearest meaning, those whose leading kinds of atoms add most to their divergence from the
set. Of polyhedra the one that adds most stands first, then those that add most beyond what their centers do. Last
come the object that holds most atoms of each kind, and how often motifs are stated if objects are dealt at random among
the crystals. `--figure` draws which object of the first network holds which atoms.
"""

from __future__ import annotations

import argparse
import os
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import ase
import ase.io
import numpy as np
import pyarrow.parquet as parquet
from matplotlib.figure import Figure
from numpy.typing import NDArray

from voigt.files import atomic_write
from voigt.interpretation.coordination import Polyhedron, polyhedra
from voigt.interpretation.crystals import CrystalExplanation, choose, explain_structures, held_by_objects, orbit_sums
from voigt.interpretation.elements import by_electronegativity, group
from voigt.interpretation.objects import ATOMS, IN_USE, POLYHEDRA, Holdings, Meaning, Motif
from voigt.interpretation.sets import Collection, SetSummary
from voigt.notes import Failure
from voigt.prediction.result import Settings
from voigt.structures import read
from voigt.structures.rows import atoms_from_row
from voigt.writers.figures import INK, save_figure, style_axes, style_bar
from voigt.writers.markdown import table

Array = NDArray[np.float64]

FAMILIES = Path(__file__).resolve().parents[2] / "examples" / "families.xyz"
CRYSTALS = 1_000
CLEAREST = 5
MOSTLY, PARTLY = 0.5, 0.2
"""A part holds an element for the most part, or in part, from these shares on."""
RARE = 0.004
"""Kinds of atoms below this share of all are left out."""
DEALS = 20
"""So many times objects are dealt at random among the crystals."""


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="scalars", metavar="NAME|FILE")
    parser.add_argument("--data", default=os.environ.get("VOIGT_DATA", "."))
    parser.add_argument("-o", "--output", default="runs/explain", metavar="OUT")
    parser.add_argument("--figure", metavar="FILE")
    options = parser.parse_args()
    path = Path(options.output) / "test.xyz"
    if not path.is_file():
        write_crystals(Path(options.data) / "scalars" / "mp_scalars.parquet", path)
    families = list(explained(FAMILIES, options.model, 0))
    print(f"Parts of examples/families.xyz, member 0\n\n{part_table(families)}\n")
    print(f"Objects of the families, member 0: shares of their present parts\n\n{family_table(families)}\n")
    print(f"Deals that state a motif: {stated_by_chance(list(map(Held.of, families)))} of {DEALS}\n")
    summaries, held = [], []
    for member in range(families[0].members):
        collection, taken = Collection(), []
        for crystal in explained(path, options.model, member):
            collection.add(crystal)
            taken.append(Held.of(crystal))
        summaries.append(collection.summary())
        held.append(taken)
    print(f"A thousand crystals\n\n{measure_table(summaries)}\n")
    for member, summary in enumerate(summaries):
        print(f"Objects of a thousand crystals, member {member}\n\n{object_table(summary)}\n")
    kinds = [shares_of_kinds(taken) for taken in held]
    print(f"Object that holds most atoms of a kind\n\n{kind_table(kinds)}\n")
    print(f"Deals that state a motif: {stated_by_chance(held[0])} of {DEALS}")
    if options.figure:
        save_figure(kind_figure(kinds[0]), options.figure)


def write_crystals(source: Path, path: Path) -> None:
    """Crystals drawn from those whose gap is in fold 0, in the order of the file."""
    columns = parquet.read_table(source)
    fold = columns["gap_fold"].to_numpy(zero_copy_only=False)
    rows = np.sort(np.random.default_rng(0).choice(np.flatnonzero(fold == 0), CRYSTALS, replace=False))
    frames = [
        atoms_from_row(np.array(row["numbers"]), np.array(row["cell"]), np.array(row["frac"]), {"id": row["mp_id"]})
        for row in columns.take(rows).to_pylist()
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as stream:
        ase.io.write(stream, frames, format="extxyz")


def explained(path: Path, model: str, member: int) -> Iterator[CrystalExplanation]:
    """Crystals of a file, opened by a network."""
    for crystal in explain_structures(read([path]), choose(model, None, member), Settings()):
        if isinstance(crystal, Failure):
            raise SystemExit(crystal.problem)
        yield crystal


def part_table(found: Sequence[CrystalExplanation]) -> str:
    """Elements that each part holds, and the objects to which it belongs, the most present parts first."""
    parts = len(found[0].matrices.presence)
    held: dict[str, Array] = defaultdict(lambda: np.zeros(parts))
    for crystal in found:
        rows = orbit_sums(crystal, crystal.matrices.assignment) * crystal.matrices.presence
        for orbit, row in zip(crystal.orbits, rows, strict=True):
            held[orbit.element] += row
    presence = np.mean([crystal.matrices.presence for crystal in found], axis=0)
    belongs = np.sum([crystal.matrices.presence[:, None] * crystal.matrices.posterior for crystal in found], axis=0)
    shares = {element: row / row.sum() for element, row in sorted(held.items(), key=lambda one: _order(one[0]))}
    lines = []
    for part in np.argsort(-presence).tolist():
        if presence[part] < IN_USE:
            continue
        most = [element for element, share in shares.items() if share[part] >= MOSTLY]
        some = [element for element, share in shares.items() if PARTLY <= share[part] < MOSTLY]
        holds = "; ".join([", ".join(most)] * bool(most) + [f"in part {', '.join(some)}"] * bool(some))
        row = belongs[part] / belongs[part].sum()
        objects = [_object(k, len(row) - 1) for k in np.argsort(-row).tolist() if row[k] >= PARTLY]
        lines.append([str(part), _percent(float(presence[part])), holds, ", ".join(objects)])
    return table(["part", "presence", "holds", "belongs to object"], lines, "lrll")


def family_table(found: Sequence[CrystalExplanation]) -> str:
    """Share of the present parts of each family that belongs to each object, percent."""
    rows: dict[str, list[Array]] = defaultdict(list)
    for crystal in found:
        rows[str(crystal.atoms.info["family"])].append(held_by_objects(crystal).sum(axis=0))
    means = {f"{family} ({len(shares)})": np.mean(shares, axis=0) for family, shares in rows.items()}
    used = np.flatnonzero(np.max(list(means.values()), axis=0) >= IN_USE).tolist()
    none = len(next(iter(means.values()))) - 1
    header = ["family", *(_object(k, none) for k in used)]
    return table(header, [[family, *(f"{100 * share[k]:.0f}" for k in used)] for family, share in means.items()])


def measure_table(summaries: Sequence[SetSummary]) -> str:
    """Figures of all networks, those that docs/explain.md states."""
    parts = len(summaries[0].presence)
    rows = {
        f"effective parts in a crystal, of {parts}": [f"{one.effective_parts[0]:.1f}" for one in summaries],
        "effective parts over the set": [f"{one.effective_parts[1]:.1f}" for one in summaries],
        "overlap of parts in crystals of three orbits and more (cosine)": [_two(one.overlap) for one in summaries],
        "share of the present parts that objects explain": [f"{100 * one.explained:.0f} %" for one in summaries],
        "effective objects over the set": [f"{one.effective_objects:.1f}" for one in summaries],
        "strongest part and element: normalized mutual information": _shared(summaries, "element", "normalized"),
        "strongest part and coordination number: the same": _shared(summaries, "coordination", "normalized"),
        "strongest part and Wyckoff orbit: the same": _shared(summaries, "Wyckoff orbit", "normalized"),
        "strongest part and Wyckoff orbit, adjusted for chance": _shared(summaries, "Wyckoff orbit", "adjusted"),
        "main object and element, adjusted for chance": [
            _two(None if one.objects.element is None else one.objects.element.adjusted) for one in summaries
        ],
    }
    for name in summaries[0].objects.beyond:
        told = [one.objects.beyond[name] for one in summaries]
        rows[f"of what the element leaves open, {name}"] = [_two(None if one is None else one.adjusted) for one in told]
    rows["silhouette of the embeddings by crystal system"] = [
        _two(None if one.separation is None else one.separation.silhouette) for one in summaries
    ]
    header = ["measure", *(f"member {k}" for k in range(len(summaries)))]
    shared = [told for one in summaries for told in (*one.sites.values(), *one.objects.beyond.values())]
    largest = max(told.p_value for told in shared if told is not None)
    return f"{table(header, [[name, *cells] for name, cells in rows.items()])}\n\nlargest p of these: {largest:.3f}"


def object_table(summary: SetSummary) -> str:
    """The objects with the clearest meaning."""
    ranked = sorted(summary.objects.in_use, key=lambda one: -sum(motif.information for motif in _atoms(one)))
    rows = []
    for meaning in ranked[:CLEAREST]:
        centers, above_all = _atoms(meaning), meaning.leading(POLYHEDRA, 1)
        rows.append(
            [
                str(meaning.capsule),
                _percent(meaning.present),
                f"{meaning.main_in} / {meaning.used_in}",
                ", ".join(f"{one.label} {_percent(one.share)} ({one.lift:.1f})" for one in centers),
                _purity(centers),
                "; ".join(map(_polyhedron, [*above_all, *_beyond(meaning, above_all)])),
                _purity(above_all),
            ]
        )
    atoms, around, purity = "atoms: share (lift)", "polyhedra: lift (that of the center)", "purity / set"
    return table(["object", "present", "main in / used by", atoms, purity, around, purity], rows, "lrrlrlr")


def _atoms(meaning: Meaning) -> list[Motif]:
    return meaning.leading(ATOMS, 3)


def _beyond(meaning: Meaning, above_all: Sequence[Motif]) -> list[Motif]:
    """Two polyhedra that tell most beyond their centers."""

    def information(motif: Motif) -> float:
        return round(motif.share * float(np.log2(motif.lift / motif.center_lift)), 9)

    ranked = replace(meaning, motifs=tuple(sorted(meaning.motifs, key=information, reverse=True)))
    apart = [one for one in ranked.leading(POLYHEDRA, 5) if one.lift > 1.5 * one.center_lift and one not in above_all]
    return apart[:2]


def _polyhedron(motif: Motif) -> str:
    return f"{motif.label} {motif.lift:.1f} ({motif.center_lift:.1f}) in {motif.held_in} of {motif.crystals}"


def _shared(summaries: Sequence[SetSummary], name: str, figure: str) -> list[str]:
    return [_two(None if one.sites[name] is None else getattr(one.sites[name], figure)) for one in summaries]


def _purity(motifs: Sequence[Motif]) -> str:
    """Of the first: share of the crystals that use the object which have it, and of all."""
    return "" if not motifs else f"{_percent(motifs[0].purity)} / {_percent(motifs[0].purity_in_set)}"


def _percent(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.0f} %"


def _two(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _object(k: int, none: int) -> str:
    return "none" if k == none else str(k)


def _order(element: str) -> tuple[float, str, float]:
    """Groups from electropositive to electronegative, their elements by electronegativity."""
    return _group_order(group(element)), group(element), by_electronegativity(element)[0]


def _group_order(name: str) -> float:
    members = [element for element in ase.data.chemical_symbols[1:104] if group(element) == name]
    return float(np.median([by_electronegativity(element)[0] for element in members]))


@dataclass(frozen=True)
class Held:
    """What objects hold of a crystal, and the polyhedra of its orbits.

    Attributes
    ----------
    weights
        (n_orbits, objects + 1), see `held_by_objects`.
    polyhedra
        Of one atom of each orbit.
    """

    weights: Array
    polyhedra: Sequence[Polyhedron]

    @classmethod
    def of(cls, crystal: CrystalExplanation) -> Held:
        """Of an explained crystal."""
        return cls(held_by_objects(crystal), polyhedra(crystal.atoms, crystal.representatives))


def stated_by_chance(held: Sequence[Held]) -> int:
    """In how many of `DEALS` a motif is stated if each crystal is dealt the objects of another, orbit by orbit."""
    stated = 0
    for seed in range(DEALS):
        rng, holdings = np.random.default_rng(seed), Holdings()
        for own, other in zip(held, rng.permutation(len(held)).tolist(), strict=True):
            profile = held[other].weights / held[other].weights.sum(axis=1, keepdims=True)
            chosen = profile[rng.integers(len(profile), size=len(own.weights))]
            holdings.add(chosen * own.weights.sum(axis=1, keepdims=True), own.polyhedra)
        stated += any(meaning.motifs for meaning in holdings.summary().in_use)
    return stated


def shares_of_kinds(held: Sequence[Held]) -> dict[tuple[str, bool], Array]:
    """Group and whether it is oxidized -> share of its atoms that each object holds, without the rare ones."""
    sums: dict[tuple[str, bool], Array] = defaultdict(lambda: np.zeros(held[0].weights.shape[1]))
    for crystal in held:
        for polyhedron, row in zip(crystal.polyhedra, crystal.weights, strict=True):
            sums[group(polyhedron.center), polyhedron.oxidized] += row
    kinds = sorted(sums, key=lambda kind: (_group_order(kind[0]), kind))
    return {kind: sums[kind] / sums[kind].sum() for kind in kinds if sums[kind].sum() >= RARE * len(held)}


def kind_table(kinds: Sequence[Mapping[tuple[str, bool], Array]]) -> str:
    """For each kind of atoms the object of each network that holds most of it, and its share."""
    rows = []
    for kind in (kind for kind in kinds[0] if all(kind in one for one in kinds)):
        shares = [one[kind] for one in kinds]
        most = [(_object(int(share.argmax()), len(share) - 1), _percent(float(share.max()))) for share in shares]
        rows.append([_kind(kind), *(f"{name}: {share}" for name, share in most)])
    return table(["atoms", *(f"member {k}" for k in range(len(kinds)))], rows)


def kind_figure(shares: Mapping[tuple[str, bool], Array]) -> Figure:
    """Heat map: share of the atoms of each kind that each object holds."""
    kinds, values = list(shares), np.stack(list(shares.values()))
    figure = Figure(figsize=(6.0, 0.19 * len(kinds) + 0.7), layout="constrained")
    axis = figure.subplots()
    image = axis.imshow(values, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for (i, j), value in np.ndenumerate(values):
        if value >= 0.095:
            shade = "white" if value > 0.6 else INK
            axis.text(j, i, f"{100 * value:.0f}", ha="center", va="center", fontsize=6.5, color=shade)
    objects = values.shape[1] - 1
    axis.set_xticks(range(objects + 1), [*map(str, range(objects)), "none"])
    axis.set_yticks(range(len(kinds)), list(map(_kind, kinds)))
    for i, (one, other) in enumerate(pairwise(kinds)):
        if one[0] != other[0]:
            axis.axhline(i + 0.5, color="#BBBBBB", linewidth=0.5)
    axis.set_xlabel("object capsule", fontsize=8.5, color=INK)
    style_axes(axis)
    bar = figure.colorbar(image, ax=axis, fraction=0.045, pad=0.02)
    style_bar(bar, "share of these atoms that the object holds")
    return figure


def _kind(kind: tuple[str, bool]) -> str:
    name, oxidized = kind
    return f"oxidized {name}" if oxidized else name


if __name__ == "__main__":
    main()
