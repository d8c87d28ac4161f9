"""Parts that compete for atoms: a mixture over their vectors, from which nothing leaks and which does not collapse."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from ase.build import bulk
from scipy.special import softmax
from tests import crystals
from tests.models.test_sen_capsules import alike, hypers, orbits_of

from voigt.graphs import build_graph, collate
from voigt.models.sen import losses
from voigt.models.sen.capsules import CompetingParts
from voigt.models.sen.hypers import SENHypers
from voigt.models.sen.model import SEN
from voigt.structures.symmetry import find_symmetry

SMALL = {
    "width": 24, "edge_width": 12, "embedding": 16, "composition_width": 8, "object_width": 8, "num_radial": 12,
    "part_capsules": 8, "object_capsules": 4, "loops": 2, "cutoff": 4.5,
}  # fmt: skip


def competing(seed: int = 0) -> tuple[CompetingParts, torch.Tensor]:
    torch.manual_seed(seed)
    return CompetingParts(hypers(routing="competition")).double(), torch.randn(6, 12, dtype=torch.float64)


def test_atoms_belong_to_parts_as_a_mixture_says():
    """Posterior probabilities, presences and evidence, computed once more with numpy."""
    capsules, atoms = competing()
    with torch.no_grad():
        capsules.level.normal_()
        capsules.mean.normal_()
    orbits = orbits_of([[1, 2, 3], [4], [1, 1]])
    parts = capsules(atoms, orbits, None)
    points = (atoms - capsules.mean).numpy() / np.sqrt(np.clip(1 - capsules.mean.numpy() ** 2, 1e-6, None))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    centers = capsules.centers.detach().numpy()
    centers = centers / np.linalg.norm(centers, axis=1, keepdims=True)
    logits = capsules.concentration * points @ centers.T + capsules.level.numpy()
    shares = softmax(logits, axis=1)
    first = (shares[:3] * np.array([[1], [2], [3]])).sum(axis=0)
    np.testing.assert_allclose(parts.presence[0], first / 6, rtol=1e-9)
    np.testing.assert_allclose(parts.presence[1], shares[3], rtol=1e-9)
    np.testing.assert_allclose(parts.presence.sum(dim=1), 1.0, rtol=1e-12)
    np.testing.assert_allclose(parts.assignment[:3], shares[:3] * np.array([[1], [2], [3]]) / first, rtol=1e-9)
    evidence = np.log(np.exp(logits).sum(axis=1))
    assert parts.log_evidence is not None
    np.testing.assert_allclose(
        parts.log_evidence.detach(), [evidence[:3] @ [1, 2, 3] / 6, evidence[3], evidence[4:].mean()], rtol=1e-9
    )


def test_levels_rise_for_parts_that_hold_too_little():
    """In training only, and by the distance from an even load."""
    capsules, atoms = competing()
    orbits = orbits_of([[1, 2, 3], [4], [1, 1]])
    before = capsules(atoms, orbits, None).presence
    assert torch.equal(capsules.level, torch.zeros(5, dtype=torch.float64))
    counted = torch.tensor([0.5, 0.5, 0.0], dtype=torch.float64)
    loads = [(counted @ capsules(atoms, orbits, counted).presence).detach() for _ in range(400)]
    even = torch.full((5,), 0.2, dtype=torch.float64)
    assert float((loads[-1] - even).abs().max()) < 0.3 * float((loads[0] - even).abs().max())
    assert float(capsules.level.sum()) == pytest.approx(0.0, abs=1e-9)
    assert not torch.equal(before, capsules(atoms, orbits, None).presence)


def batch_of_some():
    chosen = [crystals.rutile(), crystals.corundum(), crystals.nameless()]
    graphs = [build_graph(atoms, 4.5, find_symmetry(atoms)) for atoms in chosen]
    labels = {"formation_energy": torch.tensor([-3.0, -2.0, -1.0])}
    batch = collate(graphs)
    return type(batch)(**{**vars(batch), "targets": labels})


def test_properties_and_capsules_do_not_teach_each_other():
    """A property moves no center; no loss of capsules moves what the property is made of."""
    torch.manual_seed(0)
    network = SEN(SENHypers(**SMALL, routing="competition", reconstruction=0.0))
    batch = batch_of_some()
    outputs, own = network.training_pass(batch)
    assert set(own) == {"clustering", "likelihood", "prior_sparsity", "posterior_sparsity"}
    names, parameters = zip(*[(n, p) for n, p in network.named_parameters() if p.requires_grad], strict=True)
    property_gradient = torch.autograd.grad(
        outputs["formation_energy"].sum(), parameters, allow_unused=True, retain_graph=True
    )
    capsule_gradient = torch.autograd.grad(sum(own.values(), torch.zeros(())), parameters, allow_unused=True)
    taught = {name for name, g in zip(names, property_gradient, strict=True) if g is not None and bool(g.any())}
    moved = {name for name, g in zip(names, capsule_gradient, strict=True) if g is not None and bool(g.any())}
    assert taught
    assert moved
    assert not taught & moved
    assert "parts.centers" in moved
    assert all(name.startswith(("parts.centers", "objects.")) for name in moved)


def test_parts_stay_in_use_over_a_training():
    """Three hundred steps on the usual losses; the attention of the paper ends on one part."""
    salts = [bulk(a + b, "rocksalt", a=size) for a, b, size in
             [("Mg", "O", 4.2), ("Na", "Cl", 5.6), ("Li", "F", 4.0), ("Ca", "O", 4.8), ("K", "Br", 6.6)]]  # fmt: skip
    chosen = [*salts, crystals.rutile(), crystals.corundum(), crystals.nameless(), bulk("ZnS", "zincblende", a=5.4)]
    batch = collate([build_graph(atoms, 4.5, find_symmetry(atoms)) for atoms in chosen])
    label = torch.linspace(-3.0, -0.5, len(chosen))
    batch = type(batch)(**{**vars(batch), "targets": {"formation_energy": label}})
    torch.manual_seed(0)
    network = SEN(SENHypers(**SMALL, routing="competition")).train()
    optimizer = torch.optim.AdamW([p for p in network.parameters() if p.requires_grad], lr=0.003)
    errors = []
    for _ in range(300):
        outputs, own = network.training_pass(batch)
        error = (outputs["formation_energy"] - label).abs().mean()
        loss = error + sum(own.values(), torch.zeros(()))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        errors.append(float(error.detach()))
    presence = network.eval().internals(batch).parts.presence.detach()
    over_set = math.exp(float(losses.entropy(alike(presence) @ presence)))
    in_crystal = float(torch.exp(losses.entropy(presence)).mean())
    assert errors[-1] < 0.1 < errors[0]
    assert over_set > 4.0
    assert in_crystal > 1.5
