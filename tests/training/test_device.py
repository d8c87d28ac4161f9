"""Training with resident graphs: the same training as Lightning's, padded or not, in the time that was given."""

from __future__ import annotations

import csv
import dataclasses
import logging
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from ase.build import bulk
from tests.training.synthetic import labeled_crystals, recipe, write_data
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode
from typer.testing import CliRunner

from voigt.cli.main import app
from voigt.errors import DomainError, RecipeError
from voigt.graphs import collate
from voigt.models.checkpoint import load_model
from voigt.training import device as device_training
from voigt.training.datamodule import CrystalDataModule, read_data
from voigt.training.device import Budget, train_on_device
from voigt.training.module import batch_loss
from voigt.training.recipe import Recipe
from voigt.training.resident import BatchShape, ResidentGraphs, batch_shapes, fitting
from voigt.training.run import train
from voigt.training.start import initial_network
from voigt.training.steps import Stepper

CPU = torch.device("cpu")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Made-up crystals of two functionals, some with symmetry, some without a label."""
    frames = labeled_crystals(0) + labeled_crystals(1)
    symmetric = bulk("MgO", "rocksalt", a=4.2, cubic=True)
    symmetric.info.update(id="symmetric", split="train", functional="PBE", eps_inf=(3 * np.eye(3)).ravel().tolist())
    charges = np.where(symmetric.numbers == 12, 2.0, -2.0)
    symmetric.arrays["born_charges"] = charges[:, None] * np.eye(3).ravel()
    for k, atoms in enumerate(frames):
        permittivity = np.reshape(atoms.info["eps_inf"], (3, 3))
        atoms.info["eps_ionic"] = (2 * permittivity).ravel().tolist()
        atoms.info["eps_total"] = (3 * permittivity).ravel().tolist()
        atoms.info["elastic"] = np.diag([100.0 + k] * 3 + [50.0] * 3).ravel().tolist()
        atoms.info["piezo_clamped"] = [0.1 * k] * 18
        if k % 2:
            atoms.info["functional"] = "PBEsol"
    del frames[3].info["eps_inf"]
    write_data(tmp_path, [*frames, symmetric])
    return tmp_path


def two_functionals(folder: Path, **changes: object) -> Recipe:
    return recipe(folder, **{"model": {"functionals": ["PBE", "PBEsol"], "self_product": True}, **changes})


def weights(path: Path) -> list[torch.Tensor]:
    return [parameter.detach() for parameter in load_model(path).members[0].parameters()]


def test_padded_batches_give_what_plain_ones_give(folder: Path) -> None:
    """Outputs, loss and gradients; the idle crystal is seen by nothing."""
    given = two_functionals(folder, precision="64")
    graphs = CrystalDataModule(given, read_data(given)).train_graphs
    assert any(graph.rotation is not None for graph in graphs)
    network = initial_network(given, graphs)
    resident = ResidentGraphs(graphs, given.model.functionals, CPU)
    chosen = np.array([3, 0, 7, len(graphs) - 1])
    need = resident.need(chosen)
    plain = collate([graphs[k] for k in chosen])
    expected, raw = network(plain), batch_loss(network, plain, given)[0]
    slopes = torch.autograd.grad(raw, list(network.parameters()), allow_unused=True)
    for shape in (need, BatchShape(need.atoms + 5, need.orbits + 2, need.edges + 40)):
        batch = resident.batch(torch.tensor(chosen), shape)
        assert (len(batch.numbers), len(batch.representative), len(batch.edge_source)) == dataclasses.astuple(shape)
        assert bool((batch.edge_target.diff() >= 0).all()), "networks rely on this order"
        outputs = network(batch)
        atoms = len(plain.numbers)
        torch.testing.assert_close(outputs["born_charges"][:atoms], expected["born_charges"])
        torch.testing.assert_close(outputs["eps_inf"][: len(chosen)], expected["eps_inf"])
        loss = batch_loss(network, batch, given)[0]
        torch.testing.assert_close(loss, raw)
        found = torch.autograd.grad(loss, list(network.parameters()), allow_unused=True)
        for one, other in zip(found, slopes, strict=True):
            torch.testing.assert_close(one, other)


def test_the_same_training_as_with_lightning(folder: Path) -> None:
    """Four passes: weights of the best validation and its figures."""
    given = two_functionals(folder, precision="64")
    usual, here = train(given, folder / "usual"), train_on_device(given, folder / "here", Budget())
    for one, other in zip(weights(usual.model), weights(here.model), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)
    assert here.metrics.keys() == usual.metrics.keys()
    for key, value in here.metrics.items():
        assert value == pytest.approx(usual.metrics[key], rel=1e-5), key


TARGETS = (
    {"born_charges": {}, "eps_inf": {"loss": "relative", "floor": 0.1}},
    {"eps_total": {"loss": "log"}, "eps_inf": {"loss": "huber"}, "eps_ionic": {"loss": "l2"}},
    {"elastic": {"loss": "relative"}, "piezo_clamped": {"loss": "relative", "sign_cost": 0.3}},
)


@pytest.mark.parametrize("targets", TARGETS, ids=lambda targets: next(iter(targets)))
def test_no_step_asks_the_device_anything(folder: Path, targets: dict[str, dict[str, object]]) -> None:
    """Fake tensors have no values: whatever needs one (a sum as a number, a mask as an index) raises an error."""
    given = two_functionals(folder, targets=targets, epochs=1)
    graphs = CrystalDataModule(given, read_data(given)).train_graphs
    network = initial_network(given, graphs)
    network(collate(graphs[:2]))  # constants that are copied to a device once
    resident, step = ResidentGraphs(graphs, given.model.functionals, CPU), Stepper(given, network)
    shape = resident.need(np.array([1, 4]))
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        chosen = mode.from_tensor(torch.tensor([1, 4]))
        step(resident.batch(chosen, shape))
        with pytest.raises(DataDependentOutputException):
            bool(chosen.sum() > 0)  # so it would show


def test_shapes_hold_nearly_all_batches(folder: Path) -> None:
    given = two_functionals(folder)
    graphs = CrystalDataModule(given, read_data(given)).train_graphs
    resident = ResidentGraphs(graphs, given.model.functionals, CPU)
    shapes = batch_shapes(resident, 3, seed=0)
    assert [shape.edges for shape in shapes] == sorted(shape.edges for shape in shapes)
    rng = np.random.default_rng(1)
    needs = [resident.need(rng.permutation(len(resident))[:3]) for _ in range(500)]
    found = [fitting(shapes, need) for need in needs]
    assert sum(shape is None for shape in found) < 10
    for need, shape in zip(needs, found, strict=True):
        if shape is not None:
            assert all(a >= b for a, b in zip(dataclasses.astuple(shape), dataclasses.astuple(need), strict=True))
    assert fitting(shapes, BatchShape(10**9, 1, 1)) is None


def test_a_step_that_overflows_changes_nothing(folder: Path) -> None:
    given = two_functionals(folder)
    graphs = CrystalDataModule(given, read_data(given)).train_graphs
    network = initial_network(given, graphs)
    resident, step = ResidentGraphs(graphs, given.model.functionals, CPU), Stepper(given, network)
    chosen = np.array([0, 1])
    batch = resident.batch(torch.tensor(chosen), resident.need(chosen))
    step.set_rates(0, 0.01)
    step(batch)
    good = [parameter.detach().clone() for parameter in network.parameters()]
    targets = {name: torch.where(torch.isfinite(label), 3e38, label) for name, label in batch.targets.items()}
    for _ in range(3):
        step(dataclasses.replace(batch, targets=targets))  # the sum over components is infinite
    assert all(torch.equal(a, b) for a, b in zip(good, network.parameters(), strict=True))
    step(batch)
    assert not all(torch.equal(a, b) for a, b in zip(good, network.parameters(), strict=True))
    step.lost.fill_(1000.0)
    with pytest.raises(RecipeError, match="not finite"):
        step.mean_loss()


def test_a_time_budget_is_kept_and_its_schedule_ends(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The rate falls to the last of the schedule although nobody knew the number of steps."""
    monkeypatch.setattr(device_training, "MEASURED", 10)
    given = two_functionals(folder, epochs=100_000, optimizer={"final": 0.01, "lr": 0.01})
    rates, set_rates = [], Stepper.set_rates

    def noted(self: Stepper, step: int, rate: float) -> None:
        rates.append(rate)
        set_rates(self, step, rate)

    monkeypatch.setattr(Stepper, "set_rates", noted)
    started = time.monotonic()
    with caplog.at_level(logging.INFO, "voigt.training"):
        result = train_on_device(given, folder / "run", Budget(seconds=4.0))
    assert 3.0 < result.seconds < 8.0
    assert time.monotonic() - started < 20.0
    assert max(rates) == pytest.approx(0.01, rel=0.05)
    assert rates[-1] < 0.002
    card = load_model(result.model).card
    assert 1 <= card.recipe["epochs"] < 10_000
    assert card.metrics["epoch"] <= card.recipe["epochs"]


def test_a_stopped_run_continues_to_the_same_weights(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = two_functionals(folder)
    whole = train_on_device(given, folder / "whole", Budget())
    stepper, count = Stepper.__call__, 0

    def stopping(self: Stepper, batch: object) -> None:
        nonlocal count
        count += 1
        if count == 25:
            raise KeyboardInterrupt
        stepper(self, batch)

    monkeypatch.setattr(Stepper, "__call__", stopping)
    with pytest.raises(KeyboardInterrupt):
        train_on_device(given, folder / "run", Budget())
    with pytest.raises(RecipeError, match="--resume"):
        train_on_device(given, folder / "run", Budget())
    with pytest.raises(RecipeError, match="another recipe"):
        train_on_device(two_functionals(folder, seed=1), folder / "run", Budget(), resume=True)
    continued = train_on_device(given, folder / "run", Budget(), resume=True)
    assert all(torch.equal(a, b) for a, b in zip(weights(whole.model), weights(continued.model), strict=True))
    assert continued.metrics == whole.metrics
    again = train_on_device(given, folder / "run", Budget(), resume=True)
    assert again.metrics == whole.metrics


@pytest.mark.slow
def test_members_are_trained_side_by_side(folder: Path) -> None:
    """Two processes; the ensemble holds what each gives alone."""
    path = folder / "tiny.yaml"
    given = two_functionals(folder, epochs=1)
    path.write_text(yaml.safe_dump({**given.model_dump(mode="json"), "data_root": str(folder)}))
    arguments = ["train", str(path), "--device", "cpu", "--members", "2", "-o", str(folder / "run")]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    alone = train_on_device(two_functionals(folder, epochs=1, seed=1), folder / "alone", Budget())
    ensemble = load_model(folder / "run" / "tiny.safetensors")
    assert len(ensemble.members) == 2
    for one, other in zip(ensemble.members[1].parameters(), weights(alone.model), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("name", ["cuda:99", "tpu", "mps", "cpu7x"])
def test_devices_that_do_not_exist_are_refused_in_one_sentence(folder: Path, name: str) -> None:
    with pytest.raises(DomainError, match="cpu"):
        train_on_device(two_functionals(folder), folder / "run", Budget(name))


def test_options_that_exclude_each_other(folder: Path) -> None:
    for options, words in ((["--seconds", "5"], "--device"), (["--device", "cpu", "--folds", "3"], "--folds")):
        result = CliRunner().invoke(app, ["train", "elastic", "-o", str(folder / "run"), *options])
        assert result.exit_code == 2
        assert words in result.output


def test_every_validation_leaves_a_row_and_patience_ends_training(folder: Path) -> None:
    impatient = two_functionals(folder, epochs=200, patience=2, optimizer={"lr": 1e-12, "ema": 0.0})
    train_on_device(impatient, folder / "run", Budget("cpu"))
    with (folder / "run" / "metrics.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert 3 <= len(rows) < 20
    assert {"step", "seconds", "train/loss", "val/born_charges_mae"} <= rows[0].keys()
    assert [int(row["step"]) for row in rows] == sorted(int(row["step"]) for row in rows)


def test_time_of_the_processor_passes_only_with_work() -> None:
    clock = device_training._Clock(10.0, 0.0, time.process_time)
    time.sleep(0.2)
    assert clock.elapsed() < 0.1
