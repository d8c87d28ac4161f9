"""Hyper-parameters of SEN, documented field by field."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator, model_validator

from voigt.models.hypers import MOST_CUTOFF, Depth, NetworkHypers, Width
from voigt.tensors.properties import PROPERTIES


class SENHypers(NetworkHypers):
    """Configuration of a SEN network."""

    method: Literal["sen"] = Field("sen", description="Name of the method.")
    properties: tuple[str, ...] = Field(
        ("formation_energy",), description="What the network predicts: scalars only.", min_length=1
    )
    width: Width = Field(128, ge=1, description="Width of the vectors of atoms and of the state (paper: 192).")
    edge_width: Width = Field(64, ge=1, description="Width of the vectors of bonds (paper: 192).")
    loops: Depth = Field(3, ge=1, description="Structure-chemical loops.")
    mixing: float = Field(0.6, gt=0, description="Share of an update that is added to the old vector.")
    heads: Width = Field(1, ge=1, description="Products of values and channel attention per update (paper: 12).")
    num_radial: Width = Field(48, ge=2, description="Gaussians of the distance on even centers up to the cutoff.")
    radial_width: float = Field(
        0.3, gt=0, le=MOST_CUTOFF, description="Width w of exp(-(d - center)^2 / w^2), Angstrom (paper: 0.5)."
    )
    envelope: Literal["none", "cosine", "polynomial"] = Field(
        "cosine", description="Factor that takes bonds smoothly to zero at the cutoff; 'none' is the paper's."
    )
    aggregate: Literal["sum", "mean"] = Field(
        "sum", description="Bonds of an atom: sum over average_neighbors, or their mean (the paper's)."
    )
    average_neighbors: float = Field(
        30.0, gt=0, le=1e6, description="Sums over neighbors are divided by this number."
    )
    directions: Literal["none", "moments"] = Field(
        "moments",
        description="What atoms see of directions: nothing (the paper's), or invariants of the dipole and quadrupole "
        "moments of their neighbors, which hold the angles between bonds.",
    )
    direction_width: Width = Field(16, ge=1, description="Channels of these moments.")
    composition_width: Width = Field(64, ge=2, description="Width of the elements' vectors in the composition branch.")
    composition_layers: Depth = Field(3, ge=1, description="Message layers of the composition branch.")
    composition_heads: Width = Field(1, ge=1, description="Attention heads of the composition branch (paper: 3).")
    pooling_steps: Depth = Field(3, ge=1, description="Steps of Set2Set.")
    embedding: Width = Field(128, ge=1, description="Width of the crystal's vector (paper: 256).")
    part_capsules: Width = Field(16, ge=2, description="Part capsules.")
    routing: Literal["attention", "competition"] = Field(
        "attention",
        description="How parts get atoms: 'attention', each part attends to the atoms and its presence is a softmax "
        "over parts, which ends on one part in every crystal; 'competition', atoms are shared out among parts, and "
        "presence is the share of the atoms that a part holds.",
    )
    concentration: float = Field(
        20.0, gt=0, le=1000, description="With competition: how sharply atoms are told apart, in units of cosines."
    )
    balance: float = Field(
        0.05, ge=0, le=1, description="With competition: step by which parts are kept equally loaded in training."
    )
    clustering: float = Field(
        0.1, ge=0, description="With competition: weight of -log p(atoms | parts), which moves the parts' centers only."
    )
    part_features: Width = Field(16, ge=1, description="Features of a part capsule, besides pose and presence.")
    object_capsules: Width = Field(10, ge=1, description="Object capsules.")
    object_width: Width = Field(64, ge=1, description="Width of the set transformer and of the object capsules.")
    object_layers: Depth = Field(3, ge=1, description="Self-attention layers of the set transformer.")
    noise: float = Field(0.0, ge=0, description="Width of uniform noise on presences in training (paper: 4).")
    dropout: float = Field(0.0, ge=0, lt=1, description="Dropout in the set transformer (paper: 0.25).")
    likelihood: float = Field(
        0.01, ge=0, description="Weight of -log p(poses of part capsules | object capsules); 0: as released."
    )
    reconstruction: float = Field(
        0.01, ge=0, description="Weight of the cross entropy by which a part capsule tells the elements of its atoms."
    )
    prior_sparsity: float = Field(0.01, ge=0, description="Weight of: few object capsules per crystal, all in a batch.")
    posterior_sparsity: float = Field(
        0.01, ge=0, description="Weight of the same for the parts that are assigned to object capsules."
    )
    metal: float = Field(0.3, ge=0, description="Weight of the cross entropy of 'is a metal' (with band_gap).")
    gap_size: float = Field(0.5, ge=0, description="Weight of the gap's error in insulators alone (with band_gap).")
    crystal_system: float = Field(0.0, ge=0, description="Weight of the crystal-system task; 0: no such head.")
    space_group: float = Field(0.0, ge=0, description="Weight of the space-group task; 0: no such head.")
    element_reference: bool = Field(True, description="Add a learned value per element to the output.")

    @property
    def uses_rotations(self) -> bool:
        """Invariant features need no operations from representatives to atoms."""
        return False

    @field_validator("properties")
    @classmethod
    def _scalars(cls, properties: tuple[str, ...]) -> tuple[str, ...]:
        tensors = [name for name in properties if name in PROPERTIES and PROPERTIES[name].rank]
        if tensors:
            raise ValueError(f"sen predicts scalars; train {', '.join(tensors)} with method equivar or goectp")
        return properties

    @model_validator(mode="after")
    def _all_images(self) -> SENHypers:
        if self.neighbors != "all":
            raise ValueError("neighbors 'mic' is a variant of equivar only")
        return self
