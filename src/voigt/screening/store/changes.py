"""Whether a collection is still the one that a store was begun with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from voigt.errors import InputError
from voigt.screening.sources.collections import Collection
from voigt.screening.store.rows import frame_digest, key_of
from voigt.screening.store.store import Store

SHOWN = 3
"""Crystals named in an error."""


@dataclass(frozen=True)
class Growth:
    """What is new in a collection since a store was begun.

    Attributes
    ----------
    new
        Frames that the store has not.
    mended
        Inputs that failed, and have changed since or are gone: what is there is tried again.
    """

    new: int
    mended: int


def compare(store: Store, collection: Collection, tell: Callable[[str], None]) -> Growth | None:
    """Read a collection whose files have changed against what the store has of it.

    Crystals may have been added anywhere. None is returned, and nothing read, if the files are the same.

    Raises
    ------
    InputError
        Crystals that the store has are gone or have changed: results of both would be mixed.
    """
    noted = store.manifest["collection"]
    if noted["fingerprint"] == collection.fingerprint or not store.done:
        store.manifest["collection"] = collection_record(collection)
        return None
    tell(f"files of {collection.name} have changed since {store.folder} was begun: comparing them with what is done")
    missing = set(store.done)
    failed = store.failed_keys
    mended: set[bytes] = set()
    changed: list[str] = []
    new = 0
    for frame in collection.frames():
        key = key_of(frame)
        if key not in store.done:
            new += 1
        elif store.done[key] != bytes.fromhex(frame_digest(frame)):
            if key in failed:
                mended.add(key)
            else:
                changed.append(frame.id)
        missing.discard(key)
    mended |= missing & failed
    gone = missing - failed
    if changed or gone:
        names = f" (first: {', '.join(changed[:SHOWN])})" if changed else ""
        raise InputError(
            f"{collection.name} has changed since {store.folder} was begun: {len(changed)} crystals differ{names}, "
            f"{len(gone)} are gone; put it back or screen into a new folder"
        )
    store.withdraw(mended)
    store.manifest["collection"] = collection_record(collection)
    return Growth(new, len(mended))


def collection_record(collection: Collection) -> dict[str, str | int | None]:
    """A collection as it stands in the manifest."""
    return {
        "name": collection.name,
        "kind": collection.kind,
        "fingerprint": collection.fingerprint,
        "count": collection.count,
    }
