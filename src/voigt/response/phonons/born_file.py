"""Born charges and dielectric tensor for phonopy: the file BORN, and `Phonopy.nac_params`.

BORN lists the symmetry-independent atoms of phonopy's primitive cell, in phonopy's order. Cell, order and independent
atoms are therefore asked of phonopy itself. Its primitive cell keeps the Cartesian axes of the input cell, so that the
tensors need no rotation.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import ase
import numpy as np
from numpy.typing import NDArray

from voigt.errors import InputError
from voigt.files import atomic_write

if TYPE_CHECKING:
    from phonopy import Phonopy

    from voigt.prediction.result import Prediction

PHONOPY_SYMPREC = 1e-5
"""Angstrom. `phonopy.load` always reads BORN with this tolerance, so it decides which atoms must be listed."""
SYMMETRY_TOLERANCE = 1e-2
"""Largest component (e, or relative permittivity) by which the tensors may break the symmetry that phonopy finds."""

Tensors: TypeAlias = NDArray[np.float64]
PrimitiveMatrix: TypeAlias = Literal["auto", "P", "F", "I", "A", "C", "R"] | Sequence[Sequence[float]]


@dataclass(frozen=True)
class Corrected:
    """Tensors after symmetry and sum rule.

    Attributes
    ----------
    born_charges
        (n_atoms, 3, 3) Z[atom, field, displacement], e.
    eps_inf
        (3, 3) relative permittivity.
    steps
        One sentence for each step, with the size of its change, or that it was left out.
    """

    born_charges: Tensors
    eps_inf: Tensors
    steps: tuple[str, ...]


def corrected(
    atoms: ase.Atoms,
    born_charges: Tensors,
    eps_inf: Tensors,
    *,
    symmetrize: bool = True,
    sum_rule: bool = True,
    total_charge: float = 0.0,
    symprec: float = 1e-3,
) -> Corrected:
    """Project tensors onto the space group, then subtract an equal part of the surplus charge from every atom.

    Parameters
    ----------
    atoms
        Any cell of the crystal.
    born_charges
        (n_atoms, 3, 3) Z[atom, field, displacement] in e.
    eps_inf
        (3, 3) relative permittivity.
    symmetrize, sum_rule
        Which steps to take.
    total_charge
        Charge of the cell, e: the sum of the charges becomes total_charge times the identity.
    symprec
        Tolerance of the space group, Angstrom.

    Raises
    ------
    InputError
        No space group is found, shapes do not fit, or the tensors are not finite.
    """
    import torch

    from voigt.structures.symmetry import find_symmetry
    from voigt.tensors.projection import project_atoms, project_crystal
    from voigt.tensors.sum_rule import acoustic_sum_rule

    _check_shapes(atoms, born_charges, eps_inf)
    z, eps = torch.tensor(born_charges, dtype=torch.float64), torch.tensor(eps_inf, dtype=torch.float64)
    steps = []
    if symmetrize:
        symmetry = find_symmetry(atoms, symprec)
        rotations = torch.as_tensor(symmetry.rotations)
        z_new, eps_new = (
            project_atoms(z, rotations, torch.as_tensor(symmetry.permutations)),
            project_crystal(eps, rotations, 2),
        )
        changes = [float((new - old).abs().max()) for new, old in ((z_new, z), (eps_new, eps))]
        steps.append(
            f"symmetry {symmetry.international} imposed: Born charges change by up to {changes[0]:.2g} e, eps_inf by "
            f"{changes[1]:.2g}"
        )
        z, eps = z_new, eps_new
    else:
        steps.append("symmetry not imposed")
    surplus = float((z.sum(dim=0) - total_charge * torch.eye(3, dtype=torch.float64)).abs().max())
    if sum_rule:
        charge = torch.tensor([total_charge], dtype=torch.float64)
        z = acoustic_sum_rule(z, torch.zeros(len(z), dtype=torch.int64), 1, charge, None)
        steps.append(f"sum rule imposed: up to {surplus:.2g} e per cell shared out among {len(z)} atoms")
    else:
        steps.append(f"sum rule not imposed: Born charges miss it by up to {surplus:.2g} e per cell")
    return Corrected(z.numpy(), eps.numpy(), tuple(steps))


def _check_shapes(atoms: ase.Atoms, born_charges: Tensors, eps_inf: Tensors) -> None:
    if np.shape(born_charges) != (len(atoms), 3, 3):
        raise InputError(
            f"{len(born_charges)} Born charges do not belong to {len(atoms)} atoms; give one 3 x 3 tensor per atom"
        )
    if np.shape(eps_inf) != (3, 3):
        raise InputError(f"eps_inf is a 3 x 3 tensor, not of shape {np.shape(eps_inf)}")
    if not (np.isfinite(born_charges).all() and np.isfinite(eps_inf).all()):
        raise InputError("Born charges or eps_inf are not finite; check where they come from")


def born_file(
    atoms: ase.Atoms,
    born_charges: Tensors,
    eps_inf: Tensors,
    symprec: float = PHONOPY_SYMPREC,
    primitive_matrix: PrimitiveMatrix = "auto",
    factor: float | None = None,
) -> str:
    """Text of phonopy's BORN file.

    Lines: unit factor of the non-analytical term and a comment with the 1-based numbers of the atoms in the input;
    eps_inf as xx xy xz yx ... zz; the same for every independent atom, Z[field, displacement] in e.
    `phonopy.file_IO.parse_BORN` restores the other atoms.

    Parameters
    ----------
    atoms
        Primitive, conventional or supercell, atoms in any order: the cell that phonopy will get as unit cell.
    born_charges
        (n_atoms, 3, 3) Z[atom, field, displacement] in e, Cartesian axes of `atoms`.
    eps_inf
        (3, 3) relative permittivity.
    symprec
        phonopy's tolerance, Angstrom.
    primitive_matrix
        phonopy's; "auto" is its default.
    factor
        e^2/(4 pi eps0) in the units of the force constants that NAC is to be added to, see
        `phonopy.physical_units.get_calculator_physical_units`; None: eV Angstrom.

    Raises
    ------
    InputError
        phonopy cannot use the cell, or the tensors break its symmetry by more than `SYMMETRY_TOLERANCE`, so that the
        independent atoms do not stand for the others.
    """
    from phonopy.file_IO import parse_BORN_from_strings

    phonon = _phonopy(atoms, born_charges, symprec, primitive_matrix)
    primitive = phonon.primitive
    independent = _atoms_of_primitive(phonon)[phonon.primitive_symmetry.get_independent_atoms()]
    # phonopy takes the second and third word for parameters if they are numbers; those of this comment are not.
    sites = " ".join(f"{index + 1} ({atoms.symbols[index]})" for index in independent)
    first = unit_factor() if factor is None else factor
    lines = [f"{first:.10f} # eps_inf and Z[field, displacement] of atoms {sites}", _row(eps_inf)]
    text = "\n".join([*lines, *(_row(born_charges[index]) for index in independent)]) + "\n"
    expanded = parse_BORN_from_strings(text, primitive, symprec=symprec)["born"]
    rows = [primitive.p2p_map[index] for index in primitive.s2p_map[phonon.supercell.u2s_map]]
    _check_symmetry(phonon, expanded[rows], born_charges, eps_inf, symprec)
    return text


def nac_params(
    atoms: ase.Atoms,
    born_charges: Tensors,
    eps_inf: Tensors,
    symprec: float = PHONOPY_SYMPREC,
    primitive_matrix: PrimitiveMatrix = "auto",
) -> dict[str, Any]:
    """What `Phonopy.nac_params` takes: born (atoms of the primitive cell), dielectric, factor.

    Parameters and errors as in `born_file`; the tensors are passed on as they are.

    Examples
    --------
    >>> phonon.nac_params = nac_params(atoms, z, eps)  # doctest: +SKIP
    """
    return parameters_for(_phonopy(atoms, born_charges, symprec, primitive_matrix), born_charges, eps_inf)


def parameters_for(phonon: Phonopy, born_charges: Tensors, eps_inf: Tensors) -> dict[str, Any]:
    """`nac_params` for a `Phonopy` that exists, whose unit cell the charges belong to, atom by atom.

    Raises
    ------
    InputError
        The charges are not those of the unit cell.
    """
    if len(born_charges) != len(phonon.unitcell):
        raise InputError(
            f"{len(born_charges)} Born charges do not belong to {len(phonon.unitcell)} atoms; give one per atom"
        )
    return {
        "born": np.array(born_charges[_atoms_of_primitive(phonon)], dtype=np.float64),
        "dielectric": np.array(eps_inf, dtype=np.float64),
        "factor": unit_factor(),
    }


def euphonic_arrays(parameters: dict[str, Any]) -> dict[str, Any]:
    """What `euphonic.ForceConstants.from_total_fc_with_dipole` takes beside force constants, from `nac_params`.

    Euphonic contracts the wave vector with the last index of a Born charge, phonopy with the first; 4 pi eps0 is 1 in
    its atomic units, so that eps_inf keeps its value. That function takes the dipoles out of force constants such as
    phonopy's; in the constructor and in `from_dict` these would count twice.

    Returns
    -------
    born (n_atoms, 3, 3) as [atom, displacement, field], dielectric (3, 3), and the units of both.
    """
    return {
        "born": np.ascontiguousarray(parameters["born"].transpose(0, 2, 1)),
        "born_unit": "e",
        "dielectric": np.array(parameters["dielectric"]),
        "dielectric_unit": "e**2/(bohr*hartree)",
    }


def abinit_arrays(parameters: dict[str, Any]) -> dict[str, Tensors]:
    """`becs_cart` and `emacro_cart` as in ABINIT's anaddb.nc, from `nac_params`.

    ABINIT holds zeff(field, displacement, atom) in Fortran's order, which NetCDF readers in Python see as
    [atom, displacement, field]. Atoms are those of phonopy's primitive cell.
    """
    return {
        "becs_cart": np.ascontiguousarray(parameters["born"].transpose(0, 2, 1)),
        "emacro_cart": np.ascontiguousarray(parameters["dielectric"].T),
    }


def write_born(prediction: Prediction, path: str | Path, symprec: float = PHONOPY_SYMPREC) -> None:
    """Write the BORN file of a predicted crystal.

    Raises
    ------
    InputError
        As `born_file`; or the prediction lacks born_charges or eps_inf.
    OutputError
        The file cannot be written.
    """
    absent = [name for name in ("born_charges", "eps_inf") if name not in prediction.values]
    if absent:
        raise InputError(f"{prediction.id}: BORN needs {' and '.join(absent)}; predict with a model that gives both")
    try:
        text = born_file(prediction.atoms, prediction.values["born_charges"], prediction.values["eps_inf"], symprec)
    except InputError as error:
        raise InputError(f"{prediction.id}: no BORN file: {error}") from error
    with atomic_write(path) as stream:
        stream.write(text)


def _phonopy(atoms: ase.Atoms, born_charges: Tensors, symprec: float, primitive_matrix: PrimitiveMatrix) -> Phonopy:
    from phonopy import Phonopy
    from phonopy.structure.atoms import PhonopyAtoms

    if len(born_charges) != len(atoms):
        raise InputError(f"{len(born_charges)} Born charges do not belong to {len(atoms)} atoms; give one per atom")
    if np.linalg.det(atoms.cell.array) < 0:
        raise InputError("phonopy takes right-handed cells only; exchange two lattice vectors")
    unitcell = PhonopyAtoms(
        cell=atoms.cell.array,
        scaled_positions=atoms.get_scaled_positions(),
        numbers=atoms.numbers,
        masses=atoms.get_masses(),  # phonopy itself has none for Po and other radioactive elements
    )
    try:
        with warnings.catch_warnings():
            # That "auto" changed the cell, and that a supercell has fewer operations than its primitive cell.
            warnings.simplefilter("ignore")
            return Phonopy(unitcell, primitive_matrix=primitive_matrix, symprec=symprec)
    except Exception as error:  # phonopy and spglib raise anything from AssertionError to their own types
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"phonopy cannot use this cell ({reason.rstrip('.')}); try another tolerance") from error


def _atoms_of_primitive(phonon: Phonopy) -> NDArray[np.int64]:
    """Index in the input of each atom of the primitive cell."""
    supercell = phonon.supercell
    return np.array([supercell.u2u_map[index] for index in supercell.s2u_map[phonon.primitive.p2s_map]])


def _check_symmetry(
    phonon: Phonopy, expanded: Tensors, born_charges: Tensors, eps_inf: Tensors, symprec: float
) -> None:
    """Compare with what phonopy makes of the independent atoms, and with its average of eps_inf over the group."""
    from phonopy.structure.symmetry import symmetrize_borns_and_epsilon

    zeros = np.zeros((len(phonon.primitive), 3, 3))
    averaged = symmetrize_borns_and_epsilon(zeros, eps_inf, phonon.primitive, symprec=symprec)[1]
    breaking = max(float(abs(expanded - born_charges).max()), float(abs(averaged - eps_inf).max()))
    if not breaking <= SYMMETRY_TOLERANCE:
        raise InputError(
            f"the tensors break the symmetry that phonopy finds by {breaking:.3g}, and BORN holds independent atoms "
            "only; predict with symmetry"
        )


def unit_factor() -> float:
    """e^2/(4 pi eps0) in eV Angstrom, with the constants of phonopy."""
    from phonopy.physical_units import get_physical_units

    units = get_physical_units()
    return float(units.Hartree * units.Bohr)


def _row(tensor: Tensors) -> str:
    return " ".join(f"{value:15.10f}" for value in tensor.reshape(9))
