"""Building of crystal graphs by several processes, straight into the array files of a store."""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import IO, Any, Literal

import ase
import numpy as np
import torch
from numpy.typing import NDArray

from voigt.data.labeled import LabeledCrystal, as_crystals
from voigt.errors import InputError, OutputError
from voigt.graphs.canonical_axes import AxesOptions
from voigt.graphs.graph import CrystalGraph, build_graph
from voigt.structures.symmetry import Symmetry, find_symmetry

log = logging.getLogger("voigt.training")

FORMAT = 1
MANIFEST = "manifest.json"
CHUNK = 64
"""Crystals that a process works on at a time."""
AXES = ("atoms", "orbits", "rotations", "edges", "frames", "operations")
"""What a crystal has a varying number of."""
FIELDS: Mapping[str, tuple[str, tuple[int, ...]]] = {
    "numbers": ("atoms", ()),
    "orbit": ("atoms", ()),
    "representative": ("orbits", ()),
    "rotation": ("rotations", (3, 3)),
    "edge_source": ("edges", ()),
    "edge_target": ("edges", ()),
    "edge_vector": ("edges", (3,)),
    "frames": ("frames", (3, 3)),
    "operations": ("operations", (3, 3)),
    "cell": ("crystals", (3, 3)),
    "lattice": ("crystals", (3, 3)),
    "space_group": ("crystals", ()),
}
"""Arrays of a store: what their rows belong to, and the shape of a row."""


@dataclass(frozen=True)
class GraphOptions:
    """How graphs are made of structures.

    Attributes
    ----------
    cutoff, neighbors
        Of the neighbor list; Angstrom.
    symprec
        Tolerance of the symmetry that reduces the graphs, Angstrom; None: all atoms get messages.
    frame
        Canonical axes, None for none; the name of the hyper-parameter and of the key in stored graphs.
    precision
        Of all floating-point arrays.
    rotations
        Whether graphs carry the operations from representatives to their atoms; invariant networks need none.
    """

    cutoff: float
    neighbors: Literal["all", "mic"] = "all"
    symprec: float | None = None
    frame: AxesOptions | None = None
    precision: Literal["32", "64"] = "32"
    rotations: bool = True

    @property
    def dtype(self) -> torch.dtype:
        return torch.float64 if self.precision == "64" else torch.float32


def structure_graph(atoms: ase.Atoms, options: GraphOptions) -> CrystalGraph:
    """Graph of a structure, without labels.

    Raises
    ------
    InputError
        No space group is found, or no canonical axes.
    """
    graph = build_graph(
        atoms,
        options.cutoff,
        mic=options.neighbors == "mic",
        symmetry=_symmetry(atoms, options.symprec),
        dtype=options.dtype,
        frame=options.frame,
    )
    return graph if options.rotations else replace(graph, rotation=None)


def _symmetry(atoms: ase.Atoms, symprec: float | None) -> Symmetry | None:
    try:
        return None if symprec is None else find_symmetry(atoms, symprec)
    except InputError as error:
        raise InputError(
            f"no space group found with symmetry: {symprec}; give another value or null in the recipe"
        ) from error


def build_store(
    folder: str | Path, crystals: Sequence[LabeledCrystal], key: Mapping[str, Any], processes: int | None = None
) -> None:
    """Write the graphs of `crystals` to `folder`, which appears when all is done.

    Parameters
    ----------
    folder
        Absent or empty.
    crystals
        In the order of the store.
    key
        See `store_key`; holds the options.
    processes
        That build graphs; by default as many as there are processors, at most 8.

    Raises
    ------
    InputError
        Some crystals have no graph (all of them are listed).
    OutputError
        The store cannot be written, or a process died.
    """
    folder = Path(folder).absolute()
    if processes is None:
        processes = min(os.cpu_count() or 1, 8)
    options = _options_of(key)
    index_type = "int16" if as_crystals(crystals).sizes().max() < 2**15 else "int32"
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}.partial."))
        try:
            _write(temporary, crystals, options, key, index_type, processes)
            _publish(temporary, folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    except OSError as error:
        reason = error.strerror or error
        raise OutputError(f"cannot write the graph store {folder}: {reason}; free space or choose another") from error
    except BrokenProcessPool as error:
        raise OutputError(
            f"a process that built graphs for {folder} died, most likely for lack of memory; free some and start again"
        ) from error


def _options_of(key: Mapping[str, Any]) -> GraphOptions:
    frame = key["frame"]
    values = {name: key[name] for name in GraphOptions.__dataclass_fields__ if name != "frame"}
    return GraphOptions(**values, frame=None if frame is None else AxesOptions(**frame))


def _publish(temporary: Path, folder: Path) -> None:
    """Rename to the final name; another training may have been faster, then its store is as good."""
    mask = os.umask(0)
    os.umask(mask)
    temporary.chmod(0o777 & ~mask)
    try:
        temporary.replace(folder)
    except OSError:
        if not (folder / MANIFEST).is_file():
            raise


def _write(
    folder: Path,
    crystals: Sequence[LabeledCrystal],
    options: GraphOptions,
    key: Mapping[str, Any],
    index_type: str,
    processes: int,
) -> None:
    total = len(crystals)
    fields = stored_fields(options)
    axes = [axis for axis in AXES if any(FIELDS[name][0] == axis for name in fields)]
    sizes: dict[str, list[NDArray[np.int64]]] = {axis: [] for axis in axes}
    problems: list[str] = []
    started = reported = time.monotonic()
    done = 0
    log.info("building graphs of %d crystals with %d processes for later use", total, processes)
    with _growing(folder, options, fields, index_type) as append:
        for chunk in _chunks(crystals, options, index_type, processes):
            problems += chunk.problems
            for axis in axes:
                sizes[axis].append(chunk.sizes[axis])
            for name in fields:
                append(name, chunk.arrays[name])
            done = min(done + CHUNK, total)
            now = time.monotonic()
            if now - reported >= 60:
                reported, rate = now, done / (now - started)
                left = (total - done) / rate / 60
                log.info("graphs: %d of %d crystals, %.0f per second, %.0f min left", done, total, rate, left)
    if problems:
        shown = "\n  ".join(problems[:10])
        more = f"\n  ... and {len(problems) - 10} more" if len(problems) > 10 else ""
        raise InputError(f"no graphs can be made of some crystals; mend or remove them:\n  {shown}{more}")
    for axis in axes:
        np.save(folder / f"start_{axis}.npy", np.concatenate([[0], np.cumsum(np.concatenate(sizes[axis]))]))
    manifest = {
        "format": FORMAT,
        "crystals": total,
        "fields": fields,
        "axes": axes,
        "index_type": index_type,
        "key": dict(key),
    }
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1), encoding="utf-8")
    log.info("graphs of %d crystals built in %.0f s", total, time.monotonic() - started)


def stored_fields(options: GraphOptions) -> list[str]:
    """Arrays that a store of these options has."""
    absent = set() if options.rotations and options.symprec is not None else {"rotation"}
    if options.frame is None:
        absent |= {"frames", "operations", "lattice"}
    return [name for name in FIELDS if name not in absent]


@dataclass(frozen=True)
class _Chunk:
    """Arrays of a few crystals, how many rows each crystal has, and what went wrong."""

    arrays: dict[str, NDArray[Any]]
    sizes: dict[str, NDArray[np.int64]]
    problems: list[str]


def _chunks(
    crystals: Sequence[LabeledCrystal], options: GraphOptions, index_type: str, processes: int
) -> Iterator[_Chunk]:
    """Chunks in the order of the crystals; a few of them are under way at any time, so that memory stays flat."""
    build = partial(_build_chunk, options=options, index_type=index_type)
    named = ((f"{crystal.source}, id {crystal.id}", _bare(crystal.atoms)) for crystal in crystals)
    batches = iter(lambda: list(islice(named, CHUNK)), [])
    if processes <= 1:
        yield from map(build, batches)
        return
    pool = ProcessPoolExecutor(processes, initializer=_start_process)
    pending: deque[Future[_Chunk]] = deque()
    try:
        for batch in batches:
            pending.append(pool.submit(build, batch))
            if len(pending) >= 4 * processes:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _bare(atoms: ase.Atoms) -> ase.Atoms:
    """Without labels, which workers do not need."""
    return ase.Atoms(numbers=atoms.numbers, positions=atoms.positions, cell=atoms.cell.array, pbc=atoms.pbc)


def _start_process() -> None:
    """Leave Ctrl-C to the main process; one thread, since there are many processes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)


def _build_chunk(named: Sequence[tuple[str, ase.Atoms]], options: GraphOptions, index_type: str) -> _Chunk:
    graphs: list[CrystalGraph] = []
    problems: list[str] = []
    for name, atoms in named:
        try:
            graphs.append(structure_graph(atoms, options))
        except InputError as error:
            problems.append(f"{name}: {error}")
    values = [_arrays(graph) for graph in graphs]
    fields = stored_fields(options)
    arrays, sizes = {}, {}
    for name in fields:
        kind = _stored_type(name, options, index_type)
        empty = np.empty((0, *FIELDS[name][1]), dtype=kind)
        arrays[name] = np.concatenate([empty, *(value[name].astype(kind) for value in values)])
        sizes[FIELDS[name][0]] = np.array([len(value[name]) for value in values], dtype=np.int64)
    return _Chunk(arrays, sizes, problems)


def _stored_type(name: str, options: GraphOptions, index_type: str) -> np.dtype[Any]:
    if name in ("numbers", "space_group"):
        return np.dtype(np.uint8)
    if FIELDS[name][1]:
        return np.dtype(np.float64 if options.precision == "64" else np.float32)
    return np.dtype(index_type)


def _arrays(graph: CrystalGraph) -> dict[str, NDArray[Any]]:
    """Fields of one graph, each with rows along its axis."""
    rotation = np.empty((0, 3, 3)) if graph.rotation is None else graph.rotation.numpy()
    single = {"cell": graph.cell.numpy()[None], "lattice": graph.lattice.numpy()[None]}
    many = {name: getattr(graph, name).numpy() for name in FIELDS if name not in (*single, "rotation", "space_group")}
    return {**many, **single, "rotation": rotation, "space_group": np.array([graph.space_group])}


@contextmanager
def _growing(
    folder: Path, options: GraphOptions, fields: Sequence[str], index_type: str
) -> Iterator[Callable[[str, NDArray[Any]], None]]:
    """Array files to append to: numpy leaves room in the header for the final length."""
    files: dict[str, IO[bytes]] = {}
    length = dict.fromkeys(fields, 0)

    def header(name: str) -> None:
        kind = _stored_type(name, options, index_type)
        shape = (length[name], *FIELDS[name][1])
        np.lib.format.write_array_header_1_0(
            files[name], {"descr": np.lib.format.dtype_to_descr(kind), "fortran_order": False, "shape": shape}
        )

    def append(name: str, rows: NDArray[Any]) -> None:
        length[name] += len(rows)
        files[name].write(rows.tobytes())

    try:
        for name in fields:
            files[name] = (folder / f"{name}.npy").open("wb")
            header(name)
        yield append
        for name in fields:
            files[name].seek(0)
            header(name)
    finally:
        for file in files.values():
            file.close()
