"""Stores that somebody changed: nothing is counted twice, nothing is lost, and one sentence says what is wrong."""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.screening.screenings import check, manifest, rows, run, salts, same_values, unseen

from voigt.errors import InputError
from voigt.screening.job import Job
from voigt.screening.query import parse, select
from voigt.screening.report import read_failures, read_survey
from voigt.screening.store.manifest import read_manifest
from voigt.screening.store.parts import read_part, result_parts

pytestmark = pytest.mark.usefixtures("small_pieces")

SALTS = salts(5)
IDS = [atoms.info["id"] for atoms in SALTS]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, tiny: Job) -> Path:
    folder = tmp_path_factory.mktemp("finished") / "s"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("voigt.screening.compute.CRYSTALS", 2)
        run([*SALTS, unseen("potash")], folder, tiny)
    return folder


@pytest.fixture
def store(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "s"))


def again(store: Path, tiny: Job) -> tuple[int, list[str]]:
    """Screen once more: how many were computed, and what was said."""
    messages: list[str] = []
    summary = run([*SALTS, unseen("potash")], store, tiny, messages=messages)
    check(store, IDS, ["potash"])
    return summary.computed, messages


def chosen(store: Path) -> int:
    return select(result_parts(store), parse("num_atoms > 0"), parse("eps_inf"), 10).looked_at


def survey(store: Path) -> int:
    """What a report reads, without its figures."""
    read_manifest(store)
    failures = read_failures(store)
    crystals = len(read_survey(result_parts(store), ("born_charges", "eps_inf"), ("eps_inf",), None))
    return crystals + failures.count


def refused(store: Path) -> str:
    """What the readers of a store say, who leave it as it is."""
    with pytest.raises(InputError) as caught:
        chosen(store)
    with pytest.raises(InputError):
        survey(store)
    text = str(caught.value)
    assert text.isprintable()
    assert len(text) < 1000
    return text


class TestParts:
    @pytest.mark.parametrize("name", ["part-000099.parquet", "part-1000000.parquet"])
    def test_a_copy_does_not_count(self, store, tiny, name):
        """The same file under another number: 80 rows for 40 crystals."""
        shutil.copy(store / "parts" / "part-000000.parquet", store / "parts" / name)
        assert "is a copy of part-000000.parquet: its crystals would count twice; remove the copy" in refused(store)
        computed, messages = again(store, tiny)
        assert computed == 0
        assert f"{name} holds crystals a second time and was put aside" in messages[0]
        assert (store / "parts" / f"{name}.damaged").is_file()

    def test_a_copy_of_a_part_without_results(self, tiny, tmp_path):
        """Parts of failures alone have the same content: none is a copy, but a second table of the same failures is."""
        folder = tmp_path / "t"
        inputs = [*SALTS, *(unseen(f"potash-{k}") for k in range(5))]
        run(inputs, folder, tiny)
        check(folder, IDS, [f"potash-{k}" for k in range(5)])
        for place in ("parts", "failed"):
            shutil.copy(folder / place / "part-000004.parquet", folder / place / "part-000077.parquet")
        with pytest.raises(InputError, match="its failures would count twice"):
            read_failures(folder)
        assert run(inputs, folder, tiny).computed == 0
        check(folder, IDS, [f"potash-{k}" for k in range(5)])

    def test_the_crystals_of_a_part_in_another_file(self, store, tiny):
        table = pq.read_table(store / "parts" / "part-000000.parquet")
        pq.write_table(table.slice(0, 1), store / "parts" / "part-000050.parquet", compression="none")
        assert "some crystals are in two parts" in refused(store)
        assert again(store, tiny)[0] == 0

    def test_a_row_twice_in_one_part(self, store, tiny):
        path = store / "parts" / "part-000001.parquet"
        table = pq.read_table(path)
        pq.write_table(pa.concat_tables([table, table]), path)
        assert "some crystals are in two parts" in refused(store)
        assert again(store, tiny)[0] == 2

    @pytest.mark.parametrize(
        "name",
        ["part-.parquet", "part-x.parquet", "part-000000 (copy).parquet", "part-00.parquet", "part-000000.parquet.bak",
         "part-000000", "notes.txt", "part-" + "9" * 200 + ".parquet", "PART-000000.parquet", "part--00001.parquet"],
    )  # fmt: skip
    def test_files_of_other_names_are_left_alone(self, store, tiny, name):
        shutil.copy(store / "parts" / "part-000000.parquet", store / "parts" / name)
        assert len(result_parts(store)) == 3
        assert (chosen(store), survey(store)) == (len(IDS), len(IDS) + 1)
        assert again(store, tiny)[0] == 0
        assert (store / "parts" / name).is_file()

    def test_a_table_of_failures_without_their_reasons(self, store):
        (path,) = (path for path in (store / "failed").iterdir() if pq.read_metadata(path).num_rows)
        pq.write_table(pq.read_table(path).drop_columns(["reason"]), path)
        with pytest.raises(InputError, match=r"is not a readable part of a screening.*it has no column 'reason'"):
            read_failures(store)

    def test_a_column_twice(self, store):
        (path,) = (path for path in (store / "failed").iterdir() if pq.read_metadata(path).num_rows)
        table = pq.read_table(path)
        pq.write_table(pa.table([*table.columns, table["reason"]], names=[*table.column_names, "reason"]), path)
        with pytest.raises(InputError, match=r"not a readable part of a screening.*it has the column 'reason' twice"):
            read_failures(store)

    def test_folders_with_the_name_of_a_part(self, store, tiny):
        (store / "parts" / "part-000009.parquet").mkdir()
        assert (chosen(store), survey(store)) == (len(IDS), len(IDS) + 1)
        assert again(store, tiny)[0] == 0

    @pytest.mark.parametrize("share", [0.0, 0.3, 0.99])
    def test_a_part_that_is_cut(self, store, tiny, finished, share):
        path = store / "parts" / "part-000000.parquet"
        path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
        assert "part-000000.parquet is not a readable part of a screening" in refused(store)
        assert again(store, tiny)[0] == 2
        same_values(rows(store), rows(finished))

    @pytest.mark.parametrize(
        ("column", "values"),
        [
            ("id", [1, 2]),
            ("id", [None, "x"]),
            ("id", [["a"], ["b"]]),
            ("input_digest", ["zz", "not hexadecimal"]),
            ("input_digest", [None, None]),
            ("formula", [1.5, 2.5]),
            ("numbers", ["a", "b"]),
            ("numbers", [[11, 500], [11, 9]]),
            ("eps_inf", ["high", "low"]),
            ("eps_inf", [[1.0], [2.0]]),
            ("warnings", [1, 2]),
            ("notes", [1, 2]),
            ("unseen", ["K", "K"]),
            ("spacegroup", ["cubic", "cubic"]),
            ("num_atoms", [{"a": 1}, {"a": 2}]),
            ("likely_metal", ["no", "no"]),
        ],
    )
    def test_columns_of_other_types(self, store, tiny, finished, column, values):
        path = store / "parts" / "part-000000.parquet"
        table = pq.read_table(path)
        place = table.column_names.index(column)
        pq.write_table(table.set_column(place, column, pa.array(values)), path)
        if column != "input_digest":  # nobody but the next screening looks at it
            with pytest.raises(InputError):
                chosen(store) + survey(store)
        if table.schema.field(column).type != pa.array(values).type:  # else it passes for a result
            assert again(store, tiny)[0] == 2
            same_values(rows(store), rows(finished))

    @pytest.mark.parametrize("column", ["id", "input_digest", "eps_inf", "numbers", "warnings"])
    def test_columns_that_are_gone(self, store, tiny, column):
        path = store / "parts" / "part-000000.parquet"
        pq.write_table(pq.read_table(path).drop_columns([column]), path)
        assert again(store, tiny)[0] == 2

    def test_more_rows_than_a_part_has(self, store, tiny):
        path = store / "parts" / "part-000000.parquet"
        count = 2_000_000
        many = pa.table({"id": pa.DictionaryArray.from_arrays(pa.array([0] * count, pa.int32()), ["x"]).cast("string")})
        pq.write_table(many, path)
        assert path.stat().st_size < 50_000
        with pytest.raises(InputError, match="more than 100,000 rows"):
            read_part(path, ["id"])
        assert again(store, tiny)[0] == 2

    def test_failures_of_other_types(self, store, tiny):
        (path,) = (store / "failed").iterdir()
        table = pq.read_table(path)
        pq.write_table(table.set_column(table.column_names.index("reason"), "reason", pa.array([5])), path)
        with pytest.raises(InputError, match="column 'reason' is int64"):
            survey(store)
        assert again(store, tiny)[0] == 2


class TestManifest:
    def test_an_option_that_was_never_typed_is_shown_in_short(self, store, tiny):
        noted = manifest(store)
        noted["job"] |= {"prefilter": "\x1b[31m" + "x" * 100_000}
        (store / "manifest.json").write_text(json.dumps(noted))
        with pytest.raises(InputError, match="another job") as caught:
            run(SALTS, store, tiny)
        assert str(caught.value).isprintable()
        assert len(str(caught.value)) < 1000

    @pytest.mark.parametrize(
        "change",
        [
            {"job": None},
            {"job": []},
            {"job": {"properties": "eps_inf"}},
            {"job": {"properties": [1]}},
            {"job": {"properties": ["born_charges", "eps_inf", "eps_inf"]}},
            {"job": {"properties": [], "models": [1]}},
            {"job": {"properties": [], "models": [{"name": 1, "sha256": "", "properties": []}]}},
            {"job": {"properties": [], "settings": [1]}},
            {"collection": "x"},
            {"collection": {"name": 1, "kind": "", "fingerprint": ""}},
            {"collection": {"name": "", "kind": "", "fingerprint": "", "count": "many"}},
            {"sessions": {}},
            {"sessions": [1]},
            {"sessions": [{"started": "yesterday", "command": "", "crystals": 1, "failed": 1, "seconds": 1}]},
            {"crystals": "5"},
            {"crystals": -1},
            {"crystals": 10**30},
            {"failed": [1]},
            {"state": 1},
            {"selection": {"where": 1}},
            {"selection": {"what": "x\x1b[2J"}},
            {"format": {"a": "\x1b[2J"}},
        ],
    )
    def test_entries_of_other_types(self, store, tiny, change):
        (store / "manifest.json").write_text(json.dumps({**manifest(store), **change}))
        before = {path: path.read_bytes() for path in store.rglob("*") if path.is_file()}
        for action in (lambda: survey(store), lambda: run(SALTS, store, tiny)):
            with pytest.raises(InputError, match=r"manifest\.json (cannot be read|has format)") as caught:
                action()
            assert str(caught.value).isprintable()
        after = {path: path.read_bytes() for path in before if path.name != "lock"}
        assert after == {path: content for path, content in before.items() if path.name != "lock"}

    @pytest.mark.parametrize("text", ["", "[", "[" * 100_000, "1" * 5000, "null", "5", '"x"', "\ud800"])
    def test_no_manifest_at_all(self, store, tiny, text):
        (store / "manifest.json").write_bytes(text.encode("utf-8", "surrogatepass"))
        with pytest.raises(InputError, match=r"manifest\.json cannot be read"):
            run(SALTS, store, tiny)

    def test_a_pickle(self, store, tiny):
        class Touch:
            def __reduce__(self) -> tuple[Any, ...]:
                return Path.touch, (store / "mark",)

        for name in ("manifest.json", "parts/part-000000.parquet"):
            (store / name).write_bytes(pickle.dumps(Touch()))
            with pytest.raises(InputError):
                survey(store)
        assert not (store / "mark").exists()
