"""Any number of small crystals that all differ, as a Parquet table, and a network with random weights, quick on them.

Five simple structures with one or two atoms, every pair of some elements, and a lattice constant that no two crystals
of a structure and a pair share. Everything follows from the number of a crystal, so that a result can be checked
without the table.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from ase.data import atomic_numbers, covalent_radii
from numpy.typing import NDArray

from voigt.models.checkpoint import ModelCard, save_model
from voigt.models.equivar.hypers import EquivarHypers
from voigt.models.equivar.model import Equivar

METALS = (
    "Li", "Na", "K", "Rb", "Be", "Mg", "Ca", "Sr", "Ba", "Sc", "Y", "Ti", "Zr", "Mn", "Ni", "Cu", "Zn", "Cd", "Pb",
)  # fmt: skip
PARTNERS = ("O", "S", "Se", "Te", "F", "Cl", "Br", "I", "N", "P", "As")
UNKNOWN = "Xe"
"""An element that the network does not know."""
UNKNOWN_EVERY = 997
"""Of so many crystals the last has it: it fails."""
AT_ONCE = 10_000

FACES = np.array([[0.0, 0.5, 0.5], [0.5, 0.0, 0.5], [0.5, 0.5, 0.0]])
BODY = np.array([[-0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0.5, 0.5, -0.5]])
STRUCTURES = (
    # lattice vectors in units of the lattice constant, place of the partner, shortest distance
    (FACES, 0.5, 0.5),  # rock salt
    (np.eye(3), 0.5, 3**0.5 / 2),  # cesium chloride
    (FACES, 0.25, 3**0.5 / 4),  # zincblende
    (FACES, None, 0.5**0.5),  # fcc
    (BODY, None, 3**0.5 / 2),  # bcc
)
GOLDEN = (5**0.5 - 1) / 2  # its multiples, modulo one, are all different and even


def name_of(number: int) -> str:
    """The id of a crystal."""
    return f"made-{number:08d}"


def number_of(name: str) -> int:
    return int(name.removeprefix("made-"))


def fails(numbers: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether crystals hold the unknown element."""
    return numbers % UNKNOWN_EVERY == UNKNOWN_EVERY - 1


def made(numbers: NDArray[np.int64]) -> tuple[list[NDArray[np.int16]], NDArray[np.float64], list[NDArray[np.float64]]]:
    """Crystals by their numbers (n,): elements of each, cells (n, 3, 3) in Angstrom, fractional coordinates of each."""
    kind, turn = numbers % len(STRUCTURES), numbers // len(STRUCTURES)
    codes, partners = (np.array([atomic_numbers[symbol] for symbol in group]) for group in (METALS, PARTNERS))
    first = np.where(fails(numbers), atomic_numbers[UNKNOWN], codes[turn % len(METALS)])
    second = partners[turn // len(METALS) % len(PARTNERS)]
    alone = np.array([place is None for _, place, _ in STRUCTURES])[kind]
    bond = covalent_radii[first] + covalent_radii[np.where(alone, first, second)]
    stretch = 1.0 + 0.2 * (turn * GOLDEN % 1.0)
    constant = bond * stretch / np.array([distance for *_, distance in STRUCTURES])[kind]
    cells = np.stack([vectors for vectors, *_ in STRUCTURES])[kind] * constant[:, None, None]
    elements = [np.array([a] if one else [a, b], np.int16) for a, b, one in zip(first, second, alone, strict=True)]
    places = [np.zeros(3) if place is None else np.repeat([0.0, place], 3) for _, place, _ in STRUCTURES]
    return elements, cells, [places[one] for one in kind]


def volumes(numbers: NDArray[np.int64]) -> NDArray[np.float64]:
    """(n,) Angstrom^3."""
    return np.abs(np.linalg.det(made(numbers)[1]))


def write_crystals(path: Path, count: int) -> None:
    """A table of so many crystals, as `voigt screen` reads it."""
    fields = [("id", pa.string()), ("numbers", pa.list_(pa.int16()))]
    fields += [(name, pa.list_(pa.float64())) for name in ("cell", "frac")]
    schema = pa.schema(fields)
    unfinished = path.with_suffix(".unfinished")
    with pq.ParquetWriter(unfinished, schema, compression="zstd") as writer:
        for start in range(0, count, AT_ONCE):
            numbers = np.arange(start, min(start + AT_ONCE, count))
            elements, cells, fractions = made(numbers)
            columns = ([name_of(k) for k in numbers], elements, list(cells.reshape(-1, 9)), fractions)
            arrays = [pa.array(column, entry.type) for column, entry in zip(columns, schema, strict=True)]
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema))
    unfinished.rename(path)


def write_network(path: Path) -> None:
    """One small network with random weights for band gaps and eps_inf."""
    torch.manual_seed(0)
    hypers = EquivarHypers(properties=("band_gap", "eps_inf"), channels=8, interactions=1, cutoff=4.0, hidden=8)
    known = tuple(sorted(atomic_numbers[symbol] for symbol in (*METALS, *PARTNERS)))
    save_model([Equivar(hypers)], path, ModelCard(elements=known, functionals=("PBE",), metrics={}))
