"""Hyper-parameters of Equivar, documented field by field, with the published presets."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from voigt.models.equivariant.hypers import TrunkHypers

MOST_MEMBERS = 100


class EquivarHypers(TrunkHypers):
    """Configuration of an Equivar network. Defaults are ours; `preset("bm1")` and `preset("bm2")` are the paper's."""

    method: Literal["equivar"] = Field("equivar", description="Name of the method.")
    properties: tuple[str, ...] = Field(("born_charges",), description="What the network predicts.", min_length=1)
    element_reference: bool = Field(True, description="Add a learned isotropic value per element to the output.")
    members: int = Field(
        1,
        ge=1,
        le=MOST_MEMBERS,
        description="Readouts of each property. With more than one each stands for a member of the ensemble that the "
        "recipe's `teacher` names; their mean is the prediction, their standard deviation its spread.",
    )
    ionic: Literal["mean", "inverse", "charges"] = Field(
        "mean",
        description="How eps_ionic comes about: the exponential of a mean over the atoms; the inverse of a mean of "
        "inverse tensors; or Born charges that the network predicts too, times a compliance of each atom.",
    )
    sum_rule: Literal["none", "equal", "learned"] = Field(
        "equal",
        description="How Born charges are made neutral inside the network: not at all (the paper's training), the same "
        "correction on every atom (Gonze-Lee Eq. 49), or shared out by learned invariant weights.",
    )

    @property
    def ensemble_size(self) -> int:
        """How many members of an ensemble one network stands for."""
        return self.members

    @model_validator(mode="after")
    def _has_charges(self) -> EquivarHypers:
        if self.ionic == "charges" and "born_charges" not in self.properties:
            raise ValueError("ionic 'charges' needs born_charges among the properties")
        return self


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
