"""FHI-aims: the permittivity of clamped ions from its response to electric fields (DFPT dielectric).

Rows and columns are x y z; the tensor is printed as it was computed, without its symmetry, of which the symmetric
part is taken. FHI-aims prints neither Born charges nor the response of the ions; Born charges come from differences
of polarizations between several runs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from voigt.calculations.calculation import Calculation, Outcome, Provenance, RunFile
from voigt.calculations.codes.combining import combined
from voigt.calculations.codes.parsing import functional_label, guarded, matrix, permittivity, structure
from voigt.structures.readers.aims import read_aims_output

_MISSING = "holds no permittivity; run FHI-aims with DFPT dielectric"
_START = re.compile(r"Invoking FHI-aims")
_EPSILON = re.compile(r"^\s*DFPT for dielectric_constant:")
_NAMES = {"pwlda": "LDA", "pzlda": "LDA", "vwn": "LDA", "pbeint": "PBEint", "hse03": "HSE03"}


def recognizes(file: RunFile) -> bool:
    """Whether it is an output of FHI-aims."""
    return _START.search(file.head) is not None


def read(files: Sequence[RunFile]) -> Iterator[Outcome]:
    """The runs in a folder."""
    outcomes = (outcome for file in files for outcome in guarded(file, "FHI-aims output", _output))
    return combined(outcomes, files, _MISSING)


def _output(file: RunFile) -> Iterator[Calculation]:
    text = file.read()
    lines = text.splitlines()
    starts = [number for number, line in enumerate(lines) if _EPSILON.match(line)]
    if not starts:
        return
    conversions: list[str] = []
    problems: list[str] = []
    eps = permittivity(matrix(lines, starts[-1] + 1, 3, 3), "eps_inf", conversions, problems)
    atoms = structure(read_aims_output("\n".join(lines[: starts[-1]])))
    if "CP-self-consistency cycle not yet converged" in text or re.search(r"CPSCF.*not converged", text):
        problems.append("the response did not converge; raise the number of its iterations")
    if "Have a nice day" not in text:
        problems.append(
            "FHI-aims did not finish after it had printed the permittivity; repeat it if it stopped with an error"
        )
    yield Calculation(atoms, {"eps_inf": eps}, _provenance(file, text, conversions), tuple(problems))


def _provenance(file: RunFile, text: str, conversions: Sequence[str]) -> Provenance:
    def word(pattern: str) -> str:
        match = re.search(pattern, text, re.MULTILINE)
        return match[1].strip() if match else ""

    mesh = word(r"^[ \t]*k_grid[ \t]+(\d+\s+\d+\s+\d+)")
    name = word(r"^[ \t]*xc[ \t]+(\S+(?:[ \t]+[A-Za-z][\w-]*)?)").removeprefix("dfauto ").removeprefix("libxc ")
    spin = word(r"^[ \t]*spin[ \t]+(none|collinear)\b")
    return Provenance(
        files=(file.path,),
        code="FHI-aims",
        version=word(r"^[ \t]*(?:FHI-aims version[ \t]*:|Version)[ \t]+(\S+)"),
        functional=_NAMES.get(re.sub(r"[^a-z0-9]", "", name.lower()), functional_label(name)),
        hubbard_u=_hubbard(text),
        spin=spin or ("none" if name else ""),
        kpoints=tuple(int(number) for number in mesh.split()),
        conversions=tuple(conversions),
    )


def _hubbard(text: str) -> dict[str, float]:
    """U of each species, eV."""
    found: dict[str, float] = {}
    species = ""
    for key, words in re.findall(r"^[ \t]*(species|plus_u)[ \t]+(\S.*)$", text, re.MULTILINE):
        if key == "species":
            species = re.match(r"[A-Z][a-z]?|", words)[0]  # type: ignore[index]
        elif species and (values := re.match(r"\d+\s+[spdf]\s+([\d.]+)", words)):
            found[species] = max(found.get(species, 0.0), float(values[1]))
    return found
