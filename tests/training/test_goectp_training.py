"""GoeCTP in training: every backbone learns tensors, and frames drawn at random survive a stop."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ase
import numpy as np
import pytest
import torch
from ase.io import write
from ase.neighborlist import neighbor_list
from tests.training import synthetic

from voigt.graphs import collate
from voigt.models.checkpoint import load_model
from voigt.training.checkpoints import checkpoint_bytes, read_checkpoint
from voigt.training.crossval import cross_validate, fold_data
from voigt.training.datamodule import read_data, training_graph
from voigt.training.losses import total_loss
from voigt.training.module import TrainingModule
from voigt.training.recipe import Recipe, parse_recipe
from voigt.training.run import TrainingStopped, train
from voigt.training.start import initial_network

CUTOFF = 4.0
STRENGTH = {"Mg": 0.4, "Ca": 0.8, "Ti": 1.6, "O": 1.0, "S": 1.4, "N": 0.6}


def figures(file: Path) -> list[dict[str, str]]:
    """The table of a run but for the time that it took."""
    with file.open(newline="") as stream:
        return [{key: value for key, value in row.items() if key != "seconds"} for row in csv.DictReader(stream)]


def permittivity(atoms: ase.Atoms) -> np.ndarray:
    """eps = 1 + 1/N sum_i sum_j a_j w(r) d d^T / r^2 over all images within the cutoff, w = 1 + cos(pi r / CUTOFF)."""
    neighbor, vector, distance = neighbor_list("jDd", atoms, CUTOFF)
    strength = np.array([STRENGTH[symbol] for symbol in atoms.symbols])[neighbor]
    weight = strength * (1.0 + np.cos(np.pi * distance / CUTOFF)) / distance**2
    return np.eye(3) + np.einsum("e,ei,ej->ij", weight, vector, vector) / len(atoms)


def world_of(folder: Path, frames: Sequence[ase.Atoms]) -> Path:
    """Write labeled frames; the last quarter is the validation split."""
    for k, atoms in enumerate(frames):
        part = "val" if k >= 0.75 * len(frames) else "train"
        atoms.info.update(id=f"{k}", split=part, functional="PBE", eps_inf=permittivity(atoms).ravel().tolist())
    write(folder / "data.extxyz", list(frames), format="extxyz")
    return folder


def skewed() -> list[ase.Atoms]:
    """Two frames each: a triclinic lattice looks the same from Q and -Q."""
    return [synthetic.crystal(formula, 10 + k) for k, formula in enumerate(synthetic.FORMULAS)]


def cubic() -> list[ase.Atoms]:
    """48 frames each: a cubic lattice with atoms off their places."""
    frames = skewed()
    for atoms in frames:
        atoms.set_cell(4.0 * np.eye(3), scale_atoms=True)
    return frames


def recipe(folder: Path, model: dict[str, Any] | None = None, **changes: Any) -> Recipe:
    small = {"method": "goectp", "backbone": "ecomformer", "frame": "stochastic", "width": 8, "layers": 1, "heads": 2}
    content: dict[str, Any] = {
        "name": "tiny",
        "data": [{"path": "data.extxyz"}],
        "model": {**small, "hidden": 8, "num_radial": 8, "cutoff": CUTOFF, **(model or {})},
        "targets": {"eps_inf": {"loss": "relative"}},
        "optimizer": {"lr": 0.01, "warmup_steps": 2, "ema": 0.9},
        "batch_size": 3,
        "epochs": 4,
        **changes,
    }
    return parse_recipe(content, "test").model_copy(update={"data_root": str(folder)})


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return world_of(tmp_path_factory.mktemp("cubic"), cubic())


def last_weights(folder: Path) -> dict[str, torch.Tensor]:
    """Running average, current weights and moments of the optimizer in the last checkpoint."""
    state = read_checkpoint(folder / "checkpoints" / "last.ckpt")
    found = {f"average.{name}": value for name, value in state["state_dict"].items()}
    found |= {f"current.{name}": value for name, value in state["current_model_state"].items()}
    for number, moments in state["optimizer_states"][0]["state"].items():
        found |= {f"optimizer.{number}.{name}": value for name, value in moments.items()}
    return found


def same_weights(first: Path, second: Path) -> bool:
    one, other = last_weights(first), last_weights(second)
    assert one.keys() == other.keys()
    return all(torch.equal(value, other[name]) for name, value in one.items())


def stop_at(monkeypatch: pytest.MonkeyPatch, call: int) -> None:
    step, count = TrainingModule.training_step, 0

    def counted(self: TrainingModule, batch: Any, index: int) -> torch.Tensor:
        nonlocal count
        count += 1
        if count == call:
            raise KeyboardInterrupt
        return step(self, batch, index)

    monkeypatch.setattr(TrainingModule, "training_step", counted)


@pytest.fixture(scope="module")
def straight(world: Path) -> Path:
    """A run that was never stopped."""
    train(recipe(world), world / "straight")
    return world / "straight"


class TestRandomFrames:
    @pytest.mark.parametrize("step", [4, 8, 11], ids=["first step of a pass", "inside a pass", "last pass"])
    def test_a_stopped_and_resumed_run_draws_what_the_unstopped_one_drew(
        self, world, straight, tmp_path, monkeypatch, step
    ):
        with monkeypatch.context() as patch:
            stop_at(patch, step)
            with pytest.raises(TrainingStopped):
                train(recipe(world), tmp_path / "run")
        torch.manual_seed(99)  # another process, another state
        torch.rand(7)
        train(recipe(world), tmp_path / "run", resume=True)
        assert same_weights(tmp_path / "run", straight)
        tables = [figures(folder / "metrics.csv") for folder in (tmp_path / "run", straight)]
        assert tables[0] == tables[1]

    def test_with_validations_between_the_ends_of_passes(self, world, tmp_path, monkeypatch):
        tiny = recipe(world, steps_per_checkpoint=2, epochs=2)
        train(tiny, tmp_path / "straight")
        with monkeypatch.context() as patch:
            stop_at(patch, 6)
            with pytest.raises(TrainingStopped):
                train(tiny, tmp_path / "run")
        train(tiny, tmp_path / "run", resume=True)
        assert same_weights(tmp_path / "run", tmp_path / "straight")

    def test_equal_seeds_draw_equal_frames_whatever_was_drawn_before(self, world, straight, tmp_path):
        torch.manual_seed(1234)
        train(recipe(world), tmp_path / "again")
        assert same_weights(tmp_path / "again", straight)

    def test_the_draws_matter(self, world, straight, tmp_path, monkeypatch):
        """The first of the frames instead of a random one: other weights (else nothing above would be tested)."""
        monkeypatch.setattr("voigt.models.goectp.views.torch.rand", torch.zeros)
        train(recipe(world), tmp_path / "first")
        assert not same_weights(tmp_path / "first", straight)

    def test_a_checkpoint_of_a_run_without_draws_is_continued(self, world, straight, tmp_path, monkeypatch):
        """Checkpoints written before networks drew anything hold no state of random numbers."""
        tiny = recipe(world, {"frame": "average"}, epochs=2)
        train(tiny, tmp_path / "straight")
        with monkeypatch.context() as patch:
            stop_at(patch, 5)
            with pytest.raises(TrainingStopped):
                train(tiny, tmp_path / "run")
        path = tmp_path / "run" / "checkpoints" / "last.ckpt"
        state = read_checkpoint(path)
        del state["callbacks"]["RunRecord"]["random"]
        path.write_bytes(checkpoint_bytes(state))
        train(tiny, tmp_path / "run", resume=True)
        assert same_weights(tmp_path / "run", tmp_path / "straight")

    def test_validation_is_the_mean_over_all_frames(self, world, straight):
        """Figures of the best validation, worked out here from the model file with frame 'average'."""
        loaded = load_model(straight / "tiny.safetensors")
        average = recipe(world, {"frame": "average"})
        network = initial_network(average, graphs_of(average))
        network.load_state_dict(loaded.members[0].state_dict())
        batch = collate(graphs_of(average, "val"))
        with torch.no_grad():
            difference = (network.eval()(batch)["eps_inf"] - batch.targets["eps_inf"]).flatten(1).norm(dim=1)
        relative = difference / batch.targets["eps_inf"].flatten(1).norm(dim=1)
        assert float(relative.mean()) == pytest.approx(loaded.card.metrics["val/eps_inf"], rel=1e-4)


def graphs_of(tiny: Recipe, part: str = "train") -> list[Any]:
    return [training_graph(crystal, tiny) for crystal in read_data(tiny).select(part)]


@pytest.mark.parametrize(
    "model",
    [
        {"backbone": "ecomformer", "layers": 2},
        {"backbone": "icomformer", "layers": 2},
        {"backbone": "crystalformer", "layers": 2},
        {"backbone": "equivar", "layers": 1},
        {"backbone": "equivar", "layers": 1, "equivariant_readout": True},
    ],
    ids=lambda model: "-".join(map(str, model.values())),
)
def test_every_backbone_learns_a_tensor(tmp_path, model):
    """A hundred steps lead from isotropic values per element to less than what any isotropic tensor would leave."""
    tiny = recipe(world_of(tmp_path, skewed()), {**model, "frame": "average"})
    graphs = graphs_of(tiny)
    batch, network = collate(graphs), initial_network(tiny, graphs)
    labels = batch.targets["eps_inf"]
    deviator = labels - labels.diagonal(dim1=1, dim2=2).mean(dim=1)[:, None, None] * torch.eye(3)
    isotropic = float((deviator.flatten(1).norm(dim=1) / labels.flatten(1).norm(dim=1)).mean())
    assert isotropic > 0.2  # there are directions to be learned
    optimizer = torch.optim.Adam(network.parameters(), lr=0.02)
    losses = []
    for _ in range(100):
        loss, _ = total_loss(network(batch), batch.targets, tiny.targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.6 * isotropic
    assert losses[-1] < 0.4 * losses[0]


@pytest.fixture(scope="module")
def crossed(world: Path) -> Path:
    cross_validate(recipe(world, epochs=2), 3, world / "cv")
    return world / "cv"


class TestCrossValidation:
    """One network per fold: the released script trained a single one through all folds, which so saw their tests."""

    def test_a_fold_does_not_depend_on_those_before_it(self, world, crossed, tmp_path):
        tiny = recipe(world, epochs=2)
        fold = fold_data(read_data(tiny), tiny, 3)[2]
        train(tiny.model_copy(update={"seed": 2}), tmp_path / "alone", data=fold)
        assert same_weights(tmp_path / "alone", crossed / "fold-2")

    def test_labels_of_the_held_out_fold_touch_no_weight(self, world, crossed, tmp_path):
        tiny = recipe(world, epochs=2)
        fold = fold_data(read_data(tiny), tiny, 3)[1]
        for part, same in (("val", True), ("train", False)):
            frames = cubic()
            world_of(tmp_path, frames)
            for k in fold.parts[part]:
                frames[k].info["eps_inf"] = (10 * permittivity(frames[k])).ravel().tolist()
            write(tmp_path / "data.extxyz", frames, format="extxyz")
            other = recipe(tmp_path, epochs=2, seed=1)
            changed = fold_data(read_data(other), other, 3)[1]
            assert changed.parts == fold.parts
            train(other, tmp_path / part, data=changed)
            assert same_weights(tmp_path / part, crossed / "fold-1") == same
