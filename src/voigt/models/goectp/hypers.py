"""Hyper-parameters of GoeCTP: a canonical frame around a backbone, documented field by field."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from voigt.graphs import AxesOptions
from voigt.models.hypers import Depth, NetworkHypers, Width
from voigt.tensors.properties import PROPERTIES


class GoeCTPHypers(NetworkHypers):
    """Configuration of a GoeCTP network."""

    method: Literal["goectp"] = Field("goectp", description="Name of the method.")
    properties: tuple[str, ...] = Field(("eps_inf",), description="What the network predicts.", min_length=1)
    backbone: Literal["ecomformer", "icomformer", "crystalformer", "equivar"] = Field(
        "equivar", description="The network that reads the crystal in its canonical axes."
    )
    frame: Literal["none", "single", "stochastic", "average"] = Field(
        "average",
        description="Axes in which the tensor is predicted: those of the input file (not equivariant, for comparison), "
        "one canonical frame (the paper's), or the mean over all frames of equivalent lattice vectors, which has the "
        "crystal's symmetry exactly; 'stochastic' trains on one of these at random and predicts with the mean.",
    )
    cell: Literal["none", "niggli", "primitive"] = Field(
        "primitive",
        description="Lattice vectors that define the frame: as given, Niggli-reduced, or those of the primitive cell, "
        "Niggli-reduced: then every description of a crystal has the same frames.",
    )
    directions: Literal["none", "components", "harmonics"] = Field(
        "harmonics",
        description="What the backbone sees of directions in the canonical axes: nothing (the paper's), the components "
        "of unit vectors, or also their products (harmonics up to degree 2).",
    )
    width: Width = Field(64, ge=1, description="Width of the atoms' features (equivar: channels of every type).")
    layers: Depth = Field(3, ge=1, description="Number of message-passing layers.")
    heads: Width = Field(4, ge=1, description="Attention heads (crystalformer).")
    num_radial: Width = Field(
        32, ge=2, description="Number of radial functions of the distance (equivar has its own 16)."
    )
    envelope: Literal["none", "cosine", "polynomial"] = Field(
        "cosine", description="Factor that takes edge features smoothly to zero at the cutoff."
    )
    hidden: Width = Field(128, ge=1, description="Width of the head's hidden layer.")
    average_neighbors: float = Field(
        30.0, gt=0, le=1e6, description="Sums over neighbors are divided by the root of this."
    )
    element_reference: bool = Field(True, description="Add a learned isotropic value per element to the output.")
    equivariant_readout: bool = Field(
        False, description="Add Equivar's own readout to the head's tensor, which then is a correction (equivar)."
    )
    sum_rule: Literal["none", "equal"] = Field(
        "equal", description="How Born charges are made neutral inside the network."
    )

    @property
    def blind(self) -> bool:
        """Whether the backbone's features depend on neither the axes nor the choice of lattice vectors."""
        return self.directions == "none" and self.backbone != "icomformer"

    @property
    def axes_options(self) -> AxesOptions:
        """Canonical frames that graphs must carry."""
        per_atom = any(PROPERTIES[name].per == "atom" for name in self.properties if name in PROPERTIES)
        mode: Literal["none", "single", "average"] = "average" if self.frame == "stochastic" else self.frame
        # Cosets need tensors of whole crystals: for atoms the operations would have to carry atoms along.
        return AxesOptions(mode, self.cell, reduce=self.blind or self.backbone == "equivar", cosets=not per_atom)

    @model_validator(mode="after")
    def _averages_need_directions(self) -> GoeCTPHypers:
        if self.frame in ("average", "stochastic") and self.blind:
            raise ValueError(
                f"frame '{self.frame}' needs a backbone that sees directions: without them every tensor would get the "
                "symmetry of the empty lattice; set directions to 'harmonics' or frame to 'single'"
            )
        if self.equivariant_readout and self.backbone != "equivar":
            raise ValueError("equivariant_readout needs backbone 'equivar'")
        if self.neighbors != "all":
            raise ValueError("neighbors 'mic' is a variant of equivar only")
        if self.backbone == "crystalformer" and self.width % self.heads:
            raise ValueError(f"heads ({self.heads}) must divide width ({self.width})")
        return self
