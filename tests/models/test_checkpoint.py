"""Model files: what goes in comes out, everything else is refused with a sentence, and a failed write harms nothing."""

from __future__ import annotations

import errno
import json
import math
import os
import resource
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from tests import crystals

from voigt.errors import OutputError, WeightsError
from voigt.graphs import CrystalBatch, build_graph, collate
from voigt.models import checkpoint
from voigt.models.checkpoint import FORMER, ModelCard, available_models, load_model, save_model
from voigt.models.equivar.hypers import EquivarHypers
from voigt.models.equivar.model import Equivar
from voigt.tensors.properties import PROPERTIES

SMALL = EquivarHypers(
    properties=("born_charges", "eps_inf", "band_gap"),
    functionals=("PBEsol", "PBE"),
    channels=4,
    interactions=1,
    hidden=4,
)
CARD = ModelCard(
    elements=(8, 12),
    functionals=("PBEsol", "PBE"),
    data={"a.extxyz": "0123456789abcdef"},
    metrics={"val/loss": 0.5},
    recipe={"name": "mine", "optimizer": {"lr": 0.1}},
)


def network(seed: int = 0, **changes: object) -> Equivar:
    torch.manual_seed(seed)
    return Equivar(SMALL.model_copy(update=changes))


def batch() -> CrystalBatch:
    return collate([build_graph(atoms, 5.0) for atoms in (crystals.nameless(), crystals.wurtzite())])


def parts(path: Path) -> tuple[dict[str, str], dict[str, torch.Tensor]]:
    with safe_open(path, framework="pt") as stream:
        return stream.metadata(), {key: stream.get_tensor(key) for key in stream.keys()}  # noqa: SIM118 (no mapping)


def message(path: Path | str) -> str:
    with pytest.raises(WeightsError) as caught:
        load_model(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "mine.safetensors"
    save_model([network()], path, CARD)
    return path


class TestRoundTrip:
    def test_outputs_are_equal(self, file):
        loaded = load_model(file)
        with torch.no_grad():
            expected, output = network()(batch()), loaded.members[0](batch())
        assert expected.keys() == output.keys() == {"born_charges", "eps_inf", "band_gap"}
        for name, value in expected.items():
            assert torch.equal(output[name], value)

    @pytest.mark.parametrize(
        "changes",
        [{"weights": "shared", "update": "linear"}, {"self_product": True, "self_interaction": "species"},
         {"sum_rule": "learned", "periodic_table": False, "element_reference": False}, {"functionals": ()},
         {"properties": ("piezo_total", "elastic")}],
    )  # fmt: skip
    def test_options(self, tmp_path, changes):
        path = tmp_path / "option.safetensors"
        save_model([network(**changes)], path, CARD)
        loaded = load_model(path).members[0]
        for (name, value), own in zip(network(**changes).named_parameters(), loaded.parameters(), strict=True):
            assert torch.equal(value, own), name

    def test_card_hypers_and_name(self, file):
        loaded = load_model(file)
        assert loaded.card == CARD
        assert loaded.hypers == SMALL
        assert loaded.name == "mine"
        assert not loaded.members[0].training

    def test_ensemble_in_order(self, tmp_path):
        path = tmp_path / "three.safetensors"
        save_model([network(seed) for seed in range(3)], path, CARD)
        loaded = load_model(str(path))
        for seed, member in enumerate(loaded.members):
            assert torch.equal(member.input.weight, network(seed).input.weight)
        assert len(loaded.members) == 3

    def test_double_precision_is_stored_in_single(self, tmp_path):
        path = tmp_path / "double.safetensors"
        save_model([network().double()], path, CARD)
        assert {tensor.dtype for tensor in parts(path)[1].values()} == {torch.float32}

    def test_metadata_of_the_file(self, file):
        metadata, _ = parts(file)
        assert metadata["format"] == "voigt"
        assert metadata["format_version"] == "1"
        assert json.loads(metadata["units"]) == {"born_charges": "e", "eps_inf": "1", "band_gap": "eV"}
        assert json.loads(metadata["card"])["elements"] == [8, 12]
        assert json.loads(metadata["hypers"])[0]["channels"] == 4
        assert metadata["voigt_version"]
        assert metadata["torch_version"] == torch.__version__
        assert set(json.loads(metadata["units"])) <= set(PROPERTIES)

    def test_the_random_state_of_the_caller_does_not_matter(self, file):
        torch.manual_seed(1)
        first = load_model(file).members[0].state_dict()
        torch.manual_seed(2)
        assert all(torch.equal(value, first[key]) for key, value in load_model(file).members[0].state_dict().items())


class TestBadFiles:
    def test_unknown_name_lists_the_models(self, monkeypatch, tmp_path, file):
        monkeypatch.setattr(checkpoint, "WEIGHTS", tmp_path / "empty")
        assert "no model 'bron'" in message("bron")
        assert "none in this installation" in message("bron")
        (tmp_path / "other.safetensors").write_bytes(file.read_bytes())
        monkeypatch.setattr(checkpoint, "WEIGHTS", tmp_path)
        assert "(mine, other)" in message("bron")
        assert load_model("other").name == "other"
        assert list(available_models()) == ["mine", "other"]

    def test_a_folder(self, tmp_path):
        assert "no model" in message(tmp_path)

    @pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.9, 0.9999])
    def test_truncated(self, file, share):
        whole = file.read_bytes()
        file.write_bytes(whole[: int(share * len(whole))])
        text = message(file)
        assert str(file) in text
        assert "not a complete safetensors file" in text
        assert "fetch or train it again" in text

    def test_other_kinds_of_files(self, tmp_path):
        path = tmp_path / "model.ckpt"
        torch.save({"state_dict": {}}, path)
        assert "not a complete safetensors file" in message(path)
        path.write_text("weights")
        assert "not a complete safetensors file" in message(path)

    @pytest.mark.parametrize("entry", [{"shape": [1]}, "x" * 200_000, {"dtype": "\u202e\x1b", "shape": [1]}])
    def test_headers_that_safetensors_cannot_read(self, tmp_path, entry):
        header = json.dumps({"a": entry}).encode()
        path = tmp_path / "m.safetensors"
        path.write_bytes(len(header).to_bytes(8, "little") + header)
        start = time.perf_counter()
        text = message(path)
        assert "not a complete safetensors file" in text
        assert "dtype" not in text
        assert text.isprintable()
        assert len(text) < 2000
        assert time.perf_counter() - start < 2

    def test_safetensors_of_somebody_else(self, tmp_path):
        path = tmp_path / "foreign.safetensors"
        save_file({"weight": torch.ones(3)}, path)
        assert "is not a Voigt model" in message(path)
        save_file({"weight": torch.ones(3)}, path, {"format": "pt"})
        assert "is not a Voigt model" in message(path)

    def rewritten(self, file: Path, **metadata: str | None) -> Path:
        old, tensors = parts(file)
        save_file(tensors, file, {key: value for key, value in {**old, **metadata}.items() if value is not None})
        return file

    @pytest.mark.parametrize("version", ["2", "0", None])
    def test_format_version(self, file, version):
        text = message(self.rewritten(file, format_version=version))
        assert f"format version {version or 'none'}" in text
        assert "reads 1" in text

    @pytest.mark.parametrize(
        "metadata",
        [{"hypers": None}, {"hypers": "{"}, {"hypers": "3"}, {"hypers": '[{"channels": 0}]'},
         {"hypers": '[{"chanels": 4}]'}, {"card": None}, {"card": "[]"}, {"card": "{}"}],
    )  # fmt: skip
    def test_unreadable_metadata(self, file, metadata):
        text = message(self.rewritten(file, **metadata))
        assert str(file) in text
        assert "unreadable metadata" in text

    def test_no_network_and_unknown_properties(self, file):
        assert "holds no network" in message(self.rewritten(file, hypers="[]"))
        future = json.dumps([{"properties": ["born_charges", "flexo"]}])
        text = message(self.rewritten(file, hypers=future))
        assert "flexo" in text
        assert "born_charges" not in text

    def test_missing_parameter(self, file):
        metadata, tensors = parts(file)
        del tensors["0.input.weight"], tensors["0.input.bias"]
        save_file(tensors, file, metadata)
        text = message(file)
        assert "2 parameters are missing and 0 have another shape" in text
        assert "input.weight" in text

    def test_wrong_shape(self, file):
        metadata, tensors = parts(file)
        tensors["0.input.weight"] = torch.zeros(5, 5)
        save_file(tensors, file, metadata)
        text = message(file)
        assert "0 parameters are missing and 1 have another shape" in text
        assert "first: input.weight" in text

    def test_a_member_is_missing(self, file):
        metadata, tensors = parts(file)
        metadata["hypers"] = json.dumps(json.loads(metadata["hypers"]) * 2)
        save_file(tensors, file, metadata)
        assert "parameters are missing" in message(file)


class TestWriting:
    def test_a_full_disk_leaves_the_old_file(self, file, monkeypatch):
        before = file.read_bytes()

        def full(_handle: int) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr("voigt.files.os.fsync", full)
        with pytest.raises(OutputError, match=r"cannot write .*mine\.safetensors: No space left on device"):
            save_model([network(1)], file, CARD)
        assert file.read_bytes() == before
        assert os.listdir(file.parent) == ["mine.safetensors"]

    def test_replaces_the_old_file(self, file):
        save_model([network(1)], file, replace(CARD, elements=(1,)))
        assert load_model(file).card.elements == (1,)
        assert torch.equal(load_model(file).members[0].input.weight, network(1).input.weight)

    def test_no_such_folder(self, tmp_path):
        with pytest.raises(OutputError, match="No such file or directory"):
            save_model([network()], tmp_path / "absent" / "mine.safetensors", CARD)


class TestHostileFiles:
    """Files made to fool: one sentence, at once, in little memory."""

    def refused(self, file: Path, tensors: dict[str, torch.Tensor] | None = None, **metadata: str) -> str:
        old, own = parts(file)
        save_file(own if tensors is None else tensors, file, {**old, **metadata})
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        start = time.perf_counter()
        text = message(file)
        assert time.perf_counter() - start < 10.0
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000  # KiB
        assert text.isprintable()
        assert len(text) < 1000
        return text

    @pytest.mark.parametrize(
        "changes",
        [
            {"channels": 10**9},
            {"channels": 2**70},
            {"interactions": 10**9},
            {"num_radial": 10**9},
            {"cutoff": 1e9},
            {"cutoff": math.inf},
            {"cutoff": math.nan},
            {"channels": "many"},
            {"channels": [[[]]]},
            {"properties": {}},
            {"properties": "eps_inf"},
            {"method": ["equivar"]},
            {"functionals": 3},
        ],
    )
    def test_absurd_hyper_parameters(self, file, changes):
        hypers = json.loads(parts(file)[0]["hypers"])
        assert "unreadable metadata" in self.refused(file, hypers=json.dumps([{**hypers[0], **changes}]))

    @pytest.mark.parametrize(
        "changes",
        [
            {"channels": 4096, "interactions": 100, "hidden": 4096, "embedding": 4096, "num_radial": 4096},
            {"method": "goectp", "properties": ["eps_inf"], "width": 4096, "layers": 100, "hidden": 4096},
            {"method": "goectp", "properties": ["eps_inf"], "backbone": "crystalformer", "width": 4096, "layers": 100},
            {"method": "sen", "properties": ["band_gap"], "width": 4096, "heads": 4096, "loops": 100},
            {"method": "sen", "properties": ["band_gap"], "object_capsules": 4096, "object_width": 4096},
        ],
    )  # fmt: skip
    def test_the_largest_that_are_allowed_are_counted_not_built(self, file, changes):
        assert "have another shape" in self.refused(file, hypers=json.dumps([changes]))

    @pytest.mark.parametrize("key", ["hypers", "card"])
    @pytest.mark.parametrize(
        "text", ["[" * 100_000, '{"a":' * 100_000, "1" * 5000, "null", '"x"', "[[]]", "[null]", "{", "\x00", "NaN"]
    )
    def test_metadata_of_other_types(self, file, key, text):
        assert "unreadable metadata" in self.refused(file, **{key: text})

    @pytest.mark.parametrize(
        "changes",
        [
            {"elements": 5},
            {"elements": ["Mg"]},
            {"elements": [0]},
            {"elements": [119]},
            {"elements": [10**30]},
            {"elements": [[8]]},
            {"functionals": "PBE"},
            {"functionals": [1]},
            {"data": ["a"]},
            {"data": {"a": ["b"]}},
            {"metrics": [1]},
            {"metrics": {"loss": "low"}},
            {"recipe": "x"},
        ],
    )
    def test_a_card_of_other_types(self, file, changes):
        card = json.loads(parts(file)[0]["card"])
        assert "unreadable metadata" in self.refused(file, card=json.dumps({**card, **changes}))

    def test_thousands_of_members(self, file):
        hypers = json.loads(parts(file)[0]["hypers"])
        assert "at most 100 members" in self.refused(file, hypers=json.dumps(hypers * 10_000))

    def test_members_that_predict_different_things(self, file):
        hypers = json.loads(parts(file)[0]["hypers"])
        other = [hypers[0], {**hypers[0], "cutoff": 4.0}]
        assert "networks that predict different things" in self.refused(file, hypers=json.dumps(other))

    def test_tensors_that_no_network_has(self, file):
        tensors = {**parts(file)[1], "0.back\x1bdoor": torch.zeros(1)}
        text = self.refused(file, tensors)
        assert "0 have another shape and 1 are unknown" in text

    @pytest.mark.parametrize("dtype", [torch.int64, torch.bool, torch.complex64])
    def test_tensors_of_other_numbers(self, file, dtype):
        tensors = parts(file)[1]
        tensors["0.input.weight"] = tensors["0.input.weight"].to(dtype)
        assert "1 have another shape" in self.refused(file, tensors)

    def test_words_that_are_no_text(self, file):
        assert "unknown to this release" in self.refused(file, hypers='[{"properties": ["\\u001b[2J\\n\\ud800"]}]')
        assert "format version" in self.refused(file, format_version="\x1b[2J" * 1000)

    @pytest.mark.parametrize("length", [0, 1, 7, 2**31, 2**63, 2**64 - 1])
    def test_a_header_of_another_length(self, file, length):
        content = file.read_bytes()
        file.write_bytes(length.to_bytes(8, "little") + content[8:])
        assert "not a complete safetensors file" in message(file)

    @pytest.mark.parametrize(
        "header",
        [
            '{"0.a": {"dtype": "F32", "shape": [1000000000000], "data_offsets": [0, 4000000000000]}}',
            '{"0.a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}',
            '{"0.a": {"dtype": "F32", "shape": [4294967296, 4294967296], "data_offsets": [0, 4]}}',
            '{"0.a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}, "0.a": {"dtype": "F32", "shape": [2], '
            '"data_offsets": [0, 8]}}',
            '{"0.a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}, "0.b": {"dtype": "F32", "shape": [1], '
            '"data_offsets": [0, 4]}}',
            '{"__metadata__": {"format": {"nested": 1}}}',
            '{"__metadata__": ' + "[" * 10_000 + "}",
            "[]",
        ],
    )
    def test_headers_made_by_hand(self, tmp_path, header):
        path = tmp_path / "mine.safetensors"
        path.write_bytes(len(header).to_bytes(8, "little") + header.encode() + b"\x00" * 4)
        assert str(path) in message(path)

    def test_a_name_that_is_no_name(self):
        assert "no model" in message("x" * 5000)
        assert "no model" in message("a\x00b")


def test_names_of_earlier_releases(tmp_path, monkeypatch):
    """A script that names the model `dielectric` goes on; a file of that name in the folder comes first."""
    assert load_model("dielectric").name == "born"
    assert load_model("formation_energy").name == "scalars"
    for former, name in FORMER.items():
        assert former not in available_models()
        assert name in available_models()
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dielectric").write_text("nothing")
    with pytest.raises(WeightsError, match="not a complete safetensors file"):
        load_model("dielectric")
    (tmp_path / "band_gap").mkdir()  # of results, say
    assert load_model("band_gap").name == "scalars"


def test_a_model_that_ships_comes_before_the_stand_in_of_its_name(tmp_path, monkeypatch):
    monkeypatch.setattr("voigt.models.checkpoint.WEIGHTS", tmp_path)
    for name in ("born", "dielectric"):
        save_model([network()], tmp_path / f"{name}.safetensors", CARD)
    assert load_model("dielectric").name == "dielectric"
