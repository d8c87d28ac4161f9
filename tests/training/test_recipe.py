"""Recipes: everything wrong with one is said at once, and what ships is right."""

from __future__ import annotations

import subprocess
import sys
import time
from importlib.resources import files
from pathlib import Path

import pytest
import yaml
from pydantic import BaseModel

from voigt import training
from voigt.data import SplitSettings
from voigt.errors import RecipeError
from voigt.models.equivar.hypers import EquivarHypers
from voigt.models.goectp.hypers import GoeCTPHypers
from voigt.training.recipe import (
    DataSource,
    OptimizerSettings,
    Recipe,
    TargetSettings,
    load_recipe,
    parse_recipe,
)

MINIMAL = {"name": "mine", "data": [{"path": "a.extxyz"}], "targets": {"eps_inf": {}}}


def message(**changes: object) -> str:
    with pytest.raises(RecipeError) as caught:
        parse_recipe({**MINIMAL, **changes}, "mine.yaml")
    text = str(caught.value)
    assert text.startswith("mine.yaml: ")
    return text


def written(folder: Path, **changes: object) -> Path:
    path = folder / "mine.yaml"
    path.write_text(yaml.safe_dump({**MINIMAL, **changes}))
    return path


def test_three_keys_are_enough():
    recipe = parse_recipe(MINIMAL, "mine.yaml")
    assert recipe.model.properties == ("eps_inf",)
    assert recipe.split.kind == "stored"
    assert recipe.optimizer.lr == 0.005


def test_targets_name_what_the_model_predicts():
    recipe = parse_recipe({**MINIMAL, "model": {"channels": 8}}, "mine.yaml")
    assert (recipe.model.properties, recipe.model.channels) == (("eps_inf",), 8)
    text = message(model={"properties": ["born_charges"]})
    assert "targets (eps_inf)" in text
    assert "model.properties (born_charges)" in text


def test_folds_need_a_column():
    recipe = parse_recipe({**MINIMAL, "split": {"kind": "folds", "column": "gap_fold", "fold": 4}}, "mine.yaml")
    assert (recipe.split.fold, recipe.split.val_fraction) == (4, 0.05)
    assert "kind 'folds' needs column" in message(split={"kind": "folds"})
    for share in (0, 1):
        assert "split.val_fraction: " in message(split={"kind": "folds", "column": "fold", "val_fraction": share})


def test_graphs_stay_in_memory_and_batches_in_the_process_unless_told():
    recipe = parse_recipe(MINIMAL, "mine.yaml")
    assert (recipe.graph_store, recipe.workers) == (None, 0)
    assert "workers: " in message(workers=-1)


def test_all_faults_in_one_error():
    text = message(
        epoch=3,
        targets={"eps_inf": {"los": "l1"}, "born": {}},
        optimizer={"lr": "fast", "ema": 1.0},
        model={"chanels": 8},
        batch_size=0,
        split={"kind": "random", "fractions": [0.8, 0.2]},
    )
    for part in (
        "epoch: unknown key",
        "targets.eps_inf.los: unknown key",
        "optimizer.lr: ",
        "(got 'fast')",
        "optimizer.ema: ",
        "model.chanels: unknown key",
        "batch_size: ",
        "split.kind: ",
        "'stored'",
        "split.fractions",
    ):
        assert part in text
    assert "\n" not in text


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ({"method": "goectp", "widht": 8}, "model.widht: unknown key of method goectp, check its spelling"),
        ({"chanels": 8}, "model.chanels: unknown key of method equivar, check its spelling"),
        ({"method": "goectp", "channels": 8}, "model.channels: unknown key of method goectp"),
        ({"method": "goectp", "width": "wide"}, "model.width: input should be a valid integer"),
        ({"method": "goectp", "frame": "mean"}, "model.frame: input should be 'none', 'single', 'stochastic' or"),
        (
            {"method": "goectp", "backbone": "crystalformer", "width": 10, "heads": 4},
            "model: heads (4) must divide width (10)",
        ),
        (
            {"method": "goectp", "backbone": "ecomformer", "directions": "none"},
            "model: frame 'average' needs a backbone that sees directions",
        ),
        ({"method": "goetcp"}, "model.method: unknown method 'goetcp'; choose from 'equivar', 'goectp'"),
        ({"method": None}, "model.method: unknown method 'None'"),
    ],
)
def test_faults_of_a_model_are_placed_as_they_stand_in_the_recipe(model, expected):
    text = message(model=model)
    assert text.startswith(f"mine.yaml: {expected}")
    assert "; model" not in text  # one fault, one complaint
    assert "\n" not in text


def test_a_model_of_another_method():
    recipe = parse_recipe({**MINIMAL, "model": {"method": "goectp", "frame": "stochastic"}}, "mine.yaml")
    assert (recipe.model.method, recipe.model.frame) == ("goectp", "stochastic")
    assert recipe.model.properties == ("eps_inf",)


def test_missing_keys_are_listed():
    with pytest.raises(RecipeError) as caught:
        parse_recipe({"data": [{"functional": "PBE"}]}, "mine.yaml")
    for key in ("name", "targets", "data.0.path"):
        assert f"{key}: required key is missing" in str(caught.value)


def test_unknown_property_is_a_fault_among_the_others():
    text = message(targets={"born_charge": {}}, epochs=0)
    assert "targets: unknown property 'born_charge'; choose from born_charges, eps_inf" in text
    assert "epochs: " in text


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"name": "a/b"}, "name"),
        ({"data": []}, "data"),
        ({"data": [{"path": "a", "limit": 0}]}, "data.0.limit"),
        ({"targets": {}}, "targets"),
        ({"targets": {"eps_inf": {"weight": 0}}}, "targets.eps_inf.weight"),
        ({"targets": None}, "targets"),
        ({"model": None}, "model"),
        ({"seed": -1}, "seed"),
        ({"split": {"seed": -1}}, "split.seed"),
        ({"split": {"fractions": [0, 0.5, 0.5]}}, "split.fractions"),
        ({"split": {"fractions": [1.2, 0.1, -0.3]}}, "split.fractions"),
        ({"precision": "16"}, "precision"),
        ({"steps_per_checkpoint": 0}, "steps_per_checkpoint"),
        ({"patience": 0}, "patience"),
        ({"threads": 0}, "threads"),
        ({"symmetry": 0}, "symmetry"),
    ],
)
def test_impossible_values(changes, key):
    assert f"{key}: " in message(**changes)


def test_values_as_yaml_gives_them(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(
        "name: mine\ndata: [{path: a.extxyz}]\ntargets: {born_charges: {scale: 2}}\nprecision: 64\n"
        "optimizer: {lr: 5e-3}\nsymmetry: null\n"
    )
    recipe = load_recipe(path)
    assert (recipe.precision, recipe.optimizer.lr, recipe.symmetry) == ("64", 0.005, None)


class TestFiles:
    def test_missing(self, tmp_path):
        with pytest.raises(RecipeError, match=r"no recipe .*absent\.yaml"):
            load_recipe(tmp_path / "absent.yaml")

    @pytest.mark.parametrize("content", ["name: [unclosed", "a: b: c", "\tname: x"])
    def test_not_yaml(self, tmp_path, content):
        path = tmp_path / "mine.yaml"
        path.write_text(content)
        with pytest.raises(RecipeError, match="is not readable YAML") as caught:
            load_recipe(path)
        assert "\n" not in str(caught.value)
        assert str(path) in str(caught.value)

    def test_binary_and_folder(self, tmp_path):
        path = tmp_path / "mine.yaml"
        path.write_bytes(b"\xff\xfe\x00\x01")
        for bad in (path, tmp_path):
            with pytest.raises(RecipeError, match="is not readable YAML"):
                load_recipe(bad)

    @pytest.mark.parametrize("content", ["", "- a\n- b\n", "just words\n", "3\n"])
    def test_no_mapping(self, tmp_path, content):
        path = tmp_path / "mine.yaml"
        path.write_text(content)
        with pytest.raises(RecipeError, match="must hold keys and values"):
            load_recipe(path)

    def test_the_file_is_named(self, tmp_path):
        path = written(tmp_path, epoch=3)
        with pytest.raises(RecipeError, match="epoch: unknown key") as caught:
            load_recipe(path)
        assert str(path) in str(caught.value)


class TestDataRoot:
    @pytest.fixture(autouse=True)
    def clean(self, monkeypatch):
        monkeypatch.delenv("VOIGT_DATA", raising=False)

    def test_relative_to_the_recipe(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path.parent)
        assert load_recipe(written(tmp_path)).data_root == str(tmp_path.resolve())
        assert load_recipe(written(tmp_path, data_root="../data")).data_root == str(tmp_path.resolve().parent / "data")

    def test_absolute(self, tmp_path):
        assert load_recipe(written(tmp_path, data_root="/somewhere/else")).data_root == "/somewhere/else"

    def test_environment_overrides(self, tmp_path, monkeypatch):
        monkeypatch.setenv("VOIGT_DATA", "/big/disk")
        assert load_recipe(written(tmp_path, data_root="../data")).data_root == "/big/disk"


@pytest.mark.parametrize(
    "section", [Recipe, DataSource, SplitSettings, TargetSettings, OptimizerSettings, EquivarHypers, GoeCTPHypers]
)
def test_every_field_is_described(section: type[BaseModel]):
    bare = [name for name, field in section.model_fields.items() if not field.description]
    assert bare == []
    assert section.model_config["extra"] == "forbid"


def shipped() -> list[Path]:
    folder = Path(str(files("voigt.training") / "recipes"))
    return sorted(folder.glob("*.yaml"))


@pytest.mark.parametrize("path", shipped(), ids=lambda path: path.stem)
def test_shipped_recipes(path):
    recipe = load_recipe(path)
    assert recipe.name == path.stem
    assert all(not Path(source.path).is_absolute() for source in recipe.data)


def test_there_is_a_recipe_for_the_default_model():
    assert "born" in [path.stem for path in shipped()]


def test_recipes_need_no_lightning():
    """It is an extra and takes seconds to import; the rest of the room is imported on demand."""
    code = "import sys; from voigt.training import load_recipe; sys.exit('lightning' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    assert all(getattr(training, name) is not None for name in training.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        training.nonsense  # noqa: B018


class TestHostileFiles:
    """Recipes of strangers: one sentence each, at once."""

    def refused(self, tmp_path: Path, text: str) -> str:
        path = tmp_path / "mine.yaml"
        path.write_text(text)
        start = time.perf_counter()
        with pytest.raises(RecipeError) as caught:
            load_recipe(path)
        assert time.perf_counter() - start < 1.0
        sentence = str(caught.value)
        assert sentence.isprintable()
        assert str(path) in sentence
        assert len(sentence) < 1500
        return sentence

    @pytest.mark.parametrize("width", [2, 9])
    def test_a_bomb(self, tmp_path, width):
        lines = ["k0: &k0 [x, x]"]
        lines += [f"k{n}: &k{n} [{','.join([f'*k{n - 1}'] * width)}]" for n in range(1, 40)]
        assert "more than 100000 values" in self.refused(tmp_path, "\n".join(lines))

    def test_a_bomb_of_mappings_where_a_section_should_be(self, tmp_path):
        lines = ["k0: &k0 {path: x}", *(f"k{n}: &k{n} [*k{n - 1}, *k{n - 1}]" for n in range(1, 13)), "data: *k12"]
        assert "unknown key" in self.refused(tmp_path, "\n".join(lines))

    @pytest.mark.parametrize("opening", ["[", "{a: ", "- "])
    def test_nested_without_end(self, tmp_path, opening):
        self.refused(tmp_path, "name: x\ndata: " + opening * 100_000)

    def test_an_anchor_inside_itself(self, tmp_path):
        self.refused(tmp_path, "data: &a [*a]\n")

    @pytest.mark.parametrize("key", ["epochs", "seed", "batch_size", "symmetry", "threads"])
    def test_endless_numbers(self, tmp_path, key):
        assert "5000" in self.refused(tmp_path, f"{key}: {'9' * 5000}\n")

    @pytest.mark.parametrize("key", ["epochs", "seed", "batch_size", "threads", "workers", "patience"])
    def test_numbers_beyond_all_use(self, tmp_path, key):
        minimal = "name: x\ndata: [{path: a}]\ntargets: {born_charges: {}}\n"
        assert f"{key}: " in self.refused(tmp_path, f"{minimal}{key}: {'9' * 50}\n")

    @pytest.mark.parametrize("value", [".inf", ".nan", "1e999"])
    def test_no_number(self, tmp_path, value):
        minimal = "name: x\ndata: [{path: a}]\ntargets: {born_charges: {}}\n"
        assert "optimizer.lr: " in self.refused(tmp_path, f"{minimal}optimizer: {{lr: {value}}}\n")

    @pytest.mark.parametrize(
        "model",
        [
            "{channels: 1000000000}",
            "{interactions: 1000000000}",
            "{cutoff: 1000000000}",
            "{method: goectp, layers: 100000}",
            "{method: sen, object_capsules: 100000000}",
            "{cutoff: .inf}",
        ],
    )
    def test_networks_beyond_all_memory(self, tmp_path, model):
        name = "band_gap" if "sen" in model else "eps_inf"
        minimal = f"name: x\ndata: [{{path: a}}]\ntargets: {{{name}: {{}}}}\n"
        assert "model." in self.refused(tmp_path, f"{minimal}model: {model}\n")

    def test_objects(self, tmp_path):
        mark = tmp_path / "mark"
        text = f"name: !!python/object/apply:pathlib.Path.touch [!!python/object/apply:pathlib.Path ['{mark}']]\n"
        assert "more than plain data" in self.refused(tmp_path, text)
        assert not mark.exists()

    def test_control_characters_do_not_reach_the_terminal(self, tmp_path):
        keys = 'targets: {"a\\n\\e[2Jb": {}}\n"\\e[31m\\nkey": 1\nepochs: "\\a"\n'
        self.refused(tmp_path, f"name: x\ndata: [{{path: a}}]\n{keys}")

    def test_too_long(self, tmp_path):
        assert "characters: it is no recipe" in self.refused(tmp_path, "# comment\n" * 200_000)

    @pytest.mark.parametrize("name", ["..", ".", "../x", "a/b", "x" * 300])
    def test_names_that_leave_the_folder(self, tmp_path, name):
        rest = "data: [{path: a}]\ntargets: {born_charges: {}}\n"
        assert "name: " in self.refused(tmp_path, f"name: {name}\n{rest}")


def test_a_recipe_that_is_no_text(tmp_path):
    (tmp_path / "r.yaml").write_bytes(b"name: caf\xe9\n")
    with pytest.raises(RecipeError, match=r"r\.yaml is not readable YAML: it is not UTF-8 text$"):
        load_recipe(tmp_path / "r.yaml")
