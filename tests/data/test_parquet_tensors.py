"""Tensors in Parquet tables."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from ase.build import bulk

from voigt.data.reading import read_labeled
from voigt.errors import InputError
from voigt.tensors.properties import PROPERTIES

CHARGES = np.arange(18.0).reshape(2, 3, 3)
STIFFNESS = np.diag(np.arange(1.0, 7)) + 0.1


def write(path: Path, charges: list[float] | None) -> None:
    atoms = bulk("MgO", "rocksalt", 4.2)
    row = {
        "id": "magnesia",
        "numbers": atoms.numbers.tolist(),
        "cell": atoms.cell.array.ravel().tolist(),
        "frac": atoms.get_scaled_positions().ravel().tolist(),
        "functional": "PBE",
        "born_charges": charges,
        "elastic": STIFFNESS.ravel().tolist(),
    }
    pq.write_table(pa.Table.from_pylist([row, {**row, "id": "bare", "born_charges": None}]), path)


def test_lists_under_the_name_of_a_property_are_its_tensors(tmp_path: Path) -> None:
    write(tmp_path / "t.parquet", CHARGES.ravel().tolist())
    first, second = read_labeled(tmp_path / "t.parquet", ["born_charges", "elastic"])
    np.testing.assert_array_equal(first.targets["born_charges"], CHARGES)
    np.testing.assert_allclose(PROPERTIES["elastic"].to_storage(first.targets["elastic"]), STIFFNESS, atol=1e-12)
    assert first.functional == "PBE"
    assert "born_charges" not in second.targets


def test_a_list_of_another_length_is_named(tmp_path: Path) -> None:
    write(tmp_path / "t.parquet", [1.0] * 10)
    with pytest.raises(InputError, match="has 10 numbers in born_charges, expected 18 for its 2 atoms"):
        read_labeled(tmp_path / "t.parquet", ["born_charges"])
