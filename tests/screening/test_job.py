"""What a screening computes, and how it is known again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tests.predictions import save_tiny_model

from voigt.errors import DomainError, InputError, TargetError, WeightsError
from voigt.models.checkpoint import LoadedModel
from voigt.prediction.result import Settings
from voigt.screening.job import Job, describe, file_digest, pinned, stages_of
from voigt.screening.store.manifest import differences

MANY = ("eps_inf", "eps_total", "elastic", "piezo_total")


def models(shares: tuple[object, ...]) -> list[str]:
    return [share.model.name for share in shares]  # type: ignore[attr-defined]


def test_without_a_prefilter_all_models_run_at_once(shipped: Path) -> None:
    stages = stages_of(Job(MANY))
    assert stages.plan.properties == MANY
    assert models(stages.first) == models(stages.plan.shares) == ["dielectric", "elastic", "piezo"]
    assert (stages.second, stages.prefilter) == ((), None)


def test_a_prefilter_needs_some_models_first_and_its_properties_are_kept(shipped: Path) -> None:
    stages = stages_of(Job(("piezo_total", "eps_total"), prefilter="bulk_modulus > 10 and num_atoms < 50"))
    assert stages.plan.properties == ("piezo_total", "eps_total", "elastic")
    assert models(stages.first) == ["elastic"]
    assert models(stages.second) == ["dielectric", "piezo"]


def test_prefilters_that_make_no_sense(shipped: Path, tiny: Job) -> None:
    with pytest.raises(DomainError, match="--prefilter needs no model and would save none"):
        stages_of(Job(MANY, prefilter='num_atoms < 50 and has("O")'))
    with pytest.raises(DomainError, match="--prefilter needs elastic, which the model does not predict"):
        stages_of(replace(tiny, prefilter="bulk_modulus > 10"))
    with pytest.raises(InputError, match="--prefilter"):
        stages_of(Job(MANY, prefilter="eps_total >"))
    with pytest.raises(InputError, match="--prefilter"):
        stages_of(Job(MANY, prefilter="eps_total + 1"))


def test_jobs_that_cannot_be_done(shipped: Path, tmp_path: Path) -> None:
    with pytest.raises(TargetError, match="color"):
        stages_of(Job(("color",)))
    with pytest.raises(DomainError, match="no model that ships predicts band_gap"):
        stages_of(Job(("band_gap",)))
    with pytest.raises(WeightsError, match="no model"):
        stages_of(pinned(Job(None, str(tmp_path / "none.safetensors"))))
    with pytest.raises(DomainError, match=r"device nonsense cannot be used \(.+\); give auto, cpu or a device"):
        stages_of(Job(("eps_inf",), device="nonsense"))


def test_all_networks_run_on_the_device_of_the_job(monkeypatch: pytest.MonkeyPatch) -> None:
    """The gap model, which tells metals, too; what is best for a single prediction does not count."""
    asked: list[str] = []

    def found(name: str) -> torch.device:
        asked.append(name)
        return torch.device("cpu")

    monkeypatch.setattr("voigt.prediction.plan.find_device", found)
    stages_of(Job(("eps_inf",), settings=Settings(device="auto", symprec=0.0123), device="cpu"))
    assert set(asked) == {"cpu"}


def test_a_description_holds_what_decides_the_results(shipped: Path) -> None:
    job = Job(("elastic", "eps_total"), settings=Settings(symprec=0.01, max_edges=7), prefilter="eps_total > 5")
    record = describe(job, stages_of(job))
    assert record["properties"] == ["elastic", "eps_total"]
    assert record["prefilter"] == "eps_total > 5"
    assert record["settings"] == {
        "functional": None,
        "symmetrize": True,
        "sum_rule": True,
        "total_charge": 0.0,
        "symprec": 0.01,
        "allow_unseen": False,
    }
    by_name = {entry["name"]: entry for entry in record["models"]}
    assert by_name["elastic"]["functional"] == "PBE"
    assert by_name["dielectric"]["properties"] == ["eps_total"]
    assert all(len(entry["sha256"]) == 64 for entry in record["models"])
    assert differences(record, record) == []


def test_differences_between_jobs_are_named(shipped: Path) -> None:
    first = Job(("eps_total",))
    record = describe(first, stages_of(first))
    other = Job(("eps_total", "elastic"), settings=Settings(functional="PBE", allow_unseen=True))
    assert differences(record, describe(other, stages_of(other)))[:3] == [
        "properties was eps_total and is eps_total, elastic",
        "functional was none and is PBE",
        "allow_unseen was False and is True",
    ]
    # Neither the device nor the size of batches is part of what is computed.
    same = Job(("eps_total",), settings=Settings(max_edges=5), device="meta", compile=True)
    assert differences(record, describe(same, stages_of(first))) == []


def test_a_job_is_bound_to_its_model_file(tmp_path: Path) -> None:
    """A process that starts when the file has been changed must not mix the results of two models."""
    path = save_tiny_model(tmp_path / "m.safetensors", 1)
    job = pinned(Job(None, str(path)))
    stages_of.cache_clear()
    assert stages_of(job).plan.properties == ("born_charges", "eps_inf")
    save_tiny_model(path, 2)
    stages_of.cache_clear()
    with pytest.raises(WeightsError, match="changed while it was in use"):
        stages_of(job)
    assert pinned(job) != job
    assert stages_of(pinned(job)).plan.properties == ("born_charges", "eps_inf")


def test_only_models_with_a_file_have_a_digest(tiny: Job, tmp_path: Path) -> None:
    model = stages_of(tiny).plan.shares[0].model
    with pytest.raises(WeightsError, match="comes from no file"):
        file_digest(LoadedModel("made", model.members, model.card))
    with pytest.raises(WeightsError, match="put the file back"):
        file_digest(replace(model, path=tmp_path / "gone"))
