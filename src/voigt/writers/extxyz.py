"""Predictions as extended XYZ: the frames of the input with tensors added."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ase
import numpy as np

from voigt.files import atomic_write
from voigt.tensors.layout import flat, norm
from voigt.tensors.properties import PROPERTIES

if TYPE_CHECKING:
    from voigt.prediction.result import Prediction


def annotated(prediction: Prediction) -> ase.Atoms:
    """A copy of the input structure with the prediction in its arrays and info.

    Arrays, info and calculator results of the input stay. Added are `born_charges` (9 columns, row-major) and other
    tensors (info, row-major; piezo 3x6 and elastic 6x6 in Voigt order xx yy zz yz zx xy), `<property>_spread` (one
    Frobenius norm per atom or crystal), `<property>_interval` (half-width of the 90 % interval, per atom or crystal),
    `id` where the frame had none, `voigt_model` and `voigt_functional`, or `<property>_model` and
    `<property>_functional` where properties differ in them. A key that the frame already has, such as a label of the
    same property, is kept as `<key>_input`.
    """
    atoms: ase.Atoms = prediction.atoms.copy()
    _keep_results(prediction.atoms, atoms)
    for kind, texts in (("model", prediction.models), ("functional", prediction.functionals)):
        alike = len(set(texts.values())) == 1
        for name, text in texts.items():
            if text is not None:
                _set(atoms.info, f"voigt_{kind}" if alike else f"{name}_{kind}", text)
            if alike:
                break
    if str(atoms.info.get("id")) != prediction.id:
        atoms.info["id"] = prediction.id
    for name, value in prediction.values.items():
        prop = PROPERTIES[name]
        home = atoms.arrays if prop.per == "atom" else atoms.info
        values = flat(prop, value)
        _set(home, name, float(values[0]) if prop.rank == 0 and prop.per == "crystal" else values)
        if name in prediction.spread:
            spread = norm(prop, prediction.spread[name])
            _set(home, f"{name}_spread", spread if spread.ndim else float(spread))
        if name in prediction.interval:
            interval = prediction.interval[name]
            _set(home, f"{name}_interval", interval if interval.ndim else float(interval))
    for key, array in atoms.arrays.items():
        if array.ndim > 2:  # extended XYZ has columns, no tensors
            atoms.arrays[key] = array.reshape(len(array), -1)
    return atoms


def write_extxyz(predictions: Iterable[Prediction], path: str | Path) -> int:
    """Write one frame for each crystal, see `annotated`; returns their number.

    What a frame brings along and extended XYZ cannot hold is changed or left out, see `voigt.writers.readable`.
    """
    from ase.io.extxyz import write_xyz

    from voigt.writers.readable import readable

    count = 0
    with atomic_write(path) as stream:
        for prediction in predictions:
            write_xyz(stream, readable(annotated(prediction)))
            count += 1
    return count


def _set(home: dict[str, Any], key: str, value: object) -> None:
    if key in home:
        home[f"{key}_input"] = home[key]
    home[key] = value


def _keep_results(source: ase.Atoms, copy: ase.Atoms) -> None:
    """Energy, forces and the like live in a calculator, which `Atoms.copy` drops."""
    from ase.io.extxyz import per_atom_properties, per_config_properties

    results = getattr(source.calc, "results", {})
    for key, value in results.items():
        if key in per_atom_properties:
            copy.arrays.setdefault(key, np.asarray(value))
        elif key in per_config_properties:
            copy.info.setdefault(key, value)
