"""Where training starts: at the trivial prediction, or at what another model knows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.training.synthetic import CUTOFF, labeled_crystals, recipe, write_data

from voigt.errors import RecipeError, WeightsError
from voigt.graphs import CrystalBatch, CrystalGraph, collate
from voigt.models.checkpoint import ModelCard, save_model
from voigt.models.equivar.model import Equivar
from voigt.models.goectp.model import GoeCTP
from voigt.models.network import Network
from voigt.training.datamodule import read_data, training_graph
from voigt.training.losses import total_loss
from voigt.training.recipe import Recipe, parse_recipe
from voigt.training.run import train
from voigt.training.start import _fill, initial_network


def graphs_of(tiny: Recipe, part: str = "train") -> list[CrystalGraph]:
    return [training_graph(crystal, tiny) for crystal in read_data(tiny).select(part)]


def stored(folder: Path, network: Network, *others: Network) -> str:
    path = folder / "source.safetensors"
    save_model([network, *others], path, ModelCard(elements=(7, 8, 12, 16, 20, 22)))
    return str(path)


def outputs(network: Network, batch: CrystalBatch) -> dict[str, torch.Tensor]:
    with torch.no_grad():
        return network(batch)


@pytest.fixture
def world(tmp_path):
    write_data(tmp_path)
    return tmp_path


class TestReferences:
    def test_charges_start_at_the_mean_of_their_element(self, world):
        tiny = recipe(world)
        crystals = read_data(tiny).select("train")
        network = initial_network(tiny, graphs_of(tiny))
        readout = network.readouts["born_charges"]
        for symbol, number in (("Mg", 12), ("O", 8), ("Ti", 22)):
            charges = np.concatenate([c.targets["born_charges"][c.atoms.symbols == symbol] for c in crystals])
            expected = np.trace(charges.mean(axis=0)) / 3 * np.eye(3)
            features = torch.zeros(1, 12, tiny.model.channels)
            with torch.no_grad():
                tensors = readout(features.expand(2, -1, -1), torch.tensor([number, 0]), {})
            np.testing.assert_allclose((tensors[0] - tensors[1]).numpy(), expected, atol=1e-5)

    def test_elements_that_were_not_seen_have_no_charge(self, world):
        tiny = recipe(world)
        reference = initial_network(tiny, graphs_of(tiny)).readouts["born_charges"].reference.weight
        assert torch.count_nonzero(reference[79]) == 0
        assert torch.count_nonzero(reference[8]) == 1

    def test_only_training_crystals_matter(self, world):
        tiny = recipe(world)
        frames = labeled_crystals()
        for atoms in frames[9:]:
            atoms.arrays["born_charges"] *= 10
        before = initial_network(tiny, graphs_of(tiny)).state_dict()
        write_data(world, frames)
        after = initial_network(tiny, graphs_of(tiny)).state_dict()
        assert all(torch.equal(before[key], after[key]) for key in before)

    def test_the_first_prediction_is_sensible(self, world):
        tiny = recipe(world)
        batch = collate(graphs_of(tiny))
        output = outputs(initial_network(tiny, graphs_of(tiny)), batch)
        for name in ("born_charges", "eps_inf"):
            label = batch.targets[name]
            trivial = (label - label.mean(dim=0)).abs().mean() if name == "eps_inf" else label.abs().mean()
            assert (output[name] - label).abs().mean() < 1.5 * trivial
        assert (output["born_charges"] - batch.targets["born_charges"]).abs().mean() < 0.4 * trivial_charge(batch)

    def test_absent_labels_are_left_out(self, world):
        tiny = recipe(world)
        frames = labeled_crystals()
        for atoms in frames[:9:2]:
            del atoms.arrays["born_charges"], atoms.info["eps_inf"]
        half = [atoms for atoms in frames if "eps_inf" in atoms.info]
        write_data(world, frames)
        padded = initial_network(tiny, graphs_of(tiny)).state_dict()
        write_data(world, half)
        bare = initial_network(tiny, graphs_of(tiny)).state_dict()
        assert all(torch.equal(value, padded[key]) for key, value in bare.items())

    def test_no_label_at_all_leaves_finite_weights(self, world):
        frames = labeled_crystals()
        frames[-1].info.update(piezo_total=[1.0] * 18, elastic=np.eye(6).ravel().tolist(), band_gap=1.0)
        write_data(world, frames)
        names = ("born_charges", "eps_inf", "piezo_total", "elastic", "band_gap")
        tiny = recipe(world, targets={name: {} for name in names})
        network = initial_network(tiny, graphs_of(tiny))
        assert all(torch.isfinite(parameter).all() for parameter in network.parameters())

    def test_seed_and_precision(self, world):
        graphs = graphs_of(recipe(world))
        first, same, other = (initial_network(recipe(world, seed=seed), graphs).state_dict() for seed in (3, 3, 4))
        assert all(torch.equal(first[key], same[key]) for key in first)
        assert not torch.equal(first["input.weight"], other["input.weight"])
        double = recipe(world, precision="64")
        assert {p.dtype for p in initial_network(double, graphs_of(double)).parameters()} == {torch.float64}


def trivial_charge(batch: CrystalBatch) -> torch.Tensor:
    return batch.targets["born_charges"].abs().mean()


class TestFineTuning:
    def test_starts_at_the_trained_model(self, world):
        tiny = recipe(world)
        source = initial_network(recipe(world, seed=7), graphs_of(tiny))
        tuned = initial_network(recipe(world, finetune=stored(world, source)), graphs_of(tiny))
        for (name, value), copied in zip(source.named_parameters(), tuned.parameters(), strict=True):
            assert torch.equal(value, copied), name

    def test_starts_lower_than_from_scratch(self, world):
        trained = train(recipe(world, epochs=40), world / "run").model
        write_data(world, labeled_crystals(seed=1))
        losses = {}
        for key, finetune in (("scratch", None), ("tuned", str(trained))):
            tiny = recipe(world, finetune=finetune)
            graphs = graphs_of(tiny)
            batch = collate(graphs)
            total, _ = total_loss(outputs(initial_network(tiny, graphs), batch), batch.targets, tiny.targets)
            losses[key] = total.item()
        assert losses["tuned"] < 0.6 * losses["scratch"]
        tuned = train(recipe(world, epochs=2, finetune=str(trained)), world / "tuned")
        scratch = train(recipe(world, epochs=2), world / "scratch")
        assert tuned.metrics["val/loss"] < scratch.metrics["val/loss"]

    def test_a_member_of_an_ensemble(self, world):
        graphs = graphs_of(recipe(world))
        members = [initial_network(recipe(world, seed=seed), graphs) for seed in (1, 2)]
        path = stored(world, *members)
        tuned = initial_network(recipe(world, finetune=path, member=1), graphs)
        assert torch.equal(tuned.input.weight, members[1].input.weight)
        with pytest.raises(RecipeError, match="has 2 members, there is no member 2"):
            initial_network(recipe(world, finetune=path, member=2), graphs)

    def test_other_hyper_parameters_are_named_with_their_values(self, world):
        graphs = graphs_of(recipe(world))
        path = stored(world, initial_network(recipe(world), graphs))
        with pytest.raises(RecipeError, match=r"must have cutoff = 4\.0, channels = 8$"):
            initial_network(recipe(world, finetune=path, model={"channels": 16, "cutoff": 5.0}), graphs)

    def test_no_such_model(self, world):
        with pytest.raises(WeightsError, match="no model 'absent'"):
            initial_network(recipe(world, finetune="absent"), graphs_of(recipe(world)))

    def test_a_new_property_starts_at_its_mean(self, world):
        frames = labeled_crystals()
        for k, atoms in enumerate(frames):
            atoms.info["formation_energy"] = -2.0 + 0.01 * k
        write_data(world, frames)
        graphs = graphs_of(recipe(world))
        path = stored(world, initial_network(recipe(world, seed=7), graphs))
        more = recipe(world, finetune=path, targets={"born_charges": {}, "formation_energy": {}})
        network = initial_network(more, graphs_of(more))
        energy = outputs(network, collate(graphs_of(more)))["formation_energy"]
        assert (energy + 2.0).abs().max() < 1.0
        assert torch.equal(network.input.weight, initial_network(recipe(world, seed=7), graphs).input.weight)


class TestFrozen:
    def test_frozen_blocks_keep_their_weights_and_the_rest_learns(self, world):
        deep = {"interactions": 2}
        source = initial_network(recipe(world, seed=7, model=deep), graphs_of(recipe(world)))
        tiny = recipe(world, finetune=stored(world, source), model=deep, frozen=1, epochs=1)
        tuned = train(tiny, world / "run").network
        given, kept = dict(source.named_parameters()), dict(tuned.named_parameters())
        for name in ("embedding.element.weight", "input.weight", "interactions.0.linear.weight"):
            assert torch.equal(given[name], kept[name]), name
        for name in ("interactions.1.linear.weight", "readouts.born_charges.weight"):
            assert not torch.equal(given[name], kept[name]), name

    def test_more_blocks_than_there_are(self, world):
        graphs = graphs_of(recipe(world))
        path = stored(world, initial_network(recipe(world), graphs))
        with pytest.raises(RecipeError, match="has 1 blocks of message passing: 2 cannot be frozen"):
            initial_network(recipe(world, finetune=path, frozen=2), graphs)

    def test_nothing_is_frozen_without_a_model_to_start_from(self, world):
        with pytest.raises(RecipeError, match="frozen and start_functionals need finetune"):
            recipe(world, frozen=1)


class TestNewElements:
    def test_start_as_the_mean_of_their_neighbors(self, world):
        """Strontium and beryllium are one period from what the model knows: calcium, and magnesium."""
        frames = labeled_crystals()
        for atoms in frames:
            atoms.symbols[atoms.symbols == "Ti"] = "Sr"
        write_data(world, frames)
        graphs = graphs_of(recipe(world))
        source = initial_network(recipe(world, seed=7), graphs)
        tuned = initial_network(recipe(world, finetune=stored(world, source)), graphs)
        given, rows = source.embedding.element.weight, tuned.embedding.element.weight
        assert torch.equal(rows[38], given[20])
        assert torch.equal(rows[20], given[20])
        charges = tuned.readouts["born_charges"].reference.weight
        assert torch.equal(charges[38], source.readouts["born_charges"].reference.weight[20])


class TestFunctionals:
    """A functional is known by its name, never by its place in the list."""

    @pytest.fixture
    def source(self, world) -> tuple[Equivar, str]:
        tiny = recipe(world, seed=7, model={"functionals": ["PBEsol", "PBE"]})
        network = initial_network(tiny, graphs_of(tiny))
        return network, stored(world, network)

    def predicted(self, network: Equivar, world: Path, functional: str | None) -> torch.Tensor:
        tiny = recipe(world, model={"functionals": list(network.hypers.functionals)})
        crystals = graphs_of(recipe(world))
        batch = collate(crystals)
        named = type(batch)(**{**vars(batch), "functional": (functional,) * batch.num_crystals})
        assert tiny.model.functionals == network.hypers.functionals
        return outputs(network, named)["born_charges"]

    def tuned(self, world: Path, path: str, *functionals: str) -> Equivar:
        tiny = recipe(world, finetune=path, model={"functionals": list(functionals)})
        return initial_network(tiny, graphs_of(recipe(world)))

    def test_a_new_one_starts_as_the_one_that_is_named(self, world, source):
        network, path = source
        changes = {"finetune": path, "start_functionals": {"SCAN": "PBE"}, "model": {"functionals": ["SCAN"]}}
        tuned = initial_network(recipe(world, **changes), graphs_of(recipe(world)))
        assert torch.equal(tuned.functional.weight[0], network.functional.weight[1])
        unknown = recipe(world, **{**changes, "start_functionals": {"SCAN": "LDA"}})
        with pytest.raises(RecipeError, match="has no functional 'LDA'; it has PBEsol, PBE"):
            initial_network(unknown, graphs_of(recipe(world)))

    def test_order_may_change(self, world, source):
        network, path = source
        turned = self.tuned(world, path, "PBE", "PBEsol")
        for name in ("PBE", "PBEsol"):
            assert torch.equal(self.predicted(turned, world, name), self.predicted(network, world, name))
        assert not torch.equal(self.predicted(turned, world, "PBE"), self.predicted(turned, world, "PBEsol"))

    def test_a_new_one_starts_as_the_default(self, world, source):
        network, path = source
        grown = self.tuned(world, path, "SCAN", "PBE")
        assert torch.equal(self.predicted(grown, world, "SCAN"), self.predicted(network, world, "PBEsol"))
        assert torch.equal(self.predicted(grown, world, "PBE"), self.predicted(network, world, "PBE"))

    def test_without_functionals_the_default_is_built_in(self, world, source):
        network, path = source
        plain = self.tuned(world, path)
        torch.testing.assert_close(self.predicted(plain, world, None), self.predicted(network, world, "PBEsol"))

    def test_from_a_model_without_functionals(self, world):
        source = initial_network(recipe(world, seed=7), graphs_of(recipe(world)))
        grown = self.tuned(world, stored(world, source), "PBEsol", "PBE")
        for name in ("PBE", "PBEsol"):
            torch.testing.assert_close(self.predicted(grown, world, name), self.predicted(source, world, None))


class TestOtherMethods:
    """Equivar's message passing goes into a GoeCTP built around it, and nothing else into anything else."""

    def goectp(self, world: Path, finetune: str | None = None, seed: int = 0, **model: object) -> Recipe:
        small = {"method": "goectp", "width": 8, "layers": 1, "hidden": 12, "cutoff": CUTOFF}
        content = {
            "name": "tiny",
            "data": [{"path": "data.extxyz"}],
            "targets": {"eps_inf": {}},
            "model": {**small, **model},
            "finetune": finetune,
            "seed": seed,
        }
        return parse_recipe(content, "test").model_copy(update={"data_root": str(world)})

    def equivar(self, world: Path, functionals: tuple[str, ...] = ()) -> Recipe:
        """With everything that a GoeCTP of `goectp` has inside."""
        own = {"num_radial": 16, "hidden": 32, "embedding": 32, "self_product": True, "functionals": list(functionals)}
        return recipe(world, seed=7, model=own)

    def start(self, tiny: Recipe) -> Network:
        return initial_network(tiny, graphs_of(tiny))

    @pytest.mark.parametrize("corrected", [False, True])
    def test_message_passing_of_an_equivar(self, world, corrected):
        source = self.start(self.equivar(world))
        tiny = self.goectp(world, stored(world, source), equivariant_readout=corrected)
        fresh, tuned = self.start(self.goectp(world, equivariant_readout=corrected)), self.start(tiny)
        assert isinstance(tuned, GoeCTP)
        own = dict(tuned.trunk.named_parameters())
        passing = {name: value for name, value in source.named_parameters() if name in own}
        assert set(passing) == set(own)
        assert all(torch.equal(value, own[name]) for name, value in passing.items())
        batch = collate(graphs_of(tiny))
        with torch.no_grad():
            features = [network.trunk.node_features(batch) for network in (source, tuned, fresh)]
        assert torch.equal(features[0], features[1])
        assert not torch.allclose(features[0], features[2])
        # What lies behind the message passing starts as it would without.
        behind = {name: value for name, value in fresh.named_parameters() if "trunk" not in name}
        assert behind
        assert all(torch.equal(value, tuned.get_parameter(name)) for name, value in behind.items())

    def test_functionals_of_an_equivar_by_name(self, world):
        source = self.start(self.equivar(world, ("PBEsol", "PBE")))
        path = stored(world, source)
        tuned = self.start(self.goectp(world, path, functionals=["PBE", "SCAN"]))
        for name, expected in (("PBE", "PBE"), ("SCAN", "PBEsol")):
            batch = collate([replace(graph, functional=name) for graph in graphs_of(recipe(world))])
            other = replace(batch, functional=(expected,) * batch.num_crystals)
            with torch.no_grad():
                assert torch.equal(tuned.trunk.node_features(batch), source.trunk.node_features(other))

    def test_other_message_passing_is_named(self, world):
        path = stored(world, self.start(self.equivar(world)))
        with pytest.raises(RecipeError, match=r"must have .*channels = 8") as caught:
            self.start(self.goectp(world, path, width=12))
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize("backbone", ["ecomformer", "icomformer", "crystalformer", "equivar"])
    def test_all_weights_of_a_goectp(self, world, backbone):
        source = self.start(self.goectp(world, seed=7, backbone=backbone))
        tiny = self.goectp(world, stored(world, source), backbone=backbone)
        tuned = self.start(tiny)
        for (name, value), copied in zip(source.named_parameters(), tuned.parameters(), strict=True):
            assert torch.equal(value, copied), name
        batch = collate(graphs_of(tiny))
        assert torch.equal(outputs(tuned, batch)["eps_inf"], outputs(source, batch)["eps_inf"])

    @pytest.mark.parametrize("backbone", ["ecomformer", "equivar"])
    def test_functionals_of_a_goectp(self, world, backbone):
        both = {"backbone": backbone, "functionals": ["PBEsol", "PBE"]}
        source = self.start(self.goectp(world, seed=7, **both))
        tuned = self.start(self.goectp(world, stored(world, source), **both))
        for name in both["functionals"]:
            batch = collate([replace(graph, functional=name) for graph in graphs_of(recipe(world))])
            batch = replace(batch, **frames_of(self.goectp(world, **both)))
            assert torch.equal(outputs(tuned, batch)["eps_inf"], outputs(source, batch)["eps_inf"])

    @pytest.mark.parametrize("backbone", ["ecomformer", "icomformer", "crystalformer"])
    def test_without_a_common_message_passing_methods_are_strangers(self, world, backbone):
        plain = self.goectp(world, backbone=backbone)
        paths = {"goectp": self.equivar(world), "equivar": plain}
        for wanted, given in paths.items():
            path = stored(world, self.start(given))
            tiny = self.goectp(world, path, backbone=backbone) if wanted == "goectp" else recipe(world, finetune=path)
            with pytest.raises(RecipeError, match=rf"is of method {given.model.method}, the recipe of {wanted}$"):
                self.start(tiny)

    def test_backbones_are_strangers_too(self, world):
        path = stored(world, self.start(self.goectp(world, backbone="ecomformer")))
        with pytest.raises(RecipeError, match="must have backbone = 'ecomformer'"):
            self.start(self.goectp(world, path, backbone="crystalformer"))


def frames_of(tiny: Recipe) -> dict[str, torch.Tensor]:
    batch = collate(graphs_of(tiny))
    names = ("lattice", "frames", "frame_crystal", "operations", "operation_crystal")
    return {name: getattr(batch, name) for name in names}


class TestMembers:
    """From one readout of a property to several, and back."""

    def network(self, world, **model):
        tiny = recipe(world, model={"element_reference": True, **model}, **({"teacher": "x"} if model else {}))
        return initial_network(tiny, graphs_of(recipe(world)))

    def test_there_and_back(self, world):
        one = self.network(world)
        several = self.network(world, members=3)
        again = self.network(world)
        _copy(one, several)
        for readout in several.readouts.values():
            assert torch.equal(readout.weight[..., 0], readout.weight[..., 2])
        with torch.no_grad():
            for readout in again.readouts.values():
                readout.weight.zero_()
                readout.reference.weight.zero_()
        _copy(several, again)
        for name, value in one.named_parameters():
            torch.testing.assert_close(dict(again.named_parameters())[name], value)

    def test_fine_tuning_a_network_that_stands_for_an_ensemble(self, world):
        several = self.network(world, members=3)
        path = stored(world, several)
        tiny = recipe(world, finetune=path)
        network = initial_network(tiny, graphs_of(tiny))
        batch = collate(graphs_of(tiny)[:3])
        for name, value in outputs(several, batch).items():
            torch.testing.assert_close(outputs(network, batch)[name], value, rtol=0.02, atol=0.02)


def _copy(source: Network, target: Network) -> None:
    with torch.no_grad():
        for name, parameter in target.named_parameters():
            _fill(parameter, dict(source.named_parameters())[name])
