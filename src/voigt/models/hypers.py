"""What the hyper-parameters of every method have in common."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from voigt.graphs import AxesOptions

Width = Annotated[int, Field(le=4096)]
Depth = Annotated[int, Field(le=100)]
MOST_CUTOFF = 20.0
"""Bounds on hyper-parameters, far beyond what is of use: a file of a stranger must not ask for all memory."""


class NetworkHypers(BaseModel):
    """Hyper-parameters that the rest of the package asks every method for."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    method: str
    properties: tuple[str, ...] = Field(description="What the network predicts.", min_length=1)
    functionals: tuple[str, ...] = Field(
        (), description="Labels the network is conditioned on; the first is the default. Empty: not conditioned."
    )
    cutoff: float = Field(5.0, gt=0, le=MOST_CUTOFF, description="Radius of the neighbor list, Angstrom.")
    neighbors: Literal["all", "mic"] = Field(
        "all", description="Every periodic image, or only the nearest as the released script (wrong in small cells)."
    )

    @property
    def axes_options(self) -> AxesOptions | None:
        """Canonical frames that graphs must carry; None: none."""
        return None

    @property
    def ensemble_size(self) -> int:
        """How many members of an ensemble one network stands for."""
        return 1

    @property
    def uses_rotations(self) -> bool:
        """Whether the network needs the operations that map representatives onto the other atoms of their orbits."""
        return True
