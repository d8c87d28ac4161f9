"""What a SEN network computes for a crystal, stage by stage: who forms which capsule, and who decides."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from ase.data import chemical_symbols
from numpy.typing import NDArray
from torch import Tensor

from voigt.graphs import CrystalBatch
from voigt.models.sen.model import SEN, Internals

Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class Explanation:
    """What the network makes of one crystal. Rows of symmetry-equivalent atoms are identical.

    With P part capsules, K object capsules, W the width of atoms.

    Attributes
    ----------
    prediction
        Property -> value in its unit.
    shares
        Property -> (n_atoms,) share of each atom; they add up to `additive`.
    additive
        Property -> the sum of the shares: the prediction, or for a band gap its size if the crystal is an insulator.
    metal_probability
        Of the two-stage head; None without a band gap.
    assignment
        (n_atoms, P) share of each atom in the forming of each part capsule; columns sum to one.
    presence
        (P,) sums to one.
    pose
        (P, 6) affine matrix [[0, 1, 2], [3, 4, 5]] of each part capsule: 2 and 5 are the shifts.
    features
        (P, part_features).
    posterior
        (P, K + 1) probability that a part belongs to each object capsule, last: to none; rows sum to one.
    object_presence
        (K,) each between 0 and 1.
    log_likelihood
        (P,) of the pose of each part given the objects.
    atom_stages
        (n_atoms, W) vectors before the first loop and after each.
    channel_attention
        (n_atoms, W) per loop: softmax over channels of the atoms' update, mean over heads; rows sum to one.
    atom_attention, bond_attention
        (steps, n_atoms) weights of Set2Set over atoms, and over the bonds of each atom; rows sum to one.
    element_attention
        Element -> weight in the composition branch; they sum to one.
    embedding
        (embedding + P,) vector of the crystal, then the presences: what the heads see besides the atoms.
    crystal_system_probabilities
        (7,) triclinic to cubic; None if the model was not trained on symmetry.
    space_group_probabilities
        (230,); None likewise.
    """

    prediction: Mapping[str, float]
    shares: Mapping[str, Matrix]
    additive: Mapping[str, float]
    metal_probability: float | None
    assignment: Matrix
    presence: Matrix
    pose: Matrix
    features: Matrix
    posterior: Matrix
    object_presence: Matrix
    log_likelihood: Matrix
    atom_stages: tuple[Matrix, ...]
    channel_attention: tuple[Matrix, ...]
    atom_attention: Matrix
    bond_attention: Matrix
    element_attention: Mapping[str, float]
    embedding: Matrix
    crystal_system_probabilities: Matrix | None
    space_group_probabilities: Matrix | None


def explain(network: SEN, batch: CrystalBatch) -> list[Explanation]:
    """Explanations of all crystals of a batch, in order."""
    with torch.no_grad():
        internals = network.internals(batch, record=True)
        outputs = network.outputs(internals)
    starts = np.concatenate([[0], np.cumsum(batch.num_atoms.cpu().numpy())])
    return [
        _one(internals, outputs, batch, k, slice(int(starts[k]), int(starts[k + 1]))) for k in range(batch.num_crystals)
    ]


def _one(
    internals: Internals, outputs: Mapping[str, Tensor], batch: CrystalBatch, k: int, atoms: slice
) -> Explanation:
    rows = batch.orbit[atoms]
    count = internals.orbits.count[rows]
    parts, objects = internals.parts, internals.objects

    def spread(weights: Tensor) -> Matrix:
        """Weights of orbits, shared out over their atoms."""
        return _array(weights[rows] / (count if weights.ndim > 1 else count[:, 0]))

    numbers, weights = internals.formula.numbers[k].tolist(), internals.element_weights[k].tolist()
    return Explanation(
        prediction={name: float(value[k]) for name, value in outputs.items()},
        shares={name: _array(scalar.share[rows]) for name, scalar in internals.scalars.items()},
        additive={name: float(scalar.value[k]) for name, scalar in internals.scalars.items()},
        metal_probability=None if internals.metal is None else float(torch.sigmoid(internals.metal[k])),
        assignment=spread(parts.assignment),
        presence=_array(parts.presence[k]),
        pose=_array(parts.pose[k]),
        features=_array(parts.features[k]),
        posterior=_array(objects.posterior[k]),
        object_presence=_array(objects.presence[k]),
        log_likelihood=_array(objects.log_likelihood[k]),
        atom_stages=tuple(_array(stage[rows]) for stage in internals.environment.stages),
        channel_attention=tuple(_array(weight[rows]) for weight in internals.environment.attention),
        atom_attention=np.stack([spread(step) for step in internals.atom_weights]),
        bond_attention=np.stack([spread(step) for step in internals.bond_weights]),
        element_attention={
            chemical_symbols[z]: weight for z, weight in zip(numbers, weights, strict=True) if z
        },
        embedding=_array(torch.cat([internals.crystal[k], parts.presence[k]])),
        crystal_system_probabilities=None if internals.system is None else _array(internals.system[k].softmax(dim=0)),
        space_group_probabilities=None if internals.group is None else _array(internals.group[k].softmax(dim=0)),
    )


def _array(tensor: Tensor) -> Matrix:
    return tensor.cpu().double().numpy()
