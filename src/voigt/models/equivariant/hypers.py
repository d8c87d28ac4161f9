"""Hyper-parameters of the message passing that methods share, documented field by field."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from voigt.models.hypers import Depth, NetworkHypers, Width


class TrunkHypers(NetworkHypers):
    """Configuration of the equivariant message passing."""

    method: str = Field("equivariant", description="Name of the method that the message passing serves.")
    channels: Width = Field(32, ge=1, description="Multiplicity F of each of the node types 0e, 1o, 1e, 2e.")
    interactions: Depth = Field(3, ge=1, description="Number of message-passing blocks.")
    num_radial: Width = Field(16, ge=2, description="Number of Gaussian radial functions, evenly spaced up to cutoff.")
    envelope: Literal["none", "cosine", "polynomial"] = Field(
        "cosine", description="Factor that takes edge features smoothly to zero at the cutoff; 'none' is the paper's."
    )
    paths: Literal["full", "published"] = Field(
        "full", description="All 17 couplings, or the 15 that reproduce the published parameter counts."
    )
    weights: Literal["shared", "radial", "pair"] = Field(
        "pair",
        description="Coupling strengths per edge: 'shared' is linear in the radial functions with weights common to "
        "all edges (the paper's); 'radial' a small network of the distance; 'pair' also of the scalars of both ends.",
    )
    hidden: Width = Field(32, ge=1, description="Width of that small network (weights 'radial' and 'pair').")
    update: Literal["linear", "gated"] = Field(
        "gated", description="After aggregation: linear (the paper's), or scalars through SiLU and gates on the rest."
    )
    self_interaction: Literal["none", "species"] = Field(
        "none", description="'species': the residual branch is scaled per element and channel."
    )
    self_product: bool = Field(
        False, description="Add the tensor square of the aggregated messages: angles between neighbors in one block."
    )
    periodic_table: bool = Field(
        True, description="Elements share learned features of their group, period and block, which helps rare ones."
    )
    embedding: Width = Field(32, ge=1, description="Width of the element embedding.")
    init: Literal["normal", "uniform"] = Field(
        "normal", description="Initial weights: standard normal, or uniform in (-1, 1) as the released weights."
    )
    normalization: Literal["integral", "component"] = Field(
        "component", description="Spherical harmonics as e3nn's 'integral' (the paper's) or 'component'."
    )
    average_neighbors: float = Field(
        30.0,
        gt=0,
        le=1e6,
        description="Messages are divided by the square root of this number; 1 gives the paper's plain sum.",
    )
