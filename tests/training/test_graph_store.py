"""A store gives the very graphs that were put in, is never half, and never passes for another one."""

from __future__ import annotations

import json
import logging
import pickle
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from tests import crystals
from tests.training.synthetic import labeled_crystals, recipe, write_data
from torch.utils.data import DataLoader

from voigt.data import LabeledCrystal, read_labeled
from voigt.errors import InputError, OutputError, RecipeError
from voigt.graphs import AxesOptions, CrystalGraph, collate
from voigt.graphs import building as graph_building
from voigt.graphs.building import GraphOptions, build_store, structure_graph
from voigt.models.methods import build_network
from voigt.training import graph_store
from voigt.training.datamodule import (
    BudgetBatches,
    CrystalDataModule,
    graph_options,
    open_graph_store,
    read_data,
    stored_graphs,
    training_graph,
)
from voigt.training.graph_store import GraphStore, all_numbers, all_targets, edge_counts, open_or_build, store_key
from voigt.training.start import fit_references

REDUCED = GraphOptions(4.0, symprec=1e-3)


@pytest.fixture
def entries() -> list[LabeledCrystal]:
    """Crystals with and without symmetry, of one to eight atoms."""
    atoms = [crystals.rutile(), *labeled_crystals(), crystals.rutile()]
    return [LabeledCrystal(f"c{k}", "f.extxyz", one, {}, None, "", "") for k, one in enumerate(atoms)]


def same(first: CrystalGraph, second: CrystalGraph) -> bool:
    for field in fields(CrystalGraph):
        a, b = getattr(first, field.name), getattr(second, field.name)
        if isinstance(a, torch.Tensor):
            equal = b is not None and a.dtype == b.dtype and a.shape == b.shape and torch.equal(a, b)
        elif field.name == "targets":
            equal = a.keys() == b.keys() and all(torch.allclose(a[k], b[k], 0, 0, equal_nan=True) for k in a)
        else:
            equal = field.name == "notes" or a == b
        if not equal:
            return False
    return True


def built(folder: Path, entries: list[LabeledCrystal], options: GraphOptions = REDUCED, processes: int = 1):
    return open_or_build(folder / "store", entries, store_key(options, [{"content": "abc"}], len(entries)), processes)


@pytest.mark.filterwarnings("error::UserWarning")  # torch on arrays that are not writable
class TestContent:
    @pytest.mark.parametrize(
        "options",
        [
            REDUCED,
            GraphOptions(4.0),
            GraphOptions(4.0, neighbors="mic", symprec=1e-3, precision="64"),
            GraphOptions(4.0, symprec=1e-3, rotations=False),
            GraphOptions(4.0, symprec=1e-3, frame=AxesOptions("average", "niggli", reduce=True)),
            GraphOptions(4.0, frame=AxesOptions("none", "niggli")),
        ],
    )
    def test_graphs_come_back_bit_for_bit(self, tmp_path, entries, options):
        store = built(tmp_path, entries, options)
        assert len(store) == len(entries)
        for entry, graph in zip(entries, store, strict=True):
            assert same(structure_graph(entry.atoms, options), graph)

    def test_rotations_are_left_out_only_if_unwanted(self, tmp_path, entries):
        assert built(tmp_path, entries)[0].rotation.shape == (6, 3, 3)
        assert built(tmp_path / "lean", entries, replace(REDUCED, rotations=False))[0].rotation is None
        assert not (tmp_path / "lean/store/rotation.npy").exists()

    def test_processes_keep_the_order(self, tmp_path, entries, monkeypatch):
        monkeypatch.setattr(graph_building, "CHUNK", 2)
        one, two = built(tmp_path / "a", entries), built(tmp_path / "b", entries, processes=2)
        assert all(same(a, b) for a, b in zip(one, two, strict=True))

    def test_a_pickled_store_opens_its_files_anew(self, tmp_path, entries):
        store = built(tmp_path, entries)
        content = pickle.dumps(store)
        assert len(content) < 1000  # the path, not the arrays
        assert same(pickle.loads(content)[3], store[3])

    def test_indices(self, tmp_path, entries):
        store = built(tmp_path, entries)
        for index in (-1, len(entries)):
            with pytest.raises(IndexError):
                store[index]

    def test_changing_a_graph_leaves_the_files_alone(self, tmp_path, entries):
        store = built(tmp_path, entries)
        before = store[0].cell.clone()
        store[0].cell.zero_()
        assert torch.equal(GraphStore(store.folder)[0].cell, before)


class TestKey:
    @pytest.mark.parametrize(
        ("change", "words"),
        [
            ({"cutoff": 5.0}, "cutoff = 4.0 instead of 5.0"),
            ({"symprec": 1e-2}, "symprec = 0.001 instead of 0.01"),
            ({"neighbors": "mic"}, "neighbors = 'all' instead of 'mic'"),
            ({"precision": "64"}, "precision"),
            ({"frame": AxesOptions("single", "niggli")}, "frame = None"),
        ],
    )
    def test_other_options_are_named(self, tmp_path, entries, change, words):
        built(tmp_path, entries)
        with pytest.raises(RecipeError, match=words) as caught:
            built(tmp_path, entries, replace(REDUCED, **change))
        assert "give graph_store another folder" in str(caught.value)

    def test_other_data(self, tmp_path, entries):
        built(tmp_path, entries)
        with pytest.raises(RecipeError, match="crystals = 14 instead of 13"):
            built(tmp_path, entries[1:])
        with pytest.raises(RecipeError, match=r"data = .*'abc'.* instead of .*'abd'"):
            open_or_build(tmp_path / "store", entries, store_key(REDUCED, [{"content": "abd"}], 14), 1)

    def test_rotations_more_than_needed_are_welcome_but_not_less(self, tmp_path, entries):
        built(tmp_path, entries)
        assert built(tmp_path, entries, replace(REDUCED, rotations=False))[0].rotation is None
        built(tmp_path / "lean", entries, replace(REDUCED, rotations=False))
        with pytest.raises(RecipeError, match="rotations = False instead of True"):
            built(tmp_path / "lean", entries)

    def test_a_store_is_not_built_twice(self, tmp_path, entries, monkeypatch):
        built(tmp_path, entries)
        monkeypatch.setattr(graph_store, "build_store", lambda *_: pytest.fail("built again"))
        built(tmp_path, entries)

    def test_folders_with_other_things_are_left_alone(self, tmp_path, entries):
        (tmp_path / "store").mkdir()
        (tmp_path / "store/thesis.txt").write_text("mine")
        with pytest.raises(RecipeError, match="is no graph store"):
            built(tmp_path, entries)
        assert (tmp_path / "store/thesis.txt").read_text() == "mine"

    def test_other_versions_and_damage(self, tmp_path, entries):
        folder = built(tmp_path, entries).folder
        manifest = json.loads((folder / "manifest.json").read_text())
        (folder / "manifest.json").write_text(json.dumps({**manifest, "format": 0}))
        with pytest.raises(RecipeError, match="of format 0, not 1"):
            built(tmp_path, entries)
        (folder / "manifest.json").write_text(json.dumps(manifest))
        (folder / "edge_vector.npy").write_bytes((folder / "edge_vector.npy").read_bytes()[:-100])
        with pytest.raises(RecipeError, match="is damaged"):
            built(tmp_path, entries)

    @pytest.mark.parametrize(
        "changes",
        [
            {"fields": 5},
            {"fields": ["numbers"]},
            {"axes": ["../../start"]},
            {"axes": [["atoms"]]},
            {"crystals": "14"},
            {"crystals": True},
            {"key": []},
            {"index_type": "O"},
        ],
    )
    def test_a_manifest_of_the_wrong_types(self, tmp_path, entries, changes):
        folder = built(tmp_path, entries).folder
        manifest = json.loads((folder / "manifest.json").read_text())
        (folder / "manifest.json").write_text(json.dumps({**manifest, **changes}))
        with pytest.raises(RecipeError, match=r"manifest of the graph store .* is damaged; remove the folder"):
            GraphStore(folder)

    def test_a_manifest_that_nests(self, tmp_path, entries):
        folder = built(tmp_path, entries).folder
        (folder / "manifest.json").write_text("[" * 100_000)
        with pytest.raises(RecipeError, match="is no graph store"):
            GraphStore(folder)

    def test_arrays_that_do_not_fit(self, tmp_path, entries):
        folder = built(tmp_path, entries).folder
        whole = {name: np.load(folder / f"{name}.npy") for name in ("numbers", "cell", "start_atoms")}
        wrong = {
            "numbers": [whole["numbers"][:-1], whole["numbers"].astype(float), whole["numbers"][:, None]],
            "cell": [whole["cell"][1:], whole["cell"].reshape(-1, 9)],
            "start_atoms": [whole["start_atoms"][::-1], whole["start_atoms"][:-1], whole["start_atoms"] + 1],
        }
        for name, arrays in wrong.items():
            for array in arrays:
                np.save(folder / f"{name}.npy", array)
                with pytest.raises(RecipeError, match=r"is damaged .*; remove the folder"):
                    GraphStore(folder)
            np.save(folder / f"{name}.npy", whole[name])
        assert len(GraphStore(folder)) == len(entries)

    def test_an_array_that_would_run_code(self, tmp_path, entries):
        folder = built(tmp_path, entries).folder

        class Touch:
            def __reduce__(self):
                return Path.touch, (tmp_path / "mark",)

        for array in (np.array([Touch()] * 4), np.array([Touch()])[:0]):
            np.save(folder / "numbers.npy", array, allow_pickle=True)
            with pytest.raises(RecipeError, match="is damaged"):
                GraphStore(folder)
        assert not (tmp_path / "mark").exists()

    def test_a_length_that_the_file_does_not_have(self, tmp_path, entries):
        folder = built(tmp_path, entries).folder
        for name in ("start_atoms", "numbers"):
            with (folder / f"{name}.npy").open("wb") as file:
                kind = {"descr": "<i8", "fortran_order": False, "shape": (10**13,)}
                np.lib.format.write_array_header_1_0(file, kind)
            with pytest.raises(RecipeError, match="is damaged"):
                GraphStore(folder)


class TestInterruption:
    def test_nothing_is_left(self, tmp_path, entries, monkeypatch):
        monkeypatch.setattr(graph_building, "CHUNK", 2)
        original, calls = graph_building._build_chunk, []

        def interrupted(*arguments, **options):
            calls.append(1)
            if len(calls) == 4:
                raise KeyboardInterrupt
            return original(*arguments, **options)

        monkeypatch.setattr(graph_building, "_build_chunk", interrupted)
        with pytest.raises(KeyboardInterrupt):
            built(tmp_path, entries)
        assert list(tmp_path.iterdir()) == []

    def test_what_a_killed_build_leaves_is_not_taken_for_a_store(self, tmp_path, entries, monkeypatch):
        monkeypatch.setattr(graph_building.shutil, "rmtree", lambda *_, **__: None)
        monkeypatch.setattr(graph_building, "_publish", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            built(tmp_path, entries)
        assert not (tmp_path / "store").exists()
        monkeypatch.undo()
        assert same(built(tmp_path, entries)[0], structure_graph(entries[0].atoms, REDUCED))

    def test_a_faster_neighbor_wins(self, tmp_path, entries, monkeypatch):
        """Two trainings that start together build the same store."""
        original = graph_building._write

        def slow(*arguments):
            original(*arguments)
            monkeypatch.setattr(graph_building, "_write", original)
            build_store(tmp_path / "store", entries, arguments[3], 1)

        monkeypatch.setattr(graph_building, "_write", slow)
        assert len(built(tmp_path, entries)) == len(entries)
        assert [path.name for path in tmp_path.iterdir()] == ["store"]

    def test_a_full_disk_is_said(self, tmp_path, entries, monkeypatch):
        def full(*_):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(graph_building, "_write", full)
        with pytest.raises(OutputError, match="No space left on device; free space"):
            built(tmp_path, entries)
        assert list(tmp_path.iterdir()) == []

    def test_all_crystals_without_a_graph_are_named(self, tmp_path, entries, monkeypatch):
        monkeypatch.setattr("voigt.structures.symmetry.space_group.search_operations", lambda *_: None)
        monkeypatch.setattr("spglib.get_symmetry_dataset", lambda *_, **__: None)
        with pytest.raises(InputError, match=r"f\.extxyz, id c0: .*symmetry: 0\.001.*null") as caught:
            built(tmp_path, entries)
        assert "id c9" in str(caught.value)
        assert "4 more" in str(caught.value)
        assert list(tmp_path.iterdir()) == []

    def test_progress_is_told(self, tmp_path, entries, monkeypatch, caplog):
        monkeypatch.setattr(graph_building, "CHUNK", 5)
        clock = iter(range(0, 10**6, 45))
        monkeypatch.setattr(graph_building.time, "monotonic", lambda: next(clock))
        with caplog.at_level(logging.INFO, "voigt.training"):
            built(tmp_path, entries)
        assert "graphs: 10 of 14 crystals" in caplog.text


@pytest.fixture
def world(tmp_path):
    """A file with absent labels, and its recipe with a store."""
    frames = labeled_crystals()
    del frames[0].info["eps_inf"], frames[1].arrays["born_charges"]
    write_data(tmp_path, frames)
    return recipe(tmp_path, graph_store=str(tmp_path / "store"), model={"functionals": ["PBE"]})


class TestTraining:
    def test_batches_are_those_of_graphs_in_memory(self, world):
        data = read_data(world)
        stored = CrystalDataModule(world, data)
        memory = CrystalDataModule(world.model_copy(update={"graph_store": None}), data)
        for name in ("train_graphs", "val_graphs"):
            ours, known = getattr(stored, name), getattr(memory, name)
            assert len(ours) == len(known) > 0
            assert all(same(a, b) for a, b in zip(ours, known, strict=True))
            assert edge_counts(ours).tolist() == [graph.num_edges for graph in known]
            assert BudgetBatches(ours, 500).batches == BudgetBatches(known, 500).batches
            assert torch.equal(torch.cat(all_numbers(ours)), torch.cat([graph.numbers for graph in known]))
            for target in world.targets:
                torch.testing.assert_close(
                    all_targets(ours, target), torch.cat([g.targets[target] for g in known]), rtol=0, atol=0,
                    equal_nan=True,
                )  # fmt: skip

    def test_one_store_for_other_targets_splits_and_networks(self, world, monkeypatch):
        CrystalDataModule(world, read_data(world))
        monkeypatch.setattr(graph_store, "build_store", lambda *_: pytest.fail("built again"))
        other = recipe(
            Path(world.data_root),
            graph_store=world.graph_store,
            targets={"eps_inf": {}},
            split={"kind": "formula", "fractions": [0.5, 0.25, 0.25], "seed": 1, "max_train": 3},
            model={"channels": 4},
        )
        data = read_data(other)
        module = CrystalDataModule(other, data)
        assert len(module.train_graphs) == 3
        for graph, crystal in zip(module.train_graphs, data.select("train"), strict=True):
            assert same(graph, training_graph(crystal, other))
        rest = stored_graphs(open_graph_store(other, data), other, data, "test")
        assert [graph.num_atoms for graph in rest] == [len(crystal.atoms) for crystal in data.select("test")]

    def test_references_are_those_of_graphs_in_memory(self, world):
        data = read_data(world)
        results = []
        for settings in (world, world.model_copy(update={"graph_store": None})):
            torch.manual_seed(0)
            network = build_network(settings.model)
            fit_references(network, CrystalDataModule(settings, data).train_graphs)
            results.append(network.state_dict())
        assert all(torch.equal(value, results[1][name]) for name, value in results[0].items())
        assert float(results[0]["readouts.born_charges.reference.weight"].abs().max()) > 1

    @pytest.mark.parametrize("context", ["fork", "spawn"])
    def test_worker_processes(self, world, context):
        data = read_data(world)
        graphs = stored_graphs(open_graph_store(world, data), world, data, "train")
        loader = DataLoader(graphs, 3, collate_fn=collate, num_workers=1, multiprocessing_context=context)
        vectors = torch.cat([batch.edge_vector for batch in loader])
        assert torch.equal(vectors, torch.cat([graph.edge_vector for graph in graphs]))

    def test_workers_change_nothing(self, world):
        data = read_data(world)
        own, helped = (
            list(CrystalDataModule(world.model_copy(update={"workers": n}), data).train_dataloader()) for n in (0, 1)
        )
        assert len(own) == len(helped) == 4
        assert all(torch.equal(a.edge_vector, b.edge_vector) for a, b in zip(own, helped, strict=True))

    def test_labels_of_a_table(self, tmp_path):
        content = [
            {"numbers": atoms.numbers.tolist(), "cell": atoms.cell.array.ravel().tolist(), "split": split,
             "frac": atoms.get_scaled_positions().ravel().tolist(), "mp_id": f"mp-{k}", "band_gap": gap}
            for k, (atoms, split, gap) in enumerate(
                zip(labeled_crystals()[:4], ["train", "val", "train", "train"], [1.5, 2.5, None, 3.5], strict=True)
            )
        ]  # fmt: skip
        pq.write_table(pa.Table.from_pylist(content), tmp_path / "t.parquet")
        scalars = recipe(
            tmp_path, data=[{"path": "t.parquet"}], targets={"band_gap": {}}, graph_store=str(tmp_path / "store")
        )
        module = CrystalDataModule(scalars, read_data(scalars))
        np.testing.assert_array_equal(all_targets(module.train_graphs, "band_gap").numpy(), [1.5, np.nan, 3.5])
        assert module.train_graphs[2].targets["band_gap"].tolist() == [3.5]
        assert module.train_graphs[2].targets["band_gap"].dtype == torch.float32
        assert [graph.targets["band_gap"].tolist() for graph in module.val_graphs] == [[2.5]]
        table = read_labeled(tmp_path / "t.parquet", ["band_gap"])
        bare = replace(module.train_graphs[1], targets={})
        assert same(bare, structure_graph(table[2].atoms, graph_options(scalars)))
