"""Settings of a prediction and its result: the tensors of one crystal with their diagnostics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeVar

import ase
import numpy as np
from numpy.typing import NDArray

from voigt.errors import InputError
from voigt.graphs.batch import MAX_EDGES
from voigt.notes import Note
from voigt.prediction.sheets import Sheet
from voigt.structures.domain import stated_charge
from voigt.structures.symmetry import Symmetry
from voigt.structures.symmetry.space_group import require_tolerance

if TYPE_CHECKING:
    from voigt.viewer import View

MOST_CHARGE = 10_000.0
"""e, of a cell; numbers beyond are mistakes."""
ValueT = TypeVar("ValueT")


@dataclass(frozen=True)
class Settings:
    """How predictions are made and corrected.

    Attributes
    ----------
    properties
        What to return; None: all that the model predicts.
    functional
        Functional whose response is wanted; None: the model's default. Of several models, those that do not know it
        predict for their default and say so.
    symmetrize
        Project onto the crystal's space group.
    sum_rule
        Make the Born charges of a cell sum to `total_charge`.
    total_charge
        Charge of the cell in e: sum_a Z[a] = total_charge * identity. None: what the structure states, as
        `atoms.info["charge"]` or the charge of a pymatgen Structure, or else 0.
    symprec
        Tolerance of the space-group search, Angstrom.
    allow_unseen
        Predict for elements that the model was not trained on.
    max_edges
        Most edges of one batch. The default is for a CPU: on a CUDA device it stands for what its memory holds.
    check_domain
        Look for vacuum, metals (one more pass, through the gap model) and crystals unlike those of training, and say so
        in notes. No value depends on it; turn it off where the same crystal is predicted again and again.
    device
        Of the networks: "cpu", "cuda", "cuda:1", "mps", or "auto": a CUDA device if there is one, else the CPU. With
        "auto" a model that was loaded before stays where it is.

    Raises
    ------
    InputError
        `symprec` is no length above zero, or `total_charge` no charge of a cell.

    Examples
    --------
    >>> Settings(properties=("eps_inf",), functional="PBE").symmetrize
    True
    """

    properties: tuple[str, ...] | None = None
    functional: str | None = None
    symmetrize: bool = True
    sum_rule: bool = True
    total_charge: float | None = None
    symprec: float = 1e-3
    allow_unseen: bool = False
    max_edges: int = MAX_EDGES
    check_domain: bool = True
    device: str = "auto"

    def __post_init__(self) -> None:
        require_tolerance(self.symprec)
        if self.total_charge is not None and not abs(self.total_charge) <= MOST_CHARGE:
            raise InputError(f"a total charge of {self.total_charge:g} e; give at most {MOST_CHARGE:g} for a cell")


@dataclass(frozen=True, repr=False)
class Prediction:
    """Tensors of one crystal, in the Cartesian frame of its input cell.

    Attributes
    ----------
    id
        Identity of the crystal.
    atoms
        The input structure.
    values
        Property name -> final Cartesian tensor: born_charges (n_atoms, 3, 3) as Z[atom, field, displacement],
        eps_inf (3, 3), ... in `units`.
    raw
        The same before sum rule and symmetry projection.
    spread
        Property name -> standard deviation over the members of an ensemble, per component; empty for one network.
    units
        Property name -> unit.
    drift
        (3, 3) sum of the raw Born charges over the cell, e; None if not predicted.
    residual
        Property name -> ||T - P T|| / ||T|| of the raw tensor, P the projector onto the space group.
    symmetry
        The crystal's operations, orbits, Wyckoff letters.
    symmetrized
        Whether `values` are projected onto these operations.
    models
        Property name -> name of the model that predicted it.
    functionals
        Property name -> functional that the prediction stands for, None if the model does not depend on it.
    notes
        What to know of it: unseen elements, likely metals, disagreement within the ensemble, properties that one of
        several models cannot predict for this crystal.
    members
        Property per crystal -> (n_members, ...) what each member of an ensemble says, symmetrized like `values`, which
        is their mean; for the spread of what follows from a tensor. Empty for one network.
    sheets
        Of a sheet or slab in vacuum: eps_inf and eps_total -> polarizability and permittivity of the sheet itself, and
        of its cell. `values` keep what the network says, which does not know about vacuum.
    interval
        Property -> half-width r of its 90 % interval, in its unit: the error of `values`, as Frobenius norm of the
        tensor of the crystal (), or of each atom (n_atoms,), is at most r for 90 % of crystals like those of training.
        Symmetry-equivalent atoms have the same. A property is absent if its model has no intervals, the crystal holds
        elements that the model was not trained on, or symmetry or sum rule were not imposed. Of crystals with the note
        "far_from_training" it is not known how often it holds.

    Examples
    --------
    >>> import voigt
    >>> voigt.predict("examples/MgO.vasp")[0]
    Prediction MgO: MgO, Fm-3m (225), 2 atoms
      born_charges: means of atoms -1.97 to 1.97 e, ± 0.179 (90 %); model born, PBEsol
      eps_inf: principal values 3.29, 3.29, 3.29, ± 0.561 (90 %); model born, PBEsol
      and eps_ionic, eps_total
      no notes
    """

    id: str
    atoms: ase.Atoms
    values: Mapping[str, NDArray[np.float64]]
    raw: Mapping[str, NDArray[np.float64]]
    spread: Mapping[str, NDArray[np.float64]]
    units: Mapping[str, str]
    drift: NDArray[np.float64] | None
    residual: Mapping[str, float]
    symmetry: Symmetry
    symmetrized: bool
    models: Mapping[str, str]
    functionals: Mapping[str, str | None]
    notes: tuple[Note, ...]
    members: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    sheets: Mapping[str, Sheet] = field(default_factory=dict)
    interval: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)

    @property
    def warnings(self) -> tuple[str, ...]:
        """The sentences of `notes`."""
        return tuple(note.sentence for note in self.notes)

    def __repr__(self) -> str:
        from voigt.prediction.display import summary

        return summary(self)

    def _repr_html_(self) -> str:
        """Tables for notebooks."""
        from voigt.prediction.display import html_tables

        return html_tables(self)

    def view(self) -> View:
        """Pictures of the crystal and its tensors for notebooks; `save` writes them as a page."""
        from voigt.prediction.display import view

        return view(self)

    def to_dict(self) -> dict[str, Any]:
        """Everything as dictionaries, lists, numbers and text, as in a JSON file; see `voigt.prediction.record`."""
        from voigt.prediction.record import record

        return record(self)


def charge_of(atoms: ase.Atoms, settings: Settings) -> float:
    """Charge of a cell, e: that of the settings, or else what the structure states."""
    return stated_charge(atoms) if settings.total_charge is None else settings.total_charge


def merge(parts: Sequence[Prediction], order: Sequence[str], notes: Sequence[Note] = ()) -> Prediction:
    """One crystal's properties from several models.

    Parameters
    ----------
    parts
        Predictions of the same crystal, no property in two of them.
    order
        Names of properties in the order of the result; those that no part has are left out.
    notes
        To add to those of the parts; of equal sentences one is kept, which concerns the properties of all.
    """
    names = [name for name in order if any(name in part.values for part in parts)]
    merged = replace(
        parts[0],
        values=_united([part.values for part in parts], names),
        raw=_united([part.raw for part in parts], names),
        spread=_united([part.spread for part in parts], names),
        members=_united([part.members for part in parts], names),
        units=_united([part.units for part in parts], names),
        drift=next((part.drift for part in parts if part.drift is not None), None),
        residual=_united([part.residual for part in parts], names),
        models=_united([part.models for part in parts], names),
        functionals=_united([part.functionals for part in parts], names),
        sheets=_united([part.sheets for part in parts], names),
        interval=_united([part.interval for part in parts], names),
    )
    return replace(merged, notes=_once([*(n for part in parts for n in part.notes), *notes, *_contradictions(merged)]))


def _once(notes: Sequence[Note]) -> tuple[Note, ...]:
    kept: dict[str, Note] = {}
    for note in notes:
        earlier = kept.get(note.text, note)
        properties = tuple(dict.fromkeys([*earlier.properties, *note.properties]))
        kept[note.text] = replace(earlier, properties=properties)
    return tuple(kept.values())


def _united(mappings: Sequence[Mapping[str, ValueT]], names: Sequence[str]) -> dict[str, ValueT]:
    united = {name: value for mapping in mappings for name, value in mapping.items()}
    return {name: united[name] for name in names if name in united}


def _contradictions(prediction: Prediction) -> list[Note]:
    """One network keeps eps_total above eps_inf; two networks may disagree."""
    if not {"eps_inf", "eps_total"} <= prediction.values.keys():
        return []
    models = prediction.models
    ionic = np.linalg.eigvalsh(prediction.values["eps_total"] - prediction.values["eps_inf"])
    if models["eps_inf"] == models["eps_total"] or ionic.min() >= 0:
        return []
    text = (
        f"eps_total (model '{models['eps_total']}') is below eps_inf (model '{models['eps_inf']}') by up to "
        f"{-ionic.min():.2g}, which cannot be; ask for these two alone to get them from one model"
    )
    return [Note("contradiction", text, ("eps_inf", "eps_total"))]
