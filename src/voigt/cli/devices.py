"""Which device the networks of a command run on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from voigt.cli.faults import tell

if TYPE_CHECKING:
    import torch


def tell_device(device: torch.device, quiet: bool) -> None:
    """One line on standard error where it is not the CPU."""
    from voigt.models.devices import describe

    if device.type != "cpu" and not quiet:
        tell(f"networks run on {describe(device)}")
