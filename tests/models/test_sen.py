"""SEN as a whole: equal atoms, batches, noise, directions, the cutoff, losses, training."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import ase
import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import spglib
import torch
from tests import crystals

from voigt.errors import DomainError
from voigt.graphs import CrystalBatch, CrystalGraph, build_graph, collate
from voigt.models.sen.explanation import Explanation, explain
from voigt.models.sen.hypers import SENHypers
from voigt.models.sen.model import SEN
from voigt.structures.symmetry import find_symmetry
from voigt.training.start import fit_references

CUTOFF = 4.0
ALL_TASKS = {"properties": ("formation_energy", "band_gap"), "crystal_system": 0.1, "space_group": 0.1}
SYMMETRIC = {
    "rutile": crystals.rutile,
    "quartz": crystals.quartz,
    "CaTiO3": crystals.calcium_titanate,
    "corundum": crystals.corundum,
    "baddeleyite": crystals.baddeleyite,
    "CuWO4": crystals.copper_tungstate,
    "NaCl supercell": lambda: crystals.rocksalt(cubic=True).repeat((2, 1, 1)),
    "improper": lambda: crystals.rotated(crystals.quartz(), crystals.random_rotation(7, -1)),
}


def network(**options: object) -> SEN:
    """Small, an insulator's gap, and every parameter at work: capsules, which whisper at first, speak up."""
    torch.manual_seed(5)
    small = {"width": 16, "edge_width": 8, "loops": 2, "num_radial": 12, "direction_width": 4, "cutoff": CUTOFF}
    more = {"composition_width": 8, "embedding": 12, "part_capsules": 6, "part_features": 4, "object_capsules": 4}
    rest = {"object_width": 8, "object_layers": 2, "average_neighbors": 4.0, "properties": ("formation_energy",)}
    model = SEN(SENHypers(**{**small, **more, **rest, **options}))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("part_weight"):
                parameter.mul_(20.0)
            elif parameter.unique().numel() == 1:
                parameter.add_(torch.randn_like(parameter), alpha=0.3)
        if model.metal is not None:
            model.metal.bias.fill_(-2.0)
            model.readouts["band_gap"].bias.fill_(2.0)
    return model.double().eval()


def graph(atoms: ase.Atoms, reduced: bool = False, **given: object) -> CrystalGraph:
    symmetry = find_symmetry(atoms) if reduced else None
    return build_graph(atoms, CUTOFF, symmetry=symmetry, dtype=torch.float64, **given)


def batch_of(*structures: ase.Atoms, reduced: bool = False) -> CrystalBatch:
    return collate([graph(atoms, reduced) for atoms in structures])


def energy(model: SEN, *structures: ase.Atoms) -> np.ndarray:
    with torch.no_grad():
        return model(batch_of(*structures))["formation_energy"].numpy()


def per_atom(one: Explanation) -> dict[str, np.ndarray]:
    """All that an explanation says of atoms, one row per atom."""
    rows = {f"stage {k}": stage for k, stage in enumerate(one.atom_stages)}
    rows |= {f"channels {k}": weights for k, weights in enumerate(one.channel_attention)}
    rows |= {f"share of {name}": share[:, None] for name, share in one.shares.items()}
    return rows | {"assignment": one.assignment, "atoms": one.atom_attention.T, "bonds": one.bond_attention.T}


def whole(one: Explanation) -> dict[str, np.ndarray]:
    """All that an explanation says of the crystal."""
    found = {}
    for field in dataclasses.fields(one):
        value = getattr(one, field.name)
        if isinstance(value, dict):
            found |= {f"{field.name} {key}": np.asarray(entry) for key, entry in value.items()}
        elif isinstance(value, tuple):
            found |= {f"{field.name} {k}": entry for k, entry in enumerate(value)}
        else:
            found[field.name] = np.asarray(value)
    return found


def assert_same(actual: Explanation, expected: Explanation) -> None:
    first, second = whole(actual), whole(expected)
    assert set(first) == set(second)
    for name, value in second.items():
        np.testing.assert_allclose(first[name], value, atol=1e-8, err_msg=name)


# Equal atoms.


@pytest.mark.parametrize("name", sorted(SYMMETRIC))
def test_equivalent_atoms_are_equal_without_being_told(name):
    # The graph knows nothing of symmetry: the network must find by itself what spglib finds.
    atoms = SYMMETRIC[name]()
    cell = (atoms.cell.array, atoms.get_scaled_positions(), atoms.numbers)
    orbits = spglib.get_symmetry_dataset(cell, symprec=1e-3).crystallographic_orbits
    (one,) = explain(network(**ALL_TASKS), batch_of(atoms))
    for stage, rows in per_atom(one).items():
        assert len(rows) == len(atoms)
        np.testing.assert_allclose(rows, rows[orbits], atol=1e-6, err_msg=stage)


def test_atoms_of_other_orbits_are_told_apart():
    # Pnma CaTiO3 has two kinds of oxygen, which are alike before the first loop only.
    atoms = crystals.calcium_titanate()
    cell = (atoms.cell.array, atoms.get_scaled_positions(), atoms.numbers)
    orbits = spglib.get_symmetry_dataset(cell, symprec=1e-3).crystallographic_orbits
    first, second = np.unique(orbits[atoms.numbers == 8])
    (one,) = explain(network(**ALL_TASKS), batch_of(atoms))
    for stage, rows in per_atom(one).items():
        same = np.abs(rows[first] - rows[second]).max() < 1e-6 * np.abs(rows).max()
        assert same == (stage == "stage 0"), stage


@pytest.mark.parametrize("name", sorted(SYMMETRIC))
def test_the_asymmetric_unit_says_what_all_atoms_say(name):
    model, atoms = network(**ALL_TASKS), SYMMETRIC[name]()
    reduced = graph(atoms, reduced=True)
    assert len(reduced.representative) < len(atoms)
    (actual,), (expected,) = explain(model, collate([reduced])), explain(model, batch_of(atoms))
    assert_same(actual, expected)


def test_the_asymmetric_unit_has_the_same_losses():
    model = network(**ALL_TASKS)
    structures = (crystals.rutile(), crystals.corundum())

    def found(reduced: bool) -> dict[str, torch.Tensor]:
        graphs = [graph(atoms, reduced, targets=own) for atoms, own in zip(structures, TARGETS, strict=True)]
        graphs = [dataclasses.replace(one, space_group=number) for one, number in zip(graphs, (136, 167), strict=True)]
        return model.training_pass(collate(graphs))[1]

    full, reduced = found(False), found(True)
    assert set(full) == set(reduced) == set(LOSSES)
    for name, value in full.items():
        torch.testing.assert_close(reduced[name], value)


# Batches and chance.


def test_a_crystal_alone_is_the_crystal_in_a_batch():
    model = network(**ALL_TASKS)
    structures = [crystals.nameless(), crystals.quartz(), crystals.perovskite(), crystals.corundum()]
    together = explain(model, batch_of(*structures))
    for atoms, one in zip(structures, together, strict=True):
        assert_same(one, explain(model, batch_of(atoms))[0])


def test_chance_is_part_of_training_only():
    noisy = network(noise=4.0, dropout=0.25)
    assert energy(noisy, crystals.quartz()) == energy(noisy, crystals.quartz())
    noisy.train()
    assert energy(noisy, crystals.quartz()) != energy(noisy, crystals.quartz())
    for option in ({"noise": 4.0}, {"dropout": 0.25}):
        one = network(**option).train()
        assert energy(one, crystals.quartz()) != energy(one, crystals.quartz()), option
    quiet = network()
    expected = energy(quiet, crystals.quartz())
    assert energy(quiet.train(), crystals.quartz()) == expected


# What the network sees.


def star(directions: Sequence[Sequence[float]], distance: float = 3.0) -> ase.Atoms:
    """One S in a large cell with an F in each direction; no two F see each other."""
    unit = np.array(directions, dtype=float)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    positions = np.concatenate([np.zeros((1, 3)), distance * unit])
    between = np.linalg.norm(positions[1:, None] - positions[None, 1:], axis=2)
    assert (between + 2 * CUTOFF * np.eye(len(unit)) > CUTOFF).all()
    return ase.Atoms("S" + "F" * len(unit), positions, cell=20 * np.eye(3), pbc=True)


BENT_AND_STRAIGHT = ([(1, 0, 0), (0, 1, 0)], [(1, 0, 0), (-1, 0, 0)])
TETRAHEDRON_AND_SQUARE = (
    [(1, 1, 1), (1, -1, -1), (-1, 1, -1), (-1, -1, 1)],
    [(1, 0, 0), (-1, 0, 0), (0, 1, 0), (0, -1, 0)],
)


@pytest.mark.parametrize("pair", [BENT_AND_STRAIGHT, TETRAHEDRON_AND_SQUARE], ids=["dipole", "quadrupole"])
def test_angles_that_no_distance_knows(pair):
    first, second = (star(directions) for directions in pair)
    distances = [graph(atoms).edge_vector.norm(dim=1) for atoms in (first, second)]
    torch.testing.assert_close(*distances)
    blind, seeing = network(directions="none"), network(directions="moments")
    assert energy(blind, first) == pytest.approx(energy(blind, second), abs=1e-10)
    spread = abs(energy(seeing, first) - energy(seeing, star([(1, 0, 0)])))
    assert abs(energy(seeing, first) - energy(seeing, second)) > 1e-4 * spread


def test_mirror_images_are_one_to_it():
    left = crystals.quartz()
    right = crystals.rotated(left, np.diag([1.0, 1.0, -1.0]))
    assert energy(network(), left) == pytest.approx(energy(network(), right), abs=1e-10)


@pytest.mark.parametrize("envelope", ["none", "cosine", "polynomial"])
def test_the_last_neighbor_leaves_without_a_jump(envelope):
    model = network(envelope=envelope)
    inside, outside = (star([(1, 2, 3)], CUTOFF + step) for step in (-1e-5, 1e-5))
    assert (graph(inside).num_edges, graph(outside).num_edges) == (2, 0)
    jump = abs(energy(model, inside) - energy(model, outside))
    near = abs(energy(model, star([(1, 2, 3)], 2.0)) - energy(model, outside))
    assert (jump > 1e-2 * near) if envelope == "none" else (jump < 1e-6 * near)


def test_functionals_are_told_apart():
    model = network(functionals=("PBE", "PBEsol"))

    def said(functional: str | None) -> float:
        batch = collate([graph(crystals.quartz(), functional=functional)])
        with torch.no_grad():
            return float(model(batch)["formation_energy"])

    assert said(None) == said("PBE") != said("PBEsol")
    with pytest.raises(DomainError, match="functional HSE is unknown"):
        said("HSE")


# Losses.

LOSSES = (
    *("likelihood", "prior_sparsity", "posterior_sparsity", "reconstruction"),
    *("metal", "gap_size", "crystal_system", "space_group"),
)
TARGETS = tuple({"band_gap": torch.tensor([gap]), "formation_energy": torch.tensor([-2.0])} for gap in (3.0, 0.0))


def labeled(*structures: ase.Atoms) -> CrystalBatch:
    """An insulator and metals by turns."""
    graphs = [graph(atoms, reduced=True, targets=TARGETS[k % 2]) for k, atoms in enumerate(structures)]
    return collate(graphs)


def test_every_loss_has_a_weight_that_removes_it():
    batch = labeled(crystals.rutile(), crystals.corundum(), crystals.quartz())
    _, full = network(**ALL_TASKS).training_pass(batch)
    assert set(full) == set(LOSSES)
    assert all(value.ndim == 0 and torch.isfinite(value) for value in full.values())
    for name in LOSSES:
        _, found = network(**{**ALL_TASKS, name: 0.0}).training_pass(batch)
        assert found.get(name, torch.zeros(())).item() == 0
        if name not in ("metal", "gap_size"):
            assert name not in found
    _, released = network(likelihood=0, reconstruction=0, prior_sparsity=0, posterior_sparsity=0).training_pass(batch)
    assert released == {}


@pytest.mark.parametrize("name", LOSSES)
def test_weights_of_losses_multiply(name):
    batch = labeled(crystals.rutile(), crystals.corundum(), crystals.quartz())
    once, thrice = (
        network(**{**ALL_TASKS, name: weight}).training_pass(batch)[1][name].item() for weight in (0.2, 0.6)
    )
    assert thrice == pytest.approx(3 * once, rel=1e-9)
    assert once != 0


def test_training_predicts_what_the_network_predicts():
    batch, model = labeled(crystals.rutile(), crystals.quartz()), network(**ALL_TASKS)
    outputs, _ = model.training_pass(batch)
    expected = model(batch)
    assert set(outputs) == set(expected) == set(ALL_TASKS["properties"])
    for name, value in expected.items():
        torch.testing.assert_close(outputs[name], value)


def test_every_parameter_learns():
    model = network(**ALL_TASKS, functionals=("PBE", "PBEsol"), composition_heads=2).train()
    batch = labeled(crystals.rutile(), crystals.corundum(), crystals.quartz(), crystals.nameless())
    outputs, extra = model.training_pass(batch)
    (sum(value.square().sum() for value in outputs.values()) + sum(extra.values())).backward()
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, name
            assert torch.isfinite(parameter.grad).all(), name
            # Softmax and layers after a sum over all parts may forget a constant, up to rounding.
            forgotten = name.endswith(("key.bias", "gate.bias"))
            assert forgotten or parameter.grad.abs().max() > 1e-12, name


# Symmetry as a task.


def groups() -> list[CrystalGraph]:
    structures = [crystals.rocksalt(), crystals.fluorite(), crystals.fluorite(), crystals.corundum()]
    return [graph(atoms, reduced=True) for atoms in [*structures, crystals.quartz(), crystals.nameless()]]


def test_weights_of_classes_have_mean_one_and_favor_the_rare():
    model = network(**ALL_TASKS)
    model.prepare_training(groups())
    systems = [6, 6, 6, 4, 4, 0]  # three cubic, two trigonal, one triclinic
    numbers = [225, 225, 225, 167, 154, 1]
    assert model.system_weight[systems].mean().item() == pytest.approx(1, abs=1e-6)
    assert model.group_weight[[n - 1 for n in numbers]].mean().item() == pytest.approx(1, abs=1e-6)
    cubic, trigonal, triclinic = model.system_weight[[6, 4, 0]].tolist()
    assert triclinic / cubic == pytest.approx(3**0.5)
    assert trigonal / cubic == pytest.approx(1.5**0.5)
    assert (model.group_weight[166] / model.group_weight[224]).item() == pytest.approx(3**0.5)
    assert torch.isfinite(model.system_weight).all()


def test_unknown_symmetry_counts_for_nothing():
    model = network(**ALL_TASKS)
    known = [graph(crystals.quartz(), reduced=True), graph(crystals.rutile(), reduced=True)]
    model.prepare_training([*known, graph(crystals.corundum())])  # not searched: space group 0
    assert model.system_weight[[4, 3]].mean().item() == pytest.approx(1, abs=1e-6)
    _, some = model.training_pass(collate([*known, graph(crystals.corundum())]))
    _, expected = model.training_pass(collate(known))
    _, none = model.training_pass(collate([graph(crystals.corundum())]))
    for name in ("crystal_system", "space_group"):
        torch.testing.assert_close(some[name], expected[name])
        assert none[name].item() == 0


def test_symmetry_can_be_learned():
    model = network(**{**ALL_TASKS, "crystal_system": 1.0, "space_group": 1.0}).train()
    graphs = groups()
    model.prepare_training(graphs)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    batch = collate(graphs)
    for _ in range(30):
        _, extra = model.training_pass(batch)
        optimizer.zero_grad()
        (extra["crystal_system"] + extra["space_group"]).backward()
        optimizer.step()
    found = explain(model.eval(), batch)
    assert [int(one.crystal_system_probabilities.argmax()) for one in found] == [6, 6, 6, 4, 4, 0]
    assert [1 + int(one.space_group_probabilities.argmax()) for one in found] == [225, 225, 225, 167, 154, 1]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_fifty_crystals_are_learned_by_heart(dft_data):
    table = pq.read_table(
        dft_data("scalars/mp_scalars.parquet"), columns=["numbers", "cell", "frac", "formation_energy"]
    )
    labeled_rows = table.filter(pc.is_finite(table["formation_energy"])).slice(0, 3000).to_pylist()
    rows = [row for row in labeled_rows if len(row["numbers"]) <= 6][:50]
    graphs = []
    for row in rows:
        atoms = ase.Atoms(row["numbers"], cell=np.reshape(row["cell"], (3, 3)), pbc=True)
        atoms.set_scaled_positions(np.reshape(row["frac"], (-1, 3)))
        targets = {"formation_energy": torch.tensor([row["formation_energy"]])}
        graphs.append(build_graph(atoms, 5.0, symmetry=find_symmetry(atoms, 0.01), targets=targets))
    batch, steps = collate(graphs), 200
    labels = batch.targets["formation_energy"]
    torch.manual_seed(0)
    model = SEN(SENHypers(width=64, edge_width=32, embedding=64, loops=2))
    fit_references(model, graphs)
    optimizer = torch.optim.Adam(model.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps)
    for _ in range(steps):
        outputs, extra = model.training_pass(batch)
        optimizer.zero_grad()
        ((outputs["formation_energy"] - labels).abs().mean() + sum(extra.values())).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    with torch.no_grad():
        error = (model.eval()(batch)["formation_energy"] - labels).abs().mean()
    assert len(graphs) == 50
    assert error.item() < 0.01, "eV/atom"
    assert labels.std().item() > 0.3, "energies differ by little: nothing to learn"
