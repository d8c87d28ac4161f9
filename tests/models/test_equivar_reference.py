"""The paper's network against its plain formulation with e3nn's modules."""

from __future__ import annotations

from collections.abc import Iterator

import ase
import numpy as np
import pytest
import torch
from ase.geometry import get_distances
from benchmarks.tools import reference

from voigt.graphs import CrystalBatch, build_graph, collate
from voigt.models.equivar.hypers import EquivarHypers, preset
from voigt.models.equivar.model import Equivar


@pytest.fixture
def double() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def disordered_crystal() -> ase.Atoms:
    """Twelve atoms of four elements without symmetry in a triclinic cell, no two closer than 1.2 A."""
    rng = np.random.default_rng(7)
    cell = np.array([[6.4, 0.2, -0.3], [0.5, 6.6, 0.1], [-0.2, 0.4, 6.5]])
    positions: list[np.ndarray] = []
    while len(positions) < 12:
        trial = rng.random(3) @ cell
        if not positions or get_distances([trial], positions, cell=cell, pbc=True)[1].min() > 1.2:
            positions.append(trial)
    return ase.Atoms(numbers=rng.choice([8, 22, 56, 82], size=12), positions=positions, cell=cell, pbc=True)


def disordered_batch(dtype: torch.dtype) -> CrystalBatch:
    """Two crystals of different size in one batch."""
    atoms = disordered_crystal()
    return collate([build_graph(a, 3.0, mic=True, dtype=dtype) for a in (atoms, atoms * (2, 1, 1))])


def paper_network(**changes: object) -> Equivar:
    """The paper's network with random biases, which an untrained one has not, and strong messages."""
    torch.manual_seed(3)
    model = Equivar(EquivarHypers(**{**preset("bm2").model_dump(), "channels": 8, **changes}))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "bias" in name:
                parameter.normal_()
        for interaction in model.interactions:
            interaction.linear.weight *= 4.0
    return model


@pytest.mark.parametrize("formulation", ["plain", "contracted"])
@pytest.mark.parametrize("paths", ["full", "published"])
def test_float64_agrees_with_e3nn(double: None, paths: str, formulation: str) -> None:
    model = paper_network(paths=paths, interactions=3)
    batch = disordered_batch(torch.float64)
    assert batch.edge_source.numel() > 100
    ours = model(batch)["born_charges"]
    theirs = reference.copy_weights(model, formulation)(batch)
    assert ours.abs().max() > 0.1
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)


def test_reference_output_is_a_full_tensor(double: None) -> None:
    """Symmetric and antisymmetric parts both differ from zero: agreement of the two means something."""
    tensors = reference.copy_weights(paper_network(paths="full", interactions=3))(disordered_batch(torch.float64))
    symmetric, antisymmetric = tensors + tensors.mT, tensors - tensors.mT
    assert (symmetric.abs().amax(dim=0) > 0.01).all()
    for row, column in ((0, 1), (0, 2), (1, 2)):
        assert antisymmetric[:, row, column].abs().max() > 0.01


def test_gradients_agree_with_e3nn(double: None) -> None:
    """d loss / d coupling weights of the first block, stored alike in both."""
    model = paper_network(paths="full", interactions=2)
    theirs = reference.copy_weights(model)
    batch = disordered_batch(torch.float64)
    model(batch)["born_charges"].square().sum().backward()
    theirs(batch).square().sum().backward()
    for own, other in zip(model.interactions, theirs.interactions, strict=True):
        torch.testing.assert_close(
            own.strengths.coupling.grad.flatten(), other.product.weight.grad, rtol=1e-9, atol=1e-10
        )


def test_float32_agrees_with_e3nn() -> None:
    model = paper_network(paths="full", interactions=3)
    batch = disordered_batch(torch.float32)
    with torch.no_grad():
        ours, theirs = model(batch)["born_charges"], reference.copy_weights(model)(batch)
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5 * float(theirs.abs().max()))


# Kutana et al. 2025: "510k" and "140k"; the exact numbers follow from the shapes of the released weights.
@pytest.mark.parametrize(("name", "count"), [("bm1", 510_081), ("bm2", 139_905)])
def test_published_parameter_counts(name: str, count: int) -> None:
    model = Equivar(preset(name))
    assert sum(p.numel() for p in model.parameters()) == count
    assert reference.num_parameters(reference.copy_weights(model)) == count


def test_networks_with_other_parts_have_no_reference() -> None:
    with pytest.raises(ValueError, match="update, periodic_table"):
        reference.copy_weights(paper_network(update="gated", periodic_table=True))
