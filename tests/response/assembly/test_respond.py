"""All responses of a structure: closed forms where the potential has them, and what is said of every number."""

from __future__ import annotations

import ase
import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT
from scipy import constants
from tests import crystals
from tests.response.toy_potentials import BENDING, LATTICE, STRETCHING, keating

import voigt
from voigt.errors import DomainError, InputError
from voigt.response.assembly.combination import SOFTNESS
from voigt.tensors.voigt import elastic_to_voigt, piezo_to_voigt

GPA = 160.2176634  # per eV/Angstrom^3
COULOMB_PER_M2 = 16.02176634  # per e/Angstrom^2


def settings(**changes: object) -> voigt.ResponseSettings:
    content: dict[str, object] = {"calculator": keating(), "functional": "PBE", "dim": (2, 2, 2)}
    return voigt.ResponseSettings(**content | changes)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def zincblende() -> voigt.Response:
    return voigt.respond(crystals.zincblende(), settings())


def by_springs(response: voigt.Response, name: str) -> np.ndarray:
    """What the potential has a part in."""
    return response.routes[name][1].value


def test_the_stiffness_of_the_springs(zincblende):
    """Keating's crystal: C11 = (a + 3 b)/l, C12 = (a - b)/l, C44 = 4 a b/((a + b) l)."""
    a, b = STRETCHING, BENDING
    found = elastic_to_voigt(by_springs(zincblende, "elastic"))
    expected = np.array([a + 3 * b, a - b, 4 * a * b / (a + b)]) * GPA / LATTICE
    np.testing.assert_allclose([found[0, 0], found[0, 1], found[3, 3]], expected, rtol=1e-3)
    clamped = elastic_to_voigt(zincblende.quantities["elastic_clamped"].value)
    assert clamped[3, 3] == pytest.approx((a + b) * GPA / LATTICE, rel=1e-3)


def test_the_network_is_trusted_with_stiffness(zincblende):
    network = zincblende.prediction.values["elastic"]
    np.testing.assert_array_equal(zincblende.quantities["elastic"].value, network)
    c11, c12 = elastic_to_voigt(network)[0, :2]
    assert zincblende.moduli.bulk_hill == pytest.approx((c11 + 2 * c12) / 3, rel=1e-6)


def test_ions_add_charges_over_springs(zincblende):
    """eps_ionic = Z^2 e^2/(eps_0 V k) with k = 4 (a + b), and e14 = e14(clamped) + zeta Z/l^2; Z is predicted."""
    a, b = STRETCHING, BENDING
    values = {name: quantity.value for name, quantity in zincblende.quantities.items()}
    charge = abs(values["born_charges"][0, 0, 0])
    per_volume = constants.e / (constants.epsilon_0 * constants.angstrom) / (LATTICE**3 / 4)
    expected = charge**2 * per_volume / (4 * (a + b))
    assert by_springs(zincblende, "eps_ionic")[0, 0] == pytest.approx(expected, rel=1e-3)
    assert zincblende.infrared.response.eps_ionic[0, 0] == pytest.approx(expected, rel=1e-3)
    network = zincblende.prediction.values["eps_ionic"][0, 0]
    assert values["eps_ionic"][0, 0] == pytest.approx(((1 - SOFTNESS) * expected + network) / 2, rel=1e-3)
    np.testing.assert_allclose(values["eps_total"], values["eps_inf"] + values["eps_ionic"], atol=1e-9)
    zeta = (a - b) / (a + b)
    ionic, clamped = (piezo_to_voigt(values[name])[0, 3] for name in ("piezo_ionic", "piezo_clamped"))
    assert abs(ionic) == pytest.approx(zeta * charge / LATTICE**2 * COULOMB_PER_M2, rel=1e-3)
    total = piezo_to_voigt(values["piezo_total"])[0, 3]
    assert total == pytest.approx(ionic + clamped, abs=1e-9)
    c44 = elastic_to_voigt(values["elastic"])[3, 3]
    assert 2 * values["piezo_d"][0, 1, 2] == pytest.approx(1e3 * total / c44, rel=2e-3)
    assert values["eps_free"][0, 0] > values["eps_total"][0, 0]


def test_the_modes_see_the_same_charges(zincblende):
    """Lyddane, Sachs and Teller: (LO/TO)^2 = eps_0/eps_inf."""
    relation = zincblende.infrared.relations[0]
    assert relation.product == pytest.approx(relation.ratio, rel=1e-6)
    eps_inf = zincblende.quantities["eps_inf"].value[0, 0]
    assert relation.ratio == pytest.approx(by_springs(zincblende, "eps_total")[0, 0] / eps_inf, rel=1e-6)


def test_every_quantity_says_where_it_is_from(zincblende):
    for name, quantity in zincblende.quantities.items():
        assert quantity.route in ("predicted", "potential", "assembled", "combined"), name
        assert "model" in quantity.origin or "Toy" in quantity.origin, name
    assert zincblende.quantities["eps_inf"].interval > 0
    assert {name: [way.route for way in ways] for name, ways in zincblende.routes.items()} == {
        "eps_ionic": ["predicted", "assembled"],
        "eps_total": ["predicted", "assembled"],
        "elastic": ["predicted", "potential"],
    }
    assert set(zincblende.seconds) >= {"networks", "relaxation", "phonons", "strained cells"}
    # These springs are not those of ZnS, and that is said.
    assert any(note.kind == "routes_disagree" and note.properties == ("elastic",) for note in zincblende.notes)
    assert "piezo_d" in repr(zincblende)


def test_soft_crystals_are_left_to_the_network():
    """Springs of a hundredth: k = 4 (a + b)/100."""
    soft = voigt.respond(crystals.zincblende(), settings(calculator=keating(STRETCHING / 100, BENDING / 100)))
    lowest = min(entry.frequency for entry in soft.infrared.response.sets if entry.kind == "optical")
    assert 0 < lowest < 1.5
    assert soft.quantities["eps_total"].route == "predicted"
    np.testing.assert_array_equal(soft.quantities["eps_total"].value, soft.prediction.values["eps_total"])
    assert soft.routes["eps_total"][1].value[0, 0] > 20


def test_a_stretched_cell_comes_to_rest():
    stretched = crystals.zincblende()
    stretched.set_cell(stretched.cell.array * 1.01, scale_atoms=True)
    free = voigt.respond(stretched, settings(relax="cell", dim=(1, 1, 1)))
    assert free.atoms.get_volume() == pytest.approx(LATTICE**3 / 4, rel=1e-3)
    assert free.relaxation.volume_change == pytest.approx(1.01**-3 - 1, abs=1e-3)
    np.testing.assert_array_equal(free.given.cell.array, stretched.cell.array)


def test_a_turned_crystal_has_turned_tensors(zincblende):
    rotation = np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))[0]
    turned = crystals.zincblende()
    turned.set_cell(turned.cell.array @ rotation.T, scale_atoms=True)
    found = voigt.respond(turned, settings())
    for name in ("eps_total", "elastic", "piezo_total", "piezo_d"):
        tensor = zincblende.quantities[name].value
        for axis in range(tensor.ndim):
            tensor = np.moveaxis(np.tensordot(rotation, tensor, axes=(1, axis)), 0, axis)
        scale = np.abs(tensor).max()
        np.testing.assert_allclose(found.quantities[name].value, tensor, atol=2e-3 * scale, err_msg=name)


def test_metals_and_sheets_are_refused_before_any_work():
    with pytest.raises(DomainError, match="metal"):
        voigt.respond(bulk("Cu"), settings(calculator=EMT()))
    sheet = crystals.zincblende()
    sheet.set_cell([*sheet.cell.array[:2], [0, 0, 30.0]])
    with pytest.raises((DomainError, InputError)):
        voigt.respond(sheet, settings())


def test_one_crystal_at_a_time():
    with pytest.raises(InputError, match="more than one"):
        voigt.respond([crystals.zincblende(), crystals.zincblende()], settings())


def test_an_unstable_crystal_keeps_what_still_makes_sense():
    """k = 4 (a + b) < 0: charges, eps_inf and what networks know stay; what needs springs is named and left out."""
    found = voigt.respond(crystals.zincblende(), settings(calculator=keating(0.5, -0.7), relax="none"))
    assert {"born_charges", "eps_inf", "eps_total"} <= set(found.quantities)
    assert found.quantities["eps_total"].route == "predicted"
    assert not {"piezo_ionic", "piezo_total", "piezo_d"} & set(found.quantities)
    assert any(note.is_warning and "piezo_d" in note.properties for note in found.notes)


def test_results_have_the_order_of_the_atoms_given():
    swapped: ase.Atoms = crystals.zincblende()[[1, 0]]
    found = voigt.respond(swapped, settings(dim=(1, 1, 1)))
    assert found.atoms.get_chemical_symbols() == swapped.get_chemical_symbols()
    signs = {symbol: np.sign(z[0, 0]) for symbol, z in
             zip(found.atoms.get_chemical_symbols(), found.quantities["born_charges"].value, strict=True)}
    assert signs == {"Zn": 1.0, "S": -1.0}
