"""`voigt explain`: what arrives, what is said, and what happens to bad input."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import ase
import ase.io
import numpy as np
import pytest
import torch
from tests import crystals
from tests.predictions import save_tiny_model
from typer.testing import Result

import voigt as package
from voigt.interpretation import figures, maps
from voigt.models.checkpoint import ModelCard, save_model
from voigt.models.sen.hypers import SENHypers
from voigt.models.sen.model import SEN

Call = Callable[..., Result]
FIGURES = {"assignment", "posterior", "presence", "channel_attention", "shares"}


@pytest.fixture(scope="module")
def sen(tmp_path_factory: pytest.TempPathFactory) -> str:
    """File of an ensemble of two small networks with random weights, which has never seen zinc."""
    hypers = SENHypers(
        properties=("formation_energy", "band_gap"),
        width=16,
        edge_width=8,
        embedding=16,
        composition_width=8,
        object_width=16,
        object_layers=1,
        crystal_system=1.0,
    )
    networks = []
    for seed in range(2):
        torch.manual_seed(seed)
        networks.append(SEN(hypers))
    numbers = tuple(sorted(int(ase.Atom(symbol).number) for symbol in ("O", "Na", "Cl", "Si", "Ba", "Ti", "Mg", "Cu")))
    path = tmp_path_factory.mktemp("models") / "tiny-sen.safetensors"
    save_model(networks, path, ModelCard(elements=numbers))
    return str(path)


def many(path: Path, count: int) -> Path:
    """Rattled MgO cells in one file."""
    frames = []
    for k in range(count):
        atoms = crystals.rocksalt()
        atoms.symbols[:] = "MgO"
        atoms.rattle(0.02, seed=k)
        atoms.info["id"] = f"mgo/{k}"
        frames.append(atoms)
    ase.io.write(path, frames)
    return path


def test_one_crystal(voigt: Call, sen: str, examples: Path, tmp_path: Path) -> None:
    output, folder = tmp_path / "quartz.json", tmp_path / "figures" / "here"
    words = ("--model", sen, "-o", output, "--figures", folder, "--stages")
    result = voigt("explain", examples / "SiO2-quartz.cif", *words)
    assert result.exit_code == 0, result.output
    assert result.stderr == f"1 crystal explained; wrote {output}; 5 figures in {folder}\n"
    content = json.loads(output.read_text())
    (quartz,) = content["crystals"]
    assert content["set"] is None
    assert quartz["spacegroup"]["number"] == 154
    assert [len(orbit["atoms"]) for orbit in quartz["orbits"]] == [3, 6]
    atoms = quartz["atoms"]
    for orbit in quartz["orbits"]:
        first, *others = (atoms[k] for k in orbit["atoms"])
        for other in others:
            for key in ("assignment", "shares", "atom_attention", "bond_attention", "channel_entropy"):
                assert other[key] == first[key]
            for stage in [*quartz["atom_stages"], *quartz["channel_attention"]]:
                assert stage[other["index"]] == stage[first["index"]]
    assert atoms[0]["assignment"] != atoms[-1]["assignment"]  # silicon and oxygen differ
    np.testing.assert_allclose(np.sum([atom["assignment"] for atom in atoms], axis=0), np.ones(16), atol=1e-5)
    np.testing.assert_allclose([sum(capsule["posterior"]) for capsule in quartz["capsules"]], np.ones(16), atol=1e-5)
    assert sum(capsule["presence"] for capsule in quartz["capsules"]) == pytest.approx(1.0, abs=1e-5)
    assert sum(quartz["composition"].values()) == pytest.approx(1.0, abs=1e-5)
    for name, found in quartz["predictions"].items():
        assert sum(atom["shares"][name] for atom in atoms) == pytest.approx(found["sum_of_shares"], abs=1e-5)
    energy = quartz["predictions"]["formation_energy"]
    assert energy["value"] == pytest.approx(energy["sum_of_shares"], abs=1e-5)
    assert f"formation energy {energy['value']:.3f} eV/atom" in result.stdout
    assert {path.stem for path in (folder / "SiO2-quartz").iterdir()} == FIGURES


def test_members_are_explained_one_by_one(voigt: Call, sen: str, examples: Path, tmp_path: Path) -> None:
    (prediction,) = package.predict(str(examples / "NaCl.cif"), model=sen)
    values = []
    for member in range(2):
        output = tmp_path / f"{member}.json"
        result = voigt("explain", examples / "NaCl.cif", "--model", sen, "--member", member, "-o", output, "--quiet")
        assert (result.exit_code, result.output) == (0, "")
        (found,) = json.loads(output.read_text())["crystals"]
        assert found["member"] == member
        values.append(found["predictions"]["formation_energy"]["value"])
    assert values[0] != pytest.approx(values[1], abs=1e-4)
    # What voigt predict delivers is the mean of the two.
    assert np.mean(values) == pytest.approx(float(prediction.values["formation_energy"]), abs=1e-5)


def test_several_crystals_bring_the_figures_of_the_set(voigt: Call, sen: str, examples: Path, tmp_path: Path) -> None:
    output = tmp_path / "set.json"
    files = [examples / name for name in ("SiO2-quartz.cif", "NaCl.cif", "BaTiO3.vasp", "MgO.vasp")]
    result = voigt("explain", *files, "--model", sen, "--property", "band_gap", "-o", output)
    assert result.exit_code == 0, result.output
    assert [line.split()[0] for line in result.stdout.splitlines() if " atoms  id " in line] == [
        "SiO2", "NaCl", "BaTiO3", "MgO",
    ]  # fmt: skip
    assert "4 crystals: 1 tetragonal, 1 trigonal, 2 cubic" in result.stdout
    assert "formation energy" not in result.stdout
    content = json.loads(output.read_text())
    assert len(content["crystals"]) == 4
    assert content["set"]["crystal_systems"] == {"tetragonal": 1, "trigonal": 1, "cubic": 2}
    assert content["set"]["capsule_and_site"]["element"]["items"] == 2 + 2 + 4 + 2
    assert list(content["crystals"][0]["predictions"]) == ["band_gap"]


def test_of_many_crystals_only_the_set_is_shown(voigt: Call, sen: str, tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    folder = tmp_path / "figures"
    result = voigt("explain", many(tmp_path / "many.extxyz", 21), "--model", sen, "--figures", folder)
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("21 crystals: ")
    assert " id mgo" not in result.stdout
    assert {path.name for path in folder.iterdir()} == {
        "map_crystal_system.png", "map_formation_energy.png", "map_band_gap.png",
    }  # fmt: skip


def test_every_crystal_has_a_folder_of_its_own(
    voigt: Call, sen: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(figures, "crystal_figures", lambda crystal: [("one", figures.presence_figure(crystal))])
    frames = ase.io.read(many(tmp_path / "two.extxyz", 2), ":")
    frames[0].info["id"], frames[1].info["id"] = "a/b", "a b"
    ase.io.write(tmp_path / "two.extxyz", frames)
    result = voigt("explain", tmp_path / "two.extxyz", "--model", sen, "--figures", tmp_path / "out", "--quiet")
    assert (result.exit_code, result.output) == (0, "")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"a_b", "a_b-2"}
    assert len(list((tmp_path / "out").glob("*/one.png"))) == 2


def test_a_failed_input_is_named_and_the_rest_delivered(voigt: Call, sen: str, examples: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.vasp"
    bad.write_text("no structure\n")
    files = [examples / "NaCl.cif", bad, examples / "ZnO.cif", examples / "MgO.vasp"]
    result = voigt("explain", *files, "--model", sen, "-o", tmp_path / "a.json")
    assert result.exit_code == 1
    failures = [line for line in result.stderr.splitlines() if line.startswith("failed: ")]
    assert len(failures) == 2
    assert "bad.vasp" in failures[0]
    assert "Zn not among the 8 elements" in failures[1]
    assert "2 crystals explained, 2 failures" in result.stderr
    assert [entry["id"] for entry in json.loads((tmp_path / "a.json").read_text())["crystals"]] == ["NaCl", "MgO"]

    allowed = voigt("explain", examples / "ZnO.cif", "--model", sen, "--allow-unseen")
    assert allowed.exit_code == 0
    assert "warning: ZnO: Zn not in the training set" in allowed.stderr


def test_if_all_inputs_fail_an_earlier_file_stays(voigt: Call, sen: str, examples: Path, tmp_path: Path) -> None:
    output = tmp_path / "a.json"
    output.write_text("old")
    result = voigt("explain", examples / "ZnO.cif", "--model", sen, "-o", output)
    assert (result.exit_code, result.stdout) == (1, "")
    assert output.read_text() == "old"


def test_another_method_is_refused(voigt: Call, tmp_path: Path, examples: Path) -> None:
    model = save_tiny_model(tmp_path / "born.safetensors", 1)
    result = voigt("explain", examples / "NaCl.cif", "--model", model)
    assert result.exit_code == 2
    assert result.stderr == "voigt: explain needs a SEN model; 'born' is of method equivar\n"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--member", "2"], "no member 2"),
        (["--member", "-1"], "no member -1"),
        (["--property", "elastic"], "'elastic' is a tensor"),
        (["--property", "gap"], "unknown property 'gap'"),
        (["-o", "a.csv"], "explanations are written as .json"),
        (["--stages"], "-o FILE.json"),
        (["-o", "nowhere/a.json"], "cannot write nowhere/a.json"),
    ],
)
def test_a_wrong_call_ends_with_one_sentence(
    voigt: Call, sen: str, examples: Path, words: list[str], sentence: str
) -> None:
    result = voigt("explain", examples / "NaCl.cif", "--model", sen, *words)
    assert result.exit_code == 2
    assert sentence in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_property_that_the_model_lacks(voigt: Call, tmp_path: Path, examples: Path) -> None:
    torch.manual_seed(0)
    small = SENHypers(properties=("formation_energy",), width=8, edge_width=8, embedding=8, object_width=8)
    save_model([SEN(small)], tmp_path / "energy.safetensors", ModelCard(elements=(11, 17)))
    result = voigt(
        "explain", examples / "NaCl.cif", "--model", tmp_path / "energy.safetensors", "--property", "band_gap"
    )
    assert result.exit_code == 2
    assert "model 'energy' does not predict band_gap; it predicts formation_energy" in result.stderr


def test_maps_without_scikit_learn_are_refused_before_any_work(
    voigt: Call, sen: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, examples: Path
) -> None:
    monkeypatch.setattr(maps, "find_spec", lambda _: None)
    result = voigt("explain", many(tmp_path / "many.extxyz", 8), "--model", sen, "--figures", tmp_path / "out")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "pip install 'voigt[explain]'" in result.stderr
    assert not (tmp_path / "out").exists()
    # Tables of these crystals, and figures of a single one, need no extra.
    assert voigt("explain", tmp_path / "many.extxyz", "--model", sen).exit_code == 0
    assert voigt("explain", examples / "MgO.vasp", "--model", sen, "--figures", tmp_path / "out").exit_code == 0
