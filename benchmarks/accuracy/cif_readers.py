"""Readers of CIF compared: how many files each reads rightly, how long it takes, what it loads.

    python -m benchmarks.accuracy.cif_readers FOLDER...

The folders hold CIFs (.cif, .mcif, also .gz); one that is not there is left out with a line. A reading is right by
what the file says of itself: formula and number of formula units. If no reader finds that (hydrogens without positions,
operations that are missing), a refusal is right. Where the file says too little, and for disordered crystals, which
count as refused, the majority of the readers decides. Needs pymatgen-core and gemmi, which Voigt itself does not use.
"""

from __future__ import annotations

import gzip
import io
import math
import re
import subprocess
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.tools.timing import log, table

Reading = list[str]
"""Formulas of the structures of a file in Hill's order, for the whole cell; "refused" for one that is not given."""


def by_voigt(text: str) -> Reading:
    from voigt.structures.inputs import InputStructure
    from voigt.structures.intake import check
    from voigt.structures.readers.cif import read_cif

    entries = [check(entry) for entry in read_cif(text)]
    return [
        entry.atoms.get_chemical_formula() if isinstance(entry, InputStructure) else "refused" for entry in entries
    ] or ["refused"]


def by_ase(text: str) -> Reading:
    from ase.io.cif import parse_cif

    found = []
    for block in parse_cif(io.StringIO(text), "ase"):
        if block.has_structure():
            try:
                atoms = block.get_atoms()
            except Exception:
                found.append("refused")
                continue
            shares = atoms.info.get("occupancy", {}).values()
            partial = any(len(share) > 1 or any(abs(x - 1) > 1e-3 for x in share.values()) for share in shares)
            found.append("refused" if partial else atoms.get_chemical_formula())
    return found or ["refused"]


def by_pymatgen(text: str) -> Reading:
    import ase
    from pymatgen.io.cif import CifParser

    parser = CifParser(io.StringIO(text))
    try:
        structures = parser.parse_structures(primitive=False, on_error="raise")
    except Exception:
        structures = parser.parse_structures(primitive=False, on_error="ignore")
    found = []
    for structure in structures:
        if structure.is_ordered:
            found.append(ase.Atoms(numbers=structure.atomic_numbers).get_chemical_formula())
        else:
            found.append("refused")
    return found or ["refused"]


def by_gemmi(text: str) -> Reading:
    import ase
    import gemmi

    found = []
    for block in gemmi.cif.read_string(text):
        small = gemmi.make_small_structure_from_block(block)
        if not small.sites:
            continue
        sites = small.get_all_unit_cell_sites()
        if any(abs(site.occ - 1.0) > 1e-3 for site in sites):
            found.append("refused")
        else:
            found.append(ase.Atoms([site.element.name for site in sites]).get_chemical_formula())
    return found or ["refused"]


READERS: dict[str, tuple[Callable[[str], Reading], str]] = {
    "Voigt": (by_voigt, "voigt.structures.readers.cif"),
    "ASE": (by_ase, "ase.io.cif"),
    "pymatgen": (by_pymatgen, "pymatgen.io.cif"),
    "gemmi": (by_gemmi, "gemmi"),
}


def files_of(folders: list[str]) -> Iterator[Path]:
    for name in folders:
        folder = Path(name)
        if not folder.is_dir():
            log(f"no folder {name}: left out")
            continue
        yield from sorted(path for path in folder.rglob("*") if re.search(r"\.m?cif(\.gz)?$", path.name))


def text_of(path: Path) -> str:
    content = path.read_bytes()
    return (gzip.decompress(content) if path.suffix == ".gz" else content).decode("utf-8-sig", "replace")


def outcome(read: Callable[[str], Reading], text: str) -> Reading:
    try:
        return read(text)
    except Exception:
        return ["refused"]


def stated(text: str) -> tuple[dict[str, float], float] | None:
    """The formula and the number of formula units in a file with one of each; no unit fits a cell without volume."""
    sums = set(re.findall(r"(?mi)^\s*_chemical_formula_sum\s+['\"]?([A-Za-z0-9. ]+?)['\"]?\s*$", text))
    units = set(re.findall(r"(?mi)^\s*_cell_formula_units_Z\s+(\d+)\s*$", text))
    if len(sums) != 1 or len(units) != 1:
        return None
    counts: dict[str, float] = Counter()
    for symbol, amount in re.findall(r"([A-Z][a-z]?)(\d*\.?\d*)", sums.pop()):
        counts["H" if symbol == "D" else symbol] += float(amount or 1)
    flat = re.search(r"(?mi)^\s*_cell_volume\s+0+\.0+\s*$", text)
    return counts, 0.0 if flat else float(units.pop())


def agrees(reading: str, formula: dict[str, float], units: float) -> bool:
    """Whether a formula of a cell is what its file states; the stated one may be that of the whole cell."""
    if reading == "refused":
        return False
    counts = {symbol: int(amount or 1) for symbol, amount in re.findall(r"([A-Z][a-z]?)(\d*)", reading)}
    if counts.keys() != formula.keys():
        return False
    ratios = [counts[symbol] / formula[symbol] for symbol in formula]
    inner = math.gcd(*(round(count) for count in formula.values()))
    return max(ratios) - min(ratios) < 1e-3 * max(ratios) and any(abs(units - ratios[0] * k) < 1e-3 for k in (1, inner))


def right_answer(answers: list[Reading], text: str) -> Reading:
    """What the file's structures are."""
    majority = list(Counter(map(tuple, answers)).most_common(1)[0][0])
    statement = stated(text)
    if statement is None or set(majority) == {"refused"}:
        return majority
    confirmed = {reading for answer in answers for reading in answer if agrees(reading, *statement)}
    return sorted(confirmed) if len(confirmed) == 1 else ["refused"]


def cost_of_loading(module: str) -> tuple[float, int]:
    """Seconds and the number of modules, beyond those of ASE's atoms and NumPy."""
    code = (
        "import sys, time, ase, numpy; n, t = len(sys.modules), time.perf_counter(); "
        f"import {module}; print(time.perf_counter() - t, len(sys.modules) - n)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    seconds, modules = run.stdout.split()
    return float(seconds), int(modules)


def main() -> None:
    warnings.simplefilter("ignore")
    texts = {path.name: text_of(path) for path in files_of(sys.argv[1:])}
    readings: dict[str, dict[str, Reading]] = {}
    times: dict[str, float] = {}
    for name, (read, _) in READERS.items():
        outcome(read, next(iter(texts.values())))
        readings[name] = {}
        start = time.process_time()
        for file, text in texts.items():
            readings[name][file] = outcome(read, text)
        times[name] = 1e3 * (time.process_time() - start) / len(texts)
    right = Counter[str]()
    wrong = Counter[str]()
    differing = []
    for file, text in texts.items():
        answers = {name: readings[name][file] for name in READERS}
        truth = right_answer(list(answers.values()), text)
        if len(set(map(tuple, answers.values()))) > 1:
            differing.append([file, *(" ".join(answer) for answer in answers.values()), " ".join(truth)])
        for name, answer in answers.items():
            if set(answer) == set(truth):
                right[name] += 1
            elif set(answer) != {"refused"}:
                wrong[name] += 1
    table(["file", *READERS, "right"], differing)
    rows = []
    for name, (_, module) in READERS.items():
        seconds, modules = cost_of_loading(module)
        refused = len(texts) - right[name] - wrong[name]
        counts = map(str, (right[name], refused, wrong[name]))
        rows.append([name, *counts, f"{times[name]:.1f}", f"{1e3 * seconds:.0f}", str(modules)])
    table(["reader", "right", "refused though readable", "wrong", "ms per file", "import, ms", "modules"], rows)


if __name__ == "__main__":
    main()
