"""Text of strangers: ids and names that every format and file system can hold."""

from __future__ import annotations

import csv
import io
import json
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open

from voigt.errors import InputError
from voigt.text import (
    MOST_LETTERS,
    OTHER_LAYOUT,
    csv_cell,
    file_stem,
    one_line,
    plain_id,
    plain_reason,
    printable,
)

NAMES = [
    "../../etc/passwd",
    "..",
    ".",
    "",
    "/",
    "/etc/passwd",
    "a/../b",
    "a\\b",
    "~",
    "-rf",
    "a\x00b",
    "a\nb",
    "...",
    ".hidden",
    "con",
    "NUL.txt",
    "x" * 5000,
    "é" * 300,
    "𝔘" * 300,
    "$(rm)",
    "a b;c",
    "\ud800",
    "C:\\x",
    "a.",
]
GOOD = ["mp-1143", "a b", "Fe₂O₃", "東京", "x=1", "<b>", 'a"b', "\ufffe", "a\u00a0b", "😀", ""]
BREAKING = ["\n", "\r", "\t", "\x00", "\x1b", "\x7f", "\x85", "\u2028", "\u2029", "\u202e", "\u200b", "\ud800"]


@pytest.mark.parametrize("text", GOOD)
def test_good_ids_stay(text):
    assert plain_id(text) == one_line(text) == text


@pytest.mark.parametrize("sign", BREAKING)
def test_signs_that_break_files_or_terminals(sign):
    assert plain_id(f"a{sign}b") == "a?b"


def test_long_ids_stay_different():
    long = [plain_id("x" * 5000 + end) for end in "ab"]
    assert long[0] != long[1]
    assert {len(name) for name in long} == {MOST_LETTERS}
    assert long[0].startswith("xxx")


@pytest.mark.parametrize(
    "text", ["=cmd|' /C calc'!A0", "+1+1", "-2+3", "@SUM(A1)", "＝1", "\t=1", '=HYPERLINK("http://x")']
)
def test_formulas_begin_with_an_apostrophe(text):
    assert csv_cell(text) == f"'{text}"
    stream = io.StringIO()
    csv.writer(stream).writerow([csv_cell(text)])
    assert next(csv.reader(io.StringIO(stream.getvalue(), newline=""))) == [f"'{text}"]


@pytest.mark.parametrize("text", ["-1.5", "+2", "-1e-5", "-.5", "-", "mp-1", "a=b", "", "'x"])
def test_numbers_and_other_text_stay(text):
    assert csv_cell(text) == text


@pytest.mark.parametrize("name", NAMES)
def test_file_names_stay_in_their_folder(tmp_path: Path, name: str):
    stem = file_stem(name)
    path = tmp_path / stem
    assert path.resolve().parent == tmp_path.resolve()
    path.mkdir()  # the file system takes it
    assert not stem.startswith(".")
    assert len(stem.encode()) <= 201
    assert (tmp_path / f"BORN_{stem}").resolve().parent == tmp_path.resolve()


def raised(action: Callable[[], object]) -> Exception:
    with pytest.raises(Exception) as caught:  # noqa: PT011 - of many kinds
        action()
    return caught.value


@pytest.mark.parametrize(
    ("action", "reason"),
    [
        (lambda: float("1.x"), "'1.x' is not a number"),
        (lambda: float(np.str_("1.x")), "'1.x' is not a number"),
        (lambda: np.array(["1.x"]).astype(float), "'1.x' is not a number"),
        (lambda: float(""), "'' is not a number"),
        (lambda: int("0.75"), "'0.75' is not a whole number"),
        (lambda: int("a\u202e"), "'a\\u202e' is not a whole number"),
        (lambda: bytes([255]).decode("utf-8"), "it is not UTF-8 text"),
        (lambda: int("9" * 5000), "a number in it is too long"),
        (lambda: json.loads("9" * 5000), "a number in it is too long"),
        (lambda: {}["cell"], "cell is missing"),
        (lambda: {}["\x1b[31m"], OTHER_LAYOUT),
        (lambda: np.array([[1.0], [1.0, 2.0]]), OTHER_LAYOUT),
        (lambda: np.zeros(4).reshape(3, 3), OTHER_LAYOUT),
        (lambda: np.zeros(4) + np.zeros(3), OTHER_LAYOUT),
        (lambda: np.eye(3) @ np.eye(2), OTHER_LAYOUT),
        (lambda: dict([(1, 2, 3)]), "dictionary update sequence element #0 has length 3; 2 is required"),
        (lambda: list(range(2))[2], OTHER_LAYOUT),
        (len, OTHER_LAYOUT),
        (lambda: np.linalg.inv(np.zeros((3, 3))), OTHER_LAYOUT),
        (lambda: next(iter(())), OTHER_LAYOUT),
        (lambda: zlib.decompress(b"\x78\x9c\x07\x07\x07"), "what is packed in it is damaged"),
        (lambda: Path("absent").read_bytes(), "No such file or directory"),
    ],
)
def test_reasons_of_libraries_in_plain_words(action: Callable[[], object], reason: str):
    assert plain_reason(raised(action)) == reason


def test_our_own_sentences_stay():
    assert plain_reason(InputError("columns of dtype x; write floats")) == "columns of dtype x; write floats"


def test_a_header_of_safetensors_without_a_kind_of_numbers(tmp_path: Path):
    header = json.dumps({"a": {"shape": [1], "data_offsets": [0, 4]}}).encode()
    (tmp_path / "m").write_bytes(len(header).to_bytes(8, "little") + header + bytes(4))
    assert plain_reason(raised(lambda: safe_open(tmp_path / "m", framework="np"))) == OTHER_LAYOUT


def test_long_reasons_are_short_and_quick():
    start = time.perf_counter()
    assert len(plain_reason(ValueError("x" * 1_000_000))) < 1100
    assert len(printable("y" * 1_000_000)) < 1100
    assert time.perf_counter() - start < 2
