"""Conditions and formulas over what a screening holds, e.g. `eps_total > 20 and band_gap > 3`.

    condition   or, and, not; comparisons < <= > >= == !=, also chained as in 5 < eps_total < 40; has("Pb"); true, false
    number      + - * / and ^ or ** for powers; abs sqrt log log10 exp of one number, min max of two or more
    names       scalars of `voigt.screening.query.derived`, see `names_table`

Precedence is Python's: powers bind tightest and from the right, then signs, products, sums, comparisons, not, and, or.

A text becomes a tree of frozen nodes, and nothing else is ever run. Truth has three values: a comparison with a missing
value (NaN) is unknown; `not` leaves it unknown; `and` and `or` are unknown unless the other side decides (Kleene). What
is unknown is never selected.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from voigt.errors import InputError
from voigt.screening.query.derived import DERIVED
from voigt.screening.query.grammar import SORTS, Apply, Compare, Kind, Name, Node, Number, Truth, kind_of, read, short

Array: TypeAlias = NDArray[np.float64]

_UNKNOWN = 0.5  # truth is 0, 1 or this: `and` is then the smaller, `or` the larger, `not` what is left to 1


@dataclass(frozen=True)
class Expression:
    """A text that was understood.

    Attributes
    ----------
    text
        As it was written.
    tree
        Its meaning.
    names
        Keys of the columns that it is evaluated on: names of `known_names()`, and `has("Pb")` as such.
    properties
        Declared properties that have to be predicted for it.
    kind
        "truth" for a condition, "number" for a formula.
    """

    text: str
    tree: Node
    names: frozenset[str]
    properties: frozenset[str]
    kind: Kind


def _power(base: Any, exponent: Any) -> Any:
    """Power that keeps missing values: C has 1 ** NaN = NaN ** 0 = 1."""
    return np.where(np.isnan(base) | np.isnan(exponent), np.nan, np.power(base, exponent))


_OPERATORS: Mapping[str, Callable[..., Any]] = {
    "+": np.add, "-": np.subtract, "*": np.multiply, "/": np.divide, "^": _power, "negative": np.negative,
}  # fmt: skip
_FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "abs": np.abs, "sqrt": np.sqrt, "log": np.log, "log10": np.log10, "exp": np.exp,
}  # fmt: skip
_EXTREMES: Mapping[str, Callable[..., Any]] = {"min": np.minimum, "max": np.maximum}
_COMPARISONS: Mapping[str, Callable[..., Any]] = {
    "<": np.less, "<=": np.less_equal, ">": np.greater, ">=": np.greater_equal, "==": np.equal, "!=": np.not_equal,
}  # fmt: skip


def parse(text: str, option: str = "expression", kind: Kind | None = None) -> Expression:
    """Understand a condition or a formula.

    Parameters
    ----------
    text
        See the module.
    option
        Where the text comes from, e.g. "--where": begins every message.
    kind
        What it must be; None: either.

    Raises
    ------
    InputError
        One sentence with the column of the fault, counted from 1.

    Examples
    --------
    >>> condition = parse("eps_total > 20 and bulk_modulus / shear_modulus < 2")
    >>> condition.kind, sorted(condition.properties)
    ('truth', ['elastic', 'eps_total'])
    """
    tree, names = read(text, option)
    parsed_kind = kind_of(tree)
    if kind is not None and parsed_kind != kind:
        wanted = "a condition, e.g. band_gap > 3" if kind == "truth" else "a formula that gives a number, e.g. band_gap"
        raise InputError(f"{option}: '{short(text)}' is a {SORTS[parsed_kind]}; write {wanted}")
    properties = frozenset(p for name in names if name in DERIVED for p in DERIVED[name].properties)
    return Expression(text, tree, names, properties, parsed_kind)


def evaluate(expression: Expression, columns: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
    """Values of a formula (float64), or where a condition is true (bool), for many crystals at once.

    Parameters
    ----------
    expression
        From `parse`.
    columns
        `expression.names` -> (n,) values, NaN where missing; `columns_of` gives them. Division by zero and overflow
        give infinities, what has no value (0/0, the root of a negative number) is NaN; neither warns.

    Returns
    -------
    (n,); one value if the expression holds no name.

    Raises
    ------
    InputError
        A column is missing.

    Examples
    --------
    >>> evaluate(parse("band_gap > 3"), {"band_gap": np.array([2.0, 4.0, np.nan])}).tolist()
    [False, True, False]
    """
    value = _evaluated(expression, columns)
    return np.asarray(value == 1) if expression.kind == "truth" else value


def unknown(expression: Expression, columns: Mapping[str, NDArray[Any]]) -> NDArray[np.bool_]:
    """Where a formula has no value, or a condition is neither true nor false; arguments as those of `evaluate`.

    Examples
    --------
    >>> unknown(parse("band_gap > 3"), {"band_gap": np.array([2.0, 4.0, np.nan])}).tolist()
    [False, False, True]
    """
    value = _evaluated(expression, columns)
    return np.asarray(value == _UNKNOWN if expression.kind == "truth" else np.isnan(value))


def _evaluated(expression: Expression, columns: Mapping[str, NDArray[Any]]) -> Array:
    missing = sorted(expression.names - set(columns))
    if missing:
        raise InputError(f"'{short(expression.text)}' needs {', '.join(missing)}; give a column for each")
    with np.errstate(all="ignore"):
        return np.asarray(_value(expression.tree, columns), dtype=np.float64)


def _value(node: Node, columns: Mapping[str, NDArray[Any]]) -> Any:
    """float64; of conditions 0, 1 or `_UNKNOWN`."""
    if isinstance(node, Number | Truth):
        return np.float64(node.value)
    if isinstance(node, Name):
        value = np.asarray(columns[node.key], dtype=np.float64)
        return np.where(np.isnan(value), _UNKNOWN, value) if node.kind == "truth" else value
    if isinstance(node, Apply):
        arguments = [_value(entry, columns) for entry in node.arguments]
        if node.function in _EXTREMES:
            return _reduced(_EXTREMES[node.function], arguments)
        return (_OPERATORS.get(node.function) or _FUNCTIONS[node.function])(*arguments)
    operands = [_value(entry, columns) for entry in node.operands]
    if isinstance(node, Compare):
        links = zip(node.operators, operands[:-1], operands[1:], strict=True)
        return _reduced(np.minimum, [_compared(*link) for link in links])
    if node.operator == "not":
        return 1 - operands[0]
    return _reduced(np.minimum if node.operator == "and" else np.maximum, operands)


def _compared(operator: str, left: Any, right: Any) -> Any:
    return np.where(np.isnan(left) | np.isnan(right), _UNKNOWN, _COMPARISONS[operator](left, right))


def _reduced(function: Callable[[Any, Any], Any], values: Sequence[Any]) -> Any:
    result = values[0]
    for value in values[1:]:
        result = function(result, value)
    return result
