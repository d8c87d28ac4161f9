"""Outputs of ABINIT and anaddb; databases are read by `abinit_ddb`, and put together with the outputs beside them.

Tables of the response (src/72_response/dyout3.F90) name direction and perturbation of both derivatives, with n atoms:
1 to n displacements, n + 2 the field, n + 3 and n + 4 strains xx yy zz and yz xz xy; so nothing depends on rows and
columns. The Born charges "from electric field response" are taken before those "from phonon response". The
piezoelectric tensor of clamped ions is in e/bohr^2.

anaddb prints Born charges (chneu9.F90) with one row for each displacement and one column for each field, the
transpose of ours; piezoelectric constants (piezo9.F90) with rows of strains xx yy zz yz xz xy and columns of
polarizations, C/m^2; elastic tensors (elast9.F90) in the same order of strains, in 100 GPa, at fixed electric field.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

import ase
import numpy as np

from voigt.calculations.calculation import Calculation, Outcome, Provenance, RunFile
from voigt.calculations.codes import abinit_ddb
from voigt.calculations.codes.abinit_variables import crystal_of_dataset, provenance_of_dataset
from voigt.calculations.codes.combining import combined
from voigt.calculations.codes.parsing import Array, guarded, matrix, numbers, permittivity
from voigt.errors import InputError
from voigt.tensors.voigt import elastic_from_voigt, piezo_from_voigt

_MISSING = "holds no tensors; run a response to electric fields or strains (rfelfd, rfstrs), or give the DDB"
_PROGRAM = re.compile(r"^\.?Version\s+(\S+)\s+of (ABINIT|ANADDB)", re.MULTILINE)
_DATASET = re.compile(r"^== DATASET\s+(\d+)\s+=+", re.MULTILINE)
_TABLE = re.compile(
    r"^ +(Dielectric tensor|Effective charges|Rigid-atom proper piezoelectric tensor|Rigid-atom elastic tensor) ?, "
    r"in cartesian coordinates,[ \t]*\n",
    re.MULTILINE,
)
_ENTRY = re.compile(r"\s*(\d+)\s+(\d+)\s+(\d+)\s+(\d+)\s+([-+.\deE]+)\s+[-+.\deE]+\s*$")
_E_PER_BOHR2 = 57.21476612
"""C/m^2; CODATA 2018."""
_DIFFERENT = 0.05


def recognizes(file: RunFile) -> bool:
    """Whether it is an output of ABINIT or anaddb, or a derivative database."""
    return _PROGRAM.search(file.head) is not None or abinit_ddb.recognizes(file)


def read(files: Sequence[RunFile]) -> Iterator[Outcome]:
    """The runs in a folder, every data set its own; what a database and anaddb say of one crystal is put together."""

    def outcomes() -> Iterator[Outcome]:
        found: list[Outcome] = []
        for file in files:
            if abinit_ddb.recognizes(file):
                found += guarded(file, "ABINIT DDB", abinit_ddb.read_database)
        for file in files:
            match = _PROGRAM.search(file.head)
            if match is not None and match[2] == "ABINIT":
                found += guarded(file, "ABINIT output", _outputs)
        yield from found
        crystals = [outcome for outcome in found if isinstance(outcome, Calculation)]
        for file in files:
            match = _PROGRAM.search(file.head)
            if match is not None and match[2] == "ANADDB":
                yield from guarded(file, "anaddb output", lambda each: _anaddb(each, crystals))

    return combined(outcomes(), files, _MISSING)


def _outputs(file: RunFile) -> Iterator[Calculation]:
    text = file.read()
    version = _PROGRAM.search(text)
    starts = list(_DATASET.finditer(text))
    ends = [match.start() for match in starts[1:]] + [len(text)]
    for start, end in zip(starts, ends, strict=True):
        section = text[start.end() : end]
        if _TABLE.search(section):
            dataset = int(start[1])
            atoms, problems = crystal_of_dataset(text, dataset)
            conversions: list[str] = []
            targets = _tables(section, len(atoms), conversions, problems)
            if "not enough SCF cycles to converge" in section:
                problems.append(f"data set {dataset} did not converge: raise nstep and repeat it")
            provenance = replace(
                provenance_of_dataset(text, dataset),
                files=(file.path,),
                version=version[1] if version else "",
                conversions=tuple(conversions),
            )
            yield Calculation(atoms, targets, provenance, tuple(problems))


def _tables(text: str, count: int, conversions: list[str], problems: list[str]) -> dict[str, Array]:
    targets: dict[str, Array] = {}
    charges: dict[str, Array] = {}
    electric = count + 2
    for match in _TABLE.finditer(text):
        head, entries = _entries(text[match.end() :])
        if match[1] == "Dielectric tensor":
            values = _filled((3, 3), [((a, b), x) for a, p, b, q, x in entries if p == q == electric])
            if values is None:
                problems.append(
                    "eps_inf has components that were not computed and is left out; use all directions (rfdir 1 1 1)"
                )
            else:
                targets["eps_inf"] = permittivity(values, "eps_inf", conversions, problems)
        elif match[1] == "Effective charges":
            placed = [((q, a, b) if p == electric else (p, b, a), x) for a, p, b, q, x in entries if electric in (p, q)]
            values = _filled((count, 3, 3), [((site - 1, a, b), x) for (site, a, b), x in placed])
            if values is None:
                problems.append(f"Born charges{head} are not those of all atoms and directions and are left out")
            else:
                charges[head] = values
        elif match[1].startswith("Rigid-atom proper"):
            strained = [
                ((a, b + 3 * (q - count - 3)), x) for a, p, b, q, x in entries if p == electric and q > electric
            ]
            values = _filled((3, 6), strained)
            if values is not None:
                targets["piezo_clamped"] = piezo_from_voigt(values * _E_PER_BOHR2)
                conversions.append("piezo_clamped: from e/bohr^2 to C/m^2")
    if charges:
        first = next((head for head in charges if "electric field" in head), next(iter(charges)))
        targets["born_charges"] = charges[first]
        difference = max(float(np.abs(charges[first] - other).max()) for other in charges.values())
        if difference > _DIFFERENT:
            problems.append(
                f"Born charges{first} and from phonon response differ by {difference:.2g} e: raise ecut and k-points"
            )
    return targets


Entry = tuple[int, int, int, int, float]
"""First direction from 0, first perturbation from 1, the same of the second, value."""


def _entries(text: str) -> tuple[str, list[Entry]]:
    """How the table was computed, " (from ...)", and its rows, up to the first line of something else."""
    head, entries = "", list[Entry]()
    for line in text.split("\n"):
        if match := _ENTRY.match(line):
            first, one, second, other = (int(match[place]) for place in range(1, 5))
            entries.append((first - 1, one, second - 1, other, numbers(match[5])[0]))
        elif line.strip() and entries:
            break
        elif line.strip().startswith("(from"):
            head = f" {line.strip()[1:-1]}"
        elif _ENTRY.match(line.replace("*", "0")):
            raise InputError("has '***' where a number belongs; compute it again")
    return head, entries


def _filled(shape: tuple[int, ...], entries: Sequence[tuple[tuple[int, ...], float]]) -> Array | None:
    """A tensor of its entries, None if not all are there."""
    values = np.full(shape, np.nan)
    for place, value in entries:
        if all(0 <= index < size for index, size in zip(place, shape, strict=True)):
            values[place] = value
    return None if np.isnan(values).any() else values


def _anaddb(file: RunFile, crystals: Sequence[Calculation]) -> Iterator[Calculation]:
    text = file.read()
    lines = text.splitlines()
    conversions: list[str] = []
    problems: list[str] = []
    targets: dict[str, Array] = {}

    def table(title: str, rows: int, columns: int) -> Array | None:
        start = next((number for number, line in enumerate(lines) if line.strip().startswith(title)), None)
        return None if start is None else matrix(lines, start + 1, rows, columns)

    clamped, relaxed = table("Electronic dielectric tensor", 3, 3), table("Relaxed ion dielectric tensor", 3, 3)
    if clamped is not None:
        targets["eps_inf"] = permittivity(clamped, "eps_inf", conversions, problems)
    if relaxed is not None:
        targets["eps_total"] = permittivity(relaxed, "eps_total", conversions, problems)
        if clamped is not None:
            targets["eps_ionic"] = targets["eps_total"] - targets["eps_inf"]
            conversions.append("eps_ionic: relaxed ion less electronic dielectric tensor")
    for kind, name in (("clamped", "piezo_clamped"), ("relaxed", "piezo_total")):
        piezo = table(f"Proper piezoelectric constants ({kind} ion)", 6, 3)
        if piezo is not None:
            targets[name] = piezo_from_voigt(piezo.T)
            conversions.append(f"{name}: transposed from rows of strains to rows of polarizations")
    elastic = table("Elastic Tensor (relaxed ion) (unit:10^2GP", 6, 6)
    if elastic is not None:
        targets["elastic"] = elastic_from_voigt((elastic + elastic.T) / 2 * 100)
        conversions.append("elastic: from 100 GPa to GPa")
    start = next((number for number, line in enumerate(lines) if "Effective charge tensors after" in line), None)
    if start is not None:
        rows = [numbers(line) for line in lines[start + 1 :] if re.match(r"\s+\d+\s+[123]\s+\S+\s+\S+\s+\S+\s*$", line)]
        charges = np.array([row[2:] for row in rows if len(row) == 5]).reshape(-1, 3, 3)
        if charges.any():  # zeros where the database has none
            targets["born_charges"] = charges.transpose(0, 2, 1)
            conversions.append("born_charges: transposed from rows of displacements to rows of fields")
            conversions.append(
                "born_charges: their sum divided among the atoms by anaddb, if its input says so (chneut)"
            )
    if not targets:
        return
    if "The system under calculation is physically unstable" in text:
        problems.append("anaddb found the crystal unstable at Gamma: tensors of relaxed ions have no meaning")
        for name in ("eps_total", "eps_ionic", "piezo_total", "elastic"):
            targets.pop(name, None)
    atoms = _crystal_of_anaddb(text, crystals, len(targets.get("born_charges", ())))
    if len(targets.get("born_charges", ())) not in (0, len(atoms)):
        raise InputError(
            "has Born charges of another number of atoms than the crystal beside it; give the DDB that it read"
        )
    program = _PROGRAM.search(text)
    provenance = Provenance((file.path,), "ABINIT", program[1] if program else "", conversions=tuple(conversions))
    yield Calculation(atoms, targets, provenance, tuple(problems))


def _crystal_of_anaddb(text: str, crystals: Sequence[Calculation], count: int) -> ase.Atoms:
    """What anaddb says of the crystal since version 9.7, or the only one of the files beside it."""
    from ase.units import Bohr

    cell = re.findall(r"^ R\([123]\)=((?:\s+[-.\d]+){3})", text, re.MULTILINE)[:3]
    sites = re.findall(r"^[ \t]+\d+\)((?:[ \t]+[-.\d]+){3})[ \t]+([A-Z][a-z]?)[ \t]*$", text, re.MULTILINE)
    fitting = [entry.atoms for entry in crystals if count in (0, len(entry.atoms))]
    if (
        fitting
        and len({(atoms.symbols.get_chemical_formula(), round(atoms.get_volume(), 2)) for atoms in fitting}) == 1
    ):
        return fitting[0]
    if len(cell) != 3 or not sites or (count and len(sites) != count):
        raise InputError("does not say which crystal it is of; put the DDB or the output of ABINIT beside it")
    places = [numbers(place) for place, _ in sites]
    vectors = np.array([numbers(row) for row in cell]) * float(Bohr)
    return ase.Atoms([symbol for _, symbol in sites], scaled_positions=places, cell=vectors, pbc=True)
