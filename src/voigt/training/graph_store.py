"""Crystal graphs on disk: built once, read through memory maps, shared by many trainings."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from voigt.data.labeled import Label, LabeledCrystal, Labels
from voigt.errors import RecipeError
from voigt.graphs import CrystalGraph
from voigt.graphs.building import AXES, FIELDS, FORMAT, MANIFEST, GraphOptions, build_store
from voigt.reasons import plain_reason
from voigt.safe_json import load_json
from voigt.tensors.properties import PROPERTIES, Property

_ALWAYS = set(FIELDS) - {"rotation", "frames", "operations", "lattice"}
"""Fields of every store."""


def label_tensor(prop: Property, label: Label, num_atoms: int, dtype: torch.dtype) -> Tensor:
    """A label as a target of a graph, (n_atoms, ...) or (1, ...); NaN if there is none."""
    shape = (num_atoms if prop.per == "atom" else 1, *prop.shape)
    if label is None or (np.ndim(label) == 0 and np.isnan(label)):  # NaN: tables, of tensors too
        return torch.full(shape, torch.nan, dtype=dtype)
    return torch.as_tensor(np.asarray(label, dtype=np.float64)).view(shape).to(dtype)


class GraphStore(Sequence[CrystalGraph]):
    """Graphs in a folder of arrays. Opened anew where it is unpickled, so that worker processes share the pages.

    Parameters
    ----------
    folder
        Written by `build_store`.
    rotations
        Whether graphs carry their rotations, if the store has them.

    Raises
    ------
    RecipeError
        The folder is no complete store of this version.
    """

    def __init__(self, folder: str | Path, rotations: bool = True) -> None:
        self.folder = Path(folder).absolute()
        self.rotations = rotations
        self.manifest = read_manifest(self.folder)
        self.index_type: str = self.manifest["index_type"]
        names = [name for name in FIELDS if name in self.manifest["fields"]]
        try:
            self._arrays = {name: _mapped(self.folder / f"{name}.npy") for name in names}
            self._start = {axis: _mapped(self.folder / f"start_{axis}.npy") for axis in self.manifest["axes"]}
            self._check()
        except (OSError, ValueError) as error:
            reason = plain_reason(error)
            raise RecipeError(f"the graph store {folder} is damaged ({reason}); remove the folder") from error

    def _check(self) -> None:
        """ValueError unless every array has the rows that its crystals need."""
        count = len(self)
        for axis, start in self._start.items():
            if start.dtype.kind != "i" or start.shape != (count + 1,) or start[0] or (np.diff(start) < 0).any():
                raise ValueError(f"start_{axis}.npy does not divide rows among {count} crystals")
        for name, array in self._arrays.items():
            axis, shape = FIELDS[name]
            rows = count if axis == "crystals" else int(self._start[axis][-1]) if axis in self._start else -1
            if array.shape != (rows, *shape) or array.dtype.kind not in ("f" if shape else "iu"):
                raise ValueError(f"{name}.npy holds {array.dtype} {array.shape}, which does not fit {count} crystals")

    def __reduce__(self) -> tuple[Any, ...]:
        return GraphStore, (self.folder, self.rotations)

    def __len__(self) -> int:
        return int(self.manifest["crystals"])

    def __getitem__(self, index: int) -> CrystalGraph:  # type: ignore[override]
        if not 0 <= index < len(self):
            raise IndexError(f"graph {index} of {len(self)}")
        cell = torch.from_numpy(self._arrays["cell"][index])
        rotation = self._rows("rotation", index) if self.rotations else None
        none = cell.new_empty(0, 3, 3)
        frames, operations = self._rows("frames", index), self._rows("operations", index)
        framed = "lattice" in self._arrays
        return CrystalGraph(
            numbers=self._indices("numbers", index),
            cell=cell,
            representative=self._indices("representative", index),
            orbit=self._indices("orbit", index),
            rotation=None if rotation is None or len(rotation) == 0 else torch.from_numpy(rotation),
            edge_source=self._indices("edge_source", index),
            edge_target=self._indices("edge_target", index),
            edge_vector=torch.from_numpy(self._present("edge_vector", index)),
            lattice=torch.from_numpy(self._arrays["lattice"][index]) if framed else cell,
            frames=none if frames is None else torch.from_numpy(frames),
            operations=none if operations is None else torch.from_numpy(operations),
            space_group=int(self._arrays["space_group"][index]),
        )

    def _rows(self, name: str, index: int) -> NDArray[Any] | None:
        """The rows of a crystal; None if the store does not have the field."""
        return self._present(name, index) if name in self._arrays else None

    def _present(self, name: str, index: int) -> NDArray[Any]:
        start = self._start[FIELDS[name][0]]
        return self._arrays[name][start[index] : start[index + 1]]

    def _indices(self, name: str, index: int) -> Tensor:
        return torch.from_numpy(self._present(name, index).astype(np.int64))

    def numbers(self, index: int) -> Tensor:
        """(n_atoms,) atomic numbers of one crystal."""
        return self._indices("numbers", index)

    def sizes(self, axis: str) -> NDArray[np.int64]:
        """(n_crystals,) how many "atoms", "edges", ... each crystal has."""
        start: NDArray[np.int64] = self._start[axis]
        return start[1:] - start[:-1]


class StoredGraphs(Sequence[CrystalGraph]):
    """Some graphs of a store, with labels.

    Parameters
    ----------
    store
        Graphs without labels.
    rows
        (n_graphs,) which of them.
    labels
        Property name -> one label for every graph of this sequence; None or NaN where absent.
    functionals
        One for every graph; None if the network is not conditioned on any.
    dtype
        Of the labels.
    """

    def __init__(
        self,
        store: GraphStore,
        rows: Sequence[int],
        labels: Mapping[str, Labels],
        functionals: Sequence[str | None] | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.store = store
        self.rows = np.asarray(rows, dtype=np.int64)
        self._labels = labels
        self._functionals = functionals
        self._dtype = dtype

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> CrystalGraph:  # type: ignore[override]
        graph = self.store[int(self.rows[index])]
        targets = {
            name: label_tensor(PROPERTIES[name], labels[index], graph.num_atoms, self._dtype)
            for name, labels in self._labels.items()
        }
        functional = None if self._functionals is None else self._functionals[index]
        return replace(graph, targets=targets, functional=functional)

    def targets(self, name: str) -> Tensor:
        """Labels of all graphs in one tensor; KeyError if they have no such target."""
        labels, sizes = self._labels[name], self.store.sizes("atoms")[self.rows]
        prop = PROPERTIES[name]
        if isinstance(labels, np.ndarray):  # scalars of crystals
            return torch.as_tensor(labels).to(self._dtype)
        return torch.cat(
            [label_tensor(prop, label, int(size), self._dtype) for label, size in zip(labels, sizes, strict=True)]
        )

    def numbers(self) -> list[Tensor]:
        """Atomic numbers of every graph."""
        return [self.store.numbers(row) for row in self.rows.tolist()]

    def num_edges(self) -> NDArray[np.int64]:
        return self.store.sizes("edges")[self.rows]


def edge_counts(graphs: Sequence[CrystalGraph]) -> NDArray[np.int64]:
    """(n_graphs,) number of edges of every graph, without touching the edges of a store."""
    if isinstance(graphs, StoredGraphs):
        return graphs.num_edges()
    return np.array([graph.num_edges for graph in graphs], dtype=np.int64)


def all_targets(graphs: Sequence[CrystalGraph], name: str) -> Tensor:
    """Labels of all graphs in one tensor."""
    if isinstance(graphs, StoredGraphs):
        return graphs.targets(name)
    return torch.cat([graph.targets[name] for graph in graphs])


def all_numbers(graphs: Sequence[CrystalGraph]) -> list[Tensor]:
    """Atomic numbers of every graph."""
    return graphs.numbers() if isinstance(graphs, StoredGraphs) else [graph.numbers for graph in graphs]


def store_key(options: GraphOptions, content: Sequence[Mapping[str, Any]], crystals: int) -> dict[str, Any]:
    """What decides the content of a store; labels and the split do not.

    Parameters
    ----------
    options
        How graphs are made.
    content
        For every data file its digest and what was chosen from it.
    crystals
        How many there are in all.
    """
    key = {"data": [dict(file) for file in content], "crystals": crystals, **asdict(options)}
    plain: dict[str, Any] = json.loads(json.dumps(key))
    return plain


def read_manifest(folder: Path) -> dict[str, Any]:
    """The description of a store.

    Raises
    ------
    RecipeError
        No store of this version.
    """
    try:
        manifest = load_json((folder / MANIFEST).read_text(encoding="utf-8"))
        version = manifest["format"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise RecipeError(f"{folder} is no graph store; give graph_store a folder of its own in the recipe") from error
    if version != FORMAT:
        found = str(version)[:40]
        raise RecipeError(f"the graph store {folder} is of format {found}, not {FORMAT}; remove it to build it again")
    lists = all(isinstance(manifest.get(key), list) for key in ("fields", "axes"))
    sound = lists and isinstance(manifest.get("key"), dict) and type(manifest.get("crystals")) is int
    sound = sound and manifest.get("index_type") in ("int16", "int32")
    if not (sound and set(map(str, manifest["axes"])) <= set(AXES) and set(map(str, manifest["fields"])) >= _ALWAYS):
        raise RecipeError(f"the manifest of the graph store {folder} is damaged; remove the folder to build it again")
    return dict(manifest)


def open_or_build(
    folder: str | Path, crystals: Sequence[LabeledCrystal], key: Mapping[str, Any], processes: int | None = None
) -> GraphStore:
    """The store in `folder`, built from `crystals` if there is none.

    Parameters
    ----------
    folder
        Of the store; made if needed.
    crystals
        All crystals that the store is to hold, in this order.
    key
        See `store_key`.
    processes
        As in `build_store`.

    Raises
    ------
    RecipeError
        The folder holds something else, such as graphs of other options.
    InputError
        As `build_store`.
    OutputError
        The store cannot be written.
    """
    folder = Path(folder)
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        build_store(folder, crystals, key, processes)
    stored = read_manifest(folder)["key"]
    required = dict(key)
    if stored.get("rotations"):
        required["rotations"] = True  # a store with rotations serves networks that need none
    changed = [name for name in required if stored.get(name) != required[name]]
    if changed:
        listing = ", ".join(f"{name} = {stored.get(name)!r} instead of {required[name]!r}" for name in changed)
        raise RecipeError(
            f"the graph store {folder} was made with {listing}; give graph_store another folder, or remove this one"
        )
    return GraphStore(folder, bool(key["rotations"]))


def _mapped(path: Path) -> NDArray[Any]:
    """An array on disk; private pages, so that torch may take them for writable. Its size is that of the file."""
    return np.asarray(np.load(path, mmap_mode="c" if _has_rows(path) else None, allow_pickle=False))


def _has_rows(path: Path) -> bool:
    with path.open("rb") as file:
        np.lib.format.read_magic(file)
        shape, _, _ = np.lib.format.read_array_header_1_0(file)
    return 0 not in shape
