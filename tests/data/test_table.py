"""A table says the same as its rows read one by one, and leaves whatever is wrong with them to that reading."""

from __future__ import annotations

import pickle
from pathlib import Path

import ase
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from ase.build import bulk

from voigt.data import LabeledCrystal, as_crystals, label_of, read_labeled, read_parquet
from voigt.data.labeled import CrystalList, JoinedCrystals, hill_formula
from voigt.data.table import LabeledTable, suspects
from voigt.errors import InputError, TargetError
from voigt.structures import checks
from voigt.tensors.properties import get_property

SYMBOLS = ("CCHHHHO", "C4", "NaCl", "Cl2Na2", "Al2O3", "BHN2", "Ba2Ca2")


def rows(seed: int = 0) -> list[dict[str, object]]:
    """Crystals in sheared cells of 12 Angstrom; every third has no band gap, every fourth no fold."""
    rng = np.random.default_rng(seed)
    table = []
    for k, symbols in enumerate(SYMBOLS * 3):
        numbers = ase.Atoms(symbols).numbers
        places = np.stack([np.arange(len(numbers)) / len(numbers), rng.random(len(numbers)), np.zeros(len(numbers))], 1)
        table.append(
            {
                "mp_id": f"mp-{seed}-{k}",
                "numbers": numbers.tolist(),
                "cell": (12 * np.eye(3) + rng.normal(size=(3, 3))).ravel().tolist(),
                "frac": places.ravel().tolist(),
                "band_gap": None if k % 3 == 0 else float(k),
                "formation_energy": -0.5 * k if k % 5 else float("nan"),
                "fold": None if k % 4 == 0 else k % 5,
                "good": k % 2 == 0,
                "split": ("train", "val")[k % 2],
                "functional": "PBE" if k % 6 else None,
            }
        )
    return table


def write(folder: Path, *content: dict[str, object], name: str = "table.parquet") -> Path:
    schema = pa.schema(
        [("mp_id", pa.string()), ("numbers", pa.list_(pa.int16())), ("cell", pa.list_(pa.float32())),
         ("frac", pa.list_(pa.float32())), ("band_gap", pa.float32()), ("formation_energy", pa.float32()),
         ("fold", pa.int8()), ("good", pa.bool_()), ("split", pa.string()),
         ("functional", pa.dictionary(pa.int8(), pa.string()))]
    )  # fmt: skip
    pq.write_table(pa.Table.from_pylist(list(content), schema), folder / name)
    return folder / name


NAMES = ("band_gap", "formation_energy")


@pytest.fixture(scope="module")
def path(tmp_path_factory) -> Path:
    return write(tmp_path_factory.mktemp("table"), *rows())


@pytest.fixture(scope="module")
def table(path) -> LabeledTable:
    table = read_labeled(path, NAMES, functional="LDA")
    assert isinstance(table, LabeledTable)
    return table


@pytest.fixture(scope="module")
def one_by_one(path) -> CrystalList:
    """The same through the streaming reader, with ASE's reduced formulas."""
    crystals = []
    for frame in read_parquet(path):
        info = frame.atoms.info
        labels = {name: label_of(frame.atoms, get_property(name)) for name in NAMES}
        crystals.append(
            LabeledCrystal(
                frame.id,
                str(path),
                frame.atoms,
                {name: label for name, label in labels.items() if label is not None},
                info.get("functional", "LDA"),
                info["split"],
                frame.atoms.symbols.formula.reduce()[0].format("hill"),
            )
        )
    return CrystalList(crystals)


class TestSameAsRowByRow:
    def test_crystals(self, table, one_by_one):
        assert len(table) == len(one_by_one)
        for ours, known in zip(table, one_by_one, strict=True):
            assert (ours.id, ours.source, ours.functional, ours.split, ours.group) == (
                known.id, known.source, known.functional, known.split, known.group,
            )  # fmt: skip
            assert ours.atoms.info == known.atoms.info
            assert ours.atoms == known.atoms  # numbers, positions, cell, bit for bit
            assert ours.targets == known.targets

    @pytest.mark.parametrize("chosen", [None, [5, 2, 17, 2], []])
    def test_columns(self, table, one_by_one, chosen):
        if chosen is not None:
            table, one_by_one = table.take(chosen), one_by_one.take(chosen)
        for ask in ("ids", "splits", "groups", "functionals", "elements", "element_counts"):
            assert getattr(table, ask)() == getattr(one_by_one, ask)(), ask
        assert table.sizes().tolist() == one_by_one.sizes().tolist()
        for key in ("fold", "good", "band_gap", "nonsense"):
            assert table.column(key) == one_by_one.column(key), key
        for name in NAMES:
            known = [np.nan if label is None else float(label) for label in one_by_one.labels(name)]
            np.testing.assert_array_equal(table.labels(name), known)
            assert table.has_label(name) == one_by_one.has_label(name)

    def test_a_label_that_nobody_asked_for_is_not_there(self, path):
        table = read_labeled(path, ["band_gap"])
        assert not table.has_label("formation_energy")
        assert np.isnan(table.labels("formation_energy")).all()
        assert all("formation_energy" not in crystal.targets for crystal in table)

    def test_where_and_max_atoms(self, path):
        table = read_labeled(path, NAMES, where="good", max_atoms=4)
        assert isinstance(table, LabeledTable)
        kept = [row["mp_id"] for row in rows() if row["good"] and len(row["numbers"]) <= 4]
        assert table.ids() == [crystal.id for crystal in table] == kept

    def test_ids_fall_back_on_the_number_of_the_row(self, tmp_path):
        content = rows()[:4]
        content[1]["mp_id"] = None
        table = read_labeled(write(tmp_path, *content), NAMES)
        assert table.ids() == [crystal.id for crystal in table] == ["mp-0-0", "1", "mp-0-2", "mp-0-3"]

    def test_double_precision_is_kept(self, tmp_path):
        pq.write_table(
            pa.table(
                {"numbers": [[18]], "cell": [[4.1, 0, 0, 0, 4, 0, 0, 0, 4.0]], "frac": [[0.1] * 3], "band_gap": [2.0]}
            ),
            tmp_path / "a.parquet",
        )
        (crystal,) = read_labeled(tmp_path / "a.parquet", ["band_gap"])
        assert crystal.atoms.cell[0, 0] == 4.1

    def test_a_pickled_table_is_the_same(self, table):
        copy = pickle.loads(pickle.dumps(table.take([3, 1])))
        assert copy.ids() == ["mp-0-3", "mp-0-1"]
        assert copy[0].atoms == table[3].atoms

    def test_indices(self, table):
        assert table[-1].id == table[len(table) - 1].id
        assert table[2:5].ids() == table.ids()[2:5]
        with pytest.raises(IndexError):
            table[len(table)]


class TestFaults:
    def message(self, path: Path, error: type[Exception] = InputError, **options: object) -> str:
        with pytest.raises(error) as caught:
            read_labeled(path, NAMES, **options)
        return str(caught.value)

    def test_unsound_rows_are_all_named(self, tmp_path):
        content = rows()
        content[3] = {**content[3], "frac": [0.5, 0.5, 0.999, 0.5, 0.5, 0.01, *content[3]["frac"][6:]]}  # 0.1 Angstrom
        content[4] = {**content[4], "numbers": [8, 8, 8, 8, 119]}
        content[6] = {**content[6], "cell": [0.3, 0, 0, 0, 30, 0, 0, 0, 30]}
        text = self.message(write(tmp_path, *content))
        for row in (3, 4, 6):
            assert f"(id mp-0-{row})" in text
        assert text.count("(id ") == 3

    def test_labels(self, tmp_path):
        content = rows()
        content[2]["band_gap"] = float("inf")
        assert "(id mp-0-2): 'band_gap' is not finite" in self.message(write(tmp_path, *content), TargetError)
        content = [{**row, "band_gap": 0.0} for row in rows()]
        assert "'band_gap' is zero in every crystal" in self.message(write(tmp_path, *content), TargetError)

    def test_selection(self, tmp_path, path):
        assert "no info key 'bad' to select by" in self.message(path, where="bad")
        # Read row by row, for its fault: rows without a fold are passed over, as in a table without faults.
        content = rows()
        content[0] = {**content[0], "cell": [0.0] * 9}
        text = self.message(write(tmp_path, *content), where="fold")
        assert "(id mp-0-0): has no cell" in text
        assert "no info key" not in text
        assert "max_atoms" in self.message(path, TargetError, max_atoms=1)

    def test_tensors_are_not_in_tables(self, path):
        with pytest.raises(TargetError, match=r"no crystal of .* has the label 'eps_inf', labels found: band_gap"):
            read_labeled(path, ["eps_inf"])


def test_no_pair_of_close_atoms_escapes():
    """Against ASE's minimum-image distances, in cells from cubic to very skewed."""
    rng = np.random.default_rng(1)
    cells, places, sizes, close = [], [], [], []
    for k in range(400):
        cell = 6 * np.eye(3) + (0.3, 1.5, 3.0)[k % 3] * rng.normal(size=(3, 3))
        size = int(rng.integers(1, 9))
        atoms = ase.Atoms(f"Ar{size}", scaled_positions=rng.random((size, 3)) * 3 - 1, cell=cell, pbc=True)
        if k % 4 == 0 and size > 1:
            direction = rng.normal(size=3)
            atoms.positions[0] = atoms.positions[-1] + 0.499 * direction / np.linalg.norm(direction) + cell[k % 3]
        cells.append(cell)
        places.append(np.linalg.solve(cell.T, atoms.positions.T).T)
        sizes.append(size)
        close.append(bool(checks.problems(atoms)))
        if size > 1:
            distances = atoms.get_all_distances(mic=True)[np.triu_indices(size, 1)]
            assert (distances.min() < 0.5) <= close[-1]
    rows = suspects(np.concatenate(places), np.array(cells), np.array(sizes))
    assert set(np.flatnonzero(close)) <= set(rows)
    assert 80 < sum(close) < 200
    assert len(rows) < 250  # most sound crystals are known to be sound


def test_reduced_formulas_are_those_of_ase():
    rng = np.random.default_rng(2)
    for _ in range(200):
        numbers = np.repeat(rng.integers(1, 100, size=4), rng.integers(1, 7, size=4))
        if rng.random() < 0.5:
            numbers = np.concatenate([numbers, [6, 1, 1]])
        known = ase.Atoms(numbers).symbols.formula.reduce()[0].format("hill")
        assert hill_formula(*np.unique(numbers, return_counts=True)) == known


class TestJoined:
    @pytest.fixture
    def joined(self, tmp_path, table):
        second = read_labeled(write(tmp_path, *rows(1), name="other.parquet"), ["band_gap"])
        atoms = bulk("Cu")
        single = LabeledCrystal("copper", "c.extxyz", atoms, {"band_gap": np.array(7.0)}, None, "test", "Cu")
        return JoinedCrystals([table, as_crystals([single]), second])

    def test_is_the_files_one_after_another(self, joined, table):
        assert len(joined) == 43
        assert [crystal.id for crystal in joined] == joined.ids()
        assert joined.ids()[:22] == [*table.ids(), "copper"]
        assert joined.column("fold")[21] is None
        assert joined.splits()[20:22] == ["train", "test"]
        assert joined.sizes()[21] == 1

    def test_a_choice_keeps_its_order(self, joined):
        chosen = joined.take([30, 21, 4])
        assert chosen.ids() == ["mp-1-8", "copper", "mp-0-4"]
        assert [float(label) for label in chosen.labels("band_gap")] == [8.0, 7.0, 4.0]
        assert chosen.elements() == tuple(sorted({29, *joined[30].atoms.numbers, *joined[4].atoms.numbers}))
        assert chosen.groups() == [crystal.group for crystal in chosen]
        assert chosen.functionals() == [joined[30].functional, None, joined[4].functional]
        assert not chosen.take([0, 1]).has_label("formation_energy")
        assert chosen.has_label("formation_energy")

    def test_elements_are_counted_by_crystals_not_by_atoms(self, joined):
        chosen = joined.take([30, 21, 4, 3, 2])  # C4, Cu, Al2O3, Cl2Na2, NaCl
        assert chosen.element_counts() == {6: 1, 8: 1, 11: 2, 13: 1, 17: 2, 29: 1}
        assert joined.take([]).element_counts() == {}


def test_real_table(dft_data):
    """Numbers of rows and atoms as the description of the data states them."""
    table = read_labeled(dft_data("scalars/mp_scalars.parquet"), NAMES)
    assert isinstance(table, LabeledTable)
    assert len(table) == 99645
    assert int(table.sizes().sum()) == 2827156
    assert np.isfinite(table.labels("band_gap")).sum() == 81227
    assert np.isfinite(table.labels("formation_energy")).sum() == 99573
    chosen = table.take(range(0, len(table), 997))
    formulas = [crystal.atoms.symbols.formula.reduce()[0].format("hill") for crystal in chosen]
    assert chosen.groups() == formulas
