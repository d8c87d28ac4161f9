"""Pieces of a page that stands alone: no scripts, nothing from elsewhere, every text escaped."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from html import escape

from voigt.text import one_line

STYLE = """
:root{color-scheme:light dark;--ink:#1c2126;--soft:#59636e;--line:#d5dae0;--page:#fff;--head:#f2f5f7;--mark:#b04a00;
--link:#005a9c;--warn:#fff4e5;--edge:#d98324}
@media (prefers-color-scheme:dark){:root{--ink:#e4e8ec;--soft:#a3adb8;--line:#3a424b;--page:#15191d;--head:#20262c;
--mark:#ffb068;--link:#7ab8f5;--warn:#33271a;--edge:#d98324}figure img{filter:invert(1) hue-rotate(180deg)}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:62rem;padding:1rem 1rem 4rem;color:var(--ink);background:var(--page);
font:1rem/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
h1{font-size:1.7rem;line-height:1.2;margin:.6rem 0 .2rem}h2{font-size:1.25rem;margin:2.4rem 0 .6rem;
border-bottom:1px solid var(--line);padding-bottom:.2rem}h3{font-size:1rem;margin:1.4rem 0 .3rem}
p{max-width:46rem;margin:.5rem 0}a{color:var(--link)}nav ul{display:flex;flex-wrap:wrap;gap:.1rem 1rem;padding:0;
margin:.8rem 0;list-style:none;font-size:.9rem}
.wide{overflow-x:auto;margin:.6rem 0}table{border-collapse:collapse;font-size:.9rem;font-variant-numeric:tabular-nums}
caption{text-align:left;color:var(--soft);padding:.2rem 0;font-size:.88rem}
th,td{padding:.22rem .7rem;text-align:right;border-bottom:1px solid var(--line);white-space:nowrap}
.row{display:flex;flex-wrap:wrap;gap:0 2.5rem;align-items:flex-end}.row .wide{max-width:100%}.row table{min-width:17rem}
td.text,th.text,th.long{text-align:left}td.long{text-align:left;white-space:normal;min-width:14rem}
thead th{background:var(--head)}th{font-weight:600}strong.free{color:var(--mark);font-weight:600}
.warnings{background:var(--warn);border-left:4px solid var(--edge);padding:.5rem .5rem .5rem 1rem;margin:1rem 0}
.warnings h2{border:0;margin:0;font-size:1.05rem}.warnings ol{margin:.3rem 0;padding-left:1.3rem}
figure{margin:1rem 0}figure img{max-width:100%;height:auto;display:block;background:#fff}
figcaption{font-size:.88rem;color:var(--soft);max-width:46rem}
pre{overflow-x:auto;background:var(--head);padding:.7rem;font-size:.85rem}sup a{text-decoration:none}
@media (max-width:40rem){body{padding:.6rem .6rem 3rem}th,td{padding:.2rem .45rem}}
@media print{:root{color-scheme:light;--ink:#000;--soft:#444;--line:#bbb;--page:#fff;--head:#f2f2f2;--mark:#8a3a00;
--link:#000;--warn:#fff}body{max-width:none;font-size:9.5pt;padding:0}nav{display:none}figure img{filter:none;
max-height:20cm}figure,table,pre,.warnings{break-inside:avoid}h2,h3{break-after:avoid}.wide{overflow:visible}}
""".strip()


class Markup(str):
    """Text that is HTML already: made here or by `text`, never of a file."""

    __slots__ = ()


def text(words: object) -> Markup:
    """Words of anybody, on one line and escaped; `Markup` as it is.

    Examples
    --------
    >>> text("<script>"), text(Markup("<b>x</b>"))
    ('&lt;script&gt;', '<b>x</b>')
    """
    return words if isinstance(words, Markup) else Markup(escape(one_line(str(words))))


def join(parts: Sequence[object], between: str = "") -> Markup:
    """Pieces one after the other, those that are no `Markup` escaped."""
    return Markup(between.join(map(text, parts)))


def paragraph(*parts: object) -> Markup:
    """A paragraph."""
    return Markup(f"<p>{join(parts)}</p>")


def section(anchor: str, title: str, *blocks: Markup) -> Markup:
    """A heading of the second level and what follows; `anchor` is an id of ours."""
    return Markup(f'<section id="{text(anchor)}">\n<h2>{text(title)}</h2>\n{join(blocks, chr(10))}\n</section>')


def link(anchor: str, words: object) -> Markup:
    """A link to a section of the page."""
    return Markup(f'<a href="#{text(anchor)}">{text(words)}</a>')


def items(entries: Sequence[object], ordered: bool = False) -> Markup:
    """A list."""
    kind = "ol" if ordered else "ul"
    return Markup(f"<{kind}>{''.join(f'<li>{text(entry)}</li>' for entry in entries)}</{kind}>")


def table(caption: str, head: Sequence[object], rows: Sequence[Sequence[object]], sides: str = "") -> Markup:
    """A table whose first column holds the headings of its rows; on a small screen it scrolls by itself.

    `sides`: "l" (text), "w" (text that wraps) or "r" for each column; without it "l" for the first, "r" for others.
    """
    words = {"l": ' class="text"', "w": ' class="long"', "r": ""}
    kinds = [words[side] for side in sides or "l" + "r" * (len(head) - 1)]
    top = "".join(f'<th scope="col"{kind}>{text(cell)}</th>' for kind, cell in zip(kinds, head, strict=True))
    body = []
    for first, *others in rows:
        cells = "".join(f"<td{kind}>{text(cell)}</td>" for kind, cell in zip(kinds[1:], others, strict=True))
        body.append(f'<tr><th scope="row"{kinds[0]}>{text(first)}</th>{cells}</tr>')
    return Markup(
        f'<div class="wide" role="region" aria-label="{text(caption)}" tabindex="0"><table>\n'
        f"<caption>{text(caption)}</caption>\n<thead><tr>{top}</tr></thead>\n"
        f"<tbody>{chr(10).join(body)}</tbody>\n</table></div>"
    )


def row(blocks: Sequence[Markup]) -> Markup:
    """Blocks side by side where there is room."""
    return Markup(f'<div class="row">{join(blocks, chr(10))}</div>')


def figure(png: bytes, alternative: str, caption: object) -> Markup:
    """A picture inside the page."""
    data = b64encode(png).decode("ascii")
    return Markup(
        f'<figure><img src="data:image/png;base64,{data}" alt="{text(alternative)}">\n'
        f"<figcaption>{text(caption)}</figcaption></figure>"
    )


def code(lines: Sequence[str]) -> Markup:
    """Lines of a program or for a shell."""
    return Markup(f"<pre><code>{chr(10).join(text(line) for line in lines)}</code></pre>")


def document(title: str, body: Sequence[Markup]) -> str:
    """The whole page."""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; img-src data:; '
        "style-src 'unsafe-inline'\">\n"
        f"<title>{text(title)}</title>\n<style>\n{STYLE}\n</style>\n</head>\n<body>\n"
        f"<main>\n{join(body, chr(10))}\n</main>\n</body>\n</html>\n"
    )
