"""Text of strangers on its way to people and files: sentences, ids for every format, cells that no program runs."""

from __future__ import annotations

import re
import unicodedata
from hashlib import blake2b

from voigt.errors import VoigtError

MOST_LETTERS = 1000
"""Of an id. Readers of CSV give up at 131,072, people long before."""

MOST_OF_SENTENCE = 1000
"""Letters of a sentence about a broken file, which may quote it."""
OTHER_LAYOUT = "it is cut short or laid out in another way"
"""What can be said where a parser stumbled over the layout of a file."""

_REFUSED = frozenset(("Cc", "Cf", "Cs", "Zl", "Zp"))
_FORMULA = tuple("=+-@＝＋－＠\t\r")
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")
_OF_PARSERS = (
    AssertionError, AttributeError, IndexError, NameError, RecursionError, StopIteration, TypeError
)  # fmt: skip
"""What parsers stumble over where a file is cut short; their messages speak of the parser, not of the file."""
_WORDS_OF_PARSERS = re.compile(
    r"to unpack|reshape|broadcast|inhomogeneous|matmul|concatenat|too many dimensions|must match|zip\(\) argument|ufunc"
    r"|dtype|numpy|ndarray|NoneType|object is not|object at 0x|<class |has no attribute|subscriptable|unhashable"
    r"|unsupported operand|not supported between|argument must be|must be (?:str|real)|positional argument"
    r"|(?:list|tuple|string) index|out of (?:bounds|range)|[Ss]ingular matrix|maximum recursion"
)
_NOT_FLOAT = re.compile(r"could not convert string to (?:float|complex): *(.*)")
_NOT_WHOLE = re.compile(r"invalid literal for int\(\) with base \d+: *(.*)")
_OF_NUMPY = re.compile(r"np\.\w+\((.*)\)")
_OTHERS = (
    (re.compile(r"int_max_str|Exceeds the limit"), "a number in it is too long"),
    (re.compile(r"Error -\d+ while decompressing"), "what is packed in it is damaged"),
)
_PATH = re.compile(r"[^\s'\"]*(?:site-packages|dist-packages|lib/python3)[^\s'\"]*")


def one_line(text: str) -> str:
    r"""`text` on one line that every format can hold.

    Control and format characters, line separators and halves of surrogate pairs become "?".

    Examples
    --------
    >>> one_line("a\nb"), one_line("Šp\ud800")
    ('a?b', 'Šp?')
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join("?" if unicodedata.category(letter) in _REFUSED else letter for letter in text)


def printable(text: str) -> str:
    r"""`text` in one line, without control characters, and not longer than a sentence may be.

    Examples
    --------
    >>> printable("found 'a\x1b[31m\nb'")
    "found 'a?[31m b'"
    """
    text = one_line(" ".join(text[: 100 * MOST_OF_SENTENCE].split()))
    half = MOST_OF_SENTENCE // 2
    return text if len(text) <= MOST_OF_SENTENCE else f"{text[:half]} ... {text[-half:]}"


def plain_reason(error: BaseException) -> str:
    """Why a library gave up, in words about the file: for the middle of a sentence, without a full stop.

    Messages of parsers, NumPy and Python about themselves become `OTHER_LAYOUT`.

    Examples
    --------
    >>> plain_reason(ValueError("could not convert string to float: '1.x'"))
    "'1.x' is not a number"
    >>> plain_reason(IndexError("list index out of range"))
    'it is cut short or laid out in another way'
    """
    text = printable(str(error))
    if isinstance(error, VoigtError):
        return text
    if isinstance(error, UnicodeError):
        return "it is not UTF-8 text"
    if isinstance(error, OSError) and error.strerror:
        return printable(error.strerror)
    if isinstance(error, MemoryError):
        return "it needs more memory than there is"
    if isinstance(error, KeyError) and error.args and re.fullmatch(r"[\w.() -]{1,40}", str(error.args[0])):
        return f"{error.args[0]} is missing"
    for pattern, sort in ((_NOT_FLOAT, "number"), (_NOT_WHOLE, "whole number")):
        if match := pattern.search(text):
            value = _OF_NUMPY.sub(r"\1", match[1])[:60]
            return f"{value or 'a word'} is not a {sort}"
    for pattern, sentence in _OTHERS:
        if pattern.search(text):
            return sentence
    of_parser = isinstance(error, (KeyError, *_OF_PARSERS)) or isinstance(error.__cause__, StopIteration)
    if of_parser or _WORDS_OF_PARSERS.search(text) or not text:
        return OTHER_LAYOUT
    return _PATH.sub("a library", text).rstrip(".")


def plain_id(text: str) -> str:
    """`text` as an id: one line, and an end that is a digest of all of it where it has more than `MOST_LETTERS`.

    This is the only change that ids of an input undergo.

    Examples
    --------
    >>> plain_id("mp-1143"), len(plain_id("x" * 10**6))
    ('mp-1143', 1000)
    """
    text = one_line(text)
    if len(text) <= MOST_LETTERS:
        return text
    digest = blake2b(text.encode(), digest_size=8).hexdigest()
    return f"{text[: MOST_LETTERS - 1 - len(digest)]}~{digest}"


def csv_cell(text: str) -> str:
    """`text` as a cell of CSV that no spreadsheet takes for a formula: an apostrophe before one that begins like it.

    Numbers stay as they are, and so does a lone sign ("-" is standard input).

    Examples
    --------
    >>> csv_cell("=1+2"), csv_cell("-1.5"), csv_cell("mp-1143")
    ("'=1+2", '-1.5', 'mp-1143')
    """
    harmless = not text.startswith(_FORMULA) or len(text) == 1 or _NUMBER.fullmatch(text)
    return text if harmless else f"'{text}"


def file_stem(identity: str) -> str:
    """An id as part of a file name: letters, digits and . + - _ alone, no dots at its ends, at most 80 of them.

    Different ids may give the same name.

    Examples
    --------
    >>> file_stem("mp-1143"), file_stem("../../etc/x y"), file_stem("..")
    ('mp-1143', '_.._etc_x_y', 'crystal')
    """
    stem = re.sub(r"[^\w.+-]+", "_", identity)[:80].encode("utf-8")[:200].decode("utf-8", "ignore").strip(".")
    reserved = re.fullmatch(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", stem, re.IGNORECASE)
    return f"_{stem}" if reserved else stem or "crystal"
