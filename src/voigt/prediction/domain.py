"""Doubts about finished predictions that concern the crystal: vacuum in its cell, metals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import ase
import numpy as np
from numpy.typing import NDArray

from voigt.notes import Failure, Note
from voigt.prediction.clock import Clock
from voigt.prediction.pipeline import Crystal, Prepared, predict_prepared, prepare
from voigt.prediction.plan import GAP, Plan, Share
from voigt.prediction.result import Prediction, charge_of
from voigt.prediction.sheets import PROPERTIES as PERMITTIVITIES
from voigt.prediction.sheets import Sheet, sheet_of, stacked
from voigt.structures import Input, InputStructure
from voigt.structures.domain import metal_reason, valences_balance
from voigt.structures.vacuum import Vacuum, find_vacuum
from voigt.tensors.properties import PROPERTIES, insulators_only


def with_doubts(
    structures: Sequence[Input],
    crystals: Sequence[Crystal | None],
    answers: Sequence[Prediction | Failure],
    plan: Plan,
    clock: Clock | None = None,
) -> list[Prediction | Failure]:
    """Finished predictions with notes on vacuum and metals, and with what a sheet in vacuum has instead of tensors.

    Parameters
    ----------
    structures, crystals
        Of the answers, in the same order; `crystals` as the pipeline used them.
    answers
        Of all models of the plan, joined.
    plan
        Whose shares made the answers; without `check_domain` in its settings nothing is done.
    clock
        Adds the stage "domain".
    """
    if not plan.shares[0].settings.check_domain:
        return list(answers)
    with (clock or Clock()).measure("domain"):
        metals = _metals(structures, crystals, answers, plan)
        return [
            _with_vacuum(answer if note is None else _noted(answer, note), plan)
            if isinstance(answer, Prediction)
            else answer
            for answer, note in zip(answers, metals, strict=True)
        ]


def _metal(prediction: Prediction, reason: str) -> Note:
    text = f"probably a metal ({reason}): charges, permittivities and piezoelectricity are defined for insulators only"
    return Note("likely_metal", text, insulators_only(prediction.values))


def _metals(
    structures: Sequence[Input], crystals: Sequence[Crystal | None], answers: Sequence[Prediction | Failure], plan: Plan
) -> list[Note | None]:
    """What to say of each crystal that is probably a metal, None where it is not or nobody needs to know.

    The gap decides: the one that is predicted anyway, or that of the plan's gap model. Composition decides where there
    is no gap to trust, for elements that this model does not know and for charged cells.
    """
    notes: list[Note | None] = [None] * len(answers)
    asked: dict[int, Prepared] = {}
    for k, (structure, crystal, answer) in enumerate(zip(structures, crystals, answers, strict=True)):
        if not isinstance(answer, Prediction) or isinstance(structure, Failure) or not insulators_only(answer.values):
            continue
        charge = charge_of(answer.atoms, plan.shares[0].settings)
        share = _gap_share(answer.atoms, plan) if charge == 0.0 else None
        if share is not None and GAP in answer.values and answer.models[GAP] == share.model.name:
            notes[k] = _without_gap(answer, answer, share)
            continue
        prepared = None if share is None else prepare(share.model, structure, share.settings, crystal)
        if isinstance(prepared, Prepared):
            asked[k] = prepared
        else:
            reason = metal_reason(answer.atoms, answer.symmetry, charge)
            notes[k] = None if reason is None else _metal(answer, reason)
    if asked and plan.gap is not None:
        for k, gap in _without_any_gap(asked, plan.gap).items():
            answer = answers[k]
            if isinstance(answer, Prediction):
                notes[k] = _without_gap(answer, gap, plan.gap)
    return notes


def _without_any_gap(asked: dict[int, Prepared], share: Share) -> dict[int, Prediction]:
    """Those of which no network of an ensemble finds a gap: each is asked about what is left by those before it."""
    found: dict[int, Prediction] = {}
    for member in share.model.members:
        if asked:
            answers = predict_prepared(replace(share.model, members=(member,)), list(asked.values()), share.settings)
            found = {
                k: gap
                for k, gap in zip(asked, answers, strict=True)
                if isinstance(gap, Prediction) and float(gap.values[GAP]) <= 0.0
            }
            asked = {k: asked[k] for k in found}
    return found


def _gap_share(atoms: ase.Atoms, plan: Plan) -> Share | None:
    """Who judges the gap of a crystal: a model that knows all of its elements."""
    shares = [share for share in plan.shares if GAP in (share.settings.properties or ())]
    share = shares[0] if shares else plan.gap
    known = share is not None and {int(z) for z in atoms.numbers} <= set(share.model.card.elements)
    return share if known else None


def _without_gap(prediction: Prediction, gap: Prediction, share: Share) -> Note | None:
    """The note on a prediction where `gap` holds none."""
    if float(gap.values[GAP]) > 0.0:
        return None
    found = f"model '{share.model.name}' finds no band gap"
    if not valences_balance(prediction.atoms.numbers):
        return _metal(prediction, found)
    text = (
        f"{found}, though its valences balance: with a small gap, charges and permittivities are uncertain, "
        "and without one they do not exist"
    )
    return Note("small_gap", text, insulators_only(prediction.values))


def _with_vacuum(prediction: Prediction, plan: Plan) -> Prediction:
    vacuum = find_vacuum(prediction.atoms)
    if vacuum is None:
        return prediction
    tensors = tuple(name for name in prediction.values if PROPERTIES[name].per == "crystal" and PROPERTIES[name].rank)
    if not tensors:
        text = f"the cell holds {vacuum.text}, unlike the crystals that models are trained on"
        return _noted(prediction, Note("vacuum", text, tuple(prediction.values)))
    text = (
        f"the cell holds {vacuum.text}: {', '.join(tensors)} of no use, since tensors of a cell depend on how much "
        "vacuum it holds and the network does not see that"
    )
    sheets = _sheets(prediction, vacuum, plan) if vacuum.dimension == 2 else {}
    for name, sheet in sheets.items():
        (inside, across), (flat, upright) = _two(sheet.permittivity, sheet), _two(sheet.polarizability, sheet)
        whole = _two(sheet.cell, sheet)
        text += (
            f"; layers of {sheet.thickness:.1f} Angstrom have {name} {inside:.2f} in the plane and {across:.2f} "
            f"across, polarizabilities per area {flat:.2f} and {upright:.2f} Angstrom, and give the cell "
            f"{whole[0]:.2f} and {whole[1]:.2f}"
        )
    return replace(_noted(prediction, Note("vacuum", text, tensors)), sheets=sheets)


def _sheets(prediction: Prediction, vacuum: Vacuum, plan: Plan) -> dict[str, Sheet]:
    """The response of the layers, predicted for the crystal that they make without the vacuum."""
    sheets: dict[str, Sheet] = {}
    structure = InputStructure("<memory>", 0, prediction.id, stacked(prediction.atoms, vacuum))
    for share in plan.shares:
        names = tuple(name for name in PERMITTIVITIES if name in (share.settings.properties or ()))
        names = tuple(name for name in names if name in prediction.values)
        if not names:
            continue
        settings = replace(share.settings, properties=names)
        prepared = prepare(share.model, structure, settings)
        if isinstance(prepared, Failure):
            continue
        (found,) = predict_prepared(share.model, [prepared], settings)
        if isinstance(found, Prediction):
            sheets |= {name: sheet_of(found.values[name], vacuum) for name in names}
    return sheets


def _two(tensor: NDArray[np.float64], sheet: Sheet) -> tuple[float, float]:
    """Mean component in the plane, and the one across it."""
    across = float(sheet.normal @ tensor @ sheet.normal)
    return (float(np.trace(tensor)) - across) / 2, across


def _noted(prediction: Prediction, note: Note) -> Prediction:
    return replace(prediction, notes=(note, *prediction.notes))
