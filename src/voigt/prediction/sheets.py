"""Dielectric response of a sheet or slab in vacuum, whose cell has no permittivity of its own."""

from __future__ import annotations

from dataclasses import dataclass

import ase
import numpy as np
from numpy.typing import NDArray

from voigt.structures.vacuum import Vacuum

PROPERTIES = ("eps_inf", "eps_total")
"""What is a permittivity: zero field inside of it means one."""


@dataclass(frozen=True)
class Sheet:
    """Permittivity of a sheet, and what follows from it.

    Attributes
    ----------
    permittivity
        (3, 3) of the layers stacked without vacuum, as one crystal.
    polarizability
        (3, 3) per area, Angstrom, which no longer depends on the vacuum: (eps - 1) t / 4 pi for fields in the plane,
        (1 - 1/eps) t / 4 pi for those across it (t: `thickness`).
    cell
        (3, 3) what a calculation of the cell with its vacuum gives: eps - 1 falls as one over its height.
    normal
        (3,) unit vector across the sheet.
    thickness, height
        Of the sheet with its van der Waals surfaces, and of the cell, Angstrom.
    """

    permittivity: NDArray[np.float64]
    polarizability: NDArray[np.float64]
    cell: NDArray[np.float64]
    normal: NDArray[np.float64]
    thickness: float
    height: float


def stacked(atoms: ase.Atoms, vacuum: Vacuum) -> ase.Atoms:
    """The crystal of the same layers without the widest empty layer, at van der Waals contact.

    Examples
    --------
    >>> from ase.build import mx2
    >>> from voigt.structures.vacuum import find_vacuum
    >>> sheet = mx2("MoS2", vacuum=8.0)
    >>> sheet.pbc = True
    >>> crystal = stacked(sheet, find_vacuum(sheet))
    >>> round(float(crystal.cell[2, 2]), 2), find_vacuum(crystal)
    (6.97, None)
    """
    normal = vacuum.normal
    place = (atoms.positions @ normal) / vacuum.height % 1.0
    order = np.sort(place)
    # Atoms are taken whole from one side of the empty layer, the widest between their planes, to the other.
    steps = np.diff(np.append(order, order[0] + 1.0))
    start = order[(int(np.argmax(steps)) + 1) % len(order)]
    shift = ((place - start + 1e-9) % 1.0) * vacuum.height - atoms.positions @ normal
    cell = atoms.cell.array
    cell = cell - np.outer(cell @ normal, normal) * (vacuum.gap / vacuum.height)
    return ase.Atoms(atoms.numbers, positions=atoms.positions + shift[:, None] * normal, cell=cell, pbc=True)


def sheet_of(permittivity: NDArray[np.float64], vacuum: Vacuum) -> Sheet:
    """What the permittivity (3, 3) of `stacked` layers makes of the sheet and of its cell.

    The field in the plane and the displacement across it are the same in sheet and vacuum. Averages over the height of
    what they cause, the displacement in the plane and the field across it, are exact for layers of one permittivity
    (local fields of the layers' neighbors are left out).

    Examples
    --------
    >>> from voigt.structures.vacuum import Vacuum
    >>> boron_nitride = Vacuum(2, np.array([0.0, 0.0, 1.0]), 20.0, 16.67, 0.2)
    >>> sheet_of(np.diag([4.97, 4.97, 2.95]), boron_nitride).cell.diagonal().round(2)
    array([1.66, 1.66, 1.12])
    """
    normal, thickness = vacuum.normal, vacuum.thickness
    frame = np.linalg.svd(normal[None])[2][[1, 2, 0]]  # rows: two directions in the plane, then the normal
    mixed = _mixed(frame @ permittivity @ frame.T) - np.eye(3)
    average = np.eye(3) + mixed * (thickness / vacuum.height)
    # Across the sheet the response is that of the field, with the other sign.
    per_area = mixed * np.array([[1.0], [1.0], [-1.0]]) * (thickness / (4 * np.pi))
    turned = (frame.T @ matrix @ frame for matrix in (per_area, _mixed(average)))
    polarizability, cell = turned
    return Sheet(permittivity, polarizability, cell, normal, thickness, vacuum.height)


def _mixed(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """Exchange input and output of the third component of a linear map: (D_x, D_y, E_z) of (E_x, E_y, D_z), and back.

    With D = eps E: E_z = (D_z - eps_zx E_x - eps_zy E_y) / eps_zz. Exchanged twice, a map is the same again.
    """
    last = matrix[2, 2]
    result = matrix - np.outer(matrix[:, 2], matrix[2]) / last
    result[:2, 2] = matrix[:2, 2] / last
    result[2, :2] = -matrix[2, :2] / last
    result[2, 2] = 1.0 / last
    return np.asarray(result)
