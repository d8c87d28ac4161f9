"""Where forces come from: a calculator, or a potential by name, which can be stored, resumed and run by processes."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import ase
import numpy as np
from numpy.typing import NDArray

from voigt.errors import InputError
from voigt.response.potentials.evaluation import forces_of, name_of
from voigt.response.potentials.registry import find_potential, load_potential
from voigt.response.potentials.relaxation import FORCE_LIMIT, MOST_STEPS, Relax, Relaxation, relax
from voigt.response.potentials.store import Store
from voigt.response.potentials.workers import forces_by_processes


@dataclass(frozen=True)
class Engine:
    """A calculator or a potential, and how it is put to work. `engine_of` makes one.

    Attributes
    ----------
    given
        An ASE calculator, or the name of a potential.
    store
        Where finished results are kept; None: nowhere.
    workers
        Processes that share the cells of `forces`.
    """

    given: Any
    store: Store | None = None
    workers: int = 1

    @cached_property
    def calculator(self) -> Any:
        """The calculator, loaded when it is first needed: not if all results are in the store."""
        return load_potential(self.given) if self.is_named else self.given

    @property
    def is_named(self) -> bool:
        """Whether it is a potential of the registry."""
        return isinstance(self.given, str)

    @property
    def name(self) -> str:
        """What sentences call it."""
        return self.given if self.is_named else name_of(self.given)

    @property
    def identity(self) -> str:
        """Name, with the version of a potential's package."""
        return find_potential(self.given).identity if self.is_named else self.name

    def relaxed(self, atoms: ase.Atoms, what: Relax, symprec: float) -> Relaxation:
        """`relax`, or what it gave the last time."""
        if self.store is None:
            return relax(atoms, self.calculator, what, symprec=symprec)
        key = self.store.key(atoms, f"relaxed {what} {symprec!r} {FORCE_LIMIT!r} {MOST_STEPS}")
        found = self.store.relaxation(key, atoms)
        if found is None:
            found = relax(atoms, self.calculator, what, symprec=symprec)
            self.store.keep_relaxation(key, found)
        return found

    def forces(
        self, cells: Sequence[ase.Atoms], advance: Callable[[int], None] | None = None
    ) -> list[NDArray[np.float64]]:
        """Forces (n_atoms, 3) of every cell, eV/Angstrom; `advance` is told the index of each one that is done.

        Errors as in `forces_of`; results that were done before an error stay in the store.
        """
        keys = ["" if self.store is None else self.store.key(cell, "forces") for cell in cells]
        done: dict[int, NDArray[np.float64]] = {}

        def finish(index: int, forces: NDArray[np.float64], new: bool) -> None:
            done[index] = forces
            if new and self.store is not None:
                self.store.keep_forces(keys[index], forces)
            if advance is not None:
                advance(index)

        for index, cell in enumerate(cells):
            found = None if self.store is None else self.store.forces(keys[index], len(cell))
            if found is not None:
                finish(index, found, new=False)
        left = [index for index in range(len(cells)) if index not in done]
        count = min(self.workers, len(left))
        if count > 1:
            for place, forces in forces_by_processes(self.given, [cells[index] for index in left], count):
                finish(left[place], forces, new=True)
        else:
            for index in left:
                finish(index, forces_of(cells[index], self.calculator), new=True)
        return [done[index] for index in range(len(cells))]


def engine_of(calculator: Any, folder: Path | None = None, workers: int = 1) -> Engine:
    """How a calculator, or a potential by name, is put to work.

    Parameters
    ----------
    calculator
        Of ASE, or a key of `POTENTIALS`.
    folder
        Keeps finished results, so that a run that was stopped goes on where it was. Made if it is not there.
    workers
        Processes; 0: one for each CPU that this process may use.

    Raises
    ------
    InputError
        The name is unknown; or a folder or workers go with a calculator: another process could not tell whether it is
        the same, nor make one.
    OutputError
        The folder cannot be made.
    """
    from voigt.response.potentials.calculator import NamedPotential

    given = calculator.potential.name if isinstance(calculator, NamedPotential) else calculator
    if workers < 0:
        raise InputError(f"workers {workers}: give a number of processes, or 0 for one on each CPU")
    if not isinstance(given, str):
        if folder is not None or workers != 1:
            what = "a folder for results" if folder is not None else "several workers"
            raise InputError(
                f"{what} needs a potential by name, which other runs and processes can load; give --potential"
            )
        return Engine(given)
    identity = find_potential(given).identity
    count = workers or len(os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1))
    return Engine(given, None if folder is None else Store.opened(folder, identity), count)
