"""What is sent as a structure, and the checked structures in it: nothing touches the disk, names open no files."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

import ase

from voigt.app.limits import MOST_ATOMS, MOST_STRUCTURES, MOST_UNPACKED
from voigt.app.problems import FAILED, RequestError, of_failure, refusal
from voigt.app.schema import StructureArrays, StructureText
from voigt.structures.inputs import Input, InputStructure
from voigt.structures.intake import placed, settled
from voigt.structures.readers.failures import attempt, explain, unreadable
from voigt.structures.readers.formats import parse_bytes
from voigt.structures.readers.packing import unpacked
from voigt.structures.readers.recognition import bare_name
from voigt.text import one_line

_MOST_OF_NAME = 200


@dataclass(frozen=True)
class Upload:
    """A file, or a crystal as arrays.

    Attributes
    ----------
    name
        The last part of the name that came with it, printable; says the format, and begins sentences.
    content
        Bytes of the file; empty for arrays.
    arrays
        The crystal instead.
    """

    name: str
    content: bytes = b""
    arrays: StructureArrays | None = None

    @property
    def size(self) -> int:
        """Bytes, about."""
        return len(self.content) if self.arrays is None else 100 * len(self.arrays.species)

    @property
    def stem(self) -> str:
        """The name without suffix of a format."""
        return bare_name(PurePosixPath(self.name))


def upload_of(structure: StructureText | StructureArrays) -> Upload:
    """What a JSON request holds."""
    if isinstance(structure, StructureText):
        return Upload(plain_name(structure.name), structure.text.encode("utf-8", "replace"))
    return Upload(plain_name(structure.name), arrays=structure)


def plain_name(name: str | None) -> str:
    r"""The last part of a path, on one line.

    Examples
    --------
    >>> plain_name("../../etc/x.cif"), plain_name(r"C:\a\b.vasp"), plain_name("..")
    ('x.cif', 'b.vasp', 'structure')
    """
    parts = [part for part in one_line(name or "").replace("\\", "/").split("/") if part.strip(". ")]
    return parts[-1][-_MOST_OF_NAME:] if parts else "structure"


def structures_of(upload: Upload) -> list[Input]:
    """The checked structures of an upload, or failures in their places.

    Raises
    ------
    RequestError
        More structures or atoms than a request may hold.
    """
    parsed = _parsed(upload) if upload.arrays is None else iter([_from_arrays(upload.arrays)])
    found: list[Input] = []
    atoms = 0
    for entry in settled(placed(parsed, upload.name, upload.stem)):
        found.append(entry)
        atoms += len(entry.atoms) if isinstance(entry, InputStructure) else 0
        if atoms > MOST_ATOMS:
            several = "the structures up to here have" if len(found) > 1 else "the cell has"
            raise refusal(
                FAILED,
                "too_large",
                f"{entry.source}, frame {entry.index} (id {entry.id}): {several} {atoms} atoms, more than the "
                f"{MOST_ATOMS} of a request; give a smaller cell, or use the command line, which has no such limit",
            )
        if len(found) > MOST_STRUCTURES:
            raise refusal(
                FAILED,
                "too_many",
                f"{entry.source}: holds more than {MOST_STRUCTURES} structures; send them in parts, or use the command "
                "line, which has no such limit",
            )
    return found


def only_structure(upload: Upload) -> InputStructure:
    """The only structure of an upload; RequestError where there are several, or it cannot be used."""
    first, *others = structures_of(upload)
    if others:
        raise refusal(FAILED, "too_many", f"{first.source} holds more than one frame; send the one that is meant")
    if not isinstance(first, InputStructure):
        raise RequestError(FAILED, of_failure(first))
    return first


def _content(upload: Upload) -> bytes:
    """The file, unpacked if it was packed; RequestError if that is too much."""
    with unpacked(io.BytesIO(upload.content)) as stream:
        content = stream.read(MOST_UNPACKED + 1)
    if len(content) > MOST_UNPACKED:
        raise refusal(
            413, "too_large", f"{upload.name} unfolds to more than {MOST_UNPACKED // 1_000_000} MB; send less at once"
        )
    return content


def _parsed(upload: Upload) -> Iterator[Input]:
    try:
        content = _content(upload)
    except RequestError:
        raise
    except Exception as error:  # each kind of packing has errors of its own
        yield unreadable(explain(error, "a structure file"))
        return
    with unpacked(io.BytesIO(content)) as stream:
        yield from parse_bytes(stream, PurePosixPath(upload.name))


def _from_arrays(arrays: StructureArrays) -> Input:
    if len(arrays.species) != len(arrays.positions):
        raise refusal(
            FAILED, "wrong_input", f"{len(arrays.species)} species and {len(arrays.positions)} positions; give as many"
        )
    return attempt(lambda: ase.Atoms(arrays.species, positions=arrays.positions, cell=arrays.cell, pbc=True), "arrays")
