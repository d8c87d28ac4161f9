"""What users got from voigt 0.1.0 they still get: numbers, sentences, files, stores, model files, names.

These tests hold voigt against what it printed before, which proves nothing about physics; all else in tests/ does that.
They exist for changes of the inside. A result that is to change is frozen anew, on its own, with the reason.
cases.py says what is frozen and how close is equal, make_golden.py how it was made. Frozen anew since: the report.md
of both old stores, whose kinds of warnings are no longer read out of sentences; the list of models, which grew; and
training.json, since crystals are shuffled anew in every pass, which Lightning had not been told. Models that have been
trained again since, or are gone, are held against nothing: cases.RETRAINED, and every test that needs one is skipped
with its name.
compare.WORDS has what is worded differently.
"""

from __future__ import annotations

import json
import logging
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import FrozenInstanceError
from inspect import signature
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
import pytest
from tests.golden import cases
from tests.golden.cases import GOLDEN
from tests.golden.compare import differences, file_differences, same_number, text_differences, without_judgments

import voigt
from voigt.api import Failure

ODD = str(GOLDEN / "odd.xyz")
VANISHING = 1e-3
"""THz and cm^-1: frequencies of rigid shifts are roots of rounding errors."""


# Everything that knows the inside of voigt stands here: a change of names or formats is followed in these functions.


def outcomes(inputs: Any, model: str | Path | None, **settings: Any) -> list[voigt.Prediction | Failure]:
    """Predictions and failures, in the order of the crystals."""
    from voigt.prediction import predict_structures
    from voigt.structures import read

    return list(predict_structures(read(inputs), model, voigt.Settings(**settings)))


def command(*words: str) -> Any:
    """The command line in this process: an object with stdout, stderr and exit_code."""
    from typer.testing import CliRunner

    from voigt.cli.main import app

    return CliRunner().invoke(app, list(words))


def weights(path: Path) -> dict[str, Any]:
    """Arrays of a model file, by the names that release 0.1.0 gave them."""
    from safetensors.numpy import load_file

    return load_file(path)


def store_rows(folder: Path) -> list[dict[str, Any]]:
    """Rows of a screening's store, by id."""
    import pyarrow.parquet as pq

    rows = [row for path in sorted((folder / "parts").glob("*.parquet")) for row in pq.read_table(path).to_pylist()]
    return sorted(rows, key=lambda row: row["id"])


# Nothing below imports a module of voigt but `voigt` and `voigt.api`.


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory: a folder with copies of what commands name."""
    monkeypatch.chdir(cases.workplace(tmp_path))
    monkeypatch.delenv("VOIGT_DATA", raising=False)  # would be taken for the folder of a recipe's data
    return tmp_path


@pytest.fixture
def own_log() -> Iterator[None]:
    """`voigt train` sets up the log of a process of its own."""
    logs = [logging.getLogger(name) for name in ("voigt", "lightning", "lightning.pytorch", "lightning.fabric")]
    before = [(log, log.handlers, log.level, log.propagate) for log in logs]
    yield
    for log, handlers, level, propagate in before:
        log.handlers, log.propagate = handlers, propagate
        log.setLevel(level)


def check(entries: list[Any], frozen: Any, floor: Any = cases.FLOOR, allowed: float = 1.0) -> None:
    """Equal texts, and arrays equal up to rounding; `allowed`: so many times what is measured for it."""
    (texts, arrays), (old_texts, old_arrays) = cases.record(entries), frozen
    assert texts["said"] == old_texts["said"]
    for entry in (texts, old_texts):
        kept = {key: without_judgments(sentences) for key, sentences in entry["warned"].items()}
        entry["warned"] = {key: sentences for key, sentences in kept.items() if sentences}
    for kind in ("failed", "warned"):
        assert texts[kind].keys() == old_texts[kind].keys()
        now, was = (json.dumps(entry[kind], indent=0, ensure_ascii=False) for entry in (texts, old_texts))
        assert text_differences(now, was, columns=False) == []
    assert {key: value for key, value in cases.excesses(arrays, old_arrays, floor).items() if value > allowed} == {}


EXAMPLES = cases.load_records(GOLDEN / "examples")
DATA = cases.load_records(GOLDEN / "data")
MODELS = cases.load_records(GOLDEN / "models")
API = json.loads((GOLDEN / "api.json").read_text())
TRAINING = json.loads((GOLDEN / "training.json").read_text())


def needs_old_weights(*call: Any, case: str = "") -> None:
    """Skip what a model takes part in whose weights are no longer those that were frozen; `case`: name in cases.py."""
    asked = {cases.DEFAULT} if case in cases.UNNAMED else set()
    touched = sorted(model for model in cases.RETRAINED if model in asked or cases.touches(call, model))
    if touched:
        pytest.skip(f"trained again since 0.1.0: {', '.join(touched)}")


class TestPredictions:
    @pytest.mark.parametrize("name", cases.VARIANTS)
    def test_of_all_examples(self, name: str) -> None:
        model, settings = cases.VARIANTS[name]
        needs_old_weights(model, settings, case=name)
        entries = outcomes([str(cases.EXAMPLES / file) for file in cases.STRUCTURES], model, **settings)
        assert len(entries) == 50
        check(entries, EXAMPLES[name])

    @pytest.mark.parametrize("edges", [1, 1000])
    def test_in_other_batches(self, edges: int) -> None:
        """Whatever the models of today are: those of the first release in one batch and in others."""
        paths = [str(cases.EXAMPLES / file) for file in cases.FOR_MODELS]
        for name in ("equivar", "goectp_readout"):
            entries = outcomes(paths, GOLDEN / "models" / f"{name}.safetensors", max_edges=edges)
            check(entries, MODELS[name], cases.SMALL_FLOOR)

    @pytest.mark.parametrize("model", cases.MODELS)
    def test_of_two_hundred_crystals(self, model: str, crystals: list[Any]) -> None:
        needs_old_weights(model)
        entries = outcomes(crystals, model)
        assert len(entries) == 200
        # Two are supercells: copies of an atom differ by rounding and are averaged before the other operations.
        check(entries, DATA[model], allowed=10.0)
        refused = [atoms for atoms, entry in zip(crystals, entries, strict=True) if isinstance(entry, Failure)]
        if refused:
            check(outcomes(refused, model, allow_unseen=True), DATA[f"{model} for unseen elements"], allowed=10.0)

    @pytest.mark.parametrize("name", MODELS)
    def test_of_model_files_of_the_first_release(self, name: str) -> None:
        paths: list[Any] = [str(cases.EXAMPLES / file) for file in cases.FOR_MODELS]
        if name == "equivar_published":
            # It takes one of equidistant images of an atom, the one that rounding puts first: that of ASE's CIF reader.
            paths = [atoms for path in paths for atoms in ase.io.read(path, ":")]
        check(outcomes(paths, GOLDEN / "models" / f"{name}.safetensors"), MODELS[name], cases.SMALL_FLOOR)

    def test_by_the_function_for_notebooks(self) -> None:
        """`voigt.predict` gives what `predict_frames` gives, and raises where that returns a failure."""
        paths = [str(cases.EXAMPLES / file) for file in cases.FOR_MODELS]
        model = voigt.load_model(GOLDEN / "models" / "equivar.safetensors")
        check(voigt.predict(paths, model), MODELS["equivar"], cases.SMALL_FLOOR)
        paths = [str(cases.EXAMPLES / file) for file in cases.STRUCTURES]
        entries = voigt.predict(paths)
        assert {name for entry in entries for name in entry.models.values()} == {cases.DEFAULT}
        check(entries, cases.record(outcomes(paths, cases.DEFAULT)))
        reasons = [entry.reason for entry in outcomes([ODD], "scalars") if isinstance(entry, Failure)]
        with pytest.raises(Exception, match="the position of atom 0") as caught:
            voigt.predict(ODD, "scalars")
        assert type(caught.value).__name__ == "InputError"
        assert str(caught.value) == "; ".join(reasons)


@pytest.fixture(scope="module")
def crystals(dft_data: Callable[[str], Path]) -> list[Any]:
    """Two hundred crystals of the shared data, without labels."""
    chosen = json.loads((GOLDEN / "crystals.json").read_text())
    root = [dft_data(file) for file in {file for file, _, _ in chosen}] and dft_data("born").parent
    return cases.data_crystals(root, chosen)


class TestCommandLine:
    @pytest.mark.parametrize("name", cases.COMMANDS)
    def test_prints_and_writes(self, name: str, workplace: Path) -> None:
        needs_old_weights(cases.COMMANDS[name], case=name)
        result = command(*cases.COMMANDS[name])
        frozen = GOLDEN / "commands" / name
        vanishing = VANISHING if name.startswith(("phonons", "infrared")) else 0.0
        told = f"{result.stderr}exit code {result.exit_code}\n"
        assert text_differences(told, (frozen / "stderr").read_text(), vanishing) == []
        assert text_differences(result.stdout, (frozen / "stdout").read_text(), vanishing) == []
        for file in cases.WRITTEN.get(name, ()):
            assert file_differences(workplace / file, frozen / Path(file).name, vanishing) == []

    @pytest.mark.parametrize("name", cases.STORES)
    def test_an_old_store_is_taken_up(self, name: str, workplace: Path) -> None:
        needs_old_weights(cases.STORES[name])
        parts = {path: path.read_bytes() for path in (workplace / name).rglob("*.parquet")}
        failed = len((workplace / name / "failed.csv").read_text().splitlines()) > 1
        result = command(*cases.STORES[name], "-o", name)
        assert result.exit_code == int(failed), result.stderr
        assert "0 of this run; complete" in result.stderr
        assert {path: path.read_bytes() for path in (workplace / name).rglob("*.parquet")} == parts

    @pytest.mark.parametrize("name", cases.STORES)
    def test_an_old_store_goes_on(self, name: str, workplace: Path) -> None:
        """One more crystal is computed, and stands beside the old ones in a ranking."""
        needs_old_weights(cases.STORES[name])
        words = list(cases.STORES[name])
        source = workplace / (words[1] if words[1].endswith(".xyz") else f"{words[1]}/families.xyz")
        lines = ["2", 'Lattice="0 2.2 2.2 2.2 0 2.2 2.2 2.2 0" Properties=species:S:1:pos:R:3 id=late pbc="T T T"']
        with source.open("a") as stream:
            stream.write("\n".join([*lines, "Mg 0 0 0", "O 2.2 0 0", ""]))
        result = command(*words, "-o", name, "--where", "volume > 0", "--rank", "-volume", "--top", "1000")
        assert "1 of this run; complete" in result.stderr
        rows = store_rows(workplace / name)
        assert [row for row in rows if row["id"] != "late"] == store_rows(GOLDEN / name)
        listed = [line.split(",")[0] for line in (workplace / name / "selection.csv").read_text().splitlines()[1:]]
        assert listed == [row["id"] for row in sorted(rows, key=lambda row: (row["volume"], row["id"]))]

    @pytest.mark.parametrize("name", cases.STORES)
    def test_a_new_store_holds_the_same_rows(self, name: str, workplace: Path) -> None:
        needs_old_weights(cases.STORES[name])
        command(*cases.STORES[name], "-o", "fresh")
        now, was = store_rows(workplace / "fresh"), store_rows(GOLDEN / name)
        assert [row["id"] for row in now] == [row["id"] for row in was]
        assert differences(now, was) == []

    @pytest.mark.parametrize("name", TRAINING)
    @pytest.mark.usefixtures("own_log")
    def test_twenty_steps_of_training(self, name: str, workplace: Path) -> None:
        """In double precision: figures, and size, norm and sum of all weights."""
        result = command("train", f"training/{name}.yaml", "-o", "run")
        assert result.exit_code == 0, result.stderr
        model, was = workplace / "run" / f"{name}.safetensors", TRAINING[name]
        now = cases.training_summary(workplace / "run", weights(model))
        assert was["metrics"]["step"] == 20
        metrics = {key: now["metrics"].get(key, np.nan) for key in was["metrics"]}
        assert metrics == pytest.approx(was["metrics"], rel=cases.RELATIVE, abs=1e-9)
        assert now["weights"].keys() == was["weights"].keys()
        for key, (size, norm, total) in was["weights"].items():
            rounding = cases.RELATIVE * norm + 1e-9  # some weights move by rounding errors only
            assert now["weights"][key][0] == size, key
            assert now["weights"][key][1] == pytest.approx(norm, abs=rounding), key
            assert now["weights"][key][2] == pytest.approx(total, abs=rounding * size**0.5), key
        assert voigt.load_model(model).card.metrics == pytest.approx(was["card"], rel=cases.RELATIVE)


class TestInterface:
    @pytest.mark.parametrize("name", ["predict", "load_model"])
    def test_functions_take_what_they_took(self, name: str) -> None:
        """In the same order with the same defaults; more may follow."""
        now = [
            [entry.name, entry.kind.name, None if entry.default is entry.empty else repr(entry.default)]
            for entry in signature(getattr(voigt, name)).parameters.values()
        ]
        assert now[: len(API[name])] == API[name]
        assert all(default is not None for _, _, default in now[len(API[name]) :])

    def test_settings_take_what_they_took(self) -> None:
        plain, old = voigt.Settings(), API["Settings"]
        old = [[name, "None" if name == "total_charge" else default] for name, default in old]  # that of the structure
        assert [[name, repr(getattr(plain, name))] for name, _ in old] == old
        assert list(signature(voigt.Settings).parameters)[: len(old)] == [name for name, _ in old]
        positional = voigt.Settings(*(getattr(plain, name) for name, _ in old))
        assert positional == plain
        with pytest.raises(FrozenInstanceError):
            plain.symprec = 1.0  # type: ignore[misc]

    def test_names(self) -> None:
        assert set(API["__all__"]) <= set(voigt.__all__)
        assert all(hasattr(voigt, name) for name in API["__all__"])

    def test_a_prediction_has_what_it_had(self) -> None:
        needs_old_weights(cases.PROPERTIES)
        settings = voigt.Settings(properties=cases.PROPERTIES)
        (found,) = voigt.predict(str(cases.EXAMPLES / "LiNbO3.cif"), settings=settings)
        assert isinstance(found, voigt.Prediction)
        assert [name for name, _ in API["Prediction"] if not hasattr(found, name)] == []
        per_crystal = {"eps_inf": 2, "eps_ionic": 2, "eps_total": 2, "piezo_total": 3, "elastic": 4, "band_gap": 0,
                       "formation_energy": 0}
        shapes = {"born_charges": (30, 3, 3), **{name: (3,) * rank for name, rank in per_crystal.items()}}
        assert {name: value.shape for name, value in found.values.items()} == shapes
        assert {name: value.shape for name, value in found.raw.items()} == shapes
        assert {name: value.shape for name, value in found.spread.items()}.items() <= shapes.items()
        assert {value.dtype for value in (*found.values.values(), *found.raw.values())} == {np.dtype(np.float64)}
        assert {name: value.shape for name, value in found.members.items()} == {
            name: (2, *shapes[name]) for name in ("eps_inf", "eps_ionic", "eps_total", "piezo_total", "elastic")
        }
        assert isinstance(found.warnings, tuple)
        assert all(isinstance(sentence, str) for sentence in found.warnings)
        assert (found.id, len(found.atoms), found.symmetry.number, found.symmetrized) == ("LiNbO3", 30, 161, True)
        assert found.drift is not None
        assert found.drift.shape == (3, 3)
        assert set(found.residual) == {name for name, shape in shapes.items() if shape}

    def test_warnings_are_sentences(self) -> None:
        found = outcomes([ODD], "born")[2]
        assert isinstance(found, voigt.Prediction)
        assert isinstance(found.warnings, tuple)
        assert {type(sentence) for sentence in found.warnings} == {str}

    def test_a_failure_has_what_it_had(self) -> None:
        failures = [entry for entry in outcomes([ODD], "born") if isinstance(entry, Failure)]
        assert len(failures) == 8
        for entry in failures:
            # `frame` is not there any more: a failure names its place itself.
            assert [name for name, _ in API["Failure"] if not hasattr(entry, name)] == ["frame"]
            assert isinstance(entry.reason, str)
            assert (Path(entry.source).name, bool(entry.id)) == ("odd.xyz", True)
        # The model has seen no radon (4) and no helium (11); uranium (3) it knows since it was trained again.
        assert [entry.index for entry in failures] == [4, 7, 8, 9, 10, 11, 15, 16]
        assert {entry.elements for entry in failures} == {(), ("Rn",), ("He",)}

    @pytest.mark.parametrize("name", cases.MODELS)
    def test_models_say_what_they_said(self, name: str) -> None:
        needs_old_weights(name)
        assert differences(cases.described(voigt.load_model(name)), API["models"][name]) == []

    def test_the_default_model(self) -> None:
        assert voigt.load_model().name == "born"


class TestTheComparison:
    """It sees what it is for: each array a little wrong, each kind of file."""

    @pytest.mark.parametrize(
        ("records", "floor"),
        [(EXAMPLES, cases.FLOOR), (DATA, cases.FLOOR), (MODELS, cases.SMALL_FLOOR)],
        ids=["examples", "data", "models"],
    )
    def test_sees_every_array(self, records: Any, floor: Any) -> None:
        for name, (_, arrays) in records.items():
            for key, array in arrays.items():
                prop, _, kind = key.rpartition("/")
                place = int(np.abs(arrays[f"{prop}/norm"] if kind == "residual" else array).argmax())
                changed = array.copy()
                if array.dtype.kind == "i":
                    changed[place] += 1
                elif kind == "residual":  # a share, of tensors that may be small
                    changed[place] += 0.05
                else:
                    changed[place] += 3e-5 * max(abs(array[place]), 1.0)
                excess = cases.excesses({**arrays, key: changed}, arrays, floor)
                assert [other for other, value in excess.items() if value > 1.0] == [key], name

    def test_knows_equal_arrays(self) -> None:
        for _, arrays in (*EXAMPLES.values(), *DATA.values()):
            assert max(cases.excesses(arrays, arrays).values()) == 0.0

    def test_sees_arrays_that_are_missing_short_or_not_finite(self) -> None:
        arrays = EXAMPLES["born"][1]
        key = "born_charges/values"
        for other in ({}, {key: arrays[key][:-1]}, {key: np.full_like(arrays[key], np.nan)}):
            rest = {name: array for name, array in arrays.items() if name != key}
            assert cases.excesses({**rest, **other}, arrays)[key] == np.inf

    def test_of_texts(self) -> None:
        line = "Ti  1.234   -0.001  site 4a, 225, 5.5e-10 of 3 atoms"
        assert text_differences(line, line) == []
        for old, new in (("1.234", "1.235"), ("-0.001", " 0.000"), ("5.5e-10", "1.0e-13")):
            assert text_differences(line.replace(old, new), line) == []
        for old, new in (("1.234", "1.236"), ("1.234", "1.2345"), ("1.234", "12.34"), ("225", "221"), ("3 a", "2 a"),
                         ("site", "Site"), ("Ti  ", "Ti "), ("5.5e-10", "5.5e-04")):
            assert len(text_differences(line.replace(old, new), line)) == 1
        assert len(text_differences(f"{line}\n{line}", line)) == 1

    def test_of_numbers(self) -> None:
        assert same_number(100.0, 100.0 + 1e-4)
        assert not same_number(100.0, 100.0 + 2e-4)
        assert same_number(0.0, 4e-6)
        assert not same_number(0.0, 6e-6)
        assert same_number(1e-4, -2e-4, vanishing=1e-3)

    def test_of_nested_content(self) -> None:
        old = {"a": [1.0, 2.0], "b": {"c": "x", "n": 3, "t": True}}
        assert differences({**old, "new": 1}, old) == []
        for other in ({"a": [1.0], "b": old["b"]}, {"a": [1.0, 2.1], "b": old["b"]}, {"a": old["a"]}):
            assert len(differences(other, old)) == 1
        for key, value in (("c", "y"), ("n", 4), ("t", False), ("n", 3.1)):
            assert len(differences({**old, "b": {**old["b"], key: value}}, old)) == 1

    def test_of_files(self, tmp_path: Path) -> None:
        for kind in ("json", "extxyz", "csv", "parquet"):
            frozen = GOLDEN / "commands" / f"predict_{kind}" / f"out.{kind}"
            copy = Path(shutil.copy(frozen, tmp_path))
            assert file_differences(copy, frozen) == []
            if kind != "parquet":
                text = copy.read_text()
                digits = re.search(r"(?<=1\.95)\d", text)
                assert digits is not None
                digit = "1" if digits.group() != "1" else "2"
                copy.write_text(text[: digits.start()] + digit + text[digits.end() :])
                assert len(file_differences(copy, frozen)) == 1
            copy.unlink()
            assert file_differences(copy, frozen) == [f"{copy.name} was not written"]
