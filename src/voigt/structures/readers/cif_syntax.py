"""The syntax of CIF: data blocks with their items, read past mistakes in parts that no structure needs.

Grammar: S. R. Hall, F. H. Allen and I. D. Brown, Acta Cryst. A47, 655 (1991); CIF 2: H. J. Bernstein et al.,
J. Appl. Cryst. 49, 277 (2016).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from voigt.errors import InputError

_HEADER = re.compile(r"^[ \t]*data_(\S*)", re.MULTILINE | re.IGNORECASE)
_TEXT_EDGE = re.compile(r"^;", re.MULTILINE)
_CIF2 = re.compile(r"\ufeff?#\\#CIF_2")
# A string without its closing quote ends with the line. Each alternative runs through its characters once.
_PATTERN = r"""^;(?P<text>[\s\S]*?)(?:\n;|\Z)|\#[^\n]*|%s|(?P<bare>\S+)"""
_TOKEN = re.compile(
    _PATTERN % r"""'(?P<single>(?:[^'\n]|'(?!\s|\Z))*)'?|"(?P<double>(?:[^"\n]|"(?!\s|\Z))*)"?""", re.MULTILINE
)
_TOKEN_2 = re.compile(
    _PATTERN
    % (
        r"""'{3}(?P<single3>[\s\S]*?)(?:'{3}|\Z)|"{3}(?P<double3>[\s\S]*?)(?:"{3}|\Z)"""
        r"""|'(?P<single>[^'\n]*)'?|"(?P<double>[^"\n]*)"?"""
    ),
    re.MULTILINE,
)
_NUMBER = re.compile(r"([-+]?(?:\d+\.?\d*|\.\d+)(?:[eEdD][-+]?\d+)?)\s*(?:\([\d.,\s]*\)?)?")
_FRACTION = re.compile(r"([-+]?\d+)\s*/\s*(\d+)")
_NULL = frozenset(("", ".", "?"))
_RESERVED = ("data_", "save_", "global_", "stop_")
_MINUS = str.maketrans({"\u2212": "-", "\u2013": "-", "\u2010": "-", "\u2011": "-"})


def is_null(value: str) -> bool:
    """Whether a value says that it is unknown ("?") or does not apply (".").

    Examples
    --------
    >>> is_null("?"), is_null("0")
    (True, False)
    """
    return value in _NULL


def number(value: str, tag: str) -> float:
    """The number in a value, without its standard uncertainty.

    Raises
    ------
    InputError
        It is none; the sentence names `tag`.

    Examples
    --------
    >>> number("5.6402(3)", "_cell_length_a"), number("1/3", "_atom_site_fract_x")
    (5.6402, 0.3333333333333333)
    """
    text = value.strip().translate(_MINUS)
    if match := _NUMBER.fullmatch(text):
        return float(match[1].replace("d", "e").replace("D", "e"))
    if (match := _FRACTION.fullmatch(text)) and int(match[2]) > 0:
        return int(match[1]) / int(match[2])
    raise InputError(f"{tag} is '{shortened(value)}', which is no number; correct it")


def shortened(value: str) -> str:
    """A value in one line of at most 40 characters, for sentences.

    Examples
    --------
    >>> shortened("P 21/c" + chr(10))
    'P 21/c'
    """
    line = " ".join("".join(sign if sign.isprintable() else " " for sign in value[:200]).split())
    return line if len(line) <= 40 else line[:37] + "..."


@dataclass
class Block:
    """A data block.

    Attributes
    ----------
    name
        What follows `data_`.
    columns
        The values of each item: one for an item outside loops. Keys are in lower case, with "_" for the "." of
        newer dictionaries.
    written
        Items as the file spells them.
    faults
        Items that cannot be used, and why.
    """

    name: str
    columns: dict[str, list[str]] = field(default_factory=dict)
    written: dict[str, str] = field(default_factory=dict)
    faults: dict[str, str] = field(default_factory=dict)

    def column(self, *tags: str) -> list[str]:
        """Values of the first of the items that has any but unknown ones, [] if none has.

        Raises
        ------
        InputError
            The item is given twice with different values, or its loop is incomplete.
        """
        tag = self.tag(*tags)
        if not tag:
            return []
        if tag in self.faults:
            raise InputError(f"{self.written[tag]} {self.faults[tag]}")
        return self.columns[tag]

    def tag(self, *tags: str) -> str:
        """The first of the items that has a value, "" if none has."""
        return next((tag for tag in tags if not all(map(is_null, self.columns.get(tag, ())))), "")

    def value(self, *tags: str) -> str:
        """The only value of the first of the items that has one, "" if none has; errors as those of `column`."""
        known = [value for value in self.column(*tags) if not is_null(value)]
        return known[0] if known and len(set(known)) == 1 else ""

    def add(self, tag: str, values: list[str], fault: str = "") -> None:
        """Enter an item."""
        key = tag.lower().replace(".", "_")
        if key not in self.columns:
            self.columns[key], self.written[key] = values, tag
        elif self.columns[key] != values:
            fault = fault or "is given twice, with different values; keep one, or begin each structure with data_"
        if fault:
            self.faults[key] = fault


def blocks(text: str, mention: str = "") -> Iterator[Block]:
    """The data blocks of a CIF in order; what stands before the first header is a block without a name.

    A mistake spoils the block that it is in, and no other one.

    Parameters
    ----------
    text
        Of the file.
    mention
        Pass over blocks without these letters, in lower case.

    Examples
    --------
    >>> [(block.name, block.value("_cell_length_a")) for block in blocks("data_x _cell_length_a 4.2(1)")]
    [('', ''), ('x', '4.2(1)')]
    """
    pattern = _TOKEN_2 if _CIF2.match(text) else _TOKEN
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    for name, section in _sections(text.lstrip("\ufeff")):
        if mention not in section.lower():
            continue
        tokens = _tokens(pattern, section)
        yield _block(name, _joined_lists(tokens) if pattern is _TOKEN_2 else tokens)


def _sections(text: str) -> Iterator[tuple[str, str]]:
    """Name and text of each block.

    A header inside a text field (a CIF that quotes another one) is part of it if the field is closed before the next
    header. If it is not, the field was left open, and the header is one.
    """
    headers = list(_HEADER.finditer(text))
    ends = [*(header.start() for header in headers), len(text)]
    name, start, is_open = "", 0, False
    for place, header in enumerate([None, *headers]):
        begin, end = (0 if header is None else header.end()), ends[place]
        is_odd = len(_TEXT_EDGE.findall(text, begin, end)) % 2 == 1
        if header is not None and not (is_open and is_odd):
            yield name, text[start : header.start()]
            name, start, is_open = header[1], begin, False
        is_open ^= is_odd
    yield name, text[start:]


def _tokens(pattern: re.Pattern[str], section: str) -> Iterator[tuple[bool, str]]:
    """Whether each token is without quotes, and its text."""
    for match in pattern.finditer(section):
        kind = match.lastgroup
        if kind is not None:
            yield kind == "bare", match[kind]


def _joined_lists(tokens: Iterable[tuple[bool, str]]) -> Iterator[tuple[bool, str]]:
    """Lists and tables of CIF 2 as one value each."""
    depth, parts = 0, []
    for is_bare, token in tokens:
        if is_bare and (depth or token[0] in "[{"):
            depth += token.count("[") + token.count("{") - token.count("]") - token.count("}")
        elif not depth:
            yield is_bare, token
            continue
        parts.append(token)
        if depth <= 0:
            yield False, " ".join(parts)
            depth, parts = 0, []


def _block(name: str, tokens: Iterable[tuple[bool, str]]) -> Block:
    block = Block(name)
    tags: list[str] = []
    values: list[str] = []
    in_loop = False

    def close() -> None:
        if in_loop:
            fault = ""
            if len(values) % (len(tags) or 1):
                fault = f"stands in a loop of {len(tags)} items with {len(values)} values; complete its rows"
            for place, tag in enumerate(tags):
                block.add(tag, values[place :: len(tags)], fault)
        elif tags:
            # More than one value: quotes were forgotten, as in P 1 21/c 1.
            block.add(tags[0], [" ".join(values) or "?"])

    for is_bare, token in tokens:
        if is_bare and token[0] == "_":
            if not in_loop or values:
                close()
                tags, values, in_loop = [], [], False
            tags.append(token)
        elif is_bare and (is_loop := token.lower() == "loop_") | token.lower().startswith(_RESERVED):
            close()
            tags, values, in_loop = [], [], is_loop
        elif tags:
            values.append(token)
    close()
    return block
