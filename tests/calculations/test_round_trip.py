"""The whole way: outputs of VASP, training file, model, predictions, BORN, phonopy."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import ase.io
import numpy as np
import pytest
import yaml
from phonopy.file_IO import parse_BORN
from phonopy.interface.vasp import read_vasp
from phonopy.structure.symmetry import Symmetry
from tests.calculations import vasp_files as vasp
from tests.training import synthetic
from typer.testing import CliRunner, Result

from voigt.api import predict
from voigt.cli.main import app


@pytest.fixture
def voigt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    monkeypatch.delenv("VOIGT_DATA", raising=False)
    monkeypatch.chdir(tmp_path)

    def call(*words: object) -> Result:
        result = CliRunner().invoke(app, [str(word) for word in words])
        assert result.exit_code == 0, result.output
        return result

    return call


def test_from_outputs_to_phonons(voigt: Callable[..., Result], tmp_path: Path) -> None:
    worlds = [*synthetic.labeled_crystals(0), *synthetic.labeled_crystals(1)[:2]]
    for number, atoms in enumerate(worlds):
        charges, eps = synthetic.labels(atoms)
        order = np.argsort(atoms.numbers, kind="stable")  # VASP wants the atoms of an element together
        text = vasp.outcar(atoms[order], vasp.permittivity(eps), vasp.born(charges[order]))
        vasp.write(tmp_path / "runs" / f"{atoms.symbols}-{number}", OUTCAR=text)
    voigt("data", "convert", "runs", "-o", "data.extxyz")
    frames = ase.io.read(tmp_path / "data.extxyz", ":")
    assert len(frames) == len(worlds)
    made = {frame.info["id"]: frame for frame in frames}
    for number, atoms in enumerate(worlds):
        charges = made[f"{atoms.symbols}-{number}"].arrays["born_charges"].reshape(-1, 3, 3)
        expected = synthetic.labels(atoms)[0][np.argsort(atoms.numbers, kind="stable")]
        np.testing.assert_allclose(charges, expected, atol=1e-5)
    content = {
        "name": "own",
        "data": [{"path": "data.extxyz"}],
        "split": {"kind": "formula", "fractions": [0.8, 0.2, 0.0]},
        "model": {"channels": 8, "interactions": 1, "cutoff": 4.0, "num_radial": 8, "hidden": 8, "embedding": 8},
        "targets": {"born_charges": {}, "eps_inf": {"loss": "relative", "weight": 0.3}},
        "batch_size": 2,
        "epochs": 1,
    }
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(content))
    voigt("train", "recipe.yaml", "-o", "run")
    crystal = ase.io.read(Path(synthetic.__file__).parents[2] / "examples" / "MgO.vasp")
    ase.io.write(tmp_path / "POSCAR", crystal, format="vasp", direct=True)
    voigt("predict", "POSCAR", "--model", "run/own.safetensors", "--born", "BORN", "--quiet")
    cell = read_vasp(str(tmp_path / "POSCAR"))
    assert Symmetry(cell).get_international_table().startswith("Fm-3m")
    read = parse_BORN(cell, filename=str(tmp_path / "BORN"))
    (prediction,) = predict(tmp_path / "POSCAR", model=str(tmp_path / "run" / "own.safetensors"))
    np.testing.assert_allclose(read["born"], prediction.values["born_charges"], atol=1e-6)
    np.testing.assert_allclose(read["dielectric"], prediction.values["eps_inf"], atol=1e-6)
