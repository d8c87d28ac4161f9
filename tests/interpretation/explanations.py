"""Made-up explanations with the normalizations of real ones."""

from __future__ import annotations

import ase
import numpy as np

from voigt.interpretation.crystals import CrystalExplanation, find_orbits
from voigt.models.sen.explanation import Explanation
from voigt.notes import Note
from voigt.structures.symmetry import find_symmetry

PARTS, OBJECTS, WIDTH, STEPS = 16, 10, 12, 3


def made_up(
    atoms: ase.Atoms, name: str = "crystal", seed: int = 0, assignment: np.ndarray | None = None, gap: bool = True
) -> CrystalExplanation:
    """Random matrices, equal for equivalent atoms.

    `assignment`: (n_orbits, 16) relative weight of one atom of each orbit, instead of random ones.
    """
    rng = np.random.default_rng(seed)
    symmetry = find_symmetry(atoms)
    firsts, row = np.unique(symmetry.orbits, return_inverse=True)
    count = len(firsts)

    def per_atom(rows: np.ndarray) -> np.ndarray:
        return rows[row]

    def over_atoms(rows: np.ndarray) -> np.ndarray:
        """(n_orbits, k) -> (n_atoms, k), columns that sum to one."""
        spread = per_atom(rows)
        return spread / spread.sum(axis=0)

    weights = rng.random((count, PARTS)) if assignment is None else assignment
    shares = {"formation_energy": per_atom(rng.normal(size=count))}
    if gap:
        shares["band_gap"] = per_atom(rng.random(count))
    additive = {prop: float(share.sum()) for prop, share in shares.items()}
    prediction = {"formation_energy": additive["formation_energy"]} | ({"band_gap": 0.0} if gap else {})
    elements = sorted(set(atoms.get_chemical_symbols()))
    matrices = Explanation(
        prediction=prediction,
        shares=shares,
        additive=additive,
        metal_probability=0.75 if gap else None,
        assignment=over_atoms(weights),
        presence=rng.dirichlet(np.ones(PARTS)),
        pose=rng.normal(size=(PARTS, 6)),
        features=rng.normal(size=(PARTS, 16)),
        posterior=rng.dirichlet(np.ones(OBJECTS + 1), size=PARTS),
        object_presence=rng.random(OBJECTS),
        log_likelihood=rng.normal(size=PARTS),
        atom_stages=tuple(per_atom(rng.normal(size=(count, WIDTH))) for _ in range(4)),
        channel_attention=tuple(per_atom(rng.dirichlet(np.ones(WIDTH), size=count)) for _ in range(3)),
        atom_attention=over_atoms(rng.random((count, STEPS))).T,
        bond_attention=over_atoms(rng.random((count, STEPS))).T,
        element_attention=dict(zip(elements, rng.dirichlet(np.ones(len(elements))).tolist(), strict=True)),
        embedding=rng.normal(size=20),
        crystal_system_probabilities=rng.dirichlet(np.ones(7)),
        space_group_probabilities=rng.dirichlet(np.ones(230)),
    )
    return CrystalExplanation(
        id=name,
        atoms=atoms,
        symmetry=symmetry,
        notes=(Note("disagreement", "a warning"),),
        model="made-up",
        member=1,
        members=4,
        properties=tuple(prediction),
        orbits=find_orbits(atoms, symmetry),
        matrices=matrices,
    )
