"""Strained cells and a potential: elastic tensors with clamped and with free ions, and the whole of piezoelectricity.

One set of strained cells gives forces, which are the internal strain, and stresses, which are the elastic tensor at
fixed fractional coordinates. With force constants the ions relax: Wu, Vanderbilt and Hamann, Phys. Rev. B 72, 035105
(2005). All this is at constant, namely zero, macroscopic field, which periodic cells have by themselves.

Elastic constants here are Brugger's: C_ijkl = (1/V) d2E/d eta_ij d eta_kl with Lagrangian strain eta = (F^T F - 1)/2 of
a deformation F, and V the volume of the cell given. They have all index symmetries whatever the residual stress s,
which is why they are taken. What relates Cauchy's stress to a small further strain are Birch's coefficients,

    B_ijkl = C_ijkl + (s_ik d_jl + s_il d_jk + s_jk d_il + s_jl d_ik)/2 - s_ij d_kl,

symmetric under exchange of the pairs for hydrostatic stress only. Barron and Klein, Proc. Phys. Soc. 85, 523 (1965);
Wallace, Thermodynamics of Crystals (1972), chapter 1. Without stress they are the same.

Index order: internal strain [atom, force, strain, strain], e[polarization, strain, strain], C[i, j, k, l].
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any

import ase
import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import constants

from voigt.errors import DomainError, InputError
from voigt.notes import Note
from voigt.response.arrays import Array
from voigt.response.elasticity import born_stability
from voigt.response.phonons.force_constants import RELAXED
from voigt.response.phonons.internal_strain import internal_displacements
from voigt.response.piezoelectricity import free_permittivity, strain_coefficients
from voigt.response.potentials.evaluation import forces_of, name_of, stress_of
from voigt.structures.cells import require_sound
from voigt.structures.symmetry import find_symmetry
from voigt.tensors.voigt import symmetric_from_voigt

if TYPE_CHECKING:
    from voigt.structures.symmetry import Symmetry

STEP = 2e-3
"""Norm of strains: far above the noise of potentials in single precision, and small enough for straight lines."""
LARGEST_STEP = 0.02
STRESSED = 1.0
"""GPa of residual stress, which changes elastic constants by some percent."""
ASYMMETRIC = 0.02
"""Share of a tensor that symmetry forbids, above which the potential is in doubt."""
_NOISE = 0.1
"""eV/Angstrom: errors of internal strain below this are noise, also where symmetry forbids all of it."""
_CONDITION = 0.1
"""Least share of a strain that must be among the images of those calculated, so that errors hardly grow."""
_EQUAL = 0.02
"""Norm of the difference between two strains of norm 1 that are one, in a crystal that is symmetric within symprec."""

_GPA = constants.elementary_charge / constants.angstrom**3 / 1e9
"""GPa per eV/Angstrom^3."""


@dataclass(frozen=True)
class StrainResponse:
    """Forces and stresses of a homogeneously strained crystal whose fractional coordinates are kept.

    Attributes
    ----------
    internal_strain
        (n_atoms, 3, 3, 3) -dF[a, b]/d eta_jk in eV/Angstrom, forces adding up to zero.
    elastic_clamped
        (3, 3, 3, 3) GPa, with all index symmetries; None if the calculator gives no stress.
    stress
        (3, 3) GPa, residual stress of the cell as given, tensile positive; None likewise.
    asymmetry
        Norm of C_ijkl - C_klij as part of that of C before these pairs are exchanged: zero if stresses are slopes of an
        energy, and in a cubic crystal whose space group is used; None likewise.
    notes
        What was calculated ("processing"), forces and stress that remain ("not_relaxed"), and results that contradict
        the space group or an energy ("asymmetric_forces").
    """

    internal_strain: Array
    elastic_clamped: Array | None
    stress: Array | None
    asymmetry: float | None
    notes: tuple[Note, ...]


@dataclass(frozen=True)
class WholePiezo:
    """Piezoelectricity with free ions, static, as experiments see it.

    Attributes
    ----------
    e_clamped, e_ionic, e
        (3, 3, 3) C/m^2: of electrons at fixed fractional coordinates, of the ions' displacements, and their sum.
    d
        (3, 3, 3) pm/V = pC/N.
    eps_free
        (3, 3) relative permittivity at constant stress.
    """

    e_clamped: Array
    e_ionic: Array
    e: Array
    d: Array
    eps_free: Array


def strained_cells(
    atoms: ase.Atoms, calculator: Any, step: float = STEP, *, symmetrize: bool = True, symprec: float = 1e-3
) -> StrainResponse:
    """Internal strain and clamped-ion elastic tensor by central differences, fractional coordinates kept.

    Thirteen calculations: the cell as given, and both signs of six strains. With `symmetrize` they are as few as the
    space group allows, four in a cubic crystal, and the results are what it allows. The atoms are not changed;
    constraints, such as those of a relaxation that kept the space group, do not act.

    Parameters
    ----------
    atoms
        The primitive cell, ions at rest, in the order of the force constants.
    calculator
        Of ASE, with forces; without stress there is no elastic tensor.
    step
        Norm of the strain tensors, at most 0.02. Errors grow as its square.
    symmetrize, symprec
        Use the space group; its tolerance, Angstrom.

    Raises
    ------
    InputError
        The calculator fails or gives what is not finite, the step or the cell is out of bounds, or no space group is
        found.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from ase.calculators.emt import EMT
    >>> from voigt.tensors.voigt import elastic_to_voigt
    >>> found = strained_cells(bulk("Cu", a=3.60), EMT())
    >>> elastic_to_voigt(found.elastic_clamped)[0, [0, 1]].round()
    array([166., 112.])
    """
    if not 0 < step <= LARGEST_STEP:
        raise InputError(f"a strain of {step} is no step for finite differences; take one above 0, at most 0.02")
    require_sound(atoms.cell.array, atoms.positions)
    group = _Group.of(find_symmetry(atoms, symprec)) if symmetrize else _Group.trivial(len(atoms))
    rest = _calculated(atoms, np.zeros((3, 3)), calculator)
    strains, slopes, count = [], [], 1
    for strain in _sufficient(group.rotations):
        plus = _calculated(atoms, step * strain, calculator)
        reverse = np.flatnonzero(np.linalg.norm(_turned(strain, group.rotations) + strain, axis=(1, 2)) < _EQUAL)
        if len(reverse):  # symmetry knows what the opposite strain does
            minus, count = group.images(plus)[reverse[0]], count + 1
        else:
            minus, count = _calculated(atoms, -step * strain, calculator), count + 2
        strains.append(strain)
        slopes.append((plus - minus) / (2 * step))
    fitted = _fitted(np.array(strains), np.array(slopes), group)
    # The crystal as a whole feels no force, and the energy does not care which strain came first.
    internal, elastic = -fitted[:-3] + fitted[:-3].mean(axis=0), fitted[-3:]
    symmetric = (elastic + elastic.transpose(2, 3, 0, 1)) / 2
    stressed = bool(np.isfinite(elastic).all())
    name = name_of(calculator)
    lawful = np.einsum("najk,mjk->mna", np.concatenate([-internal, symmetric]), np.array(strains))
    stress = _turned(rest[-3:], group.rotations).mean(axis=0) if stressed else None
    return StrainResponse(
        internal_strain=internal,
        elastic_clamped=symmetric if stressed else None,
        stress=stress,
        asymmetry=_share(elastic - elastic.transpose(2, 3, 0, 1), elastic) if stressed else None,
        notes=(
            *_done(name, step, count, stressed),
            *_unrelaxed(name, rest[:-3], stress),
            *_doubts(name, np.array(slopes), lawful, stressed),
        ),
    )


def internal_strain_by_calculator(atoms: ase.Atoms, calculator: Any, step: float = STEP) -> Array:
    """Internal strain (n_atoms, 3, 3, 3) alone; see `strained_cells`."""
    return strained_cells(atoms, calculator, step).internal_strain


def relaxed_elastic(
    elastic_clamped: ArrayLike, force_constants: ArrayLike, internal_strain: ArrayLike, volume: float
) -> Array:
    """Elastic tensor with free ions (3, 3, 3, 3) in GPa: C - (1/V) Lambda^T Phi^+ Lambda, at constant (zero) field.

    Wu, Vanderbilt and Hamann, Phys. Rev. B 72, 035105 (2005). Relaxing ions make every strain softer or leave it as
    it is. Terms in the residual stress are on both sides: Brugger's constants stay Brugger's, Birch's Birch's.
    InputError for arrays that do not belong together, DomainError for an unstable crystal.

    Parameters
    ----------
    elastic_clamped
        (3, 3, 3, 3) GPa at fixed fractional coordinates.
    force_constants, internal_strain, volume
        As in `ionic_piezo`.

    Examples
    --------
    Two atoms, a spring of 10 eV/Angstrom^2, and a shear that pulls them apart with 1 eV/Angstrom: 2 eta_yz costs
    (2 eta_yz)^2/20 eV less.

    >>> springs = 10 * np.einsum("ij,ab->ijab", [[1, -1], [-1, 1]], np.eye(3))
    >>> strain = np.zeros((2, 3, 3, 3))
    >>> strain[0, 0, 1, 2] = strain[0, 0, 2, 1] = -1.0
    >>> c = relaxed_elastic(np.zeros((3, 3, 3, 3)), springs, strain - strain[::-1], 20.0)
    >>> print(f"{c[1, 2, 1, 2]:.4f} GPa")
    -0.8011 GPa
    """
    clamped = np.asarray(elastic_clamped, dtype=np.float64)
    if clamped.shape != (3, 3, 3, 3) or not np.isfinite(clamped).all():
        raise InputError(f"an elastic tensor must be finite (3, 3, 3, 3), not of shape {clamped.shape}")
    if not volume > 0:
        raise InputError(f"a cell has a volume above zero, not {volume}")
    displacements = internal_displacements(force_constants, internal_strain)
    strain = np.asarray(internal_strain, dtype=np.float64)
    symmetric = (strain + strain.swapaxes(2, 3)) / 2
    # Lambda u/2 is the energy that relaxation gives back, u = -Phi^+ Lambda eta.
    return np.asarray(clamped + np.einsum("abij,abkl->ijkl", symmetric, displacements) * (_GPA / volume))


def whole_piezo(e_clamped: ArrayLike, e_ionic: ArrayLike, elastic: ArrayLike, eps_total: ArrayLike) -> WholePiezo:
    """All of piezoelectricity from its parts: e = e_clamped + e_ionic, d = e S, and the permittivity of a free crystal.

    Parameters
    ----------
    e_clamped, e_ionic
        (3, 3, 3) C/m^2, of the model `piezo_clamped` and of `ionic_piezo`.
    elastic
        (3, 3, 3, 3) GPa with free ions, at constant field, as `relaxed_elastic` gives it.
    eps_total
        (3, 3) static relative permittivity at constant strain.

    Raises
    ------
    InputError
        Other shapes, or values that are not finite.
    DomainError
        Some strain costs no energy, so that a field would tear the crystal apart.

    Examples
    --------
    >>> from voigt.tensors.voigt import elastic_from_voigt, piezo_from_voigt
    >>> e14, stiffness = piezo_from_voigt(np.eye(3, 6, 3)), elastic_from_voigt(np.diag([100.0, 100, 100, 50, 50, 50]))
    >>> whole = whole_piezo(-0.2 * e14, 0.3 * e14, stiffness, 10 * np.eye(3))
    >>> print(f"{whole.e[0, 1, 2]:.3f} C/m^2, {2 * whole.d[0, 1, 2]:.3f} pm/V, {whole.eps_free[0, 0]:.4f}")
    0.100 C/m^2, 2.000 pm/V, 10.0226
    """
    clamped, ionic = np.asarray(e_clamped, dtype=np.float64), np.asarray(e_ionic, dtype=np.float64)
    if not clamped.shape == ionic.shape == (3, 3, 3) or np.shape(elastic) != (3, 3, 3, 3):
        raise InputError(
            f"whole_piezo takes one crystal: e (3, 3, 3) twice and an elastic tensor (3, 3, 3, 3), not shapes "
            f"{clamped.shape}, {ionic.shape} and {np.shape(elastic)}"
        )
    stability = born_stability(elastic)
    if not stability.stable:
        raise DomainError(
            f"the crystal does not resist every strain (smallest eigenvalue {stability.smallest_eigenvalue:.3g} GPa) "
            "and has no piezoelectric strain coefficients; relax its cell first"
        )
    e = clamped + ionic
    return WholePiezo(clamped, ionic, e, strain_coefficients(e, elastic), free_permittivity(e, elastic, eps_total))


@dataclass(frozen=True)
class _Group:
    """Operations of a crystal, as in `Symmetry`: what a strain causes, they carry over to the images of the strain.

    What a strain causes is an array (n_atoms + 3, 3): forces, and below them a stress, NaN if there is none.
    """

    rotations: Array
    permutations: NDArray[np.int64]
    sites: NDArray[np.int64]

    @classmethod
    def of(cls, symmetry: Symmetry) -> _Group:
        return cls(symmetry.rotations, symmetry.permutations, symmetry.sites)

    @classmethod
    def trivial(cls, count: int) -> _Group:
        return cls(np.eye(3)[None], np.arange(count)[None], np.arange(count))

    def images(self, caused: Array) -> Array:
        """(n_operations, n_atoms + 3, 3): what the images of a strain cause."""
        # Translations inside the cell first, which leave every strain as it is: the mean over equivalent atoms.
        forces = np.zeros_like(caused[:-3])
        np.add.at(forces, self.sites, caused[:-3])
        forces = (forces / np.bincount(self.sites, minlength=len(forces)).clip(1)[:, None])[self.sites]
        result = np.empty((len(self.rotations), *caused.shape))
        places = np.arange(len(self.rotations))[:, None], self.permutations
        result[places] = np.einsum("gab,nb->gna", self.rotations, forces)
        result[:, -3:] = _turned(caused[-3:], self.rotations)
        return result


def _turned(tensor: Array, rotations: Array) -> Array:
    """R T R^T of one tensor (3, 3) for all rotations."""
    return np.asarray(rotations @ tensor @ rotations.transpose(0, 2, 1))


def _unit_strains() -> Array:
    """(6, 3, 3) orthonormal symmetric tensors."""
    return symmetric_from_voigt(np.diag([1.0, 1, 1, *[np.sqrt(2)] * 3]), strain=True)


def _sufficient(rotations: Array) -> Array:
    """As few unit strains as tell everything together with their images, (m, 3, 3)."""
    units = _unit_strains()
    images = np.einsum("gab,mbc,gdc,nad->mgn", rotations, units, rotations, units)
    shares = np.einsum("mgn,mgk->mnk", images, images) / len(rotations)
    for size in range(1, 6):
        choices = [list(choice) for choice in combinations(range(6), size)]
        # The smallest eigenvalue: how much of the strain that is told worst is among the images.
        worst = [float(np.linalg.eigvalsh(shares[choice].sum(axis=0))[0]) for choice in choices]
        if max(worst) >= _CONDITION:
            return units[choices[int(np.argmax(np.round(worst, 6)))]]
    return units


def _fitted(strains: Array, slopes: Array, group: _Group) -> Array:
    """Linear maps (n_atoms + 3, 3, 3, 3) from a strain to forces and stress that fit all images best.

    The set of all images is the same for every operation of the group, so that the fit has the symmetry of the crystal.
    """
    units = _unit_strains()
    causes = np.concatenate([_turned(strain, group.rotations) for strain in strains])
    effects = np.concatenate([group.images(slope) for slope in slopes])
    components = np.einsum("sjk,njk->sn", causes, units)
    maps = np.einsum("ns,sxa->nxa", np.linalg.pinv(components), effects)
    return np.asarray(np.einsum("nxa,njk->xajk", maps, units))


def _calculated(atoms: ase.Atoms, strain: Array, calculator: Any) -> Array:
    """Forces (eV/Angstrom) and second Piola-Kirchhoff stress (GPa) at fixed fractional coordinates, (n_atoms + 3, 3).

    The latter, dE/d eta per volume of the unstrained cell, is Cauchy's stress brought back to that cell; NaN if the
    calculator gives none.
    """
    deformed = atoms.copy()
    deformed.set_constraint()  # one that keeps a space group or atoms in place would act on cell and forces
    gradient = np.eye(3) + strain
    deformed.set_cell(atoms.cell.array @ gradient, scale_atoms=True)
    forces, stress = forces_of(deformed, calculator), _cauchy(deformed, calculator)
    if stress is None:
        return np.concatenate([forces, np.full((3, 3), np.nan)])
    back = np.linalg.inv(gradient)
    return np.concatenate([forces, np.linalg.det(gradient) * _GPA * back @ stress @ back.T])


def _cauchy(atoms: ase.Atoms, calculator: Any) -> Array | None:
    """Stress (3, 3) in eV/Angstrom^3; None if the calculator has none, InputError if it fails."""
    try:
        return stress_of(atoms, calculator)
    except InputError as error:
        if isinstance(error.__cause__, NotImplementedError):  # ASE's way to say that a property is missing
            return None
        raise


def _done(name: str, step: float, count: int, stressed: bool) -> tuple[Note, ...]:
    given = "forces and stresses" if stressed else "forces"
    done = Note("processing", f"{given} of {name} on the cell and {count - 1} strained ones, by {step:g}")
    if stressed:
        return (done,)
    return done, Note("processing", f"{name} gives no stress, so that there is no elastic tensor", ("elastic",))


def _unrelaxed(name: str, forces: Array, stress: Array | None) -> tuple[Note, ...]:
    notes = []
    force = float(np.linalg.norm(forces, axis=1).max())
    if force > RELAXED:
        text = f"ions are not at rest with {name} (forces up to {force:.2g} eV/Angstrom); relax them first"
        notes.append(Note("not_relaxed", text))
    if stress is not None and (pressure := float(np.abs(np.linalg.eigvalsh(stress)).max())) > STRESSED:
        text = f"the cell is under a stress of up to {pressure:.2g} GPa with {name}, which changes elastic constants"
        notes.append(Note("not_relaxed", f"{text}; relax the cell for those of the free crystal"))
    return tuple(notes)


def _doubts(name: str, found: Array, lawful: Array, stressed: bool) -> tuple[Note, ...]:
    """Notes on forces and stresses per strain that differ from those of the results by more than numerical noise.

    Symmetry of the crystal, of the elastic tensor, and no net force: what results obey and a calculator may not.
    """
    notes = []
    forces, stresses = found[:, :-3], found[:, -3:]
    missed = float(np.abs(forces - lawful[:, :-3]).max())
    if missed > _NOISE + ASYMMETRIC * float(np.abs(forces).max()):
        text = f"forces of {name} under strain break the symmetry of the crystal, or do not add up to zero: internal"
        notes.append(Note("asymmetric_forces", f"{text} strain is off by up to {missed:.2g} eV/Angstrom"))
    share = _share(stresses - lawful[:, -3:], stresses) if stressed else 0.0
    if share > ASYMMETRIC:
        text = (
            f"stresses of {name} break the symmetry of the crystal, or are no slopes of an energy: the elastic tensor"
        )
        notes.append(Note("asymmetric_forces", f"{text} is off by {share:.1%}", ("elastic",)))
    return tuple(notes)


def _share(part: Array, whole: Array) -> float:
    size = float(np.linalg.norm(whole))
    return float(np.linalg.norm(part)) / size if size else 0.0
