"""Runs of VASP: OUTCAR and vasprun.xml, which of one run become one calculation."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import ase
import numpy as np

from voigt.calculations.calculation import Calculation, Outcome, Provenance, RunFile
from voigt.calculations.codes.vasp_outcar import steps_of_outcar
from voigt.calculations.codes.vasp_run import steps_of_vasprun
from voigt.calculations.codes.vasp_settings import settings_of_outcar, settings_of_vasprun
from voigt.calculations.codes.vasp_steps import Step
from voigt.notes import Failure
from voigt.structures.readers.failures import explain

SAME_PLACE = 1e-3
"""Angstrom by which cell and atoms in two files of one step may differ; OUTCAR has five decimals."""
SAME_VALUE = 1e-3
"""Relative difference of a tensor in two files of one run, which print different numbers of digits."""


@dataclass(frozen=True)
class _Parsed:
    """What one file gave: steps, or why there are none."""

    file: RunFile
    steps: list[Step]
    provenance: Provenance
    reason: str = ""


def recognizes(file: RunFile) -> bool:
    """Whether a file is an OUTCAR or a vasprun.xml, by its first lines, or by its name where it does not begin well."""
    return _is_outcar(file) or _is_vasprun(file)


def read(files: Sequence[RunFile]) -> Iterator[Outcome]:
    """Calculations of a folder: one for each ionic step with tensors; OUTCAR and vasprun.xml of like names are one run.

    "OUTCAR.relax" and "vasprun.relax.xml" are alike.
    """
    runs: dict[str, list[RunFile]] = {}
    for file in files:
        runs.setdefault(_key(file.name), []).append(file)
    for key in sorted(runs):
        outcars = [file for file in runs[key] if not _is_vasprun(file)]
        vaspruns = [file for file in runs[key] if _is_vasprun(file)]
        for number in range(max(len(outcars), len(vaspruns))):
            pair = [*vaspruns[number : number + 1], *outcars[number : number + 1]]
            yield from _run([_parsed(file) for file in pair])


def _is_outcar(file: RunFile) -> bool:
    return re.match(r"\s*vasp\.\d", file.head) is not None or file.name.upper().startswith("OUTCAR")


def _is_vasprun(file: RunFile) -> bool:
    name = file.name.lower()
    return "<modeling" in file.head[:4096] or (name.startswith("vasprun") and ".xml" in name)


def _key(name: str) -> str:
    """What distinguishes runs in one folder: "" of OUTCAR and vasprun.xml."""
    return re.sub(r"outcar|vasprun|xml", "", name.lower()).strip("._-")


def _parsed(file: RunFile) -> _Parsed:
    parse: Callable[[str], list[Step]] = steps_of_vasprun if _is_vasprun(file) else steps_of_outcar
    unknown = Provenance((file.path,), "VASP")
    try:
        text = file.read()
        steps = parse(text)
        provenance = (settings_of_vasprun if _is_vasprun(file) else settings_of_outcar)(text, file.path)
    except Exception as error:  # parsers of strangers' files raise anything
        return _Parsed(file, [], unknown, explain(error, "an output of VASP"))
    return _Parsed(file, steps, provenance)


def _run(parts: list[_Parsed]) -> Iterator[Outcome]:
    """Outcomes of the files of one run."""
    useful = [part for part in parts if part.steps]
    if not useful:
        yield from (Failure(part.file.path, 0, "", "unreadable", part.reason) for part in parts)
        return
    failed = [
        f"{part.file.name} beside it {part.reason}"
        for part in parts
        if not part.steps and "no response" not in part.reason
    ]
    first, *others = useful
    remaining = list(others[0].steps) if others else []
    for step in first.steps:
        twin = next((other for other in remaining if _same_structure(step.atoms, other.atoms)), None)
        if twin is None:
            yield _calculation(step, [first], failed)
            continue
        remaining.remove(twin)
        yield _calculation(_merged(step, twin, first.file.name, others[0].file.name), [first, others[0]], failed)
    for step in remaining:
        names = f"{others[0].file.name} and {first.file.name}"
        apart = f"{names} lie in one folder, but this structure is in the first alone; check that they are of one run"
        yield _calculation(step, [others[0]], [*failed, apart])


def _calculation(step: Step, sources: list[_Parsed], remarks: list[str]) -> Calculation:
    provenance = sources[0].provenance
    for source in sources[1:]:
        provenance = _completed(provenance, source.provenance)
    provenance = replace(provenance, conversions=tuple(dict.fromkeys(step.conversions)))
    return Calculation(step.atoms, step.parts, provenance, tuple(dict.fromkeys([*step.problems, *remarks])))


def _completed(first: Provenance, second: Provenance) -> Provenance:
    """What either file says; the first one where both do."""
    return replace(
        first,
        files=(*first.files, *second.files),
        version=first.version or second.version,
        functional=first.functional or second.functional,
        hubbard_u=first.hubbard_u or second.hubbard_u,
        spin=first.spin or second.spin,
        kpoints=first.kpoints or second.kpoints,
        cutoff=first.cutoff if first.cutoff is not None else second.cutoff,
    )


def _merged(first: Step, second: Step, name: str, other: str) -> Step:
    """Tensors of both; of one that both hold the first, which has more digits."""
    problems = [*first.problems, *second.problems]
    for key in sorted(set(first.parts) & set(second.parts)):
        one, two = first.parts[key], second.parts[key]
        difference = float(np.abs(one - two).max())
        if not difference <= SAME_VALUE * max(1.0, float(np.abs(one).max())):
            problems.append(
                f"{key} differs by {difference:.3g} between {name} and {other}: the first is taken; "
                "find out of which run each is"
            )
    return Step(first.atoms, {**second.parts, **first.parts}, problems, [*first.conversions, *second.conversions])


def _same_structure(one: ase.Atoms, two: ase.Atoms) -> bool:
    if len(one) != len(two) or not np.array_equal(one.numbers, two.numbers):
        return False
    if not np.abs(one.cell.array - two.cell.array).max() <= SAME_PLACE:
        return False
    difference = (one.positions - two.positions) @ np.linalg.inv(one.cell.array)
    return bool(np.abs((difference - np.rint(difference)) @ one.cell.array).max() <= SAME_PLACE)
