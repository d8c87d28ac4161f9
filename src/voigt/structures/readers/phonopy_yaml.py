"""The unit cell in a YAML file of phonopy (phonopy.yaml, phonopy_disp.yaml, phonopy_params.yaml)."""

from __future__ import annotations

import re
from collections.abc import Iterator

import ase
import numpy as np

from voigt.errors import InputError
from voigt.structures.inputs import Input
from voigt.structures.readers.by_ase import crystal

_SECTION = r"^{name}:[^\n]*\n(?:(?:[ \t#-][^\n]*)?\n)*"


def read_phonopy_yaml(text: str) -> Iterator[Input]:
    """The unit cell; of the rest of the file, which may be long, nothing is looked at."""

    def build() -> ase.Atoms:
        sections = [
            re.search(_SECTION.format(name=name), text + "\n", re.MULTILINE) for name in ("unit_cell", "physical_unit")
        ]
        from voigt.safe_yaml import load_yaml  # yaml is loaded for YAML alone

        document = load_yaml("".join(match[0] for match in sections if match), "the YAML", InputError)
        cell = document.get("unit_cell") if isinstance(document, dict) else None
        if not isinstance(cell, dict) or not cell.get("points") or not cell.get("lattice"):
            raise InputError("has no unit_cell with lattice and points; give phonopy.yaml or phonopy_disp.yaml")
        units = document.get("physical_unit")
        length = str(units.get("length", "angstrom") if isinstance(units, dict) else "angstrom").lower()
        if length not in ("angstrom", "au", "bohr"):
            raise InputError(f"gives lengths in '{length}'; use angstrom or au")
        from ase.units import Bohr

        vectors = np.array(cell["lattice"], dtype=float) * (1.0 if length == "angstrom" else Bohr)
        symbols = [re.sub(r"\d+$", "", str(point["symbol"])) for point in cell["points"]]
        places = np.array([point["coordinates"] for point in cell["points"]], dtype=float)
        return ase.Atoms(symbols, scaled_positions=places, cell=vectors, pbc=True)

    yield crystal(build, "phonopy YAML")
