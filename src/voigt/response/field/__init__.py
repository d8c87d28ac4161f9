"""Electric fields: change of polarization along a path, forces of a field in molecular dynamics, infrared spectra."""

from __future__ import annotations

from voigt.response.field.born_field import BornField, FieldState, load_state, save_state
from voigt.response.field.charges import charge_source, predicted_charges
from voigt.response.field.forces import VACUUM_PERMITTIVITY, field_forces, torch_sim_extras
from voigt.response.field.polarization import PolarizationPath, polarization_path, wrap_polarization
from voigt.response.field.trajectory_spectra import TrajectorySpectrum, trajectory_spectrum

# fmt: off
__all__ = [
    "VACUUM_PERMITTIVITY", "BornField", "FieldState", "PolarizationPath", "TrajectorySpectrum", "charge_source",
    "field_forces", "load_state", "polarization_path", "predicted_charges", "save_state", "torch_sim_extras",
    "trajectory_spectrum", "wrap_polarization",
]
