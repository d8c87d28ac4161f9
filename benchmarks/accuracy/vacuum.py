"""How well `find_vacuum` tells sheets, wires and molecules from crystals, and what `Prediction.sheets` are worth.

    VOIGT_DATA=... python -m benchmarks.accuracy.vacuum

False alarms on the crystals of three files, each hit named (some of these crystals are sheets); recall on slabs,
sheets, wires and molecules that are built here; the permittivity of cells with sheets against their labels.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterator
from pathlib import Path

import ase
import numpy as np
from ase.build import (
    bcc110,
    bulk,
    diamond100,
    fcc111,
    graphene,
    hcp0001,
    molecule,
    mx2,
    nanotube,
    surface,
)
from ase.collections import g2
from ase.io import iread

from voigt.prediction import Prediction, Settings, predict_structures
from voigt.structures import InputStructure
from voigt.structures.vacuum import find_vacuum

FILES = ("born/phonondb.extxyz", "born/mp.extxyz", "tensors/elastic.extxyz")
MARGINS = (5.0, 6.0, 8.0, 10.0, 15.0)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default=os.environ.get("VOIGT_DATA", "."))
    root = Path(parser.parse_args().data)
    sheets = []
    for file in FILES:
        count, seconds, hits = 0, 0.0, []
        for atoms in iread(root / file, ":"):
            start = time.perf_counter()
            vacuum = find_vacuum(atoms)
            seconds += time.perf_counter() - start
            count += 1
            if vacuum is not None:
                hits.append(f"{atoms.info['id']} {atoms.info['formula']}: {vacuum.text}")
                if vacuum.dimension == 2 and "eps_inf" in atoms.info:
                    sheets.append(atoms)
        share = 100 * len(hits) / count
        print(f"{file}: {len(hits)} of {count} crystals ({share:.2f} %), {1e3 * seconds / count:.2f} ms each")
        for hit in hits:
            print(f"  {hit}")
    built = list(structures())
    for dimension in (0, 1, 2):
        own = [atoms for expected, atoms in built if expected == dimension]
        found = [vacuum.dimension for atoms in own if (vacuum := find_vacuum(atoms)) is not None]
        right = sum(entry == dimension for entry in found)
        print(f"dimension {dimension}: {len(found)} of {len(own)} found, {right} of the right dimension")
    print("sheets with labels: eps_inf in the plane and across, label, as the network says, from Prediction.sheets")
    inputs = [InputStructure(FILES[1], k, str(atoms.info["id"]), atoms) for k, atoms in enumerate(sheets)]
    settings = Settings(properties=("eps_inf",), functional="PBE", allow_unseen=True)
    for atoms, result in zip(sheets, predict_structures(inputs, "born", settings), strict=True):
        if isinstance(result, Prediction):
            label, sheet = np.reshape(atoms.info["eps_inf"], (3, 3)), result.sheets["eps_inf"]
            tensors, normal = (label, result.values["eps_inf"], sheet.cell), sheet.normal
            across = [float(normal @ eps @ normal) for eps in tensors]
            pairs = [((float(np.trace(eps)) - low) / 2, low) for eps, low in zip(tensors, across, strict=True)]
            print(f"  {atoms.info['formula']}: {', '.join(f'{inside:.2f} {across:.2f}' for inside, across in pairs)}")


def structures() -> Iterator[tuple[int, ase.Atoms]]:
    """Structures in vacuum, each with its dimension."""
    magnesia, salt = bulk("MgO", "rocksalt", a=4.21, cubic=True), bulk("NaCl", "rocksalt", a=5.64, cubic=True)
    caesium = bulk("CsCl", "cesiumchloride", a=4.12, cubic=True)
    for margin in MARGINS:
        layers = [
            fcc111("Cu", (1, 1, 4), vacuum=margin),
            hcp0001("Mg", (1, 1, 4), vacuum=margin),
            bcc110("Fe", (1, 1, 3), vacuum=margin),
            diamond100("Si", (1, 1, 6), vacuum=margin),
            graphene(vacuum=margin),
            mx2("MoS2", vacuum=margin),
            surface(magnesia, (1, 0, 0), 4, vacuum=margin),
            surface(salt, (1, 1, 1), 4, vacuum=margin),
            surface(caesium, (1, 0, 0), 4, vacuum=margin),
        ]
        yield from ((2, periodic(atoms)) for atoms in layers)
        chain = ase.Atoms("Au2", positions=[[0, 0, 0], [0, 0, 2.6]], cell=[2 * margin, 2 * margin, 5.2])
        wires = [nanotube(6, 0, length=1, vacuum=margin), nanotube(3, 3, length=2, vacuum=margin), chain]
        yield from ((1, periodic(atoms)) for atoms in wires)
    for name in g2.names:
        for margin in (5.0, 8.0):
            atoms = molecule(name)
            atoms.center(vacuum=margin)
            yield 0, periodic(atoms)


def periodic(atoms: ase.Atoms) -> ase.Atoms:
    """The same, periodic in all directions."""
    atoms.pbc = True
    return atoms


if __name__ == "__main__":
    main()
