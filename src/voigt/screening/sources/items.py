"""From what readers of collections hand on to frames: each structure checked, each id used once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import blake2b

import ase

from voigt.structures.checks import problems
from voigt.structures.readers.parsed import Parsed, explain
from voigt.structures.reading import Frame, numbered


@dataclass(frozen=True)
class Item:
    """One structure of a collection before it is checked.

    Attributes
    ----------
    source, index
        File, member of an archive or address, and the place in it.
    default
        Its id if it brings none of its own.
    parsed
        Atoms or a problem.
    """

    source: str
    index: int
    default: str
    parsed: Parsed


def items_of(parsed: Iterable[Parsed], source: str, name: str) -> Iterator[Item]:
    """Structures of one file or member; their ids are `name`, with ":index" if there are several."""
    for index, several, one in numbered(iter(parsed)):
        yield Item(source, index, f"{name}:{index}" if several else name, one)


def frames_of(items: Iterable[Item]) -> Iterator[Frame]:
    """Check the structures and settle their ids, as `voigt.structures.reading.read` does.

    A second structure with an id that a file gives becomes a problem; ids made from names of files get a number.
    Memory holds eight bytes of each id: among ten million, two are confused with a probability of 3e-6.
    """
    named: set[int] = set()
    made: set[int] = set()
    numbers: dict[int, int] = {}
    """How often an id that was made up is taken, of those that are more than once."""
    for item in items:
        found = [item.parsed.problem] if item.parsed.problem is not None else []
        if item.parsed.atoms is not None:
            found += _problems(item.parsed.atoms)
        own = bool(item.parsed.id)
        identity = _encodable(item.parsed.id or item.default)
        digest = _digest(identity)
        if own and digest in named:
            found.append(f"duplicate id '{identity}', which an earlier crystal has; give each crystal its own id")
        elif digest in named or digest in made:
            count, first = numbers.get(digest, 1), digest
            while digest in named or digest in made:
                count += 1
                digest = _digest(f"{identity}-{count}")
            identity, numbers[first] = f"{identity}-{count}", count
        (named if own else made).add(digest)
        source = _encodable(item.source)
        if found:
            yield Frame(source, item.index, identity, None, _encodable(". ".join(found)))
        else:
            yield Frame(source, item.index, identity, item.parsed.atoms, None)


def _problems(atoms: ase.Atoms) -> list[str]:
    try:
        return problems(atoms)
    except Exception as error:  # among very many structures there is every kind of nonsense
        return [explain(error, "a crystal")]


def _digest(identity: str) -> int:
    return int.from_bytes(blake2b(identity.encode(), digest_size=8).digest(), "little")


def _encodable(text: str) -> str:
    """`text` without the halves of characters that names of files and JSON can hold, but no table."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()
