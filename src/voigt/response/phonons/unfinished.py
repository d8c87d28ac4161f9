"""What is missing in a folder that is no phonopy project yet: the line of phonopy-init that comes next."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from voigt.structures.readers.packing import without_packing

_EXAMPLES = 3
"""Files that a sentence names."""
_MOST_FILES = 2000
"""Entries of a folder that are looked at."""
_HEAD = 100_000
"""Bytes of a file that are looked at."""


@dataclass(frozen=True)
class _Code:
    """How the files of a code are recognized.

    `option` of phonopy-init; `cells`, patterns of names of a unit cell's file, which holds the `words`; `forces`, those
    of the outputs that phonopy reads forces from.
    """

    option: str
    cells: tuple[str, ...]
    words: tuple[str, ...]
    forces: tuple[str, ...]


# By phonopy's name; the first one that fits counts.
_CODES = {
    "vasp": _Code("", ("POSCAR*", "CONTCAR"), (), ("vasprun*.xml", "vasprun.xml[-.]*", "*/vasprun*.xml")),
    "qe": _Code("--qe", ("*.in", "*.pwi"), ("&system", "atomic_positions"), ("*.out", "*.pwo", "*/*.out")),
    "abinit": _Code("--abinit", ("*.in", "*.abi"), ("znucl",), ("*.out", "*.abo", "*/*.out", "*/*.abo")),
    "aims": _Code("--aims", ("geometry.in",), ("lattice_vector",), ("*.out", "*/aims.out", "*/*.out")),
    "elk": _Code("--elk", ("*.in",), ("avec", "atoms"), ("INFO.OUT", "*/INFO.OUT")),
    "cp2k": _Code("--cp2k", ("*.inp",), ("&cell",), ("*-forces-1_0.xyz", "*/*-forces-1_0.xyz")),
    "crystal": _Code("--crystal", ("crystal.o", "*.o"), (), ("supercell-*.o", "*/supercell-*.o")),
    "dftbp": _Code("--dftb+", ("geo.gen", "*.gen"), (), ("results.tag", "*/results.tag")),
    "exciting": _Code("--exciting", ("input.xml",), ("<structure",), ("INFO.OUT", "*/INFO.OUT")),
    "fleur": _Code("--fleur", ("fleur.in", "*inpgen*"), (), ("FORCES*", "*/FORCES")),
    "siesta": _Code("--siesta", ("*.fdf",), ("latticeconstant",), ("*.FA", "*/*.FA")),
    "turbomole": _Code("--turbomole", ("control",), ("$coord",), ("supercell-*", "disp-*", "example-*")),
    "wien2k": _Code("--wien2k", ("*.struct",), (), ("*.scf", "*.scfm")),
    "castep": _Code("--castep", ("*.cell",), ("lattice_", "positions_"), ("*.castep", "*/*.castep")),
    "pwmat": _Code("--pwmat", ("atom.config",), (), ("OUT.FORCE*", "*/OUT.FORCE", "force-*")),
    "abacus": _Code("--abacus", ("STRU",), (), ("*/running_scf.log", "*/*/running_scf.log")),
    "octopus": _Code("--octopus", ("inp",), ("latticevectors",), ("*/static/info", "info*")),
    "qlm": _Code("--qlm", ("site", "site.*"), (), ("force.*", "*/force.*")),
    "lammps": _Code("--lammps", ("lammps_structure*", "unitcell"), ("atoms",), ("lammps_forces*", "*/lammps_forces*")),
}
_DISPLACED = ("supercell", "displ-", "disp-", "sposcar", "poscar-0")
"""What names of files with displaced atoms begin with: they are no unit cells."""
_NUMBERED = re.compile(r"[0-9]{3}")


def what_is_missing(folder: Path) -> str:
    """What to do with a folder that holds neither a YAML file of phonopy nor a POSCAR: an advice to end a sentence."""
    entries = sorted(islice(folder.iterdir(), _MOST_FILES))
    yamls = [entry for entry in entries if _is_phonopy_yaml(entry)]
    if yamls:
        return f"give one of its YAML files: {_listed(yamls)}"
    projects = [entry for entry in entries if entry.is_dir() and _is_project(entry)]
    if projects:
        return f"give one of the projects in it: {_listed(projects)}"
    found = _unit_cell(entries)
    if found is None:
        return "make one: phonopy-init -c POSCAR --dim 2 2 2 -d"
    code, cell = found
    forces = [name for name in ("FORCE_SETS", "FORCE_CONSTANTS") if any(e.name.startswith(name) for e in entries)]
    line = _line(_CODES[code].option, "-c", shlex.quote(cell.name), "--dim 2 2 2 -d")
    if forces:
        return f"{forces[0]} lacks its cells, which {line} writes to phonopy_disp.yaml, with the --dim of {forces[0]}"
    outputs = _outputs(folder, code)
    if outputs:
        return (
            f"write phonopy_disp.yaml with {line}, with the --dim of the calculation, and then FORCE_SETS with "
            f"{_line('-f', _listed(outputs, folder))}"
        )
    return f"make one: {line} writes displaced cells, and phonopy-init -f reads the forces that you calculate for them"


def forces_missing(folder: Path, code: str | None, displaced: bool, has_yaml: bool) -> str:
    """How forces get into a project without any: an advice to end a sentence.

    Parameters
    ----------
    folder, code
        Where to look for outputs, and phonopy's name of the code that made them; None: VASP.
    displaced
        Whether displacements are known.
    has_yaml
        Whether phonopy_disp.yaml or its like is there, which tells phonopy the code.
    """
    known = _CODES.get(code or "vasp", _CODES["vasp"])
    outputs = _outputs(folder, code or "vasp")
    option = "" if has_yaml else known.option
    constants = [path for path in outputs if (code or "vasp") == "vasp" and len(outputs) == 1 and not displaced]
    if constants:
        return f"take them out of a calculation of force constants with {_line('--fc', _listed(constants, folder))}"
    if not displaced:
        return f"displace atoms with {_line(option, '--dim 2 2 2 -d')} and calculate forces"
    if outputs:
        return f"write FORCE_SETS with {_line(option, '-f', _listed(outputs, folder))}"
    return f"calculate those of the displaced cells and write FORCE_SETS with {_line(option, '-f OUTPUT...')}"


def _is_phonopy_yaml(path: Path) -> bool:
    name = without_packing(path).name.lower()
    return path.is_file() and "phonopy" in name and name.endswith((".yaml", ".yml"))


def _is_project(folder: Path) -> bool:
    return any(
        entry.name in ("POSCAR", "POSCAR-unitcell", "SPOSCAR", "FORCE_SETS") or _is_phonopy_yaml(entry)
        for entry in islice(folder.iterdir(), _MOST_FILES)
    )


def _unit_cell(entries: Iterable[Path]) -> tuple[str, Path] | None:
    """Code and file of a unit cell."""
    files = [entry for entry in entries if entry.is_file() and not entry.name.lower().startswith(_DISPLACED)]
    for code, known in _CODES.items():
        for pattern in known.cells:
            for path in files:
                if path.match(pattern) and _holds(path, known.words):
                    return code, path
    return None


def _holds(path: Path, words: tuple[str, ...]) -> bool:
    try:
        with path.open("rb") as stream:
            head = stream.read(_HEAD).decode("utf-8", "replace").lower()
    except OSError:
        return False
    return all(word in head for word in words)


def _outputs(folder: Path, code: str) -> list[Path]:
    """Files (for Turbomole folders) with forces of a code, those with numbers if there are some."""
    for pattern in _CODES[code].forces if code in _CODES else ():
        found = sorted(islice(folder.glob(pattern), _MOST_FILES))
        if found:
            return [path for path in found if _NUMBERED.search(str(path.relative_to(folder)))] or found
    return []


def _listed(paths: list[Path], folder: Path | None = None) -> str:
    """First names, relative to the folder, as a shell takes them."""
    names = [str(path.name if folder is None else path.relative_to(folder)) for path in paths[:_EXAMPLES]]
    quoted = " ".join(shlex.quote(name) if name.isprintable() else repr(name) for name in names)
    return quoted + (" ..." if len(paths) > _EXAMPLES else "")


def _line(*words: str) -> str:
    return " ".join(["phonopy-init", *(word for word in words if word)])
