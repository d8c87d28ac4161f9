"""Change of polarization along a path of structures or a trajectory, from Born effective charges.

dP = (e/V) sum_a Z[a] du_a, integrated with the trapezoid of Z. Gonze and Lee, Phys. Rev. B 55, 10355 (1997); King-Smith
and Vanderbilt, Phys. Rev. B 47, 1651 (1993). Along a continuous path of insulating structures the integral is one
number. Between two structures without a path the polarization is defined only modulo e R / V, R any lattice vector;
`wrap_polarization` goes to the branch nearest to zero.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import ase
import numpy as np
from numpy.typing import ArrayLike
from scipy import constants

from voigt.errors import InputError
from voigt.response.arrays import Array
from voigt.response.field.charges import Charges
from voigt.response.field.steps import checked_frames, fractional_steps, intervals

COULOMB_PER_SQUARE_METER = constants.e / constants.angstrom**2
"""One e/A^2 in C/m^2: 16.02."""


@dataclass(frozen=True)
class PolarizationPath:
    """Polarization along a path, relative to its first frame.

    Attributes
    ----------
    change
        (n_frames, 3) dP in e/A^2; the first row is zero.
    quanta
        (3, 3) rows e a_k / V in e/A^2, of the first frame's lattice vectors: what wrapping an atom of charge e through
        the cell would add. A supercell has smaller ones than the primitive cell; those of the primitive cell count.
    volumes
        (n_frames,) A^3.
    center_of_mass
        (n_frames, 3) its displacement from the first frame, A; taken out of the atoms' displacements unless
        `remove_drift` was off. Neutral Z gives the same dP either way.
    """

    change: Array
    quanta: Array
    volumes: Array
    center_of_mass: Array

    @property
    def si(self) -> Array:
        """(n_frames, 3) dP in C/m^2."""
        return np.asarray(self.change * COULOMB_PER_SQUARE_METER)


def polarization_path(
    frames: Iterable[ase.Atoms],
    charges: Charges = None,
    *,
    every: int = 1,
    sum_rule: bool = True,
    total_charge: float = 0.0,
    unwrap: bool = True,
    remove_drift: bool = True,
    variable_cell: bool = False,
) -> PolarizationPath:
    """Polarization of each frame relative to the first, dP = (e/V) sum_a int Z[a] du_a, by the trapezoid rule.

    Parameters
    ----------
    frames
        The path, read once and never held as a whole: a list, or an iterator such as ase.io.iread.
    charges
        Z[atom, field, displacement] in e: an array (n_atoms, 3, 3); one (n, n_atoms, 3, 3) for the frames at which Z
        is asked for, see `every`; a function from structures to charges; a model's name, file or object; None: the
        model that ships.
    every
        Z is taken at every n-th frame and the last, and is linear in between.
    sum_rule
        Share out what the charges of the cell lack to `total_charge` (e) equally, so that a rigid translation changes
        nothing.
    unwrap
        Take the nearest image from frame to frame along periodic directions. Switch it off for positions that are
        continuous already but move by more than half a cell at once.
    remove_drift
        Count displacements from the center of mass.
    variable_cell
        Let the cell change. Displacements are then those of fractional coordinates, times the cell of each frame, and
        V is that of each frame: the sum misses what homogeneous strain does at fixed fractional coordinates, the
        clamped-ion piezoelectric part. Wu, Vanderbilt and Hamann, Phys. Rev. B 72, 035105 (2005).

    Raises
    ------
    InputError
        No frame; other atoms, no volume or positions that are not numbers in a frame; a cell that changes unannounced;
        a step too long to unwrap; charges of another number of atoms.

    Examples
    --------
    The cation of MgO moves by 0.1 A along x: dP = e Z u / V.

    >>> from ase.build import bulk
    >>> before = bulk("MgO", "rocksalt", 4.21)
    >>> after = before.copy()
    >>> after.positions[0, 0] += 0.1
    >>> path = polarization_path([before, after], [2 * np.eye(3), -2 * np.eye(3)])
    >>> path.si[-1].round(4) + 0.0  # C/m^2
    array([0.1718, 0.    , 0.    ])
    """
    changes, drifts = [np.zeros((1, 3))], [np.zeros((1, 3))]
    volumes: list[Array] = []
    quanta = np.zeros((3, 3))
    checked = checked_frames(frames, variable_cell)
    for interval in intervals(checked, charges, every, sum_rule, total_charge):
        part = np.array([frame.get_volume() for frame in interval.frames])
        if not volumes:
            volumes.append(part[:1])
            quanta = interval.frames[0].cell.array / part[0]
        if len(part) == 1:
            continue
        steps = fractional_steps(interval.frames, unwrap, interval.start)
        masses = interval.frames[0].get_masses()
        mean = np.einsum("a,kai->ki", masses / masses.sum(), steps)
        if remove_drift:
            steps = steps - mean[:, None]
        cells = np.array([frame.cell.array for frame in interval.frames])
        # The trapezoid of Z: half with Z, cell and volume before the step, half with those after it.
        before = interval.dipoles(steps @ cells[:-1]) / part[:-1, None]
        after = interval.dipoles(steps @ cells[1:], start=1) / part[1:, None]
        changes.append((before + after) / 2)
        drifts.append(np.einsum("ki,kij->kj", mean, (cells[:-1] + cells[1:]) / 2))
        volumes.append(part[1:])
    if not volumes:
        raise InputError("a path needs at least one frame, and there is none")
    return PolarizationPath(
        change=np.cumsum(np.concatenate(changes), axis=0),
        quanta=quanta,
        volumes=np.concatenate(volumes),
        center_of_mass=np.cumsum(np.concatenate(drifts), axis=0),
    )


def wrap_polarization(change: ArrayLike, quanta: ArrayLike) -> Array:
    """The change (..., 3) less whole quanta (rows, same unit): at most half of one along each lattice vector is left.

    For differences of Berry-phase polarizations, which know no path. Resta and Vanderbilt, in Physics of Ferroelectrics
    (2007), p. 31. Spin-paired electrons come in twos: pass 2 e R / V where every spin channel is doubled.

    Examples
    --------
    >>> wrap_polarization([0.9, 0.2, 0.0], np.eye(3)).round(6) + 0.0
    array([-0.1,  0.2,  0. ])
    """
    rows = np.asarray(quanta, dtype=np.float64)
    # In the basis of the quanta every whole number is a change of branch.
    parts = np.asarray(change, dtype=np.float64) @ np.linalg.inv(rows)
    return np.asarray((parts - np.rint(parts)) @ rows)
