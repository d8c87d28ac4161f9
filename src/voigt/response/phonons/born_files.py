"""Born charges and dielectric tensor for phonopy: the file BORN, and `Phonopy.nac_params`.

BORN lists the symmetry-independent atoms of phonopy's primitive cell, in phonopy's order. Cell, order and independent
atoms are therefore taken from phonopy. Its primitive cell keeps the Cartesian axes of the input cell, so that the
tensors need no rotation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import ase
import numpy as np
from numpy.typing import NDArray

from voigt.errors import InputError
from voigt.files import atomic_write
from voigt.response.arrays import Array, neutralized
from voigt.response.phonons.cells import PHONOPY_SYMPREC, make_phonopy, to_phonopy

if TYPE_CHECKING:
    from phonopy import Phonopy

    from voigt.prediction.result import Prediction

SYMMETRY_TOLERANCE = 1e-2
"""Largest component (e, or relative permittivity) by which the tensors may break the symmetry that phonopy finds."""

PrimitiveMatrix: TypeAlias = Literal["auto", "P", "F", "I", "A", "C", "R"] | Sequence[Sequence[float]]


@dataclass(frozen=True)
class Corrected:
    """Array after symmetry and sum rule.

    Attributes
    ----------
    born_charges
        (n_atoms, 3, 3) Z[atom, field, displacement], e.
    eps_inf
        (3, 3) relative permittivity.
    steps
        One sentence for each step, with the size of its change, or that it was left out.
    """

    born_charges: Array
    eps_inf: Array
    steps: tuple[str, ...]


def corrected(
    atoms: ase.Atoms,
    born_charges: Array,
    eps_inf: Array,
    *,
    symmetrize: bool = True,
    sum_rule: bool = True,
    total_charge: float = 0.0,
    symprec: float = 1e-3,
) -> Corrected:
    """Project tensors onto the space group, then subtract an equal part of the surplus charge from every atom.

    Parameters
    ----------
    atoms, born_charges, eps_inf
        Any cell of the crystal, (n_atoms, 3, 3) Z[atom, field, displacement] in e, and (3, 3) relative permittivity.
    symmetrize, sum_rule
        Which steps to take.
    total_charge, symprec
        The sum of the charges becomes total_charge (e) times the identity; tolerance of the space group, Angstrom.

    Raises
    ------
    InputError
        No space group is found, shapes do not fit, or the tensors are not finite.

    Examples
    --------
    >>> from ase.build import bulk
    >>> done = corrected(bulk("MgO", "rocksalt", 4.21), [2.0 * np.eye(3), -1.8 * np.eye(3)], 3.0 * np.eye(3))
    >>> done.born_charges[:, 0, 0].round(6)
    array([ 1.9, -1.9])
    >>> done.steps[1]
    'sum rule imposed: up to 0.2 e per cell shared out among 2 atoms'
    """
    import torch

    from voigt.structures.symmetry import find_symmetry
    from voigt.tensors.projection import project_atoms, project_crystal

    if np.shape(born_charges) != (len(atoms), 3, 3):
        raise InputError(
            f"{len(born_charges)} Born charges do not belong to {len(atoms)} atoms; give one 3 x 3 tensor per atom"
        )
    if np.shape(eps_inf) != (3, 3):
        raise InputError(f"eps_inf is a 3 x 3 tensor, not of shape {np.shape(eps_inf)}")
    if not (np.isfinite(born_charges).all() and np.isfinite(eps_inf).all()):
        raise InputError("Born charges or eps_inf are not finite; check where they come from")
    z, eps = np.array(born_charges, dtype=np.float64), np.array(eps_inf, dtype=np.float64)
    steps = []
    if symmetrize:
        symmetry = find_symmetry(atoms, symprec)
        rotations, permutations = torch.as_tensor(symmetry.rotations), torch.as_tensor(symmetry.permutations)
        z_new = project_atoms(torch.from_numpy(z), rotations, permutations, torch.as_tensor(symmetry.sites)).numpy()
        eps_new = project_crystal(torch.from_numpy(eps), rotations, 2).numpy()
        steps.append(
            f"symmetry {symmetry.international} imposed: Born charges change by up to {abs(z_new - z).max():.2g} e, "
            f"eps_inf by {abs(eps_new - eps).max():.2g}"
        )
        z, eps = z_new, eps_new
    else:
        steps.append("symmetry not imposed")
    surplus = float(abs(z.sum(axis=0) - total_charge * np.eye(3)).max())
    if sum_rule:
        z = neutralized(z, total_charge)
        steps.append(f"sum rule imposed: up to {surplus:.2g} e per cell shared out among {len(z)} atoms")
    else:
        steps.append(f"sum rule not imposed: Born charges miss it by up to {surplus:.2g} e per cell")
    return Corrected(z, eps, tuple(steps))


def born_file(
    atoms: ase.Atoms,
    born_charges: Array,
    eps_inf: Array,
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
    atoms, born_charges, eps_inf
        The cell that phonopy will get as unit cell, atoms in any order, and tensors in its axes, as in `corrected`.
    symprec, primitive_matrix
        phonopy's tolerance in Angstrom, and its primitive matrix.
    factor
        e^2/(4 pi eps0) in the units of the force constants that NAC is to be added to, see
        `phonopy.physical_units.get_calculator_physical_units`; None: eV Angstrom.

    Raises
    ------
    InputError
        phonopy cannot use the cell, or the tensors break its symmetry by more than `SYMMETRY_TOLERANCE`, so that the
        independent atoms do not stand for the others.

    Examples
    --------
    >>> from ase.build import bulk
    >>> atoms = bulk("MgO", "rocksalt", 4.21)
    >>> text = born_file(atoms, np.array([1.9 * np.eye(3), -1.9 * np.eye(3)]), 3.0 * np.eye(3))
    >>> text.splitlines()[0].split("#")[1].strip()
    'eps_inf and Z[field, displacement] of atoms 1 (Mg) 2 (O)'
    >>> [line.split()[0] for line in text.splitlines()[1:]]
    ['3.0000000000', '1.9000000000', '-1.9000000000']
    """
    from phonopy.file_IO import parse_BORN_from_strings
    from phonopy.structure.symmetry import symmetrize_borns_and_epsilon

    phonon = _phonopy(atoms, born_charges, symprec, primitive_matrix)
    primitive = phonon.primitive
    independent = atoms_of_primitive(phonon)[phonon.primitive_symmetry.get_independent_atoms()]
    # phonopy takes the second and third word for parameters if they are numbers; those of this comment are not.
    sites = " ".join(f"{index + 1} ({atoms.symbols[index]})" for index in independent)
    first = unit_factor() if factor is None else factor
    lines = [f"{first:.10f} # eps_inf and Z[field, displacement] of atoms {sites}", _row(eps_inf)]
    text = "\n".join([*lines, *(_row(born_charges[index]) for index in independent)]) + "\n"
    # Compare with what phonopy makes of the independent atoms, and with its average of eps_inf over the group.
    expanded = parse_BORN_from_strings(text, primitive, symprec=symprec)["born"]
    rows = [primitive.p2p_map[index] for index in primitive.s2p_map[phonon.supercell.u2s_map]]
    zeros = np.zeros((len(primitive), 3, 3))
    averaged = symmetrize_borns_and_epsilon(zeros, eps_inf, primitive, symprec=symprec)[1]
    breaking = max(float(abs(expanded[rows] - born_charges).max()), float(abs(averaged - eps_inf).max()))
    if not breaking <= SYMMETRY_TOLERANCE:
        raise InputError(
            f"the tensors break the symmetry that phonopy finds by {breaking:.3g}, and BORN holds independent atoms "
            "only; predict with symmetry"
        )
    return text


def nac_params(
    atoms: ase.Atoms,
    born_charges: Array,
    eps_inf: Array,
    symprec: float = PHONOPY_SYMPREC,
    primitive_matrix: PrimitiveMatrix = "auto",
) -> dict[str, Any]:
    """What `Phonopy.nac_params` takes: born (atoms of the primitive cell), dielectric, factor.

    Parameters and errors as in `born_file`; the tensors are passed on as they are.

    Examples
    --------
    >>> from ase.build import bulk
    >>> z = np.array([1.9 * np.eye(3), -1.9 * np.eye(3)])
    >>> parameters = nac_params(bulk("MgO", "rocksalt", 4.21), z, 3.0 * np.eye(3))  # phonon.nac_params = parameters
    >>> parameters["born"].shape, round(parameters["factor"], 4)
    ((2, 3, 3), 14.3997)
    """
    return parameters_for(_phonopy(atoms, born_charges, symprec, primitive_matrix), born_charges, eps_inf)


def parameters_for(phonon: Phonopy, born_charges: Array, eps_inf: Array) -> dict[str, Any]:
    """`nac_params` for a `Phonopy` that exists, whose unit cell the charges belong to, atom by atom."""
    return {
        "born": np.array(born_charges[atoms_of_primitive(phonon)], dtype=np.float64),
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

    Examples
    --------
    >>> z = np.arange(9.0).reshape(1, 3, 3)
    >>> euphonic_arrays({"born": z, "dielectric": np.eye(3)})["born"][0, 0]
    array([0., 3., 6.])
    """
    return {
        "born": np.ascontiguousarray(parameters["born"].transpose(0, 2, 1)),
        "born_unit": "e",
        "dielectric": np.array(parameters["dielectric"]),
        "dielectric_unit": "e**2/(bohr*hartree)",
    }


def abinit_arrays(parameters: dict[str, Any]) -> dict[str, Array]:
    """`becs_cart` and `emacro_cart` as in ABINIT's anaddb.nc, from `nac_params`.

    ABINIT holds zeff(field, displacement, atom) in Fortran's order, which NetCDF readers in Python see as
    [atom, displacement, field]. Atoms are those of phonopy's primitive cell.

    Examples
    --------
    >>> z = np.arange(9.0).reshape(1, 3, 3)
    >>> abinit_arrays({"born": z, "dielectric": np.eye(3)})["becs_cart"][0, 0]
    array([0., 3., 6.])
    """
    return {
        "becs_cart": np.ascontiguousarray(parameters["born"].transpose(0, 2, 1)),
        "emacro_cart": np.ascontiguousarray(parameters["dielectric"].T),
    }


def write_born(prediction: Prediction, path: str | Path, symprec: float = PHONOPY_SYMPREC) -> None:
    """Write the BORN file of a predicted crystal.

    InputError as `born_file`, or where the prediction lacks born_charges or eps_inf; OutputError.
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


def _phonopy(atoms: ase.Atoms, born_charges: Array, symprec: float, primitive_matrix: PrimitiveMatrix) -> Phonopy:
    if len(born_charges) != len(atoms):
        raise InputError(f"{len(born_charges)} Born charges do not belong to {len(atoms)} atoms; give one per atom")
    if np.linalg.det(atoms.cell.array) < 0:
        raise InputError("phonopy takes right-handed cells only; exchange two lattice vectors")
    return make_phonopy(
        "phonopy cannot use this cell", "try another tolerance", to_phonopy(atoms), None, primitive_matrix, symprec
    )


def atoms_of_primitive(phonon: Phonopy) -> NDArray[np.int64]:
    """Index in the unit cell of each atom of the primitive cell."""
    supercell = phonon.supercell
    return np.array([supercell.u2u_map[index] for index in supercell.s2u_map[phonon.primitive.p2s_map]])


def unit_factor() -> float:
    """e^2/(4 pi eps0) in eV Angstrom, with the constants of phonopy."""
    from phonopy.physical_units import get_physical_units

    units = get_physical_units()
    return float(units.Hartree * units.Bohr)


def _row(tensor: Array) -> str:
    return " ".join(f"{value:15.10f}" for value in tensor.reshape(9))
