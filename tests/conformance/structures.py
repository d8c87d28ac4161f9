"""Rotations and crystals that every model is tried on."""

from __future__ import annotations

import ase
import numpy as np
from ase.build import bulk
from tests import crystals

ROTATIONS = {
    "proper": crystals.random_rotation(1),
    "quarter turn": np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]]),
    "inversion": -np.eye(3),
    "mirror": np.diag([1.0, 1, -1]),
    "improper": crystals.random_rotation(2, -1),
}

TINY = {
    "1 Po": lambda: bulk("Po", "sc", a=3.359),
    "1 W": lambda: bulk("W", "bcc", a=3.165),
    "1 Al": lambda: bulk("Al", "fcc", a=4.05),
    "2 CsCl": crystals.cesium_chloride,
    "2 NaCl": crystals.rocksalt,
    "3 CaF2": crystals.fluorite,
    "4 nameless": crystals.nameless,
    "5 SrTiO3": crystals.perovskite,
}

CENTROSYMMETRIC = {
    "NaCl": crystals.rocksalt,
    "CsCl": crystals.cesium_chloride,
    "CaF2": crystals.fluorite,
    "SrTiO3": crystals.perovskite,
    "rutile": crystals.rutile,
    "baddeleyite": crystals.baddeleyite,
    "CuWO4": crystals.copper_tungstate,
}


def assorted() -> list[ase.Atoms]:
    """Polar, chiral, centrosymmetric and shapeless crystals of 1 to 12 atoms."""
    rattled = crystals.perovskite()
    rattled.rattle(0.1, seed=3)
    return [
        crystals.nameless(),
        crystals.quartz(),
        TINY["1 Po"](),
        crystals.wurtzite(),
        rattled,
        crystals.baddeleyite(),
        crystals.zincblende(),
    ]
