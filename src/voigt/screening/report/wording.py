"""Scalars and conditions in words, for reports and axes."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from voigt.screening.query.derived import DERIVED
from voigt.screening.query.expressions import Expression
from voigt.screening.query.grammar import Apply, Compare, Logic, Name, Node, Number, Truth
from voigt.writers.markdown import unit_symbol

# With "not" before them, conditions on missing values stay what they are: unknown.
_VERBS = {"<": "below", "<=": "at most", ">": "above", ">=": "at least", "==": "equal to", "!=": "different from"}
_TURNED = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "==": "==", "!=": "!="}
_BINDING = {"+": 1, "-": 1, "*": 2, "/": 2, "negative": 3, "^": 4}


def title_of(name: str) -> str:
    """Name and unit of a scalar: "band_gap (eV)"."""
    unit = unit_symbol(DERIVED[name].unit)
    return f"{name} ({unit})" if unit else name


def axis_label(name: str, width: int) -> str:
    """Name and unit, below them the meaning in lines of so many characters."""
    return "\n".join([title_of(name), *textwrap.wrap(DERIVED[name].meaning, width)])


def in_words(expression: Expression) -> str:
    """A condition or formula as a phrase of Markdown.

    Examples
    --------
    >>> from voigt.screening import parse
    >>> in_words(parse("not (eps_total > 20 and band_gap < 3)"))
    '`eps_total` is not above 20 or `band_gap` is not below 3 eV'
    """
    return _words(expression.tree)


def definitions(names: Sequence[str]) -> list[str]:
    """One line of Markdown for each scalar."""
    lines = []
    for name in names:
        unit = unit_symbol(DERIVED[name].unit)
        lines.append(f"- `{name}`: {DERIVED[name].meaning}{f', in {unit}' if unit else ''}")
    return lines


def _words(node: Node, no: str = "") -> str:
    """A condition, or with `no` = "not " its opposite."""
    if isinstance(node, Truth):
        return "always" if node.value != bool(no) else "never"
    if isinstance(node, Name) and node.kind == "truth":
        element = node.key.split('"')[1]
        return f"the crystal does not contain {element}" if no else f"the crystal contains {element}"
    if isinstance(node, Compare):
        links = zip(node.operators, node.operands[:-1], node.operands[1:], strict=True)
        # Not all of several: Kleene's and de Morgan's laws agree here.
        return (" or " if no else " and ").join(_compared(*link, no) for link in links)
    if isinstance(node, Logic) and node.operator == "not":
        return _words(node.operands[0], "" if no else "not ")
    if isinstance(node, Logic):
        word = node.operator if not no else {"and": "or", "or": "and"}[node.operator]
        return f" {word} ".join(f"({text})" if _joins(entry) else text
                                for entry, text in ((entry, _words(entry, no)) for entry in node.operands))
    return _formula(node)


def _joins(node: Node) -> bool:
    """Whether its words hold an "and" or "or", and need parentheses within another."""
    if isinstance(node, Logic):
        return node.operator != "not" or _joins(node.operands[0])
    return isinstance(node, Compare) and len(node.operators) > 1


def _compared(operator: str, left: Node, right: Node, no: str) -> str:
    if isinstance(left, Number):  # what varies comes first
        operator, left, right = _TURNED[operator], right, left
    unit = ""
    if isinstance(left, Name) and isinstance(right, Number):
        unit = unit_symbol(DERIVED[left.key].unit)
    return f"{_formula(left)} is {no}{_VERBS[operator]} {_formula(right)}{f' {unit}' if unit else ''}"


def _formula(node: Node) -> str:
    if isinstance(node, Number):
        return f"{node.value:g}"
    if isinstance(node, Name):
        return f"`{node.key}`"
    if not isinstance(node, Apply):
        return f"({_words(node)})"
    binding = _BINDING.get(node.function)
    if binding is None:
        return f"{node.function}({', '.join(_formula(entry) for entry in node.arguments)})"
    parts = []
    for place, entry in enumerate(node.arguments):
        inner = _BINDING.get(entry.function, 5) if isinstance(entry, Apply) else 5
        # a - (b - c), a / (b / c) and (a ^ b) ^ c keep their parentheses
        tight = binding + (place > 0 if node.function != "^" else place == 0)
        parts.append(f"({_formula(entry)})" if inner < tight else _formula(entry))
    sign = {"*": "×", "-": "−", "negative": "−"}.get(node.function, node.function)
    if node.function == "negative":
        return f"{sign}{parts[0]}"
    return f"{parts[0]}^{parts[1]}" if node.function == "^" else f"{parts[0]} {sign} {parts[1]}"
