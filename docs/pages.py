"""The code of a documentation page: found, run in order, and held against the output that the page shows.

A comment directly above a block says what is special about it:

    <!-- file: NAME -->        the block is the content of a file, which later blocks find in the working folder
    <!-- exit code N -->       its command ends with N instead of 0
    <!-- not run: REASON -->   it needs data or hours that a reader need not have

Python blocks of a page share one namespace. In console blocks the lines `$ voigt ...` run, and so do `$ cat` and
`$ head`; output that stands below a command is compared, a line `...` in it stands for any lines.
"""

from __future__ import annotations

import logging
import os
import re
import shlex
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

DOCS = Path(__file__).resolve().parent
REPOSITORY = DOCS.parent
_NOTE = re.compile(r"<!-- (file|exit code|not run):? (.+?) -->")
_SCIENTIFIC = re.compile(r"-?\d\.\d+e[-+]\d+")
_DECIMAL = re.compile(r"-?\d+\.\d+")
_TOLERANCE = 3e-3  # tables have three decimals; the last one may depend on the machine


class WeightsAbsent(Exception):
    """A block needs the model that ships, and this checkout has none."""


@dataclass(frozen=True)
class Block:
    """A fenced block: language, content, the line of the page where the content starts (from 1), and its note."""

    language: str
    text: str
    line: int
    note: tuple[str, str] | None


@dataclass(frozen=True)
class Command:
    """One `$` line of a console block, the output shown below it, and the lines (from 1) which that output fills."""

    words: str
    shown: str
    lines: range


def markdown_pages() -> list[Path]:
    """README and every page of docs/, the reports included."""
    return [REPOSITORY / "README.md", *sorted(DOCS.rglob("*.md"))]


@contextmanager
def working_folder() -> Iterator[Path]:
    """A temporary folder with the examples, current while it exists."""
    home = Path.cwd()
    with tempfile.TemporaryDirectory() as name:
        (Path(name) / "examples").symlink_to(REPOSITORY / "examples")
        os.chdir(name)
        try:
            yield Path(name)
        finally:
            os.chdir(home)


def blocks(text: str) -> Iterator[Block]:
    """Fenced blocks of a Markdown text."""
    lines = text.splitlines()
    start, language, note = 0, "", None
    for number, line in enumerate(lines, start=1):
        if not line.startswith("```"):
            continue
        if start:
            yield Block(language, "\n".join(lines[start - 1 : number - 1]) + "\n", start, note)
            start = 0
        else:
            found = _NOTE.fullmatch(lines[number - 2].strip()) if number > 1 else None
            start, language = number + 1, line.strip("` \n")
            note = (found[1], found[2]) if found else None


def commands(block: Block) -> Iterator[Command]:
    """Commands of a console block, continued lines joined."""
    lines = block.text.splitlines()
    position = 0
    while position < len(lines):
        words = lines[position].removeprefix("$ ")
        while words.endswith("\\"):
            position += 1
            words = words[:-1] + lines[position].strip()
        first = position = position + 1
        while position < len(lines) and not lines[position].startswith("$ "):
            position += 1
        yield Command(words, "\n".join(lines[first:position]), range(block.line + first, block.line + position))


def run(page: Path) -> Iterator[tuple[Command, str]]:
    """Run a page in the current folder; yields every command that has run, with its output.

    Raises
    ------
    WeightsAbsent
        A block needs the model that ships, whose file does not exist.
    AssertionError
        A command ends with another exit code than the page says.
    """
    namespace: dict[str, object] = {"__name__": page.stem}
    for block in blocks(page.read_text(encoding="utf-8")):
        kind, detail = block.note or ("", "")
        if kind == "not run":
            continue
        if kind == "file":
            Path(detail).write_text(block.text, encoding="utf-8")
        elif block.language == "python":
            _run_python(block, page, namespace)
        elif block.language in ("console", "bash"):
            yield from _run_console(block, page, int(detail) if kind == "exit code" else 0)


def matches(shown: str, output: str) -> bool:
    """Whether an output is what the page shows: the same words, decimals within a unit of the table's last digits."""
    if not shown.strip():
        return True
    parts = [re.escape(_skeleton(part)) for part in re.split(r"^\.\.\.$", shown, flags=re.MULTILINE)]
    if not re.fullmatch(r"\s*.*?\s*".join(parts), _skeleton(output), flags=re.DOTALL):
        return False
    if len(parts) > 1:
        return True
    pairs = zip(_numbers(shown), _numbers(output), strict=True)
    return all(abs(first - second) <= _TOLERANCE for first, second in pairs)


def _skeleton(text: str) -> str:
    return " ".join(_DECIMAL.sub("#", _SCIENTIFIC.sub("#", text)).split())


def _numbers(text: str) -> list[float]:
    return [float(number) for number in _DECIMAL.findall(_SCIENTIFIC.sub("", text))]


def _run_python(block: Block, page: Path, namespace: dict[str, object]) -> None:
    from voigt.errors import WeightsError

    # Empty lines in front, so that a traceback names the line of the page.
    code = compile("\n" * (block.line - 1) + block.text, str(page), "exec")
    try:
        exec(code, namespace)
    except WeightsError as error:
        _look_for_weights(str(error), page, block)
        raise


def _run_console(block: Block, page: Path, expected: int) -> Iterator[tuple[Command, str]]:
    for command in commands(block):
        program, *words = shlex.split(command.words)
        if program in ("cat", "head"):
            yield command, _file_lines(program, words)
        elif program == "voigt":
            code, output = run_voigt(words)
            if code != expected:
                _look_for_weights(output, page, block)
                raise AssertionError(f"{page.name}, line {block.line}: exit code {code}, not {expected}\n{output}")
            yield command, output


def _file_lines(program: str, words: list[str]) -> str:
    lines = Path(words[-1]).read_text(encoding="utf-8").splitlines()
    return "\n".join(lines[: -int(words[0])] if program == "head" else lines)


def run_voigt(words: list[str]) -> tuple[int, str]:
    """Exit code and output, as a terminal shows both streams."""
    from typer.testing import CliRunner

    from voigt.cli.main import app

    given = None
    if "<" in words:
        *words, _, file = words
        given = Path(file).read_text(encoding="utf-8")
    with _log_restored():
        result = CliRunner().invoke(app, words, input=given)
    return result.exit_code, result.output.replace(f"{Path.cwd()}/", "")  # a page shows paths as a reader types them


@contextmanager
def _log_restored() -> Iterator[None]:
    """A command sends its log to its own standard error, which is gone afterwards."""
    log = logging.getLogger("voigt")
    handlers, level, propagate = log.handlers, log.level, log.propagate
    try:
        yield
    finally:
        log.handlers, log.propagate = handlers, propagate
        log.setLevel(level)


def _look_for_weights(message: str, page: Path, block: Block) -> None:
    from voigt.models.checkpoint import DEFAULT_MODEL, available_models

    if DEFAULT_MODEL not in available_models() and f"no model '{DEFAULT_MODEL}'" in message:
        raise WeightsAbsent(f"{page.name} from line {block.line} on needs {DEFAULT_MODEL}.safetensors, not there yet")
