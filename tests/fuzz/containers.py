"""Files that hold others or are binary (databases, archives, packed files, tables, models); and how each is spoiled."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import pickle
import sqlite3
import struct
import tarfile
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import ase
import pyarrow as pa
import pyarrow.parquet as pq
from tests.fuzz import mutators
from tests.fuzz.crystals import Crystal

CANARY = "canary"
"""Name of the file that every payload would make in the working folder."""


class Payload:
    """Pickled, it makes the canary when it is loaded."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (exec, (f"open({CANARY!r}, 'w').close()",))


def pickled() -> bytes:
    return pickle.dumps({"voigt_run": Payload(), "state_dict": Payload(), "positions": Payload()}, protocol=2)


def to_ase(crystal: Crystal) -> ase.Atoms:
    return ase.Atoms(crystal.symbols, cell=crystal.cell, scaled_positions=crystal.frac, pbc=True)


# ASE databases and trajectories


@cache
def database(crystals: tuple[Crystal, ...]) -> bytes:
    """Rows with the ids of the crystals as a key; what changes from run to run is set to fixed values."""
    from ase.calculators.singlepoint import SinglePointCalculator
    from ase.db import connect

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.db"
        with connect(path) as base:
            for crystal in crystals:
                atoms = to_ase(crystal)
                atoms.calc = SinglePointCalculator(atoms, energy=-1.5, forces=[[0.0] * 3] * len(atoms))
                base.write(atoms, material_id=crystal.id, gap=1.5, data={"list": [1, 2], "text": "a"})
        with sqlite3.connect(path) as connection:
            connection.execute("UPDATE systems SET unique_id = 'u' || id, ctime = 25, mtime = 25")
        connection.close()
        return path.read_bytes()


FIELDS: tuple[Any, ...] = (
    None, b"", b"\x00", b"\xff" * 24, b"\x00" * 8, "", "word", "\x1b[31m", -1, 0, 2**62, 1e308, float("inf"),
    b"x" * 100_000,
    "{", "[]", "null", "1", '{"a": NaN}', '{"__ndarray__": [[1], "object", ["x"]]}', '{"material_id": 5}',
    '{"material_id": "\\ud800"}', '{"id": "a\\nb"}', "[" * 100_000, '{"__class__": "os.system"}', "9" * 5000, "é\u202e",
    pickled(), struct.pack("<3d", 1e308, float("nan"), -1e308), b"\xed\xa0\x80",
)  # fmt: skip


def spoil_row(rng: Random, data: bytes, row: int) -> bytes:
    """One to three fields of one row hold something else; side tables are left alone."""
    connection = sqlite3.connect(":memory:")
    connection.deserialize(data)
    columns = [name for _, name, *_ in connection.execute("PRAGMA table_info(systems)") if name != "id"]
    for _ in range(rng.choice((1, 1, 2, 3))):
        name, value = rng.choice(columns), rng.choice(FIELDS)
        (old,) = connection.execute(f"SELECT {name} FROM systems WHERE id = ?", (row,)).fetchone()
        if isinstance(old, bytes | str) and rng.random() < 0.4:
            spoiled = mutators.spoiled(rng, old if isinstance(old, bytes) else old.encode(), isinstance(old, bytes))
            value = spoiled if isinstance(old, bytes) or rng.random() < 0.2 else spoiled.decode("utf-8", "replace")
        connection.execute(f"UPDATE systems SET {name} = ? WHERE id = ?", (value, row))
    connection.commit()
    content = connection.serialize()
    connection.close()
    return content


def spoil_pages(rng: Random, data: bytes) -> bytes:
    """Whole pages are overwritten, swapped or lost, or the header lies."""
    size = 4096
    pages = [data[start : start + size] for start in range(0, len(data), size)]
    change, k = rng.randrange(5), rng.randrange(len(pages))
    if change == 0:
        pages[k] = rng.choice((bytes(size), rng.randbytes(size), pages[rng.randrange(len(pages))]))
    elif change == 1:
        del pages[k]
    elif change == 2:
        place = rng.randrange(100)
        pages[0] = pages[0][:place] + rng.randbytes(1) + pages[0][place + 1 :]
    elif change == 3:
        place = rng.randrange(8, 40)
        pages[k] = pages[k][:place] + rng.randbytes(2) + pages[k][place + 2 :]
    else:
        return mutators.spoiled(rng, data, binary=True)
    return b"".join(pages)


@cache
def trajectory() -> bytes:
    """Two steps of a trajectory."""
    from ase.io.trajectory import Trajectory
    from tests.fuzz.crystals import CRYSTALS

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.traj"
        with Trajectory(path, "w") as stream:
            for crystal in CRYSTALS[:2]:
                stream.write(to_ase(crystal))
        return path.read_bytes()


# Packed files and archives

PACKINGS = {".gz": lambda data: gzip.compress(data, mtime=0), ".bz2": bz2.compress, ".xz": lzma.compress}


def bomb(rng: Random, suffix: str) -> bytes:
    """A small file that unpacks to gigabytes: many members of ten million equal characters."""
    piece = rng.choice((b"\0", b"1\n", b"a", b"[", b" ", b'{"a":1}\n'))
    member = PACKINGS[suffix](piece * (10_000_000 // len(piece)))
    return member * rng.choice((30, 200))


def tar(members: Mapping[str, bytes], compress: str = "") -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return PACKINGS[compress](stream.getvalue()) if compress else stream.getvalue()


def odd_tar_members(rng: Random, data: bytes) -> bytes:
    """Links, devices and names that lead out of the folder, before the members of a tar archive."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for _ in range(rng.randint(1, 3)):
            info = tarfile.TarInfo(
                rng.choice(("../canary.cif", "/tmp/canary.cif", "a.cif", "..", "x/../../canary.vasp", "a\n.cif"))
            )
            info.type = rng.choice(
                (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE, tarfile.REGTYPE)
            )
            info.linkname = rng.choice(("/etc/passwd", "../../x", "a.cif", ".", ""))
            archive.addfile(info)
    return _headers(stream.getvalue()) + data


def _headers(data: bytes) -> bytes:
    """The blocks of an archive up to its end."""
    blocks = [data[start : start + 512] for start in range(0, len(data), 512)]
    return b"".join(block for block in blocks if any(block))


def zipped(members: Mapping[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
    return stream.getvalue()


# Parquet


def structures_table(crystals: Sequence[Crystal]) -> pa.Table:
    from ase.data import atomic_numbers

    return pa.table(
        {
            "id": [crystal.id for crystal in crystals],
            "numbers": pa.array([[atomic_numbers[s] for s in c.symbols] for c in crystals], pa.list_(pa.int16())),
            "cell": pa.array([[x for row in c.cell for x in row] for c in crystals], pa.list_(pa.float64())),
            "frac": pa.array([[x for row in c.frac for x in row] for c in crystals], pa.list_(pa.float64())),
            "gap": [1.5] * len(crystals),
        }
    )


def parquet(table: pa.Table) -> bytes:
    stream = io.BytesIO()
    pq.write_table(table, stream)
    return stream.getvalue()


def spoil_table(rng: Random, table: pa.Table) -> pa.Table:
    """A column of another type, gone, twice, renamed, full of nulls; rows twice or none; odd values."""
    names = table.column_names
    name = rng.choice(names)
    place = names.index(name)
    change = rng.randrange(9)
    size = table.num_rows
    if change == 0:
        return table.drop_columns([name])
    if change == 1:
        return table.append_column(name, table.column(name))
    if change == 2:
        return table.rename_columns(
            [rng.choice((*mutators.WORDS, "id")) if other == name else other for other in names]
        )
    if change == 3:
        return table.set_column(place, name, pa.nulls(size, rng.choice((pa.null(), table.column(name).type))))
    if change == 4:
        return pa.concat_tables([table, table.slice(0, rng.randrange(size + 1))])
    if change == 5:
        return table.slice(0, rng.choice((0, 1)))
    if change == 6:
        value = rng.choice((1, "word", [1.0], [[1]], b"x", {"a": 1}, None, True, [None, 1.0], ["a"], float("nan")))
        return table.set_column(place, name, pa.array([value] * size))
    kind = table.column(name).type
    if change == 7 and pa.types.is_list(kind) and pa.types.is_primitive(kind.value_type):
        rows = table.column(name).to_pylist()
        row = rng.randrange(size) if size else 0
        odd: Any = rng.choice(([], None, [float("nan")] * 9, [1e308] * 9, [0.0] * 9, [-1.0] * 3, [1e-5] * 9))
        kind = pa.list_(pa.float64())
        rows[row : row + 1] = [odd]
        return table.set_column(place, name, pa.array(rows, kind))
    metadata = {b"pandas": b"{", b"ARROW:schema": b"x", b"\xff": b"\xff" * 1000}
    return table.replace_schema_metadata(metadata)


def spoil_parquet(rng: Random, data: bytes) -> bytes:
    """Bytes anywhere, or in the footer, or its length."""
    change = rng.randrange(4)
    if change == 0:
        return data[:-8] + struct.pack("<i", rng.choice((0, -1, 2**31 - 1, len(data), 5))) + data[-4:]
    footer = int.from_bytes(data[-8:-4], "little") + 8
    if change == 1:
        place = len(data) - rng.randrange(1, footer + 1)
        return data[:place] + rng.randbytes(rng.choice((1, 2, 8))) + data[place + rng.choice((1, 2, 8)) :]
    return mutators.spoiled(rng, data, binary=True)


# Model files


def split_model(data: bytes) -> tuple[dict[str, Any], bytes]:
    """Header and tensors of a safetensors file."""
    size = int.from_bytes(data[:8], "little")
    return json.loads(data[8 : 8 + size]), data[8 + size :]


def join_model(header: bytes, tensors: bytes) -> bytes:
    return len(header).to_bytes(8, "little") + header + tensors


def spoil_model(rng: Random, data: bytes) -> bytes:
    """Header, hyper-parameters, card or tensors of a model file."""
    header, tensors = split_model(data)
    change = rng.randrange(8)
    if change == 0:
        return mutators.spoiled(rng, data, binary=True)
    if change == 1:
        length = rng.choice((0, 1, 2**63, 2**40, 100_000_000, 10**6, len(data)))
        return length.to_bytes(8, "little") + data[8:]
    if change == 2:
        return join_model(mutators.json_text(mutators.json_value(rng, header)), tensors)
    if change == 3:
        return join_model(mutators.spoiled(rng, json.dumps(header).encode()), tensors)
    if change == 4:
        return join_model(json.dumps(header).encode(), mutators.spoiled(rng, tensors, binary=True))
    metadata = header["__metadata__"]
    key = rng.choice(("hypers", "hypers", "hypers", "card", "units", "format_version"))
    if change == 5:  # absurd sizes
        hypers = json.loads(metadata["hypers"])
        numbers = [name for name, value in hypers[0].items() if isinstance(value, int | float)]
        value = rng.choice((0, -1, 1e9, 10**9, 10**18, 1e308, float("nan"), float("inf"), 0.5, True, "9", 10**5))
        for entry in hypers:
            entry[rng.choice(numbers)] = value
        metadata["hypers"] = json.dumps(hypers * rng.choice((1, 1, 1, 2, 1000)))
    elif change == 6:
        metadata[key] = mutators.json_text(mutators.json_value(rng, json.loads(metadata[key]))).decode(
            "utf-8", "replace"
        )
    else:
        metadata[key] = mutators.spoiled(rng, metadata[key].encode()).decode("utf-8", "replace")
    return join_model(json.dumps(header).encode(), tensors)
