"""Text of strangers: ids and names that every format and file system can hold."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest

from voigt.text import MOST_LETTERS, csv_cell, file_stem, one_line, plain_id

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
