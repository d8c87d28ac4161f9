"""What a potential and networks say of one crystal of a screening, as a file that a later run finds again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from hashlib import blake2b
from pathlib import Path
from typing import Any, Literal, cast, get_args

import ase
import numpy as np
from numpy.typing import NDArray

from voigt.errors import InputError, VoigtError
from voigt.files import atomic_write
from voigt.response.assembly import Response, ResponseSettings, respond
from voigt.response.assembly.combination import SOFT
from voigt.response.potentials import find_potential
from voigt.safe_json import load_json
from voigt.screening.store.rows import structure_digest
from voigt.tensors.properties import PROPERTIES

Array = NDArray[np.float64]

ANSWERS, WORK = "answers", "work"
State = Literal["stable", "soft", "unstable", "failed"]
ASSEMBLED = ("eps_ionic", "eps_total", "piezo_total")
"""Properties whose assembled value ranks; of others the value that `voigt.respond` takes."""


@dataclass(frozen=True)
class Task:
    """A crystal to be done; any process can do it."""

    id: str
    atoms: ase.Atoms
    settings: ResponseSettings  # with a potential by name, without a folder
    models: tuple[str, ...]  # digests of the networks
    folder: Path  # holds answers, and finished forces of what is under way

    @property
    def digest(self) -> str:
        """Of all that the answer depends on."""
        potential = find_potential(self.settings.potential).identity
        chosen = {**asdict(self.settings), "potential": potential}
        del chosen["device"]  # it changes results by rounding
        question = repr((structure_digest(self.atoms), self.models, sorted(chosen.items())))
        return blake2b(f"{self.id}\n{question}".encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()

    @property
    def path(self) -> Path:
        """Of the answer."""
        return self.folder / ANSWERS / f"{self.digest}.json"

    @property
    def work(self) -> Path:
        """Folder of finished forces."""
        return self.folder / WORK / self.digest


@dataclass(frozen=True)
class Answer:
    """What became of a task.

    Attributes
    ----------
    values
        Property -> Cartesian tensor by which the crystal is ranked again; absent where unstable modes forbid one.
    taken
        Property -> the best guess of `voigt.respond`, which may be that of the network alone.
    lowest
        THz, of the lowest optical mode at Gamma; None if there is none or nothing was calculated.
    state
        "soft": the lowest mode is below `SOFT`, where the potential is not trusted; "unstable": a mode is imaginary.
    problem
        Why it failed; "" if it did not.
    cell, positions
        (3, 3) and (n_atoms, 3), Angstrom, relaxed; as they were if it failed.
    seconds
        Wall time.
    """

    values: Mapping[str, Array]
    taken: Mapping[str, Array]
    lowest: float | None
    state: State
    problem: str
    cell: Array
    positions: Array
    seconds: float


def answer(task: Task) -> Answer:
    """Assemble the responses of a crystal; a failure is an answer too."""
    try:
        response = respond(task.atoms, replace(task.settings, folder=task.work))
    except VoigtError as error:
        return failed(task, str(error))
    return _answer_of(response)


def failed(task: Task, problem: str) -> Answer:
    """The answer where there is none."""
    return Answer({}, {}, None, "failed", problem, task.atoms.cell.array, task.atoms.positions, 0.0)


def _answer_of(response: Response) -> Answer:
    infrared = response.infrared.response
    optical = [entry.frequency for entry in infrared.sets if entry.kind != "acoustic"]
    lowest = float(min(optical)) if optical else None
    state: State = "unstable" if infrared.excluded else "soft" if lowest is not None and lowest < SOFT else "stable"
    taken = {name: entry.value for name, entry in response.quantities.items() if name in PROPERTIES}
    values = dict(taken)
    for name in set(ASSEMBLED) & set(taken):
        ways = [way for way in response.routes.get(name, (response.quantities[name],)) if way.route == "assembled"]
        if ways:
            values[name] = ways[-1].value
        else:  # unstable modes: the network's answer is none of the second stage
            del values[name]
    atoms = response.atoms
    return Answer(values, taken, lowest, state, "", atoms.cell.array, atoms.positions, sum(response.seconds.values()))


def write_answer(path: Path, found: Answer) -> None:
    """Write an answer, complete or not at all."""
    content = {key: _plain(value) for key, value in vars(found).items()}
    with atomic_write(path) as stream:
        json.dump(content, stream)


def read_answer(path: Path, atoms: int) -> Answer | None:
    """The answer for a crystal of so many atoms, None if it is not there or damaged."""
    try:
        content: Any = load_json(path.read_text(encoding="utf-8"))
        values, taken = (
            {name: np.array(entry, float).reshape(_shape(name, atoms)) for name, entry in content[key].items()}
            for key in ("values", "taken")
        )
        lowest, state = content["lowest"], state_of(content["state"])
        cell, positions = np.array(content["cell"], float), np.array(content["positions"], float)
        if cell.shape != (3, 3) or positions.shape != (atoms, 3) or not np.isfinite([*cell, *positions]).all():
            return None
        return Answer(
            values, taken, None if lowest is None else float(lowest), state, str(content["problem"]), cell, positions,
            float(content["seconds"]),
        )  # fmt: skip
    except (OSError, InputError, ValueError, KeyError, TypeError, AttributeError):
        return None


def state_of(text: str) -> State:
    """A state by its name; ValueError if there is none."""
    for state in get_args(State):
        if state == text:
            return cast(State, state)
    raise ValueError(f"it has a state '{text[:20]}'")


def _shape(name: str, atoms: int) -> tuple[int, ...]:
    entry = PROPERTIES[name]
    return ((atoms,) if entry.per == "atom" else ()) + entry.shape


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(entry) for key, entry in value.items()}
    return value.tolist() if isinstance(value, np.ndarray) else value
