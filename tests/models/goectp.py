"""Small GoeCTP networks with strong random weights, their predictions, and crystals without symmetry."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import ase
import numpy as np
import torch
from numpy.typing import NDArray
from tests import crystals

from voigt.graphs import AxesOptions, CrystalGraph, build_graph, collate
from voigt.models.goectp.hypers import GoeCTPHypers
from voigt.models.goectp.model import GoeCTP
from voigt.structures.symmetry import find_symmetry

CUTOFF = 4.0
PROPERTY_OF_RANK = {2: "eps_inf", 3: "piezo_total", 4: "elastic"}
Arrays = dict[str, NDArray[np.float64]]


def hypers(**options: object) -> GoeCTPHypers:
    small = {"properties": tuple(PROPERTY_OF_RANK.values()), "width": 8, "layers": 2, "heads": 2}
    return GoeCTPHypers(**{**small, "hidden": 16, "num_radial": 8, "cutoff": CUTOFF, **options})


def network(dtype: torch.dtype = torch.float64, **options: object) -> GoeCTP:
    """Matrices twice as large as at the start, those of directions 20 times: high degrees come from nonlinearity."""
    torch.manual_seed(3)
    model = GoeCTP(hypers(**options))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.unique().numel() == 1:
                parameter.add_(torch.randn_like(parameter), alpha=0.2)
            elif parameter.ndim == 2 and not any(part in name for part in ("reference", "trunk", "readouts")):
                parameter.mul_(20.0 if "direction" in name else 2.0)
    return model.to(dtype).eval()


@cache
def graph(numbers: bytes, positions: bytes, cell: bytes, symmetry: bool, options: AxesOptions) -> CrystalGraph:
    """Most of the time goes into graphs, and most networks here want the same ones."""
    atoms = ase.Atoms(np.frombuffer(numbers, int), np.frombuffer(positions).reshape(-1, 3), pbc=True)
    atoms.set_cell(np.frombuffer(cell).reshape(3, 3))
    found = find_symmetry(atoms) if symmetry else None
    return build_graph(atoms, CUTOFF, symmetry=found, dtype=torch.float64, frame=options)


def predict(model: GoeCTP, structures: Sequence[ase.Atoms], symmetry: bool = True) -> Arrays:
    """In float64, whatever the precision of the model."""
    options = model.hypers.axes_options
    described = [(a.numbers.astype(int).tobytes(), a.positions.tobytes(), a.cell.array.tobytes()) for a in structures]
    batch = collate([graph(*content, symmetry, options) for content in described])
    with torch.no_grad():
        output = model(batch.to(dtype=next(model.parameters()).dtype))
    return {name: value.double().numpy() for name, value in output.items()}


def turn(tensor: NDArray[np.float64], rotation: NDArray[np.float64], rank: int) -> NDArray[np.float64]:
    """T'[i..] = R[i, a].. T[a..] over the last axes."""
    rule = {2: "ia,jb,...ab->...ij", 3: "ia,jb,kc,...abc->...ijk", 4: "ia,jb,kc,ld,...abcd->...ijkl"}[rank]
    return np.einsum(rule, *[rotation] * rank, tensor, optimize=True)


def without_symmetry() -> list[ase.Atoms]:
    """A skewed cell, described by either hand, and a tetragonal lattice whose atoms have left their places."""
    shaken = crystals.lead_titanate()
    shaken.rattle(0.1, seed=3)
    return [crystals.nameless(), crystals.left_handed(crystals.nameless()), shaken]
