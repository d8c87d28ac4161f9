"""Files of the page: a table that is made at the start, so that no request leads to a path."""

from __future__ import annotations

from pathlib import Path

from voigt.viewer import STATIC

INDEX = "index.html"
_MEDIA = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".ico": "image/x-icon",
    ".woff2": "font/woff2",
    ".wasm": "application/wasm",
    ".map": "application/json",
    ".txt": "text/plain; charset=utf-8",
}
Table = dict[str, tuple[bytes, str]]


def static_files(folder: Path = STATIC) -> Table:
    """Relative path -> content and media type of every file of the page, each also below static/; empty without one."""
    found: Table = {}
    for path in sorted(folder.rglob("*")) if folder.is_dir() else ():
        media_type = _MEDIA.get(path.suffix)
        if media_type is not None and path.is_file():
            entry = path.read_bytes(), media_type
            name = path.relative_to(folder).as_posix()
            found[name] = found[f"static/{name}"] = entry
    return found
