"""Half-widths of 90 % intervals in tables and files: there where they are known, and nowhere else."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import ase.io
import numpy as np
import pyarrow.parquet as pq
import pytest
from tests import crystals
from tests.predictions import made_up

from voigt.prediction.result import Prediction, merge
from voigt.writers import write_predictions
from voigt.writers.table import plain_text, prediction_lines

NAMES = ("born_charges", "eps_inf", "elastic", "band_gap")


@pytest.fixture
def quartz() -> Prediction:
    """Its elastic tensor has no interval."""
    prediction = made_up(crystals.quartz(), "quartz", NAMES, members=1)
    widths = np.where(prediction.symmetry.orbits == prediction.symmetry.orbits[0], 0.25, 0.125)
    return replace(prediction, interval={"born_charges": widths, "eps_inf": np.array(0.5), "band_gap": np.array(0.75)})


def test_json(quartz: Prediction, tmp_path: Path) -> None:
    write_predictions([quartz], tmp_path / "out.json")
    properties = json.loads((tmp_path / "out.json").read_text())[0]["properties"]
    assert properties["born_charges"]["interval"] == quartz.interval["born_charges"].tolist()
    assert (properties["eps_inf"]["interval"], properties["band_gap"]["interval"]) == (0.5, 0.75)
    assert properties["elastic"]["interval"] is None


def test_csv(quartz: Prediction, tmp_path: Path) -> None:
    write_predictions([quartz], tmp_path / "atoms.csv")
    with (tmp_path / "atoms.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    np.testing.assert_allclose([float(row["interval"]) for row in rows], quartz.interval["born_charges"])
    write_predictions([quartz], tmp_path / "crystal.csv", ("eps_inf", "elastic", "band_gap"))
    with (tmp_path / "crystal.csv").open(newline="") as stream:
        (row,) = csv.DictReader(stream)
    assert (float(row["eps_inf_interval"]), float(row["band_gap_interval"])) == (0.5, 0.75)
    assert row["elastic_interval"] == ""
    assert float(row["elastic_xx_yy"]) == pytest.approx(quartz.values["elastic"][0, 0, 1, 1], rel=1e-6)


def test_extxyz(quartz: Prediction, tmp_path: Path) -> None:
    write_predictions([quartz], tmp_path / "out.extxyz")
    frame = ase.io.read(tmp_path / "out.extxyz")
    np.testing.assert_allclose(frame.arrays["born_charges_interval"], quartz.interval["born_charges"])
    assert (frame.info["eps_inf_interval"], frame.info["band_gap_interval"]) == (0.5, 0.75)
    assert "elastic_interval" not in frame.info


def test_parquet_has_the_largest_of_the_atoms(quartz: Prediction, tmp_path: Path) -> None:
    write_predictions([quartz], tmp_path / "out.parquet")
    table = pq.read_table(tmp_path / "out.parquet")
    (row,) = table.to_pylist()
    assert (row["born_charges_interval"], row["eps_inf_interval"], row["band_gap_interval"]) == (0.25, 0.5, 0.75)
    assert row["elastic_interval"] is None
    assert table.schema.field("born_charges_interval").metadata[b"unit"] == b"e"


def test_a_table_explains_them(quartz: Prediction) -> None:
    text = plain_text(prediction_lines(quartz))
    head, first, second = (line for line in text.splitlines() if line.lstrip().startswith(("atom ", "0 ", "3 ")))
    assert head.endswith("zz  ± (90 %)")
    assert first.endswith(" 0.250")
    assert second.endswith(" 0.125")
    assert len({len(head), len(first), len(second)}) == 1
    assert "± (90 %): Frobenius norm of the error\n" in text
    assert "± (90 %), Frobenius norm of the error: 0.500" in text
    assert "± (90 %): 0.750 eV" in text
    assert text.count("±") == 4
    assert "±" not in plain_text(prediction_lines(replace(quartz, interval={})))
    assert plain_text(prediction_lines(quartz, all_atoms=True)).count(" 0.250\n") == 3  # silicon


def test_spread_and_interval_have_a_column_each() -> None:
    prediction = made_up(crystals.rocksalt(), "salt", ("born_charges",))
    widths = {"born_charges": np.array([0.5, 0.5])}
    head, first = plain_text(prediction_lines(replace(prediction, interval=widths))).splitlines()[3:5]
    assert head.split()[-4:] == ["spread", "±", "(90", "%)"]
    assert float(first.split()[-1]) == 0.5
    assert float(first.split()[-2]) == pytest.approx(np.linalg.norm(prediction.spread["born_charges"][0]), abs=6e-4)


def test_console_and_notebook(quartz: Prediction) -> None:
    text = repr(replace(quartz, values={name: quartz.values[name] for name in ("born_charges", "eps_inf", "band_gap")}))
    born, permittivity, gap = text.splitlines()[1:4]
    assert "e, ± 0.125 to 0.25 (90 %); model tiny" in born
    assert ", ± 0.5 (90 %); model tiny" in permittivity
    assert "eV, ± 0.75 (90 %); model tiny" in gap
    html = quartz._repr_html_()
    assert "<th>± (90 %)</th>" in html
    assert "<td>0.250</td>" in html
    assert "<p>± (90 %), Frobenius norm of the error: 0.5</p>" in html
    assert "<p>± (90 %): 0.75 eV</p>" in html
    assert "±" not in replace(quartz, interval={})._repr_html_()


def test_several_models_keep_theirs(quartz: Prediction) -> None:
    second = replace(made_up(crystals.quartz(), "quartz", ("eps_total",)), interval={"eps_total": np.array(2.0)})
    merged = merge([quartz, second], ("eps_total", "band_gap", "eps_inf"))
    assert {name: float(width) for name, width in merged.interval.items()} == {
        "eps_total": 2.0,
        "band_gap": 0.75,
        "eps_inf": 0.5,
    }
