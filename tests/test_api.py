"""`voigt.predict` takes what people have: Atoms, pymatgen Structure, paths, lists of these, a folder, a generator."""

from __future__ import annotations

from pathlib import Path

import ase.io
import numpy as np
import pytest
import torch
from pymatgen.core import Lattice, Structure
from tests import crystals
from tests.predictions import save_tiny_model

import voigt
from voigt.api import Failure, Settings
from voigt.errors import DomainError, InputError, WeightsError
from voigt.models.checkpoint import LoadedModel
from voigt.prediction import predict_structures
from voigt.structures import read


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    return voigt.load_model(save_tiny_model(tmp_path_factory.mktemp("models") / "tiny.safetensors"))


def test_the_same_crystal_in_every_form(model: LoadedModel, examples: Path, tmp_path: Path) -> None:
    path = examples / "BaTiO3.vasp"
    atoms = ase.io.read(path)
    structure = Structure(Lattice(atoms.cell.array), atoms.get_chemical_symbols(), atoms.get_scaled_positions())
    ase.io.write(tmp_path / "a.extxyz", atoms)
    expected = voigt.predict(atoms, model)[0].values
    assert expected["born_charges"].shape == (5, 3, 3)
    assert expected["eps_inf"].shape == (3, 3)
    forms = [path, str(path), structure, [atoms], (frame for frame in [atoms]), tmp_path, [[str(path)]]]
    for form in forms:
        (prediction,) = voigt.predict(form, model)
        for name, value in expected.items():
            np.testing.assert_allclose(prediction.values[name], value, atol=1e-5, err_msg=repr(form))
        assert dict(prediction.units) == {"born_charges": "e", "eps_inf": "1"}


def test_order_and_independence_of_a_list(model: LoadedModel) -> None:
    """Together or alone, in any order, each crystal gets the same numbers."""
    inputs = [crystals.quartz(), crystals.rocksalt(), crystals.wurtzite(), crystals.rocksalt(cubic=True)]
    together = voigt.predict(inputs, model)
    backwards = voigt.predict(inputs[::-1], model)[::-1]
    for atoms, first, second in zip(inputs, together, backwards, strict=True):
        (alone,) = voigt.predict(atoms, model)
        assert alone.atoms.get_chemical_symbols() == first.atoms.get_chemical_symbols()
        for prediction in (first, second):
            np.testing.assert_allclose(prediction.values["born_charges"], alone.values["born_charges"], atol=1e-5)
            np.testing.assert_allclose(prediction.values["eps_inf"], alone.values["eps_inf"], atol=1e-5)
    assert [len(prediction.values["born_charges"]) for prediction in together] == [9, 2, 4, 8]


def test_shuffled_atoms_get_shuffled_charges(model: LoadedModel) -> None:
    atoms = crystals.calcium_titanate()
    atoms.symbols[:] = [{"Ca": "Ba"}.get(symbol, symbol) for symbol in atoms.symbols]
    order = np.random.default_rng(0).permutation(len(atoms))
    (straight,) = voigt.predict(atoms, model)
    (shuffled,) = voigt.predict(atoms[order], model)
    np.testing.assert_allclose(shuffled.values["born_charges"], straight.values["born_charges"][order], atol=1e-5)


def test_spread_is_that_of_the_members(model: LoadedModel) -> None:
    """Mean and standard deviation of two networks, each asked alone."""
    atoms = crystals.quartz()
    members = [LoadedModel("one", (member,), model.card) for member in model.members]
    raw = [voigt.predict(atoms, member)[0].raw["born_charges"] for member in members]
    final = [voigt.predict(atoms, member)[0].values["born_charges"] for member in members]
    (both,) = voigt.predict(atoms, model)
    np.testing.assert_allclose(both.raw["born_charges"], (raw[0] + raw[1]) / 2, atol=1e-6)
    np.testing.assert_allclose(both.spread["born_charges"], abs(final[0] - final[1]) / np.sqrt(2), atol=1e-5)
    assert voigt.predict(atoms, LoadedModel("one", model.members[:1], model.card))[0].spread == {}


def test_corrections_are_those_asked_for(model: LoadedModel) -> None:
    atoms = crystals.quartz()
    (default,) = voigt.predict(atoms, model)
    np.testing.assert_allclose(default.values["born_charges"].sum(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(default.drift, default.raw["born_charges"].sum(axis=0))
    (bare,) = voigt.predict(atoms, model, Settings(symmetrize=False, sum_rule=False))
    np.testing.assert_array_equal(bare.values["born_charges"], bare.raw["born_charges"])
    (charged,) = voigt.predict(atoms, model, Settings(total_charge=2.0))
    np.testing.assert_allclose(charged.values["born_charges"].sum(axis=0), 2 * np.eye(3), atol=1e-12)


def test_all_bad_inputs_are_named_at_once(model: LoadedModel, tmp_path: Path) -> None:
    (tmp_path / "broken.cif").write_text("nothing")
    unseen, flat = crystals.rocksalt(), crystals.rocksalt()
    unseen.symbols[0] = "Cs"
    flat.set_cell(np.zeros((3, 3)))
    with pytest.raises(InputError) as caught:
        voigt.predict([tmp_path / "broken.cif", crystals.rocksalt(), unseen, flat], model)
    for said in ("broken.cif", "Cs not among", "has no cell"):
        assert said in str(caught.value)
    with pytest.raises(InputError, match="no such file"):
        voigt.predict("none.cif", model)
    with pytest.raises(InputError, match="cannot read a structure from int"):
        voigt.predict(3, model)


def test_frames_stream_past_bad_ones(model: LoadedModel) -> None:
    bad = crystals.rocksalt()
    bad.positions[0] = np.nan
    results = list(predict_structures(read([crystals.rocksalt(), bad, crystals.quartz()]), model, Settings()))
    assert [isinstance(result, Failure) for result in results] == [False, True, False]


def test_models_that_do_not_fit(model: LoadedModel, tmp_path: Path) -> None:
    with pytest.raises(DomainError, match="does not predict elastic"):
        voigt.predict(crystals.rocksalt(), model, Settings(properties=("elastic",)))
    with pytest.raises(DomainError, match="knows no functional LDA; it knows PBEsol, PBE"):
        voigt.predict(crystals.rocksalt(), model, Settings(functional="LDA"))
    with pytest.raises(WeightsError, match="no model"):
        voigt.predict(crystals.rocksalt(), tmp_path / "none.safetensors")


def test_a_prediction_says_where_it_comes_from(model: LoadedModel) -> None:
    (prediction,) = voigt.predict(crystals.quartz(), model)
    assert dict(prediction.models) == {"born_charges": "tiny", "eps_inf": "tiny"}
    assert dict(prediction.functionals) == {"born_charges": "PBEsol", "eps_inf": "PBEsol"}
    assert prediction.symmetrized
    (other,) = voigt.predict(crystals.quartz(), model, Settings(functional="PBE", symmetrize=False))
    assert set(other.functionals.values()) == {"PBE"}
    assert not other.symmetrized


def test_what_symmetry_forbids_altogether_has_no_residual(tmp_path: Path) -> None:
    """The network itself gives a centrosymmetric crystal no piezoelectricity but rounding."""
    piezo = voigt.load_model(save_tiny_model(tmp_path / "piezo.safetensors", 1, ("piezo_total",)))
    salt, quartz = voigt.predict([crystals.rocksalt(), crystals.quartz()], piezo)
    assert 0 < np.linalg.norm(salt.raw["piezo_total"]) < 1e-6
    assert salt.residual["piezo_total"] == 0.0
    assert np.linalg.norm(quartz.raw["piezo_total"]) > 1e-4
    assert 0 < quartz.residual["piezo_total"] < 1e-4


def test_predicting_leaves_the_input_and_torch_alone(model: LoadedModel) -> None:
    atoms = crystals.quartz()
    before = atoms.copy()
    grad, dtype = torch.is_grad_enabled(), torch.get_default_dtype()
    voigt.predict(atoms, model)
    assert atoms == before
    assert atoms.info == before.info
    assert (torch.is_grad_enabled(), torch.get_default_dtype()) == (grad, dtype)
