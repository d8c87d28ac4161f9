"""The Equivar network: a full tensor per atom, and tensors of the crystal by pooling."""

from __future__ import annotations

import functools
import math

import numpy as np
import torch
from e3nn import o3
from numpy.typing import NDArray
from torch import Tensor, nn

from voigt.errors import DomainError
from voigt.models.elements import NUM_ELEMENTS, ElementEmbedding
from voigt.models.equivar.hypers import EquivarHypers
from voigt.models.equivar.layers import Interaction, NeighborHarmonics, RadialBasis
from voigt.models.equivar.messages import Couplings, MessageFunction, compiled_messages, messages
from voigt.models.equivar.paths import NODE_ROWS, NUM_ROWS, coupling_paths
from voigt.models.network import Network, functional_rows, neutralised
from voigt.models.readout import TensorReadout, assembled, bounded, own_readouts
from voigt.structures.batch import CrystalBatch
from voigt.tensors.projection import rotate
from voigt.tensors.properties import PROPERTIES


class EquivarTrunk(nn.Module):
    """Equivar's message passing without readouts: from a crystal to equivariant features of its atoms."""

    def __init__(self, hypers: EquivarHypers) -> None:
        super().__init__()
        self.hypers = hypers
        f = hypers.channels
        rows = 100 if hypers.init == "uniform" else NUM_ELEMENTS
        self.embedding = ElementEmbedding(hypers.embedding, hypers.periodic_table, rows)
        self.functional = nn.Embedding(len(hypers.functionals), f) if hypers.functionals else None
        self.input = nn.Linear(hypers.embedding, f)
        self.radial = RadialBasis(hypers)
        self.harmonics = o3.SphericalHarmonics(
            "0e+1o+2e", normalize=True, normalization=hypers.normalization
        )
        self.couplings = Couplings(coupling_paths(hypers.paths == "published"), f if hypers.weights == "shared" else 1)
        self.interactions = nn.ModuleList(Interaction(hypers, NUM_ELEMENTS) for _ in range(hypers.interactions))
        self.product: MessageFunction = messages

    def compile_products(self) -> None:
        """Run the tensor products through torch.compile: faster after a first call of about half a minute."""
        self.product = compiled_messages()

    def node_features(self, batch: CrystalBatch) -> Tensor:
        """Final equivariant features of the representatives, (n_orbits, 12, channels)."""
        own_numbers = batch.numbers[batch.representative]
        if int(own_numbers.max()) >= self.embedding.element.num_embeddings:
            raise DomainError(f"this network knows atomic numbers below {self.embedding.element.num_embeddings} only")
        index = functional_rows(batch, self.hypers.functionals)
        condition = None
        if self.functional is not None and index is not None:
            condition = self.functional(index)[batch.orbit_crystal]
        return self._propagate(
            own_numbers, condition, batch.orbit, batch.rotation, batch.edge_source, batch.edge_target, batch.edge_vector
        )

    def _propagate(
        self,
        numbers: Tensor,
        condition: Tensor | None,
        orbit: Tensor,
        rotation: Tensor | None,
        source: Tensor,
        target: Tensor,
        vector: Tensor,
    ) -> Tensor:
        scalars = self.input(self.embedding(numbers))
        if condition is not None:
            scalars = scalars + condition
        own = nn.functional.pad(scalars[:, None], (0, 0, 0, NUM_ROWS - 1))
        distance = torch.linalg.vector_norm(vector, dim=1)
        geometry = (self.radial(distance), self.radial.envelope(distance), self.couplings(self.harmonics(vector)))
        wigner = None if rotation is None else feature_rotation(rotation)
        for interaction in self.interactions:
            full = spread(own, orbit, wigner)
            own = interaction(full, own, numbers, (source, target), geometry, self.product)
        return own


class Equivar(EquivarTrunk, Network):
    """O(3)-equivariant message passing (Kutana et al., Sci. Rep. 15, 2025) with a readout per property."""

    hypers: EquivarHypers

    def __init__(self, hypers: EquivarHypers) -> None:
        super().__init__(hypers)
        f = hypers.channels
        paper = hypers.update == "linear"
        self.readouts = nn.ModuleDict(
            {
                name: TensorReadout(PROPERTIES[name], f, hypers.init, hypers.element_reference, not paper)
                for name in own_readouts(hypers.properties)
            }
        )
        self.high = high_degrees(hypers, self.readouts)
        self.drift_weight = nn.Linear(f, 1) if hypers.sum_rule == "learned" else None

    @property
    def trunk(self) -> EquivarTrunk:
        """The message passing of this network."""
        return self

    def predict_both(self, batch: CrystalBatch) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Two times the same outputs: Born charges as the network gives them, and after its own sum rule."""
        features = self.node_features(batch)
        values = equivariant_values(self, self.readouts, self.high, features, batch)
        raw = assembled({n: bounded(v, PROPERTIES[n]) for n, v in values.items()}, self.hypers.properties)
        if self.hypers.sum_rule == "none":
            return raw, dict(raw)
        weights = None
        if self.drift_weight is not None:
            weights = nn.functional.softplus(self.drift_weight(features[:, 0])[:, 0])[batch.orbit]
        return raw, neutralised(raw, batch, weights)


def high_degrees(hypers: EquivarHypers, readouts: nn.ModuleDict) -> nn.ModuleDict:
    """Layers for the types that some readout needs and the nodes do not carry."""
    kinds = {kind for readout in readouts.values() if isinstance(readout, TensorReadout) for kind in readout.kinds}
    return nn.ModuleDict({kind: NeighborHarmonics(hypers, o3.Irrep(kind).l) for kind in sorted(kinds & {"3o", "4e"})})


def equivariant_values(
    trunk: EquivarTrunk, readouts: nn.ModuleDict, high: nn.ModuleDict, features: Tensor, batch: CrystalBatch
) -> dict[str, Tensor]:
    """Tensors of atoms, or means over the atoms of each crystal, before physical bounds.

    Parameters
    ----------
    trunk
        Where `features` come from.
    readouts, high
        `TensorReadout` by property; layers of `high_degrees`.
    features
        (n_orbits, 12, channels) of the representatives.
    batch
        The crystals.
    """
    numbers = batch.numbers[batch.representative]
    more = {}
    if high:
        distance = torch.linalg.vector_norm(batch.edge_vector, dim=1)
        geometry = (trunk.radial(distance), trunk.radial.envelope(distance))
        edges = (batch.edge_source, batch.edge_target, batch.edge_vector)
        scalars = features[:, 0].index_select(0, batch.orbit)
        more = {kind: layer(scalars, edges, geometry, len(features)) for kind, layer in high.items()}
    values = {}
    for name, readout in readouts.items():
        prop = PROPERTIES[name]
        value = readout(features, numbers, more)[batch.orbit]
        if batch.rotation is not None and prop.rank:
            value = rotate(value, batch.rotation, prop.rank)
        if prop.per == "crystal":
            total = value.new_zeros(batch.num_crystals, *prop.shape).index_add(0, batch.atom_crystal, value)
            value = total / batch.num_atoms.view(-1, *[1] * prop.rank)
        values[name] = value
    return values


def feature_rotation(rotation: Tensor) -> Tensor:
    """Block-diagonal (n, 12, 12) action of orthogonal matrices (n, 3, 3) on the types 0e, 1o, 1e, 2e.

    The 2e block is the conjugation of symmetric traceless matrices written in e3nn's basis.
    """
    result = rotation.new_zeros(len(rotation), NUM_ROWS, NUM_ROWS)
    result[:, 0, 0] = 1.0
    result[:, NODE_ROWS["1o"], NODE_ROWS["1o"]] = rotation
    first, second, third = rotation.unbind(1)
    sign = (torch.linalg.cross(first, second) * third).sum(1)
    result[:, NODE_ROWS["1e"], NODE_ROWS["1e"]] = rotation * sign[:, None, None]
    # One product with a constant: an einsum of four operands spends most of its time on the order of contraction.
    pairs = rotation[:, :, None, :, None] * rotation[:, None, :, None, :]
    action = torch.as_tensor(_quadrupole_action(), dtype=rotation.dtype, device=rotation.device)
    coupled = pairs.reshape(len(rotation), 81) @ action
    result[:, NODE_ROWS["2e"], NODE_ROWS["2e"]] = coupled.view(-1, 5, 5)
    return result


@functools.lru_cache
def _quadrupole_action() -> NDArray[np.float64]:
    """(81, 25): flat products R_ik R_jl -> flat matrix of R on quadrupoles."""
    basis = _quadrupole_basis().numpy()
    action: NDArray[np.float64] = np.einsum("mij,pkl->ijklmp", basis, basis).reshape(81, 25)
    return action


def _quadrupole_basis() -> Tensor:
    """(5, 3, 3) orthonormal symmetric traceless matrices in the order xz, xy, 2y^2-x^2-z^2, yz, z^2-x^2 (e3nn)."""
    a, c = math.sqrt(0.5), math.sqrt(1.0 / 6.0)
    basis = torch.zeros(5, 3, 3, dtype=torch.float64)
    basis[0, 0, 2] = basis[0, 2, 0] = a
    basis[1, 0, 1] = basis[1, 1, 0] = a
    basis[2] = torch.diag(torch.tensor([-c, 2 * c, -c], dtype=torch.float64))
    basis[3, 1, 2] = basis[3, 2, 1] = a
    basis[4] = torch.diag(torch.tensor([-a, 0.0, a], dtype=torch.float64))
    return basis


def spread(own: Tensor, orbit: Tensor, wigner: Tensor | None) -> Tensor:
    """Features of all atoms from those of the representatives."""
    full = own.index_select(0, orbit)
    return full if wigner is None else torch.bmm(wigner, full)
