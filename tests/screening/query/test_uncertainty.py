"""Standard deviations among the members of ensembles: closed forms, other axes, several models, none."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy.stats import ortho_group
from tests import crystals
from tests.screening.made_stores import PROPERTIES, made_up_rows, positive, structure_row, to_table, write_parts

from voigt.errors import InputError
from voigt.response.elasticity import moduli
from voigt.screening.query.expressions import parse
from voigt.screening.query.uncertainty import Deviations, deviations
from voigt.tensors.voigt import elastic_from_voigt, elastic_to_voigt, piezo_from_voigt, piezo_to_voigt


def crystal(identity: str = "a", **members: tuple[str, Any]) -> dict[str, Any]:
    """A row; for each property its model and what the members say, in the layout of files. One member: a network."""
    row = structure_row(crystals.rutile(), identity)
    for name, (model, values) in members.items():
        own = np.array(values, dtype=float)
        mean = own.mean(axis=0)
        row |= {name: mean.ravel() if mean.ndim else float(mean), f"{name}_model": model}
        row |= {f"{name}_members": own.ravel()} if len(own) > 1 else {}
    return row


def found(tmp_path: Path, rows: list[dict[str, Any]], *formulas: str) -> Deviations:
    parts = write_parts(tmp_path, rows, 2)
    return deviations(parts, [row["id"] for row in rows], [parse(formula) for formula in formulas])


A, B = np.diag([2.0, 4.0, 6.0]), np.diag([3.0, 4.0, 12.0])
HALF = 2**-0.5
"""The standard deviation of two numbers (ddof 1) is their distance times this."""


def test_two_members_with_known_tensors(tmp_path: Path):
    names = ["eps_total", "eps_total_min", "eps_total_mid", "eps_total_anisotropy", "eps_total_max / eps_total_min"]
    result = found(tmp_path, [crystal(eps_total=("d", [A, B]))], *names)
    distances = [19 / 3 - 4, 1, 0, 4 - 3, 4 - 3]
    np.testing.assert_allclose(result.values, [[HALF * distance for distance in distances]], atol=1e-12)
    assert (result.ensembles, result.others) == ({"d"}, set())


def test_models_add_in_quadrature(tmp_path: Path):
    gaps = [1.0, 2.0, 4.5]  # as many members as there are
    row = crystal(eps_total=("d", [A, B]), band_gap=("g", gaps))
    eps = (4 + 19 / 3) / 2
    expected = np.hypot(2.5 * HALF * (19 / 3 - 4), eps * np.std(gaps, ddof=1))
    result = found(tmp_path, [row], "eps_total * band_gap")
    np.testing.assert_allclose(result.values, [[expected]])
    assert result.ensembles == {"d", "g"}


def test_properties_of_one_model_move_together(tmp_path: Path):
    row = crystal(eps_total=("d", [A, B]), eps_inf=("d", [A / 2, B / 2]))
    apart = row | {"eps_inf_model": "e", "id": "b"}
    values = found(tmp_path, [row, apart], "eps_total / eps_inf", "eps_total - 2 * eps_inf").values
    np.testing.assert_allclose(values[0], [0, 0], atol=1e-12)
    moved = HALF * (19 / 3 - 4)
    mean = (4 + 19 / 3) / 2
    inverse = HALF * 2 * mean * (1 / 4 - 3 / 19)  # of mean / eps_inf
    np.testing.assert_allclose(values[1], [np.hypot(moved / (mean / 2), inverse), np.hypot(moved, moved)])


def test_single_networks(tmp_path: Path):
    rows = [
        crystal("a", eps_total=("d", [A]), band_gap=("g", [2.0])),
        crystal("b", eps_total=("d", [A]), band_gap=("g", [1.0, 3.0])),
        crystal("c", eps_total=("d", [A])),
    ]
    result = found(tmp_path, rows, "eps_total", "eps_total * band_gap", "density", "eps_total_spread", "2 + 3")
    np.testing.assert_allclose(result.values[:, 0], [np.nan] * 3)
    np.testing.assert_allclose(result.values[:, 1], [np.nan, 4 * HALF * 2, np.nan])
    np.testing.assert_array_equal(result.values[:, 2:], np.zeros((3, 3)))
    assert (result.ensembles, result.others) == ({"g"}, {"d"})


def test_a_member_without_the_number_leaves_nothing_known(tmp_path: Path):
    rows = [crystal(eps_inf=("d", [A, np.diag([-1.0, 4.0, 12.0])])), crystal("b", eps_inf=("d", [A, B]))]
    values = found(tmp_path, rows, "eps_inf_anisotropy", "refractive_index", "eps_inf_max").values
    np.testing.assert_array_equal(np.isnan(values), [[True, True, False], [False, False, False]])


def test_any_axes_will_do(tmp_path: Path):
    rng = np.random.default_rng(1)
    tensors = {
        "eps_inf": 1 + np.array([positive(rng, 3, 3.0) for _ in range(3)]),
        "piezo_total": piezo_from_voigt(rng.normal(size=(3, 3, 6))),
        "elastic": elastic_from_voigt(np.array([positive(rng, 6, 100.0) for _ in range(3)])),
    }
    layout = {"eps_inf": np.asarray, "piezo_total": piezo_to_voigt, "elastic": elastic_to_voigt}
    rows = []
    for identity, r in [("a", np.eye(3)), ("b", ortho_group.rvs(3, random_state=2))]:
        turned = dict(tensors)
        for name, tensor in tensors.items():
            for axis in range(1, tensor.ndim):
                turned[name] = np.moveaxis(np.tensordot(turned[name], r, axes=(axis, 1)), -1, axis)
        rows.append(crystal(identity, **{name: ("m", layout[name](tensor)) for name, tensor in turned.items()}))
    names = ["eps_inf", "eps_inf_anisotropy", "refractive_index", "birefringence", "piezo_total_max",
             "piezo_total_norm", "bulk_modulus", "elastic_anisotropy", "piezo_total_max / eps_inf_max"]  # fmt: skip
    values = found(tmp_path, rows, *names).values
    assert (values > 0).all()
    np.testing.assert_allclose(values[0], values[1], rtol=1e-8)
    bulk = moduli(tensors["elastic"]).bulk_hill
    assert values[0, names.index("bulk_modulus")] == pytest.approx(np.std(bulk, ddof=1))


def test_ensembles_of_different_sizes_in_any_order(tmp_path: Path):
    rng = np.random.default_rng(3)
    rows = [
        crystal(str(k), eps_total=("d" * (1 + size % 2), [1 + positive(rng, 3, 5.0) for _ in range(size)]))
        for k, size in enumerate([2, 5, 1, 3, 2, 4, 1, 5])
    ]
    parts = write_parts(tmp_path, rows, 3)
    order = rng.permutation(len(rows)).tolist()
    result = deviations(parts, [rows[k]["id"] for k in order], [parse("eps_total_max")])
    for k, value in zip(order, result.values[:, 0], strict=True):
        members = np.reshape(rows[k].get("eps_total_members", []), (-1, 3, 3))
        expected = np.linalg.eigvalsh(members)[:, 2].std(ddof=1) if len(members) else np.nan
        assert value == pytest.approx(expected, nan_ok=True)


def test_stores_without_members(tmp_path: Path):
    table = to_table([crystal(eps_total=("d", [A, B]))])
    pq.write_table(table.drop_columns("eps_total_members"), tmp_path / "old.parquet")
    result = deviations([tmp_path / "old.parquet"], ["a"], [parse("eps_total"), parse("density")])
    np.testing.assert_array_equal(result.values, [[np.nan, 0]])
    assert (result.ensembles, result.others) == (set(), {"d"})
    assert deviations([tmp_path / "old.parquet"], [], [parse("eps_total")]).values.shape == (0, 1)


def test_a_broken_list_is_named(tmp_path: Path):
    row = crystal(eps_total=("d", [A, B])) | {"eps_total_members": np.ones(17)}
    with pytest.raises(InputError, match="'eps_total_members' of a screening holds a list of no multiple of 9 numbers"):
        found(tmp_path, [row], "eps_total")


def test_many_crystals_take_little_time(tmp_path: Path):
    table = to_table(made_up_rows(2800, 4), PROPERTIES)
    parts = []
    for number in range(10):
        parts.append(tmp_path / f"part-{number:06d}.parquet")
        ids = pa.array([f"{number}-{k}" for k in range(2800)])
        pq.write_table(table.set_column(0, "id", ids), parts[-1])
    start = time.process_time()
    ids = [f"{number}-{k}" for number in range(10) for k in range(2800)]
    values = deviations(parts, ids, [parse("eps_total_anisotropy * band_gap")]).values
    assert time.process_time() - start < 1.5  # reading included
    assert np.isfinite(values).sum() > 15_000
