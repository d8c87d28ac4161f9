"""Tabulate what defines our irreps: Cartesian bases of index formulas and Wigner 3j symbols, from e3nn.

    python -m benchmarks.tools.constants

writes src/voigt/tensors/constants.json, which is all that the package needs of e3nn. Run it after adding an index
formula to FORMULAS; tests/tensors/test_constants.py compares every entry of the file with e3nn.
"""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import torch
from e3nn import __version__, o3
from torch import Tensor

CONSTANTS = Path(__file__).resolve().parents[2] / "src" / "voigt" / "tensors" / "constants.json"
FORMULAS = ("ij", "ij=ji", "ijk=ikj", "ijkl=jikl=klij")
PRODUCTS = (*itertools.product((0, 1, 2), (0, 1, 2)), (3, 1))
"""Degrees that are coupled: node features with edge harmonics, and harmonics of degree 3 with the unit vector."""


def entries(tensor: Tensor) -> list[list[float]]:
    """Index and value of each entry that does not vanish; e3nn leaves zeros of 1e-17."""
    places = torch.nonzero(tensor.abs() > 1e-14).tolist()
    return [[*place, tensor[tuple(place)].item()] for place in places]


def basis(formula: str) -> dict[str, Any]:
    """Irreps of the tensors that obey a formula and their orthonormal basis, (dim, 3**rank)."""
    products = o3.ReducedTensorProducts(formula, **dict.fromkeys(formula.partition("=")[0], "1o"))
    irreps = [str(ir) for multiplicity, ir in products.irreps_out for _ in range(multiplicity)]
    return {"irreps": irreps, "entries": entries(products.change_of_basis.flatten(1))}


def tables() -> dict[str, Any]:
    """Everything that the file holds."""
    torch.set_default_dtype(torch.float64)  # e3nn rounds its bases to the default type
    symbols = {}
    for first, second in PRODUCTS:
        for out in range(abs(first - second), first + second + 1):
            symbols[f"{first} {second} {out}"] = entries(o3.wigner_3j(first, second, out))
    bases = {"": {"irreps": ["0e"], "entries": [[0, 0, 1.0]]}} | {formula: basis(formula) for formula in FORMULAS}
    return {"e3nn": __version__, "bases": bases, "wigner_3j": symbols}


if __name__ == "__main__":
    CONSTANTS.write_text(json.dumps(tables(), separators=(",", ":")) + "\n", encoding="utf-8")
    print(f"{CONSTANTS}: {CONSTANTS.stat().st_size} bytes")
