"""The models that ship: they load, keep to the physics, agree with published work, and score what their card says."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from pathlib import Path

import ase
import ase.io
import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from ase.build import bulk
from ase.spacegroup import crystal

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
    assert sum(path.stat().st_size for path in models.values()) < 30e6
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


RESPONSES = {"born_charges", "eps_inf", "eps_ionic", "eps_total"}


@pytest.mark.parametrize(
    "atoms",
    [
        bulk("CuCl", "zincblende", a=5.42),
        bulk("GdN", "rocksalt", a=4.99),
        crystal(["Fe", "S"], [(0, 0, 0), (0.385,) * 3], spacegroup=205, cellpar=[5.418] * 3 + [90] * 3),  # pyrite
    ],
    ids=lambda atoms: atoms.get_chemical_formula(),
)
def test_transition_metals_and_rare_earths_are_predicted(atoms: ase.Atoms) -> None:
    (prediction,) = voigt.predict(atoms, "born")
    assert not {"unseen_elements", "far_from_training"} & {note.kind for note in prediction.notes}
    assert prediction.values.keys() == prediction.spread.keys() == prediction.interval.keys() == RESPONSES
    for name, width in prediction.interval.items():
        assert np.shape(width) == ((len(atoms),) if name == "born_charges" else ())
        assert np.isfinite(width).all(), name
        assert np.min(width) > 0, name


def test_hardly_an_insulator_holds_an_element_without_charges(dft_data: Callable[[str], Path]) -> None:
    """Of the Materials Project; of all elements He, Pm, Eu, Po and the rarest actinides are missing."""
    table = pq.read_table(dft_data("scalars/mp_scalars.parquet"), columns=["numbers", "band_gap"])
    numbers = table.filter(pc.greater(table["band_gap"], 0.0))["numbers"].combine_chunks()
    crystals = pc.list_parent_indices(numbers).to_numpy()
    unseen = ~np.isin(numbers.flatten().to_numpy(), load_model("born").card.elements)
    assert len(numbers) > 40_000
    assert len(np.unique(crystals[unseen])) < 0.015 * len(numbers)


# Model, property, file, key that a crystal must carry, and what its row in the card begins with.
QUOTED = [
    ("elastic", "elastic", "tensors/elastic", None, "mean Frobenius norm, Cartesian (GPa)"),
    ("piezo", "piezo_clamped", "born/mp", None, "mean Frobenius norm, Cartesian (C/m^2)"),
    ("born", "eps_inf", "tensors/dielectric", "trusted", "eps_inf mean Frobenius norm"),
    ("born", "eps_ionic", "tensors/dielectric", "trusted", "eps_ionic mean Frobenius norm"),
    ("born", "eps_total", "tensors/dielectric", "trusted", "eps_total mean Frobenius norm"),
]


def quoted(name: str, row: str) -> float:
    """The figure of the only row of a card that begins so."""
    text = (WEIGHTS / f"{name}.md").read_text(encoding="utf-8")
    (figure,) = re.findall(rf"^\| {re.escape(row)} \| ([\d.]+) \|", text, re.MULTILINE)
    return float(figure)


def test_cards_have_the_rows_that_are_held_against_the_models() -> None:
    for name, _, _, _, row in QUOTED:
        assert quoted(name, row) > 0
    assert quoted("born", "born_charges MAE (e)") > 0


def of_test_split(path: Path, elements: Collection[int], key: str | None) -> list[ase.Atoms]:
    """Crystals of the test split that carry the key as true, of elements that a model knows."""
    return [
        atoms
        for atoms in ase.io.iread(path, ":")
        if atoms.info["split"] == "test"
        and (key is None or atoms.info[key])
        and set(atoms.numbers.tolist()) <= set(elements)
    ]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "prop", "file", "key", "row"), QUOTED)
def test_cards_of_crystal_tensors_quote_what_evaluation_prints(
    dft_data: Callable[[str], Path], name: str, prop: str, file: str, key: str | None, row: str
) -> None:
    """The mean Frobenius norm on the test split, recomputed here from the predictions."""
    model = load_model(name)
    frames = of_test_split(dft_data(f"{file}.extxyz"), model.card.elements, key)
    frames = [atoms for atoms in frames if label_of(atoms, PROPERTIES[prop]) is not None]
    errors = []
    for functional in sorted({atoms.info["functional"] for atoms in frames}):
        chosen = [atoms for atoms in frames if atoms.info["functional"] == functional]
        asked = functional if functional in model.hypers.functionals else None
        settings = Settings(properties=(prop,), functional=asked)
        for atoms, prediction in zip(chosen, voigt.predict(chosen, model, settings), strict=True):
            errors.append(np.linalg.norm(prediction.values[prop] - label_of(atoms, PROPERTIES[prop])))
    assert float(np.mean(errors)) == pytest.approx(quoted(name, row), rel=2e-3)


@pytest.mark.slow
def test_the_card_quotes_what_evaluation_prints(dft_data: Callable[[str], Path]) -> None:
    """MAE on the trusted test split of phonondb, recomputed here from the labels in the file."""
    frames = of_test_split(dft_data("born/phonondb.extxyz"), load_model("born").card.elements, "trusted")
    settings = Settings(properties=("born_charges",), functional="PBEsol")
    errors = [
        np.abs(p.values["born_charges"].reshape(-1, 9) - atoms.arrays["born_charges"])
        for p, atoms in zip(voigt.predict(frames, "born", settings), frames, strict=True)
    ]
    assert float(np.concatenate(errors).mean()) == pytest.approx(quoted("born", "born_charges MAE (e)"), abs=2e-4)


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
