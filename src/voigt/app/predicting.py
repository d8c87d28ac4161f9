"""What a worker process does: structures of several requests together through the networks, one answer for each."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal, TypeAlias

from voigt.app.derived import derived
from voigt.app.problems import FAILED, RequestError, of_error, of_failure, refusal
from voigt.app.repeating import predict_again
from voigt.app.schema import CrystalResult, PredictAnswer, Problem
from voigt.app.structures import Upload, structures_of
from voigt.errors import DomainError, VoigtError
from voigt.models.checkpoint import available_models
from voigt.notes import Failure
from voigt.prediction.plan import Plan, choose_models
from voigt.prediction.result import Prediction, Settings
from voigt.prediction.scene import scene
from voigt.prediction.stream import predict_planned
from voigt.structures import Input
from voigt.text import file_stem, printable
from voigt.writers.table import plain_text, prediction_lines, site_labels

Format: TypeAlias = Literal["json", "extxyz", "csv", "born"]

MEDIA: dict[str, tuple[str, str]] = {
    "json": ("application/json", ".json"),
    "extxyz": ("chemical/x-xyz", ".extxyz"),
    "csv": ("text/csv; charset=utf-8", ".csv"),
    "born": ("text/plain; charset=utf-8", ".BORN"),
}
"""Format -> its media type, and the ending of a download."""
_BORN = ("born_charges", "eps_inf")
_MOST_PLANS = 8
"""Combinations of models and properties that are kept: each holds its own weights."""


@dataclass(frozen=True)
class PredictTask:
    """A prediction that is asked for; `model` is the name of one that ships, None for the plan of `choose_models`."""

    upload: Upload
    model: str | None
    settings: Settings
    format: Format


@dataclass(frozen=True)
class Answer:
    """What goes back: a body of `media_type`, to be saved as `name` if there is one; `crystals` were predicted."""

    status: int
    content: bytes
    media_type: str = "application/json"
    name: str | None = None
    crystals: int = 0


Result: TypeAlias = Prediction | Failure


def problem_answer(status: int, problem: Problem) -> Answer:
    """A request without a result."""
    return Answer(status, problem.model_dump_json().encode())


class Predictor:
    """Loaded models, and what to do with them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._plans: OrderedDict[tuple[object, ...], Plan] = OrderedDict()

    def answers(self, tasks: Sequence[PredictTask]) -> list[Answer]:
        """One answer for each task; those that differ in nothing but the structure share their batches."""
        found: dict[int, Answer] = {}
        structures: dict[int, list[Input]] = {}
        for k, task in enumerate(tasks):
            try:
                structures[k] = structures_of(task.upload)
            except Exception as error:
                found[k] = _refused(error)
        groups: dict[tuple[str | None, Settings], list[int]] = {}
        for k in structures:
            groups.setdefault((tasks[k].model, tasks[k].settings), []).append(k)
        for members in groups.values():
            for k, outcome in zip(members, self._results(tasks, structures, members), strict=True):
                if isinstance(outcome, Exception):
                    found[k] = _refused(outcome)
                    continue
                try:
                    found[k] = self._encoded(tasks[k], outcome)
                except Exception as error:
                    found[k] = _refused(error)
        return [found[k] for k in range(len(tasks))]

    def _results(
        self, tasks: Sequence[PredictTask], structures: dict[int, list[Input]], members: Sequence[int]
    ) -> list[list[Result] | Exception]:
        """Predictions of each member of a group, or the error that it gets."""
        task = tasks[members[0]]
        try:
            plan = self._plan(task.model, task.settings)
            together = predict_planned(chain.from_iterable(structures[k] for k in members), plan)
            return [[next(together) for _ in structures[k]] for k in members]
        except VoigtError as error:
            return [error for _ in members]
        except Exception as error:
            if len(members) == 1:
                return [error]
            # One of them is to blame: each by itself.
            return [self._results(tasks, structures, [k])[0] for k in members]

    def _plan(self, model: str | None, settings: Settings) -> Plan:
        """Models with these settings; loaded once for each combination of what decides which."""
        key = (model, settings.properties, settings.functional, settings.check_domain, settings.device)
        if key not in self._plans:
            shipped = available_models()
            if model is not None and model not in shipped:
                listed = ", ".join(shipped) or "none in this installation"
                raise DomainError(f"no model '{printable(model)}' among those that ship ({listed})")
            self._plans[key] = choose_models(model, settings)
            while len(self._plans) > _MOST_PLANS:
                self._plans.popitem(last=False)
        self._plans.move_to_end(key)
        plan = self._plans[key]
        shares = tuple(replace(share, settings=_like(share.settings, settings)) for share in plan.shares)
        gap = None if plan.gap is None else replace(plan.gap, settings=_like(plan.gap.settings, settings))
        return replace(plan, shares=shares, gap=gap)

    def _encoded(self, task: PredictTask, results: Sequence[Result]) -> Answer:
        done = [entry for entry in results if isinstance(entry, Prediction)]
        failures = [of_failure(entry) for entry in results if isinstance(entry, Failure)]
        if not done:
            text = "; ".join(problem.text for problem in failures)
            return problem_answer(FAILED, failures[0].model_copy(update={"text": text}))
        media_type, suffix = MEDIA[task.format]
        if task.format == "json":
            answer = PredictAnswer(
                crystals=[_crystal(entry) for entry in done],
                failures=failures,
                repeat=predict_again(task.upload, task.model, task.settings),
            )
            return Answer(200, answer.model_dump_json().encode(), media_type, crystals=len(done))
        if failures:  # a file has no place for them
            return problem_answer(FAILED, failures[0])
        content = self._file(task.format, done)
        return Answer(200, content, media_type, f"{file_stem(task.upload.stem)}{suffix}", len(done))

    def _file(self, kind: Format, done: Sequence[Prediction]) -> bytes:
        """What the writer of a format puts into a file, which is gone afterwards."""
        from voigt.response.phonons.born_files import write_born
        from voigt.writers import write_predictions

        with TemporaryDirectory(dir=self.folder) as home:
            path = Path(home) / f"predictions.{kind}"
            if kind != "born":
                write_predictions(done, path)
            elif len(done) > 1:
                text = f"BORN is of one crystal, and there are {len(done)}; send them one by one"
                raise refusal(FAILED, "too_many", text)
            else:
                write_born(done[0], path)
            return path.read_bytes()


def _like(own: Settings, asked: Settings) -> Settings:
    """Settings of a share with all of a request that does not decide which models there are."""
    return replace(asked, properties=own.properties, functional=own.functional, check_domain=own.check_domain)


def _crystal(prediction: Prediction) -> CrystalResult:
    return CrystalResult(
        scene=scene(prediction),
        sites=site_labels(prediction.symmetry),
        derived=derived(prediction.values),
        table=plain_text(prediction_lines(prediction)),
        born=all(name in prediction.values for name in _BORN),
    )


def _refused(error: Exception) -> Answer:
    status = error.status if isinstance(error, RequestError) else FAILED
    return problem_answer(status, of_error(error))
