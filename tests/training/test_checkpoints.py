"""The state of a training on disk: complete, bit for bit, and nothing in it runs or reaches out of its folder."""

from __future__ import annotations

import math
import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from tests.training.synthetic import recipe, write_data

from voigt.errors import WeightsError
from voigt.training.checkpoints import checkpoint_bytes, read_checkpoint
from voigt.training.run import train


class Touch:
    """What unpickling would do: make a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with data and a run of two passes in `run`."""
    folder = tmp_path_factory.mktemp("checkpoints")
    write_data(folder)
    train(recipe(folder, epochs=2, patience=5), folder / "run")
    return folder


@pytest.fixture
def stopped(finished, tmp_path) -> Path:
    """The checkpoints of that run alone: there is no model yet, so that resuming reads them."""
    target = tmp_path / "run" / "checkpoints"
    target.mkdir(parents=True)
    for name in ("last.ckpt", "best.ckpt"):
        (target / name).write_bytes((finished / "run" / "checkpoints" / name).read_bytes())
    return tmp_path / "run"


def refused(finished: Path, run: Path, epochs: int = 3) -> str:
    with pytest.raises(WeightsError) as caught:
        train(recipe(finished, epochs=epochs, patience=5), run, resume=True)
    text = str(caught.value)
    assert "\n" not in text
    assert text.endswith("start again in another folder")
    return text


class TestRoundTrip:
    def test_every_kind_of_value(self, tmp_path):
        shared = torch.arange(6, dtype=torch.float64).reshape(2, 3)
        state = {
            "tensors": [shared, shared.T, shared[0], torch.tensor(0.1), torch.empty(0, 3)]
            + [torch.tensor([1, 255]).byte()]
            + [torch.tensor([True]), torch.tensor([2**62])],
            "numbers": (0.1, 1e-320, -0.0, math.inf, -math.inf, 2**70, True, None, "é\n\x00"),
            "keys": OrderedDict([(0, "a"), ("0", "b"), (2.5, "c"), (None, "d")]),
            "empty": [{}, [], ()],
        }
        path = tmp_path / "x.ckpt"
        path.write_bytes(checkpoint_bytes(state))
        back = read_checkpoint(path)
        for before, after in zip(state["tensors"], back.pop("tensors"), strict=True):
            assert after.dtype == before.dtype
            assert torch.equal(after, before)
        assert math.copysign(1, back["numbers"][2]) == -1
        del state["tensors"]
        assert back == state

    def test_nan_and_infinities_of_tensors(self, tmp_path):
        values = torch.tensor([math.nan, math.inf, -0.0])
        (tmp_path / "x.ckpt").write_bytes(checkpoint_bytes({"v": values, "nan": math.nan}))
        back = read_checkpoint(tmp_path / "x.ckpt")
        assert torch.equal(back["v"].view(torch.int32), values.view(torch.int32))
        assert math.isnan(back["nan"])

    def test_what_it_cannot_hold_is_named(self):
        with pytest.raises(TypeError, match="cannot hold set"):
            checkpoint_bytes({"a": {1, 2}})


class TestNothingRuns:
    @pytest.mark.parametrize("protocol", [0, 2, 5])
    def test_a_pickle_in_its_place(self, finished, stopped, tmp_path, protocol):
        mark = tmp_path / "mark"
        (stopped / "checkpoints" / "last.ckpt").write_bytes(pickle.dumps(Touch(mark), protocol=protocol))
        assert "last.ckpt is not a complete checkpoint" in refused(finished, stopped)
        assert not mark.exists()
        pickle.loads(pickle.dumps(Touch(mark)))
        assert mark.exists()  # it would have run

    def test_a_file_of_torch(self, finished, stopped, tmp_path):
        mark = tmp_path / "mark"
        torch.save({"voigt_run": Touch(mark)}, stopped / "checkpoints" / "last.ckpt")
        assert "written by an earlier release" in refused(finished, stopped)
        assert not mark.exists()

    def test_best_ckpt_too(self, finished, stopped, tmp_path):
        mark = tmp_path / "mark"
        (stopped / "checkpoints" / "best.ckpt").write_bytes(pickle.dumps(Touch(mark)))
        assert "best.ckpt is not a complete checkpoint" in refused(finished, stopped, epochs=2)
        assert not mark.exists()

    @pytest.mark.parametrize("name", ["../../precious", "..", "/precious", "precious"])
    def test_files_that_it_names_are_neither_read_nor_removed(self, finished, stopped, name):
        """Lightning removes the checkpoint that was the best before."""
        precious = stopped.parent / "precious"
        precious.write_text("here")
        (stopped / "checkpoints" / "precious").write_text("here")
        change(stopped, lambda state: _set_paths(state, name))
        train(recipe(finished, epochs=4, patience=5), stopped, resume=True)
        assert precious.read_text() == (stopped / "checkpoints" / "precious").read_text() == "here"
        assert (stopped / "tiny.safetensors").is_file()


def _set_paths(state: dict[str, Any], name: str) -> None:
    (kept,) = (part for key, part in state["callbacks"].items() if key.startswith("Checkpoints"))
    for key in ("best_model_path", "kth_best_model_path", "last_model_path"):
        kept[key] = name
    kept["best_k_models"] = {name: torch.tensor(1e9)}
    kept["best_model_score"] = kept["kth_value"] = torch.tensor(1e9)


def change(run: Path, edit: Any) -> None:
    path = run / "checkpoints" / "last.ckpt"
    state = read_checkpoint(path)
    edit(state)
    path.write_bytes(checkpoint_bytes(state))


class TestForeignContent:
    """Files of the right format, made by hand."""

    @pytest.mark.parametrize(
        "edit",
        [
            lambda state: state.pop("voigt_run"),
            lambda state: state.update(voigt_run=[1]),
            lambda state: state["voigt_run"].update(epochs="many"),
            lambda state: state.pop("state_dict"),
            lambda state: state.update(state_dict=3),
            lambda state: state["state_dict"].popitem(),
            lambda state: state["state_dict"].update({k: v[..., :1] for k, v in state["state_dict"].items() if v.ndim}),
            lambda state: state.pop("callbacks"),
            lambda state: state.update(callbacks=[1, 2]),
            lambda state: state["callbacks"]["RunRecord"].update(rows=5),
            lambda state: state["callbacks"]["RunRecord"].update(random=torch.zeros(3)),
            lambda state: state.update(optimizer_states=[]),
            lambda state: state.update(optimizer_states=[{"state": {}}]),
            lambda state: [m.update(exp_avg=torch.zeros(7)) for m in state["optimizer_states"][0]["state"].values()],
            lambda state: state.update(lr_schedulers="x"),
            lambda state: state.update(loops={"fit_loop": 1}),
            lambda state: state.update({"pytorch-lightning_version": [1]}),
            lambda state: state.clear(),
        ],
    )
    def test_one_sentence(self, finished, stopped, edit):
        change(stopped, edit)
        assert "last.ckpt is not a checkpoint of this training" in refused(finished, stopped)

    @pytest.mark.parametrize(
        "state",
        [
            "[" * 100_000 + "]" * 100_000,
            "5",
            '["dict", 5]',
            '["dict", [["a", ["tensor", "9"]]]]',
            '["dict", [[["list", []], 1]]]',
            '["object", "os.system"]',
            "[1, 2, 3]",
            "1" * 5000,
            "not JSON",
        ],
    )
    def test_a_header_that_is_none(self, tmp_path, state):
        header = {"format": "voigt checkpoint", "format_version": "1", "state": state}
        safetensors.torch.save_file({"0": torch.zeros(1)}, tmp_path / "x.ckpt", header)
        with pytest.raises(WeightsError, match=r"x\.ckpt is not a complete checkpoint \(.*another folder") as caught:
            read_checkpoint(tmp_path / "x.ckpt")
        assert len(str(caught.value)) < 600

    def test_a_model_is_no_checkpoint(self, finished):
        with pytest.raises(WeightsError, match="is no checkpoint of this release"):
            read_checkpoint(finished / "run" / "tiny.safetensors")
