"""Tensors turned into what is measured: moduli, sound, optics, piezoelectricity; phonons and fields are rooms in it."""

from __future__ import annotations

from voigt.response.elasticity import (
    Moduli,
    Stability,
    born_stability,
    compliance,
    linear_compressibility,
    moduli,
    youngs_modulus,
)
from voigt.response.optics import Optics, reflectivity_normal, refractive_indices
from voigt.response.piezoelectricity import (
    Longitudinal,
    Norms,
    coupling_factor,
    free_permittivity,
    largest_longitudinal,
    longitudinal,
    norms,
    strain_coefficients,
    strain_coefficients_to_voigt,
)
from voigt.response.sound import (
    SoundVelocities,
    Waves,
    christoffel,
    debye_temperature,
    mean_sound_velocity,
    sound_velocities,
)

# fmt: off
__all__ = [
    "Longitudinal", "Moduli", "Norms", "Optics", "SoundVelocities", "Stability", "Waves", "born_stability",
    "christoffel", "compliance", "coupling_factor", "debye_temperature", "free_permittivity", "largest_longitudinal",
    "linear_compressibility", "longitudinal", "mean_sound_velocity", "moduli", "norms", "reflectivity_normal",
    "refractive_indices", "sound_velocities", "strain_coefficients", "strain_coefficients_to_voigt", "youngs_modulus",
]
