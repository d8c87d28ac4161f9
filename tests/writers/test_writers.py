"""What is written is read back by others: json, csv, ASE and pyarrow."""

from __future__ import annotations

import csv
import errno
import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import ase
import ase.io
import numpy as np
import pyarrow.parquet as pq
import pytest
from ase.calculators.singlepoint import SinglePointCalculator
from tests import crystals
from tests.predictions import made_up, shared

from voigt.data import read_labeled
from voigt.errors import OutputError
from voigt.prediction.result import Prediction
from voigt.structures import read
from voigt.writers import write_predictions

BORN = ("born_charges", "eps_inf")
VOIGT_PAIRS = ((0, 0), (1, 1), (2, 2), (1, 2), (2, 0), (0, 1))


@pytest.fixture
def predictions() -> list[Prediction]:
    salt, quartz = crystals.rocksalt(), crystals.quartz()
    salt.info.update(id="0012", functional="PBE", temperature=300.5)
    quartz.set_array("site_energy", np.linspace(0, 1, 9))
    return [made_up(salt, "0012", BORN, seed=1), made_up(quartz, "quartz", BORN, seed=2)]


def test_json(predictions: list[Prediction], tmp_path: Path) -> None:
    assert write_predictions(predictions, tmp_path / "out.json") == 2
    first, second = json.loads((tmp_path / "out.json").read_text())
    assert first["id"] == "0012"
    assert first["models"] == {"born_charges": "tiny", "eps_inf": "tiny"}
    assert first["functionals"] == {"born_charges": "PBEsol", "eps_inf": "PBEsol"}
    assert first["spacegroup"] == {"number": 225, "international": "Fm-3m"}
    assert second["elements"] == predictions[1].atoms.get_chemical_symbols()
    rebuilt = ase.Atoms(second["elements"], cell=second["cell"], scaled_positions=second["scaled_positions"], pbc=True)
    np.testing.assert_allclose(rebuilt.positions, predictions[1].atoms.positions, atol=1e-12)
    born = second["properties"]["born_charges"]
    np.testing.assert_array_equal(born["value"], predictions[1].values["born_charges"])
    np.testing.assert_array_equal(born["raw"], predictions[1].raw["born_charges"])
    np.testing.assert_array_equal(born["spread"], predictions[1].spread["born_charges"])
    assert born["unit"] == "e"
    assert "Z[atom, field, displacement]" in born["meaning"]
    assert born["symmetry_residual"] == predictions[1].residual["born_charges"]
    np.testing.assert_array_equal(second["charge_drift"], predictions[1].drift)
    assert second["warnings"] == ["first warning", "second"]


def test_json_stays_json_when_a_network_fails(predictions: list[Prediction], tmp_path: Path) -> None:
    predictions[0].values["eps_inf"][1, 2] = np.nan
    write_predictions(predictions, tmp_path / "out.json")

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    first = json.loads((tmp_path / "out.json").read_text(), parse_constant=refuse)[0]
    assert first["properties"]["eps_inf"]["value"][1][2] is None


def test_csv_has_one_atom_a_row(predictions: list[Prediction], tmp_path: Path) -> None:
    assert write_predictions(predictions, tmp_path / "out.csv") == 2
    with (tmp_path / "out.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    tensor = ["Z11", "Z12", "Z13", "Z21", "Z22", "Z23", "Z31", "Z32", "Z33"]
    assert list(rows[0]) == ["id", "atom", "element", *tensor, "interval"]
    assert {row["interval"] for row in rows} == {""}
    assert [row["id"] for row in rows] == ["0012"] * 2 + ["quartz"] * 9
    assert [int(row["atom"]) for row in rows] == [0, 1, *range(9)]
    assert [row["element"] for row in rows[:4]] == ["Na", "Cl", "Si", "Si"]
    z = predictions[1].values["born_charges"]
    for number, row in enumerate(rows[2:]):
        for i in range(3):
            for j in range(3):
                assert float(row[f"Z{i + 1}{j + 1}"]) == pytest.approx(z[number, i, j], abs=1e-8)


def test_csv_without_born_charges_has_one_crystal_a_row(tmp_path: Path) -> None:
    names = ("formation_energy", "eps_inf", "piezo_total", "elastic")
    salt, quartz = made_up(crystals.rocksalt(), "a", names), made_up(crystals.quartz(), "b", names)
    assert write_predictions([salt, quartz], tmp_path / "out.csv") == 2
    with (tmp_path / "out.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [(row["id"], row["formula"], row["atoms"]) for row in rows] == [("a", "NaCl", "2"), ("b", "SiO2", "9")]
    assert [row["space_group"] for row in rows] == ["225", str(quartz.symmetry.number)]
    values = quartz.values
    assert float(rows[1]["formation_energy"]) == pytest.approx(float(values["formation_energy"]), rel=1e-6)
    assert float(rows[1]["eps_inf_xz"]) == pytest.approx(values["eps_inf"][0, 2], rel=1e-6)
    assert float(rows[1]["piezo_total_y_zx"]) == pytest.approx(values["piezo_total"][1, 2, 0], rel=1e-6)
    assert float(rows[1]["elastic_xx_yz"]) == pytest.approx(values["elastic"][0, 0, 1, 2], rel=1e-6)


@pytest.mark.parametrize("suffix", [".extxyz", ".xyz"])
def test_extxyz_is_read_by_ase_and_as_labels(predictions: list[Prediction], suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"out{suffix}"
    assert write_predictions(predictions, path) == 2
    salt, quartz = ase.io.read(path, ":", format="extxyz")
    assert salt.info["functional"] == "PBE"
    assert salt.info["temperature"] == 300.5
    assert salt.info["voigt_functional"] == "PBEsol"
    assert salt.info["voigt_model"] == "tiny"
    np.testing.assert_allclose(quartz.arrays["site_energy"], np.linspace(0, 1, 9), atol=1e-8)
    np.testing.assert_allclose(
        quartz.arrays["born_charges"], predictions[1].values["born_charges"].reshape(9, 9), atol=1e-8
    )
    norms = np.linalg.norm(predictions[1].spread["born_charges"], axis=(1, 2))
    np.testing.assert_allclose(quartz.arrays["born_charges_spread"], norms, atol=1e-8)
    assert salt.info["eps_inf_spread"] == pytest.approx(np.linalg.norm(predictions[0].spread["eps_inf"]))
    assert [frame.id for frame in read([path])] == ["0012", "quartz"]
    labeled = read_labeled(path, BORN)
    for crystal, prediction in zip(labeled, predictions, strict=True):
        np.testing.assert_allclose(crystal.targets["born_charges"], prediction.values["born_charges"], atol=1e-8)


def test_extxyz_is_row_major(tmp_path: Path) -> None:
    """Read with nothing but text functions: component 2 of the nine is xy, not yx."""
    prediction = made_up(crystals.rocksalt(), "a", BORN)
    write_predictions([prediction], tmp_path / "out.xyz")
    comment, first = (tmp_path / "out.xyz").read_text().splitlines()[1:3]
    columns = comment.split("Properties=")[1].split()[0].split(":")
    offset = sum(int(width) for width in columns[2 : columns.index("born_charges") : 3])
    assert float(first.split()[offset + 1]) == pytest.approx(prediction.values["born_charges"][0, 0, 1], abs=1e-8)
    numbers = comment.split('eps_inf="')[1].split('"')[0].split()
    assert float(numbers[1]) == pytest.approx(prediction.values["eps_inf"][0, 1])


def test_extxyz_keeps_labels_and_results_of_the_input(tmp_path: Path) -> None:
    atoms = crystals.rocksalt()
    labels = np.arange(18.0).reshape(2, 9)
    atoms.set_array("born_charges", labels)
    atoms.info["eps_inf"] = [1.0, 2.0]
    atoms.calc = SinglePointCalculator(atoms, energy=-3.5, forces=np.ones((2, 3)), stress=np.arange(6.0))
    prediction = made_up(atoms, "a", BORN)
    write_predictions([prediction], tmp_path / "out.extxyz")
    frame = ase.io.read(tmp_path / "out.extxyz")
    np.testing.assert_array_equal(frame.arrays["born_charges_input"], labels)
    assert list(frame.info["eps_inf_input"]) == [1.0, 2.0]
    assert frame.get_potential_energy() == -3.5
    np.testing.assert_array_equal(frame.get_forces(), np.ones((2, 3)))
    np.testing.assert_allclose(frame.get_stress(), np.arange(6.0))
    np.testing.assert_allclose(frame.arrays["born_charges"], prediction.values["born_charges"].reshape(2, 9), atol=1e-8)
    np.testing.assert_array_equal(atoms.arrays["born_charges"], labels)  # the input itself is not touched
    assert "voigt_model" not in atoms.info


def test_extxyz_takes_what_cif_readers_leave_in_info(examples: Path, tmp_path: Path) -> None:
    atoms = ase.io.read(examples / "SiO2-quartz.cif")
    assert "spacegroup" in atoms.info
    atoms.info["object"] = object()
    atoms.set_array("tensor", np.zeros((9, 3, 3)))
    write_predictions([made_up(atoms, "quartz", BORN)], tmp_path / "out.extxyz")
    frame = ase.io.read(tmp_path / "out.extxyz")
    assert frame.info["id"] == "quartz"
    assert frame.arrays["tensor"].shape == (9, 9)


def test_parquet(predictions: list[Prediction], tmp_path: Path) -> None:
    path = tmp_path / "out.parquet"
    assert write_predictions(predictions, path) == 2
    table = pq.read_table(path)
    assert table.column("id").to_pylist() == ["0012", "quartz"]
    assert table.column("formula").to_pylist() == ["NaCl", "SiO2"]
    assert table.column("spacegroup").to_pylist() == [225, 154]
    born = table.column("born_charges").to_pylist()
    np.testing.assert_array_equal(np.reshape(born[1], (9, 3, 3)), predictions[1].values["born_charges"])
    eps = table.column("eps_inf")[0].as_py()
    np.testing.assert_array_equal(np.reshape(eps, (3, 3)), predictions[0].values["eps_inf"])
    assert table.column("eps_inf_spread")[0].as_py() == pytest.approx(np.linalg.norm(predictions[0].spread["eps_inf"]))
    norms = np.linalg.norm(predictions[1].spread["born_charges"], axis=(1, 2))
    assert table.column("born_charges_spread")[1].as_py() == pytest.approx(norms.mean())
    assert table.column("warnings")[1].as_py() == ["first warning", "second"]
    for name in BORN:
        assert table.column(f"{name}_model").to_pylist() == ["tiny"] * 2
        assert table.column(f"{name}_functional").to_pylist() == ["PBEsol"] * 2
    assert table.schema.field("born_charges").metadata[b"unit"] == b"e"


def test_parquet_of_many_row_groups(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("voigt.writers.parquet.ROWS", 2)
    many = [made_up(crystals.rocksalt(), f"n{k}", ("eps_inf",), seed=k, members=1) for k in range(5)]
    assert write_predictions(iter(many), tmp_path / "out.parquet") == 5
    assert pq.ParquetFile(tmp_path / "out.parquet").num_row_groups == 3
    table = pq.read_table(tmp_path / "out.parquet")
    assert table.column("id").to_pylist() == ["n0", "n1", "n2", "n3", "n4"]
    assert table.column("eps_inf_spread").null_count == 5


def test_piezo_and_elastic_in_voigt_order_and_scalars(tmp_path: Path) -> None:
    prediction = made_up(crystals.quartz(), "q", ("piezo_total", "elastic", "band_gap"))
    for suffix in ("json", "extxyz", "parquet"):
        write_predictions([prediction], tmp_path / f"out.{suffix}")
    properties = json.loads((tmp_path / "out.json").read_text())[0]["properties"]
    frame = ase.io.read(tmp_path / "out.extxyz")
    table = pq.read_table(tmp_path / "out.parquet")
    piezo, elastic = prediction.values["piezo_total"], prediction.values["elastic"]
    expected = np.array([[piezo[i, j, k] for j, k in VOIGT_PAIRS] for i in range(3)])
    stiffness = np.array([[elastic[i, j, k, m] for k, m in VOIGT_PAIRS] for i, j in VOIGT_PAIRS])
    for name, matrix in (("piezo_total", expected), ("elastic", stiffness)):
        np.testing.assert_allclose(properties[name]["value"], matrix)
        np.testing.assert_allclose(np.reshape(frame.info[name], matrix.shape), matrix)
        np.testing.assert_allclose(np.reshape(table.column(name)[0].as_py(), matrix.shape), matrix)
    gap = float(prediction.values["band_gap"])
    assert properties["band_gap"]["value"] == pytest.approx(gap)
    assert frame.info["band_gap"] == pytest.approx(gap)
    assert table.column("band_gap")[0].as_py() == pytest.approx(gap)
    labeled = read_labeled(tmp_path / "out.extxyz", ("piezo_total", "elastic", "band_gap"))[0]
    np.testing.assert_allclose(labeled.targets["piezo_total"], piezo)
    np.testing.assert_allclose(labeled.targets["elastic"], elastic)


def test_every_property_keeps_its_model_and_functional(tmp_path: Path) -> None:
    prediction = shared(crystals.quartz())
    for suffix in ("json", "extxyz", "parquet", "csv"):
        write_predictions([prediction], tmp_path / f"out.{suffix}")
    models = {"elastic": "stiff", "eps_inf": "tiny", "born_charges": "tiny"}
    functionals = {"elastic": "PBE", "eps_inf": "PBEsol", "born_charges": "PBEsol"}
    entry = json.loads((tmp_path / "out.json").read_text())[0]
    assert (entry["models"], entry["functionals"]) == (models, functionals)
    assert list(entry["properties"]) == list(models)
    info = ase.io.read(tmp_path / "out.extxyz").info
    row = pq.read_table(tmp_path / "out.parquet").to_pylist()[0]
    for name, model in models.items():
        for found in (info, row):
            assert (found[f"{name}_model"], found[f"{name}_functional"]) == (model, functionals[name])
    assert not {"voigt_model", "voigt_functional"} & set(info)
    np.testing.assert_array_equal(np.reshape(row["elastic"], (6, 6)), entry["properties"]["elastic"]["value"])


def test_a_functional_that_no_model_states_is_absent(tmp_path: Path) -> None:
    prediction = replace(made_up(crystals.rocksalt(), "a", ("eps_inf",)), functionals={"eps_inf": None})
    for suffix in ("json", "extxyz", "parquet"):
        write_predictions([prediction], tmp_path / f"out.{suffix}")
    assert json.loads((tmp_path / "out.json").read_text())[0]["functionals"] == {"eps_inf": None}
    assert not [key for key in ase.io.read(tmp_path / "out.extxyz").info if "functional" in key]
    assert pq.read_table(tmp_path / "out.parquet").column("eps_inf_functional").to_pylist() == [None]


def test_a_crystal_without_one_of_the_properties(tmp_path: Path) -> None:
    """The first crystal decides neither the columns nor whether there are any."""
    names = ("born_charges", "elastic")
    crystals_of_both = [
        made_up(crystals.rocksalt(), "a", ("elastic",)),
        made_up(crystals.rocksalt(), "b", names),
        made_up(crystals.rocksalt(), "c", ("born_charges",)),
    ]
    for suffix in ("json", "csv", "extxyz", "parquet"):
        write_predictions(crystals_of_both, tmp_path / f"out.{suffix}", names)
    table = pq.read_table(tmp_path / "out.parquet")
    for name, absent in (("born_charges", 0), ("elastic", 2)):
        for column in (name, f"{name}_model", f"{name}_functional", f"{name}_spread"):
            assert [value is None for value in table.column(column).to_pylist()] == [k == absent for k in range(3)]
    with (tmp_path / "out.csv").open(newline="") as stream:
        assert [row["id"] for row in csv.DictReader(stream)] == ["b", "b", "c", "c"]
    assert [list(entry["properties"]) for entry in json.loads((tmp_path / "out.json").read_text())] == [
        ["elastic"],
        ["born_charges", "elastic"],
        ["born_charges"],
    ]
    frames = ase.io.read(tmp_path / "out.extxyz", ":")
    assert ["elastic" in frame.info for frame in frames] == [True, True, False]
    write_predictions(crystals_of_both, tmp_path / "crystals.csv", ("elastic",))
    with (tmp_path / "crystals.csv").open(newline="") as stream:
        assert [bool(row["elastic_xx_xx"]) for row in csv.DictReader(stream)] == [True, True, False]


SUFFIXES = ["json", "csv", "extxyz", "parquet"]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_nothing_to_write_is_an_empty_file_of_its_format(suffix: str, tmp_path: Path) -> None:
    assert write_predictions([], tmp_path / f"out.{suffix}") == 0
    assert (tmp_path / f"out.{suffix}").exists()
    if suffix == "parquet":
        assert pq.read_table(tmp_path / "out.parquet").num_rows == 0
    if suffix == "json":
        assert json.loads((tmp_path / "out.json").read_text()) == []


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("moment", ["writing", "closing"])
def test_a_full_disk_leaves_the_old_file(
    predictions: list[Prediction], suffix: str, moment: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / f"out.{suffix}"
    path.write_text("old")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def breaking() -> Iterator[Prediction]:
        yield predictions[0]
        full()

    if moment == "closing":
        monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match=r"No space left on device; free space or choose another place"):
        write_predictions(breaking() if moment == "writing" else predictions, path)
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_unknown_suffix_and_missing_folder(predictions: list[Prediction], tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"unknown format '.txt'; choose one of .json, .csv, .extxyz, .xyz, .parquet"):
        write_predictions(predictions, tmp_path / "out.txt")
    with pytest.raises(OutputError, match="No such file or directory"):
        write_predictions(predictions, tmp_path / "none" / "out.json")
