"""Toy potentials that the examples share: springs between neighbors, as calculators of ASE.

A bond of length r whose spring is at rest at r0 costs k (r - r0)^2 / 2. The stiffness between cation and anion is
fitted to measured transverse optical frequencies; springs between like ions only keep the crystal from shearing. There
are no charges: LO-TO splitting, intensities and permittivities come from predicted tensors. What else these springs
give (elastic constants, acoustic branches) is worth nothing.
"""

import numpy as np
from ase.calculators.calculator import Calculator, all_changes
from ase.data import atomic_numbers
from vesin import ase_neighbor_list


class Springs(Calculator):
    """Springs between all pairs closer than 1.2 r0, given as {(element, element): (k in eV/A^2, r0 in A)}."""

    implemented_properties = ("energy", "forces")

    def __init__(self, bonds):
        super().__init__()
        self.bonds = bonds
        self.table = np.zeros((2, 119, 119))  # k and r0 by atomic numbers
        for pair, values in bonds.items():
            one, other = (atomic_numbers[symbol] for symbol in pair)
            self.table[:, one, other] = self.table[:, other, one] = values

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        first, second, distance, vector = ase_neighbor_list("ijdD", atoms, 1.2 * self.table[1].max())
        stiffness, length = self.table[:, atoms.numbers[first], atoms.numbers[second]]
        pull = np.where(distance < 1.2 * length, stiffness * (distance - length), 0.0)
        forces = np.zeros((len(atoms), 3))
        np.add.at(forces, first, (pull / distance)[:, None] * vector)
        self.results = {"energy": float(pull @ (distance - length)) / 4, "forces": forces}  # every bond comes twice


def magnesium_oxide():
    """Rock salt, with the transverse optical mode at 401 1/cm: Jasperse et al., Phys. Rev. 146, 526 (1966)."""
    return Springs({("Mg", "O"): (2.857, 2.1068), ("O", "O"): (1.0, 2.9795), ("Mg", "Mg"): (1.0, 2.9795)})


def zinc_oxide():
    """Wurtzite; one stiffness for A1(TO) and E1(TO), 380 and 407 1/cm: Damen et al., Phys. Rev. 142, 570 (1966)."""
    return Springs({("Zn", "O"): (5.5, 1.978), ("O", "O"): (0.5, 3.229), ("Zn", "Zn"): (0.5, 3.229)})


def zinc_sulfide():
    """Zincblende with a = 5.409 A; its piezoelectricity does not depend on the stiffness."""
    return Springs({("Zn", "S"): (5.0, 2.34217), ("S", "S"): (0.5, 3.82474), ("Zn", "Zn"): (0.5, 3.82474)})
