"""YAML of strangers: the values of yaml.safe_load, and one sentence for what is more than data or too much of it."""

from __future__ import annotations

import time

import numpy as np
import pytest
import yaml

from voigt import safe_yaml
from voigt.errors import InputError, RecipeError
from voigt.safe_yaml import load_yaml

TEXT = """\
# comment
phonopy:
  version: "2.4"
  frequency: .inf
numbers: [1, -2, +3, 0, 017, 0x1F, 1_000, 1.5, -0.5e+3, 1., 1:30]
words: [yes, No, ~, null, Null, "yes", 'it''s', a b, 1.2.3, "", =]
'<<': quoted
base: &base {x: 1, y: 2}
other: &other {x: 3, z: 4}
one: {<<: *base, x: 5}
both: {<<: [*base, *other], w: 6}
same: *base
? &key k
: *key
text: |
  two
  lines
empty:
"""


def test_values_are_those_of_yaml() -> None:
    expected = yaml.safe_load(TEXT.replace(", =]", ", '=']"))  # PyYAML itself knows no plain "="
    actual = load_yaml(TEXT, "a.yaml", InputError)
    assert actual == expected
    assert list(map(type, actual["numbers"])) == list(map(type, expected["numbers"]))
    assert actual["same"] is actual["base"]
    assert [load_yaml(text, "a.yaml", InputError) for text in ("", "---\n", "# nothing\n")] == [None] * 3


def test_dates_stay_text_and_exponents_are_numbers() -> None:
    assert load_yaml("[2024-01-01, 1e-5, 2E3]", "a.yaml", InputError) == ["2024-01-01", 1e-5, 2000.0]


def test_without_libyaml(monkeypatch: pytest.MonkeyPatch) -> None:
    fast = load_yaml(TEXT, "a.yaml", InputError)
    monkeypatch.setattr(safe_yaml, "_LOADER", yaml.SafeLoader)
    assert load_yaml(TEXT, "a.yaml", InputError) == fast
    with pytest.raises(InputError, match="nested more than 100 levels deep"):
        load_yaml("[" * 100_000, "a.yaml", InputError)


def multiplied(first: str, rest: str, levels: int, times: int) -> str:
    lines = [f"a0: &a0 {first}"]
    for level in range(1, levels):
        repeated = ", ".join([f"*a{level - 1}"] * times)
        lines.append(f"a{level}: &a{level} " + rest.format(repeated))
    return "\n".join(lines)


BAD = {
    "call": ("a: !!python/object/apply:os.getcwd []", "line 1: tag !!python/object/apply:os.getcwd asks for more"),
    "name": ("a:\n  !!python/name:os.getcwd ''", "line 2: tag !!python/name:os.getcwd"),
    "renamed": ("%TAG ! tag:yaml.org,2002:python/\n---\n!name:os.getcwd x", "tag !!python/name:os.getcwd"),
    "key": ("!!python/name:os.getcwd '' : 1", "tag !!python/name:os.getcwd"),
    "set": ("!!set {a, b}", "tag !!set"),
    "binary": ("!!binary aGk=", "tag !!binary"),
    "lists": (multiplied("[x, x, x, x]", "[{}]", 20, 10), "more than 20000000 values"),
    "merges": (multiplied("{x: 1}", "{{<<: [{}]}}", 20, 10), "more than 20000000 values"),
    "long": ("a: &a " + "x" * 100_000 + "\nb: [" + ", ".join(["*a"] * 20_000) + "]", "more than 20000000 values"),
    "brackets": ("[" * 100_000, "nest"),
    "braces": ("{a: " * 100_000, "nested more than 100 levels deep"),
    "dashes": ("- " * 100_000, "nested more than 100 levels deep"),
    "questions": ("? " * 100_000, "nested more than 100 levels deep"),
    "chain": (multiplied("[x]", "[{}]", 3000, 1), "aliases nest more than 100 levels deep"),
    "self": ("&a [*a]", r"alias \*a stands inside its own anchor"),
    "nowhere": ("*a", "alias|anchor"),
    "digits": ("a: " + "9" * 5000, "line 1: a number of 5000 characters"),
    "hex": ("a: 0x" + "f" * 1_000_000, "a number of 1000002 characters"),
    "decimals": ("a: 0." + "9" * 5000, "a number of 5002 characters"),
    "tagged": ("a: !!int abc", "abc is no int"),
    "documents": ("a: 1\n---\nb: 2", "line 2: a second document"),
    "list as key": ("? [1]\n: 2", "a list or mapping stands where a key should"),
    "merge": ("<<: 1", "<< takes a mapping"),
    "syntax": ("a: b: c", "not readable YAML, line 1"),
    "control": ("a: \x00", "not readable YAML"),
    "surrogate": ("a: \ud800", "not readable YAML"),
    "unfinished": ("a: [1, 2", "not readable YAML"),
}


@pytest.mark.parametrize("kind", BAD)
def test_one_sentence_at_once(kind: str) -> None:
    text, match = BAD[kind]
    start = time.process_time()
    with pytest.raises(RecipeError, match=match) as caught:
        load_yaml(text, "a.yaml", RecipeError)
    assert time.process_time() - start < 2
    assert str(caught.value).startswith("a.yaml")
    assert len(str(caught.value)) < 300
    assert str(caught.value).isprintable()


def test_keys_given_twice_and_other_bounds() -> None:
    assert load_yaml("a: 1\na: 2", "a.yaml", InputError) == {"a": 2}
    with pytest.raises(InputError, match="line 2: key a is given twice; keep one"):
        load_yaml("a: 1\na: 2", "a.yaml", InputError, unique_keys=True)
    assert load_yaml("[1, 2, 3]", "a.yaml", InputError, most_values=4) == [1, 2, 3]
    with pytest.raises(InputError, match="more than 3 values"):
        load_yaml("[1, 2, 3]", "a.yaml", InputError, most_values=3)


def test_forces_of_a_large_supercell_are_read_as_fast_as_by_yaml() -> None:
    rows = np.random.default_rng(0).normal(size=(10_000, 3))
    text = "forces:\n" + "".join(f"- [ {x:20.16f}, {y:20.16f}, {z:20.16f} ]\n" for x, y, z in rows)
    start = time.process_time()
    ours = load_yaml(text, "a.yaml", InputError)
    middle = time.process_time()
    theirs = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    end = time.process_time()
    assert ours == theirs
    assert middle - start < end - middle + 0.2
