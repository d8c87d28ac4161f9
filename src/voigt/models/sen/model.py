"""SEN: scalars of crystals through capsules of structure-chemical patterns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from voigt.graphs import CrystalBatch, CrystalGraph
from voigt.models.elements import NUM_ELEMENTS, ElementEmbedding
from voigt.models.linear import Linear
from voigt.models.network import Network, Outputs, functional_rows
from voigt.models.readout import assembled, bounded, readout_names
from voigt.models.sen import losses
from voigt.models.sen.capsules import POSE, CompetingParts, ObjectCapsules, Objects, PartCapsules, Parts
from voigt.models.sen.composition import Composition, Formula, formula_of
from voigt.models.sen.environment import Environment, Loops, compiled_update, softmax_over_channels
from voigt.models.sen.heads import SYSTEMS, CapsuleReadout, Scalar, SymmetryHead, gap_of
from voigt.models.sen.hypers import SENHypers
from voigt.models.sen.pooling import Set2Set
from voigt.models.sen.segments import Orbits, orbits_of
from voigt.tensors.properties import PROPERTIES

TWO_STAGES = "band_gap"
"""The property whose zeros form a class: metals."""


@dataclass(frozen=True)
class Internals:
    """All that a pass through the network makes on its way to the outputs.

    Attributes
    ----------
    orbits, formula
        Rows of the batch.
    environment
        Vectors of atoms, bonds and state.
    element_weights
        (n_crystals, most elements) attention of the composition branch.
    atom_weights, bond_weights
        Set2Set weights of the orbits, one tensor (n_orbits,) per step.
    crystal
        (n_crystals, embedding).
    parts, objects
        Capsules.
    scalars
        Property name -> the head's output before physical bounds; for a gap, its size in an insulator.
    metal
        Log odds of a metal; None without a gap.
    system, group
        Logits of the symmetry tasks; None without them.
    """

    orbits: Orbits
    formula: Formula
    environment: Environment
    element_weights: Tensor
    atom_weights: tuple[Tensor, ...]
    bond_weights: tuple[Tensor, ...]
    crystal: Tensor
    parts: Parts
    objects: Objects
    scalars: dict[str, Scalar]
    metal: Tensor | None
    system: Tensor | None
    group: Tensor | None


class SEN(Network):
    """Symmetry-enhanced network of capsules (Liang et al., Nat. Commun. 14, 5198 (2023)); see README.md here.

    Everything is invariant under rotations, reflections, translations and the choice of the cell; a crystal's output
    depends on no other crystal of its batch and on no random number.
    """

    system_weight: Tensor
    group_weight: Tensor

    def __init__(self, hypers: SENHypers) -> None:
        super().__init__()
        self.hypers: SENHypers = hypers
        width, names = hypers.width, readout_names(hypers.properties)
        self.atoms = ElementEmbedding(width, shared=True)
        self.state = nn.Parameter(torch.randn(width) * 0.3)
        self.functional = nn.Embedding(len(hypers.functionals), width) if hypers.functionals else None
        self.composition = Composition(hypers)
        self.of_formula = Linear(hypers.composition_width, width)
        self.gate = Linear(hypers.composition_width, 2 * width)
        self.loops = Loops(hypers)
        self.normal_atoms, self.normal_bonds = nn.LayerNorm(width), nn.LayerNorm(hypers.edge_width)
        self.normal_state = nn.LayerNorm(width)
        self.pool_atoms = Set2Set(width, hypers.pooling_steps)
        self.pool_bonds = Set2Set(hypers.edge_width, hypers.pooling_steps)
        self.crystal = nn.Sequential(
            Linear(3 * width + 2 * hypers.edge_width, 2 * hypers.embedding),
            nn.SELU(),
            Linear(2 * hypers.embedding, hypers.embedding),
            nn.SELU(),
        )
        self.parts = CompetingParts(hypers) if hypers.routing == "competition" else PartCapsules(hypers)
        self.objects = ObjectCapsules(hypers)
        self.elements = Linear(POSE + hypers.part_features, NUM_ELEMENTS) if hypers.reconstruction else None
        self.readouts = nn.ModuleDict(
            {name: CapsuleReadout(PROPERTIES[name], hypers, name == TWO_STAGES) for name in names}
        )
        self.metal = CapsuleReadout(PROPERTIES[TWO_STAGES], hypers) if TWO_STAGES in names else None
        self.symmetry = SymmetryHead(hypers) if hypers.crystal_system or hypers.space_group else None
        self.register_buffer("system_weight", torch.ones(len(SYSTEMS)), persistent=False)
        self.register_buffer("group_weight", torch.ones(230), persistent=False)

    def compile_products(self) -> None:
        """Run the update of the bonds through torch.compile: faster after a first call of about half a minute."""
        self.loops.update = compiled_update()

    def prepare_training(self, graphs: Sequence[CrystalGraph]) -> None:
        """Weights of the classes of symmetry: inverse root of their frequency in the training crystals, mean one."""
        if self.symmetry is None:
            return
        groups = torch.tensor([graph.space_group for graph in graphs])
        self.system_weight.copy_(_class_weights(losses.system_index(groups), len(SYSTEMS)))
        self.group_weight.copy_(_class_weights(groups - 1, 230))

    def internals(self, batch: CrystalBatch, record: bool = False, counted: Tensor | None = None) -> Internals:
        """One pass, with the matrices of every stage if `record`; `counted` as in `CompetingParts`."""
        orbits, numbers = orbits_of(batch), batch.numbers[batch.representative]
        formula = formula_of(batch, orbits)
        composition, element_weights = self.composition(formula)
        state = self.state + self.of_formula(composition)
        rows = functional_rows(batch, self.hypers.functionals)
        if self.functional is not None and rows is not None:
            state = state + self.functional(rows)
        environment = self.loops(batch, orbits, self.atoms(numbers), state, record)
        of_atoms, atom_weights = self.pool_atoms(self.normal_atoms(environment.atoms), orbits)
        of_bonds, bond_weights = self.pool_bonds(self.normal_bonds(environment.bonds), orbits)
        gate = softmax_over_channels(self.gate(composition)) * of_atoms.shape[1]
        state = self.normal_state(environment.state)
        crystal = self.crystal(torch.cat([of_atoms * gate, of_bonds, state], dim=1))
        if isinstance(self.parts, CompetingParts):
            # Objects learn from the parts' likelihood alone and teach nothing: their losses cannot outweigh a property.
            parts = self.parts(environment.atoms, orbits, counted)
            objects = self.objects(parts.detached())
            mean_object = (objects.presence[..., None] * objects.features).mean(dim=1).detach()
        else:
            parts = self.parts(environment.atoms, crystal, orbits)
            objects = self.objects(parts)
            mean_object = (objects.presence[..., None] * objects.features).mean(dim=1)

        def output(head: nn.Module) -> Scalar:
            if not isinstance(head, CapsuleReadout):
                raise TypeError("a readout of SEN is a CapsuleReadout")
            scalar: Scalar = head(environment.atoms, parts, crystal, mean_object, numbers, orbits)
            return scalar

        scalars = {name: output(head) for name, head in self.readouts.items()}
        metal = None if self.metal is None else output(self.metal).value
        system, group = (None, None) if self.symmetry is None else self.symmetry(crystal, parts)
        return Internals(
            orbits,
            formula,
            environment,
            element_weights,
            atom_weights,
            bond_weights,
            crystal,
            parts,
            objects,
            scalars,
            metal,
            system,
            group,
        )

    def outputs(self, internals: Internals) -> Outputs:
        """Properties from the heads, within their physical bounds."""
        values = {}
        for name, scalar in internals.scalars.items():
            if name == TWO_STAGES and internals.metal is not None:
                values[name] = gap_of(scalar.value, internals.metal)
            else:
                values[name] = bounded(scalar.value, PROPERTIES[name])
        return assembled(values, self.hypers.properties)

    def forward_raw(self, batch: CrystalBatch) -> tuple[Outputs, Outputs]:
        """Scalars; there is no sum rule to obey."""
        outputs = self.outputs(self.internals(batch))
        return outputs, dict(outputs)

    def training_pass(self, batch: CrystalBatch) -> tuple[Outputs, Outputs]:
        """Outputs, and weighted losses beside those of the properties."""
        counted = losses.counted_crystals(batch)
        internals = self.internals(batch, counted=counted)
        return self.outputs(internals), self._losses(internals, batch, counted)

    def _losses(self, internals: Internals, batch: CrystalBatch, counted: Tensor) -> Outputs:
        hypers, parts, objects = self.hypers, internals.parts, internals.objects
        total: Outputs = {}
        if parts.log_evidence is not None and hypers.clustering:
            total["clustering"] = -hypers.clustering * (counted @ parts.log_evidence)
        if hypers.likelihood:
            total["likelihood"] = hypers.likelihood * losses.likelihood_loss(parts, objects, counted)
        if hypers.prior_sparsity:
            total["prior_sparsity"] = hypers.prior_sparsity * losses.sparsity(objects.presence, counted)
        if hypers.posterior_sparsity:
            chosen = losses.posterior_presence(parts, objects)
            total["posterior_sparsity"] = hypers.posterior_sparsity * losses.sparsity(chosen, counted)
        if self.elements is not None:
            logits = self.elements(torch.cat([parts.pose, parts.features], dim=-1))
            numbers = batch.numbers[batch.representative]
            one_hot = nn.functional.one_hot(numbers, NUM_ELEMENTS).to(logits.dtype)
            fractions = internals.orbits.sum(parts.assignment[:, :, None] * one_hot[:, None])
            total["reconstruction"] = hypers.reconstruction * losses.reconstruction_loss(logits, fractions, counted)
        if internals.metal is not None and TWO_STAGES in batch.targets:
            size, label = internals.scalars[TWO_STAGES].value, batch.targets[TWO_STAGES]
            metal, size = losses.gap_losses(size, internals.metal, label)
            total["metal"], total["gap_size"] = hypers.metal * metal, hypers.gap_size * size
        if internals.system is not None:
            index = losses.system_index(batch.space_group)
            total["crystal_system"] = hypers.crystal_system * losses.class_loss(
                internals.system, index, self.system_weight
            )
        if internals.group is not None:
            total["space_group"] = hypers.space_group * losses.class_loss(
                internals.group, batch.space_group - 1, self.group_weight
            )
        return total


def _class_weights(labels: Tensor, classes: int) -> Tensor:
    counts = torch.bincount(labels[labels >= 0], minlength=classes).double()
    weights = torch.where(counts > 0, counts.clamp(min=1).rsqrt(), 0.0)
    mean = (weights * counts).sum() / counts.sum().clamp(min=1)
    return (weights / mean.clamp(min=1e-12)).float()
