"""Piezoelectricity of relaxing ions: Born charges times the displacements that strain causes inside the cell.

e = e_clamped + e_ionic; Wu, Vanderbilt and Hamann, Phys. Rev. B 72, 035105 (2005). The internal strain comes from a
calculator by finite differences, see `voigt.response.phonons.strained_cells`. Force constants of a supercell give it
too, as the forces that their first moments predict for a homogeneous strain (Born and Huang, Dynamical Theory of
Crystal Lattices (1954), chapter V), but only roughly in crystals whose electrons respond to strain; see
`internal_strain_of_force_constants`.

Index order: internal strain [atom, force, strain, strain], e[polarization, strain, strain]; strains are symmetric
tensors, of which `voigt.tensors.voigt.piezo_to_voigt` makes the Voigt matrix against engineering strain.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike
from scipy import constants

from voigt.errors import DomainError, InputError
from voigt.response.arrays import Array
from voigt.response.phonons.modes import acoustic_pseudo_inverse, unstable_directions

if TYPE_CHECKING:
    from phonopy import Phonopy


_CHARGE_PER_AREA = constants.elementary_charge / constants.angstrom**2
"""C/m^2 per e/Angstrom^2."""


@dataclass(frozen=True)
class MomentStrain:
    """Internal strain from first moments of force constants.

    Attributes
    ----------
    values
        (n_atoms, 3, 3, 3) eV/Angstrom, symmetric in the strain indices, forces adding up to zero.
    defect
        What had to be removed for that, as part of the norm: antisymmetric moments, which would make a rotation cause
        forces, and net forces. The error of `values` is at least of this order.
    """

    values: Array
    defect: float


def ionic_piezo(
    force_constants: ArrayLike, internal_strain: ArrayLike, born_charges: ArrayLike, volume: float
) -> Array:
    """e_ionic[i, j, k] = (e/V) sum_ab Z[a, i, b] du_ab/d eta_jk (3, 3, 3) in C/m^2, at constant (zero) field.

    The result is proper: a rigid translation or rotation adds nothing. Add `piezo_clamped` for what is measured with
    free ions; `voigt.response.piezoelectricity.strain_coefficients` makes d of it. InputError for arrays that do not
    belong together, DomainError for an unstable crystal: its ions do not relax to a minimum.

    Parameters
    ----------
    force_constants, volume
        As `gamma_force_constants` gives them, eV/Angstrom^2; of the cell, Angstrom^3.
    internal_strain, born_charges
        (n_atoms, 3, 3, 3) -dF[a, b]/d eta_jk of the same atoms, eV/Angstrom; (n_atoms, 3, 3) Z[atom, field,
        displacement] in e, which must obey the acoustic sum rule.

    Examples
    --------
    Two ions of charge 2 e, a spring of 10 eV/Angstrom^2, and a shear that pulls them apart with 1 eV/Angstrom.

    >>> springs = 10 * np.einsum("ij,ab->ijab", [[1, -1], [-1, 1]], np.eye(3))
    >>> strain = np.zeros((2, 3, 3, 3))
    >>> strain[0, 0, 1, 2] = strain[0, 0, 2, 1] = -1.0
    >>> e = ionic_piezo(springs, strain - strain[::-1], [2 * np.eye(3), -2 * np.eye(3)], 20.0)
    >>> print(f"{e[0, 1, 2]:.4f} C/m^2")
    0.1602 C/m^2
    """
    born = np.asarray(born_charges, dtype=np.float64)
    # dP/d eta at relaxed ions less that at clamped ones: charges times how far the ions move.
    displacements = internal_displacements(force_constants, internal_strain)
    if born.shape != displacements.shape[:2] + (3,):
        raise InputError(
            f"Born charges of shape {born.shape} do not belong to {len(displacements)} atoms; give one each"
        )
    return np.asarray(np.einsum("aib,abjk->ijk", born, displacements) * (_CHARGE_PER_AREA / volume))


def internal_displacements(force_constants: ArrayLike, internal_strain: ArrayLike) -> Array:
    """du[a, b]/d eta_jk = -Phi^+ Lambda (n_atoms, 3, 3, 3) in Angstrom: where ions go besides following the strain.

    Parameters and errors as in `ionic_piezo`. Translations are left out by the pseudo-inverse of the force constants.
    """
    strain = np.asarray(internal_strain, dtype=np.float64)
    phi = np.asarray(force_constants, dtype=np.float64)
    if strain.shape != (len(phi), 3, 3, 3) or not np.isfinite(strain).all():
        raise InputError(
            f"the internal strain of {len(phi)} atoms must be finite ({len(phi)}, 3, 3, 3), not of shape {strain.shape}"
        )
    if unstable := unstable_directions(phi):
        raise DomainError(
            f"the crystal is unstable in {unstable} direction{'' if unstable == 1 else 's'} at Gamma: its ions have no "
            "equilibrium that strain could shift; relax the structure first"
        )
    # At equilibrium Phi u + Lambda eta = 0; the pseudo-inverse leaves out rigid translations, which cost nothing.
    symmetric = (strain + strain.swapaxes(2, 3)) / 2
    return np.asarray(-np.einsum("ijab,jbcd->iacd", acoustic_pseudo_inverse(phi), symmetric))


def internal_strain_of_force_constants(phonon: Phonopy) -> MomentStrain:
    """Estimate of the internal strain from first moments of force constants.

    Lambda[a, b, j, k] = sum_c Phi_bj(a, c) (r_c - r_a)_k over all atoms c of the crystal. The supercell must hold the
    range of the force constants. Those between dipoles fall off too slowly for that: with `nac_params` they are taken
    out (Gonze and Lee, Phys. Rev. B 55, 10355 (1997)), and their moments added from the sum over reciprocal vectors
    without the macroscopic field. So it is exact for short-ranged and for rigid-ion models. In a real crystal strain
    also polarizes the electrons; the forces of these quadrupoles (r^-4) are missed, and components can be wrong by as
    much as their own size (along the polar axis of wurtzite). Take `strained_cells` for numbers. The
    structure must be relaxed, and a polar crystal needs `nac_params`; InputError if there are no force constants.
    """
    from phonopy.harmonic.dynamical_matrix import DynamicalMatrixGL

    if phonon.force_constants is None:
        raise InputError("the phonopy object has no force constants; produce them first")
    matrix = phonon.dynamical_matrix
    if isinstance(matrix, DynamicalMatrixGL):
        matrix.make_Gonze_nac_dataset()
        short, _, _, reciprocal, width = matrix.Gonze_nac_dataset
        moments = _first_moments(phonon, np.asarray(short)) + _dipole_moments(phonon, reciprocal, width)
    else:
        moments = _first_moments(phonon, np.asarray(phonon.force_constants))
    # A rotation and the crystal as a whole feel no forces: the antisymmetric part and the mean are errors.
    values = (moments + moments.swapaxes(2, 3)) / 2
    values = values - values.mean(axis=0)
    scale = float(np.linalg.norm(moments))
    return MomentStrain(values, float(np.linalg.norm(moments - values)) / scale if scale else 0.0)


def _first_moments(phonon: Phonopy, force_constants: Array) -> Array:
    """Sum over atoms of the supercell, at their images nearest to a, of Phi_bj (r - r_a)_k."""
    primitive = phonon.primitive
    rows = force_constants if len(force_constants) == len(primitive) else force_constants[primitive.p2s_map]
    vectors, multiplicity = primitive.get_smallest_vectors()
    result = np.zeros((len(primitive), 3, 3, 3))
    for a in range(len(primitive)):
        for c in range(len(phonon.supercell)):
            count, start = multiplicity[c, a]
            mean = vectors[start : start + count].mean(axis=0) @ primitive.cell
            result[a] += rows[a, c][:, :, None] * mean
    return result


def _dipole_moments(phonon: Phonopy, reciprocal: Array, width: float) -> Array:
    """First moments of the dipole-dipole force constants that phonopy subtracts, from their sum over K != 0.

    With K = G + q in 1/Angstrom without 2 pi, Phi(q) = 4 pi f/V sum_G (K.Z_a)(K.Z_c) g(K) exp(2 pi i G.(r_a - r_c)),
    g(K) = exp(-K.eps.K / 4 width^2) / K.eps.K; moments are its derivative with respect to 2 pi i q at q = 0. Terms with
    G = 0 are the macroscopic field.
    """
    nac = phonon.nac_params
    if nac is None:
        raise InputError("the phonopy object has lost its nac_params; set them again")
    born, eps = np.asarray(nac["born"]), np.asarray(nac["dielectric"])
    primitive = phonon.primitive
    vectors = reciprocal[np.linalg.norm(reciprocal, axis=1) > 1e-8]
    field = vectors @ eps
    norm = np.einsum("gi,gi->g", vectors, field)
    weight = np.exp(-norm / (4 * width**2)) / norm
    # d g / d(2 pi i q) along each axis, from K = G + q.
    slope = -2 * weight[:, None] * field * (1 / norm + 1 / (4 * width**2))[:, None]
    phases = np.exp(2j * np.pi * vectors @ primitive.positions.T)
    dipoles = np.einsum("gi,aib->gab", vectors, born)
    cell = np.einsum("gc,gcj->gj", phases.conj(), dipoles)  # of all atoms moving alike
    charges = np.einsum("gc,ckj->gkj", phases.conj(), born)
    # The product rule over the two dipoles K.Z and the weight g(K); the phases belong to G and stay.
    derivative = (
        np.einsum("ga,akb,gj,g->abjk", phases, born, cell, weight, optimize=True)
        + np.einsum("ga,gab,gkj,g->abjk", phases, dipoles, charges, weight, optimize=True)
        + np.einsum("ga,gab,gj,gk->abjk", phases, dipoles, cell, slope, optimize=True)
    )
    factor = 4 * np.pi * float(nac["factor"]) / primitive.volume
    return np.asarray(derivative.imag * factor / (2 * np.pi))
