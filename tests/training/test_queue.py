"""The training queue: in order, one at a time, through any kill."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml
from tests.conftest import REPOSITORY
from tests.training.synthetic import recipe, write_data

from voigt.errors import OutputError
from voigt.models.checkpoint import available_models, load_model
from voigt.training.queue import FOLDER, SHIPPED, Entry, queue_status, run_queue
from voigt.training.run import train


def write_recipe(folder: Path, **changes: object) -> str:
    write_data(folder)
    content = {**recipe(folder, **changes).model_dump(mode="json"), "data_root": str(folder)}
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump(content))
    return str(path)


def when_free(entries: list[Entry], folder: Path) -> list[str]:
    """Run the queue as soon as the last process that was killed is gone."""
    limit = time.monotonic() + 30
    while True:
        try:
            return run_queue(entries, folder)
        except OutputError:
            assert time.monotonic() < limit
            time.sleep(0.05)


def test_what_ships_is_in_the_queue_and_has_a_recipe() -> None:
    names = [entry.name for entry in SHIPPED]
    assert set(available_models()) <= set(names)
    done = []
    for name in names:
        content = yaml.safe_load((REPOSITORY / "src/voigt/training/recipes" / f"{name}.yaml").read_text())
        needed = {content[key] for key in ("finetune", "teacher") if content.get(key)}
        assert needed <= {*done, *available_models()}, f"{name} needs what the queue has not made yet"
        done.append(str(FOLDER / name / f"{name}.safetensors"))


@pytest.mark.slow
def test_a_killed_queue_ends_with_the_same_weights(tmp_path: Path) -> None:
    """SIGKILL to the queue and its training after the first checkpoint, then once more from the start."""
    path = write_recipe(tmp_path, epochs=40)
    call = f"from voigt.training.queue import *; run_queue([Entry({path!r})], {str(tmp_path / 'queue')!r})"
    process = subprocess.Popen([sys.executable, "-c", call], start_new_session=True)
    last, limit = tmp_path / "queue/tiny/checkpoints/last.ckpt", time.monotonic() + 120
    while not last.is_file() and time.monotonic() < limit:
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    entry = Entry(path)
    ((name, state),) = queue_status([entry], tmp_path / "queue")
    assert name == "tiny"
    assert state.startswith("member 0 at epoch"), "it was killed before it was done"
    assert when_free([entry], tmp_path / "queue") == []
    assert queue_status([entry], tmp_path / "queue") == [("tiny", "finished")]
    assert (tmp_path / "queue/tiny/log").read_text().count("--- ") == 2
    whole = train(recipe(tmp_path, epochs=40), tmp_path / "whole")
    members = [load_model(file).members[0] for file in (whole.model, tmp_path / "queue/tiny/tiny.safetensors")]
    for one, other in zip(*(member.parameters() for member in members), strict=True):
        assert torch.equal(one, other)


def test_a_failure_does_not_stop_the_rest(tmp_path: Path) -> None:
    """Without the work of training: what `voigt train` would be called with, and what it says."""
    entries = [Entry("no/such/recipe.yaml"), Entry("done")]
    folder = tmp_path / "queue"
    (folder / "done").mkdir(parents=True)
    (folder / "done/done.safetensors").touch()
    assert queue_status(entries, folder) == [("recipe", "waiting"), ("done", "finished")]
    assert run_queue(entries, folder) == ["recipe"]
    state = queue_status(entries, folder)[0][1]
    assert "no recipe no/such/recipe.yaml" in state


def test_two_queues_do_not_share_a_folder(tmp_path: Path) -> None:
    call = f"from voigt.training.queue import _alone; from pathlib import Path; import time\n" \
        f"with _alone(Path({str(tmp_path)!r})): print('ready', flush=True); time.sleep(60)"
    process = subprocess.Popen([sys.executable, "-c", call], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    with pytest.raises(OutputError, match="another process"):
        run_queue([], tmp_path)
    process.kill()
    process.communicate()
    assert when_free([], tmp_path) == []
