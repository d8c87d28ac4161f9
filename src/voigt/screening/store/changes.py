"""Whether a collection is still the one that a store was begun with."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from voigt.errors import InputError
from voigt.screening.sources import Collection
from voigt.screening.store.rows import input_digest, key_of
from voigt.screening.store.store import Store

SHOWN = 3  # crystals named in an error


def compare(store: Store, collection: Collection, tell: Callable[[str], None]) -> tuple[int, int] | None:
    """Read a collection whose files have changed against what the store has of it.

    Crystals may have been added anywhere. Returns how many inputs the store has not, and how many failed and have
    changed since or are gone (what is there is tried again); None, and nothing is read, if the files are the same.

    Raises InputError: crystals that the store has are gone or have changed: results of both would be mixed.
    """
    noted = store.manifest["collection"]
    if noted["fingerprint"] == collection.fingerprint or not store.done:
        store.manifest["collection"] = collection_record(collection)
        return None
    tell(f"files of {collection.name} have changed since {store.folder} was begun: comparing them with what is done")
    held = store.done.entries
    seen, mended = np.zeros(len(held), dtype=bool), np.zeros(len(held), dtype=bool)
    changed: list[str] = []
    new = 0
    for entry in collection.structures():
        place = store.done.place(key_of(entry))
        if place is None:
            new += 1
            continue
        seen[place] = True
        if held.digests[place] != int(input_digest(entry), 16):
            if held.failed[place]:
                mended[place] = True
            else:
                changed.append(entry.id)
    mended |= ~seen & held.failed
    gone = int((~seen & ~held.failed).sum())
    if changed or gone:
        names = f" (first: {', '.join(changed[:SHOWN])})" if changed else ""
        raise InputError(
            f"{collection.name} has changed since {store.folder} was begun: {len(changed)} crystals differ{names}, "
            f"{gone} are gone; put it back or screen into a new folder"
        )
    store.withdraw(mended)
    store.manifest["collection"] = collection_record(collection)
    return new, int(mended.sum())


def collection_record(collection: Collection) -> dict[str, str | int | None]:
    """A collection as it stands in the manifest."""
    return {name: getattr(collection, name) for name in ("name", "kind", "fingerprint", "count")}
