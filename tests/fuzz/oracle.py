"""What a user may never see: in sentences, and on the two streams of a command."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

LONGEST = 8000
"""Characters of a sentence."""

COMMANDS = ("predict", "models", "phonons", "report")
"""Actions that run a command."""

CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
LIBRARIES = re.compile(
    r"Traceback|site-packages|\.py\b|object at 0x|unexpected [A-Z]\w+|NoneType|ufunc|has no attribute|not subscriptable"
    r"|maximum recursion|not supported between|unsupported operand|unhashable|\bdtype|broadcast|int_max_str|codec can't"
    r"|(?:list|tuple|string) index|out of bounds|positional argument|takes \d+ |must be real|<class |\bndarray"
    r"|\bnumpy\b"
    r"|could not convert|invalid literal|not enough values|too many values|inhomogeneous|Errno|spglib: |sqlite3?\b"
    r"|object is not|must be str|argument must be|Singular matrix|reshape|(?<![.\w])\w+Error\b"
)
_LINES = re.compile(r"(?:voigt|failed|warning): |wrote |\d+ crystals? predicted|$")
"""What `voigt predict` may say on standard error; other commands have remarks of many kinds."""


def of_sentences(messages: Iterable[str]) -> Iterator[str]:
    """Faults of sentences that name what was wrong."""
    for message in messages:
        if found := CONTROL.search(message):
            yield f"control: U+{ord(found.group()):04X} in {message[:200]!a}"
        if "\n" in message:
            yield f"control: several lines in {message[:200]!a}"
        if found := LIBRARIES.search(message):
            yield f"words: '{found.group()}' in {message[:300]!a}"
        if len(message) > LONGEST:
            yield f"long: {len(message)} characters, {message[:200]!a}"
        if not message.strip():
            yield "empty: a sentence without words"


def of_streams(output: bytes, errors: bytes, action: str) -> Iterator[str]:
    """Faults of what was printed: readers print nothing; a command prints sentences on standard error."""
    if action not in COMMANDS:
        for name, printed in (("standard output", output), ("standard error", errors)):
            if printed.strip():
                yield f"printed: on {name} {printed[:300]!a}"
        return
    for name, printed in (("standard output", output), ("standard error", errors)):
        try:
            text = printed.decode()
        except UnicodeDecodeError:
            yield f"control: {name} is not UTF-8"
            text = printed.decode(errors="replace")
        for line in text.split("\n"):
            if found := CONTROL.search(line):
                yield f"control: U+{ord(found.group()):04X} on {name}, {line[:200]!a}"
        if name == "standard error":
            for line in text.split("\n"):
                if found := LIBRARIES.search(line):
                    yield f"words: '{found.group()}' in {line[:300]!a}"
                if len(line) > LONGEST + 200:
                    yield f"long: {len(line)} characters, {line[:200]!a}"
                if action == "predict" and not _LINES.match(line):
                    yield f"printed: {line[:200]!a}"
