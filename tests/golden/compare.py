"""Files and printed text held against frozen ones: words must be equal, numbers up to what cases.py allows."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from tests.golden.cases import NUMBER_FLOOR, RELATIVE

NUMBER = re.compile(r"[-+]?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?")
PADDED = re.compile(rf" *{NUMBER.pattern}")
NOTHING = re.compile(r"[-+]?\d+(?:\.\d+)?[eE]-(?:0[6-9]|[1-9]\d)|[-+]?0(?:\.0+)?[eE][-+]\d+")
"""Numbers below 1e-5, which are rounding errors wherever they are printed with an exponent."""


def text_differences(new: str, old: str, vanishing: float = 0.0, columns: bool = True) -> list[str]:
    """Lines that differ in a word, or in a number by more than its last printed digit and what is allowed.

    `vanishing`: two numbers below this count as equal (frequencies of rigid shifts, the roots of rounding errors).
    `columns`: what stands after a number must stand in the same place.
    """
    now, was = new.splitlines(), old.splitlines()
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
    return same_number(float(now), float(was), vanishing, 1.001 * unit)


def _last_digit(text: str) -> float:
    """What one more in the last place would add."""
    mantissa, _, exponent = text.lower().partition("e")
    return 10.0 ** (int(exponent or 0) - len(mantissa.partition(".")[2]))


def same_number(now: float, was: float, vanishing: float = 0.0, more: float = 0.0) -> bool:
    """Equal to RELATIVE of themselves, NUMBER_FLOOR and `more`."""
    size = max(abs(now), abs(was))
    return abs(now - was) <= RELATIVE * size + NUMBER_FLOOR + more or size < vanishing


def differences(new: Any, old: Any, vanishing: float = 0.0, place: str = "") -> list[str]:
    """Places of two nested structures that differ. What is new beside what was there is no difference."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        lost = [f"{place}/{key} is missing" for key in old if key not in new]
        kept = [key for key in old if key in new]
        return [*lost, *(line for key in kept for line in differences(new[key], old[key], vanishing, f"{place}/{key}"))]
    if isinstance(old, list | tuple) and isinstance(new, list | tuple):
        if len(new) != len(old):
            return [f"{place} has {len(new)} entries and had {len(old)}"]
        pairs = enumerate(zip(new, old, strict=True))
        return [line for k, (a, b) in pairs for line in differences(a, b, vanishing, f"{place}/{k}")]
    if isinstance(old, float) and isinstance(new, float | int) and not isinstance(new, bool):
        return [] if same_number(new, old, vanishing) or new == old else [f"{place} is {new!r} and was {old!r}"]
    return [] if type(new) is type(old) and new == old else [f"{place} is {new!r} and was {old!r}"]


def file_differences(new: Path, old: Path, vanishing: float = 0.0) -> list[str]:
    """The same of two files of equal kind: JSON, Parquet, or text."""
    if not new.is_file():
        return [f"{new.name} was not written"]
    if old.suffix == ".json":
        return differences(thinned(json.loads(new.read_text())), json.loads(old.read_text()), vanishing)
    if old.suffix == ".parquet":
        return differences(pq.read_table(new).to_pydict(), pq.read_table(old).to_pydict(), vanishing)
    return text_differences(new.read_text(), old.read_text(), vanishing, columns=old.suffix == ".md")


def thinned(content: Any) -> Any:
    """JSON with every fiftieth entry of long lists (spectra); what is frozen is so thinned."""
    if isinstance(content, dict):
        return {key: thinned(value) for key, value in content.items()}
    if isinstance(content, list):
        return [thinned(value) for value in content[:: 50 if len(content) > 400 else 1]]
    return content
