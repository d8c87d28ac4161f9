"""What an expression is made of: a tree of frozen nodes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

Kind: TypeAlias = Literal["number", "truth"]


@dataclass(frozen=True)
class Number:
    """A number written out."""

    value: float


@dataclass(frozen=True)
class Truth:
    """`true` or `false`."""

    value: bool


@dataclass(frozen=True)
class Name:
    """A scalar of every crystal, or whether it contains an element: key of the columns to evaluate on."""

    key: str
    kind: Kind


@dataclass(frozen=True)
class Apply:
    """An arithmetic operator or a function of numbers."""

    function: str
    arguments: tuple[Node, ...]


@dataclass(frozen=True)
class Compare:
    """A chain: every operand stands to the next as the operator between them says."""

    operators: tuple[str, ...]
    operands: tuple[Node, ...]


@dataclass(frozen=True)
class Logic:
    """`and`, `or` of several conditions, `not` of one."""

    operator: Literal["and", "or", "not"]
    operands: tuple[Node, ...]


Node: TypeAlias = Number | Truth | Name | Apply | Compare | Logic


def kind_of(node: Node) -> Kind:
    """Whether a node stands for a number or a condition."""
    if isinstance(node, Name):
        return node.kind
    return "number" if isinstance(node, Number | Apply) else "truth"
