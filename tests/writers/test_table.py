"""The table shows the right numbers beside the right names."""

from __future__ import annotations

import re
from dataclasses import replace

import ase
import numpy as np
import pytest
import torch
from tests import crystals
from tests.predictions import made_up, shared

from voigt.structures.symmetry import find_symmetry
from voigt.tensors.projection import project_crystal
from voigt.tensors.voigt import elastic_from_voigt
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
    "anatase, body-centered": (crystals.anatase(), ["4b"] * 4 + ["8e"] * 8),
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
    text = plain_text(prediction_lines(prediction))
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
    lines = plain_text(prediction_lines(prediction, all_atoms=True)).splitlines()
    heading = next(k for k, line in enumerate(lines) if line.startswith("atom"))
    assert "spread" not in "\n".join(lines)
    rows = [numbers(line, 9) for line in lines[heading + 1 : heading + 10]]
    np.testing.assert_allclose(rows, prediction.values["born_charges"].reshape(9, 9), atol=5.1e-4)


def test_voigt_matrices_and_scalars() -> None:
    prediction = made_up(crystals.quartz(), "q", ("piezo_total", "elastic", "band_gap"))
    lines = plain_text(prediction_lines(prediction)).splitlines()
    headings = [k for k, line in enumerate(lines) if line.split() == ["xx", "yy", "zz", "yz", "zx", "xy"]]
    piezo, elastic = prediction.values["piezo_total"], prediction.values["elastic"]
    assert numbers(lines[headings[0] + 1], 6)[3] == pytest.approx(piezo[0, 1, 2], abs=5.1e-4)
    assert lines[headings[0] + 1].split()[0] == "x"
    assert numbers(lines[headings[1] + 4], 6)[5] == pytest.approx(elastic[1, 2, 0, 1], abs=5.1e-4)
    assert lines[headings[1] + 4].split()[0] == "yz"
    assert float(lines[lines.index("Band gap band_gap, eV") + 1]) == pytest.approx(
        float(prediction.values["band_gap"]), abs=5.1e-4
    )


def table_of(atoms: ase.Atoms, name: str, tensor: np.ndarray, **changes: object) -> list[str]:
    """Lines below the header for one crystal tensor, projected onto the crystal's symmetry."""
    prediction = made_up(atoms, "a", (name,), members=1)
    projected = project_crystal(torch.tensor(tensor), torch.tensor(prediction.symmetry.rotations), tensor.ndim)
    prediction = replace(prediction, values={name: projected.numpy()}, symmetrized=True, **changes)
    return plain_text(prediction_lines(prediction)).splitlines()[2:]


# Stiffness of MgO (GPa), Landolt-Boernstein: C11 = 297, C12 = 95, C44 = 156. For cubic crystals K = (C11 + 2 C12) / 3,
# G_V = (C11 - C12 + 3 C44) / 5, G_R = 5 (C11 - C12) C44 / (4 C44 + 3 (C11 - C12)), and A_U = 5 G_V / G_R - 5.
def cubic_stiffness(c11: float = 297.0, c12: float = 95.0, c44: float = 156.0) -> np.ndarray:
    matrix = np.diag([c11 - c12] * 3 + [c44] * 3)
    matrix[:3, :3] += c12
    return elastic_from_voigt(matrix)


def test_zeros_and_independent_components_of_a_cubic_crystal() -> None:
    lines = table_of(crystals.rocksalt(), "elastic", cubic_stiffness())
    expected = [
        "xx  297.000*   95.000*   95.000      ·         ·         ·",
        "yy   95.000   297.000    95.000      ·         ·         ·",
        "zz   95.000    95.000   297.000      ·         ·         ·",
        "yz     ·         ·         ·      156.000*     ·         ·",
        "zx     ·         ·         ·         ·      156.000      ·",
        "xy     ·         ·         ·         ·         ·      156.000",
    ]
    assert lines[2:8] == [f"  {row}" for row in expected]
    assert lines[8] == "crystal system cubic (m-3m): 3 independent components (*), · zero by symmetry"
    voigt, reuss = (202 + 3 * 156) / 5, 5 * 202 * 156 / (4 * 156 + 3 * 202)
    bulk, shear = (297 + 2 * 95) / 3, (voigt + reuss) / 2
    assert lines[9] == (
        f"bulk modulus K_H {bulk:.1f} GPa, shear modulus G_H {shear:.1f} GPa, Young E "
        f"{9 * bulk * shear / (3 * bulk + shear):.1f} GPa, Poisson nu "
        f"{(3 * bulk - 2 * shear) / (6 * bulk + 2 * shear):.3f}"
    )
    assert lines[10] == (
        f"universal anisotropy {5 * voigt / reuss - 5:.3f}, mechanically stable (smallest eigenvalue 202.0 GPa)"
    )


def test_columns_stay_below_their_headings() -> None:
    rng = np.random.default_rng(0)
    for atoms, name in ((crystals.quartz(), "piezo_total"), (crystals.nameless(), "elastic")):
        prediction = made_up(atoms, "a", (name,))
        lines = table_of(atoms, name, prediction.values[name] * rng.uniform(1, 100))
        rows = lines[2 : 5 if name == "piezo_total" else 8]
        ends = [match.end() for match in re.finditer(r"\S+", lines[1])]
        for row in rows:
            points = [match.start() for match in re.finditer(r"[.·]", row)]
            assert points == [end - 4 for end in ends]


def test_no_marks_without_symmetry() -> None:
    prediction = made_up(crystals.rocksalt(), "a", ("eps_inf",))
    assert not prediction.symmetrized
    text = plain_text(prediction_lines(prediction))
    assert not re.search(r"[*·]|crystal system", text)


def test_a_tensor_that_vanishes() -> None:
    lines = table_of(crystals.rocksalt(), "piezo_total", np.zeros((3, 3, 3)))
    assert [row.split()[1:] for row in lines[2:5]] == [["·"] * 6] * 3
    assert lines[5] == "crystal system cubic (m-3m): no component allowed, · zero by symmetry"


def test_a_cell_that_hides_operations_says_so() -> None:
    """Doubled along a, wurtzite keeps mm2 of its 6mm: 5 piezoelectric constants in place of 3."""
    atoms = crystals.wurtzite() * (2, 1, 1)
    lines = table_of(atoms, "piezo_total", made_up(atoms, "a", ("piezo_total",)).values["piezo_total"])
    said = "crystal system hexagonal (6mm, 4 of its 12 operations in this cell): 5 independent components (*)"
    assert lines[5].startswith(said)


def test_a_triclinic_crystal_has_no_zeros() -> None:
    atoms = crystals.nameless()
    lines = table_of(atoms, "eps_inf", np.array([[4.0, 0.1, 0.2], [0.1, 5.0, 0.3], [0.2, 0.3, 6.0]]))
    assert lines[5] == "crystal system triclinic (1): 6 independent components (*)"
    assert [row.count("*") for row in lines[2:5]] == [3, 2, 1]


def test_refraction_below_the_dielectric_tensor() -> None:
    quartz = table_of(crystals.quartz(), "eps_inf", np.diag([1.544**2, 1.544**2, 1.553**2]))
    assert "refractive indices 1.544, 1.544, 1.553, birefringence 0.009 (uniaxial, positive)" in quartz
    salt = table_of(crystals.rocksalt(), "eps_inf", 1.544**2 * np.eye(3))
    assert "refractive index 1.544 (isotropic)" in salt


def test_tensors_that_make_no_sense_have_no_derived_numbers() -> None:
    lines = table_of(crystals.rocksalt(), "elastic", cubic_stiffness(c44=-10.0))
    assert lines[9] == "not mechanically stable: smallest eigenvalue -20.0 GPa, no averages"
    assert len(lines) == 11
    for tensor in (-np.eye(3), np.full((3, 3), np.nan)):
        assert "refractive" not in "\n".join(table_of(crystals.rocksalt(), "eps_inf", tensor))


def test_on_a_terminal_style_tells_independent_components() -> None:
    prediction = replace(made_up(crystals.rocksalt(), "a", ("eps_inf",)), symmetrized=True)
    prediction.values["eps_inf"][:] = 3 * np.eye(3)
    marked, styled = (plain_text(prediction_lines(prediction, terminal=value)) for value in (False, True))
    assert "(*)" in marked
    assert "(bold)" in styled
    assert styled.replace("(bold)", "(*)") == marked.replace("*", " ").replace("( )", "(*)")
    text = rich_text(prediction_lines(prediction, terminal=True))
    bold = [text.plain[span.start : span.end].strip() for span in text.spans if span.style == "bold"]
    assert bold[1:] == ["3.000"]  # after the header


def test_labels_that_differ_stand_behind_the_titles() -> None:
    lines = plain_text(prediction_lines(shared(crystals.quartz()))).splitlines()
    assert lines[0] == "SiO2  P3_221 (154)  9 atoms  id two  models stiff, tiny"
    assert "Elastic tensor elastic, GPa  model stiff  functional PBE" in lines
    assert "High-frequency dielectric tensor eps_inf  model tiny  functional PBEsol" in lines
    alike = replace(shared(crystals.quartz()), functionals=dict.fromkeys(("elastic", "eps_inf", "born_charges"), "PBE"))
    lines = plain_text(prediction_lines(alike)).splitlines()
    assert lines[0].endswith("models stiff, tiny  functional PBE")
    assert "Elastic tensor elastic, GPa  model stiff" in lines


def test_zero_has_no_sign() -> None:
    prediction = made_up(crystals.rocksalt(), "a", ("eps_inf",))
    prediction.values["eps_inf"][:] = -1e-9
    assert "-0.000" not in plain_text(prediction_lines(prediction))


def test_a_terminal_gets_the_same_text() -> None:
    lines = prediction_lines(made_up(crystals.quartz(), "a[bold]b", ("born_charges", "eps_inf")))
    assert rich_text(lines).plain == plain_text(lines)


def test_large_numbers_keep_their_columns_apart() -> None:
    prediction = made_up(crystals.rocksalt(), "a", ("born_charges",))
    prediction.values["born_charges"][:] = -123.4567
    row = plain_text(prediction_lines(prediction)).splitlines()[4]
    assert numbers(row, 10)[:9] == [-123.457] * 9
