"""Equivariant message passing: from a crystal to features of its atoms, and from these to tensors."""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch import Tensor, nn

from voigt.errors import DomainError
from voigt.graphs import CrystalBatch
from voigt.models.elements import NUM_ELEMENTS, ElementEmbedding
from voigt.models.equivariant.frames import EdgeFrames
from voigt.models.equivariant.harmonics import NeighborHarmonics
from voigt.models.equivariant.hypers import TrunkHypers
from voigt.models.equivariant.interaction import Interaction
from voigt.models.equivariant.messages import Edges, compiled_kernels, eager_kernels
from voigt.models.equivariant.paths import NUM_ROWS
from voigt.models.equivariant.readout import TensorReadout
from voigt.models.equivariant.rotation import feature_rotation, spread
from voigt.models.equivariant.strengths import RadialBasis
from voigt.models.linear import Linear
from voigt.models.network import functional_rows
from voigt.tensors.irreps import degree
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
        self.input = Linear(hypers.embedding, f)
        self.radial = RadialBasis(hypers)
        self.frames = EdgeFrames()
        self.interactions = nn.ModuleList(Interaction(hypers, NUM_ELEMENTS) for _ in range(hypers.interactions))
        self.kernels = eager_kernels()

    def compile_products(self) -> None:
        """Run the tensor products through torch.compile: half a minute at first, and slower on a CPU with oneDNN."""
        self.kernels = compiled_kernels()

    def node_features(self, batch: CrystalBatch) -> Tensor:
        """Final equivariant features of the representatives, (n_orbits, 12, channels)."""
        numbers = batch.numbers[batch.representative]
        rows = self.embedding.element.num_embeddings
        # Networks that know every element have nothing to wait for, and a recording repeats what was checked before.
        recording = numbers.is_cuda and torch.cuda.is_current_stream_capturing()
        if rows < NUM_ELEMENTS and not recording and int(numbers.max()) >= rows:
            raise DomainError(f"this network knows atomic numbers below {rows} only")
        scalars = self.input(self.embedding(numbers))
        index = functional_rows(batch, self.hypers.functionals)
        if self.functional is not None and index is not None:
            scalars = scalars + self.functional(index)[batch.orbit_crystal]
        # An element is a scalar: the rows of the other types start at zero.
        nodes = nn.functional.pad(scalars[:, None], (0, 0, 0, NUM_ROWS - 1))
        distance = torch.linalg.vector_norm(batch.edge_vector, dim=1)
        geometry = (self.radial(distance), self.radial.envelope(distance))
        edges = Edges(batch.edge_source, batch.edge_target, self.frames(batch.edge_vector))
        wigner = None if batch.rotation is None else feature_rotation(batch.rotation)
        for number, interaction in enumerate(self.interactions):
            scalars = number == 0
            # Only representatives are updated; their neighbors may be any atom, whose features follow by symmetry.
            atoms = spread(nodes, batch.orbit, None if scalars else wigner)
            nodes = interaction(atoms, nodes, numbers, edges, geometry, self.kernels, scalars)
        return nodes


def high_degrees(hypers: TrunkHypers, readouts: nn.ModuleDict) -> nn.ModuleDict:
    """Layers for the types that some readout needs and the nodes do not carry."""
    kinds = {kind for readout in readouts.values() if isinstance(readout, TensorReadout) for kind in readout.kinds}
    return nn.ModuleDict({kind: NeighborHarmonics(hypers, degree(kind)) for kind in sorted(kinds & {"3o", "4e"})})


def equivariant_values(
    trunk: Trunk,
    readouts: nn.ModuleDict,
    high: nn.ModuleDict,
    features: Tensor,
    batch: CrystalBatch,
    of_atoms: Collection[str] = (),
) -> dict[str, Tensor]:
    """Tensors of atoms, or means over the atoms of each crystal, before physical bounds; of several heads each.

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
    of_atoms
        Properties of crystals of which the tensors of the atoms are wanted, not the mean.
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
        # An atom has its representative's tensor, turned by the operation that maps one onto the other.
        value = readout(features, numbers, more)[batch.orbit]
        if batch.rotation is not None and prop.rank:
            rotation = batch.rotation if value.ndim == prop.rank + 1 else batch.rotation[:, None]
            value = rotate(value, rotation, prop.rank)
        if prop.per == "crystal" and name not in of_atoms:
            total = value.new_zeros(batch.num_crystals, *value.shape[1:]).index_add(0, batch.atom_crystal, value)
            value = total / batch.num_atoms.view(-1, *[1] * (value.ndim - 1))
        values[name] = value
    return values
