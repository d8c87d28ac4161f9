"""Why a library gave up on a file, in words for people: one place that translates what Python and NumPy say."""

from __future__ import annotations

import re

from voigt.errors import VoigtError
from voigt.text import printable

OTHER_LAYOUT = "it is cut short or laid out in another way"
"""What can be said where a parser stumbled over the layout of a file."""

_OF_PARSERS = (
    AssertionError, AttributeError, IndexError, NameError, RecursionError, StopIteration, TypeError
)  # fmt: skip
"""What parsers stumble over where a file is cut short; their messages speak of the parser, not of the file."""
_WORDS_OF_PARSERS = re.compile(
    r"to unpack|reshape|broadcast|inhomogeneous|matmul|concatenat|too many dimensions|must match|zip\(\) argument|ufunc"
    r"|could not assign"
    r"|dtype|numpy|ndarray|NoneType|object is not|object at 0x|<class |has no attribute|subscriptable|unhashable"
    r"|unsupported operand|not supported between|argument must be|must be (?:str|real)|positional argument"
    r"|(?:list|tuple|string) index|out of (?:bounds|range)|[Ss]ingular matrix|maximum recursion"
)
_NOT_FLOAT = re.compile(r"(?:could not convert string to (?:float|complex)|invalid literal for long double): *(.*)")
_NOT_WHOLE = re.compile(r"invalid literal for int\(\) with base \d+: *(.*)")
_OF_NUMPY = re.compile(r"np\.\w+\((.*)\)")
_QUOTED = re.compile(r"^(['\"])\s*(.*?)(?:\\[nrt]|\s)*\1$")
_OTHERS = (
    (re.compile(r"int_max_str|Exceeds the limit"), "a number in it is too long"),
    (re.compile(r"division by zero|divide by zero|math domain error"), "a number in it is zero that must not be"),
    (re.compile(r"Error -\d+ while decompressing"), "what is packed in it is damaged"),
)
_PATH = re.compile(r"[^\s'\"]*(?:site-packages|dist-packages|lib/python3)[^\s'\"]*")


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
            value = _QUOTED.sub(r"\1\2\1", _OF_NUMPY.sub(r"\1", match[1]))
            return f"{value[:60] or 'a word'} is not a {sort}"
    for pattern, sentence in _OTHERS:
        if pattern.search(text):
            return sentence
    of_parser = isinstance(error, (KeyError, *_OF_PARSERS)) or isinstance(error.__cause__, StopIteration)
    if of_parser or _WORDS_OF_PARSERS.search(text) or not text:
        return OTHER_LAYOUT
    return _PATH.sub("a library", text).rstrip(".")
