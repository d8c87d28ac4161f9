"""Ways to spoil a file: bytes, words, numbers, lines, characters, nesting, values of JSON, cells of crystals.

Every function takes a random generator and gives new content; the same seed gives the same content everywhere.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from random import Random
from typing import Any

from tests.fuzz.crystals import Crystal

Spoil = Callable[[Random, bytes], bytes]

LARGEST = 3_000_000
"""Bytes of a spoiled file: the harness looks for what a small file can do."""

NUMBERS = (
    "0", "-1", "-0.0", "nan", "inf", "-inf", "1e308", "-1e308", "1e-308", "1e400", "9" * 5000, "", "word", "1" * 20,
    "2147483648", "18446744073709551616", "1e5", "1e9", "1e-9", "0.5", "?", ".", "1/3", "1.0(3)", "1,5", "0x10",
    "1_000", "\u0663", "--1", "1e", "+", "1.5.2", "1d3", "true", "None", "'0'",
)  # fmt: skip
WORDS = (
    "Xx", "D", "X", "MG", "na", "Na+", "Fe3+", "Na0.5K0.5", "H1", "Q", "T", "F", "", "'", '"', ";", "#", "%", "=", "{}",
    "[]", "()", "$(touch canary)", "`touch canary`", "../../canary", "%s%n", "=1+1", "<b>", "&xxe;", "loop_", "data_",
    "\\", "/dev/null", "/dev/zero", "/etc/hostname", "NULL", "nan", "_", "a" * 3000, "!!python/object:os.system",
)  # fmt: skip
CHARACTERS = (
    b"\x00", b"\x1b[31m", b"\x1b]0;x\x07", b"\x07", b"\r", b"\x0b", b"\x0c", b"\xc2\x85", b"\xe2\x80\xa8",
    b"\xe2\x80\xae",
    b"\xe2\x81\xa6", b"\xef\xbb\xbf", b"\xff", b"\xfe\xff", b"\xed\xa0\x80", b"\xf0\x9f\x92\x8e", b"\xcc\x81",
    b"\xc2\xa0",
    b"\xef\xbc\x91", b"\xe2\x88\x92", b"\x7f", b"\x1a", b"\n", b"\t", b"\xc3",
)  # fmt: skip
_NUMBER = re.compile(rb"(?<![\w.])[-+]?\d+(?:\.\d*)?(?:[eE][-+]?\d+)?")
_WORD = re.compile(rb"[^\s\"'=,:]+")


def _cut(rng: Random, data: bytes, most: int = 400) -> tuple[int, int]:
    start = rng.randrange(len(data) + 1)
    return start, min(len(data), start + rng.randint(1, most))


# Bytes


def flip(rng: Random, data: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 3, 20)) if data else 0):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def insert(rng: Random, data: bytes) -> bytes:
    place = rng.randrange(len(data) + 1)
    return data[:place] + rng.randbytes(rng.choice((1, 4, 50))) + data[place:]


def delete(rng: Random, data: bytes) -> bytes:
    start, end = _cut(rng, data)
    return data[:start] + data[end:]


def truncate(rng: Random, data: bytes) -> bytes:
    return data[: rng.randrange(len(data) + 1)]


def behead(rng: Random, data: bytes) -> bytes:
    return data[rng.randrange(len(data) + 1) :]


def duplicate(rng: Random, data: bytes) -> bytes:
    start, end = _cut(rng, data)
    return data[:end] + data[start:end] * rng.choice((1, 2, 50)) + data[end:]


def move(rng: Random, data: bytes) -> bytes:
    start, end = _cut(rng, data)
    rest, place = data[:start] + data[end:], rng.randrange(len(data) - (end - start) + 1)
    return rest[:place] + data[start:end] + rest[place:]


def blank(rng: Random, data: bytes) -> bytes:
    start, end = _cut(rng, data)
    return data[:start] + rng.choice((b"\x00", b" ", b"\xff", b"0")) * (end - start) + data[end:]


BYTES: tuple[Spoil, ...] = (flip, insert, delete, truncate, behead, duplicate, move, blank)

# Words and numbers


def number(rng: Random, data: bytes) -> bytes:
    """One number becomes another kind of thing."""
    found = list(_NUMBER.finditer(data))
    if not found:
        return data
    chosen = rng.choice(found)
    return data[: chosen.start()] + rng.choice(NUMBERS).encode() + data[chosen.end() :]


def size_of_number(rng: Random, data: bytes) -> bytes:
    """One number is scaled or counts one more or less, and stays a number."""
    found = list(_NUMBER.finditer(data))
    if not found:
        return data
    chosen = rng.choice(found)
    text = chosen.group().decode()
    factor = rng.choice((-1.0, 0.0, 0.1, 1e-3, 1e-6, 10.0, 1e3, 1e6, 1e10))
    if "." in text or "e" in text.lower():
        text = repr(float(text) * factor)
    else:
        text = str(rng.choice((int(text[:15]) + 1, int(text[:15]) - 1, int(int(text[:15]) * factor), 10**6, 10**9)))
    return data[: chosen.start()] + text.encode() + data[chosen.end() :]


def all_numbers(rng: Random, data: bytes) -> bytes:
    """Every number of a part becomes the same."""
    start, end = _cut(rng, data, 2000)
    value = rng.choice(NUMBERS[:10] + NUMBERS[11:]).encode()
    return data[:start] + _NUMBER.sub(value.replace(b"\\", b""), data[start:end]) + data[end:]


def word(rng: Random, data: bytes) -> bytes:
    found = list(_WORD.finditer(data))
    if not found:
        return data
    chosen = rng.choice(found)
    other = rng.choice(found).group() if rng.random() < 0.4 else rng.choice(WORDS).encode()
    return data[: chosen.start()] + other + data[chosen.end() :]


TOKENS: tuple[Spoil, ...] = (number, number, size_of_number, size_of_number, all_numbers, word, word)

# Lines


def swap_lines(rng: Random, data: bytes) -> bytes:
    lines = data.splitlines(keepends=True)
    if len(lines) > 1:
        i, j = rng.randrange(len(lines)), rng.randrange(len(lines))
        lines[i], lines[j] = lines[j], lines[i]
    return b"".join(lines)


def drop_line(rng: Random, data: bytes) -> bytes:
    lines = data.splitlines(keepends=True)
    if lines:
        start = rng.randrange(len(lines))
        del lines[start : start + rng.choice((1, 1, 2, 5))]
    return b"".join(lines)


def repeat_line(rng: Random, data: bytes) -> bytes:
    lines = data.splitlines(keepends=True)
    if lines:
        chosen = rng.randrange(len(lines))
        times = min(rng.choice((1, 2, 10, 1_000, 10_000)), LARGEST // (len(lines[chosen]) or 1))
        lines[chosen:chosen] = [lines[chosen]] * times
    return b"".join(lines)


def cut_line(rng: Random, data: bytes) -> bytes:
    lines = data.splitlines(keepends=True)
    if lines:
        chosen = rng.randrange(len(lines))
        words = lines[chosen].split(b" ")
        words[rng.randrange(len(words)) :] = [] if rng.random() < 0.5 else [b"\n"]
        lines[chosen] = b" ".join(words)
    return b"".join(lines)


def join_lines(rng: Random, data: bytes) -> bytes:
    places = [place for place, byte in enumerate(data) if byte == 10]
    if not places:
        return data
    place = rng.choice(places)
    return data[:place] + b" " + data[place + 1 :]


def odd_line(rng: Random, data: bytes) -> bytes:
    lines = data.splitlines(keepends=True)
    text = rng.choice(
        (b"\n", b" \n", b"#\n", b";\n", b"'\n", b'"""\n', b"0\n", b"1\n", b"a b c\n", b"1 2 3\n", b"x" * 100_000)
    )
    lines.insert(rng.randrange(len(lines) + 1), text)
    return b"".join(lines)


LINES: tuple[Spoil, ...] = (swap_lines, drop_line, repeat_line, cut_line, join_lines, odd_line)

# Characters


def character(rng: Random, data: bytes) -> bytes:
    place = rng.randrange(len(data) + 1)
    return data[:place] + rng.choice(CHARACTERS) + data[place:]


def encoding(rng: Random, data: bytes) -> bytes:
    kind = rng.choice(("utf-16", "utf-32", "crlf", "cr", "bom", "double"))
    if kind in ("utf-16", "utf-32"):
        return data.decode("utf-8", "replace").encode(kind)
    if kind == "double":
        return data.decode("latin-1").encode()
    return {"crlf": data.replace(b"\n", b"\r\n"), "cr": data.replace(b"\n", b"\r"), "bom": b"\xef\xbb\xbf" + data}[kind]


def nested(rng: Random, data: bytes) -> bytes:
    """Brackets of one kind, deeper than any stack."""
    depth = rng.choice((300, 5_000, 100_000))
    left, right = rng.choice(
        ((b"[", b"]"), (b"{", b"}"), (b"(", b")"), (b'{"a":', b"}"), (b"<a>", b"</a>"), (b"- ", b""))
    )
    middle = b"1" if rng.random() < 0.5 else b""
    text = left * depth + middle + (right * depth if rng.random() < 0.7 else b"")
    if rng.random() < 0.3:
        return text
    start, end = _cut(rng, data, 20)
    return data[:start] + text + data[end:]


TEXTS: tuple[Spoil, ...] = (character, character, character, encoding, nested)

# Several at once


def spoiled(rng: Random, data: bytes, binary: bool = False) -> bytes:
    """One to four changes; of a binary file mostly of its bytes."""
    groups = (BYTES,) if binary else (BYTES, TOKENS, TOKENS, TOKENS, LINES, LINES, TEXTS)
    for _ in range(rng.choice((1, 1, 1, 2, 2, 4))):
        data = rng.choice(rng.choice(groups))(rng, data)[:LARGEST]
    return data


# JSON

VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2**31, 10**30, 1.5, -0.0, 1e308, float("nan"), float("inf"), "", "Na", "word", "\x00",
    "\ud800", "\x1b[31m", "a\nb", "\u202e", [], {}, [[]], [1], [None], ["Na"], {"a": 1}, [[0, 0, 0]], "1.5",
    [[1, 0, 0], [0, 1, 0], [0, 0, 1]], {"__ndarray__": [[3], "object", ["a", "b", "c"]]},
    {"@module": "os", "@class": "system", "@version": "touch canary"}, {"@module": "builtins", "@class": "open"},
    {"__complex__": [1, 2]}, {"__class__": "os.system"}, "x" * 100_000, list(range(2000)),
)  # fmt: skip


def _places(value: Any, parents: list[tuple[Any, Any]]) -> list[tuple[Any, Any]]:
    """Containers with each of their keys or positions, of a whole tree."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in list(items):
        parents.append((value, key))
        _places(inner, parents)
    return parents


def json_value(rng: Random, value: Any) -> Any:
    """A copy with one to three places changed: another type, gone, doubled, renamed, swapped with another."""
    value = json.loads(json.dumps(value))
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        places = _places(value, [])
        if not places:
            return deepcopy(rng.choice(VALUES))
        # A place of a level that is chosen first, so that long lists of numbers do not take all.
        owner, key = rng.choice(places if rng.random() < 0.4 else places[: max(8, len(places) // 10)])
        change = rng.randrange(6)
        if change == 0:
            del owner[key]
        elif change == 1 and isinstance(owner, dict):
            owner[rng.choice((*WORDS, "id", f"{key}2"))] = owner.pop(key)
        elif change == 1:
            owner.insert(key, owner[key])
        elif change == 2:
            other, place = rng.choice(places)
            owner[key] = json.loads(
                json.dumps(other.get(place) if isinstance(other, dict) else other[place : place + 1])
            )
        else:
            owner[key] = deepcopy(rng.choice(VALUES))  # which later changes may spoil, or make hold itself
    return value


def json_text(value: Any) -> bytes:
    return json.dumps(value).encode("utf-8", "surrogatepass")


# Crystals


def crystal(rng: Random, given: Crystal) -> Crystal:
    """Another cell, or atoms at odd places: needles, plates, flat cells, coincident, countless or distant atoms."""
    cell = [list(row) for row in given.cell]
    axis, power = rng.randrange(3), rng.choice((-12, -9, -6, -4, -3, -2, -1, 1, 2, 3, 4, 6, 9, 15, 100))
    change = rng.randrange(14)
    if change == 0:  # needle or plate
        cell[axis] = [10.0**power * x for x in cell[axis]]
    elif change == 1:
        cell = [[10.0**power * x for x in row] for row in cell]
    elif change == 2:  # nearly flat
        share, slip = rng.choice((0.0, 1e-15, 1e-12, 1e-9, 1e-6, 1e-3)), rng.uniform(-3, 3)
        cell[axis] = [slip * a + share * b for a, b in zip(cell[axis - 1], cell[axis], strict=True)]
    elif change == 3:  # sheared
        slip = rng.choice((5.0, 50.0, 1e3, 1e5, 1e9))
        cell[axis] = [b + slip * a for a, b in zip(cell[axis - 1], cell[axis], strict=True)]
    elif change == 4:
        cell[axis] = [rng.choice((0.0, 0.0, float("nan"), float("inf")))] * 3
    elif change == 5:
        cell[axis] = [-x for x in cell[axis]]
    elif change == 6:  # a needle and a plate that keep the volume
        cell[axis] = [10.0**power * x for x in cell[axis]]
        cell[axis - 1] = [10.0**-power * x for x in cell[axis - 1]]
    elif change == 7:
        cell = [[rng.uniform(-10, 10) for _ in range(3)] for _ in range(3)]
    frac = [list(row) for row in given.frac]
    symbols = list(given.symbols)
    if change == 8:
        frac = [frac[0]] * len(frac)
    elif change == 9:
        frac[0] = [rng.choice((float("nan"), 1e300, float("inf"), 1e10, -1e5, 1e-320))] * 3
    elif change == 10:
        many = rng.choice((30, 300, 2000))
        frac = [[rng.random() for _ in range(3)] for _ in range(many)]
        symbols = [rng.choice(given.symbols) for _ in range(many)]
        stretch = rng.choice((1.0, (many / 2) ** (1 / 3)))
        cell = [[stretch * x for x in row] for row in cell]
    elif change == 11:
        symbols[0] = rng.choice(("X", "Xx", "D", "H", "Og", "He", "Q", "mg", "Mg2+", ""))
    elif change == 12:
        frac, symbols = frac[:1], symbols[:1]
    elif change == 13:
        shift = rng.choice((1e-9, 1e-4, 3e-3, 0.02))
        frac = [[x + rng.uniform(-shift, shift) for x in row] for row in frac]
    return replace(given, cell=tuple(map(tuple, cell)), frac=tuple(map(tuple, frac)), symbols=tuple(symbols))
