"""Explanations as JSON: every crystal with all its matrices, and the figures of the set."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voigt.files import atomic_write
from voigt.interpretation.crystals import (
    NONE,
    POSE,
    CrystalExplanation,
    Orbit,
    main_object,
    orbit_sums,
    relative_entropy,
    strongest_orbits,
)
from voigt.interpretation.sets import SetSummary, summary_record
from voigt.models.sen.heads import SYSTEMS
from voigt.prediction.record import plain
from voigt.structures.formula import reduced_formula
from voigt.tensors.properties import PROPERTIES
from voigt.writers.records import dump_list

Array = NDArray[np.float64]


def record(crystal: CrystalExplanation, stages: bool = False) -> dict[str, Any]:
    """One crystal as dictionaries, lists, numbers and text.

    `crystal`: atoms, part capsules and object capsules are counted from 0. What is not finite becomes null. `stages`:
    add the vectors of the atoms before the first loop and after each, the channel attention of each loop, and the
    probabilities of all space groups.
    """
    matrices, symmetry = crystal.matrices, crystal.symmetry
    systems = matrices.crystal_system_probabilities
    result = {
        "id": crystal.id,
        "formula": reduced_formula(crystal.atoms),
        "spacegroup": {name: getattr(symmetry, name) for name in ("number", "international", "crystal_system")},
        "model": crystal.model,
        "member": crystal.member,
        "predictions": {
            name: {
                "value": matrices.prediction[name],
                "unit": PROPERTIES[name].unit,
                "sum_of_shares": matrices.additive.get(name),
            }
            for name in crystal.properties
        },
        "metal_probability": matrices.metal_probability,
        "atoms": _atoms(crystal),
        "orbits": _orbits(crystal),
        "capsules": [_capsule(crystal, k) for k in range(len(matrices.presence))],
        "object_presence": plain(matrices.object_presence),
        "composition": dict(matrices.element_attention),
        "embedding": plain(matrices.embedding),
        "crystal_system_probabilities": None if systems is None else dict(zip(SYSTEMS, systems.tolist(), strict=True)),
        "warnings": list(crystal.warnings),
    }
    if stages:
        groups = matrices.space_group_probabilities
        result["atom_stages"] = [plain(stage) for stage in matrices.atom_stages]
        result["channel_attention"] = [plain(loop) for loop in matrices.channel_attention]
        result["space_group_probabilities"] = None if groups is None else plain(groups)
    return result


def write_json(
    crystals: Iterable[CrystalExplanation],
    path: str | Path,
    summary: Callable[[], SetSummary | None],
    stages: bool = False,
) -> int:
    """Write {"crystals": [...], "set": ...}, crystal by crystal; returns their number.

    Raises OutputError: the file cannot be written.

    `crystals`: consumed one by one. `path`: the file, written whole or not at all. `summary`: called after the last
    crystal: figures of the set, None for a single crystal. `stages`: as in `record`.
    """
    with atomic_write(path) as stream:
        stream.write('{"crystals": ')
        count = dump_list((record(crystal, stages) for crystal in crystals), stream)
        figures = summary()
        stream.write(',\n"set": ')
        json.dump(None if figures is None else summary_record(figures), stream, allow_nan=False)
        stream.write("}\n")
    return count


def _atoms(crystal: CrystalExplanation) -> list[dict[str, Any]]:
    matrices = crystal.matrices
    place = {atom: k for k, orbit in enumerate(crystal.orbits) for atom in orbit.atoms}
    return [
        {
            "index": atom,
            "orbit": place[atom],
            **_site(crystal.orbits[place[atom]]),
            "shares": {name: float(matrices.shares[name][atom]) for name in crystal.additive},
            "assignment": plain(matrices.assignment[atom]),
            "atom_attention": plain(matrices.atom_attention[:, atom]),
            "bond_attention": plain(matrices.bond_attention[:, atom]),
            "channel_entropy": [float(relative_entropy(loop[atom])) for loop in matrices.channel_attention],
        }
        for atom in range(len(crystal.atoms))
    ]


def _orbits(crystal: CrystalExplanation) -> list[dict[str, Any]]:
    """Sums over the atoms of each orbit, and the mean entropy of their channel attention."""
    matrices = crystal.matrices
    shares = {name: orbit_sums(crystal, matrices.shares[name]) for name in crystal.additive}
    assignment = orbit_sums(crystal, matrices.assignment)
    attention = [orbit_sums(crystal, steps.T) for steps in (matrices.atom_attention, matrices.bond_attention)]
    entropies = [relative_entropy(loop) for loop in matrices.channel_attention]
    return [
        {
            "label": orbit.label,
            **_site(orbit),
            "atoms": list(orbit.atoms),
            "shares": {name: float(values[k]) for name, values in shares.items()},
            "assignment": plain(assignment[k]),
            "atom_attention": plain(attention[0][k]),
            "bond_attention": plain(attention[1][k]),
            "channel_entropy": [float(loop[list(orbit.atoms)].mean()) for loop in entropies],
        }
        for k, orbit in enumerate(crystal.orbits)
    ]


def _site(orbit: Orbit) -> dict[str, str]:
    return {name: getattr(orbit, name) for name in ("element", "site", "wyckoff", "site_symmetry")}


def _capsule(crystal: CrystalExplanation, k: int) -> dict[str, Any]:
    matrices = crystal.matrices
    best, probability = main_object(crystal, k)
    return {
        "capsule": k,
        "presence": float(matrices.presence[k]),
        "log_likelihood": plain(matrices.log_likelihood[k : k + 1])[0],
        "pose": dict(zip(POSE, plain(matrices.pose[k]), strict=True)),
        "features": plain(matrices.features[k]),
        "orbits": [
            {"label": orbit.label, "share": share} for orbit, share in strongest_orbits(crystal, k, len(crystal.orbits))
        ],
        "object": {"capsule": NONE if best is None else best, "probability": probability},
        "posterior": plain(matrices.posterior[k]),
    }
