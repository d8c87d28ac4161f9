"""Hyper-parameters of Equivar, documented field by field, with the published presets."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from voigt.models.equivariant.hypers import TrunkHypers


class EquivarHypers(TrunkHypers):
    """Configuration of an Equivar network. Defaults are ours; `preset("bm1")` and `preset("bm2")` are the paper's."""

    method: Literal["equivar"] = Field("equivar", description="Name of the method.")
    properties: tuple[str, ...] = Field(("born_charges",), description="What the network predicts.", min_length=1)
    element_reference: bool = Field(True, description="Add a learned isotropic value per element to the output.")
    sum_rule: Literal["none", "equal", "learned"] = Field(
        "equal",
        description="How Born charges are made neutral inside the network: not at all (the paper's training), the same "
        "correction on every atom (Gonze-Lee Eq. 49), or shared out by learned invariant weights.",
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
