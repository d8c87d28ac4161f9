"""SEN in training: scaling from training crystals alone, auxiliary targets, folds, graphs on disk, exact resumption."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import ase
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from ase.build import bulk
from tests import crystals
from torch._subclasses.fake_tensor import FakeTensorMode

from voigt.errors import RecipeError
from voigt.graphs import collate
from voigt.models.checkpoint import load_model
from voigt.models.sen.capsules import CompetingParts
from voigt.models.sen.heads import CapsuleReadout
from voigt.models.sen.model import SEN
from voigt.training.checkpoints import read_checkpoint
from voigt.training.datamodule import CrystalDataModule, read_data, training_graph
from voigt.training.device import Budget, train_on_device
from voigt.training.module import TrainingModule, batch_loss
from voigt.training.recipe import Recipe, parse_recipe
from voigt.training.resident import BatchShape, ResidentGraphs
from voigt.training.run import TrainingStopped, train
from voigt.training.start import initial_network
from voigt.training.steps import Stepper

SALTS = {"Li": 0.9, "Na": 1.1, "K": 1.5, "Mg": 0.8, "Ca": 1.1}
SMALL = {"width": 12, "edge_width": 8, "embedding": 12, "composition_width": 8, "object_width": 8, "num_radial": 8,
         "part_capsules": 4, "object_capsules": 3, "loops": 2, "cutoff": 4.0}


def table(folder: Path) -> Path:
    """Rocksalts, half of them metals by label, in three folds; one large cell in a training fold."""
    rows: list[tuple[ase.Atoms, float, float, int]] = []
    for metal, radius in SALTS.items():
        for anion, size in {"F": 1.3, "Cl": 1.8, "O": 1.4, "S": 1.85}.items():
            atoms = bulk(metal + anion, "rocksalt", a=2 * (radius + size))
            gap = 3.0 * radius if anion in "FO" else 0.0
            rows.append((atoms, gap, -radius - 0.1 * size, len(rows) % 3))
    rows.append((crystals.rutile().repeat((2, 2, 1)), 1.0, -3.0, 1))
    content = {
        "mp_id": [f"c{k}" for k in range(len(rows))],
        "numbers": pa.array([atoms.numbers.tolist() for atoms, *_ in rows], pa.list_(pa.int16())),
        "cell": pa.array([atoms.cell.array.ravel().tolist() for atoms, *_ in rows], pa.list_(pa.float32())),
        "frac": pa.array([atoms.get_scaled_positions().ravel().tolist() for atoms, *_ in rows], pa.list_(pa.float32())),
        "band_gap": pa.array([row[1] for row in rows], pa.float32()),
        "formation_energy": pa.array([row[2] for row in rows], pa.float32()),
        "gap_fold": pa.array([row[3] for row in rows], pa.int8()),
    }
    pq.write_table(pa.table(content), folder / "table.parquet")
    return folder / "table.parquet"


def recipe(folder: Path, **changes: Any) -> Recipe:
    content: dict[str, Any] = {
        "name": "small",
        "data_root": str(folder),
        "data": [{"path": "table.parquet", "functional": "PBE"}],
        "model": {"method": "sen", **SMALL},
        "split": {"kind": "folds", "column": "gap_fold", "fold": 0, "val_fraction": 0.2},
        "targets": {"band_gap": {}, "formation_energy": {"auxiliary": True}},
        "optimizer": {"lr": 0.003, "warmup_steps": 0},
        "batch_size": 4,
        "epochs": 3,
    }
    return parse_recipe(content | changes, "test")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sen")
    table(folder)
    return folder


def readout(network: SEN, name: str) -> CapsuleReadout:
    found = network.readouts[name]
    assert isinstance(found, CapsuleReadout)
    return found


class TestScaling:
    def test_from_training_crystals_alone(self, world, tmp_path):
        """Labels of the test fold and of the validation crystals may be anything."""
        content = pq.read_table(world / "table.parquet").to_pydict()
        data = read_data(recipe(world))
        for part in ("val", "test"):
            for row in data.parts[part]:
                content["formation_energy"][row] += 100.0
                content["band_gap"][row] += 50.0
        schema = pq.read_schema(world / "table.parquet")
        pq.write_table(pa.table(content, schema=schema), tmp_path / "table.parquet")
        networks = [
            initial_network(recipe(folder), CrystalDataModule(recipe(folder), read_data(recipe(folder))).train_graphs)
            for folder in (world, tmp_path)
        ]
        for (name, one), other in zip(networks[0].named_parameters(), networks[1].parameters(), strict=True):
            assert torch.equal(one, other), name

    def test_what_is_fitted(self, world):
        """The mean of the labels, for a gap that of insulators; the deviation of what the elements do not explain."""
        chosen = recipe(world)
        data = read_data(chosen)
        train_crystals = data.select("train")
        network = initial_network(chosen, [training_graph(crystal, chosen) for crystal in train_crystals])
        assert isinstance(network, SEN)
        energy = np.array([float(crystal.targets["formation_energy"]) for crystal in train_crystals])
        gap = np.array([float(crystal.targets["band_gap"]) for crystal in train_crystals])
        assert readout(network, "formation_energy").bias.item() == pytest.approx(energy.mean(), rel=1e-5)
        assert readout(network, "band_gap").bias.item() == pytest.approx(gap[gap > 0].mean(), rel=1e-5)
        own = readout(network, "formation_energy")
        assert own.reference is not None
        weights = own.reference.weight.detach().double().numpy()[:, 0]
        explained = np.array([weights[crystal.atoms.numbers].mean() for crystal in train_crystals])
        assert float(own.scale) == pytest.approx((energy - energy.mean() - explained).std(), rel=1e-4)
        assert float(own.scale) < energy.std()
        assert not own.scale.requires_grad

    def test_large_cells_stay_out_of_training_only(self, world):
        small = recipe(world, split={**recipe(world).split.model_dump(), "max_train_atoms": 10})
        whole, limited = read_data(recipe(world)), read_data(small)
        assert max(whole.select("train").sizes()) > 10
        assert max(limited.select("train").sizes()) <= 10
        assert len(whole.parts["train"]) - len(limited.parts["train"]) == 1
        assert whole.parts["test"] == limited.parts["test"]
        assert whole.parts["val"] == limited.parts["val"]


class TestAuxiliary:
    def test_it_is_left_out_of_the_file(self, world, tmp_path):
        chosen = recipe(world)
        result = train(chosen, tmp_path / "run")
        loaded = load_model(result.model)
        assert loaded.hypers.properties == ("band_gap",)
        full = initial_network(chosen, CrystalDataModule(chosen, read_data(chosen)).train_graphs)
        best = read_checkpoint(tmp_path / "run" / "checkpoints" / "best.ckpt")["state_dict"]
        module = TrainingModule(chosen, full, 1)
        module.load_state_dict(best)
        batch = collate([training_graph(crystal, chosen) for crystal in read_data(chosen).crystals])
        with torch.no_grad():
            wanted, found = full.eval()(batch), loaded.members[0](batch)
        assert list(found) == ["band_gap"]
        torch.testing.assert_close(found["band_gap"], wanted["band_gap"])

    def test_it_does_not_choose_the_weights(self, world, tmp_path):
        train(recipe(world), tmp_path / "run")
        with (tmp_path / "run" / "metrics.csv").open(newline="") as stream:
            for row in csv.DictReader(stream):
                assert float(row["val/loss"]) == pytest.approx(float(row["val/band_gap"]))
                assert float(row["val/formation_energy"]) > 0

    def test_something_must_be_left(self, world):
        with pytest.raises(RecipeError, match="auxiliary"):
            recipe(world, targets={"band_gap": {"auxiliary": True}})


class TestRuns:
    def test_symmetry_tasks_and_every_loss_are_reported(self, world, tmp_path):
        model = {"method": "sen", **SMALL, "crystal_system": 0.1, "space_group": 0.1}
        train(recipe(world, model=model, epochs=1), tmp_path / "run")
        with (tmp_path / "run" / "metrics.csv").open(newline="") as stream:
            (row,) = csv.DictReader(stream)
        names = ("likelihood", "prior_sparsity", "posterior_sparsity", "reconstruction", "metal", "gap_size",
                 "crystal_system", "space_group")
        assert all(np.isfinite(float(row[f"train/{name}"])) for name in names)
        own = sum(float(row[f"train/{name}"]) for name in names)
        targets = float(row["train/band_gap"]) + float(row["train/formation_energy"])
        assert float(row["train/loss"]) == pytest.approx(own + targets, rel=1e-5)

    def test_stopped_and_resumed_from_a_store_is_the_same_run(self, world, tmp_path, monkeypatch):
        """Graphs in memory and never stopped, against graphs on disk and stopped in the second pass."""
        straight = train(recipe(world), tmp_path / "straight")
        stored = recipe(world, graph_store=str(tmp_path / "graphs"))
        step, count = TrainingModule.training_step, 0

        def counted(self: TrainingModule, batch: Any, index: int) -> torch.Tensor:
            nonlocal count
            count += 1
            if count == 4:
                raise KeyboardInterrupt
            return step(self, batch, index)

        with monkeypatch.context() as patch:
            patch.setattr(TrainingModule, "training_step", counted)
            with pytest.raises(TrainingStopped):
                train(stored, tmp_path / "run")
        resumed = train(stored, tmp_path / "run", resume=True)
        for (name, one), other in zip(
            straight.network.named_parameters(), resumed.network.parameters(), strict=True
        ):
            assert torch.equal(one, other), name
        assert resumed.seconds > 0


def test_fine_tuning_starts_at_the_trained_network(world, tmp_path):
    both = {"targets": {"band_gap": {}, "formation_energy": {}}}
    trained = train_on_device(recipe(world, **both, epochs=1), tmp_path, Budget())
    chosen = recipe(world, **both, finetune=str(trained.model), seed=1)
    tuned = initial_network(chosen, CrystalDataModule(chosen, read_data(chosen)).train_graphs)
    assert any(value.ndim == 0 for value in tuned.parameters())
    for (name, value), other in zip(trained.network.named_parameters(), tuned.named_parameters(), strict=True):
        assert torch.equal(value, other[1]), name


class TestOnADevice:
    """Capsules that compete, with both targets, in padded batches that nothing waits for."""

    def world(self, folder: Path) -> tuple[Recipe, CrystalDataModule, SEN, ResidentGraphs]:
        model = {"method": "sen", "routing": "competition", **SMALL}
        chosen = recipe(folder, model=model, targets={"band_gap": {}, "formation_energy": {}})
        module = CrystalDataModule(chosen, read_data(chosen))
        network = initial_network(chosen, module.train_graphs)
        assert isinstance(network, SEN)
        return chosen, module, network, ResidentGraphs(module.train_graphs, (), torch.device("cpu"))

    def test_an_idle_crystal_is_seen_by_nothing(self, world):
        chosen, module, _, resident = self.world(world)
        picked = [0, 3, 5]
        need = resident.need(np.array(picked))
        found = []
        for batch in (
            collate([module.train_graphs[k] for k in picked]),
            resident.batch(torch.tensor(picked), BatchShape(need.atoms + 7, need.orbits + 3, need.edges + 50)),
        ):
            again = initial_network(chosen, module.train_graphs)
            loss = batch_loss(again, batch, chosen)[0]
            loss.backward()
            found.append([loss, *(p.grad for p in again.parameters() if p.grad is not None), *again.parameters()])
        for one, other in zip(*found, strict=True):  # parameters too: running means and levels have moved
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)

    def test_no_step_asks_the_device_anything(self, world):
        chosen, module, network, resident = self.world(world)
        network(collate([module.train_graphs[k] for k in range(2)]))
        step = Stepper(chosen, network)
        shape = resident.need(np.array([1, 4]))
        with FakeTensorMode(allow_non_fake_inputs=True) as mode:
            step(resident.batch(mode.from_tensor(torch.tensor([1, 4])), shape))

    def test_it_trains(self, world, tmp_path):
        chosen = self.world(world)[0]
        result = train_on_device(chosen, tmp_path / "run", Budget())
        loaded = load_model(result.model).members[0]
        assert isinstance(loaded, SEN)
        assert isinstance(loaded.parts, CompetingParts)
        assert bool((loaded.parts.level != 0).all())
        assert set(result.metrics) >= {"val/band_gap_mae", "val/formation_energy_mae"}


def test_labels_of_the_other_benchmark_are_hidden_in_its_own_fold(world, tmp_path):
    """A crystal of the test fold of either task teaches nothing about that task; all others do."""
    content = pq.read_table(world / "table.parquet")
    other = [(k // 3) % 3 for k in range(len(content))]
    fold = content["gap_fold"].to_pylist()
    fold[1], fold[2] = None, None  # without a gap: placed by the other column
    content = content.set_column(content.column_names.index("gap_fold"), "gap_fold", pa.array(fold, pa.int8()))
    pq.write_table(content.append_column("e_form_fold", pa.array(other, pa.int8())), tmp_path / "table.parquet")
    split = {**recipe(world).split.model_dump(), "hidden": {"formation_energy": "e_form_fold"}}
    data = read_data(recipe(tmp_path, split=split, targets={"band_gap": {}, "formation_energy": {}}))
    place = [mine if mine is not None else his for mine, his in zip(fold, other, strict=True)]
    assert data.parts["test"] == [k for k, number in enumerate(place) if number == 0]
    assert sorted(data.parts["train"] + data.parts["val"]) == [k for k, number in enumerate(place) if number != 0]
    assert any(other[k] == 0 for k in data.parts["train"])
    for part in ("train", "val", "test"):
        members = data.parts[part]
        visible = np.isfinite(np.array(data.select(part).labels("formation_energy"), dtype=float))
        expected = [part == "test" or other[k] != 0 for k in members]
        assert visible.tolist() == expected
        assert [("formation_energy" in crystal.targets) for crystal in data.select(part)] == expected
        assert np.isfinite(np.array(data.select(part).labels("band_gap"), dtype=float)).all()
