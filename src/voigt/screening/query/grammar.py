"""From the text of an expression to its tree of frozen nodes: words and signs first, then level by level."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Literal, NoReturn, TypeAlias

from voigt.errors import InputError
from voigt.screening.query.derived import DERIVED, has, known_names, suggestion
from voigt.text import one_line

Kind: TypeAlias = Literal["number", "truth"]

LENGTH, TOKENS, NESTING = 4000, 400, 32
"""Longest text in characters and tokens, and deepest nesting: no text can exhaust the stack."""

FUNCTIONS = ("abs", "sqrt", "log", "log10", "exp")  # of one number
EXTREMES = ("min", "max")  # of two numbers or more
COMPARISONS = ("<", "<=", ">", ">=", "==", "!=")

SORTS = {"number": "number", "truth": "condition"}
_WORDS = ("and", "or", "not", "true", "false")
_HINTS = {
    "=": "write == to compare", "&": "write and", "&&": "write and", "|": "write or", "||": "write or",
    "!": "write not", "<>": "write !=", "%": "there is no remainder", "//": "there is no integer division",
    "≥": "write >=", "≤": "write <=", "≠": "write !=", "×": "write *", "·": "write *", "−": "write -",
}  # fmt: skip
_TOKEN = re.compile(
    r"""[ \t\r\n]*(?:
      (?P<number>(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?(?![A-Za-z0-9_.]))
    | (?P<name>[A-Za-z_][A-Za-z0-9_]*)
    | (?P<text>"[^"\n]*"|'[^'\n]*')
    | (?P<symbol>&&|\|\||<>|//|\*\*|<=|>=|==|!=|[-+*/^()<>,])
    | (?P<end>\Z)
    | (?P<wrong>[0-9.]+[A-Za-z0-9_.]*|.)
    )""",
    re.VERBOSE | re.DOTALL,
)


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


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str
    column: int
    """From 1."""


def read(text: str, option: str) -> tuple[Node, frozenset[str]]:
    """Tree of an expression, and the keys of the columns that it needs.

    Raises
    ------
    InputError
        One sentence that begins with `option` and names the column of the fault, counted from 1.
    """
    if len(text) > LENGTH:
        raise InputError(f"{option}: {len(text)} characters are too long for an expression; use {LENGTH} at most")
    parser = _Parser(_tokens(text, option), option)
    return parser.whole(), frozenset(parser.names)


def short(text: str, length: int = 60) -> str:
    """Printable beginning of what a user typed."""
    plain = one_line(text)
    return plain if len(plain) <= length else f"{plain[:length]}..."


def _tokens(text: str, option: str) -> list[_Token]:
    tokens: list[_Token] = []
    place = 0
    while not tokens or tokens[-1].kind != "end":
        match = _TOKEN.match(text, place)
        if match is None or match.lastgroup is None:  # cannot be: some alternative takes any character
            raise InputError(f"{option}: cannot read '{short(text[place:])}'; see the documentation of expressions")
        kind, content = match.lastgroup, match[match.lastgroup]
        token = _Token(kind, content, match.start(kind) + 1)
        if kind == "wrong" or content in _HINTS:
            _fault(option, token, _wrong(token))
        tokens.append(token)
        place = match.end()
        if len(tokens) > TOKENS:
            raise InputError(f"{option}: an expression of more than {TOKENS} words and signs; write a shorter one")
    return tokens


def _wrong(token: _Token) -> str:
    if token.text in _HINTS:
        return f"'{token.text}' {{at}}; {_HINTS[token.text]}"
    if token.text in ("'", '"'):
        return 'quotation mark {at} without its partner; write e.g. has("Pb")'
    if token.text[0] in "0123456789.":
        return f"'{short(token.text)}' {{at}} is no number; write plain ones without units, e.g. 0.5 or 1e-3"
    return f"unexpected character '{short(token.text)}' {{at}}; remove it"


def _fault(option: str, token: _Token, sentence: str) -> NoReturn:
    raise InputError(f"{option}: {sentence.replace('{at}', f'at column {token.column}')}")


class _Parser:
    """One method for each level of precedence, from loose to tight."""

    def __init__(self, tokens: Sequence[_Token], option: str) -> None:
        self.names: set[str] = set()
        self._tokens, self._option = tokens, option
        self._place = self._depth = 0

    def whole(self) -> Node:
        if self._next.kind == "end":
            raise InputError(f"{self._option}: empty expression; write e.g. 'eps_total > 20 and band_gap > 3'")
        tree = self._either()
        if self._next.kind != "end":
            self._stop(f"unexpected {self._seen()} {{at}}; an operator such as and, or, +, > was expected")
        return tree

    @property
    def _next(self) -> _Token:
        return self._tokens[self._place]

    def _seen(self) -> str:
        return "end of the expression" if self._next.kind == "end" else f"'{short(self._next.text)}'"

    def _take(self, *texts: str) -> _Token | None:
        """The next token if it is one of these signs or words."""
        token = self._next
        if token.kind in ("symbol", "name") and token.text in texts:
            self._place += 1
            return token
        return None

    def _expect(self, text: str, after: str) -> None:
        if self._take(text) is None:
            self._stop(f"'{text}' expected {{at}} {after}, not {self._seen()}; add it")

    def _stop(self, sentence: str, token: _Token | None = None) -> NoReturn:
        _fault(self._option, token or self._next, sentence)

    def _nested(self, parse_inner: Callable[[], Node]) -> Node:
        self._depth += 1
        if self._depth > NESTING:
            self._stop(f"nested more than {NESTING} deep {{at}}; write a simpler expression")
        inner = parse_inner()
        self._depth -= 1
        return inner

    def _need(self, kind: Kind, node: Node, start: _Token) -> Node:
        if kind_of(node) != kind:
            wanted = "compare it with something" if kind == "truth" else "use and, or, not to combine conditions"
            self._stop(f"the {SORTS[kind_of(node)]} {{at}} stands where a {SORTS[kind]} is needed; {wanted}", start)
        return node

    def _either(self) -> Node:
        return self._chain("or", self._both)

    def _both(self) -> Node:
        return self._chain("and", self._negation)

    def _chain(self, word: Literal["and", "or"], parse_operand: Callable[[], Node]) -> Node:
        start = self._next
        operands = [parse_operand()]
        while self._take(word):
            self._need("truth", operands[-1], start)
            start = self._next
            operands.append(self._need("truth", parse_operand(), start))
        return operands[0] if len(operands) == 1 else Logic(word, tuple(operands))

    def _negation(self) -> Node:
        if self._take("not"):
            start = self._next
            return Logic("not", (self._need("truth", self._nested(self._negation), start),))
        return self._comparison()

    def _comparison(self) -> Node:
        start = self._next
        operands, operators = [self._sum()], []
        while operator := self._take(*COMPARISONS):
            self._need("number", operands[-1], start)
            start = self._next
            operators.append(operator.text)
            operands.append(self._need("number", self._sum(), start))
        return Compare(tuple(operators), tuple(operands)) if operators else operands[0]

    def _sum(self) -> Node:
        return self._series(("+", "-"), self._product)

    def _product(self) -> Node:
        return self._series(("*", "/"), self._signed)

    def _series(self, signs: Sequence[str], parse_operand: Callable[[], Node]) -> Node:
        start = self._next
        node = parse_operand()
        while operator := self._take(*signs):
            self._need("number", node, start)
            second = self._next
            node = Apply(operator.text, (node, self._need("number", parse_operand(), second)))
        return node

    def _signed(self) -> Node:
        sign = self._take("-", "+")
        if sign is None:
            return self._raised()
        start = self._next
        operand = self._need("number", self._nested(self._signed), start)
        return operand if sign.text == "+" else Apply("negative", (operand,))

    def _raised(self) -> Node:
        start = self._next
        base = self._atom()
        if not self._take("^", "**"):
            return base
        second = self._next
        exponent = self._need("number", self._nested(self._signed), second)
        return Apply("^", (self._need("number", base, start), exponent))

    def _atom(self) -> Node:
        token = self._next
        if self._take("("):
            inner = self._nested(self._either)
            self._expect(")", f"to close the '(' of column {token.column}")
            return inner
        if token.kind == "number":
            self._place += 1
            return Number(float(token.text))
        if self._take("true", "false"):
            return Truth(token.text == "true")
        if token.kind == "name" and token.text not in _WORDS:
            return self._named()
        self._stop(f"a name, a number or '(' expected {{at}}, not {self._seen()}; complete the expression")

    def _named(self) -> Node:
        token = self._next
        name = token.text
        self._place += 1
        called = self._next.kind == "symbol" and self._next.text == "("
        if name == "has":
            return self._element()
        if name in FUNCTIONS or name in EXTREMES:
            return self._call(token)
        if name in DERIVED and not called:
            self.names.add(name)
            return Name(name, "number")
        if called:
            names = (*FUNCTIONS, *EXTREMES, "has")
            near = get_close_matches(name, names, n=1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(names)}"
            self._stop(f"'{short(name, 40)}' {{at}} is no function; {hint}", token)
        special = name.lower() if name.lower() in _WORDS else None
        hint = f"did you mean {special}?" if special else suggestion(name, (*known_names(), *_WORDS, *FUNCTIONS))
        self._stop(f"unknown name '{short(name, 40)}' {{at}}; {hint}", token)

    def _call(self, token: _Token) -> Node:
        self._expect("(", f"after {token.text}")
        arguments: list[Node] = []
        while not arguments or self._take(","):
            start = self._next
            arguments.append(self._need("number", self._nested(self._either), start))
        self._expect(")", f"to close {token.text}(")
        few, many = (2, TOKENS) if token.text in EXTREMES else (1, 1)
        if not few <= len(arguments) <= many:
            wanted = "one number" if many == 1 else "two numbers or more"
            self._stop(f"{token.text} {{at}} takes {wanted}, not {len(arguments)}; correct its arguments", token)
        return Apply(token.text, tuple(arguments))

    def _element(self) -> Node:
        from ase.data import chemical_symbols

        self._expect("(", "after has")
        token = self._next
        if token.kind != "text":
            self._stop(f'has takes an element in quotation marks, e.g. has("Pb"), not {self._seen()} {{at}}')
        symbol = token.text[1:-1].strip()
        if symbol not in chemical_symbols[1:]:
            near = [entry for entry in chemical_symbols[1:] if entry.lower() == symbol.lower()]
            hint = f'did you mean "{near[0]}"?' if near else 'write a chemical symbol, e.g. "Pb"'
            self._stop(f"'{short(symbol, 40)}' {{at}} is no element; {hint}", token)
        self._place += 1
        self._expect(")", "to close has(")
        self.names.add(has(symbol))
        return Name(has(symbol), "truth")
