"""Long computations: queued, with progress and files, canceled, forgotten; nothing of them stays on the disk."""

from __future__ import annotations

import asyncio
import io
import json
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from tests import crystals
from tests.app import workers
from tests.app.conftest import quick_start
from tests.response.projects import STIFFNESS, spring_phonon, write_project

from voigt.app.job_schema import Job, PhononsQuery, PhononsResult, RespondQuery
from voigt.app.job_work import JobTask, run_job
from voigt.app.jobs import Jobs
from voigt.app.limits import Limits
from voigt.app.problems import RequestError
from voigt.app.structures import Upload
from voigt.errors import VoigtError
from voigt.response.phonons import ProjectSettings, run_infrared, run_phonons


@pytest.fixture(scope="module")
def salt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A phonopy project of rock salt with springs."""
    return write_project(tmp_path_factory.mktemp("jobs") / "salt", spring_phonon(crystals.rocksalt()), "conf")


def packed(folder: Path, inside: str = "salt/") -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in folder.iterdir():
            archive.write(path, inside + path.name)
    return target.getvalue()


def wait(client: httpx.Client, job: dict[str, Any]) -> Job:
    """The job once it is finished."""
    while job["state"] in ("queued", "running"):
        job = client.get(f"/api/jobs/{job['id']}", params={"wait": 10}).json()
    return Job.model_validate(job)


def test_a_project_in_a_zip_gives_what_the_commands_give(client: httpx.Client, salt: Path, tmp_path: Path) -> None:
    response = client.post("/api/phonons", files={"file": ("salt.zip", packed(salt))}, params={"direction": ["1 1 0"]})
    assert response.status_code == 202
    job = wait(client, response.json())
    assert job.error is None
    assert job.state == "done"
    assert isinstance(job.result, PhononsResult)
    phonons = job.result.phonons
    expected = run_phonons(salt, directions=[[1, 1, 0]], bands=True, bands_without_nac=True)
    np.testing.assert_allclose(
        [mode.frequency for mode in phonons.modes], expected.phonons.modes.frequencies, atol=1e-4
    )
    (along,) = phonons.along
    np.testing.assert_allclose(along.splitting, expected.phonons.splitting(expected.phonons.along[0]), atol=1e-3)
    assert expected.bands is not None
    assert phonons.bands[0].nac is not None
    np.testing.assert_allclose(phonons.bands[0].nac, expected.bands[0].frequencies, atol=1e-3)
    # Both atoms of rock salt move against each other in optical modes, the lighter one as far as the masses say.
    optical = np.array(phonons.modes[-1].displacements)
    lengths = np.linalg.norm(optical, axis=1)
    assert lengths.max() == pytest.approx(1.0)
    assert lengths.min() == pytest.approx(min(phonons.masses) / max(phonons.masses), rel=1e-3)

    # Spectra at any linewidth follow from the shares.
    light = run_infrared(salt, linewidths=1.0, directions=[[1, 1, 0]])
    data = phonons.infrared
    assert data is not None
    f = light.spectrum.frequencies
    eps = np.array(data.eps_inf)[None].astype(complex) * np.ones((len(f), 1, 1))
    for mode in data.modes:
        if mode.kind == "optical":
            lorentz = mode.frequency**2 / (mode.frequency**2 - f**2 - 1j * 1.0 * f)
            eps += lorentz[:, None, None] * np.array(mode.share)
    np.testing.assert_allclose(eps, light.spectrum.permittivity, rtol=1e-3, atol=1e-3)

    assert job.result.crystal is not None
    assert [entry.name for entry in job.result.crystal.properties] == ["born_charges", "eps_inf"]
    assert "read from POSCAR, phonopy.conf, disp.yaml, FORCE_SETS" in phonons.table
    assert tempfile.gettempdir() not in job.model_dump_json()
    assert job.result.repeat.command == "voigt phonons salt --direction '1 1 0' --band"
    names = {entry.name for entry in job.files}
    assert names == {"BORN", "bands.png", "infrared.csv", "infrared.json", "infrared.png", "lo_to.csv", "phonons.json"}
    born = client.get(f"/api/jobs/{job.id}/files/BORN")
    (tmp_path / "BORN").write_bytes(born.content)
    again = run_phonons(salt, ProjectSettings(born=tmp_path / "BORN"), directions=[[1, 1, 0]])
    np.testing.assert_allclose(again.phonons.along[0].frequencies, expected.phonons.along[0].frequencies, atol=1e-3)
    everything = zipfile.ZipFile(io.BytesIO(client.get(f"/api/jobs/{job.id}/files/files.zip").content))
    assert set(everything.namelist()) == names
    record = json.loads(everything.read("phonons.json"))
    assert tempfile.gettempdir() not in record["source"]
    missing = client.get(f"/api/jobs/{job.id}/files/..%2Fphonons.json")
    assert missing.status_code == 404
    # A finished job is forgotten when it is deleted.
    assert client.delete(f"/api/jobs/{job.id}").json()["state"] == "done"
    assert client.get(f"/api/jobs/{job.id}").json()["kind"] == "not_found"


def phonons_of(upload: Upload, folder: Path, query: PhononsQuery | None = None) -> PhononsResult:
    result, _ = run_job(JobTask(upload, query or PhononsQuery()), folder, lambda: None)
    assert isinstance(result, PhononsResult)
    return result


def test_phonons_without_charges_have_no_infrared_response_and_a_note_says_why(
    salt: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = phonons_of(Upload("salt.zip", packed(salt, "")), tmp_path, PhononsQuery(nac="none"))
    assert result.phonons.infrared is None
    assert result.crystal is None
    assert result.phonons.bands[0].nac is None
    assert any("no infrared response" in note.text for note in result.phonons.notes)
    # TO of rock salt with springs along bonds: omega^2 = 2 k / mu.
    mass = 1 / sum(1 / m for m in result.phonons.masses)
    thz = np.sqrt(2 * STIFFNESS / mass) * 15.633302
    assert result.phonons.modes[-1].frequency == pytest.approx(thz, rel=1e-3)
    # The lines of Python give the same, up to the infrared response, which there is none of.
    monkeypatch.chdir(salt.parent)
    found: dict[str, Any] = {}
    exec(result.repeat.python.split("infrared = ")[0], found)
    np.testing.assert_allclose(
        found["phonons"].phonons.modes.frequencies, [mode.frequency for mode in result.phonons.modes], atol=1e-4
    )


@pytest.mark.parametrize(
    ("query", "words"),
    [
        (PhononsQuery(potential="sevennet-0"), "salt.zip holds forces of its own"),
        (PhononsQuery(model="/etc/passwd"), "no model '/etc/passwd' among those that ship"),
        (PhononsQuery(direction=["0 0 0"]), "direction"),
        (PhononsQuery(linewidth="wide"), "wide"),
        (PhononsQuery(dim="0 0 0"), "DIM 0 0 0 spans no supercell"),
        (PhononsQuery(relax="cell"), "--relax is about forces that are calculated"),
    ],
)
def test_options_that_do_not_fit_are_explained(salt: Path, tmp_path: Path, query: PhononsQuery, words: str) -> None:
    with pytest.raises(VoigtError) as refused:
        phonons_of(Upload("salt.zip", packed(salt)), tmp_path, query)
    assert words in str(refused.value)


Story = Callable[[Jobs], Any]


@pytest.fixture
def play(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Run a story with stand-ins."""
    quick_start(monkeypatch)
    monkeypatch.setattr("voigt.app.jobs.work", workers.job)

    def run(story: Story, limits: Limits) -> None:
        async def whole() -> None:
            jobs = Jobs(1, tmp_path, limits)
            try:
                await story(jobs)
            finally:
                await jobs.stop()
            assert list(tmp_path.iterdir()) == []

        asyncio.run(whole())

    return run


def submitted(jobs: Jobs, name: str, client: str = "me") -> str:
    return str(json.loads(jobs.submit(JobTask(Upload(name), RespondQuery()), client))["id"])


async def finished(jobs: Jobs, identity: str) -> dict[str, Any]:
    while True:
        job = json.loads(await jobs.state(identity, 5.0))
        if job["state"] not in ("queued", "running"):
            return dict(job)


def test_jobs_wait_their_turn_are_bounded_and_can_be_canceled(play: Any, tmp_path: Path) -> None:
    async def story(jobs: Jobs) -> None:
        hanging = submitted(jobs, "hang")
        second = submitted(jobs, "good")
        with pytest.raises(RequestError) as refused:
            submitted(jobs, "good")
        assert (refused.value.status, refused.value.headers["Retry-After"]) == (429, "60")
        other = submitted(jobs, "good", "another")
        with pytest.raises(RequestError) as refused:
            submitted(jobs, "good", "a third")
        assert refused.value.status == 503
        assert json.loads(await jobs.state(other, 0.0))["position"] == 2
        while not list(tmp_path.rglob("secret")):
            await asyncio.sleep(0.02)
        assert tmp_path.joinpath(f"job-{hanging}").stat().st_mode & 0o077 == 0
        canceled = json.loads(jobs.cancel(hanging))
        assert (canceled["state"], canceled["error"]["kind"]) == ("cancelled", "cancelled")
        assert not list(tmp_path.rglob("secret"))
        done = await finished(jobs, second)
        assert (done["state"], done["result"]) == ("done", None)
        assert done["files"] == [{"name": "a.txt", "bytes": 100, "media_type": "text/plain; charset=utf-8"}]
        assert jobs.file(second, "a.txt")[0] == b"x" * 100
        await finished(jobs, other)

    play(story, Limits(most_jobs_each=2, most_jobs=3))


def test_a_job_that_dies_or_takes_too_long_fails_with_a_sentence(play: Any) -> None:
    async def story(jobs: Jobs) -> None:
        dead = await finished(jobs, submitted(jobs, "die"))
        assert (dead["state"], dead["error"]["kind"]) == ("failed", "crashed")
        assert "was killed" in dead["error"]["text"]
        slow = await finished(jobs, submitted(jobs, "hang"))
        assert (slow["state"], slow["error"]["kind"]) == ("failed", "too_slow")

    play(story, Limits(job_s=3.0))


def test_results_are_forgotten_after_their_time_and_when_there_are_too_many(
    play: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(jobs: Jobs) -> None:
        first, second = submitted(jobs, "good"), submitted(jobs, "good")
        await finished(jobs, first)
        monkeypatch.setattr("voigt.app.jobs.MOST_KEPT_BYTES", 150)
        await finished(jobs, second)
        for gone in (first, "never there"):
            with pytest.raises(RequestError) as refused:
                await jobs.state(gone, 0.0)
            assert refused.value.status == 404
        jobs.limits = replace(jobs.limits, kept_s=0.0)
        with pytest.raises(RequestError):
            jobs.file(second, "a.txt")

    play(story, Limits())
