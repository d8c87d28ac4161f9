"""Text of strangers on its way to people and files: sentences, ids for every format, cells that no program runs."""

from __future__ import annotations

import re
import unicodedata
from hashlib import blake2b

MOST_LETTERS = 1000
"""Of an id. Readers of CSV give up at 131,072, people long before."""

MOST_OF_SENTENCE = 1000
"""Letters of a sentence about a broken file, which may quote it."""

_REFUSED = frozenset(("Cc", "Cf", "Cs", "Zl", "Zp"))
_FORMULA = tuple("=+-@＝＋－＠\t\r")
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")


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
