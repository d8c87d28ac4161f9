"""The contract between rooms: imports point downwards, and no modules import each other in a circle."""

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest
from tests.conftest import REPOSITORY

SOURCE = REPOSITORY / "src" / "voigt"
# From the ground up: a room may use those before it. Rooms of one line do not use each other.
ORDER = (
    ("text", "weights"),
    ("errors",),
    ("files", "lazy", "memory", "notes", "reasons", "safe_json", "safe_yaml"),
    ("tensors", "viewer"),
    ("structures",),
    ("data",),
    ("graphs",),
    ("models",),
    ("prediction", "training"),
    ("response",),
    ("writers",),
    ("evaluation", "interpretation", "screening", "calculations"),
    ("audit", "finetuning"),
    ("api",),
    ("app",),
    ("cli",),
)
LEVEL = {room: level for level, rooms in enumerate(ORDER) for room in rooms}
SUBROOMS = {
    "screening": ("store", "query", "engines", "refine", "report"),
    "models": ("equivariant", "equivar", "goectp", "sen"),
    "response": ("potentials", "phonons", "assembly"),
}


def module_name(path: Path) -> str:
    parts = path.relative_to(SOURCE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in sorted(SOURCE.rglob("*.py"))}


def is_for_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def imported(tree: ast.AST, types: bool) -> Iterator[str]:
    """Modules of voigt that a file imports, inside functions too; with `types` also for annotations alone."""
    for node in ast.iter_child_nodes(tree):
        if is_for_types(node) and not types:
            continue
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "voigt":
            for alias in node.names:
                longer = f"{node.module}.{alias.name}"
                yield longer if longer in MODULES else str(node.module)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] == "voigt")
        else:
            yield from imported(node, types)


def imports_of(module: str, types: bool = True) -> set[str]:
    return set(imported(ast.parse(MODULES[module].read_text()), types)) - {module}


def room_of(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


@pytest.mark.parametrize("module", [name for name in MODULES if room_of(name)])
def test_a_room_uses_only_the_rooms_below_it(module):
    here = LEVEL[room_of(module)]
    upward = [
        target
        for target in imports_of(module)
        if room_of(target) and room_of(target) != room_of(module) and LEVEL[room_of(target)] >= here
    ]
    assert upward == []


def test_no_modules_import_each_other_in_a_circle():
    # The package itself hands out names of api when asked for them, and knows its version.
    graph = {module: imports_of(module, types=False) - {"voigt"} for module in MODULES if module != "voigt"}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"a circle of imports: {' -> '.join(error.args[1])}")


@pytest.mark.parametrize("room", SUBROOMS)
def test_subrooms_use_only_those_before_them(room):
    """In models each method knows the shared message passing alone; elsewhere each stage knows the earlier ones."""
    order = SUBROOMS[room]
    wrong = []
    for module in MODULES:
        parts = module.split(".")
        if len(parts) < 4 or parts[1] != room or parts[2] not in order:
            continue
        before = order[:1] if room == "models" else order[: order.index(parts[2])]
        for target in imports_of(module):
            other = target.split(".")
            if len(other) > 2 and other[1] == room and other[2] in order and other[2] not in (parts[2], *before):
                wrong.append(f"{module} -> {target}")
    assert wrong == []


def test_every_module_has_a_place_in_the_order():
    assert {room_of(name) for name in MODULES} - {""} == set(LEVEL)
