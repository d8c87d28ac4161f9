"""Tensors that contradict their crystals: which axes or order they are in, crystal by crystal and for the whole file.

One crystal often cannot tell: several axes make its tensor obey the symmetry. All crystals of a file have mostly gone
the same way, so that what mends most of them decides for the others.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from voigt.audit.finding import Finding, Repair, Turn
from voigt.audit.frames import Frame
from voigt.audit.hypotheses import MENDED, ORDERS, SUSPECT, Change, changes, reordered
from voigt.audit.orientations import in_words, orientations
from voigt.data.tensor_symmetry import NOISE, deviations, turned
from voigt.errors import InputError
from voigt.tensors.layout import norm
from voigt.tensors.properties import Property

Array = NDArray[np.float64]

CERTAIN = 0.9
"""Share of crystals that decide, above which their reason counts for those that several reasons would mend."""
FEWEST = 5
"""Crystals that decide, of fewer nothing is concluded for others."""
ALL_BUT = 0.97
"""Share above which it counts for crystals whose tensors obey symmetry either way."""
FEWEST_FOR_ALL = 20
APART = 0.05
"""Relative difference above which two tensors are different."""
CLEARLY = 0.8
"""The nearest to a prediction must be nearer than this share of the next."""
CONTRADICTS = 0.15
"""Deviation from symmetry above which a tensor is wrong; below it may be badly converged."""


@dataclass(frozen=True, eq=False)
class Suspect:
    """A label that contradicts symmetry, and what would mend it."""

    frame: Frame
    before: float
    changes: list[Change]


@dataclass(frozen=True)
class Verdict:
    """What happened to most labels of one property.

    Attributes
    ----------
    label
        Name of the property.
    name
        Name of the change that mends most; "" where all labels are as they should be.
    rivals
        Names of other conventions that mend as many, or all but one.
    mended, deciding
        How many labels it mends, and how many can tell: those that it mends, those that it does not mend, and those
        that obey symmetry as they are and would not after the change.
    votes, agreeing
        How many labels differ from what they would be after the change, or after that of a rival, and have a
        prediction; and of how many the changed one is nearest to it.
    """

    label: str
    name: str
    rivals: tuple[str, ...]
    mended: int
    deciding: int
    votes: int = 0
    agreeing: int = 0

    @property
    def share(self) -> float:
        """Share of the deciding labels."""
        return self.mended / max(self.deciding, 1)

    @property
    def settled(self) -> bool:
        """Whether it counts for labels that several changes would mend."""
        return self.share >= CERTAIN and self.mended >= FEWEST

    @property
    def for_all(self) -> bool:
        """Whether it counts for labels that obey symmetry either way."""
        by_symmetry = self.share >= ALL_BUT and self.deciding >= FEWEST_FOR_ALL
        return self.settled and (by_symmetry or self.predicted)

    @property
    def predicted(self) -> bool:
        """Whether the predictions agree with it."""
        return self.votes >= FEWEST_FOR_ALL and self.agreeing >= CERTAIN * self.votes


def check_conventions(
    frames: Sequence[Frame], prop: Property, predicted: Mapping[int, Array] = MappingProxyType({})
) -> tuple[list[Finding], list[Repair], Verdict]:
    """Labels of one property against the symmetry of their crystals.

    Parameters
    ----------
    frames
        All frames; those without the label or without symmetry are passed over.
    prop
        A property of rank two or more.
    predicted
        Place of a frame in the file -> what a model predicts for it. Where symmetry leaves a choice between conventions
        for the whole file, the one nearer to most predictions is taken.
    """
    suspects: list[Suspect] = []
    sound: list[Frame] = []
    for frame in frames:
        tensor = frame.crystal.targets.get(prop.name)
        if tensor is None or frame.symmetry is None or not np.any(tensor):
            continue
        before = float(deviations(prop, tensor[None], frame.symmetry)[0])
        if before > SUSPECT:
            try:
                found = changes(prop, tensor, frame.crystal.atoms, frame.symmetry, before)
            except InputError:  # no standard cell
                found = []
            suspects.append(Suspect(frame, before, found))
        else:
            sound.append(frame)
    verdict = _verdict(prop, suspects, predicted)
    others: list[tuple[Frame, Change, bool]] = []
    if verdict.name and verdict.mended >= FEWEST:
        names = (verdict.name, *verdict.rivals)
        moved = [(frame, *named) for frame in sound if (named := _as_named(prop, frame, names)) is not None]
        broken = sum(change.deviation > SUSPECT for _, change, _ in moved)
        others = [entry for entry in moved if entry[1].deviation <= MENDED]
        nearer = [
            chosen == [change]
            for frame, change, _ in others
            if frame.index in predicted and (chosen := _nearest(prop, frame, (None, change), predicted[frame.index]))
        ]
        verdict = replace(
            verdict,
            deciding=verdict.deciding + broken,
            votes=verdict.votes + len(nearer),
            agreeing=verdict.agreeing + sum(nearer),
        )
    findings: list[Finding] = []
    repairs: list[Repair] = []
    for suspect in suspects:
        finding, repair = _of_suspect(prop, suspect, verdict)
        findings.append(finding)
        repairs += repair
    if verdict.settled:
        findings.append(_of_file(prop, verdict, suspects))
        for frame, change, agreed in others:
            finding, repair = _of_other(prop, frame, change, verdict, agreed)
            findings.append(finding)
            repairs += repair
    return findings, repairs, verdict


def _verdict(prop: Property, suspects: Sequence[Suspect], predicted: Mapping[int, Array]) -> Verdict:
    """The change that mends most labels; of those that mend as many, the one nearest to the predictions."""
    counts = Counter(change.name for suspect in suspects for change in suspect.changes)
    if not counts:
        return Verdict(prop.name, "", (), 0, len(suspects))
    most = max(counts.values())
    standard = {change.name for suspect in suspects for change in suspect.changes if change.standard}
    tied = [name for name, many in counts.items() if many >= most - 1 and name in standard]
    tied = sorted(tied, key=lambda name: -counts[name]) or [max(counts, key=lambda name: counts[name])]
    wins: Counter[str] = Counter()
    votes = 0
    for suspect in suspects:
        found = [change for change in suspect.changes if change.name in tied]
        if suspect.frame.index in predicted and len(found) > 1:
            chosen = _nearest(prop, suspect.frame, found, predicted[suspect.frame.index])
            votes += bool(chosen)
            wins.update(change.name for change in chosen if change is not None)
    best = max(tied, key=lambda name: (wins[name], -tied.index(name)))
    enough = CERTAIN * votes if votes >= FEWEST else np.inf
    beaten = [name for name in tied if wins[best] >= enough > wins[name]]
    rest = [name for name in tied if name not in (best, *beaten) and _ever_differ(prop, suspects, best, name)]
    return Verdict(prop.name, best, tuple(rest), counts[best], len(suspects), votes, wins[best])


def _nearest(prop: Property, frame: Frame, found: Sequence[Change | None], prediction: Array) -> list[Change | None]:
    """Of changes of a label (None: as it is) those whose result is nearest to a prediction, all of them alike.

    Empty where all results are alike, and where the nearest is not clearly nearer than the others.
    """
    tensor = frame.crystal.targets[prop.name]
    results = [tensor if change is None else _changed(prop, tensor, change) for change in found]
    errors = np.array([float(np.linalg.norm(result - prediction)) for result in results])
    first = int(errors.argmin())
    others = [_differ(prop, result, results[first]) for result in results]
    if not any(others) or errors[first] > CLEARLY * errors[others].min():
        return []
    return [change for change, other in zip(found, others, strict=True) if not other]


def _ever_differ(prop: Property, suspects: Sequence[Suspect], first: str, second: str) -> bool:
    """Whether two changes give different tensors for any label that both mend."""
    for suspect in suspects:
        named = {change.name: change for change in suspect.changes}
        if first in named and second in named:
            tensor = suspect.frame.crystal.targets[prop.name]
            if _differ(prop, *(_changed(prop, tensor, named[name]) for name in (first, second))):
                return True
    return False


def _as_named(prop: Property, frame: Frame, names: Sequence[str]) -> tuple[Change, bool] | None:
    """The first of some named changes for a label that obeys symmetry as it is, and whether the others agree with it.

    None where it changes nothing.
    """
    tensor, symmetry = frame.crystal.targets[prop.name], frame.symmetry
    try:
        rotations = {entry.name: entry.rotation for entry in orientations(frame.crystal.atoms)}
    except InputError:
        rotations = {}
    found = []
    for name in names:
        if name.startswith("order "):
            found.append(Change(name, "", None, name.removeprefix("order "), True, 0.0))
        elif name in rotations:
            found.append(Change(name, "", rotations[name], "", True, 0.0))
    if not found or found[0].name != names[0] or symmetry is None:
        return None
    results = [_changed(prop, tensor, change) for change in found]
    if not _differ(prop, results[0], tensor):
        return None
    deviation = float(deviations(prop, results[0][None], symmetry)[0])
    agreed = not any(_differ(prop, result, results[0]) for result in results[1:])
    return replace(found[0], deviation=deviation), agreed


def _differ(prop: Property, first: Array, second: Array) -> bool:
    apart, size = (float(np.sqrt(np.square(norm(prop, entry)).mean())) for entry in (first - second, second))
    return apart > max(APART * size, NOISE[prop.unit])


def _of_suspect(prop: Property, suspect: Suspect, verdict: Verdict) -> tuple[Finding, list[Repair]]:
    frame, before = suspect.frame, suspect.before
    symbol = frame.symmetry.international if frame.symmetry is not None else ""
    deviates = f"{prop.name} deviates from symmetry {symbol} by {before:.0%} of its norm"
    if not suspect.changes:
        wrong = before > CONTRADICTS
        fix = "remove the label, or look for another structure or order of atoms" if wrong else "check its convergence"
        finding = frame.finding("symmetry", "error" if wrong else "warning", prop.name, before, deviates, fix)
        drop = Repair(frame.index, prop.name, "drop", f"{prop.name} dropped: {deviates}")
        return finding, [drop] if wrong else []
    agreed = [change for change in suspect.changes if change.name == verdict.name]
    chosen = (agreed or suspect.changes)[0]
    settled = bool(agreed) and verdict.settled
    possible = [c for c in suspect.changes if not settled or c.name in verdict.rivals]
    rivals = list(_rivals(prop, frame, possible, chosen))
    certain = chosen.standard and not rivals
    kind = "wrong_order" if chosen.order else "wrong_frame"
    how = "put right" if chosen.rotation is None else f"turned by {in_words(chosen.rotation)}"
    text = f"{deviates}; the tensor is {chosen.words}: {how}, it deviates by {chosen.deviation:.1%}"
    if rivals:
        text += f"; {len(rivals)} other changes would mend it and give another tensor ({', '.join(rivals[:3])})"
    fix = "--fix does it" if certain else "look up how the tensor was made"
    finding = frame.finding(kind, "error", prop.name, before, text, fix, _tuples(chosen.rotation))
    return finding, [_repair(prop, frame, chosen)] if certain else []


def _rivals(prop: Property, frame: Frame, found: Sequence[Change], chosen: Change) -> Iterator[str]:
    """Other conventions that mend a label and disagree with the one chosen."""
    tensor = frame.crystal.targets[prop.name]
    result = _changed(prop, tensor, chosen)
    for change in found:
        if change.standard and change is not chosen and _differ(prop, _changed(prop, tensor, change), result):
            yield change.name


def _changed(prop: Property, tensor: Array, change: Change) -> Array:
    if change.rotation is None:
        return reordered(prop, tensor, change.order)
    return np.asarray(turned(prop, tensor, change.rotation[None])[0])


def _of_file(prop: Property, verdict: Verdict, suspects: Sequence[Suspect]) -> Finding:
    words = next(c.words for suspect in suspects for c in suspect.changes if c.name == verdict.name)
    text = (
        f"{prop.name}: of {verdict.deciding} labels whose crystals can tell, {verdict.mended} are {words} "
        f"({verdict.share:.1%})"
    )
    if verdict.votes:
        text += f"; of {verdict.votes} that a prediction can tell, {verdict.agreeing} agree"
    if verdict.rivals:
        text += f"; these conventions would do as well: {', '.join(verdict.rivals)}"
    kind = "wrong_order" if verdict.name.startswith("order ") else "wrong_frame"
    return Finding(-1, "", kind, "error", prop.name, verdict.share, text, "--fix turns or reorders them")


def _of_other(
    prop: Property, frame: Frame, change: Change, verdict: Verdict, agreed: bool
) -> tuple[Finding, list[Repair]]:
    """A label that obeys symmetry before and after the change, in a file whose other labels need it."""
    convinced = verdict.for_all and agreed
    text = f"{prop.name} obeys symmetry as it is and after the change that {verdict.share:.0%} of the file needs"
    fix = "--fix makes the same change here" if convinced else "look up how the tensor was made"
    finding = frame.finding("frame_undecided", "warning", prop.name, verdict.share, text, fix, _tuples(change.rotation))
    return finding, [_repair(prop, frame, change, " as in the rest of the file")] if convinced else []


def _repair(prop: Property, frame: Frame, change: Change, why: str = "") -> Repair:
    text = f"{prop.name} {_what(change)}{why}"
    if change.rotation is not None:
        return Repair(frame.index, prop.name, "rotate", text, _tuples(change.rotation))
    return Repair(frame.index, prop.name, "reorder", text, (), change.order)


def _what(change: Change) -> str:
    if change.rotation is not None:
        return f"turned by {in_words(change.rotation)} ({change.name})"
    known = change.order in ORDERS
    return f"reordered from {change.order}" if known else f"converted from {change.order} notation"


def _tuples(rotation: Array | None) -> Turn:
    return () if rotation is None else tuple(tuple(float(entry) for entry in row) for row in rotation)
