"""Property declarations: what the rest of the package relies on, checked against physics and e3nn."""

from __future__ import annotations

import dataclasses
import subprocess
import sys

import numpy as np
import pytest
import torch
from e3nn import o3

from voigt import tensors
from voigt.errors import TargetError
from voigt.tensors.irreps import cartesian_basis
from voigt.tensors.projection import rotate
from voigt.tensors.properties import PROPERTIES, Property, get_property


@pytest.mark.parametrize(
    ("name", "per", "rank", "components", "unit"),
    [
        ("born_charges", "atom", 2, 9, "e"),
        ("eps_inf", "crystal", 2, 6, "1"),
        ("eps_ionic", "crystal", 2, 6, "1"),
        ("eps_total", "crystal", 2, 6, "1"),
        ("piezo_total", "crystal", 3, 18, "C/m^2"),
        ("piezo_clamped", "crystal", 3, 18, "C/m^2"),
        ("elastic", "crystal", 4, 21, "GPa"),
        ("band_gap", "crystal", 0, 1, "eV"),
        ("formation_energy", "crystal", 0, 1, "eV/atom"),
    ],
)
def test_each_property_has_the_rank_components_and_unit_of_physics(name, per, rank, components, unit):
    entry = get_property(name)
    assert (entry.name, entry.per, entry.rank, entry.unit) == (name, per, rank, unit)
    assert entry.shape == (3,) * rank
    assert cartesian_basis(entry.formula).dim == components


def test_there_are_nine_properties():
    assert len(PROPERTIES) == 9
    assert all(entry.name == key for key, entry in PROPERTIES.items())


@pytest.mark.parametrize("name", sorted(PROPERTIES))
def test_parity_is_what_inversion_does(name):
    entry = get_property(name)
    tensor = torch.randn(entry.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    inverted = rotate(tensor, -torch.eye(3, dtype=torch.float64), entry.rank)
    torch.testing.assert_close(inverted, entry.parity * tensor)
    assert {ir.p for _, ir in o3.Irreps(cartesian_basis(entry.formula).irreps)} == {entry.parity}


@pytest.mark.parametrize("name", sorted(PROPERTIES))
def test_voigt_storage_is_for_pairs_of_symmetric_indices_only(name):
    entry = get_property(name)
    assert (entry.storage == "voigt") == (entry.rank >= 3)


@pytest.mark.parametrize("name", sorted(PROPERTIES))
@pytest.mark.parametrize("leading", [(), (5,), (2, 3)])
def test_storage_and_back(name, leading):
    """A tensor with the index symmetry of its property comes back as it was, whatever stands before its indices."""
    entry = get_property(name)
    basis = cartesian_basis(entry.formula).matrix
    tensor = (np.random.default_rng(0).normal(size=(*leading, len(basis))) @ basis).reshape((*leading, *entry.shape))
    stored = entry.to_storage(tensor)
    assert stored.shape == (*leading, *entry.stored_shape)
    np.testing.assert_allclose(entry.from_storage(stored), tensor, atol=1e-15)
    torch.testing.assert_close(entry.from_storage(torch.tensor(stored)), torch.tensor(tensor))


def test_storage_is_row_major_in_the_order_of_voigt():
    """By hand: the pairs of indices that each number of a file stands for."""
    pairs = [(0, 0), (1, 1), (2, 2), (1, 2), (2, 0), (0, 1)]
    piezo, elastic, born = (get_property(name) for name in ("piezo_total", "elastic", "born_charges"))
    assert (piezo.stored_shape, elastic.stored_shape, born.stored_shape) == ((3, 6), (6, 6), (3, 3))
    tensor = piezo.from_storage(np.arange(18.0).reshape(3, 6))
    assert [[tensor[i, j, k] for j, k in pairs] for i in range(3)] == np.arange(18.0).reshape(3, 6).tolist()
    tensor = elastic.from_storage(np.arange(36.0).reshape(6, 6))
    assert [[tensor[(*row, *column)] for column in pairs] for row in pairs] == np.arange(36.0).reshape(6, 6).tolist()
    charges = np.arange(9.0).reshape(3, 3)
    np.testing.assert_array_equal(born.from_storage(born.to_storage(charges)), charges)


def test_declarations_need_no_torch():
    """Reading and writing labels, too: numpy arrays go through the Voigt functions without it."""
    code = (
        "import sys, numpy as np; from voigt.tensors.properties import PROPERTIES; "
        "PROPERTIES['elastic'].to_storage(PROPERTIES['elastic'].from_storage(np.ones((6, 6)))); "
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_face_of_the_room_is_there():
    assert all(getattr(tensors, name) is not None for name in tensors.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        tensors.nonsense  # noqa: B018


@pytest.mark.parametrize("name", sorted(PROPERTIES))
def test_a_baseline_of_zero_is_for_tensors_that_inversion_reverses(name):
    """Their mean is no prediction: its sign depends on the axes. An isotropic part is taken of rank 2 only."""
    entry = get_property(name)
    assert (entry.baseline == "zero") == (entry.parity < 0)
    assert (entry.baseline == "isotropic") == (entry.rank == 2)


def test_bounds_are_those_of_stable_insulators():
    # A medium polarizes along the field: eps >= 1; lattice response and stiffness are positive; a gap cannot be < 0.
    bounds = {name: entry.minimum for name, entry in PROPERTIES.items() if entry.minimum is not None}
    assert bounds == {"eps_inf": 1.0, "eps_ionic": 0.0, "eps_total": 1.0, "elastic": 0.0, "band_gap": 0.0}


def test_born_charges_keep_their_antisymmetric_part_and_eps_does_not():
    tensor = np.zeros((3, 3))
    tensor[0, 1], tensor[1, 0] = 1.0, -1.0
    born, eps = (cartesian_basis(get_property(name).formula).matrix for name in ("born_charges", "eps_inf"))
    assert np.linalg.norm(born @ tensor.ravel()) == pytest.approx(np.sqrt(2))
    assert np.linalg.norm(eps @ tensor.ravel()) < 1e-14


def test_an_unknown_name_is_answered_with_the_known_ones():
    with pytest.raises(TargetError, match="unknown property 'bec'") as caught:
        get_property("bec")
    assert all(name in str(caught.value) for name in PROPERTIES)


def test_declarations_cannot_be_changed():
    with pytest.raises(TypeError):
        PROPERTIES["born_charges"] = PROPERTIES["eps_inf"]
    with pytest.raises(dataclasses.FrozenInstanceError):
        PROPERTIES["born_charges"].unit = "C"


def test_rank_counts_the_letters_before_the_first_equals_sign():
    ranks = [
        Property("x", "crystal", formula, "1", "", None, "cartesian", "").rank
        for formula in ("", "i", "ij=ji", "ijk=ikj", "ijkl=jikl=klij")
    ]
    assert ranks == [0, 1, 2, 3, 4]
