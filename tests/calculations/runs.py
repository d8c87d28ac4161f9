"""Runs as the readers of codes get them, and what comes back."""

from __future__ import annotations

from pathlib import Path

import ase
import numpy as np

from voigt.calculations.calculation import Calculation, RunFile
from voigt.notes import Failure


def run_file(name: str, text: str) -> RunFile:
    """A file that lies nowhere."""
    return RunFile(f"run/{name}", name, text[:65536], lambda: text)


def calculations(outcomes: list[Calculation | Failure]) -> list[Calculation]:
    """All of them, where none failed."""
    assert [outcome for outcome in outcomes if isinstance(outcome, Failure)] == []
    return [outcome for outcome in outcomes if isinstance(outcome, Calculation)]


def only(outcomes: list[Calculation | Failure]) -> Calculation:
    (calculation,) = calculations(outcomes)
    return calculation


def asymmetric(seed: int, *shape: int) -> np.ndarray:
    """Numbers of five digits of which no two are alike."""
    return np.random.default_rng(seed).uniform(-5, 5, shape).round(5)


def triclinic(seed: int = 0) -> ase.Atoms:
    """SrTiO3 that keeps no symmetry, its atoms in the order of elements."""
    rng = np.random.default_rng(seed)
    cell = 3.9 * np.eye(3) + rng.uniform(-0.2, 0.2, (3, 3)).round(4)
    places = np.array([[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]])
    places = (places + rng.uniform(-0.02, 0.02, places.shape)).round(4)
    return ase.Atoms("SrTiO3", scaled_positions=places, cell=cell, pbc=True)


def here(name: str) -> Path:
    """A file of ASE's own tests, wherever ASE is installed."""
    return Path(ase.__file__).parent / "test" / "testdata" / name
