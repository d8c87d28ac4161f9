"""YAML of strangers as plain data: no objects are built, and size, depth and numbers are bounded.

Files are read as a stream of events, so that a bomb is refused before it is built.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, NoReturn, TypeAlias

import yaml

from voigt.errors import VoigtError

MOST_CHARACTERS = 400_000_000
MOST_VALUES = 20_000_000
"""A supercell of 1,000 atoms with 1,000 random displacements has 8 million."""
MOST_DEPTH = 100
MOST_DIGITS = 100
"""Characters of a number."""

_CHARACTERS_PER_VALUE = 64
_NUMBER = re.compile(r"[-+]?(?:0|[1-9][0-9]*)(\.[0-9]*)?([eE][-+]?[0-9]+)?")
_PREFIX = "tag:yaml.org,2002:"
_COLLECTIONS = (None, "!", _PREFIX + "map", _PREFIX + "seq")
_NO_KEY, _MERGE = object(), object()
Refuse: TypeAlias = Callable[[int, str], NoReturn]
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(slots=True)
class _Open:
    """A mapping or list that is being filled.

    `size` counts its values with those of aliases, `height` the levels in it; `merged` holds what `<<` brings in.
    """

    value: Any
    anchor: str | None
    size: int = 1
    height: int = 0
    key: Any = _NO_KEY
    merged: list[Any] = field(default_factory=list)


def load_yaml(
    text: str,
    source: str,
    error_type: type[VoigtError],
    *,
    unique_keys: bool = False,
    most_values: int = MOST_VALUES,
) -> Any:
    r"""Read one YAML document into None, bool, int, float, str, list and dict.

    As `yaml.safe_load`, but dates stay text and 1e-5 is a number. An alias refers to the same object as its anchor.

    Parameters
    ----------
    text, source
        Content of a file, and its name for errors.
    error_type
        What is raised.
    unique_keys
        Refuse a key that is given twice; otherwise the last one counts.
    most_values
        Bound on the number of values, those included that aliases repeat.

    Raises
    ------
    VoigtError
        `error_type`, one sentence: no YAML; tags that build objects; keys that are lists or mappings; too large, too
        deep or numbers too long; more than `most_values` values; anchors that contain themselves.

    Examples
    --------
    >>> from voigt.errors import InputError
    >>> load_yaml("cell: &a [1, 2.5, yes]\nsame: *a", "x.yaml", InputError)
    {'cell': [1, 2.5, True], 'same': [1, 2.5, True]}
    >>> load_yaml("!!python/name:os.getcwd x", "x.yaml", InputError)
    Traceback (most recent call last):
    voigt.errors.InputError: x.yaml, line 1: tag !!python/name:os.getcwd asks for more than plain data; remove it
    """

    def refuse(line: int, problem: str) -> NoReturn:
        raise error_type(f"{source}, line {line}: {problem}")

    if len(text) > MOST_CHARACTERS:
        raise error_type(f"{source} has {len(text)} characters, more than {MOST_CHARACTERS}; it is not read")
    try:
        return _build(text, refuse, unique_keys, most_values)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = "" if mark is None else f", line {mark.line + 1}"
        words = " ".join(str(getattr(error, "problem", None) or getattr(error, "reason", None) or error).split())
        raise error_type(f"{source} is not readable YAML{place}: {words[:200]}") from error
    except UnicodeError as error:
        raise error_type(f"{source} is not readable YAML: it holds characters that are no text") from error


def _events(text: str) -> Iterator[Any]:
    loader = _LOADER(text)
    try:
        while True:
            event = loader.get_event()
            yield event
            if type(event) is yaml.StreamEndEvent:
                return
    finally:
        loader.dispose()


def _build(text: str, refuse: Refuse, unique_keys: bool, most_values: int) -> Any:
    """Value of the first and only document."""
    stack = [_Open([], None)]  # the document itself, as a list of one value
    anchors: dict[str, tuple[Any, int, int] | None] = {}  # value, size, height; None while it is being filled
    scalar = _scalars(refuse)
    total = documents = 0
    for event in _events(text):
        kind = type(event)
        line = event.start_mark.line + 1
        if kind is yaml.ScalarEvent:
            anchor, height = event.anchor, 0
            size = 1 + len(event.value) // _CHARACTERS_PER_VALUE
            is_merge = event.value == "<<" and event.implicit[0] and _wants_key(stack[-1])
            value = _MERGE if is_merge else scalar(event, line)
            total += size
        elif kind is yaml.SequenceStartEvent or kind is yaml.MappingStartEvent:
            if event.tag not in _COLLECTIONS:
                refuse(line, f"tag {_shown(event.tag)} asks for more than plain data; remove it")
            if len(stack) > MOST_DEPTH:
                refuse(line, f"nested more than {MOST_DEPTH} levels deep; make it flatter")
            if event.anchor is not None:
                anchors[event.anchor] = None
            stack.append(_Open([] if kind is yaml.SequenceStartEvent else {}, event.anchor))
            continue
        elif kind is yaml.SequenceEndEvent or kind is yaml.MappingEndEvent:
            done = stack.pop()
            for base in done.merged:
                done.value.update({key: base[key] for key in base if key not in done.value})
            value, anchor, size, height = done.value, done.anchor, done.size, done.height + 1
            total += 1
        elif kind is yaml.AliasEvent:
            known = anchors.get(event.anchor, ())
            if not known:
                reason = "has no anchor before it" if known == () else "stands inside its own anchor"
                refuse(line, f"alias *{event.anchor[:40]} {reason}")
            anchor, (value, size, height) = None, known
            if len(stack) + height > MOST_DEPTH:
                refuse(line, f"aliases nest more than {MOST_DEPTH} levels deep; make it flatter")
            total += size
        elif kind is yaml.DocumentStartEvent and documents:
            refuse(line, "a second document begins; keep one in a file")
        else:
            documents += kind is yaml.DocumentStartEvent
            continue
        if total > most_values:
            refuse(line, f"more than {most_values} values with those that aliases repeat; it is not read")
        if anchor is not None:
            anchors[anchor] = value, size, height
        parent = stack[-1]
        parent.size += size
        parent.height = max(parent.height, height)
        _put(parent, value, line, refuse, unique_keys)
    return stack[0].value[0] if stack[0].value else None


def _wants_key(parent: _Open) -> bool:
    return parent.key is _NO_KEY and type(parent.value) is dict


def dump_yaml(content: Any) -> str:
    """Plain data as YAML that `load_yaml` reads, keys in their order.

    Examples
    --------
    >>> print(dump_yaml({"name": "mine", "lr": 0.001}), end="")
    name: mine
    lr: 0.001
    """
    return str(yaml.safe_dump(content, sort_keys=False, allow_unicode=True))


def _put(parent: _Open, value: Any, line: int, refuse: Refuse, unique_keys: bool) -> None:
    """Add the next value to a list, or the next key or value to a mapping."""
    if type(parent.value) is list:
        parent.value.append(value)
        return
    key = parent.key
    if key is _NO_KEY:
        if isinstance(value, (list, dict)):
            refuse(line, "a list or mapping stands where a key should; write a word there")
        if unique_keys and value in parent.value:
            refuse(line, f"key {_shown(str(value))} is given twice; keep one")
        parent.key = value
        return
    if key is _MERGE:
        bases = value if isinstance(value, list) else [value]
        if not all(isinstance(base, dict) for base in bases):
            refuse(line, "<< takes a mapping or a list of mappings")
        parent.merged.extend(bases)
    else:
        parent.value[key] = value
    parent.key = _NO_KEY


def _scalars(refuse: Refuse) -> Callable[[Any, int], Any]:
    """A function from scalar events and their lines to values, with the rules of `yaml.SafeLoader`."""
    rules: Any = yaml.SafeLoader("")
    construct: dict[str, Callable[[Any], Any]] = {
        _PREFIX + "null": rules.construct_yaml_null,
        _PREFIX + "bool": rules.construct_yaml_bool,
        _PREFIX + "int": rules.construct_yaml_int,
        _PREFIX + "float": rules.construct_yaml_float,
    }

    def scalar(event: Any, line: int) -> Any:
        text, tag = event.value, event.tag
        if tag is None and event.implicit[0]:
            number = _NUMBER.fullmatch(text) if len(text) <= MOST_DIGITS else None
            if number is not None:
                return int(text) if number.lastindex is None else float(text)
            tag = rules.resolve(yaml.ScalarNode, text, (True, False))
        elif tag is None or tag == "!":
            return text
        elif tag not in construct and tag != _PREFIX + "str":
            refuse(line, f"tag {_shown(tag)} asks for more than plain data; remove it")
        if tag not in construct:
            return text
        if len(text) > MOST_DIGITS:
            refuse(line, f"a number of {len(text)} characters; shorten it to {MOST_DIGITS}")
        try:
            return construct[tag](yaml.ScalarNode(tag, text))
        except (ValueError, KeyError, IndexError):
            refuse(line, f"{_shown(text)} is no {tag.removeprefix(_PREFIX)}")

    return scalar


def _shown(text: str) -> str:
    """Words of a file for a sentence: short, tags as they are written, control characters spelled out."""
    return repr(text.replace(_PREFIX, "!!")[:80])[1:-1]
