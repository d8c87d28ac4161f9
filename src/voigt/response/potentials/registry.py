"""Machine-learned potentials by name: what they are, where they come from, and how a calculator is made of them.

This is the only place that lists them. Their packages are imported when a calculator is asked for.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import metadata
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from voigt.errors import InputError
from voigt.reasons import plain_reason

if TYPE_CHECKING:
    from voigt.response.potentials.calculator import NamedPotential


@dataclass(frozen=True)
class Potential:
    """A potential that has a name here.

    Attributes
    ----------
    name
        What `load_potential` and `--potential` take.
    module, distribution
        The package that is imported, and its name where it is installed from.
    install
        The line that installs it.
    functional, training
        Of the calculations that it was trained on, and these in words.
    source
        Who made it, and where it is described.
    make
        Gives an ASE calculator on the CPU.
    elements
        Atomic numbers in its training set; others are refused.
    """

    name: str
    module: str
    distribution: str
    install: str
    functional: str
    training: str
    source: str
    make: Callable[[], Any]
    elements: frozenset[int]

    @property
    def identity(self) -> str:
        """Name and version of the package: what a result must be stored with."""
        try:
            return f"{self.name}, {self.distribution} {metadata.version(self.distribution)}"
        except metadata.PackageNotFoundError:
            return self.name


def _sevennet(name: str) -> Any:
    from sevenn.calculator import SevenNetCalculator

    return SevenNetCalculator(name, device="cpu")


def _mace() -> Any:
    from mace.calculators import mace_mp

    return mace_mp(model="small", device="cpu", default_dtype="float64")


def _chgnet() -> Any:
    from chgnet.model.dynamics import CHGNetCalculator

    return CHGNetCalculator(use_device="cpu")


_MPTRJ = frozenset(range(1, 95)) - {84, 85, 86, 87, 88}  # from H to Pu without Po, At, Rn, Fr and Ra
_MPTRJ_WORDS = "relaxations of the Materials Project (MPtrj): PBE, with +U in oxides and fluorides of some metals"
_VOIGT = 'pip install "voigt[potential]"'

DEFAULT = "sevennet-l3i5"
"""Potential that is taken where none is named."""


def _of_mptrj(
    name: str, module: str, distribution: str, install: str, source: str, make: Callable[[], Any]
) -> Potential:
    """A potential trained on MPtrj."""
    return Potential(name, module, distribution, install, "PBE", _MPTRJ_WORDS, source, make, _MPTRJ)


_SEVENN = "Park et al., J. Chem. Theory Comput. 20, 4857 (2024)"
_ALL = (
    _of_mptrj(DEFAULT, "sevenn", "sevenn", _VOIGT, f"SevenNet-l3i5 (2024); {_SEVENN}", lambda: _sevennet("7net-l3i5")),
    _of_mptrj(
        "sevennet-0", "sevenn", "sevenn", _VOIGT, f"SevenNet-0 (11 July 2024); {_SEVENN}", lambda: _sevennet("7net-0")
    ),
    _of_mptrj(
        "mace-mp-small",
        "mace",
        "mace-torch",
        "pip install mace-torch",
        "MACE-MP-0 small; Batatia et al., arXiv:2401.00096 (weights are downloaded)",
        _mace,
    ),
    _of_mptrj(
        "chgnet",
        "chgnet",
        "chgnet",
        "pip install chgnet",
        "CHGNet; Deng et al., Nat. Mach. Intell. 5, 1031 (2023)",
        _chgnet,
    ),
)
POTENTIALS: Mapping[str, Potential] = MappingProxyType({potential.name: potential for potential in _ALL})
"""Every potential by its name."""


def find_potential(name: str) -> Potential:
    """The entry of a name; InputError with the names that there are if it is none of them.

    Examples
    --------
    >>> find_potential("sevennet-l3i5").functional
    'PBE'
    """
    if name not in POTENTIALS:
        raise InputError(f"no potential is named {name!r}; known are {', '.join(POTENTIALS)}")
    return POTENTIALS[name]


def load_potential(name: str) -> NamedPotential:
    """An ASE calculator of a potential by name, on the CPU and with one thread; nothing of it reaches the terminal.

    Parameters
    ----------
    name
        A key of `POTENTIALS`.

    Returns
    -------
    NamedPotential
        Gives energy (eV), forces (eV/Angstrom) and stress (eV/Angstrom^3, order of ASE); refuses elements that the
        potential was not trained on.

    Raises
    ------
    InputError
        The name is unknown, the package is not installed, or it does not load.

    Examples
    --------
    >>> atoms.calc = load_potential("sevennet-l3i5")  # doctest: +SKIP
    """
    potential = find_potential(name)
    from voigt.response.potentials.calculator import NamedPotential, quiet

    try:
        with quiet():
            importlib.import_module(potential.module)
    except ModuleNotFoundError as error:
        if error.name == potential.module:
            text = f"{name} needs the package {potential.distribution}, which is not installed"
            raise InputError(f"{text}: {potential.install}") from error
        raise InputError(_broken(potential, error)) from error
    except Exception as error:  # a package that does not fit its own dependencies
        raise InputError(_broken(potential, error)) from error
    try:
        return NamedPotential(potential)
    except Exception as error:
        raise InputError(_broken(potential, error)) from error


def _broken(potential: Potential, error: Exception) -> str:
    reason = f"{type(error).__name__}: {plain_reason(error)[:200]}"
    return f"{potential.identity} does not load ({reason}); install it anew ({potential.install}) or take another one"
