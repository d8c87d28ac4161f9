"""Several nodes of Ray on this machine, of which one is lost in the middle."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ase.io
import pytest
from ase.build import bulk

from voigt.screening.job import Job
from voigt.structures import Input, read

ray = pytest.importorskip("ray", reason="Ray is not installed: pip install 'voigt[ray]'")
from ray.cluster_utils import Cluster  # noqa: E402

from voigt.screening.engines import ray as ray_engine  # noqa: E402

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

SIZE = 4
"""Crystals of a piece."""


@pytest.fixture
def nodes() -> Iterator[tuple[Cluster, Any]]:
    """A head with one core and one more node with another, to which this process is connected."""
    options = {"num_cpus": 1, "object_store_memory": 2**27, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=options)
    other = cluster.add_node(num_cpus=1, object_store_memory=2**27)
    ray.init(address=cluster.address, logging_level="critical")
    yield cluster, other
    ray.shutdown()
    cluster.shutdown()


def test_a_node_that_is_lost_costs_its_pieces_in_flight_only(nodes: tuple[Cluster, Any], tmp_path: Path) -> None:
    """Every crystal comes once, none is blamed; what was computed twice is no more than the node had at work."""
    cluster, other = nodes
    crystals = [bulk("NaCl", "rocksalt", a=5.0 + 0.01 * k) for k in range(120)]
    for k, atoms in enumerate(crystals):
        atoms.info["id"] = f"crystal-{k:03d}"
    ase.io.write(tmp_path / "crystals.extxyz", crystals)
    structures: list[Input] = list(read(tmp_path / "crystals.extxyz"))
    pieces = [structures[start : start + SIZE] for start in range(0, len(structures), SIZE)]
    outcomes = []
    for outcome in ray_engine.run_ray(iter(pieces), Job(("band_gap",)), 2, None):
        outcomes.append(outcome)
        if len(outcomes) == 6:
            cluster.remove_node(other, allow_graceful=False)
    done = [name for outcome in outcomes for name in outcome.results["id"].to_pylist()]
    assert sorted(done) == [f"crystal-{k:03d}" for k in range(120)]
    assert sum(outcome.failures.num_rows for outcome in outcomes) == 0
    # A lost piece comes again crystal by crystal; a worker holds one and has the next beside it.
    assert len(outcomes) - len(pieces) <= 2 * (SIZE - 1)
