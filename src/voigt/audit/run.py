"""The audit of a file: everything is looked at once, nothing stops at the first fault."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from math import nan
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from voigt.audit.conventions import Verdict, check_conventions
from voigt.audit.crystals import check_crystal, check_functionals
from voigt.audit.duplicates import check_duplicates
from voigt.audit.finding import SEVERITIES, Finding, Repair
from voigt.audit.frames import Frame, read_frame
from voigt.audit.labels import check_labels
from voigt.data.frames import read_frames
from voigt.errors import TargetError
from voigt.notes import Failure
from voigt.structures.symmetry.space_group import require_tolerance
from voigt.tensors.properties import PROPERTIES


@dataclass(frozen=True, eq=False)
class Audit:
    """Result of an audit.

    Attributes
    ----------
    source
        The file.
    frames
        Frames that could be read.
    unreadable
        How many could not.
    findings
        Errors first, then warnings and information; of each those on the whole file first, then frame by frame.
    repairs
        Changes that are certain, by frame.
    verdicts
        For each property with labels that could tell, what happened to most of them.
    compared
        Whether labels were compared with models.
    """

    source: str
    frames: tuple[Frame, ...]
    unreadable: int
    findings: tuple[Finding, ...]
    repairs: tuple[Repair, ...]
    verdicts: tuple[Verdict, ...]
    compared: bool

    @property
    def has_errors(self) -> bool:
        """Whether anything is certainly wrong."""
        return any(finding.severity == "error" for finding in self.findings)

    def labels(self) -> dict[str, int]:
        """Property -> number of labels."""
        counts = Counter(name for frame in self.frames for name in frame.crystal.targets)
        return {name: counts[name] for name in PROPERTIES if name in counts}


def audit_file(
    path: str | Path,
    models: bool = True,
    symprec: float = 1e-3,
    limit: int | None = None,
    advance: Callable[[], None] | None = None,
) -> Audit:
    """Look for everything that is wrong or doubtful in a labeled file.

    Parameters
    ----------
    path
        Labeled extended XYZ, Parquet, or whatever `voigt.structures.read` reads.
    models
        Compare labels with the models that ship.
    symprec
        Tolerance of the space groups, Angstrom.
    limit
        Look at so many frames only.
    advance
        Called after each frame that is read, and after each prediction.

    Raises
    ------
    InputError
        The file does not exist or is of no known kind; `symprec` is no length above zero.
    TargetError
        It holds no labels at all.

    Examples
    --------
    >>> import ase.build, ase.io, tempfile
    >>> atoms = ase.build.bulk("MgO", "rocksalt", a=4.21)
    >>> atoms.info["eps_inf"] = [0.5, 0, 0, 0, 3.0, 0, 0, 0, 3.0]
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     ase.io.write(f"{folder}/labeled.extxyz", atoms)
    ...     [finding.kind for finding in audit_file(f"{folder}/labeled.extxyz", models=False).findings]
    ['bound', 'symmetry', 'functional_missing']
    """
    require_tolerance(symprec)
    frames: list[Frame] = []
    findings: list[Finding] = []
    repairs: list[Repair] = []
    unreadable = 0
    for index, entry in read_frames(path, limit):
        if isinstance(entry, Failure):
            unreadable += 1
            fix = "mend or remove the frame"
            findings.append(Finding(index, entry.id, "unreadable", "error", "", nan, entry.problem, fix))
        else:
            frame, faults, drops = read_frame(index, entry, symprec)
            frames.append(frame)
            findings += faults
            repairs += drops
        if advance is not None:
            advance()
    if not any(frame.crystal.targets for frame in frames) and not findings:
        raise TargetError(
            f"{path} holds no labels: none of {', '.join(PROPERTIES)} is a key of info or a column of the atoms"
        )
    for frame in frames:
        wrong, drops = check_labels(frame)
        findings += wrong
        repairs += drops
    predicted: dict[str, dict[int, NDArray[np.float64]]] = {}
    if models:
        from voigt.audit.model import check_models

        doubts, predicted = check_models(frames, symprec, advance)
        findings += doubts
    verdicts = []
    for prop in PROPERTIES.values():
        if prop.rank >= 2:
            wrong, changed, verdict = check_conventions(frames, prop, predicted.get(prop.name, {}))
            findings += wrong
            repairs += changed
            verdicts += [verdict] if verdict.deciding else []
    for frame in frames:
        # Where a model has judged the gap, rules of composition have no say.
        judged = any(frame.index in values for name, values in predicted.items() if PROPERTIES[name].insulators_only)
        findings += check_crystal(frame, rules=not judged)
    findings += check_functionals(frames)
    findings += check_duplicates(frames)
    order = {name: place for place, name in enumerate(SEVERITIES)}
    ranked = sorted(findings, key=lambda f: (order[f.severity], f.frame, f.kind, f.property))
    dropped = {(repair.frame, repair.property) for repair in repairs if repair.action == "drop"}
    kept = [r for r in repairs if r.action == "drop" or (r.frame, r.property) not in dropped]
    sequence = sorted(kept, key=lambda repair: (repair.frame, repair.property))
    return Audit(str(path), tuple(frames), unreadable, tuple(ranked), tuple(sequence), tuple(verdicts), models)
