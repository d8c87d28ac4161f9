"""Formats that ASE parses whole: CIF, vasprun.xml and ASE databases."""

from __future__ import annotations

import io
import sqlite3
import warnings
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import ase
import numpy as np

from voigt.errors import InputError
from voigt.structures.inputs import Input
from voigt.structures.readers.failures import attempt

if TYPE_CHECKING:
    from ase.db.core import Database
    from ase.db.row import AtomsRow
    from ase.io.cif import CIFBlock

ROWS_AT_ONCE = 500
"""Rows of a database that are in memory together."""


def read_cif(text: str) -> Iterator[Input]:
    """Every data block of a CIF that holds a structure; blocks without one (journal data) are passed over."""
    from ase.io.cif import parse_cif

    def build(block: CIFBlock) -> ase.Atoms:
        with warnings.catch_warnings():  # on crystal systems that ASE need not interpret
            warnings.simplefilter("ignore")
            atoms = block.get_atoms()
        _record_lost_sites(atoms, block)
        return atoms

    for block in parse_cif(io.StringIO(text), "ase"):
        if block.has_structure():
            yield attempt(partial(build, block), "CIF")


def _record_lost_sites(atoms: ase.Atoms, block: CIFBlock) -> None:
    """Enter in info["occupancy"] each site that ASE dropped because another element already sits there."""
    kinds = atoms.arrays.get("spacegroup_kinds")
    if kinds is None:
        return
    sites: ase.Atoms = block.get_unsymmetrized_structure()
    fractional = atoms.get_scaled_positions()
    for lost in sorted(set(range(len(sites))) - set(kinds.tolist())):
        difference = fractional - sites.get_scaled_positions()[lost]
        nearest = int(np.linalg.norm(difference - np.rint(difference), axis=1).argmin())
        if atoms.symbols[nearest] != sites.symbols[lost]:
            occupancy = atoms.info.setdefault("occupancy", {})
            if len(occupancy.get(str(lost), {})) < 2:
                occupancy[str(lost)] = {atoms.symbols[nearest]: 1.0, sites.symbols[lost]: 1.0}


def read_vasprun(text: str) -> Iterator[Input]:
    """The last ionic step of a vasprun.xml."""
    from ase.io.vasp import read_vasp_xml

    def build() -> ase.Atoms:
        steps = list(read_vasp_xml(io.StringIO(text), index=-1))
        if not steps:
            raise InputError("holds no finished ionic step; let VASP finish, or give the POSCAR")
        last: ase.Atoms = steps[-1]
        return last

    yield attempt(build, "vasprun.xml")


def read_database(path: Path, kind: str) -> Iterator[Input]:
    """Rows of an ASE database in the order of their ids, one by one; `kind` is "db" (SQLite) or "json".

    Key-value pairs and data of a row become info.
    """
    from ase.db import connect

    def build(row: AtomsRow) -> ase.Atoms:
        atoms: ase.Atoms = row.toatoms()
        atoms.info.update({**row.data, **row.key_value_pairs})
        return atoms

    if kind == "db":
        _require_systems_table(path)
    with connect(str(path), type=kind) as database:
        for row in _rows(database) if kind == "db" else database.select():
            yield attempt(partial(build, row), "ASE database")


def count_rows(path: Path) -> int:
    """How many structures an SQLite database of ASE holds; InputError if it is another program's."""
    from ase.db import connect

    _require_systems_table(path)
    with connect(str(path), type="db") as database:
        return int(database.count())


def _rows(database: Database) -> Iterator[AtomsRow]:
    """All rows in the order of their ids; `select` alone would fetch them at once."""
    last = 0
    while rows := list(database.select(f"id>{last}", sort="id", limit=ROWS_AT_ONCE)):
        yield from rows
        last = rows[-1].id


def _require_systems_table(path: Path) -> None:
    """Refuse a database of another program: ASE would add its own tables to it."""
    with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as connection:
        table = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'systems'").fetchone()
    if table is None:
        raise InputError("is an SQLite file but no ASE database; give one that ase.db wrote")
