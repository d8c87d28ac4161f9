"""Rows of a store: a crystal with its structure and predictions, or a failure; and how they travel there."""

from __future__ import annotations

import hashlib
import resource
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import ase
import numpy as np
import pyarrow as pa
from ase.data import chemical_symbols

from voigt.notes import Failure
from voigt.prediction.plan import Plan
from voigt.prediction.result import Prediction
from voigt.structures import InputStructure
from voigt.structures.domain import metal_reason
from voigt.tensors.layout import stored
from voigt.tensors.properties import PROPERTIES, insulators_only
from voigt.writers.parquet import property_fields
from voigt.writers.parquet import row as prediction_row

DIGITS = 8  # decimals of lengths (Angstrom) that a digest sees: what the text formats keep

NOTE = pa.struct([("kind", pa.string()), ("properties", pa.list_(pa.string())), ("elements", pa.list_(pa.string()))])
"""What programs read of a warning, in the order of the sentences."""

FAILED = pa.schema(
    [
        pa.field("id", pa.string()),
        pa.field("source", pa.string()),
        pa.field("index", pa.int64()),
        pa.field("reason", pa.string()),
        pa.field("kind", pa.string(), metadata={"meaning": "what went wrong, see voigt.notes"}),
        pa.field("elements", pa.list_(pa.string()), metadata={"meaning": "elements that are the reason"}),
        pa.field("input_digest", pa.string()),
        pa.field("readable", pa.bool_(), metadata={"meaning": "whether a structure could be read"}),
    ]
)


@dataclass(frozen=True)
class Outcome:
    """Results and failures of a piece of work, on their way from the process that computes to the store.

    Attributes
    ----------
    results, failures
        Rows of `schema` and `FAILED`; every input is in one of the two.
    seconds
        Wall-clock time for "graphs" (symmetry, neighbors, canonical axes), "networks" (with projection) and "rows".
    peak_mib
        Largest memory that the process which did this had so far.
    """

    results: pa.Table
    failures: pa.Table
    seconds: dict[str, float] = field(default_factory=dict)
    peak_mib: float = 0.0


def peak_mib() -> float:
    """Largest resident memory of this process so far, MiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def schema(properties: Sequence[str]) -> pa.Schema:
    """Columns of the results, see docs/screening.md; the same for all parts of a store."""
    fields = [
        pa.field("id", pa.string()),
        pa.field("source", pa.string()),
        pa.field("formula", pa.string()),
        pa.field("spacegroup", pa.int16()),
        pa.field("num_atoms", pa.int32()),
        pa.field("volume", pa.float64(), metadata={"unit": "Angstrom^3", "meaning": "volume of the cell"}),
        pa.field("input_digest", pa.string()),
        pa.field("numbers", pa.list_(pa.int16())),
        pa.field("cell", pa.list_(pa.float64()), metadata={"unit": "Angstrom", "meaning": "rows are lattice vectors"}),
        pa.field("frac", pa.list_(pa.float64()), metadata={"meaning": "fractional coordinates, atom by atom"}),
    ]
    for name in properties:
        fields += property_fields(name)
        if PROPERTIES[name].per == "crystal":
            meaning = "what the members of an ensemble say, one after the other, each laid out like the property"
            note = {"unit": PROPERTIES[name].unit, "meaning": meaning}
            fields.append(pa.field(f"{name}_members", pa.list_(pa.float64()), metadata=note))
        if PROPERTIES[name].rank:
            meaning = "||T - PT|| / ||T|| of the raw tensor, P the projector onto the space group"
            fields.append(pa.field(f"{name}_residual", pa.float64(), metadata={"unit": "1", "meaning": meaning}))
    if "born_charges" in properties:
        meaning = "Frobenius norm of the sum of the raw Born charges over the cell"
        fields.append(pa.field("drift", pa.float64(), metadata={"unit": "e", "meaning": meaning}))
    fields += [
        pa.field("likely_metal", pa.bool_(), metadata={"meaning": "no band gap, or by its composition"}),
        pa.field("unseen", pa.list_(pa.string()), metadata={"meaning": "elements outside a model's training set"}),
        pa.field("warnings", pa.list_(pa.string())),
        pa.field("notes", pa.list_(NOTE), metadata={"meaning": "what each warning is and concerns, see voigt.notes"}),
        pa.field("prefilter", pa.bool_(), metadata={"meaning": "whether the prefilter is true; null without one"}),
    ]
    return pa.schema(fields)


def results_table(entries: Iterable[tuple[InputStructure, Prediction, bool | None]], plan: Plan) -> pa.Table:
    """Predictions as rows of `schema(plan.properties)`; the third entry is the value of the prefilter."""
    rows = [_row(structure, prediction, passed, plan) for structure, prediction, passed in entries]
    return pa.Table.from_pylist(rows, schema=schema(plan.properties))


def _row(structure: InputStructure, prediction: Prediction, passed: bool | None, plan: Plan) -> dict[str, Any]:
    atoms = prediction.atoms
    elements = {int(z) for z in atoms.numbers}
    unseen = {z for share in plan.shares for z in elements - set(share.model.card.elements)}
    return {
        **prediction_row(prediction),
        "source": structure.source,
        "num_atoms": len(atoms),
        "volume": atoms.get_volume(),
        "input_digest": structure_digest(atoms),
        "numbers": atoms.numbers,
        "cell": atoms.cell.array.ravel(),
        "frac": atoms.get_scaled_positions(wrap=False).ravel(),
        **{f"{n}_members": stored(PROPERTIES[n], value).ravel() for n, value in prediction.members.items()},
        **{f"{name}_residual": value for name, value in prediction.residual.items()},
        "drift": None if prediction.drift is None else float(np.linalg.norm(prediction.drift)),
        "likely_metal": _likely_metal(prediction),
        "unseen": [chemical_symbols[z] for z in sorted(unseen)],
        "notes": [{"kind": n.kind, "properties": n.properties, "elements": n.elements} for n in prediction.notes],
        "prefilter": passed,
    }


def _likely_metal(prediction: Prediction) -> bool:
    """As its note says, or by composition where nothing is predicted that only insulators have."""
    if insulators_only(prediction.values):
        return any(note.kind == "likely_metal" for note in prediction.notes)
    return metal_reason(prediction.atoms, prediction.symmetry) is not None


def failures_table(entries: Iterable[tuple[InputStructure | Failure, Failure]]) -> pa.Table:
    """Inputs that gave no prediction, each with its failure."""
    rows = [
        {
            "id": entry.id,
            "source": entry.source,
            "index": entry.index,
            "reason": failure.for_command_line().reason,
            "kind": failure.kind,
            "elements": failure.elements,
            "input_digest": input_digest(entry),
            "readable": isinstance(entry, InputStructure),
        }
        for entry, failure in entries
    ]
    return pa.Table.from_pylist(rows, schema=FAILED)


def structure_digest(atoms: ase.Atoms) -> str:
    """Sixteen hexadecimal digits made of elements, cell and positions, the latter rounded to `DIGITS`."""
    hashed = hashlib.blake2b(np.asarray(atoms.numbers, dtype=np.int16).tobytes(), digest_size=8)
    for lengths in (atoms.cell.array, atoms.positions):
        hashed.update((np.round(lengths, DIGITS) + 0.0).tobytes())  # + 0.0: no negative zeros
    return hashed.hexdigest()


def input_digest(entry: InputStructure | Failure) -> str:
    """Digest of the structure, or of the problem where there is none."""
    if isinstance(entry, InputStructure):
        return structure_digest(entry.atoms)
    return hashlib.blake2b(entry.problem.encode(), digest_size=8).hexdigest()


def input_key(identity: str, source: str, index: int, readable: bool) -> bytes:
    """Eight bytes by which a store knows an input again.

    A crystal is known by its id, which is unique in a collection; what could not be read by its place, since its id
    may be that of another (a duplicate is such a problem).
    """
    text = identity if readable else f"{identity}\0{source}\0{index}"
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()


def key_of(entry: InputStructure | Failure) -> bytes:
    """Key of an input, see `input_key`."""
    return input_key(entry.id, entry.source, entry.index, isinstance(entry, InputStructure))
