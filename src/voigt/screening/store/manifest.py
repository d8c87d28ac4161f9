"""manifest.json of a store: what was screened, with which models, by which commands, and how far it is."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from voigt.errors import InputError
from voigt.reasons import plain_reason
from voigt.safe_json import load_json
from voigt.text import one_line

FORMAT = 1
MANIFEST = "manifest.json"
MOST_BYTES = 100_000_000
MOST_SHOWN = 200
"""Letters of an option in a sentence; a manifest may have been changed by hand."""

_Count = Annotated[int, Field(ge=0, le=2**62, strict=True)]
_Seconds = Annotated[float, Field(allow_inf_nan=False)]


class _Model(BaseModel):
    name: str
    sha256: str
    properties: list[str]
    functional: str | None = None


def _different(names: list[str]) -> list[str]:
    if len(set(names)) < len(names):
        raise ValueError("a name stands there twice")
    return names


class _Job(BaseModel):
    properties: Annotated[list[str], AfterValidator(_different)]
    model: str | None = None
    prefilter: str | None = None
    settings: dict[str, Any] | None = None
    models: list[_Model] = []


class _Collection(BaseModel):
    name: str
    kind: str
    fingerprint: str
    count: _Count | None = None


class _Session(BaseModel):
    started: datetime
    ended: datetime | None = None
    voigt: str = ""
    command: str
    crystals: _Count
    failed: _Count
    seconds: _Seconds
    work: dict[str, _Seconds] = {}
    peak_mib: dict[str, _Seconds] = {}


class _Selection(BaseModel):
    model_config = ConfigDict(extra="forbid")

    where: str | None = None
    rank: str | None = None
    ascending: bool = False


class _Manifest(BaseModel):
    """What the rest of the package takes for granted in a manifest; more may be there."""

    job: _Job
    collection: _Collection
    state: str
    crystals: _Count
    failed: _Count
    sessions: list[_Session]
    selection: _Selection = _Selection()


def read_manifest(folder: str | Path) -> dict[str, Any]:
    """Content of a screening's manifest.json.

    Raises
    ------
    InputError
        There is none, it is damaged, or of another release.
    """
    path = Path(folder) / MANIFEST
    try:
        with path.open(encoding="utf-8") as stream:
            text = stream.read(MOST_BYTES + 1)
        if len(text) > MOST_BYTES:
            raise ValueError(f"it has more than {MOST_BYTES:,} characters")
        manifest: dict[str, Any] = load_json(text)
        version = manifest["format"]
    except FileNotFoundError as error:
        raise InputError(f"{folder} holds no screening (no {MANIFEST}); give the folder of -o") from error
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(f"{path} cannot be read ({plain_reason(error)}); screen into a new folder") from error
    if version != FORMAT:
        found = one_line(str(version)[:40])
        raise InputError(
            f"{path} has format {found}, this release of voigt reads {FORMAT}; install the release that wrote it "
            "or screen into a new folder"
        )
    try:
        _Manifest.model_validate(manifest)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = one_line(".".join(map(str, first["loc"]))[:80])
        problem = first["msg"].removeprefix("Value error, ").lower()
        raise InputError(f"{path} cannot be read ({place}: {problem}); screen into a new folder") from error
    return manifest


def load_manifest(folder: Path, job: Mapping[str, Any], collection: Mapping[str, Any]) -> dict[str, Any]:
    """The manifest of a folder, checked against the job, or a new one.

    Raises InputError: see `read_manifest`, or the folder holds a screening of another job.
    """
    if not (folder / MANIFEST).exists():
        counts = {"state": "running", "crystals": 0, "failed": 0}
        start = {"format": FORMAT, "job": dict(job), "collection": dict(collection)}
        return {**start, **counts, "sessions": []}
    manifest = read_manifest(folder)
    changed = differences(manifest["job"], job)
    if changed:
        raise InputError(
            f"{folder} holds a screening of another job ({'; '.join(changed)}); give the same options or a new folder"
        )
    return manifest


def differences(was: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """One phrase for each difference between two jobs, as `voigt.screening.job.describe` gives them."""
    old, new = was.get("settings", {}), now.get("settings", {})
    pairs = [(key, was.get(key), now.get(key)) for key in ("properties", "prefilter")]
    pairs += [(key, old.get(key), value) for key, value in new.items()]
    phrases = [f"{key} was {_plain(before)} and is {_plain(after)}" for key, before, after in pairs if before != after]
    models = [{entry["name"]: entry["sha256"] for entry in job.get("models", ())} for job in (was, now)]
    if set(models[0].values()) != set(models[1].values()):
        texts = [_plain([f"{name} ({digest[:12]})" for name, digest in known.items()]) for known in models]
        phrases.append(f"models were {texts[0]} and are {texts[1]}")
    return phrases


def _plain(value: Any) -> str:
    if isinstance(value, list):
        text = ", ".join(str(entry) for entry in value)
    else:
        text = "none" if value is None else str(value)
    return text if len(text) <= MOST_SHOWN else f"{text[:MOST_SHOWN]} ..."
