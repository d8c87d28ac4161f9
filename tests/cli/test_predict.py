"""`voigt predict`: what arrives, what is said, and what happens to bad input."""

from __future__ import annotations

import errno
import inspect
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import ase
import ase.io
import numpy as np
import pyarrow.parquet as pq
import pytest
from phonopy import Phonopy
from phonopy.file_IO import parse_BORN
from phonopy.structure.atoms import PhonopyAtoms
from safetensors import safe_open
from safetensors.torch import save_file
from tests import crystals
from tests.predictions import save_tiny_model
from typer.testing import Result

import voigt as package
from voigt.cli.predict import predict as command
from voigt.prediction.result import Settings
from voigt.tensors.voigt import elastic_from_voigt

Call = Callable[..., Result]


@pytest.fixture
def quartz(examples: Path) -> Path:
    return examples / "SiO2-quartz.cif"


@pytest.fixture
def many(tmp_path: Path) -> Path:
    """Twelve rattled MgO cells in one file; the eighth has a NaN and the tenth lacks a line."""
    frames = []
    for k in range(12):
        atoms = crystals.rocksalt()
        atoms.symbols[:] = "MgO"
        atoms.rattle(0.02, seed=k)
        atoms.info["id"] = f"mgo-{k}"
        frames.append(atoms)
    path = tmp_path / "many.extxyz"
    ase.io.write(path, frames)
    lines = path.read_text().splitlines()
    lines[4 * 7 + 2] = "Mg nan 0.0 0.0"
    del lines[4 * 9 + 3]
    path.write_text("\n".join(lines) + "\n")
    return path


def rows_of(stdout: str) -> dict[int, list[float]]:
    """Atom index -> the nine components in the table."""
    lines = stdout.splitlines()
    heading = next(k for k, line in enumerate(lines) if line.startswith("atom  el"))
    rows = {}
    for line in lines[heading + 1 :]:
        words = line.split()
        if not words or not words[0].isdigit():
            break
        rows[int(words[0])] = [float(word) for word in words[3:12]]
    return rows


def test_the_table_holds_what_the_function_returns(voigt: Call, tiny_model: str, quartz: Path) -> None:
    result = voigt("predict", quartz, "--model", tiny_model, "--all-atoms")
    assert (result.exit_code, result.stderr) == (0, "")
    (prediction,) = package.predict(str(quartz), model=tiny_model)
    rows = rows_of(result.stdout)
    expected = prediction.values["born_charges"].reshape(9, 9)
    np.testing.assert_allclose([rows[k] for k in range(9)], expected, atol=5.1e-4)
    assert result.stdout.startswith("SiO2  P3_221 (154)  9 atoms  id SiO2-quartz  model tiny  functional PBEsol\n")
    assert f"{abs(prediction.drift).max():.4f} e per cell" in result.stdout
    assert list(rows_of(voigt("predict", quartz, "--model", tiny_model).stdout)) == [0, 3]


def test_options_reach_the_prediction(voigt: Call, tiny_model: str, tmp_path: Path) -> None:
    atoms = crystals.nameless()
    atoms.symbols[:] = ["Ba", "Ti", "O", "F"]
    ase.io.write(tmp_path / "a.extxyz", atoms)

    def charges(*options: str) -> np.ndarray:
        out = tmp_path / "out.json"
        result = voigt("predict", tmp_path / "a.extxyz", "--model", tiny_model, "-o", out, *options)
        assert result.exit_code == 0, result.stderr
        return np.array(json.loads(out.read_text())[0]["properties"]["born_charges"]["value"])

    default = charges()
    np.testing.assert_allclose(default.sum(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(charges("--total-charge", "-2").sum(axis=0), -2 * np.eye(3), atol=1e-12)
    raw = charges("--no-sum-rule")
    assert abs(raw.sum(axis=0)).max() > 1e-3
    # The network makes its own charges neutral in single precision.
    np.testing.assert_allclose(raw - raw.mean(axis=0), default, atol=1e-6 * abs(raw).max())
    assert abs(charges("--functional", "PBE") - default).max() > 1e-3
    np.testing.assert_array_equal(charges("--functional", "PBEsol"), default)


def test_symmetry_can_be_left_out(voigt: Call, tiny_model: str, tmp_path: Path) -> None:
    """An atom off its site by less than symprec: only the projection makes its tensor isotropic."""
    atoms = crystals.rocksalt(cubic=True)
    atoms.positions[0] += (0.03, 0.05, 0.04)
    ase.io.write(tmp_path / "a.extxyz", atoms)
    spread = []
    for option in ("--symmetry", "--no-symmetry"):
        out = tmp_path / "out.json"
        arguments = ("predict", tmp_path / "a.extxyz", "--model", tiny_model, "-o", out, "--symprec", "0.2", option)
        assert voigt(*arguments).exit_code == 0
        z = np.array(json.loads(out.read_text())[0]["properties"]["born_charges"]["value"])
        spread.append(abs(z[0] - np.trace(z[0]) / 3 * np.eye(3)).max())
    assert spread[0] < 1e-12
    assert spread[1] > 1e-7


def test_defaults_are_those_of_the_library() -> None:
    parameters = inspect.signature(command).parameters
    names = {"symmetrize": "symmetry"}
    assert parameters["model"].default is None is inspect.signature(package.predict).parameters["model"].default
    same = ("symmetrize", "sum_rule", "total_charge", "symprec", "allow_unseen", "functional", "properties", "device")
    for name in same:
        assert parameters[names.get(name, name)].default == getattr(Settings(), name)


def test_only_the_properties_asked_for(voigt: Call, tiny_model: str, quartz: Path) -> None:
    result = voigt("predict", quartz, "--model", tiny_model, "--properties", "eps_inf")
    assert result.exit_code == 0
    assert "eps_inf" in result.stdout
    assert "Born" not in result.stdout


@pytest.mark.parametrize("suffix", ["json", "csv", "extxyz", "parquet"])
def test_a_bad_frame_is_named_and_the_rest_delivered(
    voigt: Call, tiny_model: str, many: Path, suffix: str, tmp_path: Path
) -> None:
    out = tmp_path / f"out.{suffix}"
    result = voigt("predict", many, "--model", tiny_model, "-o", out)
    assert result.exit_code == 1
    failures = [line for line in result.stderr.splitlines() if line.startswith("failed: ")]
    assert len(failures) == 2
    assert all(str(many) in line for line in failures)
    assert "mgo-7" in failures[0]
    assert "NaN" in failures[0] or "not finite" in failures[0]
    assert "mgo-9" in failures[1]
    assert re.search(rf"^10 crystals predicted, (\d+ with warnings, )?2 failures; wrote {re.escape(str(out))}$",
                     result.stderr, re.MULTILINE)
    assert "Traceback" not in result.stderr
    good = [f"mgo-{k}" for k in range(12) if k not in (7, 9)]
    if suffix == "json":
        assert [entry["id"] for entry in json.loads(out.read_text())] == good
    if suffix == "extxyz":
        assert [frame.info["id"] for frame in ase.io.read(out, ":")] == good
    if suffix == "csv":
        assert list(dict.fromkeys(line.split(",")[0] for line in out.read_text().splitlines()[1:])) == good


def test_standard_output_is_clean_for_pipes(voigt: Call, tiny_model: str, many: Path) -> None:
    result = voigt("predict", many, "--model", tiny_model)
    assert result.exit_code == 1
    assert "failed" not in result.stdout
    assert result.stdout.count("model tiny") == 10


def test_many_crystals_in_a_file_print_no_tables(voigt: Call, tiny_model: str, tmp_path: Path) -> None:
    atoms = crystals.rocksalt()
    ase.io.write(tmp_path / "a.extxyz", [atoms] * 21)
    result = voigt("predict", tmp_path / "a.extxyz", "--model", tiny_model, "-o", tmp_path / "out.csv")
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == f"21 crystals predicted; wrote {tmp_path / 'out.csv'}\n"
    result = voigt("predict", tmp_path / "a.extxyz", "--model", tiny_model)
    assert result.stdout.count("NaCl") == 21


def test_many_warnings_are_counted(voigt: Call, tiny_model: str, tmp_path: Path) -> None:
    atoms = crystals.rocksalt()
    atoms.symbols[:] = "MgAl"
    ase.io.write(tmp_path / "a.extxyz", [atoms] * 30)
    result = voigt("predict", tmp_path / "a.extxyz", "--model", tiny_model, "-o", tmp_path / "out.csv")
    assert result.exit_code == 0
    assert result.stderr.count("warning: ") == 20
    assert "30 crystals predicted, 30 with warnings; wrote" in result.stderr


def test_long_work_tells_how_far_it_is(
    voigt: Call, tiny_model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("voigt.cli.progress.SECONDS", 0.0)
    ase.io.write(tmp_path / "a.extxyz", [crystals.rocksalt()] * 21)
    arguments = ("predict", tmp_path / "a.extxyz", "--model", tiny_model, "-o", tmp_path / "out.csv")
    assert "\n21 crystals in " in voigt(*arguments).stderr
    assert voigt(*arguments, "--quiet").stderr == ""


def test_quiet(voigt: Call, tiny_model: str, tmp_path: Path) -> None:
    atoms = crystals.rocksalt()
    atoms.symbols[:] = "MgAl"
    ase.io.write(tmp_path / "metal.extxyz", atoms)
    arguments = ("predict", tmp_path / "metal.extxyz", "--model", tiny_model, "--quiet")
    alone = voigt(*arguments)
    assert alone.stdout.startswith("MgAl")
    assert alone.stderr == ""
    result = voigt(*arguments, "-o", tmp_path / "out.json")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "")


def test_born_is_read_by_phonopy(voigt: Call, tiny_model: str, examples: Path, tmp_path: Path) -> None:
    path = examples / "BaTiO3.vasp"
    result = voigt("predict", path, "--model", tiny_model, "--born", tmp_path / "BORN")
    assert result.exit_code == 0
    assert f"wrote {tmp_path / 'BORN'}" in result.stderr
    atoms = ase.io.read(path)
    unitcell = PhonopyAtoms(cell=atoms.cell.array, scaled_positions=atoms.get_scaled_positions(), numbers=atoms.numbers)
    read = parse_BORN(Phonopy(unitcell, primitive_matrix="P").primitive, filename=tmp_path / "BORN")
    (prediction,) = package.predict(str(path), model=tiny_model)
    np.testing.assert_allclose(read["born"], prediction.values["born_charges"], atol=1e-8)
    np.testing.assert_allclose(read["dielectric"], prediction.values["eps_inf"], atol=1e-8)


def test_born_of_several_crystals_needs_a_name_for_each(
    voigt: Call, tiny_model: str, examples: Path, tmp_path: Path
) -> None:
    arguments = ("predict", examples / "MgO.vasp", examples / "ZnO.cif", "--model", tiny_model, "--born")
    result = voigt(*arguments, tmp_path / "BORN")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "{id}" in result.stderr
    assert list(tmp_path.iterdir()) == []
    result = voigt(*arguments, tmp_path / "{id}.BORN")
    assert result.exit_code == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["MgO.BORN", "ZnO.BORN"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--symprec", "nan"), "above zero"),
        (("--symprec=-1",), "above zero"),
        (("--symprec", "inf"), "above zero"),
        (("--total-charge", "nan"), "total charge of nan"),
        (("--total-charge", "1e300"), "total charge of 1e+300"),
        (("--properties", ","), "names nothing"),
    ],
)
def test_numbers_and_names_without_a_meaning(
    voigt: Call, tiny_model: str, quartz: Path, words: tuple[str, ...], said: str
) -> None:
    result = voigt("predict", quartz, "--model", tiny_model, *words)
    assert (result.exit_code, result.stdout) == (2, "")
    assert said in result.stderr


def test_no_input_is_written_over_and_no_result_read(voigt: Call, tiny_model: str, tmp_path: Path) -> None:
    path = tmp_path / "a.extxyz"
    ase.io.write(path, crystals.rocksalt())
    before = path.read_bytes()
    result = voigt("predict", path, "--model", tiny_model, "-o", path)
    assert result.exit_code == 2
    assert "one of the inputs" in result.stderr
    assert path.read_bytes() == before
    for _ in range(2):  # the second time its own results lie in the folder
        result = voigt("predict", tmp_path, "--model", tiny_model, "-o", tmp_path / "out.json")
        assert (result.exit_code, len(json.loads((tmp_path / "out.json").read_text()))) == (0, 1)
    assert voigt("predict", "", "--model", tiny_model).exit_code == 2


def test_an_id_cannot_leave_its_folder(voigt: Call, tiny_model: str, tmp_path: Path) -> None:
    atoms = crystals.rocksalt()
    atoms.info["id"] = "../mp/1 2"
    ase.io.write(tmp_path / "a.extxyz", atoms)
    (tmp_path / "born").mkdir()
    assert (
        voigt("predict", tmp_path / "a.extxyz", "--model", tiny_model, "--born", tmp_path / "born" / "{id}").exit_code
        == 0
    )
    assert [path.name for path in (tmp_path / "born").iterdir()] == ["_mp_1_2"]


def test_a_crystal_without_born_file_is_named(voigt: Call, tiny_model: str, tmp_path: Path) -> None:
    ase.io.write(tmp_path / "left.extxyz", crystals.left_handed(crystals.rocksalt()))
    result = voigt("predict", tmp_path / "left.extxyz", "--model", tiny_model, "--born", tmp_path / "BORN")
    assert result.exit_code == 1
    assert "failed: left: no BORN file: phonopy takes right-handed cells only" in result.stderr
    assert "NaCl" in result.stdout
    assert not (tmp_path / "BORN").exists()


def test_standard_input(tiny_model: str, examples: Path, tmp_path: Path) -> None:
    """Through the installed command, with a pipe."""
    executable = Path(sys.executable).parent / "voigt"
    done = subprocess.run(
        [str(executable), "predict", "-", "--model", tiny_model, "-o", str(tmp_path / "out.csv")],
        input=(examples / "MgO.vasp").read_text(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "id stdin" in done.stdout
    assert (tmp_path / "out.csv").read_text().splitlines()[1].startswith("stdin,0,Mg,")


def test_unseen_elements(voigt: Call, tiny_model: str, examples: Path) -> None:
    arguments = ("predict", examples / "LiNbO3.cif", examples / "MgO.vasp", "--model", tiny_model)
    result = voigt(*arguments)
    assert result.exit_code == 1
    assert "Li, Nb not among the 10 elements" in result.stderr
    assert "--allow-unseen" in result.stderr
    assert result.stdout.startswith("MgO")
    result = voigt(*arguments, "--allow-unseen")
    assert result.exit_code == 0
    assert "warning: LiNbO3: Li, Nb not in the training set" in result.stderr
    assert result.stdout.startswith("LiNbO3")


def test_metals_are_flagged(voigt: Call, tiny_model: str, tmp_path: Path) -> None:
    alloy, doped = crystals.rocksalt(), crystals.rocksalt(cubic=True)
    alloy.symbols[:] = "MgAl"
    doped.symbols[:] = "MgOMgOMgOAlO"  # 81 electrons
    ase.io.write(tmp_path / "alloy.extxyz", alloy)
    ase.io.write(tmp_path / "doped.extxyz", doped)
    result = voigt("predict", tmp_path / "alloy.extxyz", "--model", tiny_model)
    assert result.exit_code == 0
    assert result.stderr.startswith("warning: alloy: probably a metal (model 'scalars' finds no band gap)")
    charged = voigt("predict", tmp_path / "doped.extxyz", "--model", tiny_model, "--total-charge", 1)
    assert charged.exit_code == 0
    assert "metal" not in charged.stderr
    odd = voigt("predict", tmp_path / "doped.extxyz", "--model", tiny_model, "--total-charge", 2)
    assert "odd number of electrons" in odd.stderr


def spoil(model: str, path: Path, how: str) -> None:
    content = Path(model).read_bytes()
    if how == "truncated":
        path.write_bytes(content[: len(content) // 2])
    elif how == "empty":
        path.write_bytes(b"")
    else:
        with safe_open(model, framework="pt") as stream:
            metadata, names = stream.metadata(), list(stream.keys())
            tensors = {name: stream.get_tensor(name) for name in names}
        metadata["format_version"] = "999"
        save_file(tensors, path, metadata)


@pytest.mark.parametrize(
    ("how", "said"),
    [("truncated", "not a complete"), ("empty", "not a complete"), ("version", "format version 999")],
)
def test_a_spoilt_model_file(voigt: Call, tiny_model: str, quartz: Path, how: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "spoilt.safetensors"
    spoil(tiny_model, path, how)
    result = voigt("predict", quartz, "--model", path)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith(f"voigt: {path}")
    assert said in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_a_full_disk(
    voigt: Call, tiny_model: str, quartz: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out.json"
    out.write_text("old")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    result = voigt("predict", quartz, "--model", tiny_model, "-o", out)
    assert result.exit_code == 2
    assert result.stderr == (
        f"voigt: cannot write {out}: No space left on device; free space or choose another place\n"
    )
    assert out.read_text() == "old"
    assert list(tmp_path.iterdir()) == [out]


def test_nothing_predicted_leaves_an_earlier_file(voigt: Call, tiny_model: str, tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    out.write_text("old")
    (tmp_path / "broken.cif").write_text("no crystal")
    result = voigt("predict", tmp_path / "broken.cif", "--model", tiny_model, "-o", out)
    assert result.exit_code == 1
    assert "0 crystals predicted, 1 failure\n" in result.stderr
    assert out.read_text() == "old"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--properties", "borncharges"], "unknown property 'borncharges'"),
        (["--properties", "elastic"], "does not predict elastic; it predicts born_charges, eps_inf"),
        (["--functional", "LDA"], "knows no functional LDA; it knows PBEsol, PBE"),
        (["-o", "out.txt"], "unknown format '.txt'"),
        (["-o", "no/such/folder/out.json"], "No such file or directory"),
        (["--born", "BORN", "--properties", "eps_inf"], "--born needs born_charges and eps_inf"),
        (["--model", "nonsense"], "no model 'nonsense'"),
        (["--device", "gpu"], "device gpu cannot be used"),
    ],
)
def test_a_wrong_call_is_one_sentence(
    voigt: Call,
    tiny_model: str,
    quartz: Path,
    options: list[str],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    result = voigt("predict", quartz, "--model", tiny_model, *options)
    assert (result.exit_code, result.stdout) == (2, "")
    assert said in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_models_are_found_by_what_they_give(voigt: Call, shipped: Path, quartz: Path, tmp_path: Path) -> None:
    names = "eps_inf,eps_total,piezo_total,elastic"
    result = voigt("predict", quartz, "--properties", names, "-o", tmp_path / "out.json")
    assert result.exit_code == 0, result.stderr
    header = "SiO2  P3_221 (154)  9 atoms  id SiO2-quartz  models dielectric, piezo, elastic\n"
    assert result.stdout.startswith(header)
    assert "Elastic tensor elastic, GPa  model elastic  functional PBE\n" in result.stdout
    entry = json.loads((tmp_path / "out.json").read_text())[0]
    assert list(entry["properties"]) == names.split(",")
    assert entry["models"]["eps_inf"] == entry["models"]["eps_total"] == "dielectric"
    (prediction,) = package.predict(str(quartz), settings=Settings(properties=tuple(names.split(","))))
    elastic = elastic_from_voigt(np.array(entry["properties"]["elastic"]["value"]))
    np.testing.assert_allclose(elastic, prediction.values["elastic"], atol=1e-9)
    alone = voigt("predict", quartz)
    assert alone.stdout.startswith("SiO2  P3_221 (154)  9 atoms  id SiO2-quartz  model born  functional PBEsol\n")


def test_a_named_model_is_the_only_one(voigt: Call, shipped: Path, quartz: Path) -> None:
    result = voigt("predict", quartz, "--model", "elastic", "--properties", "elastic,eps_inf")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "model 'elastic' does not predict eps_inf; it predicts elastic" in result.stderr


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--properties", "band_gap,eps_inf"], "no model that ships predicts band_gap; there are born (born_charges"),
        (["--properties", "elastic,eps_inf", "--functional", "LDA"], "none of the models knows functional LDA"),
        (["--properties", "elastic,eps_inf", "--born", "BORN"], "--born needs born_charges and eps_inf"),
    ],
)
def test_what_no_shipped_model_can_do(voigt: Call, shipped: Path, quartz: Path, options: list[str], said: str) -> None:
    result = voigt("predict", quartz, *options)
    assert (result.exit_code, result.stdout) == (2, "")
    assert said in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_what_one_of_several_models_cannot_predict(
    voigt: Call, shipped: Path, examples: Path, tmp_path: Path
) -> None:
    arguments = ("predict", examples / "ZnO.cif", examples / "MgO.vasp", "--properties", "elastic,eps_inf")
    result = voigt(*arguments, "--functional", "PBEsol", "-o", tmp_path / "out.parquet")
    assert result.exit_code == 0
    assert "warning: ZnO: elastic not predicted: Zn not among the 9 elements" in result.stderr
    assert "warning: MgO: model 'elastic' knows no functional PBEsol: elastic predicted for PBE" in result.stderr
    zinc, magnesium = pq.read_table(tmp_path / "out.parquet").to_pylist()
    assert zinc["elastic"] is None
    assert len(magnesium["elastic"]) == 36
    assert (zinc["eps_inf_functional"], magnesium["elastic_functional"]) == ("PBEsol", "PBE")


def test_a_born_file_of_two_functionals_is_told(voigt: Call, shipped: Path, quartz: Path, tmp_path: Path) -> None:
    """Charges from one model and eps_inf from another, which knows another functional only."""
    for name in ("born", "dielectric"):
        shutil.copy(shipped / f"{name}.safetensors", tmp_path)
    save_tiny_model(tmp_path / "dielectric.safetensors", 1, ("eps_inf", "eps_ionic", "eps_total"), ("PBE",))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("voigt.models.checkpoint.WEIGHTS", tmp_path)
        names = "born_charges,eps_inf,eps_ionic,eps_total"
        result = voigt("predict", quartz, "--properties", names, "--born", tmp_path / "BORN")
    assert result.exit_code == 0, result.stderr
    assert "warning: SiO2-quartz: BORN holds Born charges for PBEsol and eps_inf for PBE" in result.stderr


def test_missing_inputs_are_all_named(voigt: Call, tiny_model: str, quartz: Path) -> None:
    result = voigt("predict", "none.cif", quartz, "nor.cif", "--model", tiny_model)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "none.cif, nor.cif" in result.stderr
