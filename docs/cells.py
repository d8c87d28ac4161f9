"""Notebooks kept as text in jupytext's percent format: found cell by cell, executed, and turned into Markdown.

A cell starts at a line `# %%` (Python) or `# %% [markdown]` (words, every line behind `# `). A line `# !voigt ...` in a
Python cell is a command, as jupytext writes it. Pictures that a cell draws, and those that words show from the
working folder, go with the page.
"""

from __future__ import annotations

import ast
import contextlib
import io
import re
import shlex
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pages import DOCS, run_voigt, working_folder

NOTEBOOKS = DOCS / "notebooks"
_MARK = re.compile(r"# %%( \[markdown\])?\s*")
_PICTURE = re.compile(r"!\[[^\]]*\]\(([^():\s]+)\)")


@dataclass(frozen=True)
class Cell:
    """One cell: words or Python, and the line of the file (from 1) where its content starts."""

    words: bool
    text: str
    line: int


@dataclass(frozen=True)
class Output:
    """What a cell printed, the value of its last expression included, and the pictures it drew (PNG)."""

    text: str = ""
    pictures: tuple[bytes, ...] = ()


def notebooks() -> list[Path]:
    """Every notebook of docs/."""
    return sorted(NOTEBOOKS.glob("*.py"))


def cells(text: str) -> list[Cell]:
    """Cells of a notebook; what stands before the first mark belongs to none."""
    found: list[Cell] = []
    lines = text.splitlines()
    starts = [number for number, line in enumerate(lines) if _MARK.fullmatch(line)]
    for start, end in zip(starts, [*starts[1:], len(lines)], strict=True):
        words = "[markdown]" in lines[start]
        content = lines[start + 1 : end]
        if words:
            content = [line.removeprefix("#").removeprefix(" ") for line in content]
        found.append(Cell(words, "\n".join(content).strip("\n"), start + 2))
    return found


def execute(path: Path) -> Iterator[tuple[Cell, Output]]:
    """Run a notebook in the current folder, cell by cell."""
    namespace: dict[str, object] = {"__name__": "__main__"}
    for cell in cells(path.read_text(encoding="utf-8")):
        yield cell, Output() if cell.words else _run(cell, path, namespace)


def markdown(path: Path) -> tuple[str, dict[str, bytes]]:
    """The executed notebook as Markdown, and its pictures by file name; runs in a temporary folder with examples/."""
    parts: list[str] = []
    pictures: dict[str, bytes] = {}
    with working_folder() as folder, warnings.catch_warnings(action="ignore"):
        for cell, output in execute(path):
            parts.append(cell.text if cell.words else f"```python\n{_shown(cell.text)}\n```")
            if output.text.strip():
                parts.append(f"``` {{.text .output}}\n{output.text.rstrip()}\n```")
            for picture in output.pictures:
                name = f"{path.stem}-{len(pictures) + 1}.png"
                pictures[name] = picture
                parts.append(f"![Figure drawn by the cell above]({name})")
        for name in _PICTURE.findall("\n".join(parts)):
            if (folder / name).is_file():
                pictures[name] = (folder / name).read_bytes()
    return "\n\n".join(parts) + "\n", pictures


def _shown(text: str) -> str:
    return "\n".join(line.removeprefix("# ") if line.startswith("# !") else line for line in text.splitlines())


def _run(cell: Cell, path: Path, namespace: dict[str, object]) -> Output:
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        if cell.text.startswith("# !voigt "):
            for line in cell.text.splitlines():
                code, output = run_voigt(shlex.split(line.removeprefix("# !voigt ")))
                if code:
                    raise AssertionError(f"{path.name}, line {cell.line}: exit code {code}\n{output}")
                printed.write(output)
        else:
            value = _run_python(cell, path, namespace)
            printed.write("" if value is None else f"{value!r}\n")
    return Output(printed.getvalue(), tuple(_drawn()))


def _run_python(cell: Cell, path: Path, namespace: dict[str, object]) -> object:
    """Run statements; returns the value of a last expression, which a notebook shows, unless a semicolon ends it."""
    # Empty lines in front, so that a traceback names the line of the file.
    tree = ast.parse("\n" * (cell.line - 1) + cell.text, str(path))
    silent = cell.text.rstrip().endswith(";")
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) and not silent else None
    exec(compile(tree, str(path), "exec"), namespace)
    if not isinstance(last, ast.Expr):
        return None
    return eval(compile(ast.Expression(last.value), str(path), "eval"), namespace)


def _drawn() -> Iterator[bytes]:
    """The figures that are open in pyplot, which are closed."""
    if (pyplot := sys.modules.get("matplotlib.pyplot")) is None:
        return
    for number in pyplot.get_fignums():
        stored = io.BytesIO()
        pyplot.figure(number).savefig(stored, format="png", dpi=110, bbox_inches="tight", metadata={"Software": None})
        pyplot.close(number)
        yield stored.getvalue()
