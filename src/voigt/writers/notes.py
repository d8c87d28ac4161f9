"""Notes below the tables: diagnostics of a prediction, and what follows from a tensor."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from voigt.errors import VoigtError
from voigt.tensors.properties import Property
from voigt.writers.layout import norm

if TYPE_CHECKING:
    from voigt.prediction.result import Prediction


def table_notes(prediction: Prediction, prop: Property, all_atoms: bool) -> list[str]:
    """Lines below the table of one property."""
    notes = []
    if prop.per == "atom":
        shown = "every atom" if all_atoms else "one atom of each symmetry-equivalent set"
        notes.append(f"{shown}, counted from 0; site: multiplicity and Wyckoff letter")
    if prop.name == "born_charges" and prediction.drift is not None:
        drift = float(abs(prediction.drift).max())
        count = len(prediction.atoms)
        notes.append(f"raw charge drift max |sum Z|: {drift:.4f} e per cell, {drift / count:.4f} e per atom")
    notes += derived(prop, prediction.values[prop.name])
    if prop.name in prediction.residual:
        notes.append(f"raw symmetry residual |T - PT|/|T|: {prediction.residual[prop.name]:.1e}")
    if prop.name in prediction.spread:
        if prop.per == "atom":
            notes.append("spread: Frobenius norm of the standard deviation over the ensemble")
        else:
            spread = float(norm(prop, prediction.spread[prop.name]))
            notes.append(f"spread over the ensemble (Frobenius norm): {spread:.3f}")
    return notes


def derived(prop: Property, tensor: NDArray[np.float64]) -> list[str]:
    """What `voigt.response` makes of one Cartesian tensor; nothing where the tensor makes no sense."""
    try:
        if prop.name == "eps_inf":
            return [_refraction(tensor)]
        if prop.name == "elastic":
            return _stiffness(tensor)
    except VoigtError:  # a wild prediction: not finite, or no light travels
        pass
    return []


def _refraction(eps_inf: NDArray[np.float64]) -> str:
    from voigt.response.optics import refractive_indices

    optics = refractive_indices(eps_inf)
    if optics.kind == "isotropic":
        return f"refractive index {optics.mean_index:.3f} (isotropic)"
    indices = ", ".join(f"{index:.3f}" for index in optics.indices)
    sign = "positive" if optics.sign > 0 else "negative"
    return f"refractive indices {indices}, birefringence {optics.birefringence:.3f} ({optics.kind}, {sign})"


def _stiffness(elastic: NDArray[np.float64]) -> list[str]:
    from voigt.response.elasticity import born_stability, moduli

    stability = born_stability(elastic)
    if not stability.stable:
        return [f"not mechanically stable: smallest eigenvalue {stability.smallest_eigenvalue:.1f} GPa, no averages"]
    average = moduli(elastic)
    return [
        f"bulk modulus K_H {average.bulk_hill:.1f} GPa, shear modulus G_H {average.shear_hill:.1f} GPa, "
        f"Young E {average.young:.1f} GPa, Poisson nu {average.poisson:.3f}",
        f"universal anisotropy {average.universal_anisotropy:.3f}, mechanically stable "
        f"(smallest eigenvalue {stability.smallest_eigenvalue:.1f} GPa)",
    ]
