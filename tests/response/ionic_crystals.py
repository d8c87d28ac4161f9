"""Crystals with force constants and charges in closed form."""

from __future__ import annotations

import numpy as np
from scipy import constants

from voigt.response.phonons.modes import GammaModes, modes_of

E, AMU, EPS0, ANGSTROM = constants.e, constants.atomic_mass, constants.epsilon_0, constants.angstrom


def springs(pairs: list[tuple[int, int, np.ndarray]], count: int) -> np.ndarray:
    """Force constants at Gamma of springs (atom, atom, (3, 3) stiffness in eV/Angstrom^2); the sum rule holds."""
    phi = np.zeros((count, count, 3, 3))
    for i, j, stiffness in pairs:
        phi[i, i] += stiffness
        phi[j, j] += stiffness
        phi[i, j] -= stiffness
        phi[j, i] -= stiffness.T
    return phi


class Diatomic:
    """Rock salt of rigid ions: one isotropic spring between the sublattices and charges +Z, -Z in a medium eps_inf."""

    masses = np.array([24.305, 15.999])
    volume = 18.7
    stiffness = 8.3
    charge = 1.97
    eps = 3.04

    def __init__(self) -> None:
        self.force_constants = springs([(0, 1, self.stiffness * np.eye(3))], 2)
        self.born = self.charge * np.array([np.eye(3), -np.eye(3)])
        self.eps_inf = self.eps * np.eye(3)
        # Everything in SI from here on.
        reduced = AMU * self.masses.prod() / self.masses.sum()
        square = self.stiffness * E / ANGSTROM**2 / reduced
        plasma = (E * self.charge) ** 2 / (EPS0 * self.volume * ANGSTROM**3 * reduced)
        self.transverse = np.sqrt(square) / (2 * np.pi * 1e12)
        self.longitudinal = np.sqrt(square + plasma / self.eps) / (2 * np.pi * 1e12)
        self.eps_ionic = plasma / square

    def modes(self) -> GammaModes:
        return modes_of(self.force_constants, self.masses, self.volume)


def random_crystal(seed: int, count: int = 4) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, float]:
    """Force constants, masses, Born charges, eps_inf, volume of a stable crystal without symmetry.

    Charges are full matrices, not symmetric, that obey the sum rule.
    """
    rng = np.random.default_rng(seed)
    pairs = []
    for i in range(count):
        for j in range(i):
            root = rng.normal(size=(3, 3))
            pairs.append((i, j, root @ root.T + np.eye(3)))
    born = rng.normal(size=(count, 3, 3))
    born -= born.mean(axis=0)
    root = rng.normal(size=(3, 3))
    return springs(pairs, count), rng.uniform(5, 80, count), born, root @ root.T + 2 * np.eye(3), 61.3
