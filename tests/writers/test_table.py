"""The table shows the right numbers beside the right names."""

from __future__ import annotations

import numpy as np
import pytest
from tests import crystals
from tests.predictions import made_up

from voigt.structures.symmetry import find_symmetry
from voigt.writers.table import plain_text, prediction_lines, rich_text, site_labels

# Multiplicity and Wyckoff letter of every site as the International Tables, vol. A, and the papers behind the
# structures give them.
SITES = {
    "NaCl primitive": (crystals.rocksalt(), ["4a", "4b"]),
    "NaCl conventional": (crystals.rocksalt(cubic=True), ["4a", "4b"] * 4),
    "NaCl supercell": (crystals.rocksalt() * (2, 2, 2), ["4a", "4b"] * 8),
    "ZnO": (crystals.wurtzite(), ["2b"] * 4),
    "CaF2": (crystals.fluorite(), ["4a", "8c", "8c"]),
    "quartz": (crystals.quartz(), ["3a"] * 3 + ["6c"] * 6),
    "corundum, rhombohedral lattice": (crystals.corundum(), ["12c"] * 12 + ["18e"] * 18),
    "anatase, body-centred": (crystals.anatase(), ["4b"] * 4 + ["8e"] * 8),
    "no symmetry": (crystals.nameless(), ["1a"] * 4),
    "supercell that hides the sixfold axis": (crystals.wurtzite() * (2, 1, 1), ["b"] * 8),
}


@pytest.mark.parametrize("name", SITES)
def test_multiplicity_does_not_depend_on_the_cell(name: str) -> None:
    atoms, expected = SITES[name]
    # Several settings of a group may exchange letters of equivalent sites (a and b in rock salt and anatase).
    found = site_labels(find_symmetry(atoms))
    exchangeable = str.maketrans("b", "a") if name.startswith(("NaCl", "anatase")) else {}
    assert [label.translate(exchangeable) for label in found] == [label.translate(exchangeable) for label in expected]


def numbers(line: str, count: int) -> list[float]:
    return [float(word) for word in line.split()[-count:]]


def test_one_row_for_each_independent_atom() -> None:
    prediction = made_up(crystals.quartz(), "SiO2-1", ("born_charges", "eps_inf"))
    text = plain_text(prediction_lines(prediction, "tiny"))
    lines = text.splitlines()
    assert lines[0].split("  ") == [
        *("SiO2", "P3_221 (154)", "9 atoms", "id SiO2-1", "model tiny", "functional PBEsol"),
    ]
    heading = next(k for k, line in enumerate(lines) if line.startswith("atom"))
    assert lines[heading].split() == [
        "atom",
        "el",
        "site",
        "xx",
        "xy",
        "xz",
        "yx",
        "yy",
        "yz",
        "zx",
        "zy",
        "zz",
        "spread",
    ]
    rows = lines[heading + 1 : heading + 3]
    z, spread = prediction.values["born_charges"], prediction.spread["born_charges"]
    for row, (index, element, site) in zip(rows, ((0, "Si", "3a"), (3, "O", "6c")), strict=True):
        assert row.split()[:3] == [str(index), element, site]
        expected = [*z[index].reshape(-1), np.linalg.norm(spread[index])]
        np.testing.assert_allclose(numbers(row, 10), expected, atol=5.1e-4)
    drift = abs(prediction.drift).max()
    assert f"{drift:.4f} e per cell, {drift / 9:.4f} e per atom" in text
    assert f"|T - PT|/|T|: {prediction.residual['born_charges']:.1e}" in text
    columns = next(k for k, line in enumerate(lines) if line.split() == ["x", "y", "z"])
    matrix = [numbers(line, 3) for line in lines[columns + 1 : columns + 4]]
    np.testing.assert_allclose(matrix, prediction.values["eps_inf"], atol=5.1e-4)
    assert "Z[atom, field, displacement], e" in text


def test_all_atoms_and_a_single_network() -> None:
    prediction = made_up(crystals.quartz(), "q", ("born_charges",), members=1)
    lines = plain_text(prediction_lines(prediction, "tiny", all_atoms=True)).splitlines()
    heading = next(k for k, line in enumerate(lines) if line.startswith("atom"))
    assert "spread" not in "\n".join(lines)
    rows = [numbers(line, 9) for line in lines[heading + 1 : heading + 10]]
    np.testing.assert_allclose(rows, prediction.values["born_charges"].reshape(9, 9), atol=5.1e-4)


def test_voigt_matrices_and_scalars() -> None:
    prediction = made_up(crystals.quartz(), "q", ("piezo_total", "elastic", "band_gap"))
    lines = plain_text(prediction_lines(prediction, "tiny")).splitlines()
    headings = [k for k, line in enumerate(lines) if line.split() == ["xx", "yy", "zz", "yz", "zx", "xy"]]
    piezo, elastic = prediction.values["piezo_total"], prediction.values["elastic"]
    assert numbers(lines[headings[0] + 1], 6)[3] == pytest.approx(piezo[0, 1, 2], abs=5.1e-4)
    assert lines[headings[0] + 1].split()[0] == "x"
    assert numbers(lines[headings[1] + 4], 6)[5] == pytest.approx(elastic[1, 2, 0, 1], abs=5.1e-4)
    assert lines[headings[1] + 4].split()[0] == "yz"
    assert float(lines[lines.index("Band gap band_gap, eV") + 1]) == pytest.approx(
        float(prediction.values["band_gap"]), abs=5.1e-4
    )


def test_zero_has_no_sign() -> None:
    prediction = made_up(crystals.rocksalt(), "a", ("eps_inf",))
    prediction.values["eps_inf"][:] = -1e-9
    assert "-0.000" not in plain_text(prediction_lines(prediction, "tiny"))


def test_a_terminal_gets_the_same_text() -> None:
    lines = prediction_lines(made_up(crystals.quartz(), "a[bold]b", ("born_charges", "eps_inf")), "tiny")
    assert rich_text(lines).plain == plain_text(lines)


def test_large_numbers_keep_their_columns_apart() -> None:
    prediction = made_up(crystals.rocksalt(), "a", ("born_charges",))
    prediction.values["born_charges"][:] = -123.4567
    row = plain_text(prediction_lines(prediction, "tiny")).splitlines()[4]
    assert numbers(row, 10)[:9] == [-123.457] * 9
