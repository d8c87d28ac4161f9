"""Tensors in vasprun.xml of VASP 5 and 6, each with the structure of its own ionic step."""

from __future__ import annotations

import re

import numpy as np

from voigt.calculations.codes.vasp_outcar import FINITE_DIFFERENCES
from voigt.calculations.codes.vasp_steps import Step
from voigt.errors import InputError
from voigt.notes import Failure
from voigt.structures.readers.vasp import read_vasprun

_OPENING = re.compile(r'<(varray|array) name="(?:epsilon|epsilon_scf|epsilon_ion|born_charges)"\s*>')


def steps_of_vasprun(text: str) -> list[Step]:
    """Ionic steps with tensors, in order.

    Raises
    ------
    InputError
        There is none: the run did not converge, broke off, or was not asked for a response.
    """
    if not text.strip():
        raise InputError("is empty; the run did not start")
    first = text.find("<calculation>")
    pieces = text[first:].split("<calculation>")[1:] if first >= 0 else []
    bodies = [piece.partition("</calculation>")[0] for piece in pieces if "</calculation>" in piece]
    ibrion = parameter(text, "IBRION")
    whole = ibrion is not None and ibrion.lstrip("-").isdigit() and int(ibrion) in FINITE_DIFFERENCES
    if whole and bodies:  # tensors of displaced structures belong to the first one
        alone = bodies[0]
        for tensor in _tensors(alone):
            alone = alone.replace(tensor, "")
        bodies = [alone + "".join(_tensors(text[first:]))]
    most = parameter(text, "NELM")
    steps: list[Step] = []
    faults: list[str] = []
    for number, body in enumerate(bodies, start=1):
        if not _tensors(body):
            continue
        if most and most.isdigit() and _rounds(body) >= int(most):
            faults.append(
                f"did not converge: the electrons of ionic step {number} stopped in NELM = {most} rounds; "
                "raise NELM or change ALGO"
            )
            continue
        try:
            steps.append(_step(f"{text[:first]}<calculation>{body}</calculation>\n</modeling>"))
        except InputError as error:
            faults.append(str(error))
    if not steps:
        raise InputError(faults[0] if faults else _absent(text, bool(bodies)))
    steps[-1].problems.extend(f"another ionic step is left out, since it {fault}" for fault in faults)
    if "</modeling>" not in text:
        steps[-1].problems.append("the end of vasprun.xml is missing: the run broke off after these tensors")
    return steps


def parameter(text: str, name: str) -> str | None:
    """A parameter as VASP used it, or as INCAR gives it; of several words all."""
    pattern = re.compile(rf'<([iv])(?: type="\w+")? name="{name}"\s*>([^<]*)</\1>')
    start = text.find("<parameters>")
    match = pattern.search(text, start) if start >= 0 else None
    match = match or pattern.search(text)
    return match[2].strip() if match else None


def _tensors(text: str) -> list[str]:
    """Elements with tensors, in order."""
    found: list[str] = []
    place = 0
    while match := _OPENING.search(text, place):
        closing = f"</{match[1]}>"
        end = text.find(closing, match.end())
        if end < 0:
            break
        place = end + len(closing)
        found.append(text[match.start() : place])
    return found


def _rounds(body: str) -> int:
    """Rounds of the ground state of an ionic step; those of linear response come after its structure."""
    return body.partition("<structure")[0].count("<scstep>")


def _absent(text: str, has_steps: bool) -> str:
    if not has_steps:
        return "holds no finished ionic step; let VASP finish, or give the OUTCAR"
    if (parameter(text, "LEPSILON") or "").upper().startswith("T"):
        return "holds no response though LEPSILON asks for it; look for warnings of VASP in its output"
    return "holds no response: set LEPSILON or LCALCEPS (and IBRION = 5 to 8 for ions and strain) and run it again"


def _step(text: str) -> Step:
    parsed = next(iter(read_vasprun(text)))
    if isinstance(parsed, Failure):
        raise InputError(parsed.problem)
    atoms = parsed.atoms
    step = Step(atoms, {})
    eps, charges = atoms.info.pop("eps_inf", None), atoms.arrays.pop("born_charges", None)
    if eps is not None:
        step.parts["eps_inf"] = np.reshape(eps, (3, 3))
    if charges is not None:
        step.parts["born_charges"] = np.reshape(charges, (-1, 3, 3))
        step.conversions.append("born_charges: rows are the field, as VASP writes them")
    ionic = [tensor for tensor in _tensors(text) if 'name="epsilon_ion"' in tensor]
    if ionic:
        numbers = re.findall(r"[-+]?\d+\.\d+(?:[eE][-+]?\d+)?", ionic[-1])
        if len(numbers) == 9:
            step.parts["eps_ionic"] = np.array(numbers, dtype=np.float64).reshape(3, 3)
        else:
            step.problems.append("epsilon_ion has no nine numbers and is left out; run it again")
    if not step.parts:
        raise InputError("holds tensors that cannot be read; run it again")
    return step
