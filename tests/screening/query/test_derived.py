"""Scalars of crystals: closed forms, the functions for single tensors, other axes, and what is missing."""

from __future__ import annotations

import math

import numpy as np
import pyarrow as pa
import pytest
from scipy.stats import ortho_group
from tests import crystals
from tests.screening.made_stores import PROPERTIES, made_up_rows, positive, structure_row, to_table

from voigt.errors import InputError
from voigt.response.elasticity import born_stability, moduli
from voigt.response.optics import refractive_indices
from voigt.response.piezoelectricity import largest_longitudinal, norms
from voigt.screening.query import derived, invariants
from voigt.screening.query.derived import DERIVED, columns_of, derive, known_names, names_table, needed_columns
from voigt.tensors import properties
from voigt.tensors.voigt import elastic_from_voigt, piezo_from_voigt

TENSORS = {"eps_inf": 2, "eps_ionic": 2, "eps_total": 2, "piezo_total": 3, "piezo_clamped": 3, "elastic": 4}
OF_TENSORS = [name for name, entry in DERIVED.items() if entry.columns[0] in TENSORS]


def rotated(tensors: np.ndarray, r: np.ndarray) -> np.ndarray:
    """(n, 3, ..., 3) in other axes."""
    for axis in range(1, tensors.ndim):
        tensors = np.moveaxis(np.tensordot(tensors, r, axes=(axis, 1)), -1, axis)
    return tensors


def cubic_stiffness(c11: float, c12: float, c44: float) -> np.ndarray:
    matrix = np.diag([c11 - c12] * 3 + [c44] * 3).astype(float)
    matrix[:3, :3] += c12
    return elastic_from_voigt(matrix)


def random_tensors(count: int, seed: int) -> dict[str, np.ndarray]:
    """Tensors without any symmetry, those with bounds far from them."""
    rng = np.random.default_rng(seed)
    found = {
        name: np.array([1 + positive(rng, 3, 5.0) for _ in range(count)]) for name, rank in TENSORS.items() if rank == 2
    }
    found |= {name: piezo_from_voigt(rng.normal(size=(count, 3, 6))) for name, rank in TENSORS.items() if rank == 3}
    found["elastic"] = elastic_from_voigt(np.array([positive(rng, 6, 100.0) for _ in range(count)]))
    return found


def values_of(tensors: dict[str, np.ndarray], names: list[str]) -> dict[str, np.ndarray]:
    return derive({name: np.asarray(value) for name, value in tensors.items()}, names)


def one(name: str, tensor: np.ndarray) -> float:
    """A scalar of one tensor."""
    (column,) = needed_columns([name])
    return float(values_of({column: np.asarray(tensor)[None]}, [name])[name][0])


def test_permittivity_of_a_uniaxial_crystal():
    turn = ortho_group.rvs(3, random_state=1)
    rutile = turn @ np.diag([86.0, 86.0, 170.0]) @ turn.T  # Parker, Phys. Rev. 124, 1719 (1961)
    expected = {"": 114.0, "_min": 86.0, "_mid": 86.0, "_max": 170.0, "_anisotropy": 170 / 86}
    for suffix, value in expected.items():
        assert one(f"eps_total{suffix}", rutile) == pytest.approx(value)


def test_refraction_of_calcite():
    calcite = np.diag([1.658**2, 1.658**2, 1.486**2])
    assert one("birefringence", calcite) == pytest.approx(0.172)
    assert one("refractive_index", calcite) == pytest.approx((2 * 1.658 + 1.486) / 3)
    assert one("birefringence", 2.4**2 * np.eye(3)) == pytest.approx(0, abs=1e-12)


def test_no_refraction_without_a_positive_tensor():
    metal = np.diag([-1.0, 2.0, 3.0])
    for name in ("refractive_index", "birefringence", "eps_inf_anisotropy"):
        assert math.isnan(one(name, metal))
    assert one("eps_inf_min", metal) == -1
    assert one("eps_ionic_anisotropy", np.diag([0.0, 1.0, 2.0])) == np.inf


def test_moduli_of_a_cubic_crystal():
    c11, c12, c44 = 168.4, 121.4, 75.4  # copper, Overton and Gaffney, Phys. Rev. 98, 969 (1955)
    copper = cubic_stiffness(c11, c12, c44)
    voigt = (c11 - c12 + 3 * c44) / 5
    reuss = 5 * (c11 - c12) * c44 / (4 * c44 + 3 * (c11 - c12))
    k, g = (c11 + 2 * c12) / 3, (voigt + reuss) / 2
    expected = {
        "bulk_modulus": k,
        "shear_modulus": g,
        "youngs_modulus": 9 * k * g / (3 * k + g),
        "poisson_ratio": (3 * k - 2 * g) / (6 * k + 2 * g),
        "pugh_ratio": k / g,
        "elastic_anisotropy": 5 * voigt / reuss - 5,
        "elastic_min": c11 - c12,
    }
    for name, value in expected.items():
        assert one(name, copper) == pytest.approx(value)


def test_an_unstable_crystal_has_no_moduli():
    soft = cubic_stiffness(100.0, 120.0, 40.0)  # C11 < C12
    assert one("elastic_min", soft) == pytest.approx(-20)
    for name in ("bulk_modulus", "youngs_modulus", "elastic_anisotropy"):
        assert math.isnan(one(name, soft))


def test_piezoelectricity_of_zinc_blende():
    matrix = np.zeros((3, 6))
    matrix[[0, 1, 2], [3, 4, 5]] = -0.16
    tensor = piezo_from_voigt(matrix)
    assert one("piezo_total_max", tensor) == pytest.approx(2 * 0.16 / np.sqrt(3))
    assert one("piezo_total_norm", tensor) == pytest.approx(0.16 * np.sqrt(6))
    assert one("piezo_total_max", np.zeros((3, 3, 3))) == 0


def test_as_the_functions_for_single_tensors():
    tensors = random_tensors(20, 2)
    found = values_of(tensors, OF_TENSORS)
    optics = [refractive_indices(tensor) for tensor in tensors["eps_inf"]]
    np.testing.assert_allclose(found["refractive_index"], [entry.mean_index for entry in optics])
    np.testing.assert_allclose(found["birefringence"], [entry.birefringence for entry in optics])
    np.testing.assert_allclose(found["eps_inf"], [entry.mean_permittivity for entry in optics])
    average = moduli(tensors["elastic"])
    for name, key in [("bulk_modulus", "bulk_hill"), ("shear_modulus", "shear_hill"), ("youngs_modulus", "young"),
                      ("poisson_ratio", "poisson"), ("pugh_ratio", "pugh"),
                      ("elastic_anisotropy", "universal_anisotropy")]:  # fmt: skip
        np.testing.assert_allclose(found[name], getattr(average, key))
    np.testing.assert_allclose(found["elastic_min"], born_stability(tensors["elastic"]).smallest_eigenvalue)
    np.testing.assert_allclose(found["piezo_total_norm"], norms(tensors["piezo_total"]).frobenius)


def awkward_piezo() -> np.ndarray:
    """Tensors whose longitudinal surface has rings, many equal peaks, nearly equal peaks, or is zero."""
    rng = np.random.default_rng(3)
    uniaxial = []
    for e31, e33, e15 in [(0, 1, 0), (-2.69, 3.65, 21.3), (1, 0, 0), (0.3, -1, 0.2), (-1, 0, 0.5)]:
        matrix = np.zeros((3, 6))
        matrix[2, :3] = e31, e31, e33
        matrix[0, 4] = matrix[1, 3] = e15
        uniaxial.append(matrix)
    quartz = np.zeros((3, 6))
    quartz[0, :2], quartz[1, 5] = (0.171, -0.171), -0.171
    cube = np.zeros((3, 6))
    cube[[0, 1, 2], [3, 4, 5]] = 1.0
    exact = [*uniaxial, quartz, cube, np.zeros((3, 6))]
    near = [
        base + scale * rng.normal(size=(3, 6))
        for base in (quartz, cube, uniaxial[1], uniaxial[3])
        for scale in (1e-3, 1e-2, 0.05)
        for _ in range(8)
    ]
    sizes = [1e-9 * rng.normal(size=(3, 6)), 1e6 * rng.normal(size=(3, 6))]
    return piezo_from_voigt(np.array([*exact, *near, *sizes]))


def test_largest_longitudinal_as_the_search_for_one_tensor():
    tensors = np.concatenate([awkward_piezo(), random_tensors(40, 4)["piezo_total"]])
    expected = np.array([largest_longitudinal(tensor).value for tensor in tensors])
    np.testing.assert_allclose(invariants.largest_longitudinal(tensors), expected, rtol=1e-9, atol=1e-15)


def test_largest_longitudinal_is_never_below_any_direction():
    tensors = random_tensors(1500, 5)["piezo_total"]
    n = np.random.default_rng(6).normal(size=(4000, 3))
    n /= np.linalg.norm(n, axis=1, keepdims=True)
    products = np.einsum("di,dj,dk->ijkd", n, n, n).reshape(27, -1)
    sampled = np.abs(tensors.reshape(-1, 27) @ products).max(axis=1)
    found = invariants.largest_longitudinal(tensors)
    assert (found >= sampled).all()
    assert (found <= 1.02 * sampled).all()


def test_any_axes_will_do():
    tensors = random_tensors(10, 7)
    before = values_of(tensors, OF_TENSORS)
    assert len(OF_TENSORS) == 28
    for seed, mirrored in [(8, False), (9, True)]:
        r = ortho_group.rvs(3, random_state=seed)
        r *= np.sign(np.linalg.det(r)) * (-1 if mirrored else 1)
        after = values_of({name: rotated(value, r) for name, value in tensors.items()}, OF_TENSORS)
        for name in OF_TENSORS:
            assert np.std(before[name]) > 0
            np.testing.assert_allclose(after[name], before[name], rtol=1e-8, err_msg=name)


def test_born_charges_in_other_axes():
    rng = np.random.default_rng(10)
    charges = rng.normal(size=(5, 3, 3))
    r = ortho_group.rvs(3, random_state=11)
    kind = pa.list_(pa.float64())
    rows = [charges[:2].ravel(), None, charges[2:].ravel(), np.array([]), rotated(charges[:2], r).ravel()]
    found = columns_of(pa.table({"born_charges": pa.array(rows, kind)}), ["born_charges_max"])["born_charges_max"]
    means = np.abs(np.trace(charges, axis1=1, axis2=2) / 3)
    np.testing.assert_allclose(found, [means[:2].max(), np.nan, means[2:].max(), np.nan, means[:2].max()])


def test_scalars_of_the_structure():
    cells = [crystals.rocksalt(), crystals.rocksalt(cubic=True), crystals.perovskite(), crystals.rutile()]
    names = ["num_atoms", "num_elements", "volume", "volume_per_atom", "density", "spacegroup", "num_unseen"]
    rows = [structure_row(atoms, str(place)) for place, atoms in enumerate(cells)]
    rows[2] |= {"spacegroup": 221, "unseen": ["Sr", "Ti"]}
    found = columns_of(to_table(rows), names)
    np.testing.assert_array_equal(found["num_atoms"], [2, 8, 5, 6])
    np.testing.assert_array_equal(found["num_elements"], [2, 2, 3, 2])
    np.testing.assert_allclose(found["volume"], [5.64**3 / 4, 5.64**3, 3.905**3, 4.594**2 * 2.959])
    np.testing.assert_allclose(found["volume_per_atom"], found["volume"] / [2, 8, 5, 6])
    # CRC Handbook: halite 2.17, strontium titanate 5.1, rutile 4.23 g/cm^3.
    np.testing.assert_allclose(found["density"], [2.17, 2.17, 5.11, 4.25], rtol=0.005)
    np.testing.assert_array_equal(found["spacegroup"], [np.nan, np.nan, 221, np.nan])
    np.testing.assert_array_equal(found["num_unseen"], [0, 0, 2, 0])


def test_elements_of_formulas():
    table = pa.table({"formula": ["BaTiO3", "PbO", "P2O5", "CO", "Co", None, "CH3NH3PbI3"]})
    found = columns_of(table, ['has("P")', 'has("Pb")', 'has("Co")', 'has("C")', "num_elements"])
    np.testing.assert_array_equal(found['has("P")'], [0, 0, 1, 0, 0, np.nan, 0])
    np.testing.assert_array_equal(found['has("Pb")'], [0, 1, 0, 0, 0, np.nan, 1])
    np.testing.assert_array_equal(found['has("Co")'], [0, 0, 0, 0, 1, np.nan, 0])
    np.testing.assert_array_equal(found['has("C")'], [0, 0, 0, 1, 0, np.nan, 1])
    np.testing.assert_array_equal(found["num_elements"], [3, 2, 2, 2, 1, np.nan, 5])


def test_missing_values_stay_in_their_row():
    rows = made_up_rows(60, 12, missing=0.3)
    names = [name for name in known_names() if set(needed_columns([name])) <= set(to_table(rows).column_names)]
    assert len(names) > 40
    table = pa.concat_tables([to_table(rows[:7]), to_table(rows[7:])]).slice(3)  # chunks and an offset
    found = columns_of(table, names)
    for name in names:
        column = needed_columns([name])[0]
        gone = [row.get(column) is None for row in rows[3:]]
        np.testing.assert_array_equal(np.isnan(found[name]), gone, err_msg=name)
    alone = [columns_of(to_table([row]), names) for row in rows[3:9]]
    for name in names:
        np.testing.assert_allclose(found[name][:6], [entry[name][0] for entry in alone], rtol=1e-10)


def test_nothing_at_all():
    names = [name for name in (*OF_TENSORS, "density", "born_charges_max") if "clamped" not in name]
    found = columns_of(to_table([]), names)
    assert all(value.shape == (0,) for value in found.values())
    empty = columns_of(
        to_table([structure_row(crystals.rutile(), "a")]), ["eps_total_max", "bulk_modulus", "piezo_total_max"]
    )
    assert all(np.isnan(value).all() and value.shape == (1,) for value in empty.values())


def test_tensors_with_components_that_are_no_numbers():
    row = structure_row(crystals.rutile(), "a") | {
        "eps_total": [1.0, np.nan, 0, 0, 1, 0, 0, 0, 1],
        "elastic": [np.inf] * 36,
    }
    found = columns_of(to_table([row]), ["eps_total_max", "bulk_modulus", "elastic_min"])
    assert all(np.isnan(value).all() for value in found.values())


def test_what_a_store_lacks_is_said():
    table = to_table([structure_row(crystals.rutile(), "a")], ("band_gap",))
    with pytest.raises(
        InputError, match=r"eps_total_max needs the column eps_total, .* with eps_total among the --prop"
    ):
        columns_of(table, ["band_gap", "eps_total_max"])
    with pytest.raises(InputError, match=r"drift needs .* with born_charges among"):
        columns_of(table, ["drift"])
    with pytest.raises(InputError, match="density needs the column numbers, volume"):
        columns_of(table.select(["id"]), ["density"])
    with pytest.raises(InputError, match="unknown name 'eps_totl'; did you mean eps_total"):
        columns_of(table, ["eps_totl"])
    wrong = to_table([structure_row(crystals.rutile(), "a") | {"eps_total": [1.0] * 6}])
    with pytest.raises(InputError, match="'eps_total' of a screening holds a list of 6 numbers instead of 9"):
        columns_of(wrong, ["eps_total"])
    with pytest.raises(InputError, match="'eps_total' of a screening has the type double"):
        columns_of(pa.table({"eps_total": [1.0]}), ["eps_total"])


def test_needed_columns():
    assert needed_columns(["eps_total_max", "eps_total", 'has("O")', "density", "num_elements"]) == [
        "eps_total", "formula", "numbers", "volume",
    ]  # fmt: skip


def test_names_are_documented():
    table = names_table()
    assert [name for name, _, _ in table] == list(known_names())
    assert len(set(known_names())) == len(known_names()) == len(DERIVED)
    assert all(unit and meaning and "\n" not in meaning and "|" not in unit for _, unit, meaning in table)
    bare = {name for name in properties.PROPERTIES if name in known_names()}
    assert bare == {"eps_inf", "eps_ionic", "eps_total", "band_gap", "formation_energy"}
    for prop in properties.PROPERTIES:
        assert f"{prop}_spread" in known_names()


def test_as_a_prediction_is_stored():
    """All names of a store that the screening's own writer could make are computed."""
    table = to_table(made_up_rows(5, 16), PROPERTIES)
    for name in known_names():
        if DERIVED[name].properties and not set(DERIVED[name].properties) <= set(PROPERTIES):
            continue
        assert columns_of(table, [name])[name].shape == (5,)


def test_suggestions():
    assert derived.suggestion("bandgap") == "did you mean band_gap?"
    assert derived.suggestion("xyzzy") == "the documentation of screening lists the names"
