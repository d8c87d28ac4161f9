"""Forces of a homogeneous field, and the arrays that torch-sim makes them of."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike
from scipy import constants

from voigt.errors import InputError
from voigt.response.arrays import Array

if TYPE_CHECKING:
    import torch


LARGEST_FIELD = 10.0
"""V/A; no crystal stands a tenth of it, so that a larger one is in another unit."""
VACUUM_PERMITTIVITY = constants.epsilon_0 / constants.e * constants.angstrom
"""e / (V A): 0.005526."""


def field_forces(born_charges: ArrayLike, field: ArrayLike) -> Array:
    """(n_atoms, 3) forces in eV/A, F_aj = e sum_i E_i Z[a, i, j]: the field (V/A) meets the first index of Z.

    Examples
    --------
    >>> field_forces([2 * np.eye(3), -2 * np.eye(3)], [0, 0, 0.01])[:, 2]
    array([ 0.02, -0.02])
    """
    return np.asarray(np.einsum("i,aij->aj", checked_field(field), np.asarray(born_charges, dtype=np.float64)))


def torch_sim_extras(
    born_charges: ArrayLike,
    eps_inf: ArrayLike,
    volume: float,
    field: ArrayLike,
    dipole: ArrayLike = (0.0, 0.0, 0.0),
) -> dict[str, torch.Tensor]:
    """What torch-sim's `UniformPolarizationModel` reads from the state of one crystal, as float64 tensors.

    `SimState(..., **torch_sim_extras(...))` files them as atom and system extras. For several crystals concatenate each
    key along the first axis. torch-sim adds the forces E.Z, the energy -E.M - E.alpha.E / 2, and no stress; energy and
    forces agree as long as M and Z are renewed at every geometry.

    Parameters
    ----------
    born_charges, eps_inf, volume, field
        (n_atoms, 3, 3) Z[atom, field, displacement] in e, the index order of torch-sim; (3, 3); A^3; (3,) V/A.
    dipole
        (3,) dipole M of the cell (not per volume) in e A, from any reference, for example `BornField.state.dipole`.

    Returns
    -------
    dict
        born_effective_charges (n_atoms, 3, 3) in e; polarizability (1, 3, 3) = eps0 V (eps_inf - 1) in e A / (V/A) =
        e^2 A^2 / eV; total_polarization (1, 3) in e A; external_E_field (1, 3) in V/A.

    Examples
    --------
    >>> extras = torch_sim_extras([2 * np.eye(3), -2 * np.eye(3)], 3 * np.eye(3), 18.7, [0, 0, 0.01])
    >>> {name: tuple(tensor.shape) for name, tensor in extras.items()}["polarizability"]
    (1, 3, 3)
    """
    import torch

    electronic = VACUUM_PERMITTIVITY * volume * (np.asarray(eps_inf, dtype=np.float64) - np.eye(3))
    return {
        "born_effective_charges": torch.tensor(np.asarray(born_charges), dtype=torch.float64),
        "polarizability": torch.tensor(electronic[None], dtype=torch.float64),
        "total_polarization": torch.tensor(np.asarray(dipole)[None], dtype=torch.float64),
        "external_E_field": torch.tensor(checked_field(field)[None], dtype=torch.float64),
    }


def checked_field(field: ArrayLike) -> Array:
    """(3,) V/A, or InputError for another shape or a size that hints at another unit."""
    vector = np.asarray(field, dtype=np.float64)
    if vector.shape != (3,) or not np.isfinite(vector).all():
        raise InputError(f"the field must be three finite numbers in V/A, not {field!r}")
    if np.linalg.norm(vector) > LARGEST_FIELD:
        raise InputError(
            f"a field of {np.linalg.norm(vector):.3g} V/A is more than any crystal stands; give it in V/A (1 V/A = "
            "1e10 V/m = 100 MV/cm)"
        )
    return vector
