"""Vacuum, metals and charges: what predictions say of crystals outside the domain of their models."""

from __future__ import annotations

from dataclasses import replace

import ase
import numpy as np
import pytest
from ase.build import bulk, molecule
from pymatgen.core import Lattice, Structure
from tests import crystals

import voigt
from voigt.models.checkpoint import LoadedModel
from voigt.notes import Note
from voigt.prediction import Prediction, Settings, choose_models, predict_structures
from voigt.structures import read

RESPONSES = ("born_charges", "eps_inf", "eps_ionic", "eps_total")
"""What only insulators have, of what is predicted by default."""


def boron_nitride(height: float) -> ase.Atoms:
    places = [(1 / 3, 2 / 3, 0.5), (2 / 3, 1 / 3, 0.5)]
    return ase.Atoms("BN", scaled_positions=places, cell=[2.504, 2.504, height, 90, 90, 120], pbc=True)


def magnesium_diboride() -> ase.Atoms:
    places = [(0, 0, 0), (1 / 3, 2 / 3, 0.5), (2 / 3, 1 / 3, 0.5)]
    return ase.Atoms("MgB2", scaled_positions=places, cell=[3.07, 3.07, 3.52, 90, 90, 120], pbc=True)


def doped() -> ase.Atoms:
    atoms = bulk("MgO", "rocksalt", a=4.2553, cubic=True)
    atoms.numbers[0] = 13
    return atoms


def notes_of(atoms: ase.Atoms, **settings: object) -> dict[str, Note]:
    (prediction,) = voigt.predict(atoms, settings=Settings(**settings))  # type: ignore[arg-type]
    return {note.kind: note for note in prediction.notes}


@pytest.fixture(scope="module")
def sheets() -> list[Prediction]:
    return voigt.predict([boron_nitride(20.0), boron_nitride(40.0)])


def test_a_sheet_has_a_polarizability_and_its_cell_less_the_higher_it_is(sheets: list[Prediction]) -> None:
    """DFT gives the BN sheet in 20 Angstrom about 1.6 to 1.7 in the plane and 1.1 across."""
    near, far = (prediction.sheets["eps_inf"] for prediction in sheets)
    assert near.cell[0, 0] == pytest.approx(1.65, abs=0.08)
    assert near.cell[2, 2] == pytest.approx(1.12, abs=0.04)
    np.testing.assert_allclose(near.polarizability, far.polarizability, rtol=1e-3, atol=1e-6)
    assert far.cell[0, 0] - 1 == pytest.approx((near.cell[0, 0] - 1) / 2, rel=1e-3)


def test_vacuum_is_a_note_about_tensors_of_the_cell_not_about_charges(sheets: list[Prediction]) -> None:
    for prediction, gap in zip(sheets, ("16.2", "36.2"), strict=True):
        (note,) = [note for note in prediction.notes if note.kind == "vacuum"]
        assert note.properties == ("eps_inf", "eps_ionic", "eps_total")
        assert f"a sheet or slab with {gap} Angstrom of vacuum" in note.text
        assert note.is_warning
    (note,) = [note for note in sheets[0].notes if note.kind == "vacuum"]
    cell = sheets[0].sheets["eps_inf"].cell
    assert f"give the cell {cell[0, 0]:.2f} and {cell[2, 2]:.2f}" in note.text


def test_molecules_have_a_note_and_no_sheet() -> None:
    water = molecule("H2O")
    water.set_cell([12.0] * 3)
    water.pbc = True
    (prediction,) = voigt.predict(water)
    assert "molecules or clusters" in next(note.text for note in prediction.notes if note.kind == "vacuum")
    assert prediction.sheets == {}


def test_layers_in_a_crystal_are_no_news() -> None:
    assert "vacuum" not in notes_of(boron_nitride(3.33))


def test_a_metal_that_its_composition_does_not_betray() -> None:
    note = notes_of(magnesium_diboride())["likely_metal"]
    assert "model 'scalars' finds no band gap" in note.text
    assert note.properties == RESPONSES


@pytest.mark.parametrize("atoms", [crystals.rocksalt(), crystals.quartz(), crystals.wurtzite(), crystals.perovskite()])
def test_insulators_are_called_none(atoms: ase.Atoms) -> None:
    assert "likely_metal" not in notes_of(atoms)


@pytest.mark.parametrize(
    "atoms",
    [
        bulk("GaAs", "zincblende", a=5.65),
        bulk("InP", "zincblende", a=5.87),
        bulk("SiMg2", "fluorite", a=6.35),
        bulk("Si", "diamond", a=5.43),
    ],
    ids=lambda atoms: atoms.get_chemical_formula(),
)
def test_small_gaps_are_found(atoms: ase.Atoms) -> None:
    """Gaps of 1.4, 1.3, 0.7 and 1.1 eV, of which PBE leaves between 0.2 and 0.7."""
    assert not {"likely_metal", "small_gap"} & notes_of(atoms).keys()


@pytest.mark.parametrize(
    "atoms",
    [bulk("InAs", "zincblende", a=6.06), bulk("InSb", "zincblende", a=6.48)],
    ids=lambda atoms: atoms.get_chemical_formula(),
)
def test_a_semiconductor_of_which_no_gap_is_found_is_no_metal(atoms: ase.Atoms) -> None:
    """InAs and InSb have gaps of 0.4 and 0.2 eV, and none in PBE."""
    assert "likely_metal" not in notes_of(atoms)


def test_closed_shells_without_a_gap_are_noted() -> None:
    """PBE, which the gap model has learned, finds no gap of InSb."""
    notes = notes_of(bulk("InSb", "zincblende", a=6.48))
    assert "likely_metal" not in notes
    assert notes["small_gap"].properties == RESPONSES
    assert "its valences balance" in notes["small_gap"].text


def test_the_gap_model_is_asked_once_and_only_where_it_matters(monkeypatch: pytest.MonkeyPatch) -> None:
    assert choose_models(None, Settings(properties=("elastic",))).gap is None
    assert choose_models(None, Settings(properties=("band_gap", "eps_inf"))).gap is None  # predicted anyway
    assert choose_models(None, Settings(check_domain=False)).gap is None
    plan = choose_models(None, Settings())
    assert plan.gap is not None
    assert [model.name for model in plan.models] == ["born", "scalars"]
    passes = []
    network = type(plan.gap.model.members[0])
    forward = network.forward_raw
    monkeypatch.setattr(network, "forward_raw", lambda self, batch: passes.append(batch) or forward(self, batch))
    mixed = [crystals.rocksalt(), magnesium_diboride(), crystals.quartz()]
    results = voigt.predict(mixed)
    once = len(plan.gap.model.members)
    # One batch for all; the other networks are asked about what the first takes for a metal.
    assert [batch.num_crystals for batch in passes] == [3, *[1] * (once - 1)]
    assert ["likely_metal" in {note.kind for note in result.notes} for result in results] == [False, True, False]
    voigt.predict(mixed, settings=Settings(properties=("elastic",)))
    voigt.predict(mixed, settings=Settings(check_domain=False))
    assert len(passes) == once


def test_a_gap_that_is_predicted_anyway_decides() -> None:
    (prediction,) = voigt.predict(magnesium_diboride(), settings=Settings(properties=("band_gap", "eps_inf")))
    assert float(prediction.values["band_gap"]) == 0.0
    (note,) = [note for note in prediction.notes if note.kind == "likely_metal"]
    assert note.properties == ("eps_inf",)


def test_composition_decides_for_elements_that_the_gap_model_does_not_know() -> None:
    """The gap model has no xenon; XeF2 with one electron more has an odd number."""
    places = [(0, 0, 0), (0, 0, 0.2837), (0, 0, 0.7163)]
    odd = ase.Atoms("XeFO", scaled_positions=places, cell=[4.22, 4.22, 6.99, 90, 90, 90], pbc=True)
    even = ase.Atoms("XeF2", scaled_positions=places, cell=[4.22, 4.22, 6.99, 90, 90, 90], pbc=True)
    assert "odd number of electrons" in notes_of(odd, allow_unseen=True)["likely_metal"].text
    assert "likely_metal" not in notes_of(even, allow_unseen=True)


def test_nothing_is_checked_if_nobody_wants_it() -> None:
    assert notes_of(boron_nitride(20.0), check_domain=False).keys() <= {"disagreement"}
    assert notes_of(magnesium_diboride(), check_domain=False).keys() <= {"disagreement"}


def test_no_value_depends_on_the_checks() -> None:
    for atoms in (boron_nitride(20.0), magnesium_diboride()):
        (checked,), (bare,) = voigt.predict(atoms), voigt.predict(atoms, settings=Settings(check_domain=False))
        for name, value in bare.values.items():
            np.testing.assert_array_equal(checked.values[name], value)


class TestCharge:
    def test_of_the_settings_ends_the_remark_on_electrons(self) -> None:
        notes = notes_of(doped(), total_charge=1.0)
        assert "likely_metal" not in notes
        assert "charged" not in notes  # whoever asks for it knows

    def test_of_the_structure_is_the_default(self) -> None:
        atoms = doped()
        atoms.info["charge"] = 1
        (prediction,) = voigt.predict(atoms)
        np.testing.assert_allclose(prediction.values["born_charges"].sum(axis=0), np.eye(3), atol=1e-12)
        kinds = {note.kind: note for note in prediction.notes}
        assert "likely_metal" not in kinds
        assert "+1 e" in kinds["charged"].text
        assert not kinds["charged"].is_warning
        (neutral,) = voigt.predict(atoms, settings=Settings(total_charge=0.0))
        np.testing.assert_allclose(neutral.values["born_charges"].sum(axis=0), 0, atol=1e-12)

    def test_of_a_pymatgen_structure(self) -> None:
        atoms = doped()
        places = atoms.get_scaled_positions()
        structure = Structure(Lattice(atoms.cell.array), atoms.get_chemical_symbols(), places, charge=1)
        (prediction,) = voigt.predict(structure)
        np.testing.assert_allclose(prediction.values["born_charges"].sum(axis=0), np.eye(3), atol=1e-12)
        assert "likely_metal" not in {note.kind for note in prediction.notes}


class TestRemedies:
    def test_in_python_they_are_settings(self) -> None:
        with pytest.raises(voigt.errors.InputError, match=r"Settings\(allow_unseen=True\)") as caught:
            voigt.predict(bulk("Po", "sc", a=3.35))
        assert "--" not in str(caught.value)

    def test_on_the_command_line_options(self) -> None:
        (failure,) = predict_structures(read([bulk("Po", "sc", a=3.35)]), None, Settings())
        assert failure.kind == "unseen_elements"
        assert failure.for_command_line().reason.endswith("use --allow-unseen to predict all the same")
        assert "Settings" not in failure.for_command_line().note().for_command_line().sentence

    def test_several_models_advise_once(self) -> None:
        atoms = ase.Atoms("Pu", cell=3.0 * np.eye(3), pbc=True)
        settings = Settings(properties=("born_charges", "piezo_clamped"))
        (failure,) = predict_structures(read([atoms]), None, settings)
        assert failure.reason.count("Settings(allow_unseen=True)") == 1
        assert {"'born'", "'piezo'"} <= set(failure.problem.split())


def test_a_model_of_ones_own_is_judged_as_well() -> None:
    """Loaded from memory: no range of its training set, but metals and vacuum are found."""
    shipped = voigt.load_model("born")
    own = LoadedModel("mine", shipped.members[:1], replace(shipped.card))
    metal, sheet = voigt.predict([magnesium_diboride(), boron_nitride(20.0)], own)
    assert {note.kind for note in metal.notes} == {"likely_metal"}
    assert {note.kind for note in sheet.notes} == {"vacuum"}
