"""Selections from generated stores against a plain reckoning row by row, and the faults of stores."""

from __future__ import annotations

import csv
import math
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ase
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.screening.made_stores import STRUCTURES, made_up_rows, to_table, write_parts

from voigt.errors import InputError, OutputError
from voigt.screening.query.derived import elements_in
from voigt.screening.query.expressions import parse
from voigt.screening.query.selection import Selection, read_crystals, select, write_selection
from voigt.screening.report.listing import selection_text

COUNT = 700


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    return made_up_rows(COUNT, 1)


@pytest.fixture(scope="module")
def parts(rows: list[dict[str, Any]], tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return write_parts(tmp_path_factory.mktemp("store"), rows, 90)


def chosen(parts: list[Path], where: str | None, rank: str | None = None, **more: Any) -> Selection:
    return select(
        parts,
        None if where is None else parse(where),
        None if rank is None else parse(rank),
        more.pop("top", None),
        **more,
    )


def trace_third(row: dict[str, Any], name: str = "eps_total") -> float:
    return math.nan if row.get(name) is None else sum(row[name][k] for k in (0, 4, 8)) / 3


def gap(row: dict[str, Any]) -> float:
    return math.nan if row.get("band_gap") is None else row["band_gap"]


def test_filtered_and_ranked_as_row_by_row(rows: list[dict[str, Any]], parts: list[Path]):
    passing = [row for row in rows if trace_third(row) > 15 and gap(row) > 1.5]
    passing.sort(key=lambda row: (-trace_third(row) * gap(row), row["id"]))
    found = chosen(parts, "eps_total > 15 and band_gap > 1.5", "eps_total * band_gap", top=40)
    assert len(passing) > 100
    assert found.ids == tuple(row["id"] for row in passing[:40])
    assert found.formulas == tuple(row["formula"] for row in passing[:40])
    np.testing.assert_array_equal(found.spacegroups, [row["spacegroup"] for row in passing[:40]])
    np.testing.assert_allclose(found.rank, [trace_third(row) * gap(row) for row in passing[:40]])
    np.testing.assert_allclose(found.column("eps_total"), [trace_third(row) for row in passing[:40]])
    np.testing.assert_allclose(found.column("band_gap"), [gap(row) for row in passing[:40]])
    spreads = [row.get("band_gap_spread") for row in passing[:40]]
    np.testing.assert_array_equal(found.column("band_gap_spread"), np.array(spreads, dtype=float))
    assert found.names == (
        "eps_total", "eps_total_spread", "eps_total_interval", "band_gap", "band_gap_spread", "band_gap_interval"
    )
    assert found.units == ("1", "1", "1", "eV", "eV", "eV")
    assert (found.looked_at, found.passed) == (COUNT, len(passing))
    assert found.where == "eps_total > 15 and band_gap > 1.5"
    assert found.ranked_by == "eps_total * band_gap"


def test_crystals_that_cannot_be_judged_are_counted(rows: list[dict[str, Any]], parts: list[Path]):
    """One that fails already by the value that is there is judged."""

    def judged(row: dict[str, Any]) -> bool:
        return not (
            (math.isnan(trace_third(row)) and not gap(row) <= 1.5)
            or (math.isnan(gap(row)) and not trace_third(row) <= 15)
        )

    lacking = [row for row in rows if not judged(row)]
    assert 20 < len(lacking) < COUNT / 2
    found = chosen(parts, "eps_total > 15 and band_gap > 1.5")
    assert found.lacking == len(lacking)
    assert not {row["id"] for row in lacking} & set(found.ids)
    other = chosen(parts, "not (eps_total > 15 and band_gap > 1.5)")
    assert other.lacking == found.lacking
    assert other.passed + found.passed + found.lacking == COUNT


def test_a_crystal_without_a_rank_is_never_selected(rows: list[dict[str, Any]], parts: list[Path]):
    no_gap = sum(row.get("band_gap") is None for row in rows)
    zero = sum(gap(row) == 0 for row in rows)
    assert no_gap > 0
    assert zero > 0
    by_root = chosen(parts, None, "sqrt(band_gap - 1)")
    assert by_root.passed == sum(gap(row) >= 1 for row in rows)
    for ascending in (False, True):
        found = chosen(parts, None, "1 / band_gap", ascending=ascending)
        assert (found.passed, found.lacking) == (COUNT - no_gap, no_gap)
        assert np.isinf(found.rank[-zero:] if ascending else found.rank[:zero]).all()
        assert np.isfinite(found.rank).sum() == found.passed - zero
    assert chosen(parts, None, "0 / band_gap").passed == COUNT - no_gap - zero


def test_equal_ranks_are_ordered_by_id_whatever_the_parts(
    rows: list[dict[str, Any]], parts: list[Path], tmp_path: Path
):
    best = chosen(parts, None, "band_gap", top=60)
    expected = sorted((row for row in rows if not math.isnan(gap(row))), key=lambda row: (-gap(row), row["id"]))
    assert len({row["band_gap"] for row in expected[:60]}) < 40  # there are equal ones
    assert best.ids == tuple(row["id"] for row in expected[:60])
    backwards = chosen(list(reversed(parts)), None, "band_gap", top=60)
    assert backwards.ids == best.ids
    whole = chosen(write_parts(tmp_path, rows[::-1], COUNT), None, "band_gap", top=60)
    assert whole.ids == best.ids
    np.testing.assert_array_equal(whole.values, best.values)
    smallest = chosen(parts, None, "band_gap", top=60, ascending=True)
    assert smallest.ids == tuple(row["id"] for row in sorted(expected, key=lambda row: (gap(row), row["id"]))[:60])


def test_the_best_are_kept_when_memory_is_cut(
    rows: list[dict[str, Any]], parts: list[Path], monkeypatch: pytest.MonkeyPatch
):
    whole = chosen(parts, "eps_total > 10", "eps_total_max", top=7)
    first = chosen(parts, "eps_total > 10", top=7)
    assert first.ids == tuple(row["id"] for row in rows if trace_third(row) > 10)[:7]
    for module in ("query.selection", "store.parts"):
        monkeypatch.setattr(f"voigt.screening.{module}.ROWS", 16)
    assert chosen(parts, "eps_total > 10", "eps_total_max", top=7).ids == whole.ids
    cut = chosen(parts, "eps_total > 10", top=7)
    assert cut.ids == first.ids
    assert (cut.looked_at, cut.passed, cut.lacking) == (first.looked_at, first.passed, first.lacking)


def test_without_conditions_everything_in_order(rows: list[dict[str, Any]], parts: list[Path]):
    found = chosen(parts, None)
    assert found.ids == tuple(row["id"] for row in rows)
    assert (found.rank, found.rank_spread, found.names) == (None, None, ())
    assert chosen(parts, "true").ids == found.ids
    nothing = chosen(parts, "1 > 2", "2 + 3")
    assert (nothing.ids, nothing.passed, nothing.lacking, nothing.looked_at) == ((), 0, 0, COUNT)
    constant = chosen(parts, None, "2 + 3", top=3)
    assert constant.ids == tuple(sorted(row["id"] for row in rows)[:3])
    np.testing.assert_array_equal(constant.rank, [5, 5, 5])
    assert chosen([], "band_gap > 3", "band_gap").ids == ()


def test_shown_and_elements(rows: list[dict[str, Any]], parts: list[Path]):
    found = chosen(parts, 'has("Pb") or has("Zn")', show=["density", "bulk_modulus"])
    expected = [row for row in rows if elements_in(row["formula"]) & {"Pb", "Zn"}]
    assert found.ids == tuple(row["id"] for row in expected)
    assert found.names == ("density", "elastic_spread", "elastic_interval", "bulk_modulus")
    density = {row["formula"]: value for row, value in zip(expected, found.column("density"), strict=True)}
    assert density["ZnS"] == pytest.approx(4.09, rel=0.01)  # CRC Handbook
    with pytest.raises(InputError, match="the selection holds no volume; it holds density"):
        found.column("volume")


def members(row: dict[str, Any], name: str) -> np.ndarray | None:
    """Trace / 3 of tensors, or numbers, of each member."""
    found = row.get(f"{name}_members")
    return None if found is None else found if name == "band_gap" else found.reshape(-1, 9)[:, ::4].mean(axis=1)


def test_spread_of_the_rank(rows: list[dict[str, Any]], parts: list[Path]):
    """Member by member, in plain numpy: two ensembles, one of them, none."""
    by_id = {row["id"]: row for row in rows}
    product = chosen(parts, None, "eps_total * band_gap")
    cases = set()
    for identity, spread in zip(product.ids, product.rank_spread, strict=True):
        row = by_id[identity]
        of_eps, of_gap = members(row, "eps_total"), members(row, "band_gap")
        shares = [] if of_eps is None else [(of_eps * gap(row)).std(ddof=1)]
        shares += [] if of_gap is None else [(of_gap * trace_third(row)).std(ddof=1)]
        assert spread == pytest.approx(math.hypot(*shares) if shares else math.nan, rel=1e-9, nan_ok=True)
        cases.add((of_eps is None, of_gap is None))
    assert len(cases) == 4
    best = chosen(parts, None, "eps_total * band_gap", top=9)
    np.testing.assert_array_equal(best.rank_spread, product.rank_spread[:9])


def test_spread_of_a_scalar_and_of_its_formula(parts: list[Path]):
    ratio = chosen(parts, None, "eps_total_max / eps_total_min")
    named = chosen(parts, None, "eps_total_anisotropy")
    assert ratio.ids == named.ids
    assert np.isfinite(named.rank_spread).sum() > 200
    np.testing.assert_allclose(named.rank_spread, ratio.rank_spread, rtol=1e-9, atol=1e-12)


def test_rank_in_the_listing(parts: list[Path]):
    """A rank that is a scalar has one column, with its spread where that is known."""
    by_name = chosen(parts, "eps_total > 3", "eps_total", top=12)
    head, *lines = selection_text(by_name).splitlines()
    assert head.split() == ["id", "formula", "space", "group", "eps_total"]
    assert [" ± " in line for line in lines] == np.isfinite(by_name.rank_spread).tolist()
    assert {True, False} == set(np.isfinite(by_name.rank_spread))
    head, *lines = selection_text(chosen(parts, None, "2 * eps_total", top=3)).splitlines()
    assert head.endswith("2 * eps_total  eps_total")
    assert all(line.count(" ± ") <= 1 for line in lines)
    assert "±" not in selection_text(chosen(parts, None, "density", top=3))


def test_what_is_no_prediction_has_no_spread(parts: list[Path]):
    np.testing.assert_array_equal(chosen(parts, None, "density / volume_per_atom", top=5).rank_spread, np.zeros(5))
    flat = chosen(parts, "band_gap == 0", "band_gap ^ 2", top=5)
    assert np.isfinite(flat.rank_spread).any()


def test_written_tables(parts: list[Path], tmp_path: Path):
    found = chosen(parts, "eps_total > 10", "eps_total", top=30, show=["volume"])
    write_selection(found, tmp_path / "best.csv")
    with (tmp_path / "best.csv").open(encoding="utf-8") as stream:
        records = list(csv.DictReader(stream))
    expected = ["id", "formula", "spacegroup", "volume", "eps_total", "eps_total_spread", "eps_total_interval", "rank",
                "rank_spread"]
    assert list(records[0]) == expected
    assert [record["id"] for record in records] == list(found.ids)
    np.testing.assert_allclose([float(record["rank"]) for record in records], found.rank, rtol=1e-7)
    empty = [record["rank_spread"] == "" for record in records]
    np.testing.assert_array_equal(empty, np.isnan(found.rank_spread))
    assert any(empty)
    assert all(record["spacegroup"] in ("225", "216", "221", "99") for record in records)

    write_selection(found, tmp_path / "best.parquet")
    table = pq.read_table(tmp_path / "best.parquet")
    assert table.column_names == expected
    np.testing.assert_array_equal(table["rank"].to_numpy(), found.rank)
    assert table["rank_spread"].null_count == sum(empty)
    assert table.schema.field("volume").metadata[b"unit"] == b"Angstrom^3"
    assert table.schema.metadata[b"where"] == b"eps_total > 10"
    assert table.schema.metadata[b"passed"] == str(found.passed).encode()

    write_selection(chosen(parts, "false"), tmp_path / "none.csv")
    assert (tmp_path / "none.csv").read_text() == "id,formula,spacegroup\n"


def test_a_table_is_written_whole_or_not(parts: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    found = chosen(parts, None, "band_gap", top=3)
    with pytest.raises(OutputError, match=r"ends in \.csv or .parquet"):
        write_selection(found, tmp_path / "best.xlsx")
    with pytest.raises(OutputError, match="cannot write"):
        write_selection(found, tmp_path / "missing" / "best.csv")
    target = tmp_path / "best.csv"
    target.write_text("earlier")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OutputError, match="No space left"):
        write_selection(found, target)
    assert target.read_text() == "earlier"
    assert [path.name for path in tmp_path.iterdir()] == ["best.csv"]


def test_structures_of_chosen_crystals(rows: list[dict[str, Any]], parts: list[Path]):
    ids = [f"mp-{k}" for k in (699, 2, 301, 0)]
    found = list(read_crystals(parts, ids))
    assert [atoms.info["id"] for atoms in found] == ids
    for atoms, identity in zip(found, ids, strict=True):
        original: ase.Atoms = STRUCTURES[int(identity.split("-")[1]) % len(STRUCTURES)]
        np.testing.assert_array_equal(atoms.numbers, original.numbers)
        np.testing.assert_allclose(atoms.positions, original.positions, atol=1e-12)
        np.testing.assert_allclose(atoms.cell.array, original.cell.array)
        assert atoms.pbc.all()
    with pytest.raises(InputError, match="holds no crystal 'mp-9999' and 1 more"):
        next(read_crystals(parts, ["mp-1", "mp-9999", "x"]))
    assert list(read_crystals(parts, [])) == []


def test_faults_of_a_store(parts: list[Path], tmp_path: Path):
    with pytest.raises(InputError, match=r"no such part of a screening: .*gone.parquet"):
        chosen([tmp_path / "gone.parquet"], None)
    content = parts[1].read_bytes()
    for size in (0, 3, len(content) // 2, len(content) - 5):
        broken = tmp_path / f"{size}.parquet"
        broken.write_bytes(content[:size])
        with pytest.raises(InputError, match=rf"{size}.parquet is not a readable part of a screening; screen again"):
            chosen([parts[0], broken], "band_gap > 1")
        with pytest.raises(InputError, match="is not a readable part"):
            list(read_crystals([broken], ["mp-1"]))
    without = tmp_path / "few.parquet"
    pq.write_table(to_table(made_up_rows(3, 2), ("band_gap",)), without)
    with pytest.raises(InputError, match="eps_total needs the column eps_total, which this screening lacks"):
        chosen([without], "eps_total > 3")
    pq.write_table(pa.table({"id": [1]}), tmp_path / "other.parquet")
    with pytest.raises(InputError, match=r"is not a readable part of a screening|lacks"):
        chosen([without, tmp_path / "other.parquet"], "band_gap > 1")


def test_wrong_calls(parts: list[Path]):
    with pytest.raises(InputError, match="'band_gap' is no condition; filter by a condition"):
        chosen(parts, "band_gap")
    with pytest.raises(InputError, match="'band_gap > 1' is no number; rank by a number"):
        chosen(parts, None, "band_gap > 1")
    with pytest.raises(InputError, match="best 0 crystals cannot be taken"):
        chosen(parts, None, "band_gap", top=0)
    with pytest.raises(InputError, match="unknown name 'densty' to show; did you mean density"):
        chosen(parts, None, show=["densty"])


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A hundred parts of a thousand crystals."""
    folder = tmp_path_factory.mktemp("large")
    table = to_table(made_up_rows(1000, 3))
    paths = []
    for number in range(100):
        ids = pa.array([f"mp-{number * 1000 + k}" for k in range(1000)])
        paths.append(folder / f"part-{number:06d}.parquet")
        pq.write_table(table.set_column(0, "id", ids), paths[-1])
    return paths


def test_a_hundred_thousand_crystals_take_less_than_their_reading(large: list[Path]):
    """Beside the time that Arrow takes to read whole parts, which says how fast the machine is."""

    def seconds(call: Callable[[], object]) -> float:
        start = time.process_time()
        call()
        return time.process_time() - start

    def selected() -> None:
        found = chosen(large, "eps_total > 20 and band_gap > 3", "eps_total * band_gap", top=50)
        assert found.looked_at == 100_000
        assert len(found.ids) == 50

    taken = [(seconds(selected), seconds(lambda: [pq.read_table(path) for path in large])) for _ in range(3)]
    ours, reading = (min(column) for column in zip(*taken, strict=True))
    assert ours < 0.8 * reading  # 0.6 when written


def test_memory_does_not_grow_with_the_store(large: list[Path]):
    def peak(parts: list[Path]) -> tuple[int, int]:
        """Most bytes held at once, by Python and numpy and by Arrow."""
        usual = pa.default_memory_pool()
        pool = pa.proxy_memory_pool(usual)
        pa.set_memory_pool(pool)
        tracemalloc.start()
        try:
            chosen(parts, "eps_total > 0", "eps_total_max + num_elements", top=20)
            return tracemalloc.get_traced_memory()[1], pool.max_memory()
        finally:
            tracemalloc.stop()
            pa.set_memory_pool(usual)

    peak(large[:1])
    few, many = peak(large[:20]), peak(large[:60])
    for at_first, later in zip(few, many, strict=True):
        assert 1e6 < later < 1.2 * at_first
        assert later < 50e6
