"""Equivariant message passing: from a crystal to features of its atoms, and from these to tensors."""

from __future__ import annotations

import torch
from e3nn import o3
from torch import Tensor, nn

from voigt.errors import DomainError
from voigt.graphs.batch import CrystalBatch
from voigt.models.elements import NUM_ELEMENTS, ElementEmbedding
from voigt.models.equivariant.hypers import TrunkHypers
from voigt.models.equivariant.layers import Interaction, NeighborHarmonics, RadialBasis
from voigt.models.equivariant.messages import Couplings, MessageFunction, compiled_messages, messages
from voigt.models.equivariant.paths import NUM_ROWS, coupling_paths
from voigt.models.equivariant.rotation import feature_rotation, spread
from voigt.models.network import functional_rows
from voigt.models.readout import TensorReadout
from voigt.tensors.projection import rotate
from voigt.tensors.properties import PROPERTIES


class Trunk(nn.Module):
    """Message passing without readouts: from a crystal to equivariant features of its atoms."""

    def __init__(self, hypers: TrunkHypers) -> None:
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


def high_degrees(hypers: TrunkHypers, readouts: nn.ModuleDict) -> nn.ModuleDict:
    """Layers for the types that some readout needs and the nodes do not carry."""
    kinds = {kind for readout in readouts.values() if isinstance(readout, TensorReadout) for kind in readout.kinds}
    return nn.ModuleDict({kind: NeighborHarmonics(hypers, o3.Irrep(kind).l) for kind in sorted(kinds & {"3o", "4e"})})


def equivariant_values(
    trunk: Trunk, readouts: nn.ModuleDict, high: nn.ModuleDict, features: Tensor, batch: CrystalBatch
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
