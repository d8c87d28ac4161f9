"""Files and printed text held against frozen ones: words must be equal, numbers up to what cases.py allows."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
import pyarrow.parquet as pq
from tests.golden.cases import NUMBER_FLOOR, RELATIVE

FLOORS = {"elastic": 1e-3, "eps": 1e-4, "piezo": 1e-5, "born": 1e-5, "band_gap": 1e-5, "rank": 1e-3}
"""Instead of NUMBER_FLOOR where a key or column names a property (GPa, 1, C/m^2, e, eV), or a ranking made of them."""
ARBITRARY = ("eigenvectors", "partner", "overlap", "mode_effective_charges_e_per_sqrt_amu")
"""Keys of what depends on a choice within degenerate modes, which is neither kept nor compared."""
NUMBER = re.compile(r"[-+]?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?")
PADDED = re.compile(rf" *{NUMBER.pattern}")
NOTHING = re.compile(r"[-+]?\d+(?:\.\d+)?[eE]-(?:0[6-9]|[1-9]\d)|[-+]?0(?:\.0+)?[eE][-+]\d+")
"""Numbers below 1e-5, which are rounding errors wherever they are printed with an exponent."""


WORDS = (
    (re.compile(r"(frame \d+): (\S+): (?=\S)"), r"\1 (id \2): "),  # every failure names its input in the same way
    # American spelling
    (re.compile("(symmetr|normal|polar)is(ed|ation)"), r"\1iz\2"),
    (re.compile("neighbour"), "neighbor"),
    (re.compile("^Born charges of the project", re.MULTILINE), "NAC parameters of the project"),  # eps_inf as well
    # the remedy for an unseen element in Python and in the files that Python writes, once for several models
    (re.compile(r"use Settings\(allow_unseen=True\)"), "use --allow-unseen"),
    (re.compile(r"; use --allow-unseen to predict all the same(?=; )"), ""),
    (re.compile(r" In `pareto\.html` a click on a point shows its crystal and tensors\."), ""),
    (re.compile(r"\d+ with warnings"), "some with warnings"),  # more of them, see JUDGED
)
"""What has been worded differently since release 0.1.0."""


JUDGED = re.compile(r"probably a metal|its valences balance|of vacuum|in vacuum|unlike the crystals|states a charge")
"""Sentences on what lies outside the domain of the models, which are told in other ways since, and not compared."""


def without_judgments(entries: Iterable[Any]) -> list[Any]:
    """Lines, sentences or notes but for those on the domain of the models."""
    kinds = ("likely_metal", "small_gap", "vacuum", "far_from_training", "charged")
    kept = (entry for entry in entries if not (isinstance(entry, str) and JUDGED.search(entry)))
    return [entry for entry in kept if not (isinstance(entry, Mapping) and entry.get("kind") in kinds)]


def reworded(text: str) -> str:
    """A text of release 0.1.0 as it reads today."""
    for pattern, words in WORDS:
        text = pattern.sub(words, text)
    return text


def text_differences(new: str, old: str, vanishing: float = 0.0, columns: bool = True) -> list[str]:
    """Lines that differ in a word, or in a number by more than its last printed digit and what is allowed.

    `vanishing`: two numbers below this count as equal (frequencies of rigid shifts, the roots of rounding errors).
    `columns`: what stands after a number must stand in the same place.
    """
    now, was = (without_judgments(reworded(text).splitlines()) for text in (new, old))
    if len(now) != len(was):
        first = next((f": {a}" for a, b in zip([*now, "end"], [*was, "end"], strict=False) if a != b), "")
        return [f"{len(now)} lines and were {len(was)}{first}"]
    return [f"is  {a}\nwas {b}" for a, b in zip(now, was, strict=True) if not _same_line(a, b, vanishing, columns)]


def _same_line(now: str, was: str, vanishing: float, columns: bool) -> bool:
    if now == was:
        return True
    now, was = NOTHING.sub("0", now), NOTHING.sub("0", was)
    words = [PADDED.sub(lambda match: "#" * len(match.group()) if columns else "#", line) for line in (now, was)]
    pairs = zip(NUMBER.findall(now), NUMBER.findall(was), strict=True)
    return words[0] == words[1] and all(_same_printed(a, b, vanishing) for a, b in pairs)


def _same_printed(now: str, was: str, vanishing: float) -> bool:
    if now == was:
        return True
    if not any(sign in now + was for sign in ".eE"):
        return False  # counts, numbers of space groups
    unit = max(_last_digit(now), _last_digit(was))
    return same_number(float(now), float(was), vanishing, NUMBER_FLOOR + 1.001 * unit)


def _last_digit(text: str) -> float:
    """What one more in the last place would add."""
    mantissa, _, exponent = text.lower().partition("e")
    return 10.0 ** (int(exponent or 0) - len(mantissa.partition(".")[2]))


def same_number(now: float, was: float, vanishing: float = 0.0, floor: float = NUMBER_FLOOR) -> bool:
    """Equal to RELATIVE of themselves and the floor; or both below `vanishing`."""
    size = max(abs(now), abs(was))
    return abs(now - was) <= RELATIVE * size + floor or size < vanishing


def differences(new: Any, old: Any, vanishing: float = 0.0, place: str = "") -> list[str]:
    """Places of two nested structures that differ. What is new beside what was there is no difference."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        lost = [f"{place}/{key} is missing" for key in old if key not in new]
        kept = [key for key in old if key in new]
        return [*lost, *(line for key in kept for line in differences(new[key], old[key], vanishing, f"{place}/{key}"))]
    if isinstance(old, list | tuple) and isinstance(new, list | tuple):
        new, old = without_judgments(new), without_judgments(old)
        if len(new) != len(old):
            return [f"{place} has {len(new)} entries and had {len(old)}"]
        pairs = enumerate(zip(new, old, strict=True))
        return [line for k, (a, b) in pairs for line in differences(a, b, vanishing, f"{place}/{k}")]
    if isinstance(old, str) and isinstance(new, str):
        new, old = reworded(new), reworded(old)
    same = type(new) is type(old) and new == old
    if not same and {type(new), type(old)} in ({float}, {int, float}):
        same = same_number(new, old, vanishing, _floor_at(place))
    return [] if same else [f"{place} is {new!r} and was {old!r}"]


def _floor_at(place: str) -> float:
    """Small components and spreads are rounded like the largest component of their tensor, which stands elsewhere."""
    return next((floor for name, floor in FLOORS.items() if name in place), NUMBER_FLOOR)


def file_differences(new: Path, old: Path, vanishing: float = 0.0) -> list[str]:
    """The same of two files of equal kind: by key or column if there are any, else as text."""
    if not new.is_file():
        return [f"{new.name} was not written"]
    if old.suffix in READERS:
        read = READERS[old.suffix]
        return differences(read(new), read(old), vanishing)
    return text_differences(new.read_text(), old.read_text(), vanishing, columns=old.suffix == ".md")


def _json(path: Path) -> Any:
    return thinned(json.loads(path.read_text()))


def thinned(content: Any) -> Any:
    """JSON with every fiftieth entry of long lists (spectra), without ARBITRARY: so it is frozen."""
    if isinstance(content, dict):
        return {key: thinned(value) for key, value in content.items() if key not in ARBITRARY}
    if isinstance(content, list):
        return [thinned(value) for value in content[:: 50 if len(content) > 400 else 1]]
    return content


def _csv(path: Path) -> dict[str, list[float | int | str]]:
    """Columns; what looks like a number is one."""
    with path.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    return {name: [_value(row[name]) for row in rows] for name in rows[0]}


def _value(text: str) -> float | int | str:
    if not NUMBER.fullmatch(text):
        return text
    return float(text) if re.search("[.eE]", text) else int(text)


def _extxyz(path: Path) -> list[dict[str, Any]]:
    """Columns, keys and cells of the frames, as ASE reads them."""
    return [
        {
            "symbols": frame.get_chemical_symbols(),
            "cell": frame.cell.tolist(),
            "pbc": frame.pbc.tolist(),
            **{key: np.asarray(value).tolist() for key, value in {**frame.arrays, **frame.info}.items()},
        }
        for frame in ase.io.read(path, ":", format="extxyz")
    ]


def _parquet(path: Path) -> Any:
    return pq.read_table(path).to_pydict()


READERS = {".json": _json, ".csv": _csv, ".extxyz": _extxyz, ".parquet": _parquet}
