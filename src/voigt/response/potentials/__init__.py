"""Machine-learned potentials by name, relaxation with them, and forces of many cells.

Their packages are imported by the functions that need them.
"""

from __future__ import annotations

from voigt.response.potentials.engine import Engine, engine_of
from voigt.response.potentials.evaluation import energy_of, forces_of, name_of, stress_of
from voigt.response.potentials.registry import DEFAULT, POTENTIALS, Potential, find_potential, load_potential
from voigt.response.potentials.relaxation import Relax, Relaxation, relax

# fmt: off
__all__ = [
    "DEFAULT", "POTENTIALS", "Engine", "Potential", "Relax", "Relaxation", "energy_of", "engine_of", "find_potential",
    "forces_of", "load_potential", "name_of", "relax", "stress_of",
]
