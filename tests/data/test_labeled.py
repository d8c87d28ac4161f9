"""Labels: the right numbers in the right places, and a clear sentence for everything that cannot be a label."""

from __future__ import annotations

from pathlib import Path

import ase
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from ase.io import write
from tests import crystals

from voigt.data import read_labeled, read_parquet
from voigt.data.labeled import as_crystals, file_digest
from voigt.errors import InputError, TargetError

PAIRS = ("xx", "yy", "zz", "yz", "zx", "xy")


def indices(pair: str) -> tuple[int, int]:
    return "xyz".index(pair[0]), "xyz".index(pair[1])


def labeled(symbols: str = "MgO", **info: object) -> ase.Atoms:
    """Rocksalt-like pair with Born charges +-Z, Z asymmetric."""
    atoms = ase.Atoms(symbols, positions=[(0, 0, 0), (2.1, 0, 0)], cell=[4.2, 3.0, 3.0], pbc=True, info=dict(info))
    charge = np.arange(1.0, 10.0)
    atoms.arrays["born_charges"] = np.array([charge, -charge])
    return atoms


def stored(folder: Path, *frames: ase.Atoms) -> Path:
    path = folder / "labels.extxyz"
    write(path, list(frames), format="extxyz")
    return path


def message(path: Path, *properties: str, **options: object) -> str:
    with pytest.raises(TargetError) as caught:
        read_labeled(path, properties, **options)
    return str(caught.value)


class TestValues:
    def test_rows_are_fields_and_columns_displacements_of_an_asymmetric_charge(self, tmp_path):
        path = tmp_path / "hand.extxyz"
        path.write_text(
            '1\nLattice="3 0 0 0 3 0 0 0 3" Properties=species:S:1:pos:R:3:born_charges:R:9 pbc="T T T"\n'
            "Ar 0 0 0 11 12 13 21 22 23 31 32 33\n"
        )
        (entry,) = read_labeled(path, ["born_charges"])
        charge = entry.targets["born_charges"]
        assert charge.shape == (1, 3, 3)
        assert charge[0, 0, 2] == 13
        assert charge[0, 2, 0] == 31

    def test_arrays_of_matrices_in_memory_of_ase_come_back(self, tmp_path):
        (entry,) = read_labeled(stored(tmp_path, labeled()), ["born_charges"])
        np.testing.assert_array_equal(entry.targets["born_charges"][0], np.arange(1.0, 10.0).reshape(3, 3))

    @pytest.mark.parametrize("spelling", ["list", "matrix"])
    def test_eps_inf_as_nine_numbers_or_as_a_matrix(self, tmp_path, spelling):
        eps = np.array([[2.0, 0.1, 0.2], [0.1, 3.0, 0.3], [0.2, 0.3, 4.0]])
        atoms = labeled(eps_inf=eps.ravel().tolist() if spelling == "list" else eps)
        (entry,) = read_labeled(stored(tmp_path, atoms), ["eps_inf"])
        np.testing.assert_allclose(entry.targets["eps_inf"], eps)

    @pytest.mark.parametrize("name", ["piezo_total", "piezo_clamped"])
    def test_piezo_voigt_columns(self, tmp_path, name):
        matrix = np.arange(18.0).reshape(3, 6) + 1
        (entry,) = read_labeled(stored(tmp_path, labeled(**{name: matrix.ravel().tolist()})), [name])
        tensor = entry.targets[name]
        assert tensor.shape == (3, 3, 3)
        for column, pair in enumerate(PAIRS):
            j, k = indices(pair)
            np.testing.assert_array_equal(tensor[:, j, k], matrix[:, column])
            np.testing.assert_array_equal(tensor[:, k, j], matrix[:, column])

    def test_elastic_voigt_rows_and_columns(self, tmp_path):
        matrix = np.random.default_rng(0).normal(size=(6, 6)).round(6)
        matrix = matrix + matrix.T
        (entry,) = read_labeled(stored(tmp_path, labeled(elastic=matrix.ravel().tolist())), ["elastic"])
        tensor = entry.targets["elastic"]
        for row, left in enumerate(PAIRS):
            for column, right in enumerate(PAIRS):
                value = tensor[(*indices(left), *indices(right))]
                assert value == pytest.approx(matrix[row, column])
                assert tensor[(*indices(left)[::-1], *indices(right))] == value
                assert tensor[(*indices(left), *indices(right)[::-1])] == value

    def test_scalars(self, tmp_path):
        (entry,) = read_labeled(stored(tmp_path, labeled(band_gap=4.4)), ["band_gap"])
        assert entry.targets["band_gap"].shape == ()
        assert float(entry.targets["band_gap"]) == 4.4

    def test_an_absent_label_has_no_key(self, tmp_path):
        path = stored(tmp_path, labeled(id="a", band_gap=1.0), labeled(id="b"))
        first, second = read_labeled(path, ["born_charges", "band_gap"])
        assert set(first.targets) == {"born_charges", "band_gap"}
        assert set(second.targets) == {"born_charges"}

    def test_identity_functional_and_split(self, tmp_path):
        path = stored(tmp_path, labeled(id="a", functional="PBE", split="val"), labeled(id="b"))
        first, second = read_labeled(path, ["born_charges"], functional="PBEsol")
        assert (first.id, first.functional, first.split) == ("a", "PBE", "val")
        assert (second.id, second.functional, second.split) == ("b", "PBEsol", "")
        assert first.source == str(path)
        assert read_labeled(path, ["born_charges"])[1].functional is None

    def test_selection(self, tmp_path):
        path = stored(tmp_path, labeled(id="a", good=True), labeled(id="b", good=False))
        assert [entry.id for entry in read_labeled(path, ["born_charges"], where="good")] == ["a"]
        large = labeled(id="large") * (2, 1, 1)
        large.info["id"] = "large"
        path = stored(tmp_path, labeled(id="small"), large)
        assert [entry.id for entry in read_labeled(path, ["born_charges"], max_atoms=3)] == ["small"]


class TestGroups:
    @pytest.mark.parametrize(
        ("first", "second", "same"),
        [
            ("SiO2", "Si2O4", True),
            ("SiO2", "O4Si2", True),
            ("OMgOMg", "MgO", True),
            ("Fe2O3", "FeO", False),
            ("BaTiO3", "TiBaO3", True),
            ("C2H4", "CH2", True),
            ("CO", "Co", False),
        ],
    )
    def test_same_composition_same_group(self, tmp_path, first, second, same):
        frames = []
        for name, symbols in (("a", first), ("b", second)):
            atoms = ase.Atoms(symbols)
            atoms.positions[:, 0] = 2.0 * np.arange(len(atoms))
            atoms.set_cell([2.0 * len(atoms), 3, 3])
            atoms.pbc = True
            atoms.info.update(id=name, band_gap=1.0)
            frames.append(atoms)
        groups = [entry.group for entry in read_labeled(stored(tmp_path, *frames), ["band_gap"])]
        assert (groups[0] == groups[1]) == same

    def test_supercells_and_isotopes_stay_in_the_group(self, tmp_path):
        water, heavy = crystals.rocksalt(), crystals.rocksalt(cubic=True)
        water.symbols[0] = heavy.symbols[heavy.symbols == "Na"] = "H"
        heavy.set_masses([2.014 if symbol == "H" else None for symbol in heavy.symbols])
        for name, atoms in (("light", water), ("heavy", heavy)):
            atoms.info.update(id=name, band_gap=1.0)
        light, deuterated = read_labeled(stored(tmp_path, water, heavy), ["band_gap"])
        assert light.group == deuterated.group
        assert light.group != read_labeled(stored(tmp_path, labeled()), ["born_charges"])[0].group


class TestFaults:
    def test_wrong_shape_and_nan_are_named_all_at_once(self, tmp_path):
        short, broken = labeled(id="short", eps_inf=[1.0, 2.0, 3.0]), labeled(id="broken", eps_inf=[np.nan] * 9)
        broken.arrays["born_charges"][1, 4] = np.inf
        path = stored(tmp_path, short, labeled(id="good", eps_inf=[2.0, 0, 0, 0, 2, 0, 0, 0, 2]), broken)
        text = message(path, "born_charges", "eps_inf")
        assert f"{path}, frame 0 (id short): 'eps_inf' has 3 numbers, expected 9" in text
        assert f"{path}, frame 2 (id broken): 'eps_inf' is not finite" in text
        assert f"{path}, frame 2 (id broken): 'born_charges' is not finite" in text
        assert text.count("remove") == 3
        assert "good" not in text

    def test_per_atom_label_of_the_wrong_width(self, tmp_path):
        atoms = labeled(id="six")
        atoms.arrays["born_charges"] = np.ones((2, 6))
        assert "has 12 numbers, expected 18 (one (3, 3) per atom)" in message(stored(tmp_path, atoms), "born_charges")

    def test_words_instead_of_numbers(self, tmp_path):
        text = message(stored(tmp_path, labeled(id="words", eps_inf="large")), "eps_inf")
        assert "id words" in text
        assert "does not consist of numbers" in text

    def test_missing_and_misspelt_targets(self, tmp_path):
        atoms = labeled(band_gap=1.0)
        atoms.arrays["born_charge"] = atoms.arrays.pop("born_charges")
        path = stored(tmp_path, atoms)
        text = message(path, "born_charges", "elastic")
        assert f"no crystal of {path} has the label 'born_charges'" in text
        assert f"no crystal of {path} has the label 'elastic'" in text
        assert "labels found: band_gap" in text
        assert "rename 'born_charge'" in text

    def test_absent_and_misshapen_targets_in_one_message(self, tmp_path):
        text = message(stored(tmp_path, labeled(eps_inf=[1.0])), "eps_inf", "band_gap")
        assert "'eps_inf' has 1 numbers" in text
        assert "'band_gap'" in text

    def test_all_zero(self, tmp_path):
        path = stored(tmp_path, labeled(id="a", band_gap=0.0), labeled(id="b", band_gap=0.0))
        text = message(path, "band_gap")
        assert "zero in every crystal" in text
        assert str(path) in text
        path = stored(tmp_path, labeled(id="a", band_gap=0.0), labeled(id="b", band_gap=1.0))
        assert float(read_labeled(path, ["band_gap"])[0].targets["band_gap"]) == 0.0

    def test_unknown_property(self, tmp_path):
        assert "choose from born_charges" in message(stored(tmp_path, labeled()), "born_charge")

    def test_where_key_missing_names_every_frame(self, tmp_path):
        path = stored(tmp_path, labeled(id="a", good=True), labeled(id="b"), labeled(id="c"))
        with pytest.raises(InputError) as caught:
            read_labeled(path, ["born_charges"], where="good")
        assert f"{path}, frame 1 (id b): no info key 'good'" in str(caught.value)
        assert "id c" in str(caught.value)
        assert "id a" not in str(caught.value)

    def test_nothing_left(self, tmp_path):
        path = stored(tmp_path, labeled(good=False))
        assert "no crystal of" in message(path, "born_charges", where="good")
        assert "max_atoms" in message(path, "born_charges", max_atoms=1)

    def test_unusable_frames_are_listed_and_long_lists_are_cut(self, tmp_path):
        frames = [labeled(id=f"f{k}") for k in range(14)]
        for atoms in frames[1:]:
            atoms.pbc = False
        with pytest.raises(InputError) as caught:
            read_labeled(stored(tmp_path, *frames), ["born_charges"])
        text = str(caught.value)
        assert "frame 1 (id f1): is not periodic" in text
        assert "and 3 more" in text
        assert "id f0" not in text

    def test_missing_file(self, tmp_path):
        with pytest.raises(InputError, match=r"absent\.extxyz"):
            read_labeled(tmp_path / "absent.extxyz", ["born_charges"])


class TestParquet:
    ROWS = (
        {"mbid": "mb-1", "numbers": [12, 8], "cell": [0, 2, 2, 2, 0, 2, 2, 2, 0], "frac": [0, 0, 0, 0.5, 0.5, 0.5],
         "band_gap": 4.5, "formation_energy": -3.0, "split": "train"},
        {"mbid": "mb-2", "numbers": [18], "cell": [4, 0, 0, 1, 4, 0, 0, 0, 4], "frac": [0.25, 0.5, 0.75],
         "band_gap": float("nan"), "formation_energy": 0.1, "split": "val"},
        {"mbid": "mb-3", "numbers": [18], "cell": [5, 0, 0, 0, 5, 0, 0, 0, 5], "frac": [0, 0, 0],
         "band_gap": None, "formation_energy": -0.5, "split": "train"},
    )  # fmt: skip

    def table(self, folder: Path, *rows: dict[str, object]) -> Path:
        path = folder / "table.parquet"
        schema = pa.schema(
            [("mbid", pa.string()), ("numbers", pa.list_(pa.int16())), ("cell", pa.list_(pa.float32())),
             ("frac", pa.list_(pa.float32())), ("band_gap", pa.float64()), ("formation_energy", pa.float64()),
             ("split", pa.string())]
        )  # fmt: skip
        pq.write_table(pa.Table.from_pylist(list(rows), schema), path)
        return path

    def test_rows_become_crystals(self, tmp_path):
        entries = read_labeled(self.table(tmp_path, *self.ROWS), ["band_gap", "formation_energy"])
        assert [entry.id for entry in entries] == ["mb-1", "mb-2", "mb-3"]
        assert [entry.split for entry in entries] == ["train", "val", "train"]
        first, second, third = entries
        assert first.group == "MgO"
        # Cell rows are vectors: the second atom sits at half their sum.
        np.testing.assert_allclose(first.atoms.positions[1], [2, 2, 2])
        np.testing.assert_allclose(second.atoms.positions[0], [0.25 * 4 + 0.5 * 1, 0.5 * 4, 0.75 * 4])
        assert float(first.targets["band_gap"]) == 4.5
        assert set(second.targets) == set(third.targets) == {"formation_energy"}
        assert first.atoms.pbc.all()

    def test_small_batches_give_the_same_frames(self, tmp_path):
        path = self.table(tmp_path, *self.ROWS)
        assert [frame.id for frame in read_parquet(path, rows=1)] == [frame.id for frame in read_parquet(path)]

    def test_broken_rows_are_named(self, tmp_path):
        nan = {**self.ROWS[0], "mbid": "nan", "frac": [0, 0, 0, float("nan"), 0, 0]}
        short = {**self.ROWS[0], "mbid": "short", "frac": [0, 0, 0]}
        empty = {**self.ROWS[0], "mbid": "empty", "cell": None}
        with pytest.raises(InputError) as caught:
            read_labeled(self.table(tmp_path, self.ROWS[0], nan, short, empty), ["band_gap"])
        text = str(caught.value)
        for index, name in ((1, "nan"), (2, "short"), (3, "empty")):
            assert f"frame {index} (id {name})" in text
        assert "mb-1" not in text

    def test_not_a_table_and_missing_columns(self, tmp_path):
        path = tmp_path / "text.parquet"
        path.write_text("PAR1 but not really")
        with pytest.raises(InputError, match="not a readable Parquet file"):
            read_labeled(path, ["band_gap"])
        pq.write_table(pa.table({"numbers": [[1]], "band_gap": [1.0]}), path)
        with pytest.raises(InputError, match="no column cell, frac"):
            read_labeled(path, ["band_gap"])


def test_elements_are_counted_by_crystals_not_by_atoms(tmp_path):
    frames = [labeled(symbols, id=symbols) for symbols in ("MgO", "CaO", "O2")]
    crystals = as_crystals(read_labeled(stored(tmp_path, *frames), ["born_charges"]))
    assert crystals.element_counts() == {8: 3, 12: 1, 20: 1}
    assert list(crystals.element_counts()) == list(crystals.elements())


def test_digest_is_the_head_of_sha256(tmp_path):
    path = tmp_path / "abc"
    path.write_bytes(b"abc")
    assert file_digest(path) == "ba7816bf8f01cfea"  # FIPS 180-2, example 1
