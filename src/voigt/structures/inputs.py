"""One structure of the input, and the keys by which files name it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import ase

from voigt.notes import Failure, Kind

ID_KEYS = ("id", "mp_id", "material_id")
"""Keys of `atoms.info` that name a structure; the first one with a value wins."""


@dataclass(frozen=True)
class InputStructure:
    """One structure of the input.

    Readers of formats know neither the file nor what else is in it: of what they yield, `source` and `index` are empty,
    and so is `id` unless the file gives one. `voigt.structures.intake` fills them in and checks the atoms.

    Attributes
    ----------
    source
        Path of the file, "-" for standard input, "<memory>" for objects.
    index
        Place in the file, from 0, broken structures counted; for objects, the place in the (flattened) input.
    id
        `info["id"]`, else `info["mp_id"]` or `info["material_id"]`, else the stem of the file name, with ":index" if
        the file holds several structures. The structures of one `read` have different ids.
    atoms
        The checked crystal.
    """

    source: str
    index: int
    id: str
    atoms: ase.Atoms

    @property
    def place(self) -> str:
        """Source, index and id, for the beginning of a sentence."""
        return f"{self.source}, frame {self.index} (id {self.id})"

    def failure(self, kind: Kind, problem: str, elements: tuple[str, ...] = ()) -> Failure:
        """What is left of this structure where something cannot be done with it."""
        return Failure(self.source, self.index, self.id, kind, problem, elements=elements)


Input: TypeAlias = InputStructure | Failure
"""One entry of an input; a structure that cannot be read keeps its place."""


def id_in(info: Mapping[Any, Any], keys: Sequence[str] = ID_KEYS) -> str:
    """The id that a mapping gives a structure, "" if it gives none.

    Examples
    --------
    >>> id_in({"formula": "MgO", "material_id": "mp-1265"})
    'mp-1265'
    """
    return next((text for key in keys if info.get(key) is not None and (text := str(info[key]))), "")
