"""Several nodes of Ray on this machine, of which one is lost in the middle and another comes."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from ase.build import bulk

from voigt.screening.job import Job
from voigt.structures import Input, InputStructure

ray = pytest.importorskip("ray", reason="Ray is not installed: pip install 'voigt[ray]'")
from ray.cluster_utils import Cluster  # noqa: E402

from voigt.screening.engines.ray import run_ray  # noqa: E402

SIZE = 4
"""Crystals of a piece."""
NODE = {"num_cpus": 1, "object_store_memory": 2**27}


@pytest.fixture
def nodes() -> Iterator[tuple[Cluster, Any]]:
    """A cluster whose head, to which this process is connected, computes nothing, and one of its two other nodes."""
    cluster = Cluster(initialize_head=True, head_node_args=NODE | {"num_cpus": 0, "include_dashboard": False})
    try:
        cluster.add_node(**NODE)
        node = cluster.add_node(**NODE)
        ray.init(address=cluster.address, logging_level="critical", log_to_driver=False)
        yield cluster, node
    finally:
        ray.shutdown()
        cluster.shutdown()


class Watched:
    """Notes in a file, when it is unpickled, on which node its piece was begun.

    On a node that has a file of its name beside the notes, it notes that too and stays as long as the file is there.
    """

    def __init__(self, piece: int, notes: Path) -> None:
        self.code = f"""
import pathlib, ray, time
notes = pathlib.Path({str(notes)!r})
node = ray.get_runtime_context().get_node_id()
held = notes.with_name(node)
with notes.open("a") as stream:
    print("held" if held.exists() else "begun", {piece}, node, file=stream)
while held.exists():
    time.sleep(0.1)
"""

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str, dict[str, object]]]:
        return exec, (self.code, {})


def crystals(piece: int, notes: Path) -> list[Input]:
    """Ids are "piece-0", "piece-1", ...; the first is watched."""
    found: list[Input] = []
    for k in range(SIZE):
        atoms = bulk("NaCl", "rocksalt", a=5.5 + 0.02 * k)
        atoms.info["watched"] = Watched(piece, notes) if k == 0 else None
        found.append(InputStructure("made here", k, f"{piece}-{k}", atoms))
    return found


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_a_lost_node_costs_the_piece_in_work_there_and_a_new_one_is_used(
    nodes: tuple[Cluster, Any], tmp_path: Path
) -> None:
    cluster, lost = nodes
    path = tmp_path / "notes"
    path.touch()
    given = 0
    going_on = True

    def source() -> Iterator[list[Input]]:
        nonlocal given
        for given in count(1):
            yield crystals(given, path)
            if not going_on:
                return

    def notes() -> list[tuple[str, int, str]]:
        lines = [line.split() for line in path.read_text().splitlines()]
        return [(what, int(piece), node) for what, piece, node in lines]

    def held() -> list[int]:
        return [piece for what, piece, _ in notes() if what == "held"]

    def at_work() -> set[str]:
        return {node for _, _, node in notes()}

    outcomes = []
    stream = run_ray(source(), Job(("band_gap",)), 2, None)

    def take_until(condition: Callable[[], bool]) -> None:
        while not condition():
            outcomes.append(next(stream))

    take_until(lambda: len(at_work()) == 2)
    (tmp_path / lost.node_id).touch()
    take_until(lambda: held() != [])
    time.sleep(0.5)  # for the answer before it, which is on its way
    cluster.remove_node(lost, allow_graceful=False)
    before = len(outcomes)
    take_until(lambda: len(outcomes) == before + 12)  # one core, two workers
    assert len(at_work()) == 2
    new = cluster.add_node(**NODE)
    take_until(lambda: new.node_id in at_work())
    going_on = False
    outcomes += stream

    names = [name for outcome in outcomes for name in outcome.results["id"].to_pylist()]
    assert sorted(names) == sorted(f"{piece}-{k}" for piece in range(1, given + 1) for k in range(SIZE))
    assert sum(outcome.failures.num_rows for outcome in outcomes) == 0
    # A worker holds one piece and has another beside it, which is computed once. The one comes crystal by crystal.
    assert [(piece, times) for piece, times in Counter(piece for _, piece, _ in notes()).items() if times > 1] == [
        (held()[0], 2)
    ]
    assert len(held()) == 1
    assert len(outcomes) == given + SIZE - 1
