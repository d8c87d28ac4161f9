"""Intervals of scalars in screenings: bounds that no change of the tensor breaks, old stores, lists."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.screening.made_stores import made_up_rows, write_parts

from voigt.errors import InputError
from voigt.screening.query.derived import DERIVED, derive, half_widths
from voigt.screening.query.expressions import parse
from voigt.screening.query.selection import select, write_selection
from voigt.screening.report.listing import selection_text
from voigt.tensors.properties import PROPERTIES

BOUND = [name for name, entry in DERIVED.items() if entry.bound is not None]


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    found = made_up_rows(200, seed=3, missing=0.0)
    for k, row in enumerate(found):
        row["eps_total_interval"] = None if k % 5 == 0 else 0.5 + k / 100
        row["band_gap_interval"] = 0.25
    return found


@pytest.fixture(scope="module")
def parts(rows: list[dict[str, Any]], tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return write_parts(tmp_path_factory.mktemp("store"), rows, 60)


def symmetrized(tensor: np.ndarray, rank: int) -> np.ndarray:
    """With the index symmetry of permittivities, piezoelectric and elastic tensors."""
    if rank == 2:
        return tensor + tensor.swapaxes(1, 2)
    if rank == 3:
        return tensor + tensor.swapaxes(2, 3)
    if rank == 4:
        tensor = tensor + tensor.swapaxes(1, 2)
        tensor = tensor + tensor.swapaxes(3, 4)
        return tensor + tensor.transpose(0, 3, 4, 1, 2)
    return tensor


@pytest.mark.parametrize("name", BOUND)
def test_no_change_of_a_tensor_moves_a_scalar_by_more(name: str) -> None:
    """Random tensors and changes of norm r, some along the identity and eigenvectors, where bounds are hit."""
    prop = PROPERTIES[DERIVED[name].properties[0]]
    rng = np.random.default_rng(0)
    value = symmetrized(rng.normal(size=(300, *prop.shape)), prop.rank)
    if prop.rank == 4:
        eye = np.eye(3)
        value = 0.1 * value + 50 * (np.einsum("ik,jl->ijkl", eye, eye) + np.einsum("il,jk->ijkl", eye, eye))
    change = symmetrized(rng.normal(size=(300, *prop.shape)), prop.rank)
    if prop.rank == 2:
        change[:100] = np.eye(3)
        vectors = np.linalg.eigh(value[100:200])[1]
        for k in range(3):
            change[100 + k : 200 : 3] = np.einsum("ni,nj->nij", *[vectors[k::3, :, k]] * 2)
    axes = tuple(range(1, change.ndim))
    radius = rng.uniform(0.01, 2.0, 300)
    change = change * (radius / np.sqrt(np.square(change).sum(axis=axes))).reshape(-1, *(1,) * prop.rank)
    before, after = (derive({prop.name: tensor}, [name])[name] for tensor in (value, value + change))
    limit = half_widths(name, {f"{prop.name}_interval": radius})
    assert limit is not None
    # The largest longitudinal component is searched on a grid of directions that is then refined.
    assert (np.abs(after - before) <= limit * (1 + 1e-5) + 1e-9).all()
    if prop.rank in (0, 2):
        assert (np.abs(after - before) / limit).max() > 0.999  # and none is smaller


def test_what_is_not_bounded_has_none() -> None:
    known = {f"{name}_interval": np.ones(3) for name in PROPERTIES}
    for name in ("born_charges_max", "refractive_index", "eps_inf_anisotropy", "bulk_modulus", "density", "num_atoms"):
        assert half_widths(name, known) is None
    assert half_widths("eps_inf", {}) is None


def test_conditions_and_lists_know_them(rows: list[dict[str, Any]], parts: list[Path]) -> None:
    condition = parse("eps_total_interval < 1 and band_gap_interval < 0.3")
    found = select(parts, condition, parse("eps_total"), top=None)
    expected = {row["id"] for row in rows if row["eps_total_interval"] is not None and row["eps_total_interval"] < 1}
    assert set(found.ids) == expected
    by_id = {row["id"]: row["eps_total_interval"] for row in rows}
    np.testing.assert_allclose(found.half_width("eps_total"), [by_id[name] / 3**0.5 for name in found.ids])
    head, *lines = selection_text(found).splitlines()
    assert "eps_total_interval" not in head
    assert all(line.count("(90 %)") == 1 for line in lines)


def test_a_list_falls_back_to_the_spread(parts: list[Path], rows: list[dict[str, Any]]) -> None:
    found = select(parts, None, parse("eps_total"), top=40, show=["band_gap"])
    without = {row["id"] for row in rows if row["eps_total_interval"] is None}
    _, *lines = selection_text(found).splitlines()
    for identity, line in zip(found.ids, lines, strict=True):
        assert " ± 0.2500 (90 %)" in line  # of the gap
        assert line.count("±") == 2
        assert line.count("(90 %)") == (1 if identity in without else 2)


def test_files_have_a_column(parts: list[Path], tmp_path: Path) -> None:
    found = select(parts, None, parse("eps_total"), top=9)
    write_selection(found, tmp_path / "best.parquet")
    table = pq.read_table(tmp_path / "best.parquet")
    np.testing.assert_array_equal(
        table["eps_total_interval"].to_numpy(zero_copy_only=False), found.column("eps_total_interval")
    )


def test_old_stores_open_without(parts: list[Path], tmp_path: Path) -> None:
    old = []
    for part in parts:
        table = pq.read_table(part)
        table = table.drop_columns([name for name in table.column_names if name.endswith("_interval")])
        pq.write_table(table, tmp_path / part.name)
        old.append(tmp_path / part.name)
    found = select(old, parse("band_gap > 1"), parse("eps_total"), top=5)
    assert found.names == ("eps_total", "eps_total_spread", "band_gap", "band_gap_spread")
    assert np.isnan(found.half_width("eps_total")).all()
    assert "(90 %)" not in selection_text(found)
    with pytest.raises(InputError, match="eps_total_interval needs the column eps_total_interval"):
        select(old, parse("eps_total_interval < 1"), None, top=None)
    mixed = select([*old[:1], *parts[1:]], None, parse("eps_total"), top=5)  # a store that was taken up again
    assert np.isnan(mixed.half_width("eps_total")).all()
    assert isinstance(pq.read_schema(old[0]), pa.Schema)
