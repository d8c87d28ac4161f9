"""The page on which a click on the Pareto front shows a crystal and its tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voigt.errors import VoigtError
from voigt.notes import MEANING, Note
from voigt.prediction.result import Prediction, Settings
from voigt.prediction.scene import Scene, scene
from voigt.screening.report.figures import Plane, scale_of
from voigt.screening.report.findings import Front
from voigt.screening.store.parts import as_written, read_part
from voigt.structures.rows import atoms_from_row
from voigt.structures.symmetry import find_symmetry
from voigt.tensors.properties import PROPERTIES
from voigt.viewer import stand_alone

MOST_SCENES = 60
"""Crystals whose tensors the page holds; a click on others does nothing."""
_CLOUD = 2500
_COLUMNS = ("id", "numbers", "cell", "frac", "warnings", "notes")
_BESIDE = ("_model", "_functional", "_spread", "_interval", "_residual")


def front_page(parts: Sequence[Path], manifest: Mapping[str, Any], front: Front, plane: Plane) -> str:
    """One HTML page that stands alone: the front as a chart, and below it the crystal that was chosen.

    Parameters
    ----------
    parts, manifest
        Of the store: structures and tensors, and how they were predicted.
    front, plane
        The crystals on the front, and the plane in which they and all others lie.

    Raises
    ------
    InputError
        A part cannot be read.
    """
    shown = [material.id for material in front.materials[:MOST_SCENES]]
    scenes = read_scenes(parts, shown, manifest["job"].get("settings") or {})
    held = {entry.id for entry in scenes}
    first, second = front.names
    points = [
        {
            "id": material.id,
            "formula": material.formula,
            "x": material.values[first][0],
            "y": material.values[second][0],
            "flags": material.flags,
            "held": material.id in held,
        }
        for material in front.materials
        if {first, second} <= material.values.keys()
    ]
    points.sort(key=lambda point: (point["x"], point["y"]))
    axes = {
        name: {"label": label, "log": scale_of(values) == "log", "maximize": more}
        for name, label, values, more in zip("xy", plane.labels, (plane.x, plane.y), front.maximize, strict=True)
    }
    data = {**axes, "points": points, "cloud": _cloud(plane)}
    title = f"Pareto front of {manifest['collection']['name']}"
    return stand_alone([asdict(entry) for entry in scenes], title, shown[0] if shown else None, data)


def read_scenes(parts: Sequence[Path], ids: Sequence[str], settings: Mapping[str, Any]) -> list[Scene]:
    """Crystals of a store with their tensors, in the order of `ids`; without those that have no space group.

    `settings`: of the job, as the manifest keeps them: tolerance of the space-group search, whether symmetry was
    imposed.

    Raises
    ------
    InputError
        A part cannot be read, or holds tensors of another shape than their properties.
    """
    wanted = set(ids)
    columns = [*_COLUMNS, *(f"{name}{rest}" for name in PROPERTIES for rest in ("", *_BESIDE))]
    found: dict[str, Scene] = {}
    for part in parts:
        with as_written():
            rows = [k for k, name in enumerate(read_part(part, ["id"])["id"].to_pylist()) if name in wanted]
            if not rows:
                continue
            for row in read_part(part, columns).take(rows).to_pylist():
                entry = _scene(row, settings)
                if entry is not None:
                    found[entry.id] = entry
    return [found[name] for name in ids if name in found]


def _scene(row: Mapping[str, Any], settings: Mapping[str, Any]) -> Scene | None:
    atoms = atoms_from_row(row["numbers"], row["cell"], row["frac"], {"id": row["id"]})
    tolerance = settings.get("symprec")
    try:
        symmetry = find_symmetry(atoms, tolerance if isinstance(tolerance, float) else Settings().symprec)
    except VoigtError:  # lengths are rounded in a store, which may matter to a tight tolerance
        return None
    values = {name: tensor for name in PROPERTIES if (tensor := _tensor(name, row, len(atoms))) is not None}
    prediction = Prediction(
        id=row["id"],
        atoms=atoms,
        values=values,
        raw={},
        spread={},
        units={name: PROPERTIES[name].unit for name in values},
        drift=None,
        residual={name: row[f"{name}_residual"] for name in values if row.get(f"{name}_residual") is not None},
        symmetry=symmetry,
        symmetrized=bool(settings.get("symmetrize", True)),
        models={name: row.get(f"{name}_model") or "" for name in values},
        functionals={name: row.get(f"{name}_functional") for name in values},
        notes=_notes(row),
    )
    made = scene(prediction)
    # A store keeps one number where a prediction has one for each atom.
    properties = [
        replace(entry, interval=row.get(f"{entry.name}_interval"), spread=row.get(f"{entry.name}_spread"))
        for entry in made.properties
    ]
    return replace(made, properties=properties)


def _tensor(name: str, row: Mapping[str, Any], atoms: int) -> NDArray[np.float64] | None:
    """Cartesian tensor, or None where the store has none or one with gaps."""
    prop, listed = PROPERTIES[name], row.get(name)
    if listed is None:
        return None
    flat = np.asarray(listed, dtype=np.float64)
    if not np.isfinite(flat).all():
        return None
    shape = (atoms, *prop.stored_shape) if prop.per == "atom" else prop.stored_shape
    return np.asarray(prop.from_storage(flat.reshape(shape)), dtype=np.float64)


def _notes(row: Mapping[str, Any]) -> tuple[Note, ...]:
    kinds, sentences = row.get("notes") or [], row.get("warnings") or []
    pairs = zip(kinds, sentences, strict=False)
    return tuple(
        Note(kind["kind"], text, tuple(kind["properties"] or ()), tuple(kind["elements"] or ()))
        for kind, text in pairs
        if kind["kind"] in MEANING
    )


def _cloud(plane: Plane) -> list[list[float]]:
    """Some of all crystals that have both values, the same at every call."""
    points = np.stack([plane.x, plane.y], axis=1)
    known = points[np.isfinite(points).all(axis=1)]
    if len(known) > _CLOUD:
        known = known[np.random.default_rng(0).choice(len(known), _CLOUD, replace=False)]
    return [[float(f"{value:.5g}") for value in pair] for pair in known]
