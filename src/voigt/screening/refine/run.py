"""Assembling the best crystals of a screening, in this process or several, each answer kept as soon as it is there."""

from __future__ import annotations

import shutil
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path

import ase

from voigt.errors import InputError
from voigt.files import make_folder
from voigt.prediction.plan import choose_models
from voigt.prediction.result import Settings
from voigt.response.assembly import ResponseSettings
from voigt.response.assembly.quantities import PREDICTED
from voigt.response.potentials import DEFAULT, Relax, load_potential
from voigt.screening.engines.local import processes
from voigt.screening.job import file_digest
from voigt.screening.query.criteria import Criteria, read_criteria
from voigt.screening.query.selection import read_crystals, select
from voigt.screening.refine.answers import ANSWERS, Answer, Task, answer, failed, read_answer, write_answer
from voigt.screening.refine.ranking import FOLDER, Refinement, ranked_again
from voigt.screening.store.manifest import read_manifest
from voigt.screening.store.parts import result_parts

STRAINED = ("elastic", "piezo_total")
"""Properties of which strained cells know something."""
_KILLED = "the process that assembled it was killed, for lack of memory or by a fault in a library"


@dataclass(frozen=True)
class Refining:
    """How crystals are assembled.

    Attributes
    ----------
    potential
        Name, see `voigt.response.potentials.POTENTIALS`.
    relax
        As in `ResponseSettings`.
    dim
        Supercell; the cell itself has the modes at Gamma exactly, which is all that permittivities need. None: as large
        as for phonons, which finds soft modes at other wave vectors, too.
    workers
        Processes, each with a crystal of its own.
    """

    potential: str = DEFAULT
    relax: Relax = "positions"
    dim: tuple[int, ...] | None = (1, 1, 1)
    workers: int = 1


def refine(
    folder: str | Path,
    most: int,
    criteria: Criteria | None = None,
    how: Refining | None = None,
    advance: Callable[[], None] | None = None,
) -> Refinement:
    """Assemble the best crystals of a screening with a potential, and rank them again.

    Parameters
    ----------
    folder
        Of the screening.
    most
        How many, the best by the networks' values.
    criteria
        Condition and ranking; None: those of the last screening.
    how
        See `Refining`.
    advance
        Called after each crystal.

    Returns
    -------
    See `Refinement`. Crystals that an earlier call has done are not done again.

    Raises
    ------
    InputError
        There is no ranking, no screening, or the potential is unknown or not installed.
    OutputError
        The folder cannot be written.

    Examples
    --------
    >>> refine("insulators", 60, read_criteria("band_gap > 3", "eps_total"))  # doctest: +SKIP
    """
    folder, how = Path(folder), how or Refining()
    manifest = read_manifest(folder)
    criteria = criteria if criteria is not None and criteria.given else read_criteria(**manifest.get("selection", {}))
    if criteria.rank is None:
        raise InputError("the best are refined, and nothing says which they are; give --rank")
    parts = result_parts(folder)
    selection = select(parts, criteria.where, criteria.rank, most, criteria.ascending)
    tasks = _tasks(folder, list(read_crystals(parts, selection.ids)), how, criteria, manifest["job"].get("settings"))
    found: dict[str, Answer] = {}
    make_folder(folder / FOLDER / ANSWERS)
    left = []
    for task in tasks:
        known = read_answer(task.path, len(task.atoms))
        if known is None:
            left.append(task)
        else:
            found[task.id] = known
            if advance is not None:
                advance()
    if left:
        load_potential(how.potential)  # one that is not installed is one error, and no failure of each crystal
    for task, new in _answers(left, how.workers):
        write_answer(task.path, new)
        shutil.rmtree(task.work, ignore_errors=True)
        found[task.id] = new
        if advance is not None:
            advance()
    return ranked_again(parts, selection, criteria, [found[name] for name in selection.ids], how.potential)


def _tasks(
    folder: Path, crystals: Sequence[ase.Atoms], how: Refining, criteria: Criteria, job: Mapping[str, object] | None
) -> list[Task]:
    given = job or {}
    functional = given.get("functional")
    settings = ResponseSettings(
        potential=how.potential,
        functional=None if functional is None else str(functional),
        relax=how.relax,
        dim=how.dim,
        symprec=float(str(given.get("symprec", 1e-3))),
        allow_unseen=bool(given.get("allow_unseen")),
        bands=False,
        strain=not set(STRAINED).isdisjoint(criteria.properties),
    )
    plan = choose_models(None, Settings(properties=PREDICTED))
    models = tuple(sorted({file_digest(share.model) for share in plan.shares}))
    return [Task(str(atoms.info["id"]), atoms, settings, models, folder / FOLDER) for atoms in crystals]


def _answers(tasks: Sequence[Task], workers: int) -> Iterator[tuple[Task, Answer]]:
    """Each task with its answer, as they come."""
    if workers <= 1:
        for task in tasks:
            yield task, answer(task)
        return
    left = deque(tasks)
    while left:
        pending: dict[Future[Answer], Task] = {}
        try:
            with processes(workers) as submit:
                while left or pending:
                    while left and len(pending) < workers:
                        pending[submit(answer, left[0])] = left[0]
                        left.popleft()
                    finished, _ = wait(pending, return_when=FIRST_COMPLETED)
                    for future in finished:
                        result = future.result()
                        yield pending.pop(future), result
        except BrokenProcessPool:  # one of those under way is to blame: it alone kills another process
            for task in pending.values():
                yield task, _alone(task)


def _alone(task: Task) -> Answer:
    with processes(1) as submit:
        try:
            return submit(answer, task).result()
        except BrokenProcessPool:
            return failed(task, f"{_KILLED}; use a machine with more memory for its {len(task.atoms)} atoms")
