"""Hyper-parameters of Equivar, documented field by field, with the published presets."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from voigt.models.hypers import NetworkHypers


class EquivarHypers(NetworkHypers):
    """Configuration of an Equivar network. Defaults are ours; `preset("bm1")` and `preset("bm2")` are the paper's."""

    method: Literal["equivar"] = Field("equivar", description="Name of the method.")
    properties: tuple[str, ...] = Field(("born_charges",), description="What the network predicts.", min_length=1)
    channels: int = Field(32, ge=1, description="Multiplicity F of each of the node types 0e, 1o, 1e, 2e.")
    interactions: int = Field(3, ge=1, description="Number of message-passing blocks.")
    num_radial: int = Field(16, ge=2, description="Number of Gaussian radial functions, evenly spaced up to cutoff.")
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
    hidden: int = Field(32, ge=1, description="Width of that small network (weights 'radial' and 'pair').")
    update: Literal["linear", "gated"] = Field(
        "gated", description="After aggregation: linear (the paper's), or scalars through SiLU and gates on the rest."
    )
    self_interaction: Literal["none", "species"] = Field(
        "none", description="'species': the residual branch is scaled per element and channel."
    )
    self_product: bool = Field(
        False, description="Add the tensor square of the aggregated messages: angles between neighbours in one block."
    )
    periodic_table: bool = Field(
        True, description="Elements share learned features of their group, period and block, which helps rare ones."
    )
    element_reference: bool = Field(True, description="Add a learned isotropic value per element to the output.")
    sum_rule: Literal["none", "equal", "learned"] = Field(
        "equal",
        description="How Born charges are made neutral inside the network: not at all (the paper's training), the same "
        "correction on every atom (Gonze-Lee Eq. 49), or shared out by learned invariant weights.",
    )
    embedding: int = Field(32, ge=1, description="Width of the element embedding.")
    init: Literal["normal", "uniform"] = Field(
        "normal", description="Initial weights: standard normal, or uniform in (-1, 1) as the released weights."
    )
    normalization: Literal["integral", "component"] = Field(
        "component", description="Spherical harmonics as e3nn's 'integral' (the paper's) or 'component'."
    )
    average_neighbors: float = Field(
        30.0, gt=0, description="Messages are divided by the square root of this number; 1 gives the paper's plain sum."
    )


def preset(name: str) -> EquivarHypers:
    """The published networks: "bm1" (F = 64, 510,081 parameters) and "bm2" (F = 32, 139,905).

    Layer count, cutoff, basis and parameter counts follow Kutana et al., Sci. Rep. 15 (2025) and its released
    evaluation script. Which two of 17 couplings are absent there is unknown (see this folder's README).

    Raises
    ------
    KeyError
        No such preset.
    """
    return EquivarHypers(
        channels={"bm1": 64, "bm2": 32}[name],
        interactions=6,
        cutoff=3.0,
        neighbors="mic",
        num_radial=32,
        envelope="none",
        paths="published",
        weights="shared",
        update="linear",
        periodic_table=False,
        element_reference=False,
        sum_rule="none",
        init="uniform",
        normalization="integral",
        average_neighbors=1.0,
    )
