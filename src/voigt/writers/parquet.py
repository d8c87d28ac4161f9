"""Predictions as Parquet, one crystal a row."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from voigt.files import atomic_write
from voigt.structures.formula import reduced_formula
from voigt.tensors.layout import flat, norm
from voigt.tensors.properties import PROPERTIES

if TYPE_CHECKING:
    from voigt.prediction.result import Prediction

ROWS = 1024  # crystals of one row group


def row(prediction: Prediction) -> dict[str, Any]:
    """One crystal as a row, see `write_parquet`."""
    columns: dict[str, Any] = {
        "id": prediction.id,
        "formula": reduced_formula(prediction.atoms),
        "spacegroup": prediction.symmetry.number,
    }
    for name, value in prediction.values.items():
        prop = PROPERTIES[name]
        values = flat(prop, value).reshape(-1).tolist()
        columns[name] = values if prop.rank else values[0]
        spread = prediction.spread.get(name)
        columns[f"{name}_model"] = prediction.models[name]
        columns[f"{name}_functional"] = prediction.functionals[name]
        columns[f"{name}_spread"] = None if spread is None else float(norm(prop, spread).mean())
        interval = prediction.interval.get(name)
        columns[f"{name}_interval"] = None if interval is None else float(interval.max())
    columns["warnings"] = list(prediction.warnings)
    return columns


def write_parquet(predictions: Iterable[Prediction], path: str | Path, properties: Sequence[str] | None = None) -> int:
    """Write a table, a row group at a time; returns the number of crystals.

    Columns: id, formula, spacegroup (number); for every property its components as list<double> (row-major, atoms in
    the order of the input, Voigt order xx yy zz yz zx xy for piezo and elastic; scalars as double), `<property>_model`,
    `<property>_functional`, `<property>_spread`, the Frobenius norm over an ensemble (mean over atoms), null for one
    network, and `<property>_interval`, the half-width of the 90 % interval (largest of the atoms), null where it is not
    known; warnings as list<string>. Columns are those of `properties`, or else of the first crystal; a crystal that
    lacks a property has nulls.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    count = 0
    remaining = iter(predictions)
    with atomic_write(path, "wb") as stream:
        group = list(islice(remaining, ROWS))
        held = list(group[0].values) if group else []
        schema = pa.schema(_fields(held if properties is None else properties))
        with pq.ParquetWriter(stream, schema) as table:
            while group:
                table.write_table(pa.Table.from_pylist([row(entry) for entry in group], schema=schema))
                count += len(group)
                group = list(islice(remaining, ROWS))
    return count


def _fields(properties: Sequence[str]) -> list[Any]:
    import pyarrow as pa

    fields = [pa.field("id", pa.string()), pa.field("formula", pa.string()), pa.field("spacegroup", pa.int16())]
    for name in properties:
        fields += property_fields(name)
    return [*fields, pa.field("warnings", pa.list_(pa.string()))]


def property_fields(name: str) -> list[Any]:
    """Columns of one property, see `write_parquet`."""
    import pyarrow as pa

    prop = PROPERTIES[name]
    kind = pa.list_(pa.float64()) if prop.rank or prop.per == "atom" else pa.float64()
    return [
        pa.field(name, kind, metadata={"unit": prop.unit, "meaning": prop.meaning}),
        *(pa.field(f"{name}_{text}", pa.string()) for text in ("model", "functional")),
        pa.field(f"{name}_spread", pa.float64(), metadata={"unit": prop.unit}),
        pa.field(f"{name}_interval", pa.float64(), metadata={"unit": prop.unit}),
    ]
