"""Scenes and the bundle of `static/` as one HTML page that stands alone: no server, no other hosts."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from html import escape
from pathlib import Path
from typing import Any

from voigt.files import atomic_write
from voigt.text import one_line

STATIC = Path(__file__).parent / "static"
"""Folder of the page, its script and its style sheet, made by `make page` from `frontend/`."""
HEIGHT = 780
"""Pixels of the frame in a notebook."""


@dataclass(frozen=True)
class View:
    """A page that stands alone, as a frame in a notebook or as a file.

    Attributes
    ----------
    html
        The whole page.
    title
        What it shows, for screen readers.
    height
        Pixels of the frame.
    """

    html: str = field(repr=False)
    title: str
    height: int = HEIGHT

    def _repr_html_(self) -> str:
        """A frame that holds the page; it can run its script and offer files, and reaches nothing else."""
        return (
            f'<iframe srcdoc="{escape(self.html)}" title="{escape(self.title)}" '
            f'sandbox="allow-scripts allow-downloads" style="width:100%;height:{self.height}px;border:0"></iframe>'
        )

    def save(self, path: str | Path) -> None:
        """Write the page to a file; OutputError."""
        with atomic_write(path) as stream:
            stream.write(self.html)


def stand_alone(
    scenes: Sequence[Mapping[str, Any]],
    title: str,
    chosen: str | None = None,
    front: Mapping[str, Any] | None = None,
) -> str:
    """One HTML page with crystals, their pictures and tables.

    Nothing is loaded from anywhere: script and style are inside, and the page's own policy allows no other script (by
    their hashes) and no connection. Texts of scenes are data to the script, never HTML.

    Parameters
    ----------
    scenes
        As `dataclasses.asdict(voigt.prediction.scene.scene(prediction))` makes them.
    title
        Of the page.
    chosen
        `id` of the scene to show first; None: the first.
    front
        A Pareto front whose points choose the scene: `x` and `y` with `label`, `log` and `maximize`; `points` from the
        left to the right with `id`, `formula`, `x`, `y`, `flags` and whether their scene is `held`; `cloud`, pairs
        (x, y) of other crystals.

    Examples
    --------
    >>> page = stand_alone([{"id": "</script>"}], "A crystal")
    >>> page.count("</script>"), "http://" in page.replace("http://www.w3.org/", "")
    (2, False)
    """
    # A module script may hold anything but its own end, which the builder never writes.
    script = (STATIC / "voigt.js").read_text(encoding="utf-8")
    style = (STATIC / "voigt.css").read_text(encoding="utf-8")
    policy = (
        f"default-src 'none'; script-src '{_hashed(script)}'; style-src '{_hashed(style)}'; img-src data: blob:; "
        "base-uri 'none'; form-action 'none'"
    )
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{escape(one_line(title))}</title>\n<style>{style}</style>\n</head>\n<body>\n"
        f'<div id="voigt"></div>\n<script type="application/json" id="voigt-scenes">'
        f"{_as_data({'scenes': list(scenes), 'chosen': chosen, 'front': front})}</script>\n"
        f'<script type="module">{script}</script>\n</body>\n</html>\n'
    )


def _as_data(content: Mapping[str, Any]) -> str:
    """JSON without the signs that could end the element which holds it; what is not finite is an error."""
    text = json.dumps(content, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _hashed(text: str) -> str:
    return f"sha256-{b64encode(sha256(text.encode()).digest()).decode()}"
