"""What a store keeps of a crystal: one row of a Parquet table, self-contained with its structure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any

import ase
import numpy as np
import pyarrow as pa
from ase.data import chemical_symbols
from numpy.typing import NDArray

from voigt.prediction.plan import Plan
from voigt.prediction.result import Prediction
from voigt.structures.domain import metal_reason
from voigt.structures.reading import Frame
from voigt.tensors.properties import PROPERTIES
from voigt.writers.layout import flat
from voigt.writers.parquet import property_fields
from voigt.writers.parquet import row as prediction_row

DIGITS = 8
"""Decimals of lengths (Angstrom) that a digest sees: what the text formats keep."""

FAILED = pa.schema(
    [
        pa.field("id", pa.string()),
        pa.field("source", pa.string()),
        pa.field("index", pa.int64()),
        pa.field("reason", pa.string()),
        pa.field("input_digest", pa.string()),
        pa.field("readable", pa.bool_(), metadata={"meaning": "whether a structure could be read"}),
    ]
)


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
        pa.field("likely_metal", pa.bool_(), metadata={"meaning": "by its composition, see voigt.structures.domain"}),
        pa.field("unseen", pa.list_(pa.string()), metadata={"meaning": "elements outside a model's training set"}),
        pa.field("warnings", pa.list_(pa.string())),
        pa.field("prefilter", pa.bool_(), metadata={"meaning": "whether the prefilter is true; null without one"}),
    ]
    return pa.schema(fields)


def results_table(entries: Iterable[tuple[Frame, Prediction, bool | None]], plan: Plan) -> pa.Table:
    """Predictions as rows of `schema(plan.properties)`; the third entry is the value of the prefilter."""
    rows = [_row(frame, prediction, passed, plan) for frame, prediction, passed in entries]
    return pa.Table.from_pylist(rows, schema=schema(plan.properties))


def _row(frame: Frame, prediction: Prediction, passed: bool | None, plan: Plan) -> dict[str, Any]:
    atoms = prediction.atoms
    elements = {int(z) for z in atoms.numbers}
    unseen = {z for share in plan.shares for z in elements - set(share.model.card.elements)}
    return {
        **prediction_row(prediction),
        "source": frame.source,
        "num_atoms": len(atoms),
        "volume": atoms.get_volume(),
        "input_digest": structure_digest(atoms),
        "numbers": atoms.numbers,
        "cell": atoms.cell.array.ravel(),
        "frac": atoms.get_scaled_positions(wrap=False).ravel(),
        **{f"{name}_members": flat_members(name, value) for name, value in prediction.members.items()},
        **{f"{name}_residual": value for name, value in prediction.residual.items()},
        "drift": None if prediction.drift is None else float(np.linalg.norm(prediction.drift)),
        "likely_metal": metal_reason(atoms, prediction.symmetry) is not None,
        "unseen": [chemical_symbols[z] for z in sorted(unseen)],
        "prefilter": passed,
    }


def flat_members(name: str, members: NDArray[np.float64]) -> NDArray[np.float64]:
    """Values of an ensemble's members as the store has them."""
    prop = PROPERTIES[name]
    return members if prop.rank == 0 else np.concatenate([flat(prop, member) for member in members])


def failures_table(entries: Iterable[tuple[Frame, str]]) -> pa.Table:
    """Frames that gave no prediction, with the reason."""
    rows = [
        {
            "id": frame.id,
            "source": frame.source,
            "index": frame.index,
            "reason": reason,
            "input_digest": frame_digest(frame),
            "readable": frame.atoms is not None,
        }
        for frame, reason in entries
    ]
    return pa.Table.from_pylist(rows, schema=FAILED)


def structure_digest(atoms: ase.Atoms) -> str:
    """Sixteen hexadecimal digits made of elements, cell and positions, the latter rounded to `DIGITS`."""
    hashed = hashlib.blake2b(np.asarray(atoms.numbers, dtype=np.int16).tobytes(), digest_size=8)
    for lengths in (atoms.cell.array, atoms.positions):
        hashed.update((np.round(lengths, DIGITS) + 0.0).tobytes())  # + 0.0: no negative zeros
    return hashed.hexdigest()


def frame_digest(frame: Frame) -> str:
    """Digest of the structure, or of the problem where there is none."""
    if frame.atoms is not None:
        return structure_digest(frame.atoms)
    return hashlib.blake2b((frame.problem or "").encode(), digest_size=8).hexdigest()


def frame_key(identity: str, source: str, index: int, readable: bool) -> bytes:
    """Eight bytes by which a store knows a frame again.

    A crystal is known by its id, which is unique in a collection; what could not be read by its place, since its id
    may be that of another (a duplicate is such a problem).
    """
    text = identity if readable else f"{identity}\0{source}\0{index}"
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()


def key_of(frame: Frame) -> bytes:
    """Key of a frame, see `frame_key`."""
    return frame_key(frame.id, frame.source, frame.index, frame.atoms is not None)
