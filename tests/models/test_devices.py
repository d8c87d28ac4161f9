"""Where networks run."""

from __future__ import annotations

import pytest
import torch
from tests.predictions import save_tiny_model

from voigt.errors import DomainError
from voigt.graphs.batch import MAX_EDGES
from voigt.models import devices
from voigt.models.checkpoint import load_model
from voigt.prediction.plan import choose_models
from voigt.prediction.result import Settings


def test_auto_is_cuda_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert devices.find_device("auto") == torch.device("cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert devices.find_device("auto") == torch.device("cpu")


@pytest.fixture(scope="module")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(save_tiny_model(tmp_path_factory.mktemp("models") / "tiny.safetensors"))


@pytest.mark.parametrize("name", ["gpu", "cuda:99", "meta", "cpu:cuda", ""])
def test_a_device_that_is_not_there_is_named(name: str) -> None:
    with pytest.raises(DomainError, match=f"device {name} cannot be used"):
        devices.find_device(name)


def test_batches_fill_half_of_the_free_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    free = {"bytes": 0}
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (free["bytes"], 80e9))
    cuda = torch.device("cuda")
    free["bytes"] = 100_000 * devices.BYTES_PER_EDGE
    assert devices.edge_budget(cuda, MAX_EDGES) == 50_000
    free["bytes"] = 10
    assert devices.edge_budget(cuda, MAX_EDGES) == MAX_EDGES  # batches are halved if that is too much
    free["bytes"] = 2**50
    assert devices.edge_budget(cuda, MAX_EDGES) == devices.MOST_EDGES
    assert devices.edge_budget(cuda, 300) == 300
    assert devices.edge_budget(torch.device("cpu"), MAX_EDGES) == MAX_EDGES


def test_a_plan_puts_models_where_the_settings_say(monkeypatch: pytest.MonkeyPatch, tiny_model: str) -> None:
    asked = []
    monkeypatch.setattr("voigt.prediction.plan.find_device", lambda name: asked.append(name) or torch.device("meta"))
    plan = choose_models(tiny_model, Settings(check_domain=False))
    assert plan.shares[0].model.device == torch.device("meta")
    assert asked == ["auto"]


def test_auto_leaves_a_loaded_model_where_it_is(monkeypatch: pytest.MonkeyPatch, tiny_model: str) -> None:
    model = load_model(tiny_model)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert choose_models(model, Settings(check_domain=False)).shares[0].model.device.type == "cpu"


def test_predictions_do_not_switch_to_tf32(tiny_model: str) -> None:
    before = torch.get_float32_matmul_precision()
    choose_models(tiny_model, Settings(check_domain=False))
    assert torch.get_float32_matmul_precision() == before == "highest"


def test_names_for_people(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "A Card")
    assert devices.describe(torch.device("cuda:0")) == "cuda:0 (A Card)"
    assert devices.describe(torch.device("mps")) == "mps"


def test_one_line_says_which_device(capsys: pytest.CaptureFixture[str]) -> None:
    from voigt.cli.devices import tell_device

    tell_device(torch.device("mps"), quiet=False)
    tell_device(torch.device("mps"), quiet=True)
    tell_device(torch.device("cpu"), quiet=False)
    out, err = capsys.readouterr()
    assert (out, err) == ("", "networks run on mps\n")


def test_recordings_are_forgotten_when_networks_move(tiny_model: str) -> None:
    """They read weights where these were."""
    model = load_model(tiny_model)
    model.passes[torch.device("cuda")] = lambda _: []
    devices.move(model, torch.device("cpu"))
    assert model.passes, "nothing has moved"
    devices.move(model, torch.device("meta"))
    assert not model.passes
