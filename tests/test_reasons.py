"""What libraries say about broken files becomes words about the file."""

from __future__ import annotations

import json
import math
import pickle
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open

from voigt.errors import InputError
from voigt.reasons import OTHER_LAYOUT, plain_reason
from voigt.text import printable


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
        (lambda: float(" Mg O \n"), "'Mg O' is not a number"),
        (lambda: float(""), "'' is not a number"),
        (lambda: int("0.75"), "'0.75' is not a whole number"),
        (lambda: int("a\u202e"), "'a\\u202e' is not a whole number"),
        (lambda: np.longdouble("x.y"), "x.y is not a number"),
        (lambda: 1.0 / 0.0, "a number in it is zero that must not be"),
        (lambda: math.log(0.0), "a number in it is zero that must not be"),
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
        (lambda: np.zeros(1, [("a", float), ("b", float)]).__setitem__(0, (1.0,)), OTHER_LAYOUT),
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


def test_the_text_of_an_error_is_one_line_whatever_it_quotes():
    error = InputError("a\nb \x1b[31m \u202e; remove it")
    assert str(error) == str(pickle.loads(pickle.dumps(error))) == "a?b ?[31m ?; remove it"
