"""Formats that ASE parses whole: CIF, POSCAR, vasprun.xml and ASE databases."""

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
from ase.io.cif import CIFBlock, parse_cif

from voigt.errors import InputError
from voigt.structures.readers.parsed import Parsed, attempt

if TYPE_CHECKING:
    from ase.db.core import Database
    from ase.db.row import AtomsRow

ROWS_AT_ONCE = 500
"""Rows of a database that are in memory together."""


class _NamedText(io.StringIO):
    """ASE looks for a POTCAR beside the POSCAR whose elements it lacks, and needs the name for that."""

    def __init__(self, text: str, name: str) -> None:
        super().__init__(text)
        self.name = name


def read_cif(text: str) -> Iterator[Parsed]:
    """Every data block of a CIF that holds a structure; blocks without one (journal data) are passed over."""

    def build(block: CIFBlock) -> ase.Atoms:
        with warnings.catch_warnings():  # on crystal systems that ASE need not interpret
            warnings.simplefilter("ignore")
            atoms = block.get_atoms()
        _note_lost_sites(atoms, block)
        return atoms

    for block in parse_cif(io.StringIO(text), "ase"):
        if block.has_structure():
            yield attempt(partial(build, block), "CIF")


def _note_lost_sites(atoms: ase.Atoms, block: CIFBlock) -> None:
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


def read_poscar(text: str, name: str) -> Iterator[Parsed]:
    """The one structure of a POSCAR or CONTCAR; `name` is its path, beside which a POTCAR may lie."""
    from ase.io.vasp import read_vasp

    def build() -> ase.Atoms:
        lines = text.splitlines()
        if len(lines) < 8:
            raise InputError("is cut short: a POSCAR has at least 8 lines; complete it")
        symbols, counts = lines[5].split(), lines[6].split("!")[0].split()
        if not symbols or not counts:
            raise InputError("has no elements or numbers in lines 6 and 7; give both, as VASP 5 does")
        if not symbols[0].isdigit() and len(symbols) != len(counts):
            found = f"names {len(symbols)} elements in line 6 but {len(counts)} numbers in line 7"
            raise InputError(f"{found}; make them agree")
        if symbols[0].isdigit() and not Path(name).parent.is_dir():
            raise InputError("names no elements; write them in line 6, before the numbers of atoms")
        atoms: ase.Atoms = read_vasp(_NamedText(text, name))
        return atoms

    yield attempt(build, "POSCAR")


def read_vasprun(text: str) -> Iterator[Parsed]:
    """The last ionic step of a vasprun.xml."""
    from ase.io.vasp import read_vasp_xml

    def build() -> ase.Atoms:
        steps = list(read_vasp_xml(io.StringIO(text), index=-1))
        if not steps:
            raise InputError("holds no finished ionic step; let VASP finish, or give the POSCAR")
        last: ase.Atoms = steps[-1]
        return last

    yield attempt(build, "vasprun.xml")


def read_database(path: Path, kind: str) -> Iterator[Parsed]:
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
        found = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'systems'").fetchone()
    if found is None:
        raise InputError("is an SQLite file but no ASE database; give one that ase.db wrote")
