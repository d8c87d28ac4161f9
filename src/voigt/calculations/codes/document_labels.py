"""Which labels an entry of a JSON document holds: names and shapes of the collections that are around."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voigt.errors import InputError
from voigt.tensors.properties import PROPERTIES, Property
from voigt.tensors.voigt import VASP_TO_VOIGT

Array = NDArray[np.float64]

_AXES = (
    "{name}: the Materials Project keeps it in axes that need not be those of the structure (IEEE's, or of another "
    "setting of the cell); hold it against the structure with voigt data audit"
)
_TRIPLES = (
    ("electronic", "eps_inf", "piezo_clamped"),
    ("ionic", "eps_ionic", ""),
    ("total", "eps_total", "piezo_total"),
    ("e_electronic", "eps_inf", ""),
    ("e_total", "eps_total", ""),
    ("epsilon_static", "eps_inf", ""),
    ("epsilon_ionic", "eps_ionic", ""),
    ("piezoelectric_tensor", "", "piezo_total"),
)
"""Key, and the property that it is with 3x3 numbers or with 3x6."""
_SCALARS = (
    ("gap pbe", "band_gap", "PBE"),
    ("gap expt", "", ""),
    ("optb88vdw_bandgap", "band_gap", "optB88-vdW"),
    ("bandgap", "band_gap", ""),
    ("e_form", "formation_energy", ""),
    ("formation_energy_per_atom", "formation_energy", ""),
    ("formation_energy_peratom", "formation_energy", ""),
)
"""Key, property, and the functional that it is of."""
_OF_JARVIS = ("epsx", "epsy", "epsz", "mepsx", "mepsy", "mepsz")
_MAXIMA = ("dfpt_piezo_max_eij", "dfpt_piezo_max_dij", "dfpt_piezo_max_dielectric", "e_ij_max", "poly_total", "n")


@dataclass
class Labels:
    """Labels of an entry, Cartesian; `for_atoms` holds those per atom against the number of atoms."""

    targets: dict[str, Array] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    conversions: list[str] = field(default_factory=list)
    code: str = "JSON"
    functional: str = ""
    cutoff: float | None = None

    def for_atoms(self, count: int) -> dict[str, Array]:
        """The labels; InputError if there are not as many Born charges as atoms."""
        charges = self.targets.get("born_charges")
        if charges is not None and len(charges) != count:
            raise InputError(f"has Born charges of {len(charges)} atoms for {count}; export it again")
        return self.targets


def labels_of(entry: Mapping[str, Any]) -> Labels:
    """Labels of an entry on one level: keys of documents, of tables and of voigt.

    Examples
    --------
    >>> found = labels_of({"electronic": [[3, 0, 0], [0, 3, 0], [0, 0, 3]], "n": 1.7, "material_id": "mp-1"})
    >>> list(found.targets), found.code
    (['eps_inf'], 'Materials Project')
    """
    labels = Labels(functional=str(entry.get("functional") or entry.get("func") or ""))
    if isinstance(entry.get("models"), Mapping) and isinstance(entry.get("properties"), Mapping):
        _of_voigt(entry, labels)
        return labels
    if "jid" in entry or isinstance(entry.get("atoms"), Mapping):
        labels.code = "JARVIS"
    elif str(entry.get("material_id") or entry.get("task_id") or "").startswith(("mp-", "mvc-")):
        labels.code = "Materials Project"
    for name, prop in PROPERTIES.items():
        if name in entry:
            _add(labels, name, _stored(prop, entry[name]), f"{name} as it stands")
    _tensors(entry, labels)
    _elastic(entry, labels)
    _scalars(entry, labels)
    _without_tensors(entry, labels)
    return labels


def _of_voigt(entry: Mapping[str, Any], labels: Labels) -> None:
    """Predictions in voigt's own JSON, which may teach another model."""
    models = entry["models"]
    labels.code = "voigt"
    for name, held in entry["properties"].items():
        if name in PROPERTIES and isinstance(held, Mapping):
            _add(labels, name, _stored(PROPERTIES[name], held.get("value")), f"{name} of model {models.get(name)}")
    functionals = sorted({str(text) for text in (entry.get("functionals") or {}).values() if text})
    labels.functional = functionals[0] if len(functionals) == 1 else ""
    labels.problems.append(
        "the labels are predictions of a model, no calculations; a model learns its errors from them"
    )


def _tensors(entry: Mapping[str, Any], labels: Labels) -> None:
    for key, matrix, voigt in _TRIPLES:
        array = _numbers(entry.get(key))
        if array is None:
            continue
        if array.shape == (3, 3) and matrix:
            _add(labels, matrix, array, f"{matrix} from '{key}'")
        elif array.shape in ((3, 6), (3, 3, 3)) and voigt:
            tensor = array if array.ndim == 3 else PROPERTIES[voigt].from_storage(array)
            _add(labels, voigt, tensor, f"{voigt} from '{key}', columns xx yy zz yz zx xy")
    if labels.code == "Materials Project" or "e_electronic" in entry or "piezoelectric_tensor" in entry:
        labels.problems.extend(_AXES.format(name=name) for name in labels.targets if PROPERTIES[name].rank)


def _elastic(entry: Mapping[str, Any], labels: Labels) -> None:
    prop, held = PROPERTIES["elastic"], entry.get("elastic_tensor")
    original = _numbers(entry.get("elastic_tensor_original"))
    if isinstance(held, Mapping):  # of the Materials Project
        original, held = _numbers(held.get("raw")), held.get("ieee_format")
    if original is not None and original.shape == (6, 6):
        _add(labels, "elastic", prop.from_storage(original), "elastic from the tensor in the axes of the calculation")
        return
    array = _numbers(held)
    if array is None or array.shape != (6, 6):
        return
    if labels.code == "JARVIS":
        order = list(VASP_TO_VOIGT)
        text = "elastic: rows and columns from xx yy zz xy yz zx, the order of VASP"
        _add(labels, "elastic", prop.from_storage(array[np.ix_(order, order)]), text)
        labels.problems.append(
            "elastic: JARVIS calculates it in the conventional cell, which need not be that of the structure; hold it "
            "against the structure with voigt data audit"
        )
        return
    _add(labels, "elastic", prop.from_storage(array), "elastic from 'elastic_tensor', order xx yy zz yz zx xy")
    labels.problems.append(_AXES.format(name="elastic"))


def _scalars(entry: Mapping[str, Any], labels: Labels) -> None:
    for key, name, functional in _SCALARS:
        value = entry.get(key)
        if not name or name in labels.targets or isinstance(value, bool) or not isinstance(value, int | float):
            continue
        if math.isfinite(value):
            _add(labels, name, np.array(float(value)), f"{name} from '{key}'")
            labels.functional = labels.functional or functional


def _without_tensors(entry: Mapping[str, Any], labels: Labels) -> None:
    """Say what is there but is no label."""
    optics = [key for key in _OF_JARVIS if isinstance(entry.get(key), int | float)]
    if optics:
        labels.problems.append(
            f"{', '.join(optics)}: only diagonal components, without local fields, are no eps_inf and are left out"
        )
    largest = [key for key in _MAXIMA if isinstance(entry.get(key), int | float)]
    if largest and not any(PROPERTIES[name].rank for name in labels.targets):
        labels.problems.append(
            f"{', '.join(largest)}: numbers made of tensors, not tensors; fetch the tensors themselves"
        )


def _add(labels: Labels, name: str, tensor: Array | None, text: str) -> None:
    if tensor is None:
        labels.problems.append(f"{name} is not of the shape that it should have and is left out; see docs/files.md")
    elif name not in labels.targets:
        labels.targets[name] = tensor
        labels.conversions.append(text)


def _stored(prop: Property, value: Any) -> Array | None:
    """Cartesian tensor of what a file holds, in the layout of files or Cartesian already; None for another shape."""
    array = _numbers(value)
    if array is None:
        return None
    if prop.per == "atom":
        size = math.prod(prop.shape)
        return array.reshape(-1, *prop.shape) if array.size and array.size % size == 0 else None
    if prop.rank and array.shape == prop.shape:
        return array
    return prop.from_storage(array.reshape(prop.stored_shape)) if array.size == math.prod(prop.stored_shape) else None


def _numbers(value: Any) -> Array | None:
    """An array of finite numbers, also of what monty writes ({"data": [...]}); None for anything else."""
    if isinstance(value, Mapping) and isinstance(value.get("data"), list):
        value = value["data"]
    if isinstance(value, bool) or not isinstance(value, list | int | float):
        return None
    try:
        array = np.array(value, dtype=np.float64)
    except (TypeError, ValueError):
        return None
    return array if np.isfinite(array).all() else None
