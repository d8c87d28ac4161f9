"""The page of a report on a screening, in Markdown, for someone who was not there."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from voigt.screening.query.criteria import Criteria
from voigt.screening.query.derived import DERIVED
from voigt.screening.query.selection import Selection
from voigt.screening.query.uncertainty import Deviations
from voigt.screening.refine.ranking import Refinement
from voigt.screening.report.findings import FLAGS, Front, Material, flags_of
from voigt.screening.report.listing import REFINED, refined_cells
from voigt.screening.report.survey import Failures, Reasons, Survey
from voigt.screening.report.wording import definitions, in_words, title_of
from voigt.tensors.properties import PROPERTIES
from voigt.text import one_line
from voigt.writers.markdown import code, counted, escaped, number, table

_REASONS = 15  # rows of a table of reasons
_FRONT_ROWS = 40

_STATES = {
    "complete": "complete",
    "stopped": "stopped by a limit before the end of the collection",
    "running": "not complete: it is running or was interrupted",
}


@dataclass(frozen=True)
class Findings:
    """The content of a page."""

    manifest: Mapping[str, Any]  # of the store
    # survey, failures: what the store holds
    survey: Survey
    failures: Failures
    # selection, best: the crystals that were requested, and their rows of the table
    selection: Selection
    best: tuple[Material, ...]
    front: Front | None  # None if there are no two objectives
    names: tuple[str, ...]  # scalars of the tables
    spread: Deviations  # of these scalars of the best crystals
    refinement: Refinement | None  # the second stage, if it was run


def page(findings: Findings, criteria: Criteria) -> str:
    """The report as one Markdown page, with figures and structures by paths relative to it."""
    sections = [
        [f"# Screening of {_title(findings.manifest['collection']['name'])}", _summary(findings, criteria)],
        _what(findings),
        _counts(findings),
        _question(findings, criteria),
        _best(findings),
        [] if findings.refinement is None else _refined(findings.refinement),
        _pareto(findings, criteria.where is not None),
        _pictures(criteria.where is not None),
        _caveats(findings),
        _credits(findings.manifest),
    ]
    return "\n\n".join(block for section in sections for block in section if block) + "\n"


def _summary(findings: Findings, criteria: Criteria) -> str:
    where, rank = criteria.where, criteria.rank
    crystals, failed = len(findings.survey), findings.failures.count
    properties = ", ".join(PROPERTIES[name].label for name in findings.survey.predicted)
    sentences = [f"{counted(crystals, 'crystal')} with predicted {properties}; {counted(failed, 'input')} failed."]
    if where is not None:
        matched = int(findings.survey.matched.sum())
        share = f" ({100 * matched / crystals:.2g} %)" if matched else ""
        sentences.append(f"{counted(matched, 'crystal')}{share} fulfill{'s' * (matched == 1)} the condition "
                         f"`{where.text}`.")
    if findings.best and rank is not None:
        first = findings.best[0]
        order = "smallest" if findings.selection.ascending else "largest"
        among = " of them" if where is not None else ""
        sentences.append(f"The {order} `{rank.text}`{among} has {escaped(first.formula)} ({escaped(first.id)}): "
                         f"{_with_error(*(first.rank or (math.nan, math.nan)))}.")
    return " ".join(sentences)


def _what(findings: Findings) -> list[str]:
    manifest, collection, job = findings.manifest, findings.manifest["collection"], findings.manifest["job"]
    count = collection.get("count")
    settings = ", ".join(f"{key} {_plain(value)}" for key, value in (job.get("settings") or {}).items())
    facts = [
        ("collection", f"{code(collection['name'])} ({escaped(collection['kind'])})"),
        ("fingerprint of the collection", code(collection["fingerprint"])),
        ("crystals in it", "not known beforehand" if count is None else f"{count:,}"),
        ("properties", ", ".join(map(code, job["properties"]))),
        ("prefilter", code(job["prefilter"]) if job.get("prefilter") else "none"),
        ("settings", escaped(settings) or "–"),
        ("state", _STATES.get(manifest["state"], escaped(manifest["state"]))),
    ]
    models = [
        [code(model["name"]), escaped(", ".join(model["properties"])), escaped(model.get("functional") or "–"),
         code(model["sha256"])]
        for model in models_of(manifest)
    ]
    return [
        "## What was screened",
        table(["", ""], [[name, text] for name, text in facts], "ll"),
        "The models, by the SHA-256 of their files:",
        table(["model", "predicts", "functional", "SHA-256"], models, "llll"),
        "The commands, in the order in which they ran:",
        *(_session(k, session) for k, session in enumerate(manifest["sessions"], start=1)),
    ]


def _session(place: int, session: Mapping[str, Any]) -> str:
    crystals, seconds = session.get("crystals", 0), session.get("seconds") or 0.0
    speed = f", {(crystals + session.get('failed', 0)) / seconds:.3g} inputs/s" if seconds > 0 else ""
    version, started = session.get("voigt", "?"), session.get("started", "?")
    command = one_line(" ".join(str(session["command"]).split())).replace("```", "'''")
    ended = session.get("ended") or "an end that was not recorded"
    peak = max((session.get("peak_mib") or {}).values(), default=0)
    memory = f", at most {peak:,} MiB in one process" if peak else ""
    outcome = f"{counted(crystals, 'crystal')} predicted, {session.get('failed', 0):,} failed"
    return (
        f"{place}. {escaped(f'Voigt {version}, {started} to {ended}')}: "
        f"{outcome}, {seconds:,.0f} s{speed}{memory}\n\n"
        f"   ```\n   {command}\n   ```"
    )


def models_of(manifest: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """Models of a screening, as its manifest lists them."""
    models: Sequence[Mapping[str, Any]] = manifest.get("models") or manifest["job"].get("models") or []
    return models


def _counts(findings: Findings) -> list[str]:
    survey, failures = findings.survey, findings.failures
    rows = [["crystals with results", f"{len(survey):,}"], ["inputs that failed", f"{failures.count:,}"]]
    if not np.isnan(survey.passed).all():
        rows.append(["kept from some models by the prefilter", f"{int((survey.passed == 0).sum()):,}"])
    rows.append(["with elements that a model has not seen", f"{int(survey.unseen.sum()):,}"])
    rows.append(["probably metals", f"{int(survey.metal.sum()):,}"])
    for name, many in survey.predicted.items():
        rows.append([f"with `{name}`", f"{many:,}"])
        if survey.lacking[name].total:
            rows.append([f"without `{name}`, though no prefilter kept them from it", f"{survey.lacking[name].total:,}"])
    blocks = ["## Counts", table(["", "crystals"], rows, "lr"), _unrecorded(survey, failures)]
    if failures.count:
        blocks += ["Why inputs failed (all of them in `failed.csv` of the screening):",
                   table(["reason", "for example", "inputs"], _reasons(failures.reasons), "llr")]
    lacking = [[f"`{name}`", *row] for name, reasons in survey.lacking.items() for row in _reasons(reasons)]
    if lacking:
        head = ["property", "reason", "for example", "crystals"]
        blocks += ["Why crystals lack a property:", table(head, lacking, "lllr")]
    if survey.warnings.total:
        blocks += ["Warnings that came with predictions:",
                   table(["warning", "for example", "crystals"], _reasons(survey.warnings), "llr")]
    return blocks


def _unrecorded(survey: Survey, failures: Failures) -> str:
    """One line on what an earlier version of Voigt has not stored, or nothing."""
    counts = [(survey.unrecorded, "crystal"), (failures.unrecorded, "failure")]
    texts = [counted(many, noun) for many, noun in counts if many]
    if not texts:
        return ""
    return (f"Of {' and '.join(texts)} the kinds of warnings and failures are not recorded, because an earlier version "
            "of Voigt stored them: their sentences are counted as they are.")


def _reasons(reasons: Reasons) -> list[list[str]]:
    """Rows of a table: reason, the first sentence of it, and cases; one row on all beyond the most common."""
    shown = reasons.common(_REASONS)
    rows = [[escaped(reason.meaning), escaped(example) or "–", f"{count:,}"] for reason, count, example in shown]
    if others := len(reasons.counts) - len(shown):
        rows.append([f"{others:,} others", "", f"{reasons.total - sum(count for _, count, _ in shown):,}"])
    return rows


def _question(findings: Findings, criteria: Criteria) -> list[str]:
    selection, where, rank = findings.selection, criteria.where, criteria.rank
    lines = []
    if where is None:
        lines.append("No condition: all crystals are considered.")
    else:
        lines.append(f"The condition:\n\n    {where.text}\n\nIn words: {in_words(where)}.")
    if rank is None:
        lines.append("No ranking: crystals stand in the order of the collection.")
    else:
        order = "smallest" if selection.ascending else "largest"
        lines.append(f"They are ranked by {in_words(rank)}, the {order} first.")
    outcome = f"{selection.passed:,} of {selection.looked_at:,} crystals satisfy this and can be ranked"
    outcome += f"; {selection.lacking:,} cannot be judged since a value is missing" if selection.lacking else ""
    return ["## The question", *lines, f"{outcome}.", "\n".join(definitions(findings.names))]


def _best(findings: Findings) -> list[str]:
    best = findings.best
    if not best:
        return ["## The best crystals", "No crystal satisfies the condition: the table (`top.csv`) is empty."]
    title = f"## The best {len(best)}" if findings.selection.rank is not None else f"## The first {len(best)}"
    blocks = [title, _materials(best, findings.names, findings.selection.ranked_by),
              f"{_on_errors(best, findings.spread)}"
              "The structures are in `structures/`, the table in full in `top.csv`."]
    return [*blocks, _legend(best)]


def _refined(refinement: Refinement) -> list[str]:
    """The second stage: how many survive, and both figures of each crystal."""
    crystals = refinement.crystals
    ranked = [crystal for crystal in crystals if crystal.after]
    text = (
        f"The best {len(crystals):,} by the networks were assembled: atoms relaxed with the potential "
        f"{code(refinement.potential)}, modes at Gamma from it, charges from the networks. {len(ranked):,} have a value"
    )
    counts = {state: sum(crystal.state == state for crystal in crystals) for state in ("unstable", "failed", "soft")}
    text += f"; {counts['unstable']:,} have unstable modes, which leaves none" if counts["unstable"] else ""
    text += f"; {counts['failed']:,} failed" if counts["failed"] else ""
    text += f". In {counts['soft']:,} the lowest mode is so soft that the value is rough" if counts["soft"] else ""
    if refinement.where is not None:
        kept = sum(crystal.holds for crystal in crystals)
        text += f". Of {kept:,} the condition {code(refinement.where)} holds with the assembled values, too"
    rows = [tuple(map(escaped, refined_cells(crystal, refinement.where))) for crystal in crystals]
    title = f"## The best {len(crystals):,} with a potential, by {code(refinement.ranked_by)}"
    files = "In full: `refined/refined.csv` of the screening; structures and tensors: `refined/refined.parquet`."
    return [title, f"{text}.", table(REFINED, rows, "rrllrrrrl"), files]


def _on_errors(best: Sequence[Material], spread: Deviations) -> str:
    """What ± is, or nothing if there is none."""
    text = ""
    if any(width > 0 for material in best for width in material.intervals.values()):
        text += "± with (90 %) holds for nine of ten crystals like those of the model's training, and for fewer where "
        text += "they stand in a table because they are the best of many. "
    if not spread.ensembles:
        return text
    text += f"±{' alone' if text else ''} is the standard deviation of each number among the members of an ensemble; "
    text += "it is no bound on the error. "
    if spread.others:
        counted = ", ".join(code(name) for name in sorted(spread.ensembles))
        text += f"± counts only models that are ensembles: {counted}; what others predict is taken as exact. "
    return text + "A number without it comes from one network or is exact. "


def _pareto(findings: Findings, conditional: bool) -> list[str]:
    front = findings.front
    if front is None:
        return []
    pairs = zip(front.names, front.maximize, strict=True)
    aims = [f"{'largest' if more else 'smallest'} `{name}`" for name, more in pairs]
    among = "that fulfill the condition and" if conditional else "that"
    text = (
        f"The best compromises between {aims[0]} and {aims[1]}: no other crystal is better in one and at least as good "
        f"in the other. They come from the {front.candidates:,} crystals {among} have both values."
    )
    blocks = ["## Pareto front", text, "![Pareto front](pareto.png)"]
    caption = "Gray: all crystals, by hexagon (logarithmic shades). "
    caption += "Blue: those that fulfill the condition. " if conditional else ""
    caption += "Hollow points carry a flag of the table. The few crystals beyond the axes are drawn at their ends. "
    caption += "In `pareto.html` a click on a point shows its crystal and tensors."
    blocks.append(caption)
    if not front.materials:
        return [*blocks, "The front is empty."]
    shown = front.materials[:_FRONT_ROWS]
    more = len(front.materials) - len(shown)
    rest = f"{counted(more, 'more crystal')} on the front: `pareto.csv`." if more else "As a file: `pareto.csv`."
    return [*blocks, _materials(shown, findings.names, None), rest, _legend(shown)]


def _materials(materials: Sequence[Material], names: Sequence[str], ranked_by: str | None) -> str:
    shown = ranked_by is not None and ranked_by not in names  # or it has its column
    head = ["", "formula", "id", "space group", *map(title_of, names)]
    head += ([code(ranked_by or "")] if shown else []) + ["flags"]
    rows = []
    for material in materials:
        cells = [str(material.place), escaped(material.formula), escaped(material.id), str(material.spacegroup or "–")]
        cells += [_with_interval(material, name) for name in names]
        cells += [_with_error(*material.rank)] if shown and material.rank is not None else []
        rows.append([*cells, material.flags])
    return table(head, rows, "rllr" + "r" * (len(head) - 5) + "l")


def _legend(materials: Sequence[Material]) -> str:
    used = [f"{flag}: {text}" for flag, text in FLAGS.items() if any(flag in material.flags for material in materials)]
    return f"Flags: {'; '.join(used)}." if used else ""


def _pictures(conditional: bool) -> list[str]:
    both = "Gray: all crystals, blue: those that fulfill the condition; counts are logarithmic. " if conditional else ""
    return [
        "## Distributions",
        "![Distributions](distributions.png)",
        f"{both}The line is the median of all. The outermost bars hold what lies beyond them (0.05 % at each end); "
        "axes of quantities with a heavy tail are logarithmic.",
        "## Coverage by element",
        "![Coverage by element](elements.png)",
        "Above: crystals with results, and inputs refused because a model has not seen the element. Below: how many "
        "per cent of them have results by models that have seen all their elements. Of inputs that failed for another "
        "reason the composition is not stored: they are not counted here.",
    ]


def _caveats(findings: Findings) -> list[str]:
    best, survey, front = findings.best, findings.survey, findings.front
    properties = sorted({prop for name in findings.names for prop in DERIVED[name].properties})
    rows = []
    for flag, mask in flags_of(survey, properties).items():
        many = [sum(flag in material.flags for material in best)]
        many += [] if front is None else [sum(flag in material.flags for material in front.materials)]
        rows.append([flag, FLAGS[flag], *(f"{count:,}" for count in (*many, int(mask.sum())))])
    head = ["flag", "meaning", f"of the {len(best):,} in the table"]
    head += [] if front is None else [f"of the {len(front.materials):,} on the front"]
    doubts = table([*head, f"of all {len(survey):,}"], rows, "ll" + "r" * (len(head) - 1))
    lines = []
    if all(np.isnan(survey.disagreement[name]).all() for name in properties if name in survey.disagreement):
        lines.append("The models of these properties are single networks: nothing is known about their uncertainty.")
    lines += [
        "The best of many are chosen for the errors of the model, too: expect the values of the top to be too good, "
        "and confirm them by a calculation.",
        "An ensemble knows only the disagreement of its members. Errors that they share (the functional, soft modes, "
        "magnetism, what the training data lack) are not in its spread.",
        "Structures were taken as they are: not relaxed, and not tested for stability"
        f"{'' if findings.refinement is None else ', but those of the second stage'}.",
    ]
    return ["## Caveats", doubts, "\n".join(f"- {line}" for line in lines)]


def _credits(manifest: Mapping[str, Any]) -> list[str]:
    names = " and ".join(code(f"voigt models {model['name']}") for model in models_of(manifest)) or "`voigt models`"
    return [
        "## Credits",
        "Training data, their licenses and whom to cite, test figures and known failures of each model stand in its "
        f"card: {names}. The structures keep the license of the collection they come from; cite it as its authors ask.",
    ]


def _with_interval(material: Material, name: str) -> str:
    """The value with the half-width of its 90 % interval, or else with its standard deviation."""
    (value, error), width = material.values[name], material.intervals[name]
    return f"{_with_error(value, width)} (90 %)" if math.isfinite(value) and width > 0 else _with_error(value, error)


def _with_error(value: float, error: float) -> str:
    """"12.34 ± 0.56": the value to the second digit of its error, four digits without one."""
    if math.isnan(value):
        return "–"
    if not math.isfinite(value):
        return f"{value:g}"
    if not (math.isfinite(error) and error > 0):
        return f"{value:g}" if float(value).is_integer() and abs(value) < 1e6 else number(value)
    decimals = max(0, min(6, 1 - math.floor(math.log10(error))))
    return f"{value:.{decimals}f} ± {error:.{decimals}f}"


def _title(name: str) -> str:
    """A collection in short: the last part of a path, an address as it is."""
    return escaped(name if "://" in name else name.rstrip("/").rsplit("/", 1)[-1] or name)


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return "default" if value is None else str(value)
