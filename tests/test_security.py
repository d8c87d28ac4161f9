"""What must not be in the package: ways by which a file of a stranger could run code, and the few exceptions."""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.conftest import REPOSITORY

SOURCE = REPOSITORY / "src" / "voigt"

MODULES = {
    "pickle": "unpickling runs code",
    "dill": "unpickling runs code",
    "cloudpickle": "unpickling runs code",
    "joblib": "its files are pickles",
    "shelve": "its files are pickles",
    "marshal": "it loads code",
    "yaml": "voigt.safe_yaml is the only reader of YAML",
    "xml": "entities may expand without end",
    "lxml": "entities may name other files",
    "subprocess": "no text of a file may reach a shell",
    "pty": "no text of a file may reach a shell",
    "code": "it runs code",
    "runpy": "it runs code",
    "ctypes": "it goes around all checks",
    "monty": "its JSON builds objects",
    "ase.db": "its JSON builds objects",
    "ase.io.jsonio": "its JSON builds objects",
    "ase.io.trajectory": "its JSON builds objects",
    "phonopy.interface.phonopy_yaml": "it reads YAML with a loader that runs code",
}
"""Modules that no file imports."""

CALLS = {
    "eval": "it runs code",
    "exec": "it runs code",
    "compile": "it makes code",
    "__import__": "it runs code",
    "os.system": "it is a shell",
    "os.popen": "it is a shell",
    "torch.load": "its files are pickles",
    "torch.save": "its files are pickles, which somebody would have to load",
    "torch.jit.load": "it loads code",
    "torch.hub.load": "it fetches code",
    "np.loads": "it unpickles",
    "tempfile.mktemp": "another process may take the name first",
    "shutil.unpack_archive": "members may leave the folder",
    "importlib.import_module": "it runs code",
    "import_module": "it runs code",
}
"""Calls that no file makes."""

METHODS = {"extractall": "members may leave the folder", "unsafe_load": "it builds objects", "full_load": "the same"}

EXCEPTIONS = {
    ("safe_yaml.py", "yaml"): "the one reader: events of a safe loader, see its tests",
    ("screening/engines/ray.py", "pickle"): "messages between our own processes of a Ray cluster, never a file",
    (
        "response/phonons/yaml_files.py",
        "phonopy.interface.phonopy_yaml",
    ): "it is given values that voigt.safe_yaml has read, never a file",
    ("structures/readers/vasp.py", "xml"): "a file that declares entities is refused before it is parsed",
    ("response/phonons/force_constants.py", "importlib.import_module"): "--calculator: who calls names the module",
    ("response/potentials/registry.py", "importlib.import_module"): "names of packages, written in the source",
    ("training/queue.py", "subprocess"): "it starts voigt itself, as a list of words and without a shell",
    ("memory.py", "ctypes"): "two numbers, written in the source, to a function of the C library of this process",
    ("lazy.py", "import_module"): "names of our own modules, written in the source",
}
"""File and name -> why it may. Whoever adds a line says what keeps strangers away."""

FILES = sorted(SOURCE.rglob("*.py"))


def dotted(node: ast.AST) -> str:
    """`a.b.c` of an expression, "" for another."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        before = dotted(node.value)
        return f"{before}.{node.attr}" if before else ""
    return ""


def faults(tree: ast.AST) -> Iterator[tuple[str, str, int]]:
    """Name, reason and line of everything that is not allowed."""
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names = [node.module or ""]
        for name in names:
            words = name.split(".")
            for found in {".".join(words[:k]) for k in range(1, len(words) + 1)} & set(MODULES):
                yield found, MODULES[found], node.lineno
        if isinstance(node, ast.Call):
            yield from call_faults(node)


def call_faults(node: ast.Call) -> Iterator[tuple[str, str, int]]:
    name = dotted(node.func)
    method = node.func.attr if isinstance(node.func, ast.Attribute) else ""
    given = {word.arg: ast.unparse(word.value) for word in node.keywords if word.arg}
    if name in CALLS:
        yield name, CALLS[name], node.lineno
    if method in METHODS:
        yield method, METHODS[method], node.lineno
    if name in ("np.load", "numpy.load") and given.get("allow_pickle") != "False":
        yield name, "arrays of objects are pickles: say allow_pickle=False", node.lineno
    if given.get("allow_pickle") == "True":
        yield name, "arrays of objects are pickles", node.lineno
    if given.get("weights_only") == "False":
        yield name, "it unpickles", node.lineno
    if given.get("shell") == "True":
        yield name, "it is a shell", node.lineno
    if given.get("trust_remote_code") == "True":
        yield name, "it fetches code", node.lineno


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(SOURCE).as_posix())
def test_no_file_runs_what_it_reads(path: Path):
    place = path.relative_to(SOURCE).as_posix()
    found = [
        f"{place}:{line}: {name} ({reason})"
        for name, reason, line in faults(ast.parse(path.read_text(encoding="utf-8")))
        if (place, name) not in EXCEPTIONS
    ]
    assert found == []


def test_exceptions_are_in_use():
    used = {
        (path.relative_to(SOURCE).as_posix(), name)
        for path in FILES
        for name, _, _ in faults(ast.parse(path.read_text(encoding="utf-8")))
    }
    assert set(EXCEPTIONS) - used == set()


def limits() -> list[tuple[str, str]]:
    """Constant and value of every row of the table in the documentation."""
    page = (REPOSITORY / "docs" / "security.md").read_text(encoding="utf-8")
    return re.findall(r"^\| .+ \| (?:at least )?([\d,.]+).* \| `([\w.]+)` \|$", page, re.MULTILINE)


def test_the_limits_of_the_documentation_are_those_of_the_code():
    found = limits()
    assert len(found) > 15
    for value, name in found:
        module, _, constant = name.rpartition(".")
        assert getattr(importlib.import_module(f"voigt.{module}"), constant) == float(value.replace(",", "")), name


@pytest.mark.parametrize(
    "line",
    [
        "import pickle",
        "from pickle import loads",
        "import yaml",
        "from xml.etree import ElementTree",
        "eval('1')",
        "torch.load(path, weights_only=True)",
        "loader(path, weights_only=False)",
        "np.load(path)",
        "np.load(path, allow_pickle=True)",
        "run(words, shell=True)",
        "archive.extractall(folder)",
        "importlib.import_module(name)",
    ],
)
def test_the_test_itself(line: str):
    assert list(faults(ast.parse(line)))


@pytest.mark.parametrize(
    "line", ["import json", "network.eval()", "re.compile(x)", "np.load(p, allow_pickle=False)", "pattern.compile()"]
)
def test_harmless_lines(line: str):
    assert list(faults(ast.parse(line))) == []
