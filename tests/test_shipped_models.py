"""The models that ship: they load, keep to the physics, agree with published work, and score what their card says."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase.build import bulk

import voigt
from voigt.data import label_of, read_labeled
from voigt.models.checkpoint import WEIGHTS, available_models, load_model
from voigt.prediction.result import Settings
from voigt.response.elasticity import born_stability, moduli
from voigt.tensors.properties import PROPERTIES
from voigt.tensors.voigt import elastic_to_voigt


def test_every_model_has_a_card_and_stays_small() -> None:
    models = available_models()
    assert "born" in models
    assert sum(path.stat().st_size for path in models.values()) < 40e6  # the wheel's share, see ARCHITECTURE.md
    for path in models.values():
        card = path.with_suffix(".md").read_text(encoding="utf-8")
        for word in ("license", "seed", "test split", "baseline", "elements", "fail"):
            assert word in card.lower(), f"{path.stem}: the card says nothing of '{word}'"


# Born charges (e) and eps_inf of DFPT calculations in the literature, whose functionals and pseudopotentials scatter by
# about 5 %: MgO and NaCl as in textbooks of lattice dynamics; BaTiO3: Ghosez, Michenaud, Gonze, PRB 58, 6224 (1998);
# quartz: Gonze, Allan, Teter, PRL 68, 3603 (1992), Z*(Si) = 3.016, 3.633, 3.453 on the diagonal.
@pytest.mark.parametrize(
    ("file", "atom", "expected"),
    [
        ("MgO.vasp", 0, [1.97, 1.97, 1.97]),
        ("NaCl.cif", 0, [1.1, 1.1, 1.1]),
        ("SiO2-quartz.cif", 0, [3.016, 3.633, 3.453]),
    ],
)
def test_charges_agree_with_published_calculations(
    examples: Path, file: str, atom: int, expected: list[float]
) -> None:
    (prediction,) = voigt.predict(examples / file)
    np.testing.assert_allclose(np.diag(prediction.values["born_charges"][atom]), expected, rtol=0.08)


def test_tetragonal_barium_titanate_has_anomalous_charges(examples: Path) -> None:
    """Ti far above its nominal 4 e and larger across the polar axis; the oxygens along Ti-O far below -2 e."""
    (prediction,) = voigt.predict(examples / "BaTiO3.vasp")
    charges = prediction.values["born_charges"]
    symbols = prediction.atoms.get_chemical_symbols()
    titanium = charges[symbols.index("Ti")]
    assert 5.0 < titanium[2, 2] < titanium[0, 0] < 8.0
    assert min(charges[a][2, 2] for a, symbol in enumerate(symbols) if symbol == "O") < -4.0
    np.testing.assert_allclose(charges.sum(axis=0), 0.0, atol=1e-9)


def test_corrections_can_be_switched_off(examples: Path) -> None:
    settings = Settings(symmetrize=False, sum_rule=False)
    (prediction,) = voigt.predict(examples / "LiNbO3.cif", settings=settings)
    np.testing.assert_array_equal(prediction.values["born_charges"], prediction.raw["born_charges"])
    assert prediction.drift is not None
    assert np.abs(prediction.drift).max() > 1e-6


def test_functionals_differ(examples: Path) -> None:
    values = [
        voigt.predict(examples / "ZnO.cif", settings=Settings(functional=name))[0].values["eps_inf"]
        for name in load_model("born").hypers.functionals
    ]
    assert np.abs(values[0] - values[1]).max() > 1e-3


def test_stiffness_of_magnesium_oxide_and_quartz(examples: Path) -> None:
    """Room temperature: MgO 297, 96, 156 GPa (Zha et al., PNAS 97, 13494 (2000)); quartz K = 38 GPa (Bechmann 1958)."""
    magnesia, quartz = voigt.predict(
        [examples / "MgO.vasp", examples / "SiO2-quartz.cif"], settings=Settings(properties=("elastic",))
    )
    c = elastic_to_voigt(magnesia.values["elastic"])
    np.testing.assert_allclose([c[0, 0], c[0, 1], c[3, 3]], [297, 96, 156], rtol=0.25)
    assert 25 < moduli(quartz.values["elastic"]).bulk_hill < 50
    assert born_stability(quartz.values["elastic"]).stable


def test_properties_of_several_models_come_together(examples: Path) -> None:
    names = ("eps_inf", "eps_total", "piezo_clamped", "elastic")
    oxide, salt = voigt.predict([examples / "ZnO.cif", examples / "NaCl.cif"], settings=Settings(properties=names))
    assert tuple(oxide.values) == names
    assert np.linalg.eigvalsh(oxide.values["eps_total"] - oxide.values["eps_inf"]).min() > 0
    assert np.abs(oxide.values["piezo_clamped"]).max() > 0.1
    assert np.abs(salt.values["piezo_clamped"]).max() < 1e-12, "rocksalt has an inversion center"
    # Static and clamped-ion permittivity of NaCl at room temperature: 5.9 and 2.3 (Lowndes and Martin, 1969).
    assert salt.values["eps_total"][0, 0] == pytest.approx(5.9, rel=0.25)
    assert salt.values["eps_inf"][0, 0] == pytest.approx(2.3, rel=0.15)


def test_clamped_ion_tensor_of_zinc_oxide(examples: Path) -> None:
    """First-principles calculations, C/m^2, +z from Zn to O: Wu, Vanderbilt, Hamann, PRB 72, 035105 (2005)."""
    settings = Settings(properties=("piezo_clamped",))
    (oxide,) = voigt.predict(examples / "ZnO.cif", settings=settings)
    vector = oxide.atoms.get_all_distances(mic=True, vector=True)
    zinc, oxygen = (np.flatnonzero(oxide.atoms.numbers == z) for z in (30, 8))
    along = next(v[2] for v in vector[zinc[0], oxygen] if abs(v[2]) > 1.5)  # the bond parallel to the axis
    e = np.sign(along) * oxide.values["piezo_clamped"]
    np.testing.assert_allclose([e[2, 2, 2], e[2, 0, 0], e[0, 0, 2]], [-0.75, 0.37, 0.39], rtol=0.3)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "row"),
    [("elastic", "elastic"), ("piezo", "piezo_clamped"), ("dielectric", "eps_inf")],
)
def test_cards_of_crystal_tensors_quote_what_evaluation_prints(
    dft_data: Callable[[str], Path], name: str, row: str
) -> None:
    """The mean Frobenius norm on the test split, recomputed here from the predictions."""
    file = "born/mp" if name == "piezo" else f"tensors/{name}"
    frames = [
        atoms for atoms in ase.io.iread(dft_data(f"{file}.extxyz"), ":")
        if atoms.info["split"] == "test" and label_of(atoms, PROPERTIES[row]) is not None
        and (name != "dielectric" or atoms.info["closed_shell"])
    ]
    model = load_model(name)
    frames = [atoms for atoms in frames if set(atoms.numbers.tolist()) <= set(model.card.elements)]
    errors = []
    for functional in sorted({atoms.info["functional"] for atoms in frames}):
        chosen = [atoms for atoms in frames if atoms.info["functional"] == functional]
        asked = functional if functional in model.hypers.functionals else None
        settings = Settings(properties=(row,), functional=asked)
        for atoms, prediction in zip(chosen, voigt.predict(chosen, model, settings), strict=True):
            label = label_of(atoms, PROPERTIES[row])
            errors.append(np.linalg.norm(prediction.values[row] - label))
    text = (WEIGHTS / f"{name}.md").read_text(encoding="utf-8")
    quoted = re.search(r"mean Frobenius norm[^|]*\|[^|]*?([\d.]+)", text)
    assert quoted is not None
    assert float(np.mean(errors)) == pytest.approx(float(quoted.group(1)), rel=2e-3)


@pytest.mark.slow
def test_the_card_quotes_what_evaluation_prints(dft_data: Callable[[str], Path]) -> None:
    """MAE on the closed-shell test split of phonondb, recomputed here from the labels in the file."""
    frames = [
        atoms
        for atoms in ase.io.iread(dft_data("born/phonondb.extxyz"), ":")
        if atoms.info["split"] == "test" and atoms.info["closed_shell"]
    ]
    known = set(load_model("born").card.elements)
    frames = [atoms for atoms in frames if set(atoms.numbers.tolist()) <= known]
    predictions = voigt.predict(frames, settings=Settings(functional="PBEsol"))
    errors = [
        np.abs(p.values["born_charges"].reshape(-1, 9) - atoms.arrays["born_charges"])
        for p, atoms in zip(predictions, frames, strict=True)
    ]
    quoted = re.search(r"born_charges MAE[^|]*\|[^|]*?([\d.]+)", (WEIGHTS / "born.md").read_text(encoding="utf-8"))
    assert quoted is not None
    assert float(np.concatenate(errors).mean()) == pytest.approx(float(quoted.group(1)), abs=2e-4)


def test_gaps_agree_with_published_pbe_calculations(examples: Path) -> None:
    """PBE gaps of the Materials Project and of the literature, eV; they scatter with the lattice constant."""
    frames = {atoms.info["id"]: atoms for atoms in ase.io.read(examples / "families.xyz", ":")}
    published = {"rocksalt-NaCl": 5.0, "perovskite-SrTiO3": 1.8, "wurtzite-GaN": 1.7, "wurtzite-ZnS": 2.0}
    settings = Settings(properties=("band_gap",))
    predictions = voigt.predict([frames[name] for name in published], settings=settings)
    found = [float(prediction.values["band_gap"]) for prediction in predictions]
    np.testing.assert_allclose(found, list(published.values()), atol=0.5)


def test_a_metal_has_no_gap_and_an_alloy_hardly_a_formation_energy() -> None:
    settings = Settings(properties=("band_gap", "formation_energy"))
    copper, brass = voigt.predict([bulk("Cu"), bulk("CuZn", "cesiumchloride", a=2.95)], settings=settings)
    assert float(copper.values["band_gap"]) == float(brass.values["band_gap"]) == 0.0
    assert abs(float(copper.values["formation_energy"])) < 0.3  # an element: zero by definition
    assert -0.4 < float(brass.values["formation_energy"]) < 0.1  # measured: -0.12 eV/atom


@pytest.mark.slow
@pytest.mark.parametrize("name", ["band_gap", "formation_energy"])
def test_scalar_cards_quote_what_the_models_do(name: str, dft_data: Callable[[str], Path]) -> None:
    """The error on the whole of official fold 0, from the labels in the table."""
    table = read_labeled(dft_data("scalars/mp_scalars.parquet"), (name,))
    column = {"band_gap": "gap_fold", "formation_energy": "e_form_fold"}[name]
    chosen = [crystal for crystal in table if crystal.atoms.info.get(column) == 0 and name in crystal.targets]
    predictions = voigt.predict([crystal.atoms for crystal in chosen], settings=Settings(properties=(name,)))
    errors = [abs(float(p.values[name]) - float(c.targets[name])) for p, c in zip(predictions, chosen, strict=True)]
    rows = re.findall(r"\*\*scalars\*\* \| \*\*([\d.]+)\*\*", (WEIGHTS / "scalars.md").read_text(encoding="utf-8"))
    assert len(rows) == 2
    quoted = float(rows[["band_gap", "formation_energy"].index(name)])
    assert float(np.mean(errors)) == pytest.approx(quoted, rel=2e-3)
