"""manifest.json of a store: what was screened, with which models, by which commands, and how far it is."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from voigt.errors import InputError

FORMAT = 1
MANIFEST = "manifest.json"


def read_manifest(folder: str | Path) -> dict[str, Any]:
    """Content of a screening's manifest.json.

    Raises
    ------
    InputError
        There is none, it is damaged, or of another release.
    """
    path = Path(folder) / MANIFEST
    try:
        manifest: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        version = manifest["format"]
    except FileNotFoundError as error:
        raise InputError(f"{folder} holds no screening (no {MANIFEST}); give the folder of -o") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} cannot be read ({error}); screen into a new folder") from error
    if version != FORMAT:
        raise InputError(
            f"{path} has format {version}, this release of voigt reads {FORMAT}; install the release that wrote it "
            "or screen into a new folder"
        )
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
        texts = [", ".join(f"{name} ({digest[:12]})" for name, digest in known.items()) for known in models]
        phrases.append(f"models were {texts[0]} and are {texts[1]}")
    return phrases


def _plain(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(str(entry) for entry in value)
    return "none" if value is None else str(value)
