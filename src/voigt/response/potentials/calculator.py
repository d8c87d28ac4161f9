"""A potential as ASE's calculators are, but silent, on one thread, and only for elements that it knows."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from functools import cache
from typing import TYPE_CHECKING, Any, cast

import ase
import torch
from ase.calculators.calculator import Calculator, all_changes

from voigt.errors import InputError

if TYPE_CHECKING:
    from voigt.response.potentials.registry import Potential

_PROPERTIES = ("energy", "free_energy", "forces", "stress")


@contextmanager
def quiet() -> Iterator[None]:
    """Drop what a package prints or warns of: it is meant for its developers."""
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        yield


@contextmanager
def _settings_of_torch(dtype: torch.dtype) -> Iterator[None]:
    """Threads and default type of torch, which some packages change for good, and what they were afterwards."""
    before = torch.get_default_dtype(), torch.get_num_threads()
    torch.set_default_dtype(dtype)
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_default_dtype(before[0])
        torch.set_num_threads(before[1])


@cache
def _made(potential: Potential) -> tuple[Any, torch.dtype]:
    """The calculator of the package, whose weights take seconds to load, and the default type that it wants."""
    with quiet(), _settings_of_torch(torch.get_default_dtype()):
        return potential.make(), torch.get_default_dtype()


class NamedPotential(Calculator):
    """Calculator of a potential of the registry; errors of its package are raised as they are.

    All of one potential share the weights.

    Parameters
    ----------
    potential
        Whose package is installed.

    Attributes
    ----------
    potential
        The entry in the registry.
    """

    def __init__(self, potential: Potential) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.potential = potential
        self._inner, self._dtype = _made(potential)
        known = set(self._inner.implemented_properties)
        self.implemented_properties = [name for name in _PROPERTIES if name in known]

    def calculate(
        self,
        atoms: ase.Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = all_changes,
    ) -> None:
        """Fill `results`; InputError for elements that the potential was not trained on."""
        super().calculate(atoms, properties, system_changes)  # type: ignore[no-untyped-call]
        atoms = cast(ase.Atoms, self.atoms)
        unseen = {atom.symbol for atom in atoms if atom.number not in self.potential.elements}
        if unseen:
            names = " and ".join(sorted(unseen))
            raise InputError(f"{self.potential.name} was not trained on {names}; take another potential")
        with quiet(), _settings_of_torch(self._dtype):
            self._inner.calculate(atoms, list(properties), list(all_changes))
        self.results = {name: self._inner.results[name] for name in self.implemented_properties}
