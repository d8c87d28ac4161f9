"""Toy potentials with closed forms, and how they get a name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ase
import numpy as np
import pytest
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.lj import LennardJones
from ase.neighborlist import neighbor_list

from voigt.response.potentials import registry
from voigt.response.potentials.registry import Potential


class Wells(Calculator):
    """Cesium chloride whose cations have double wells: they move against the mean of their eight neighbors.

    E = sum_B (-a |d|^2 / 2 + b sum_i d_i^4 / 4) + (g / 2) sum_BB' d_B.d_B' over the six nearest cations, and springs
    between anions: `depth` a in eV/Angstrom^2, `quartic` b. With a `coupling` g above zero neighboring cations would
    rather move in opposite directions.
    """

    implemented_properties = ("energy", "forces")
    lattice, quartic, stiffness = 4.0, 40.0, 3.0

    def __init__(self, depth: float = 1.0, coupling: float = 0.0) -> None:
        super().__init__()
        self.depth, self.coupling = depth, coupling

    def calculate(self, atoms: ase.Atoms, properties: list[str], system_changes: list[str] = all_changes) -> None:
        super().calculate(atoms, properties, system_changes)
        cation = np.array(atoms.symbols) == "Cs"
        first, second, vector = neighbor_list("ijD", atoms, 1.15 * self.lattice * np.sqrt(3) / 2)
        mixed = cation[first] & ~cation[second]
        assert mixed.sum() == 8 * cation.sum()
        moved = np.zeros((len(atoms), 3))
        np.add.at(moved, first[mixed], -vector[mixed] / 8)
        energy = float(np.sum(-self.depth * moved**2 / 2 + self.quartic * moved**4 / 4))
        field = -self.depth * moved + self.quartic * moved**3
        one, other, between = neighbor_list("ijD", atoms, 1.2 * self.lattice)
        pairs = cation[one] & cation[other]
        coupled = np.zeros((len(atoms), 3))
        np.add.at(coupled, one[pairs], moved[other[pairs]])
        energy += self.coupling / 2 * float(np.sum(moved * coupled))
        field += self.coupling * coupled
        forces = -field
        np.add.at(forces, second[mixed], field[first[mixed]] / 8)
        for length in (1.0, np.sqrt(2)):
            one, other, distance, between = neighbor_list("ijdD", atoms, 1.1 * length * self.lattice)
            anions = ~cation[one] & ~cation[other] & (distance > 0.9 * length * self.lattice)
            stretch = distance[anions] - length * self.lattice
            energy += self.stiffness / 4 * float(np.sum(stretch**2))
            pull = self.stiffness * stretch / distance[anions]
            np.add.at(forces, one[anions], pull[:, None] * between[anions])
        self.results = {"energy": energy, "forces": forces}


def wells(scale: float = 1.0) -> ase.Atoms:
    """The crystal of `Wells` at its saddle point; masses 100 and 20."""
    return ase.Atoms(
        "CsCl",
        scaled_positions=[(0, 0, 0), (0.5, 0.5, 0.5)],
        cell=scale * Wells.lattice * np.eye(3),
        pbc=True,
        masses=[100, 20],
    )


class Neighbors(LennardJones):
    """Lennard-Jones between nearest neighbors: in a close packing they rest at 2^(1/6) sigma."""

    def __init__(self, sigma: float = 2.5, reach: float = 1.35) -> None:
        super().__init__(sigma=sigma, epsilon=1.0, rc=reach * sigma, smooth=False)


def smooth(atoms: ase.Atoms) -> Calculator:
    """A potential without sense for any crystal: its atoms are pushed about, but not onto each other."""
    sigma = 0.95 * float(neighbor_list("d", atoms, 3.0).min())
    return LennardJones(sigma=sigma, epsilon=0.1, rc=5.0, ro=3.5, smooth=True)


def register(monkeypatch: pytest.MonkeyPatch, name: str, make: Callable[[], Any], module: str = "ase") -> Potential:
    """Give a toy a name, for the time of a test."""
    potential = Potential(
        name=name,
        module=module,
        distribution=module,
        install=f"pip install {module}",
        functional="PBE",
        training="nothing",
        source="a toy",
        make=make,
        elements=frozenset(range(1, 119)),
    )
    monkeypatch.setattr(registry, "POTENTIALS", {**registry.POTENTIALS, name: potential})
    return potential
