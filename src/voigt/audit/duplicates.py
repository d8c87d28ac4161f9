"""Crystals that stand in a file twice, or nearly, also in different parts of its split; and labels that contradict."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import nan

import numpy as np

from voigt.audit.finding import Finding
from voigt.audit.frames import Frame
from voigt.data.splitting import Fingerprint, fingerprint, structure_distance
from voigt.data.splitting.leakage import NEAR
from voigt.data.tensor_symmetry import NOISE
from voigt.tensors.properties import PROPERTIES
from voigt.writers.markdown import counted

SAME = 1e-3
"""Angstrom up to which two crystals are one."""
VOLUME = 0.002
"""Relative difference of volumes that is worth a word."""
DIFFERENT = 0.25
"""Relative difference of the invariants of two labels of one crystal, above which they contradict each other."""


@dataclass(frozen=True)
class Twins:
    """Two frames of one crystal, the later one first, and their distance in Angstrom."""

    later: Frame
    earlier: Frame
    distance: float


def find_twins(frames: Sequence[Frame], near: float = NEAR) -> Iterator[Twins]:
    """For each frame the nearest of the earlier ones, one in another part of the split before others.

    Frames of one formula and different functionals in one part are no twins: they are there on purpose.
    """
    prints: dict[int, Fingerprint] = {}
    groups: dict[str, list[int]] = defaultdict(list)
    for place, frame in enumerate(frames):
        groups[frame.crystal.group].append(place)
    for members in groups.values():
        if len(members) < 2:
            continue
        for place in members:
            prints[place] = fingerprint(frames[place].crystal.atoms)
        # Candidates by their means, all pairs at once: a lower bound of the distance.
        means = np.stack([prints[place].means.ravel() for place in members])
        edges = np.array([prints[place].edge for place in members])
        for row in range(1, len(members)):
            bounds = np.abs(means[:row] - means[row]).max(axis=1) * (edges[:row] + edges[row]) / 2
            best: tuple[bool, float, int] | None = None
            for other in np.flatnonzero(bounds <= near).tolist():
                first, second = frames[members[row]], frames[members[other]]
                across = first.crystal.split != second.crystal.split
                if not across and first.crystal.functional != second.crystal.functional:
                    continue
                distance = structure_distance(prints[members[row]], prints[members[other]], near)
                if distance <= near and (best is None or (not across, distance) < best[:2]):
                    best = (not across, distance, members[other])
            if best is not None:
                yield Twins(frames[members[row]], frames[best[2]], best[1])


def check_duplicates(frames: Sequence[Frame]) -> Iterator[Finding]:
    """Twins within and across the parts of the split, and their labels."""
    for twins in find_twins(frames):
        later, earlier = twins.later, twins.earlier
        parts = later.crystal.split, earlier.crystal.split
        same = twins.distance <= SAME
        whom = f"frame {earlier.index} ({earlier.crystal.id})"
        how = f"is the same as that of {whom}" if same else f"differs by {twins.distance:.3f} Angstrom from {whom}"
        larger = (later.crystal.atoms.get_volume() / len(later.crystal.atoms)) / (
            earlier.crystal.atoms.get_volume() / len(earlier.crystal.atoms)
        ) - 1
        if abs(larger) > VOLUME:
            how += f", at a volume {larger:+.1%}"
        if parts[0] != parts[1]:
            text = f"the crystal {how}; they are in {parts[0] or 'no part'} and {parts[1] or 'no part'}"
            yield later.finding("leak", "error" if same else "warning", "", twins.distance, text,
                                "split again: voigt data split")  # fmt: skip
        else:
            kind = "duplicate" if same else "near_duplicate"
            yield later.finding(kind, "info", "", twins.distance, f"the crystal {how}", "keep one of them")
        if later.crystal.functional == earlier.crystal.functional:
            yield from _contradictions(later, earlier)
    yield from _formulas(frames)


def _contradictions(later: Frame, earlier: Frame) -> Iterator[Finding]:
    """Labels by what does not depend on axes and the order of atoms: norms, and for charges those of each element."""
    for name in later.crystal.targets.keys() & earlier.crystal.targets.keys():
        prop = PROPERTIES[name]
        pair = [_invariants(frame, name) for frame in (later, earlier)]
        apart, size = np.abs(pair[0] - pair[1]).max(), max(float(np.abs(entry).max()) for entry in pair)
        if apart > max(DIFFERENT * size, NOISE.get(prop.unit, 0.3)):
            text = f"{name} differs by {apart / size:.0%} from that of frame {earlier.index}, which is the same crystal"
            yield later.finding("contradiction", "warning", name, float(apart / size), text, "find out which is right")


def _invariants(frame: Frame, name: str) -> np.ndarray:
    prop, value = PROPERTIES[name], np.asarray(frame.crystal.targets[name])
    if prop.per == "crystal":
        return np.array([np.linalg.norm(value) if prop.rank else float(value)])
    numbers = frame.crystal.atoms.numbers
    traces = np.trace(value, axis1=-2, axis2=-1) / 3
    return np.array([traces[numbers == z].mean() for z in np.unique(numbers)])


def _formulas(frames: Sequence[Frame]) -> Iterator[Finding]:
    parts: dict[str, set[str]] = defaultdict(set)
    for frame in frames:
        if frame.crystal.split:
            parts[frame.crystal.group].add(frame.crystal.split)
    shared = sorted(group for group, names in parts.items() if len(names) > 1)
    if shared:
        text = (
            f"{counted(len(shared), 'reduced formula')} of {len(parts):,} in more than one part of the split: "
            f"{', '.join(shared[:5])}{', ...' if len(shared) > 5 else ''}"
        )
        yield Finding(-1, "", "formula_in_parts", "info", "", float(len(shared)) if shared else nan, text,
                      "for scores on new compounds split by formula: voigt data split --by formula")  # fmt: skip
