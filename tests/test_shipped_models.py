"""The models that ship: they load, keep to the physics, agree with published work, and score what their card says."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import ase.io
import numpy as np
import pytest

import voigt
from voigt.models.checkpoint import WEIGHTS, available_models, load_model
from voigt.prediction import Settings


def test_every_model_has_a_card_and_stays_small() -> None:
    models = available_models()
    assert "born" in models
    assert sum(path.stat().st_size for path in models.values()) < 30e6
    for path in models.values():
        card = path.with_suffix(".md").read_text(encoding="utf-8")
        for word in ("licence", "seed", "test split", "baseline", "elements", "fail"):
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
