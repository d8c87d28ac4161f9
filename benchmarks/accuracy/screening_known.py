"""A finished screening against what is known: DFPT labels that its models have not seen, and literature values.

    VOIGT_DATA=... python -m benchmarks.accuracy.screening_known STORE

STORE: folder of a screening with eps_total, eps_inf and band_gap. Crystals of the test split of
tensors/dielectric.extxyz are predicted with the settings of the store, and placed among all of its crystals.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
from ase.spacegroup import crystal
from benchmarks.tools import timing
from numpy.typing import NDArray

import voigt
from voigt.prediction import Prediction, Settings, predict_structures
from voigt.screening.query.derived import columns_of, needed_columns
from voigt.screening.store import read_manifest, read_tables, result_parts
from voigt.structures import InputStructure
from voigt.writers.markdown import number, table

SHARES = (0.1, 0.2)
"""The best tenth and fifth of a ranking."""


@dataclass(frozen=True)
class Known:
    """A material with a measured static permittivity.

    Attributes
    ----------
    name
        With its structure.
    formula, spacegroup
        By which it is found in the store.
    value
        Relative permittivity at low frequency and room temperature, mean over directions where the source has several.
    source
        R: Robertson, Eur. Phys. J. Appl. Phys. 28, 265 (2004), table 1. Y: Young and Frederikse, J. Phys. Chem. Ref.
        Data 2, 313 (1973).
    """

    name: str
    formula: str
    spacegroup: int
    value: float
    source: str


def rutile() -> ase.Atoms:
    """TiO2 from its measured lattice constants, 4.594 and 2.959 Angstrom, u = 0.305."""
    cell = [4.594, 4.594, 2.959, 90, 90, 90]
    return crystal(["Ti", "O"], [(0, 0, 0), (0.305, 0.305, 0)], spacegroup=136, cellpar=cell)


BUILT = {"TiO2, rutile": rutile}
"""Materials that stand for themselves where the collection does not hold them."""

KNOWN = (
    Known("TiO2, rutile", "TiO2", 136, 80, "R"),
    Known("SrTiO3, cubic", "SrTiO3", 221, 2000, "R"),
    Known("HfO2, monoclinic", "HfO2", 14, 25, "R"),
    Known("ZrO2, monoclinic", "ZrO2", 14, 25, "R"),
    Known("La2O3", "La2O3", 164, 30, "R"),
    Known("Y2O3, bixbyite", "Y2O3", 206, 15, "R"),
    Known("Al2O3, corundum", "Al2O3", 167, 9, "R"),
    Known("HfSiO4", "HfSiO4", 141, 11, "R"),
    Known("Si3N4", "Si3N4", 176, 7, "R"),
    Known("MgO", "MgO", 225, 9.65, "Y"),
    Known("NaCl", "NaCl", 225, 5.9, "Y"),
    Known("LiF", "LiF", 225, 9.0, "Y"),
    Known("CaF2", "CaF2", 225, 6.81, "Y"),
    Known("SiO2, quartz", "SiO2", 154, 4.5, "Y"),
    Known("KTaO3", "KTaO3", 221, 242, "Y"),
)


def scalars(parts: Sequence[Path], names: Sequence[str]) -> tuple[dict[str, NDArray[Any]], list[str], list[str]]:
    """Columns of a store, with ids and formulas."""
    columns: dict[str, list[NDArray[Any]]] = {name: [] for name in names}
    ids: list[str] = []
    formulas: list[str] = []
    for part in read_tables(parts, [*needed_columns(names), "id", "formula"]):
        for name, values in columns_of(part, names).items():
            columns[name].append(values)
        ids += part["id"].to_pylist()
        formulas += part["formula"].to_pylist()
    return {name: np.concatenate(values) for name, values in columns.items()}, ids, formulas


def same_formula(a: str, b: str) -> bool:
    """Whether two reduced formulas hold the same, in any order."""
    count = ase.formula.Formula
    return bool(count(a).count() == count(b).count())


def label_of(known: Known, crystals: Sequence[ase.Atoms]) -> str:
    """DFPT label (PBE) of a material in the data and the split it is in; of polymorph twins the densest."""
    same = [
        atoms for atoms in crystals
        if atoms.info["spacegroup"] == known.spacegroup and same_formula(atoms.info["formula"], known.formula)
    ]  # fmt: skip
    if not same:
        return "–"
    densest = min(same, key=lambda atoms: atoms.get_volume() / len(atoms))
    return f"{number(np.trace(np.reshape(densest.info['eps_total'], (3, 3))) / 3)} ({densest.info['split']})"


def literature(
    found: dict[str, NDArray[Any]],
    formulas: list[str],
    ids: list[str],
    crystals: Sequence[ase.Atoms],
    settings: Settings,
) -> None:
    """Predictions of known materials beside what was measured, and what DFPT says in the data."""
    eps = found["eps_total"]
    ranking = np.sort(eps[np.isfinite(eps)])
    rows = []
    for known in KNOWN:
        places = [
            k for k in np.flatnonzero((found["spacegroup"] == known.spacegroup) & np.isfinite(eps))
            if same_formula(formulas[k], known.formula)
        ]  # fmt: skip
        if not places:
            cells = ["–", "–", "–", "not in the collection"]
            if known.name in BUILT:
                (alone,) = voigt.predict(BUILT[known.name](), settings=settings)
                means = [number(np.trace(alone.values[name]) / 3) for name in ("eps_total", "eps_inf")]
                cells = [*means, "–", "not in the collection: built"]
            rows.append([known.name, f"{known.value:g} ({known.source})", label_of(known, crystals), *cells])
            continue
        k = min(places, key=lambda place: found["volume_per_atom"][place])
        rank = 100 * (1 - np.searchsorted(ranking, eps[k]) / len(ranking))
        spread = found["eps_total_spread"][k] / np.sqrt(3)
        predicted = f"{number(eps[k])} ± {number(spread)}"
        rows.append([known.name, f"{known.value:g} ({known.source})", label_of(known, crystals), predicted,
                     number(found["eps_inf"][k]), f"{rank:.1f} %", ids[k]])  # fmt: skip
    print("\n### Known materials\n")
    header = (
        "material", "measured eps_0", "DFPT label (split)", "predicted eps_total", "predicted eps_inf",
        "among the highest", "id",
    )  # fmt: skip
    print(table(header, rows))


def labeled(data: Path) -> list[ase.Atoms]:
    """Crystals with a static permittivity (PBE)."""
    everything = ase.io.read(data / "tensors" / "dielectric.extxyz", ":")
    return [atoms for atoms in everything if "eps_total" in atoms.info]


def recall(found: dict[str, NDArray[Any]], crystals: Sequence[ase.Atoms], settings: Settings) -> None:
    """How many of the test crystals of high DFPT permittivity stand high in the screening's ranking."""
    chosen = [atoms for atoms in crystals if atoms.info["split"] == "test" and atoms.info["closed_shell"]]
    structures = [InputStructure("dielectric", k, atoms.info["id"], atoms) for k, atoms in enumerate(chosen)]
    total = np.array([np.trace(np.reshape(atoms.info["eps_total"], (3, 3))) / 3 for atoms in chosen])
    results = list(predict_structures(structures, None, settings))
    values = np.array([
        np.trace(result.values["eps_total"]) / 3 if isinstance(result, Prediction) else np.nan for result in results
    ])  # fmt: skip
    known = np.isfinite(values)
    ranking = np.sort(found["eps_total"][np.isfinite(found["eps_total"])])
    place = 1 - np.searchsorted(ranking, values) / len(ranking)
    rows = []
    for title, high in (
        ("highest tenth of the labels", total >= np.quantile(total[known], 0.9)),
        ("label above 30", total > 30),
        ("label above 20", total > 20),
        ("all", np.full(len(total), True)),
    ):
        mask = high & known
        cells = [f"{100 * np.mean(place[mask] <= share):.0f} %" for share in SHARES]
        own = np.quantile(values[known], 0.9)
        rows.append([title, str(int(mask.sum())), *cells, f"{100 * np.mean(values[mask] >= own):.0f} %"])
    print("\n### Test crystals of tensors/dielectric.extxyz in the ranking by eps_total\n")
    print(f"{int(known.sum())} closed-shell crystals with a DFPT label and known elements, {len(ranking):,} ranked.\n")
    print(table(("test crystals", "number", "in the highest tenth of the screening", "in the highest fifth",
                 "in the highest tenth of the test crystals"), rows))  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", type=Path)
    options = parser.parse_args()
    timing.prepare()
    data = Path(os.environ.get("VOIGT_DATA", "../shared/data"))
    manifest = read_manifest(options.store)
    names = ("eps_total", "eps_inf", "eps_total_spread", "band_gap", "spacegroup", "volume_per_atom")
    found, ids, formulas = scalars(result_parts(options.store), names)
    noted = manifest["job"]["settings"]
    settings = Settings(("eps_inf", "eps_total"), functional=noted["functional"], symprec=noted["symprec"])
    crystals = labeled(data)
    literature(found, formulas, ids, crystals, settings)
    recall(found, crystals, settings)


if __name__ == "__main__":
    main()
