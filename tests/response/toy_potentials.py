"""Potentials whose elastic constants are known or can be had from their energy, as ASE calculators."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import ase
import numpy as np
import torch
from ase.calculators.calculator import Calculator, all_changes
from ase.neighborlist import neighbor_list

KINDS = ("energy", "forces", "stress")


class Toy(Calculator):
    """A potential whose energy is a function of the vectors between neighbors; slopes by automatic differentiation."""

    implemented_properties: ClassVar[list[str]] = [*KINDS, "free_energy"]

    def __init__(self, cutoff: float, energy: Callable[..., torch.Tensor]) -> None:
        super().__init__()
        self.cutoff, self.energy = cutoff, energy

    def calculate(self, atoms: Any = None, properties: Any = None, system_changes: Any = all_changes) -> None:
        super().calculate(atoms, properties, system_changes)
        first, second, shift = neighbor_list("ijS", atoms, self.cutoff)
        positions = torch.tensor(atoms.positions, requires_grad=True)
        strain = torch.zeros(3, 3, dtype=torch.float64, requires_grad=True)
        steps = torch.tensor(shift @ atoms.cell.array)
        vectors = (positions[second] - positions[first] + steps) @ (torch.eye(3) + (strain + strain.T) / 2)
        energy = self.energy(torch.tensor(atoms.numbers), torch.tensor(first), torch.tensor(second), vectors)
        slopes = torch.autograd.grad(energy, (positions, strain))
        stress = slopes[1].numpy() / atoms.get_volume()
        self.results = {
            "energy": energy.item(),
            "free_energy": energy.item(),
            "forces": -slopes[0].numpy(),
            "stress": stress[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]],
        }


class Blind(Calculator):
    """Hands on some of the properties of a calculator, perhaps changed."""

    def __init__(self, inner: Calculator, kinds: tuple[str, ...] = KINDS, **change: Callable[..., Any]) -> None:
        super().__init__()
        self.inner, self.implemented_properties, self.change = inner, list(kinds), change

    def calculate(self, atoms: Any = None, properties: Any = None, system_changes: Any = all_changes) -> None:
        super().calculate(atoms, properties, system_changes)
        for kind in self.implemented_properties:
            value = self.inner.get_property(kind, atoms)
            self.results[kind] = self.change[kind](value, atoms) if kind in self.change else value


class Counted(Blind):
    """Knows how often it was asked."""

    calls = 0

    def calculate(self, atoms: Any = None, properties: Any = None, system_changes: Any = all_changes) -> None:
        super().calculate(atoms, properties, system_changes)
        self.calls += 1


LATTICE = 5.409
STRETCHING, BENDING = 3.0, 0.7  # eV/A^2


def keating(stretching: float = STRETCHING, bending: float = BENDING) -> Toy:
    """Zincblende of Keating, Phys. Rev. 145, 637 (1966): bonds and angles weigh 3/(8 r0^2) times their constant."""
    bond = LATTICE * np.sqrt(3) / 4

    def energy(_: Any, first: torch.Tensor, second: torch.Tensor, vectors: torch.Tensor) -> torch.Tensor:
        arms = vectors[torch.argsort(first, stable=True)].reshape(-1, 4, 3)
        products = arms @ arms.mT
        lengths = torch.diagonal(products, dim1=1, dim2=2) - bond**2
        angles = (products + bond**2 / 3) * (1 - torch.eye(4))
        # Every bond is an arm of two atoms, every angle stands twice in the matrix.
        return 3 / (16 * bond**2) * (stretching * (lengths**2).sum() + bending * (angles**2).sum())

    return Toy(1.3 * bond, energy)


def glue(cutoff: float = 5.0) -> Toy:
    """Pairs and an embedding energy, which is not pairwise, of any kinds of atoms; both end smoothly."""

    def energy(numbers: torch.Tensor, first: torch.Tensor, second: torch.Tensor, vectors: torch.Tensor) -> torch.Tensor:
        size = 1.0 + 0.1 * torch.sqrt(numbers.to(torch.float64))
        r = torch.linalg.norm(vectors, dim=1)
        taper = (1 - (r / cutoff) ** 2) ** 4
        x = r / (size[first] + size[second])
        pairs = 2.0 * (torch.exp(-8 * (x - 1)) * taper).sum()
        density = torch.zeros(len(numbers), dtype=torch.float64).index_add(0, first, torch.exp(-3 * (x - 1)) * taper)
        return pairs - 3.0 * torch.sqrt(density).sum()

    return Toy(cutoff, energy)


def force_constants(atoms: ase.Atoms, calculator: Calculator, step: float = 1e-4) -> np.ndarray:
    """At Gamma: all cells alike, so that displacements of one primitive cell are all it takes."""
    phi = np.zeros((len(atoms), len(atoms), 3, 3))
    for atom in range(len(atoms)):
        for axis in range(3):
            forces = []
            for sign in (1, -1):
                moved = atoms.copy()
                moved.positions[atom, axis] += sign * step
                moved.calc = calculator
                forces.append(moved.get_forces())
            phi[:, atom, :, axis] = (forces[1] - forces[0]) / (2 * step)
    return phi
