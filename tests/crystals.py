"""Crystals of the literature that the tests share, with what the International Tables say about them."""

from __future__ import annotations

import ase
import numpy as np
from ase.build import bulk
from ase.spacegroup import crystal


def rocksalt(cubic: bool = False) -> ase.Atoms:
    """NaCl, 225: both sites m-3m."""
    return bulk("NaCl", "rocksalt", a=5.640, cubic=cubic)


def cesium_chloride() -> ase.Atoms:
    """CsCl, 221, two atoms with eight neighbors of the other kind each."""
    return bulk("CsCl", "cesiumchloride", a=4.119)


def zincblende(cubic: bool = False) -> ase.Atoms:
    """ZnS, 216: the simplest piezoelectric crystal, only e14 = e25 = e36."""
    return bulk("ZnS", "zincblende", a=5.409, cubic=cubic)


def wurtzite() -> ase.Atoms:
    """ZnO, 186."""
    return bulk("ZnO", "wurtzite", a=3.250, c=5.207, u=0.3825)


def fluorite() -> ase.Atoms:
    """CaF2, 225."""
    return bulk("CaF2", "fluorite", a=5.463)


def perovskite() -> ase.Atoms:
    """SrTiO3, 221: Sr and Ti at cubic sites, O at 4/mm.m."""
    return ase.Atoms(
        "SrTiO3",
        scaled_positions=[(0, 0, 0), (0.5, 0.5, 0.5), (0.5, 0.5, 0), (0.5, 0, 0.5), (0, 0.5, 0.5)],
        cell=3.905 * np.eye(3),
        pbc=True,
    )


def lead_titanate() -> ase.Atoms:
    """PbTiO3, 99: ferroelectric, polar axis z."""
    return ase.Atoms(
        "PbTiO3",
        scaled_positions=[(0, 0, 0), (0.5, 0.5, 0.538), (0.5, 0.5, 0.114), (0.5, 0, 0.617), (0, 0.5, 0.617)],
        cell=np.diag([3.904, 3.904, 4.152]),
        pbc=True,
    )


def rutile() -> ase.Atoms:
    """TiO2, 136."""
    return crystal(
        ["Ti", "O"], [(0, 0, 0), (0.3053, 0.3053, 0)], spacegroup=136, cellpar=[4.594, 4.594, 2.959, 90, 90, 90]
    )


def anatase() -> ase.Atoms:
    """TiO2, 141 (second origin), the body-centered cell of 12 atoms."""
    return crystal(
        ["Ti", "O"],
        [(0, 0.25, 0.375), (0, 0.25, 0.1666)],
        spacegroup=141,
        setting=2,
        cellpar=[3.785, 3.785, 9.514, 90, 90, 90],
    )


def quartz() -> ase.Atoms:
    """Right-handed alpha quartz, SiO2, 154 (P3_2 21)."""
    return crystal(
        ["Si", "O"],
        [(0.4697, 0, 2 / 3), (0.4135, 0.2669, 0.7858)],
        spacegroup=154,
        cellpar=[4.9137, 4.9137, 5.4047, 90, 90, 120],
    )


def corundum() -> ase.Atoms:
    """Al2O3, 167, the hexagonal cell of 30 atoms."""
    return crystal(
        ["Al", "O"],
        [(0, 0, 0.3522), (0.3063, 0, 0.25)],
        spacegroup=167,
        cellpar=[4.759, 4.759, 12.993, 90, 90, 120],
    )


def calcium_titanate() -> ase.Atoms:
    """CaTiO3, 62 (Pnma), 20 atoms."""
    return crystal(
        ["Ca", "Ti", "O", "O"],
        [(0.0360, 0.25, 0.9932), (0, 0, 0.5), (0.4838, 0.25, 0.0716), (0.2890, 0.0370, 0.7110)],
        spacegroup=62,
        cellpar=[5.4423, 7.6401, 5.3796, 90, 90, 90],
    )


def baddeleyite() -> ase.Atoms:
    """Monoclinic ZrO2, 14 (P2_1/c), 12 atoms."""
    return crystal(
        ["Zr", "O", "O"],
        [(0.2754, 0.0395, 0.2083), (0.0700, 0.3317, 0.3447), (0.4496, 0.7569, 0.4792)],
        spacegroup=14,
        cellpar=[5.1505, 5.2116, 5.3173, 90, 99.23, 90],
    )


def copper_tungstate() -> ase.Atoms:
    """Triclinic CuWO4, 2 (P-1), 12 atoms."""
    return crystal(
        ["Cu", "W", "O", "O", "O", "O"],
        [
            (0.4953, 0.6598, 0.2448),
            (0.0211, 0.1735, 0.2543),
            (0.2491, 0.3535, 0.4245),
            (0.2145, 0.8812, 0.4309),
            (0.7353, 0.3803, 0.0981),
            (0.7826, 0.9079, 0.0533),
        ],
        spacegroup=2,
        cellpar=[4.7026, 5.8389, 4.8784, 91.677, 92.469, 82.805],
    )


def nameless() -> ase.Atoms:
    """Four different atoms in a skewed cell without any symmetry: nothing cancels."""
    return ase.Atoms(
        ["Li", "Ti", "O", "F"],
        scaled_positions=[(0.03, 0.11, 0.07), (0.46, 0.58, 0.41), (0.31, 0.17, 0.78), (0.82, 0.71, 0.13)],
        cell=[[4.1, 0.2, -0.3], [0.7, 3.9, 0.4], [-0.5, 1.1, 4.6]],
        pbc=True,
    )


def left_handed(atoms: ase.Atoms) -> ase.Atoms:
    """The same crystal, its first two lattice vectors exchanged."""
    other = atoms.copy()
    other.set_cell(atoms.cell.array[[1, 0, 2]])
    return other


def rotated(atoms: ase.Atoms, rotation: np.ndarray) -> ase.Atoms:
    """The crystal turned (or mirrored) by an orthogonal matrix."""
    other = atoms.copy()
    other.set_cell(atoms.cell.array @ rotation.T)
    other.set_positions(atoms.positions @ rotation.T)
    return other


def random_rotation(seed: int, determinant: int = 1) -> np.ndarray:
    """Orthogonal matrix with the determinant asked for, uniformly distributed (QR of a Gaussian matrix)."""
    q, r = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    q *= np.sign(np.diag(r))
    return q if np.linalg.det(q) * determinant > 0 else -q
