"""What mkdocs runs while it builds the site: pages that are made from other files of the repository, and their links.

A page links to files as GitHub shows them, `../ARCHITECTURE.md` say. Here such a link becomes one to the page made of
that file. A link that leads nowhere, or to a file that has no page, is a warning, and `make docs` fails on warnings.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path, PurePosixPath
from posixpath import normpath, relpath
from typing import Any

import cells
import reference
from mkdocs.plugins import get_plugin_logger
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from pages import DOCS, REPOSITORY

log = get_plugin_logger("voigt")
_LINK = re.compile(r"(\]\()([^()\s:#]+)((?:#[^()\s]*)?\))")
_FILE = re.compile(r"^<!-- file: (\S+) -->\n```(\w+)$", re.MULTILINE)
_CODE = re.compile(r"(^```.*?^```|`[^`\n]+`)", re.MULTILINE | re.DOTALL)


def on_config(config: Any) -> Any:
    """The pages of the API reference and of the examples take their places in the navigation."""
    made = {
        "MODELS": [page_of(path) for path in sorted((REPOSITORY / "src/voigt/weights").glob("*.md"))],
        "METHODS": [page_of(path) for path in sorted((REPOSITORY / "src/voigt/models").glob("*/README.md"))],
        "SCRIPTS": [page_of(path) for path in scripts()],
        "API": [{room: reference.page_of(room)} for room in reference.ROOMS],
    }
    config.nav = filled(config.nav, made)
    return config


def filled(entries: Any, made: dict[str, list[Any]]) -> Any:
    """The navigation with lists of pages in place of their names."""
    if isinstance(entries, dict):
        return {title: filled(entry, made) for title, entry in entries.items()}
    if isinstance(entries, list):
        parts = ([filled(entry, made)] if isinstance(entry, dict) else made.get(entry, [entry]) for entry in entries)
        return [entry for part in parts for entry in part]
    return entries


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that are not Markdown files in docs/."""
    for problem in reference.problems():
        log.warning("API reference: %s", problem)
    for name, text in reference.pages().items():
        files.append(File.generated(config, name, content=text))
    for path in markdown_elsewhere():
        files.append(File.generated(config, page_of(path), content=path.read_text(encoding="utf-8")))
    for path in scripts():
        text = path.read_text(encoding="utf-8")
        page = f"# {path.name}\n\n```python\n{text}```\n"
        files.append(File.generated(config, page_of(path), content=page))
    for path in cells.notebooks():
        text, pictures = cells.markdown(path)
        files.append(File.generated(config, page_of(path), content=text))
        for name, picture in pictures.items():
            files.append(File.generated(config, f"notebooks/{name}", content=picture))
    return files


def on_page_markdown(markdown: str, *, page: Page, files: Files, **_: Any) -> str:
    """Links to files of the repository become links to their pages."""
    source = origins().get(page.file.src_uri)
    if source is None:
        return markdown
    folder = PurePosixPath(page.file.src_uri).parent

    def moved(link: re.Match[str]) -> str:
        if files.get_file_from_path(normpath(folder / link[2])) is not None:
            return link[0]
        target = (source.parent / link[2]).resolve()
        if not target.is_relative_to(REPOSITORY) or not target.exists():
            log.warning("%s: no such file: %s", source.relative_to(REPOSITORY), link[2])
            return link[0]
        return f"{link[1]}{relpath(page_of(target), folder)}{link[3]}"

    markdown = _FILE.sub(r'```\2 title="\1"', markdown)
    parts = _CODE.split(markdown)  # code at odd places
    for k, part in enumerate(parts):
        if k % 2 == 0:
            parts[k] = _LINK.sub(moved, part)
        elif not part.startswith("```"):
            parts[k] = inline_code(part, linked=parts[k - 1].endswith("["))
    return "".join(parts)


def inline_code(code: str, linked: bool) -> str:
    """Code between backticks; the path of a public object leads to the reference, unless it is part of a link."""
    if not linked and (place := api_links().get(code.strip("`"))) is not None:
        return f"[{code}][{place}]"
    return code.replace(r"\|", "|")  # GitHub needs the backslash in tables, Python-Markdown shows it


@cache
def api_links() -> dict[str, str]:
    """Dotted path of a public object, as it is imported or where it is defined -> its place in the reference."""
    links = {}
    for defined, entry in reference.described().items():
        links |= {defined: entry.path, entry.path: entry.path}
    return links


def markdown_elsewhere() -> Iterator[Path]:
    """Markdown files outside docs/ that are pages of the site."""
    yield from (REPOSITORY / name for name in ("ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md"))
    yield REPOSITORY / "examples/README.md"
    yield from sorted((REPOSITORY / "src/voigt").rglob("*.md"))


def scripts() -> list[Path]:
    """The scripts of examples/."""
    return sorted((REPOSITORY / "examples").glob("*.py"))


def page_of(path: Path) -> str:
    """The place in the site of a file of the repository."""
    name = path.relative_to(REPOSITORY).as_posix()
    if name.startswith("docs/notebooks/"):
        return f"notebooks/{path.stem}.md"
    if name.startswith("docs/"):
        return name.removeprefix("docs/")
    if name == "README.md":
        return "index.md"
    if name.startswith("src/voigt/weights/"):
        return f"models/{path.name}"
    if name.startswith("src/voigt/models/"):
        return f"methods/{path.parent.name}.md"
    if name.startswith("examples/"):
        return "examples/index.md" if path.name == "README.md" else f"examples/{path.stem}.md"
    return f"project/{path.name.lower()}"


def origins() -> dict[str, Path]:
    """Page of the site -> the file of the repository that it shows."""
    paths = [*DOCS.rglob("*.md"), *cells.notebooks(), *markdown_elsewhere(), *scripts()]
    return {page_of(path): path for path in paths}
