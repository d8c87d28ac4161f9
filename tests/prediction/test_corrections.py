"""Corrections of a whole batch are those of each crystal by itself."""

from __future__ import annotations

import ase
import numpy as np
import pytest
import torch
from tests import crystals

from voigt.prediction import corrections
from voigt.prediction.corrections import batch_symmetry, norms, project_batch
from voigt.structures.symmetry import find_symmetry
from voigt.tensors.projection import project_atoms, project_crystal
from voigt.tensors.properties import PROPERTIES

CPU = torch.device("cpu")


def structures() -> list[ase.Atoms]:
    return [
        crystals.quartz(),
        crystals.rocksalt(),
        crystals.nameless(),
        crystals.rutile().repeat((3, 3, 2)),  # with translations inside the cell
        crystals.wurtzite(),
    ]


def draw(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(shape[0]))


@pytest.mark.parametrize("at_once", [50, 2**21])
@pytest.mark.parametrize("name", ["eps_inf", "piezo_total", "elastic"])
def test_tensors_of_crystals(name: str, at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corrections, "TENSORS_AT_ONCE", at_once)
    prop, found = PROPERTIES[name], [find_symmetry(atoms) for atoms in structures()]
    tensors = draw(len(found), 2, *prop.shape)
    together = project_batch(tensors, prop, batch_symmetry(found, CPU, of_atoms=False))
    for k, symmetry in enumerate(found):
        alone = project_crystal(tensors[k], torch.as_tensor(symmetry.rotations), prop.rank)
        torch.testing.assert_close(together[k], alone, rtol=0, atol=1e-13)
    assert float((together - tensors).abs().max()) > 0.1


@pytest.mark.parametrize("at_once", [50, 2**21])
def test_tensors_of_atoms(at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corrections, "TENSORS_AT_ONCE", at_once)
    prop, found = PROPERTIES["born_charges"], [find_symmetry(atoms) for atoms in structures()]
    assert any(symmetry.translations > 1 for symmetry in found)
    ends = np.cumsum([len(symmetry.sites) for symmetry in found]).tolist()
    tensors = draw(ends[-1], 2, 3, 3)
    together = project_batch(tensors, prop, batch_symmetry(found, CPU, of_atoms=True))
    for end, symmetry in zip(ends, found, strict=True):
        rows = slice(end - len(symmetry.sites), end)
        parts = (torch.as_tensor(part) for part in (symmetry.rotations, symmetry.permutations, symmetry.sites))
        rotations, permutations, sites = parts
        for k in range(2):
            alone = project_atoms(tensors[rows, k], rotations, permutations, sites)
            torch.testing.assert_close(together[rows, k], alone, rtol=0, atol=1e-13)


def test_norms_are_those_of_each_crystal() -> None:
    tensors, owner = draw(5, 3, 3), torch.tensor([0, 0, 1, 2, 2])
    found = norms(tensors, PROPERTIES["born_charges"], owner, 3)
    expected = torch.stack([tensors[owner == k].norm() for k in range(3)])
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(norms(tensors, PROPERTIES["eps_inf"], owner, 5), tensors.flatten(1).norm(dim=1))
