"""Finished forces and relaxed structures in a folder: a run that was killed goes on where it was.

Every result has a file, named by a digest of all that it depends on: the potential and the version of its package, the
atoms with their cell, and the question. Another question never reads it, so that a folder may hold many.
"""

from __future__ import annotations

import json
import zipfile
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

import ase
import numpy as np
from numpy.typing import NDArray

from voigt.errors import InputError
from voigt.files import atomic_write, make_folder
from voigt.notes import Note
from voigt.response.potentials.relaxation import Relaxation

CACHE = "cache"
"""Folder of the results inside the folder that the user names."""
PROJECT = "phonopy_params.yaml"


@dataclass(frozen=True)
class Store:
    """Results of one potential.

    Attributes
    ----------
    folder
        That the user named; results are in `CACHE` inside.
    identity
        Potential and version of its package.
    """

    folder: Path
    identity: str

    @classmethod
    def opened(cls, folder: Path, identity: str) -> Store:
        """Make the folders, OutputError if they cannot be; InputError where a project lies that is not of a store."""
        if (folder / PROJECT).exists() and not (folder / CACHE).is_dir():
            raise InputError(f"{folder} holds a {PROJECT} of another calculation; choose another folder for results")
        make_folder(folder / CACHE)
        return cls(folder, identity)

    def key(self, atoms: ase.Atoms, question: str) -> str:
        """Digest of the potential, a crystal and what is asked of it."""
        digest = blake2b(f"{self.identity}\n{question}\n".encode(), digest_size=16)
        for array in (np.asarray(atoms.numbers, np.int64), atoms.cell.array, atoms.positions):
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()

    def forces(self, key: str, atoms: int) -> NDArray[np.float64] | None:
        """Forces (n_atoms, 3) if they are there."""
        content = self._read(key)
        forces = None if content is None else content.get("forces")
        return forces if forces is not None and forces.shape == (atoms, 3) and np.isfinite(forces).all() else None

    def keep_forces(self, key: str, forces: NDArray[np.float64]) -> None:
        """Write forces, complete or not at all."""
        self._write(key, {"forces": forces})

    def relaxation(self, key: str, atoms: ase.Atoms) -> Relaxation | None:
        """What `relax` gave for these atoms, if it is there."""
        content = self._read(key)
        if content is None or content.get("positions", np.empty(0)).shape != (len(atoms), 3):
            return None
        relaxed = atoms.copy()
        relaxed.set_constraint()
        relaxed.set_cell(content["cell"])
        relaxed.positions = content["positions"]
        words = json.loads(str(content["words"]))
        return Relaxation(atoms=relaxed, notes=tuple(Note(**note) for note in words.pop("notes")), **words)

    def keep_relaxation(self, key: str, done: Relaxation) -> None:
        """Write a relaxed structure, complete or not at all."""
        words: dict[str, Any] = {
            "steps": done.steps,
            "force": done.force,
            "stress": done.stress,
            "energy": done.energy,
            "converged": done.converged,
            "volume_change": done.volume_change,
            "notes": [{"kind": note.kind, "text": note.text} for note in done.notes],
        }
        arrays = {"cell": done.atoms.cell.array, "positions": done.atoms.positions}
        self._write(key, {**arrays, "words": np.array(json.dumps(words))})

    def keep_project(self, text: str) -> None:
        """Write phonopy_params.yaml into the folder that the user named."""
        with atomic_write(self.folder / PROJECT) as stream:
            stream.write(text)

    def _read(self, key: str) -> dict[str, NDArray[Any]] | None:
        path = self.folder / CACHE / f"{key}.npz"
        try:
            with path.open("rb") as stream, np.load(stream, allow_pickle=False) as content:
                return {name: content[name] for name in content.files}
        except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile):  # absent, or damaged from outside
            return None

    def _write(self, key: str, arrays: dict[str, NDArray[Any]]) -> None:
        with atomic_write(self.folder / CACHE / f"{key}.npz", "wb") as stream:
            np.savez(stream, allow_pickle=False, **arrays)
