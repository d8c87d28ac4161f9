"""Ids and other things that structures bring along: whatever they are, the usual readers read what is written."""

from __future__ import annotations

import csv
import io
import json
import random
from typing import Any

import ase
import ase.io
import numpy as np
import pyarrow.parquet as pq
import pytest
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io.extxyz import write_xyz
from tests import crystals
from tests.predictions import made_up

from voigt.prediction.result import Prediction
from voigt.structures import InputStructure, read
from voigt.text import csv_cell, plain_id
from voigt.writers import write_predictions
from voigt.writers.readable import readable

IDS = ["a\nb", "a\rb", "a\r\nLattice=\"1 0 0 0 1 0 0 0 1\"", "a\tb", "a\x00b", "\x1b[31mred", "\ud800", "a\udc00b",
       "a\ufffeb\uffff", "a\u2028b", "a\u0085b", "a\u00a0b", "a\u3000b", 'a"b', "a'b", "a\\", "a\\\"b", "a b\\", "a=b",
       "a,b", "[a]", "{a}", "{a", "_JSON {", "T", "0012", "1e5", " ", " a ", "#", "=1+1", "-1.5", "@x", "x" * 10_000,
       "é", "東京", "😀", "<script>alert(1)</script>", "a|b", "Properties=species:S:1"]  # fmt: skip


@pytest.fixture(scope="module")
def salts() -> list[Prediction]:
    """Three crystals for each id: the ones beside it must be delivered, too."""
    found = []
    for name in IDS:
        atoms = [crystals.rocksalt() for _ in range(3)]
        for one, label in zip(atoms, ("before", name, "after"), strict=True):
            one.info["id"] = label
        entries = [entry for entry in read(atoms) if isinstance(entry, InputStructure)]
        found += [made_up(entry.atoms, entry.id, ("eps_inf",)) for entry in entries]
    assert len(found) == 3 * len(IDS)
    return found


@pytest.fixture(scope="module")
def expected() -> list[str]:
    return [label for name in IDS for label in ("before", plain_id(name), "after")]


def test_extxyz(salts, expected, tmp_path):
    assert write_predictions(salts, tmp_path / "out.extxyz") == len(salts)
    frames = ase.io.read(tmp_path / "out.extxyz", ":")
    assert [len(frame) for frame in frames] == [2] * len(salts)
    for frame, prediction in zip(frames, salts, strict=True):
        np.testing.assert_allclose(frame.info["eps_inf"], prediction.values["eps_inf"].ravel())
        np.testing.assert_allclose(frame.cell.array, prediction.atoms.cell.array)


def test_ids_in_extxyz_are_read_as_they_were(salts, expected, tmp_path):
    for start in range(0, len(salts), 3):
        write_predictions(salts[start : start + 3], tmp_path / "out.extxyz")
        names = ["__JSON {" if name == "_JSON {" else name for name in expected[start : start + 3]]
        assert [entry.id for entry in read([tmp_path / "out.extxyz"])] == names


def test_csv(salts, expected, tmp_path):
    write_predictions(salts, tmp_path / "out.csv")
    with (tmp_path / "out.csv").open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["id"] for row in rows] == [csv_cell(name) for name in expected]
    assert {len(row) for row in rows} == {len(rows[0])}
    assert len((tmp_path / "out.csv").read_text().splitlines()) == len(salts) + 1  # readers that know no quotes


def test_parquet_and_json(salts, expected, tmp_path):
    write_predictions(salts, tmp_path / "out.parquet")
    assert pq.read_table(tmp_path / "out.parquet")["id"].to_pylist() == expected
    write_predictions(salts, tmp_path / "out.json")
    assert [entry["id"] for entry in json.loads((tmp_path / "out.json").read_text())] == expected


class TestReadable:
    def back(self, atoms: ase.Atoms) -> ase.Atoms:
        """Through a file, with a frame behind it."""
        stream = io.StringIO()
        write_xyz(stream, readable(atoms))
        write_xyz(stream, readable(ase.Atoms("He", cell=[3, 3, 3], pbc=True, info={"id": "next"})))
        text = stream.getvalue().encode().decode()
        first, second = ase.io.read(io.StringIO(text, newline=None), ":", format="extxyz")
        assert second.info["id"] == "next"
        assert first.get_chemical_symbols() == atoms.get_chemical_symbols()
        np.testing.assert_allclose(first.positions, atoms.positions)
        np.testing.assert_allclose(first.cell.array, atoms.cell.array)
        assert first.pbc.tolist() == atoms.pbc.tolist()
        return first

    def salt(self, **info: Any) -> ase.Atoms:
        atoms = crystals.rocksalt()
        atoms.info.update(info)
        return atoms

    @pytest.mark.parametrize(
        ("key", "value"),
        [
            ("label", 'say "hello" \\ now'),
            ("label", "C:\\new\\table\\"),
            ("label", "a\\nb"),
            ("label", "wide\u3000space and\u00a0more"),
            ("label", "a=b=c"),
            ("label", "'"),
            ("table", {"path": 'C:\\x "y"', "list": ["a b", "\n"]}),
            ("count", 10**15),
            ("weights", [0.5, 1.5]),
        ],
    )
    def test_texts_and_tables_come_back_as_they_were(self, key, value):
        found = self.back(self.salt(**{key: value})).info[key]
        assert (found.tolist() if isinstance(found, np.ndarray) else found) == value

    @pytest.mark.parametrize("name", ["Lattice", "Properties", "pbc", "lattice"])
    def test_words_of_the_format_do_not_change_the_crystal(self, name):
        info = self.back(self.salt(**{name: "9 0 0 0 9 0 0 0 9"})).info
        assert info[f"{name}_input"].tolist() == [9, 0, 0, 0, 9, 0, 0, 0, 9]

    @pytest.mark.parametrize("name", ["pos", "species", "Z", "symbols", "move_mask", "energy", "initial_charges"])
    def test_columns_of_the_format_do_not_change_the_crystal(self, name):
        atoms = self.salt()
        atoms.arrays[name] = np.array([[7, 8, 9], [1, 2, 3]])
        assert self.back(atoms).arrays[f"{name}_input"].tolist() == [[7, 8, 9], [1, 2, 3]]

    @pytest.mark.parametrize("name", ["a:I:1", "a b", 'a"b', "a\nb", "a=b", "\ud800", ""])
    def test_names_of_columns(self, name):
        atoms = self.salt()
        atoms.arrays[name] = np.array([5, 6])
        arrays = self.back(atoms).arrays
        assert [5, 6] in [values.tolist() for key, values in arrays.items() if key not in ("numbers", "positions")]

    def test_columns_that_would_be_read_as_one(self):
        atoms = self.salt()
        atoms.arrays.update(a0=np.array([1, 2]), a=np.array([[3.0, 4.0], [5.0, 6.0]]))
        arrays = self.back(atoms).arrays
        assert arrays["a0"].tolist() == [1, 2]
        assert arrays["a_input"].tolist() == [[3, 4], [5, 6]]

    def test_words_of_atoms(self):
        atoms = self.salt()
        atoms.arrays["site"] = np.array(["a b\n", ""], dtype=object)
        assert self.back(atoms).arrays["site"].tolist() == ["a_b?", "_"]

    def test_a_stress_of_six_components(self):
        """As calculators give it; ASE reads nine."""
        atoms = self.salt()
        atoms.calc = SinglePointCalculator(atoms, stress=np.arange(6.0), energy=-1.5)
        stream = io.StringIO()
        prediction = made_up(atoms, "salt", ("eps_inf",))
        from voigt.writers.extxyz import annotated

        write_xyz(stream, readable(annotated(prediction)))
        again = ase.io.read(io.StringIO(stream.getvalue()), format="extxyz")
        np.testing.assert_allclose(again.get_stress(), np.arange(6.0))
        assert again.get_potential_energy() == -1.5

    @pytest.mark.parametrize(
        "value",
        [object(), {1, 2}, b"bytes", 1j, [[1, 2], [3]], np.array([object()]), "x" * 10**6],
        ids=lambda value: type(value).__name__,
    )
    def test_what_no_text_can_hold(self, value):
        info = self.back(self.salt(odd=value, good=3)).info
        assert info["good"] == 3

    def test_lists_that_hold_themselves(self):
        endless: list[Any] = []
        endless.append(endless)
        deep: list[Any] = []
        for _ in range(100_000):
            deep = [deep]
        assert "odd" not in self.back(self.salt(odd=endless, deep=deep)).info

    def test_at_random(self):
        """Five hundred frames of everything above."""
        draw = random.Random(5)
        signs = [*"ab=\"'\\\n\r\t {}[],:.#-1T", "\u2028", "\u00a0", "\x00", "\ud800", "_JSON ", "é"]
        keys = ["Lattice", "Properties", "pbc", "stress", "virial", "energy", "dipole", "uid", "pos", "a", "a0", "a1"]

        def text() -> str:
            return "".join(draw.choice(signs) for _ in range(draw.randint(0, 8)))

        makers = [
            text,
            lambda: draw.choice([1, 1.5, 10**400, np.nan, True, None]),
            lambda: np.arange(draw.randint(0, 10)),
            lambda: {text(): text()},
            lambda: [text(), [text()]],
            lambda: np.eye(3),
        ]
        columns = [
            lambda: np.ones(2),
            lambda: np.ones((2, 2)),
            lambda: np.array([text(), text()]),
            lambda: np.array([text(), None], dtype=object),
            lambda: np.ones((2, 3, 3)),
            lambda: np.ones(2, np.uint8),
        ]
        for _ in range(500):
            atoms = self.salt()
            for _ in range(3):
                atoms.info[draw.choice([*keys, text()])] = draw.choice(makers)()
                atoms.arrays[draw.choice([*keys, text()])] = draw.choice(columns)()
            self.back(atoms)
