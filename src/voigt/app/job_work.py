"""What the process of a job does: phonons of a project, or every response of a structure."""

from __future__ import annotations

from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Literal, TypeAlias

from voigt.app.job_parts import Advance, Files, without
from voigt.app.job_phonons import run_phonons_job
from voigt.app.job_respond import run_respond_job
from voigt.app.job_schema import PhononsQuery, PhononsResult, RespondQuery, RespondResult
from voigt.app.problems import of_error
from voigt.app.schema import Problem
from voigt.app.structures import Upload

JobKind: TypeAlias = Literal["phonons", "respond"]
Result: TypeAlias = PhononsResult | RespondResult


@dataclass(frozen=True)
class JobTask:
    """A job that is asked for; a `PhononsQuery` asks for phonons, a `RespondQuery` for all responses.

    `device`: of the networks.
    """

    upload: Upload
    query: PhononsQuery | RespondQuery
    device: str = "auto"

    @property
    def kind(self) -> JobKind:
        """Which of the two."""
        return "phonons" if isinstance(self.query, PhononsQuery) else "respond"


@dataclass(frozen=True)
class Advanced:
    """A message: one more supercell is done."""


@dataclass(frozen=True)
class Done:
    """A message: the result as JSON, and files by name."""

    result: bytes
    files: dict[str, bytes]


@dataclass(frozen=True)
class Failed:
    """A message: there is no result."""

    problem: Problem


def work(pipe: Connection, folder: Path) -> None:
    """Do one job: its task comes through the pipe, messages go back."""
    task: JobTask = pipe.recv()
    try:
        result, files = run_job(task, folder, lambda: pipe.send(Advanced()))
        message: Done | Failed = Done(result.model_dump_json().encode(), dict(files))
    except Exception as error:
        problem = of_error(error)
        message = Failed(problem.model_copy(update={"text": without(folder, problem.text)}))
    pipe.send(message)


def run_job(task: JobTask, folder: Path, advance: Advance) -> tuple[Result, Files]:
    """Result of a job and its files; everything that it lays down is in `folder`.

    Raises
    ------
    RequestError, VoigtError
        There is no result.
    """
    if isinstance(task.query, PhononsQuery):
        return run_phonons_job(task.upload, task.query, task.device, folder, advance)
    return run_respond_job(task.upload, task.query, task.device, folder, advance)
