"""From the process that reads a collection to Ray Data: a mailbox, and the source that empties it.

Nothing here needs torch: the two processes of Ray that run this start quickly and stay small.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from typing import TYPE_CHECKING, Any

import pyarrow as pa

if TYPE_CHECKING:
    import ray.data

NAMESPACE = "voigt"  # of the names of mailboxes


class Mailbox:
    """Pieces of work by number, from 0; an actor, whose calls may run in another order than they were made."""

    def __init__(self) -> None:
        self._pieces: dict[int, bytes] = {}
        self._attempts: dict[int, int] = {}
        self._done: set[int] = set()
        self._closed = False
        self._news = asyncio.Condition()

    async def put(self, number: int, piece: bytes, attempts: int) -> None:
        async with self._news:
            self._pieces[number] = piece
            self._attempts[number] = attempts
            self._news.notify_all()

    async def close(self) -> None:
        """Say that all pieces are done."""
        async with self._news:
            self._closed = True
            self._news.notify_all()

    async def forget(self, number: int) -> None:
        """Note that a piece is done."""
        self._done.add(number)
        del self._pieces[number], self._attempts[number]

    async def take(self, number: int) -> bytes | None:
        """A piece, as soon as it is there; nothing in place of one that is done; None after the last."""
        async with self._news:
            await self._news.wait_for(lambda: number in self._pieces or number in self._done or self._closed)
        return b"" if number in self._done else self._pieces.get(number)

    async def begin(self, number: int) -> bool:
        """Whether a worker may compute a piece; false if so many have begun it before as it has attempts."""
        if not self._attempts.get(number):
            return False
        self._attempts[number] -= 1
        return True


@contextmanager
def start_mailbox(name: str) -> Iterator[Any]:
    """A mailbox beside this process: if that machine is lost, all is."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    actor: Any = ray.remote(Mailbox)
    mailbox = actor.options(name=name, namespace=NAMESPACE, num_cpus=0, scheduling_strategy=here).remote()
    try:
        yield mailbox
    finally:
        ray.kill(mailbox)


def find_mailbox(name: str) -> Any:
    """The mailbox, in another process."""
    import ray

    return ray.get_actor(name, namespace=NAMESPACE)


def read_pieces(mailbox: str) -> ray.data.Dataset:
    """A dataset with a block of one row, "number" and "piece", for each piece that comes into a mailbox."""
    import ray.data
    from ray.data.block import BlockMetadata
    from ray.data.datasource import Datasource, ReadTask

    class Pieces(Datasource):  # type: ignore[misc, unused-ignore]
        """One read task, which ends when the mailbox is closed."""

        def estimate_inmemory_data_size(self) -> int | None:
            return None

        def get_read_tasks(self, *_: Any, **__: Any) -> list[ReadTask]:
            unknown = BlockMetadata(num_rows=None, size_bytes=None, input_files=None, exec_stats=None)
            return [ReadTask(lambda: _blocks(mailbox), unknown)]

    source: Any = Pieces
    # Without a core of its own, the read task cannot be fused with actors that have one.
    dataset: ray.data.Dataset = ray.data.read_datasource(source(), num_cpus=0, override_num_blocks=1)
    return dataset


def _blocks(name: str) -> Iterator[pa.Table]:
    import ray

    mailbox = find_mailbox(name)
    for number in count():
        piece = ray.get(mailbox.take.remote(number))
        if piece is None:
            return
        yield row(number, "piece", piece)


def row(number: int, name: str, data: bytes) -> pa.Table:
    """A block of one row."""
    return pa.table({"number": pa.array([number], pa.int64()), name: pa.array([data], pa.large_binary())})
