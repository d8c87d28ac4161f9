"""Processes that stand for workers: the name of a file says what becomes of them."""

from __future__ import annotations

import json
import os
import time
from multiprocessing.connection import Connection
from pathlib import Path

from voigt.app.job_work import Done, JobTask
from voigt.app.predicting import Answer, PredictTask

FIRST_S = 0.3


def work(pipe: Connection, folder: Path) -> None:
    """Answers with the number of requests in the batch."""
    pipe.recv()  # the device
    pipe.send("ready")
    while True:
        tasks: list[PredictTask] = pipe.recv()
        names = [task.upload.name for task in tasks]
        (folder / "trace").write_text("left behind")
        if "hang" in names:
            time.sleep(1000)
        if "die" in names:
            os._exit(1)
        if "first" in names:
            time.sleep(FIRST_S)
        pipe.send([Answer(200, json.dumps({"together": len(tasks), "pid": os.getpid()}).encode()) for _ in tasks])


def job(pipe: Connection, folder: Path) -> None:
    """The same for jobs."""
    task: JobTask = pipe.recv()
    (folder / "secret").write_text("of the upload")
    if task.upload.name == "die":
        os._exit(1)
    if task.upload.name == "hang":
        time.sleep(1000)
    pipe.send(Done(b"null", {"a.txt": b"x" * 100}))
