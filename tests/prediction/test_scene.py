"""What a page gets of a prediction: plain data with the numbers of the prediction and the zeros of symmetry."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import ase
import numpy as np
import pytest
from ase.build import bulk, mx2
from tests import crystals
from tests.predictions import made_up

import voigt
from voigt.notes import Note
from voigt.prediction.scene import Scene, SceneProperty, scene
from voigt.tensors.layout import stored
from voigt.tensors.properties import PROPERTIES

ALL = ("born_charges", "eps_inf", "piezo_total", "elastic", "band_gap")


def entry(shown: Scene, name: str) -> SceneProperty:
    return next(prop for prop in shown.properties if prop.name == name)


def symmetric(atoms: ase.Atoms, properties: tuple[str, ...] = ALL) -> Scene:
    return scene(replace(made_up(atoms, "x", properties), symmetrized=True))


def test_it_is_plain_data_with_the_numbers_of_the_prediction() -> None:
    prediction = made_up(crystals.wurtzite(), "ZnO", ALL)
    shown = scene(prediction)
    assert json.loads(json.dumps(asdict(shown), allow_nan=False)) == asdict(shown)
    for name in ALL:
        prop = PROPERTIES[name]
        np.testing.assert_array_equal(entry(shown, name).values, stored(prop, prediction.values[name]))
        assert entry(shown, name).unit == ("" if prop.unit == "1" else prop.unit)
    assert entry(shown, "elastic").rows == ["xx", "yy", "zz", "yz", "zx", "xy"]
    assert entry(shown, "piezo_total").rows == ["x", "y", "z"]
    assert entry(shown, "band_gap").rows == []
    np.testing.assert_allclose(shown.structure.positions, prediction.atoms.positions)
    np.testing.assert_allclose(
        np.array(shown.structure.scaled_positions) @ np.array(shown.structure.cell), shown.structure.positions
    )
    assert shown.structure.spacegroup.international == "P6_3mc"
    assert shown.structure.spacegroup.crystal_system == "hexagonal"
    assert shown.structure.orbits == [0, 1, 0, 1]
    assert len(entry(shown, "born_charges").spread) == 4  # type: ignore[arg-type]
    assert shown.drift == pytest.approx(np.abs(prediction.drift).max())


def test_zeros_and_independent_components_are_those_of_nye() -> None:
    """Physical Properties of Crystals (1985), tables of matrices by point group."""
    zincblende = symmetric(crystals.zincblende())
    (piezo,) = entry(zincblende, "piezo_total").patterns
    # 43m: e14 = e25 = e36.
    expected = np.ones((3, 6), dtype=bool)
    expected[[0, 1, 2], [3, 4, 5]] = False
    np.testing.assert_array_equal(piezo.zero, expected)
    assert np.argwhere(piezo.independent).tolist() == [[0, 3]]
    (elastic,) = entry(zincblende, "elastic").patterns
    assert np.argwhere(elastic.independent).tolist() == [[0, 0], [0, 1], [3, 3]]
    (rocksalt,) = entry(symmetric(crystals.rocksalt()), "piezo_total").patterns
    assert np.all(rocksalt.zero)
    # 32 and 6mm.
    (quartz,) = entry(symmetric(crystals.quartz()), "elastic").patterns
    assert np.sum(quartz.independent) == 6
    (wurtzite,) = entry(symmetric(crystals.wurtzite()), "piezo_total").patterns
    assert np.sum(wurtzite.independent) == 3


def test_born_charges_have_the_zeros_of_each_site() -> None:
    perovskite = entry(symmetric(crystals.perovskite()), "born_charges").patterns
    zeros = {pattern.atom: np.array(pattern.zero) for pattern in perovskite}
    assert len(zeros) == 3
    off_diagonal = ~np.eye(3, dtype=bool)
    for zero in zeros.values():  # m-3m, m-3m and 4/mmm
        np.testing.assert_array_equal(zero, off_diagonal)
    counts = sorted(int(np.sum(pattern.independent)) for pattern in perovskite)
    assert counts == [1, 1, 2]
    # A supercell has the same sites.
    supercell = entry(symmetric(bulk("MgO", "rocksalt", 4.2).repeat(2)), "born_charges").patterns
    assert [int(np.sum(pattern.independent)) for pattern in supercell] == [1, 1]


def test_without_imposed_symmetry_nothing_is_said_of_it() -> None:
    shown = scene(made_up(crystals.quartz(), "x", ALL))
    assert not shown.symmetrized
    assert all(prop.patterns == [] for prop in shown.properties)


def test_notes_have_the_remedy_of_the_command_line_and_what_they_concern() -> None:
    note = Note("unseen_elements", "Po unseen", ("eps_inf",), ("Po",), "use Settings(allow_unseen=True)")
    done = Note("charged", "a charge")
    shown = scene(replace(made_up(crystals.rocksalt(), "x", ("eps_inf",)), notes=(note, done)))
    assert shown.notes[0].text == "Po unseen; use --allow-unseen to predict all the same"
    assert (shown.notes[0].properties, shown.notes[0].elements, shown.notes[0].warning) == (["eps_inf"], ["Po"], True)
    assert not shown.notes[1].warning


def test_a_sheet_has_its_own_permittivity() -> None:
    atoms = mx2("MoS2", vacuum=8.0)
    atoms.pbc = True
    (prediction,) = voigt.predict(atoms)
    shown = scene(prediction)
    names = [sheet.property for sheet in shown.sheets]
    assert names == list(prediction.sheets)
    np.testing.assert_allclose(np.abs(shown.sheets[0].normal), [0, 0, 1], atol=1e-9)
    assert shown.sheets[0].height_angstrom == pytest.approx(atoms.cell[2, 2])
