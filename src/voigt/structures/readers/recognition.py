"""Which format a file has, by its name or by its first lines."""

from __future__ import annotations

import re
from pathlib import PurePath

from voigt.structures.readers.packing import without_packing
from voigt.structures.readers.trajectory import MAGIC

LABELS = {
    "cif": "CIF",
    "poscar": "POSCAR",
    "extxyz": "extended XYZ",
    "vasprun": "vasprun.xml",
    "outcar": "OUTCAR",
    "xdatcar": "XDATCAR",
    "database": "ASE database",
    "trajectory": "ASE trajectory",
    "json": "JSON",
    "json_lines": "JSON lines",
    "espresso_in": "Quantum ESPRESSO input",
    "espresso_out": "Quantum ESPRESSO output",
    "aims": "FHI-aims geometry",
    "aims_out": "FHI-aims output",
    "castep": "CASTEP .cell",
    "castep_out": "CASTEP output",
    "abinit": "ABINIT input",
    "abinit_out": "ABINIT output",
    "cp2k": "CP2K input",
    "fdf": "SIESTA .fdf",
    "struct_out": "SIESTA .STRUCT_OUT",
    "xv": "SIESTA .XV",
    "xsf": "XSF",
    "res": ".res",
    "gen": "DFTB+ .gen",
    "wien2k": "WIEN2k .struct",
    "phonopy": "phonopy YAML",
}
_SUFFIXES = {
    ".cif": "cif",
    ".mcif": "cif",
    ".vasp": "poscar",
    ".poscar": "poscar",
    ".xyz": "extxyz",
    ".extxyz": "extxyz",
    ".xml": "vasprun",
    ".db": "database",
    ".traj": "trajectory",
    ".json": "json",
    ".jsonl": "json_lines",
    ".ndjson": "json_lines",
    ".pwi": "espresso_in",
    ".pwo": "espresso_out",
    ".cell": "castep",
    ".castep": "castep_out",
    ".abi": "abinit",
    ".abo": "abinit_out",
    ".fdf": "fdf",
    ".struct_out": "struct_out",
    ".xv": "xv",
    ".xsf": "xsf",
    ".axsf": "xsf",
    ".res": "res",
    ".gen": "gen",
    ".struct": "wien2k",
}
_NAMES = {"POSCAR": "poscar", "CONTCAR": "poscar", "OUTCAR": "outcar", "XDATCAR": "xdatcar"}
"""Beginnings of the names that VASP gives its files."""
_INPUTS = (".in", ".inp", ".restart")
"""Suffixes of inputs of many codes; the content tells which."""
_REPEATED = ("outcar", "xdatcar")
"""Of these a folder holds the same crystal in another file; they are read where they are named."""
_SHARED = ("json", "json_lines", "vasprun", "castep", "res", "gen", "wien2k", "xv")
"""Formats whose suffix many other things have."""
_NUMBER = r"[ \t]*[-+]?[0-9.]+(?:[eEdD][-+]?[0-9]+)?"
_VECTOR = rf"{_NUMBER}(?:[ \t]{_NUMBER}){{2}}"
_POSCAR = re.compile(rf"[^\n]*\n(?:{_NUMBER}|{_VECTOR})[ \t]*\n(?:{_VECTOR}[^\n]*\n){{3}}")
"""A comment, one or three scaling factors, three lattice vectors."""
_FRAME = re.compile(r"^[ \t]*\d+[ \t]*\r?\n[^\n]*\bLattice=", re.MULTILINE)
"""The number of atoms, and the comment of extended XYZ."""
_XDATCAR = re.compile(r"^[ \t]*(?:direct|cartesian)\s+configuration\s*=", re.MULTILINE | re.IGNORECASE)
_CONTENTS: tuple[tuple[str, re.Pattern[str]], ...] = tuple(
    (name, re.compile(pattern, re.MULTILINE | re.IGNORECASE))
    for name, pattern in (
        ("outcar", r"\A\s*vasp\.\d"),
        ("espresso_out", r"^[ \t]*Program PWSCF\b"),
        ("aims_out", r"Invoking FHI-aims"),
        ("castep_out", r"^[ \t]*\|\s*CCC\s+AA\s+SSS"),
        ("abinit_out", r"^\.?Version\s+\S+\s+of ABINIT"),
        ("phonopy", r"^phonopy:\s*$|^unit_cell:\s*$"),
        ("cif", r"^(?:data_|_cell_length_a)"),
        ("xsf", r"^[ \t]*(?:CRYSTAL|PRIMVEC|SLAB|POLYMER)\s*$"),
        ("gen", r"\A\s*\d+\s+[CSF]\s*$"),
        ("wien2k", r"^(?:P|F|B|H|R|CXY|CXZ|CYZ)\s+LATTICE,NONEQUIV"),
        ("res", r"^TITL\b[\s\S]*^CELL\s"),
        ("castep", r"^[ \t]*%block\s+(?:lattice|positions)_"),
        ("fdf", r"^[ \t]*%block\s+(?:LatticeVectors|LatticeParameters|Atomic.?Coordinates|Chemical.?Species)"),
        ("cp2k", r"^[ \t]*&(?:FORCE_EVAL|SUBSYS|GLOBAL)\b"),
        ("espresso_in", r"^[ \t]*&(?:control|system)\b"),
        ("aims", r"^[ \t]*(?:lattice_vector|atom_frac)\s"),
        ("xv", rf"\A(?:{_VECTOR}[ \t]{_VECTOR}[ \t]*\n){{3}}\s*\d+\s*$"),
        ("struct_out", rf"\A(?:{_VECTOR}[ \t]*\n){{3}}\s*\d+\s*$"),
        ("abinit", r"^[ \t]*(?:acell|rprim|znucl|typat)\b"),
    )
)
"""What shows a format, in this order."""

_JSON_KEYS = re.compile(
    r'"(?:sites|lattice|structure|cell|lattice_mat|lattice_vectors|cartesian_site_positions|columns|numbers)"\s*:'
)

_PREDICTIONS = re.compile(r'\s*\[?\s*\{"id": [^\n]*?"models": \{')
"""Our own results, which lie beside the crystals that they belong to."""


def format_of_name(path: PurePath) -> str | None:
    """The format that the name of a file promises, or None; a suffix of packing (.gz, .bz2, .xz) is passed over."""
    inner = without_packing(path)
    suffix = inner.suffix.lower()
    if suffix in _SUFFIXES:
        return _SUFFIXES[suffix]
    if suffix in (".zip", ".zst"):
        return None
    return next((kind for name, kind in _NAMES.items() if inner.name.upper().startswith(name)), None)


def may_hold_structures(path: PurePath) -> bool:
    """Whether a file met in a folder or an archive is one to look into, by its name."""
    promised = format_of_name(path)
    if promised is None:
        return without_packing(path).suffix.lower() in _INPUTS
    return promised not in _REPEATED


def bare_name(path: PurePath) -> str:
    """The name of a file without the suffixes of packing and format; that of POSCAR.mp-149 is whole."""
    inner = without_packing(path)
    is_suffix = inner.suffix.lower() in _SUFFIXES or format_of_name(inner) is None
    return inner.stem if is_suffix else inner.name


def format_of_text(head: str) -> str | None:
    """The format that the first lines of a text show, or None."""
    start = head.lstrip("\ufeff \t\r\n")
    if start.startswith("SQLite format 3\0"):
        return "database"
    if start.startswith(MAGIC.decode()):
        return "trajectory"
    if _FRAME.search(head) or any("Lattice=" in line and "Properties=" in line for line in head.split("\n")):
        return "extxyz"  # even if the beginning is spoilt
    if "\0" in head:
        return None
    if "<modeling" in start and start.startswith("<"):
        return "vasprun"
    if _POSCAR.match(head):
        return "xdatcar" if _XDATCAR.search(head) else "poscar"
    if re.match(r"\d+[ \t]*\r?\n", start):
        return "extxyz"
    if start.startswith(("{", "[")):
        return "json"
    return next((kind for kind, pattern in _CONTENTS if pattern.search(head)), None)


def is_plain_name(name: PurePath) -> bool:
    """Whether the name of a file alone tells that it holds structures."""
    promised = format_of_name(name)
    return promised is not None and promised not in _SHARED


def holds_structures(name: PurePath, head: str) -> bool:
    """Whether a file that may hold structures does, by its first lines where the name does not tell."""
    promised = format_of_name(name)
    if is_plain_name(name):
        return True
    if promised == "vasprun":
        return "<modeling" in head
    if promised in ("json", "json_lines"):
        return _JSON_KEYS.search(head) is not None and _PREDICTIONS.match(head) is None
    shown = format_of_text(head)
    return shown is not None and (promised is None or shown == promised)
