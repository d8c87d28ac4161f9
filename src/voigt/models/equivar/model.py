"""The Equivar network: a full tensor per atom, and tensors of the crystal by pooling."""

from __future__ import annotations

import math

import torch
from e3nn import o3
from torch import Tensor, nn

from voigt.errors import DomainError
from voigt.models.elements import NUM_ELEMENTS, periodic_table
from voigt.models.equivar.hypers import EquivarHypers
from voigt.models.equivar.layers import Interaction, NeighborHarmonics, RadialBasis
from voigt.models.equivar.messages import Couplings, MessageFunction, compiled_messages, messages
from voigt.models.equivar.paths import NODE_ROWS, NUM_ROWS, coupling_paths
from voigt.models.readout import TensorReadout, bounded
from voigt.structures.batch import CrystalBatch
from voigt.tensors.projection import rotate
from voigt.tensors.properties import PROPERTIES
from voigt.tensors.sum_rule import acoustic_sum_rule


class ElementEmbedding(nn.Module):
    """Learned features of an element, optionally shared within its group, period and block."""

    table: Tensor

    def __init__(self, hypers: EquivarHypers) -> None:
        super().__init__()
        rows = 100 if hypers.init == "uniform" else NUM_ELEMENTS
        self.element = nn.Embedding(rows, hypers.embedding)
        self.shared = None
        if hypers.periodic_table:
            self.shared = nn.ModuleList(nn.Embedding(size, hypers.embedding) for size in (20, 8, 4))
            nn.init.normal_(self.element.weight, std=0.3)
            self.register_buffer("table", torch.as_tensor(periodic_table()), False)

    def forward(self, numbers: Tensor) -> Tensor:
        """(n,) atomic numbers -> (n, embedding)."""
        features: Tensor = self.element(numbers)
        if self.shared is not None:
            place = self.table[numbers]
            for k, layer in enumerate(self.shared):
                features = features + layer(place[:, k])
        return features


class Equivar(nn.Module):
    """O(3)-equivariant message passing (Kutana et al., Sci. Rep. 15, 2025).

    `forward(batch)` returns {property name: Cartesian tensor} in the frame of the input cell: per-atom properties
    (n_atoms, 3, 3), per-crystal ones (n_crystals, 3, ...).
    """

    rows_per_type: Tensor

    def __init__(self, hypers: EquivarHypers) -> None:
        super().__init__()
        self.hypers = hypers
        f = hypers.channels
        self.embedding = ElementEmbedding(hypers)
        self.functional = nn.Embedding(len(hypers.functionals), f) if hypers.functionals else None
        self.input = nn.Linear(hypers.embedding, f)
        self.radial = RadialBasis(hypers)
        self.harmonics = o3.SphericalHarmonics(
            "0e+1o+2e", normalize=True, normalization=hypers.normalization
        )
        self.couplings = Couplings(coupling_paths(hypers.paths == "published"), f if hypers.weights == "shared" else 1)
        self.interactions = nn.ModuleList(Interaction(hypers, NUM_ELEMENTS) for _ in range(hypers.interactions))
        paper = hypers.update == "linear"
        readouts = {
            name: TensorReadout(PROPERTIES[name], f, hypers.init, hypers.element_reference, not paper)
            for name in hypers.properties
        }
        self.readouts = nn.ModuleDict(readouts)
        kinds = {kind for readout in readouts.values() for kind in readout.kinds}
        self.high = nn.ModuleDict(
            {kind: NeighborHarmonics(hypers, o3.Irrep(kind).l) for kind in sorted(kinds & {"3o", "4e"})}
        )
        self.drift_weight = nn.Linear(f, 1) if hypers.sum_rule == "learned" else None
        self.product: MessageFunction = messages

    def compile_products(self) -> None:
        """Run the tensor products through torch.compile: faster after a first call of about half a minute."""
        self.product = compiled_messages()

    def functional_index(self, batch: CrystalBatch) -> Tensor | None:
        """Row of the functional embedding for each crystal; an unlabelled crystal gets the default (the first).

        Raises
        ------
        DomainError
            A label that the model was not trained on.
        """
        if not self.hypers.functionals:
            return None
        unknown = sorted({f for f in batch.functional if f is not None} - set(self.hypers.functionals))
        if unknown:
            raise DomainError(
                f"functional {', '.join(unknown)} is unknown to this model; "
                f"choose from {', '.join(self.hypers.functionals)}"
            )
        rows = [0 if f is None else self.hypers.functionals.index(f) for f in batch.functional]
        return torch.tensor(rows, device=batch.numbers.device)

    def node_features(self, batch: CrystalBatch) -> Tensor:
        """Final equivariant features of the representatives, (n_orbits, 12, channels)."""
        own_numbers = batch.numbers[batch.representative]
        if int(own_numbers.max()) >= self.embedding.element.num_embeddings:
            raise DomainError(f"this network knows atomic numbers below {self.embedding.element.num_embeddings} only")
        index = self.functional_index(batch)
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

    def forward(self, batch: CrystalBatch) -> dict[str, Tensor]:
        """Predict every property of `hypers.properties`; Born charges made neutral as `hypers.sum_rule` says."""
        return self.predict_both(batch)[1]

    def _high_degrees(self, batch: CrystalBatch, features: Tensor) -> dict[str, Tensor]:
        if not self.high:
            return {}
        distance = torch.linalg.vector_norm(batch.edge_vector, dim=1)
        geometry = (self.radial(distance), self.radial.envelope(distance))
        edges = (batch.edge_source, batch.edge_target, batch.edge_vector)
        scalars = features[:, 0].index_select(0, batch.orbit)
        return {kind: layer(scalars, edges, geometry, len(features)) for kind, layer in self.high.items()}

    def predict_both(self, batch: CrystalBatch) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Two times the same outputs: Born charges as the network gives them, and after its own sum rule."""
        features = self.node_features(batch)
        numbers = batch.numbers[batch.representative]
        high = self._high_degrees(batch, features)
        raw = {}
        for name, readout in self.readouts.items():
            prop = PROPERTIES[name]
            value = readout(features, numbers, high)[batch.orbit]
            if batch.rotation is not None and prop.rank:
                value = rotate(value, batch.rotation, prop.rank)
            if prop.per == "crystal":
                total = value.new_zeros(batch.num_crystals, *prop.shape).index_add(0, batch.atom_crystal, value)
                value = bounded(total / batch.num_atoms.view(-1, *[1] * prop.rank), prop)
            raw[name] = value
        neutral = dict(raw)
        if "born_charges" in raw and self.hypers.sum_rule != "none":
            weights = None
            if self.drift_weight is not None:
                weights = nn.functional.softplus(self.drift_weight(features[:, 0])[:, 0])[batch.orbit]
            neutral["born_charges"] = acoustic_sum_rule(
                raw["born_charges"], batch.atom_crystal, batch.num_crystals, None, weights
            )
        return raw, neutral


def feature_rotation(rotation: Tensor) -> Tensor:
    """Block-diagonal (n, 12, 12) action of orthogonal matrices (n, 3, 3) on the types 0e, 1o, 1e, 2e.

    The 2e block is the conjugation of symmetric traceless matrices written in e3nn's basis.
    """
    result = rotation.new_zeros(len(rotation), NUM_ROWS, NUM_ROWS)
    result[:, 0, 0] = 1.0
    result[:, NODE_ROWS["1o"], NODE_ROWS["1o"]] = rotation
    result[:, NODE_ROWS["1e"], NODE_ROWS["1e"]] = rotation * torch.linalg.det(rotation)[:, None, None]
    basis = _quadrupole_basis().to(rotation)
    result[:, NODE_ROWS["2e"], NODE_ROWS["2e"]] = torch.einsum(
        "mij,nik,njl,pkl->nmp", basis, rotation, rotation, basis
    )
    return result


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
