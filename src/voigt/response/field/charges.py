"""Where Born charges of many structures come from: an array, a function, or a model."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, Union, cast

import ase
import numpy as np
from numpy.typing import ArrayLike

from voigt.errors import InputError
from voigt.response.arrays import Array

if TYPE_CHECKING:
    from voigt.models.checkpoint import LoadedModel
    from voigt.prediction.result import Settings

ChargeSource: TypeAlias = Callable[[Sequence[ase.Atoms]], Array]
"""Structures -> Born charges (n_structures, n_atoms, 3, 3), Z[atom, field, displacement] in e."""
Charges: TypeAlias = Union[ArrayLike, ChargeSource, str, Path, "LoadedModel", None]
"""What functions of this room take for Z: an array, a function, or a model (None: the one that ships)."""

_log = logging.getLogger("voigt")


def predicted_charges(model: str | Path | LoadedModel | None = None, settings: Settings | None = None) -> ChargeSource:
    """Function from structures to Born charges (n_structures, n_atoms, 3, 3) as a model predicts them.

    The model is loaded once; WeightsError, DomainError or TargetError if it does not exist or gives no Born charges.
    The function raises InputError for a structure that cannot be predicted; warnings go to the log "voigt", each once.
    Unless `settings` are given, only the structures of the first call are compared with the domain of the model.

    Examples
    --------
    >>> from ase.build import bulk
    >>> source = predicted_charges("born")
    >>> source([bulk("MgO", "rocksalt", 4.21)]).shape
    (1, 2, 3, 3)
    """
    from voigt.notes import Failure
    from voigt.prediction.plan import choose_models
    from voigt.prediction.result import Settings
    from voigt.prediction.stream import predict_planned
    from voigt.structures import read

    wanted = replace(settings or Settings(), properties=("born_charges",))
    plan = choose_models(model, wanted)
    unchecked = [replace(share, settings=replace(share.settings, check_domain=False)) for share in plan.shares]
    later = plan if settings else replace(plan, shares=tuple(unchecked), gap=None)
    logged: set[str] = set()

    def charges(structures: Sequence[ase.Atoms]) -> Array:
        nonlocal plan
        born_charges = []
        current, plan = plan, later
        for prediction in predict_planned(read(list(structures)), current):
            if isinstance(prediction, Failure):
                raise InputError(f"no Born charges: {prediction.reason}")
            born_charges.append(prediction.values["born_charges"])
            for sentence in set(prediction.warnings) - logged:
                logged.add(sentence)
                _log.warning("%s", sentence)
        return np.array(born_charges)

    return charges


def charge_source(charges: Charges) -> ChargeSource:
    """Function from structures to Z (n_structures, n_atoms, 3, 3), from any of `Charges`.

    InputError for an array of another shape; from the function itself for another number of atoms or frames.

    Examples
    --------
    >>> from ase.build import bulk
    >>> atoms = bulk("MgO", "rocksalt", 4.21)
    >>> charge_source([2 * np.eye(3), -2 * np.eye(3)])([atoms, atoms]).shape
    (2, 2, 3, 3)
    """
    if (array := as_array(charges)) is not None:
        source = _array_source(array)
    elif callable(charges):
        source = charges
    else:
        source = predicted_charges(cast("str | Path | LoadedModel | None", charges))

    def checked(structures: Sequence[ase.Atoms]) -> Array:
        values = np.asarray(source(structures), dtype=np.float64)
        expected = (len(structures), len(structures[0]), 3, 3)
        if values.shape != expected:
            raise InputError(f"Born charges of shape {values.shape} do not fit the structures, which need {expected}")
        if not np.isfinite(values).all():
            raise InputError("the Born charges hold numbers that are not finite; leave out what they were made from")
        return values

    return checked


def as_array(charges: Charges) -> Array | None:
    """The charges if they are numbers, None if a function or a model."""
    if isinstance(charges, list | tuple) or hasattr(charges, "__array__"):
        return np.asarray(cast(ArrayLike, charges), dtype=np.float64)
    return None


def _array_source(array: Array) -> ChargeSource:
    """One array for all structures, or rows handed out in turn."""
    if array.ndim not in (3, 4) or array.shape[-2:] != (3, 3):
        raise InputError(f"Born charges must be (n_atoms, 3, 3) or (n_frames, n_atoms, 3, 3), not {array.shape}")
    if array.ndim == 3:
        return lambda structures: np.broadcast_to(array, (len(structures), *array.shape))
    rows = iter(array)

    def charges_in_turn(structures: Sequence[ase.Atoms]) -> Array:
        return np.array([z for _, z in zip(structures, rows, strict=False)]).reshape(-1, *array.shape[1:])

    return charges_in_turn
