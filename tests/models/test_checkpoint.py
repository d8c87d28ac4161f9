"""Model files: what goes in comes out, everything else is refused with a sentence, and a failed write harms nothing."""

from __future__ import annotations

import errno
import json
import os
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
from voigt.models.checkpoint import ModelCard, available_models, load_model, save_model
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
