"""What the documentation says is true: its code and notebooks run, its commands print what is shown, links lead
somewhere, tables that come from the code are up to date, and every public name is in the API reference.
"""

from __future__ import annotations

import importlib
import pkgutil
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import matplotlib
import pytest
import yaml

REPOSITORY = Path(__file__).resolve().parent.parent
DOCS = REPOSITORY / "docs"
PAGES = [REPOSITORY / "README.md", *sorted(DOCS.rglob("*.md"))]
NOTEBOOKS = sorted((DOCS / "notebooks").glob("*.py"))
REPORTS = sorted(set((DOCS / "reports").glob("*.md")) - {DOCS / "reports" / "index.md"})
LINKING = [
    *PAGES,
    *NOTEBOOKS,
    *(REPOSITORY / name for name in ("ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md", "examples/README.md")),
    *sorted((REPOSITORY / "src").rglob("*.md")),
]
LINK = re.compile(r"\]\(([^()\s]+)\)")
BENCHMARK = re.compile(r"python -m (benchmarks\.\w+\.\w+)")

BRITISH = re.compile(
    r"\b\w*(?:[ou]lour|behaviour|neighbour|centre|licence|labelled|modelled|cancelled|misspelt|spoilt|catalogue"
    r"|(?:polar|neutral|normal|symmetr|standard|recogn|optim|organ|general|minim|maxim|initial|real|summar)is(?:e|es|ed|ing|ation))\w*",
    re.IGNORECASE,
)
IDENTIFIERS = re.compile(r"`[^`\n]*`|\w*labelled\w*")  # names of the code are its own matter
INTERNAL = re.compile(
    r"targets? (?:is|are|was|were)? ?(?:both )?(?:missed|met|reached)|against the targets?|was allowed|hoped for"
    r"|the design said|was asked for",
    re.IGNORECASE,
)


@pytest.fixture(scope="module")
def tools() -> Iterator[SimpleNamespace]:
    """The modules in docs/, which import each other as scripts do."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(DOCS))
        yield SimpleNamespace(**{name: importlib.import_module(name) for name in ("pages", "generate", "cells")})


@pytest.fixture
def reference(tools: SimpleNamespace) -> ModuleType:
    """docs/reference.py, which reads the source with griffe."""
    pytest.importorskip("griffe", reason="the extra 'docs' is not installed")
    return importlib.import_module("reference")


@pytest.fixture
def workshop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder with the examples."""
    (tmp_path / "examples").symlink_to(REPOSITORY / "examples")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("VOIGT_DATA", raising=False)
    return tmp_path


@pytest.fixture
def clean_imports(monkeypatch: pytest.MonkeyPatch) -> None:
    """A notebook that imports from examples/ leaves no trace, and draws without a screen."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "toy_springs", raising=False)
    matplotlib.use("Agg")


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


def name_of(page: Path) -> str:
    return page.relative_to(REPOSITORY).as_posix()


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_page_runs(page: Path, tools: SimpleNamespace, workshop: Path) -> None:
    run_and_compare(tools.pages, page)


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=name_of)
def test_notebook_runs(notebook: Path, tools: SimpleNamespace, workshop: Path, clean_imports: None) -> None:
    results = list(tools.cells.execute(notebook))
    assert sum(bool(output.text) for _, output in results) >= 3
    pictures = [picture for _, output in results for picture in output.pictures]
    assert pictures
    assert all(picture.startswith(b"\x89PNG") for picture in pictures)


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=name_of)
def test_notebook_is_read_as_jupytext_reads_it(notebook: Path, tools: SimpleNamespace) -> None:
    jupytext = pytest.importorskip("jupytext", reason="the extra 'docs' is not installed")
    theirs = jupytext.read(notebook, fmt="py:percent").cells
    ours = tools.cells.cells(notebook.read_text(encoding="utf-8"))
    assert [cell.cell_type == "markdown" for cell in theirs] == [cell.words for cell in ours]
    for their, our in zip(theirs, ours, strict=True):
        assert their.source == re.sub(r"^# !", "!", our.text, flags=re.MULTILINE)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_generated_tables_are_up_to_date(page: Path, tools: SimpleNamespace) -> None:
    text = page.read_text(encoding="utf-8")
    assert tools.generate.with_tables(text) == text, "run python docs/generate.py"


@pytest.mark.parametrize("page", LINKING, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    text = without_code(page.read_text(encoding="utf-8"))
    assert [target for target in LINK.findall(text) if is_broken(page, target)] == []


@pytest.mark.parametrize("page", [*PAGES, *NOTEBOOKS, REPOSITORY / "CONTRIBUTING.md"], ids=name_of)
def test_words_are_american_and_name_no_internal_target(page: Path) -> None:
    text = IDENTIFIERS.sub("", page.read_text(encoding="utf-8"))
    assert BRITISH.findall(text) == []
    assert INTERNAL.findall(text) == []


@pytest.mark.parametrize("page", [*PAGES, REPOSITORY / "CONTRIBUTING.md"], ids=name_of)
def test_objects_that_a_page_names_exist(page: Path) -> None:
    names = set(re.findall(r"`(voigt(?:\.\w+)+)", page.read_text(encoding="utf-8")))
    assert [name for name in sorted(names) if not is_object(name)] == []


def test_every_page_is_in_the_navigation() -> None:
    listed = set(page_names(navigation()))
    guides = {path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md")}
    assert guides <= listed
    assert {f"notebooks/{path.stem}.md" for path in NOTEBOOKS} <= listed


def test_index_leads_to_every_page() -> None:
    index = set(LINK.findall((DOCS / "index.md").read_text(encoding="utf-8")))
    index |= {f"reports/{name}" for name in LINK.findall((DOCS / "reports/index.md").read_text(encoding="utf-8"))}
    pages = {path.relative_to(DOCS).as_posix() for path in [*DOCS.rglob("*.md"), *NOTEBOOKS]}
    linked = {target.partition("#")[0] for target in index}
    reached = linked | {"index.md", "notebooks/phonons.py"}  # the last by the page on phonons
    assert pages <= reached


@pytest.mark.parametrize("report", REPORTS, ids=name_of)
def test_report_has_a_date_and_a_command(report: Path) -> None:
    text = report.read_text(encoding="utf-8")
    assert re.search(r"^Date: 20\d\d-\d\d-\d\d$", text, flags=re.MULTILINE)
    command = re.search(r"^(?:\$ voigt|    make) \w+ ", text, flags=re.MULTILINE)
    assert BENCHMARK.search(text) or command or "`voigt train " in text


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_benchmarks_that_a_page_names_exist(page: Path) -> None:
    names = BENCHMARK.findall(page.read_text(encoding="utf-8"))
    assert [name for name in names if not (REPOSITORY / f"{name.replace('.', '/')}.py").exists()] == []


def test_every_command_has_its_options_on_the_page() -> None:
    import typer.main

    from voigt.cli.main import app
    from voigt.cli.screen import DEFAULT

    page = (DOCS / "commands.md").read_text(encoding="utf-8")
    commands: dict[str, Any] = vars(typer.main.get_command(app))["commands"]
    assert len(commands) > 5
    names = []
    for name, command in commands.items():
        inside: dict[str, Any] = vars(command).get("commands", {})
        names += [name] if not inside or DEFAULT in inside else []  # a group may stand for one of its commands
        names += [f"{name} {other}" for other in inside if other != DEFAULT]
    assert [name for name in names if f"<!-- generated: options of voigt {name} -->" not in page] == []


def test_every_recipe_key_is_in_the_reference() -> None:
    from pydantic import BaseModel

    from voigt.models.equivar.hypers import EquivarHypers
    from voigt.models.goectp.hypers import GoeCTPHypers
    from voigt.models.sen.hypers import SENHypers
    from voigt.training import recipe

    page = (DOCS / "recipe.md").read_text(encoding="utf-8")
    sections = [kind for kind in vars(recipe).values() if isinstance(kind, type) and issubclass(kind, BaseModel)]
    sections += [EquivarHypers, GoeCTPHypers, SENHypers]
    keys = {key for section in sections for key in section.model_fields}
    assert len(keys) > 40
    assert [key for key in sorted(keys) if f"| `{key}` |" not in page] == []


def test_public_names_are_documented(reference: ModuleType) -> None:
    assert reference.problems() == []


def test_public_names_are_in_the_reference_once(reference: ModuleType) -> None:
    described = "\n".join(reference.pages().values())
    for room in reference.ROOMS:
        for module in reference.sections(room):
            for entry in reference.public_names(module):
                first = reference.described()[entry.defined]
                assert described.count(f"::: {first.path}\n") == 1
                assert entry == first or f"[`{entry.name}`][{first.path}]" in described


def test_an_undocumented_public_name_is_a_problem(
    reference: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import griffe

    room = tmp_path / "voigt"
    room.mkdir()
    (room / "__init__.py").write_text('"""A room."""\n__all__ = ["told", "silent", "absent", "_private"]\n')
    with (room / "__init__.py").open("a") as stream:
        stream.write('def told():\n    """Words."""\ndef silent():\n    pass\n')
    monkeypatch.setattr(reference, "ROOMS", ("voigt",))
    monkeypatch.setattr(reference, "package", lambda: griffe.load("voigt", search_paths=[tmp_path]))
    assert reference.problems() == ["voigt.absent does not exist", "voigt.silent has no docstring"]


@pytest.mark.slow
def test_site_builds_without_warnings_and_without_other_hosts(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs", reason="the extra 'docs' is not installed")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")]
    result = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=280, check=False)
    assert result.returncode == 0, result.stderr[-4000:]
    loaded = re.compile(r"<(?:script|img|iframe)\b[^>]*\bsrc=\"?(?:https?:)?//|<link\b[^>]*stylesheet[^>]*//")
    pages = list((tmp_path / "site").rglob("*.html"))
    assert len(pages) > 40
    assert [page for page in pages if loaded.search(page.read_text(encoding="utf-8"))] == []


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


def test_a_notebook_shows_what_jupyter_would(tools: SimpleNamespace, workshop: Path, clean_imports: None) -> None:
    notebook = workshop / "notebook.py"
    notebook.write_text(
        "# %% [markdown]\n# # Title\n#\n# ![drawn](drawn.png)\n\n# %%\nx = 2\nprint('printed')\nx + 1\n\n"
        "# %%\nimport matplotlib.pyplot as plt\nplt.plot([1, 2])\nplt.gcf().savefig('drawn.png');\n\n"
        "# %%\n# !voigt --version\n"
    )
    results = list(tools.cells.execute(notebook))
    assert [output.text for _, output in results][1:3] == ["printed\n3\n", ""]
    assert results[3][1].text.startswith("voigt ")
    text, pictures = tools.cells.markdown(notebook)
    assert text.startswith("# Title\n\n![drawn](drawn.png)\n\n```python\nx = 2\n")
    assert "``` {.text .output}\nprinted\n3\n```" in text
    assert "!voigt --version\n```" in text
    assert list(pictures) == ["notebook-1.png", "drawn.png"]
    notebook.write_text("# %%\na = 1\n\n# %%\n1 / 0\n")
    with pytest.raises(ZeroDivisionError) as caught:
        list(tools.cells.execute(notebook))
    assert caught.traceback[-1].lineno + 1 == 5  # the traceback names the line of the file


def test_fresh_output_replaces_the_old(tools: SimpleNamespace, workshop: Path) -> None:
    page = workshop / "page.md"
    page.write_text("```console\n$ voigt --version\nof\nyesterday\n$ voigt --version\n```\nend\n")
    from voigt import __version__

    expected = f"```console\n$ voigt --version\nvoigt {__version__}\n$ voigt --version\n```\nend\n"
    assert tools.generate.with_outputs(page) == expected


def navigation() -> Any:
    """The `nav` of mkdocs.yml, whose tags for Python objects count as nothing."""

    class Loader(yaml.SafeLoader):
        pass

    Loader.add_multi_constructor("tag:yaml.org,2002:python/", lambda *_: None)
    return yaml.load((REPOSITORY / "mkdocs.yml").read_text(encoding="utf-8"), Loader)["nav"]


def page_names(entries: Any) -> Iterator[str]:
    if isinstance(entries, str):
        yield entries
    else:
        for entry in entries.values() if isinstance(entries, dict) else entries:
            yield from page_names(entry)


def is_object(name: str) -> bool:
    try:
        pkgutil.resolve_name(name)
    except (ImportError, AttributeError):
        return False
    return True


def without_code(text: str) -> str:
    return re.sub(r"`[^`\n]*`", "", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL))


def is_broken(page: Path, target: str) -> bool:
    if re.match(r"[a-z]+:", target):
        return False
    path, _, anchor = target.partition("#")
    file = (page.parent / path).resolve() if path else page
    if not file.exists():
        return not (page.suffix == ".py" and file.suffix == ".png")  # a notebook's own picture
    return bool(anchor) and anchor not in {slug(line) for line in file.read_text(encoding="utf-8").splitlines()}


def slug(line: str) -> str | None:
    """The anchor that a heading gets, as GitHub makes it."""
    heading = re.fullmatch(r"#{1,6} (.+)", line)
    return heading and re.sub(r"[^\w\- ]", "", heading[1].lower()).replace(" ", "-")
