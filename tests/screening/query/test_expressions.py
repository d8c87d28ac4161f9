"""The grammar against Python's own evaluation, missing values, and what must be refused."""

from __future__ import annotations

import itertools
import math
import pickle
import re
import time
from collections.abc import Sequence

import numpy as np
import pytest

from voigt.errors import InputError
from voigt.screening.query.derived import known_names
from voigt.screening.query.expressions import evaluate, parse, unknown
from voigt.screening.query.grammar import COMPARISONS, EXTREMES, FUNCTIONS

NAMES = ("band_gap", "volume", "eps_total", "density")
PYTHON = {"__builtins__": {}, "abs": abs, "min": min, "max": max, "sqrt": math.sqrt, "exp": math.exp, "true": True}


def number(rng: np.random.Generator, depth: int, signs: Sequence[str] = ("+", "-", "*", "/", "**")) -> str:
    """A random formula, with as few parentheses as chance wants."""
    if depth == 0:
        return str(rng.choice([*NAMES, "2.0", "0.5", "3.", ".25", "1e-1"]))
    inner = [number(rng, depth - int(rng.integers(1, depth + 1)), signs) for _ in range(2)]
    kind = rng.integers(10)
    if kind < 6:
        return f"{inner[0]} {rng.choice(signs)} {inner[1]}"
    if kind < 7:
        return f"{rng.choice(['-', '+'])}{inner[0]}"
    if kind < 9:
        return f"({inner[0]})"
    function = rng.choice(["abs", "min", "max", "sqrt", "exp"])
    return f"{function}({', '.join(inner) if function in EXTREMES else inner[0]})"


def condition(rng: np.random.Generator, depth: int) -> str:
    if depth == 0:
        operators = rng.choice(COMPARISONS, size=rng.integers(1, 4))
        signs = ("+", "-", "*", "/")  # powers would make complex numbers, which Python cannot order
        return "".join(f"{number(rng, 1, signs)} {operator} " for operator in operators) + number(rng, 1, signs)
    inner = [condition(rng, depth - int(rng.integers(1, depth + 1))) for _ in range(2)]
    kind = rng.integers(6)
    if kind < 4:
        return f" {rng.choice(['and', 'or'])} ".join(inner)
    return f"not {inner[0]}" if kind == 4 else f"({inner[0]})"


def columns(seed: int, count: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    # Halves, so that == and <= meet equal values.
    return {name: rng.integers(-4, 5, size=count) / 2 for name in NAMES}


def test_numbers_as_python_reckons_them():
    rng = np.random.default_rng(1)
    values = columns(2, 8)
    compared = 0
    for _ in range(600):
        text = number(rng, int(rng.integers(1, 6)))
        written = text.replace("**", str(rng.choice(["^", "**"])))
        ours = np.broadcast_to(evaluate(parse(written), values), 8)
        for row in range(8):
            local = {name: float(value[row]) for name, value in values.items()}
            try:
                expected = eval(text, PYTHON, local)
            except (ZeroDivisionError, OverflowError, ValueError, TypeError):
                continue  # here we say inf or nan; complex numbers cannot be ordered
            if not isinstance(expected, complex) and math.isfinite(expected):
                assert ours[row] == pytest.approx(expected, rel=1e-12, abs=1e-300), text
                compared += 1
    assert compared > 2000


def test_conditions_as_python_judges_them():
    rng = np.random.default_rng(3)
    values = columns(4, 8)
    seen = [0, 0]
    for _ in range(600):
        text = condition(rng, int(rng.integers(0, 5)))
        ours = np.broadcast_to(evaluate(parse(text, kind="truth"), values), 8)
        assert ours.dtype == bool
        for row in range(8):
            local = {name: float(value[row]) for name, value in values.items()}
            try:
                expected = eval(text, PYTHON, local)
            except (ZeroDivisionError, ValueError):
                continue
            assert bool(ours[row]) is bool(expected), text
            seen[bool(expected)] += 1
    assert min(seen) > 500


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("-2 ^ 2", -4),
        ("2 ^ 3 ^ 2", 512),
        ("2 ^ -1", 0.5),
        ("2 - 3 - 4", -5),
        ("16 / 4 / 2", 2),
        ("--3", 3),
        ("- -3 * -+2", -6),
        ("log10(1000) + log(exp(2))", 5),
        ("min(3, 1, 2) + max(3, 1, 2)", 4),
        ("1.5e1 + .5", 15.5),
    ],
)
def test_numbers_in_closed_form(text: str, value: float):
    assert evaluate(parse(text), {}) == pytest.approx(value)


def test_words_bind_as_in_python():
    assert evaluate(parse("true or false and false"), {})
    assert evaluate(parse("not false and true"), {})
    assert not evaluate(parse("not (true or false)"), {})
    assert evaluate(parse("1 < 2 < 3 != 4"), {})
    assert not evaluate(parse("1 < 3 < 2"), {})
    assert evaluate(parse("not 1 > 2"), {})


def test_what_an_expression_needs():
    found = parse('eps_total_max / refractive_index ^ 2 > 3 and not has("Pb") or num_atoms < 9 and band_gap_spread < 1')
    assert found.kind == "truth"
    assert found.names == {
        "eps_total_max", "refractive_index", 'has("Pb")', "num_atoms", "band_gap_spread",
    }  # fmt: skip
    assert found.properties == {"eps_total", "eps_inf", "band_gap"}
    assert parse("elastic_anisotropy * bulk_modulus").properties == {"elastic"}
    assert parse("density").properties == frozenset()
    assert parse("density").kind == "number"


def three_valued(text: str, a: bool | None, b: bool | None) -> bool | None:
    """Kleene's strong logic: an unknown that cannot change the result does not matter."""
    outcomes = {
        eval(text, {"__builtins__": {}}, {"a": first, "b": second})
        for first in ((a,) if a is not None else (True, False))
        for second in ((b,) if b is not None else (True, False))
    }
    return outcomes.pop() if len(outcomes) == 1 else None


@pytest.mark.parametrize("text", ["a", "not a", "a and b", "a or b", "not (a and b)", "not a or b", "not not a"])
def test_truth_has_three_values(text: str):
    expression = parse(re.sub(r"\bb\b", "volume > 1", re.sub(r"\ba\b", "band_gap > 1", text)))
    number_of = {True: 2.0, False: 0.0, None: np.nan}
    cases = list(itertools.product([True, False, None], repeat=2))
    values = {
        "band_gap": np.array([number_of[a] for a, _ in cases]),
        "volume": np.array([number_of[b] for _, b in cases]),
    }
    true, vague = evaluate(expression, values), unknown(expression, values)
    for row, (a, b) in enumerate(cases):
        expected = three_valued(text, a, b)
        assert true[row] == (expected is True)
        assert vague[row] == (expected is None)


@pytest.mark.parametrize("operator", COMPARISONS)
def test_nothing_can_be_said_of_a_missing_value(operator: str):
    values = {"band_gap": np.array([np.nan, 1.0]), "volume": np.array([1.0, np.nan])}
    for text in (
        f"band_gap {operator} volume",
        f"not band_gap {operator} volume",
        f"0 < 1 {operator} volume * band_gap",
    ):
        assert not evaluate(parse(text), values).any()
        assert unknown(parse(text), values).all()


@pytest.mark.parametrize("text", ["x ^ 0", "1 ^ x", "min(x, 0)", "max(0, x)", "abs(x)", "0 * x", "x - x", "exp(-x)"])
def test_a_missing_value_stays_missing(text: str):
    expression = parse(re.sub(r"\bx\b", "volume", text))
    assert np.isnan(evaluate(expression, {"volume": np.array([np.nan])})).all()
    assert unknown(expression, {"volume": np.array([np.nan])}).all()


def test_what_is_selected_holds_whatever_the_missing_value_is():
    rng = np.random.default_rng(5)
    complete = columns(6, 20)
    decided = 0
    for _ in range(200):
        expression = parse(condition(rng, 3))
        gone = {name: np.where(rng.random(20) < 0.3, np.nan, value) for name, value in complete.items()}
        sure = evaluate(expression, gone)
        for seed in range(5):
            other = columns(100 + seed, 20)
            filled = {name: np.where(np.isnan(value), other[name], value) for name, value in gone.items()}
            assert evaluate(expression, filled)[sure].all(), expression.text
        decided += int(sure.sum())
    assert decided > 300


def test_division_by_zero_and_overflow_do_not_warn():
    values = {"band_gap": np.array([0.0, 1.0, -1.0])}
    np.testing.assert_array_equal(evaluate(parse("1 / band_gap"), values), [np.inf, 1, -1])
    np.testing.assert_array_equal(evaluate(parse("0 / band_gap"), values), [np.nan, 0, 0])
    np.testing.assert_array_equal(evaluate(parse("10 ^ (400 * abs(band_gap))"), values), [1, np.inf, np.inf])
    np.testing.assert_array_equal(evaluate(parse("9 ^ 9 ^ 9 ^ 9"), {}), np.inf)
    np.testing.assert_array_equal(evaluate(parse("1e999 > band_gap"), values), [True, True, True])
    np.testing.assert_array_equal(evaluate(parse("sqrt(band_gap) >= 0"), values), [True, True, False])
    np.testing.assert_array_equal(evaluate(parse("not sqrt(band_gap) >= 0"), values), [False, False, False])
    np.testing.assert_array_equal(evaluate(parse("log(band_gap) < 0"), values), [True, False, False])


def test_elements():
    key = 'has("Pb")'
    expression = parse("not has( 'Pb' ) and band_gap > 1")
    assert key in expression.names
    values = {key: np.array([0.0, 1.0, np.nan]), "band_gap": np.array([2.0, 2.0, 2.0])}
    np.testing.assert_array_equal(evaluate(expression, values), [True, False, False])
    np.testing.assert_array_equal(unknown(expression, values), [False, False, True])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("eps_totl > 20", "--where: unknown name 'eps_totl' at column 1; did you mean eps_total"),
        ("band_gap > 3 and\n spacegrop == 1", "unknown name 'spacegrop' at column 19; did you mean spacegroup?"),
        ("band_gap > 3 AND volume > 2", "unexpected 'AND' at column 14"),
        ("NOT band_gap > 3", "unknown name 'NOT' at column 1; did you mean not?"),
        ("elastic > 3", "unknown name 'elastic' at column 1; it is a tensor, choose one of bulk_modulus, "),
        ("piezo_total > 3", "it is a tensor, choose one of piezo_total_max, piezo_total_norm"),
        ("band_gap = 3", "'=' at column 10; write == to compare"),
        ("band_gap > 1 && volume > 2", "'&&' at column 14; write and"),
        ("band_gap ≥ 1", "'≥' at column 10; write >="),
        ("band_gap > 3eV", "'3eV' at column 12 is no number; write plain ones without units"),
        ("band_gap > 1.2.3", "'1.2.3' at column 12 is no number"),
        ("band_gap >", "expected at column 11, not end of the expression"),
        ("(band_gap > 1", "')' expected at column 14 to close the '(' of column 1"),
        ("band_gap > 1)", "unexpected ')' at column 13"),
        ("band_gap volume", "unexpected 'volume' at column 10"),
        ("band_gap and volume > 1", "the number at column 1 stands where a condition is needed"),
        ("volume > 1 or band_gap", "the number at column 15 stands where a condition is needed"),
        ("not band_gap", "the number at column 5 stands where a condition is needed"),
        ("(band_gap > 1) + 2 > 1", "the condition at column 1 stands where a number is needed"),
        ("sqrt(band_gap > 1) > 1", "the condition at column 6 stands where a number is needed"),
        ("band_gap < true", "the condition at column 12 stands where a number is needed"),
        ("sqrt(1, 2) > 1", "sqrt at column 1 takes one number, not 2"),
        ("max(1) > 1", "max at column 1 takes two numbers or more, not 1"),
        ("max > 1", "'(' expected at column 5 after max, not '>'"),
        ("sqr(2) > 1", "'sqr' at column 1 is no function; did you mean sqrt?"),
        ("band_gap(2) > 1", "'band_gap' at column 1 is no function; there are abs, sqrt"),
        ("has(Pb)", "has takes an element in quotation marks, e.g. has(\"Pb\"), not 'Pb' at column 5"),
        ("has('pb')", "'pb' at column 5 is no element; did you mean \"Pb\"?"),
        ("has('X')", "'X' at column 5 is no element; write a chemical symbol"),
        ("has('Pb)", "quotation mark at column 5 without its partner"),
        ("'Pb' > 1", "a name, a number or '(' expected at column 1"),
        ("  ", "empty expression"),
        ("band_gap", "'band_gap' is a number; write a condition"),
    ],
)
def test_faults_are_named_with_their_place(text: str, message: str):
    with pytest.raises(InputError) as caught:
        parse(text, "--where", "truth")
    assert message in str(caught.value)
    assert str(caught.value).startswith("--where: ")
    assert "\n" not in str(caught.value)


def test_a_formula_is_no_condition():
    with pytest.raises(InputError, match="--rank: 'band_gap > 1' is a condition; write a formula that gives a number"):
        parse("band_gap > 1", "--rank", "number")


HOSTILE = {
    "import": "__import__('os').system('true')",
    "attributes": "().__class__.__bases__[0].__subclasses__()",
    "lambda": "(lambda: 1)()",
    "string": "f'{1}'",
    "attribute of a name": "band_gap.__class__",
    "item": "band_gap[0]",
    "assignment": "(band_gap := 3) > 1",
    "semicolon": "1; 2",
    "open parentheses": "(" * 100_000,
    "closed parentheses": "(" * 50_000 + "1" + ")" * 50_000,
    "short parentheses": "(" * 190 + "1" + ")" * 190,
    "minus": "-" * 390 + "1",
    "not": "not " * 390 + "true",
    "powers": "2" + "^2" * 190,
    "functions": "abs(" * 90 + "1" + ")" * 90,
    "comparison in functions": "min(1," * 90 + "1" + ")" * 90,
    "long sum": "1" + "+1" * 50_000,
    "many operators": "1" + "+1" * 300,
    "digits and a letter": "1" * 3900 + "e",
    "digits and points": "1." * 1900,
    "null": "band_gap > \0",
    "line noise": "\x1b[31m > 1",
    "combining": "band_gap > 1\u0301",
    "full-width digits": "band_gap > \uff11",
    "Greek name": "\u03b5 > 1",
    "surrogate": "\ud800 > 1",
    "quotation marks": "'" * 3999,
    "comment": "band_gap > 1 # 2",
    "backslash": "\\x41 > 1",
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_texts_are_refused_at_once(text: str):
    start = time.process_time()
    with pytest.raises(InputError) as caught:
        parse(text, "--where")
    assert time.process_time() - start < 1.0  # a garbage collection may fall into it
    assert len(str(caught.value)) < 300
    assert str(caught.value).isprintable()


def test_the_largest_expression_can_be_used():
    text = "1" + "+1" * 199
    expression = parse(text)
    assert evaluate(expression, {}) == 200
    assert pickle.loads(pickle.dumps(expression)) == expression
    assert hash(expression) == hash(parse(text))
    nested = "(" * 30 + "band_gap > 1" + ")" * 30
    assert evaluate(parse(nested), {"band_gap": np.array([2.0])}).all()
    with pytest.raises(InputError, match="more than 400 words and signs"):
        parse(text + "+1")


def test_random_texts_are_understood_or_refused():
    rng = np.random.default_rng(7)
    pieces = ["band_gap", "1", "(", ")", "and", "or", "not", "-", "<", "==", "^", "has", "'Pb'", "min", ",", "@", "eps"]
    kinds = set()
    for _ in range(4000):
        text = " ".join(rng.choice(pieces, size=rng.integers(1, 7)))
        try:
            kinds.add(parse(text).kind)
        except InputError as error:
            kinds.add("refused" if "\n" not in str(error) else "broken")
    assert kinds == {"number", "truth", "refused"}


def test_no_scalar_is_named_like_a_word_of_the_grammar():
    assert not {*FUNCTIONS, *EXTREMES, "has", "and", "or", "not", "true", "false"} & set(known_names())


def test_columns_that_are_missing_are_named():
    with pytest.raises(InputError, match="needs volume; give a column for each"):
        evaluate(parse("band_gap > volume"), {"band_gap": np.zeros(2)})
