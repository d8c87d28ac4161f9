"""What the pages say is true: their code runs, their commands print what is shown, tables and links are up to date."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
DOCS = REPOSITORY / "docs"
PAGES = [REPOSITORY / "README.md", *sorted(DOCS.glob("*.md"))]
LINKING = [
    *PAGES,
    *(REPOSITORY / name for name in ("ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md", "examples/README.md")),
    *sorted((REPOSITORY / "src").rglob("*.md")),
]
LINK = re.compile(r"\]\(([^()\s]+)\)")


@pytest.fixture(scope="module")
def tools() -> Iterator[SimpleNamespace]:
    """docs/pages.py and docs/generate.py, which import each other as scripts do."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(DOCS))
        yield SimpleNamespace(pages=importlib.import_module("pages"), generate=importlib.import_module("generate"))


@pytest.fixture
def workshop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder with the examples."""
    (tmp_path / "examples").symlink_to(REPOSITORY / "examples")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("VOIGT_DATA", raising=False)
    return tmp_path


def run_and_compare(pages: ModuleType, page: Path) -> None:
    """Run a page; skip the rest of it where it needs a model that this checkout lacks."""
    try:
        for command, output in pages.run(page):
            assert pages.matches(command.shown, output), (
                f"{page.name}, line {command.lines.start}: '{command.words}' prints something else now; "
                f"renew it with python docs/generate.py --outputs\n{output}"
            )
    except pages.WeightsAbsent as reason:
        pytest.skip(str(reason))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_page_runs(page: Path, tools: SimpleNamespace, workshop: Path) -> None:
    run_and_compare(tools.pages, page)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_generated_tables_are_up_to_date(page: Path, tools: SimpleNamespace) -> None:
    text = page.read_text(encoding="utf-8")
    assert tools.generate.with_tables(text) == text, "run python docs/generate.py"


@pytest.mark.parametrize("page", LINKING, ids=lambda page: page.relative_to(REPOSITORY).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    text = without_code(page.read_text(encoding="utf-8"))
    assert [target for target in LINK.findall(text) if is_broken(page, target)] == []


def test_index_lists_every_page() -> None:
    listed = set(LINK.findall((DOCS / "index.md").read_text(encoding="utf-8")))
    assert {page.name for page in DOCS.glob("*.md")} - {"index.md"} <= listed


def test_every_recipe_key_is_in_the_reference() -> None:
    from pydantic import BaseModel

    from voigt.models.equivar.hypers import EquivarHypers
    from voigt.models.goectp.hypers import GoeCTPHypers
    from voigt.models.sen.hypers import SENHypers
    from voigt.training import recipe

    reference = (DOCS / "training.md").read_text(encoding="utf-8")
    sections = [kind for kind in vars(recipe).values() if isinstance(kind, type) and issubclass(kind, BaseModel)]
    sections += [EquivarHypers, GoeCTPHypers, SENHypers]
    keys = {key for section in sections for key in section.model_fields}
    assert len(keys) > 40
    assert [key for key in sorted(keys) if f"| `{key}` |" not in reference] == []


@pytest.mark.parametrize(
    ("shown", "output", "same"),
    [
        ("a 1.234\n", "a   1.235\n\n", True),
        ("a 1.234\n", "a 1.244\n", False),
        ("a 1.234\n", "b 1.234\n", False),
        ("a 1.234\n", "a 1.234 2.000\n", False),
        ("residual 8.4e-08", "residual 1.1e-07", True),
        ("first\n...\nlast 2", "first\nmore\nlast 2\n", True),
        ("...\nlast 2", "first\nlast 3\n", False),
        ("", "anything", True),
    ],
)
def test_output_is_compared(shown: str, output: str, same: bool, tools: SimpleNamespace) -> None:
    assert tools.pages.matches(shown, output) is same


def test_a_page_that_lies_fails(tools: SimpleNamespace, workshop: Path) -> None:
    page = workshop / "page.md"
    page.write_text("```console\n$ voigt --version\nvoigt of yesterday\n```\n")
    with pytest.raises(AssertionError, match="line 3: 'voigt --version' prints something else"):
        run_and_compare(tools.pages, page)
    page.write_text("```console\n$ voigt models nothere\n```\n")
    with pytest.raises(AssertionError, match="line 2: exit code 2, not 0"):
        run_and_compare(tools.pages, page)
    page.write_text("words\n\n```python\n1 / 0\n```\n")
    with pytest.raises(ZeroDivisionError) as caught:
        run_and_compare(tools.pages, page)
    assert caught.traceback[-1].lineno + 1 == 4  # the traceback names the line of the page
    page.write_text("<!-- generated: properties -->\nold\n<!-- end of generated part -->\n")
    assert "born_charges" in tools.generate.with_tables(page.read_text())


def test_fresh_output_replaces_the_old(tools: SimpleNamespace, workshop: Path) -> None:
    page = workshop / "page.md"
    page.write_text("```console\n$ voigt --version\nof\nyesterday\n$ voigt --version\n```\nend\n")
    from voigt import __version__

    expected = f"```console\n$ voigt --version\nvoigt {__version__}\n$ voigt --version\n```\nend\n"
    assert tools.generate.with_outputs(page) == expected


def without_code(text: str) -> str:
    return re.sub(r"`[^`\n]*`", "", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL))


def is_broken(page: Path, target: str) -> bool:
    if re.match(r"[a-z]+:", target):
        return False
    path, _, anchor = target.partition("#")
    file = (page.parent / path).resolve() if path else page
    if not file.exists():
        return True
    return bool(anchor) and anchor not in {slug(line) for line in file.read_text(encoding="utf-8").splitlines()}


def slug(line: str) -> str | None:
    """The anchor that a heading gets, as GitHub makes it."""
    heading = re.fullmatch(r"#{1,6} (.+)", line)
    return heading and re.sub(r"[^\w\- ]", "", heading[1].lower()).replace(" ", "-")
