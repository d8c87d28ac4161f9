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
from voigt.tensors.properties import PROPERTIES
from voigt.writers.layout import reduced_formula

Array = NDArray[np.float64]


def record(crystal: CrystalExplanation, stages: bool = False) -> dict[str, Any]:
    """One crystal as dictionaries, lists, numbers and text.

    Parameters
    ----------
    crystal
        Atoms, part capsules and object capsules are counted from 0. What is not finite becomes null.
    stages
        Add the vectors of the atoms before the first loop and after each, the channel attention of each loop, and
        the probabilities of all space groups.
    """
    matrices, symmetry = crystal.matrices, crystal.symmetry
    found = {
        "id": crystal.id,
        "formula": reduced_formula(crystal.atoms),
        "spacegroup": {
            "number": symmetry.number,
            "international": symmetry.international,
            "crystal_system": symmetry.crystal_system,
        },
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
        "crystal_system_probabilities": _named(matrices.crystal_system_probabilities),
        "warnings": list(crystal.warnings),
    }
    if stages:
        groups = matrices.space_group_probabilities
        found["atom_stages"] = [plain(stage) for stage in matrices.atom_stages]
        found["channel_attention"] = [plain(loop) for loop in matrices.channel_attention]
        found["space_group_probabilities"] = None if groups is None else plain(groups)
    return found


def write_json(
    crystals: Iterable[CrystalExplanation],
    path: str | Path,
    summary: Callable[[], SetSummary | None],
    stages: bool = False,
) -> int:
    """Write {"crystals": [...], "set": ...}, crystal by crystal; returns their number.

    Parameters
    ----------
    crystals
        Consumed one by one.
    path
        The file, written whole or not at all.
    summary
        Called after the last crystal: figures of the set, None for a single crystal.
    stages
        As in `record`.

    Raises
    ------
    OutputError
        The file cannot be written.
    """
    count = 0
    with atomic_write(path) as stream:
        stream.write('{"crystals": [')
        for crystal in crystals:
            stream.write("\n" if count == 0 else ",\n")
            json.dump(record(crystal, stages), stream, allow_nan=False)
            count += 1
        found = summary()
        stream.write('\n],\n"set": ')
        json.dump(None if found is None else summary_record(found), stream, allow_nan=False)
        stream.write("}\n")
    return count


def plain(array: Array) -> Any:
    """Nested lists, null where a number is not finite."""
    objects = np.asarray(array, dtype=np.float64).astype(object)
    objects[~np.isfinite(array)] = None
    return objects.tolist()


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
    return {
        "element": orbit.element,
        "site": orbit.site,
        "wyckoff": orbit.wyckoff,
        "site_symmetry": orbit.site_symmetry,
    }


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


def _named(probabilities: Array | None) -> dict[str, float] | None:
    return None if probabilities is None else dict(zip(SYSTEMS, probabilities.tolist(), strict=True))
