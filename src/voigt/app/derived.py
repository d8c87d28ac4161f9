"""What follows from predicted tensors, as plain data: refraction, moduli, principal axes."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from voigt.app.schema import Derived, ModuliData, OpticsData, PrincipalData
from voigt.errors import VoigtError
from voigt.response.elasticity import born_stability, compliance, moduli, youngs_modulus
from voigt.response.optics import refractive_indices
from voigt.tensors.voigt import elastic_to_voigt

Tensors = Mapping[str, NDArray[np.float64]]

_PERMITTIVITIES = ("eps_inf", "eps_ionic", "eps_total")
_ENGINEERING = np.outer([1, 1, 1, 2, 2, 2], [1, 1, 1, 2, 2, 2])
"""Factors between S[i, j, k, l] and the compliance of tables, s_IJ."""
_FINE = 60
"""Directions from pole to pole, among which the extremes of Young's modulus are sought."""


def derived(tensors: Tensors) -> Derived:
    """What `voigt.response` makes of Cartesian tensors by name.

    Examples
    --------
    >>> found = derived({"eps_inf": np.diag([4.0, 4.0, 9.0])})
    >>> found.optics.kind, found.optics.indices, found.moduli
    ('uniaxial', [2.0, 2.0, 3.0], None)
    """
    reasons: dict[str, str] = {}
    return Derived(
        optics=_optics(tensors, reasons),
        moduli=_moduli(tensors, reasons),
        principal=[_principal(name, tensors[name]) for name in _PERMITTIVITIES if name in tensors],
        reasons=reasons,
    )


def _optics(tensors: Tensors, reasons: dict[str, str]) -> OpticsData | None:
    if "eps_inf" not in tensors:
        return None
    try:
        found = refractive_indices(tensors["eps_inf"])
    except VoigtError as error:
        reasons["optics"] = str(error)
        return None
    return OpticsData(
        kind=found.kind,
        indices=found.indices.tolist(),
        axes=found.axes.tolist(),
        mean_index=float(found.mean_index),
        birefringence=float(found.birefringence),
        sign=found.sign,
        optic_axes=found.optic_axes.tolist(),
        axial_angle=found.axial_angle,
    )


def _moduli(tensors: Tensors, reasons: dict[str, str]) -> ModuliData | None:
    if "elastic" not in tensors:
        return None
    elastic = tensors["elastic"]
    try:
        stability = born_stability(elastic)
        if not stability.stable:
            smallest = float(stability.smallest_eigenvalue)
            reasons["moduli"] = f"not mechanically stable: smallest eigenvalue {smallest:.1f} GPa, no averages"
            return None
        average, inverse = moduli(elastic), compliance(elastic)
        young = youngs_modulus(elastic, _directions())
    except VoigtError as error:
        reasons["moduli"] = str(error)
        return None
    return ModuliData(
        bulk_voigt=float(average.bulk_voigt),
        bulk_reuss=float(average.bulk_reuss),
        bulk_hill=float(average.bulk_hill),
        shear_voigt=float(average.shear_voigt),
        shear_reuss=float(average.shear_reuss),
        shear_hill=float(average.shear_hill),
        young=float(average.young),
        poisson=float(average.poisson),
        pugh=float(average.pugh),
        universal_anisotropy=float(average.universal_anisotropy),
        compliance=(elastic_to_voigt(inverse) * _ENGINEERING).tolist(),
        young_range=[float(young.min()), float(young.max())],
    )


def _principal(name: str, tensor: NDArray[np.float64]) -> PrincipalData:
    values, vectors = np.linalg.eigh((tensor + tensor.T) / 2)
    return PrincipalData(property=name, values=values.tolist(), axes=vectors.T.tolist())


def _directions() -> NDArray[np.float64]:
    """(n, 3) unit vectors over half of the sphere, the axes and diagonals of a cube among them."""
    theta = np.linspace(0, np.pi / 2, _FINE // 2 + 1)
    phi = np.linspace(0, 2 * np.pi, 2 * _FINE, endpoint=False)
    t, p = (grid.ravel() for grid in np.meshgrid(theta, phi, indexing="ij"))
    sphere = np.stack([np.sin(t) * np.cos(p), np.sin(t) * np.sin(p), np.cos(t)], axis=1)
    special = np.array([[x, y, z] for x in (0, 1) for y in (-1, 0, 1) for z in (-1, 0, 1) if x or y or z], dtype=float)
    return np.concatenate([sphere, special / np.linalg.norm(special, axis=1, keepdims=True)])
