"""Write the generated parts of the pages: tables from the code, and the output that commands show.

`python docs/generate.py` writes the tables of recipe keys, options and properties. `--outputs` runs every page as well
and writes the output below its commands. `--check` writes nothing and ends with 1 if a table is not up to date.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pages import WeightsAbsent, markdown_pages, run, working_folder

_PART = re.compile(r"(<!-- generated: (.+?) -->\n).*?(<!-- end of generated part -->)", re.DOTALL)


def with_tables(text: str) -> str:
    """The page with every generated part made anew."""
    return _PART.sub(lambda part: f"{part[1]}\n{_table_of(part[2])}\n\n{part[3]}", text)


def with_outputs(page: Path) -> str:
    """The page with fresh output where it shows any; runs the page in a temporary folder."""
    lines: list[str | None] = list(page.read_text(encoding="utf-8").splitlines())
    with working_folder():
        try:
            for command, output in run(page):
                if command.shown.strip() and "\n...\n" not in f"\n{command.shown}\n":
                    first, last = command.lines[0] - 1, command.lines[-1]
                    lines[first:last] = [output.strip("\n"), *[None] * (last - first - 1)]
        except WeightsAbsent as error:
            sys.stderr.write(f"{error}\n")
    return "\n".join(line for line in lines if line is not None) + "\n"


def recipe_tables() -> str:
    """Every key of a recipe, section by section."""
    from voigt.models.equivar.hypers import preset
    from voigt.training.recipe import Recipe

    schema = Recipe.model_json_schema()
    paper = preset("bm1").model_dump(mode="json")
    sections = [
        ("Top level", schema, None),
        ("`data`, each entry", schema["$defs"]["DataSource"], None),
        ("`targets`, each property", schema["$defs"]["TargetSettings"], None),
        ("`split`", schema["$defs"]["SplitSettings"], None),
        ("`optimizer`", schema["$defs"]["OptimizerSettings"], None),
        ("`model`: hyper-parameters of Equivar", schema["$defs"]["EquivarHypers"], paper),
        ("`model`: hyper-parameters of GoeCTP", schema["$defs"]["GoeCTPHypers"], None),
        ("`model`: hyper-parameters of SEN", schema["$defs"]["SENHypers"], None),
    ]
    return "\n\n".join(f"### {title}\n\n{_section(content, other)}" for title, content, other in sections)


def option_table(name: str) -> str:
    """Arguments and options of one command, or of the one that a group stands for."""
    import typer.main

    from voigt.cli.main import app
    from voigt.cli.screen import DEFAULT

    command: Any = typer.main.get_command(app)
    for word in name.split():
        command = command.commands[word]
    command = command.commands[DEFAULT] if hasattr(command, "commands") else command
    rows = []
    for option in command.params:
        if option.param_type_name == "argument":
            rows.append([f"`{option.metavar}`", "", option.help])
            continue
        names = ", ".join(f"`{text}`" for text in reversed(option.opts))
        names += "".join(f", `{text}`" for text in option.secondary_opts)
        value = "" if option.metavar is None else f" `{option.metavar}`"
        default = "" if option.default is None else f"`{option.default}`"
        if isinstance(option.default, bool):
            default = f"`{option.opts[0]}`" if option.default else ""
        rows.append([names + value, default, option.help])
    return _table(["", "default", "meaning"], rows)


def property_table() -> str:
    """The declarations of `voigt.tensors.properties`."""
    from voigt.tensors.properties import PROPERTIES

    shapes = {"ijk=ikj": "3x6", "ijkl=jikl=klij": "6x6"}
    rows = []
    for entry in PROPERTIES.values():
        shape = "x".join(["3"] * entry.rank) or "number"
        stored = f"{shapes[entry.formula]}, Voigt order" if entry.storage == "voigt" else f"{shape}, row-major"
        columns = [f"`{entry.name}`", entry.per, shape, entry.unit, entry.meaning]
        rows.append([*columns, stored if entry.rank else shape])
    return _table(["name", "per", "tensor", "unit", "meaning", "in files"], rows)


def scalar_table() -> str:
    """What expressions of a screening may name."""
    from voigt.screening.query.derived import names_table

    rows = [[f"`{name}`", "" if unit == "1" else unit, meaning] for name, unit, meaning in names_table()]
    return _table(["name", "unit", "meaning"], rows)


def note_table() -> str:
    """Kinds of notes and failures."""
    from voigt.notes import INFORMATION, MEANING

    rows = [[f"`{kind}`", "" if kind in INFORMATION else "yes", meaning] for kind, meaning in MEANING.items()]
    return _table(["kind", "puts the result in doubt", "meaning"], rows)


_TABLES: Mapping[str, Callable[[], str]] = {
    "notes": note_table,
    "recipe": recipe_tables,
    "properties": property_table,
    "screening scalars": scalar_table,
}


def _table_of(name: str) -> str:
    return option_table(name.removeprefix("options of voigt ")) if name not in _TABLES else _TABLES[name]()


def _section(schema: Mapping[str, Any], paper: Mapping[str, Any] | None) -> str:
    required = schema.get("required", ())
    rows = []
    for key, entry in schema["properties"].items():
        meaning = entry.get("description", "see below")  # left out by pydantic where it repeats that of a section
        default = "required" if key in required else _value(entry["default"]) if "default" in entry else "its defaults"
        row = [f"`{key}`", _kind(entry), default]
        if paper is not None:
            row.append("" if paper[key] == entry["default"] else _value(paper[key]))
        rows.append([*row, meaning])
    return _table(["key", "value", "default", *(["paper (bm1)"] if paper is not None else []), "meaning"], rows)


def _kind(entry: Mapping[str, Any]) -> str:
    """What a key takes, in words."""
    if "anyOf" in entry:
        return " or ".join(_kind(option) for option in entry["anyOf"])
    if "$ref" in entry or "oneOf" in entry:
        return "section"
    if "const" in entry or "enum" in entry:
        return ", ".join(f"`{option}`" for option in entry.get("enum", [entry.get("const")]))
    if entry["type"] == "object":
        return "property name: section"
    if entry["type"] == "array":
        return f"{len(entry['prefixItems'])} numbers" if "prefixItems" in entry else "list"
    name = {"null": "`null`", "string": "text", "boolean": "`true`, `false`"}.get(entry["type"], entry["type"])
    signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    # Bounds that only keep files of strangers from overflowing are no news to anybody.
    bounds = [f"{sign} {entry[key]:g}" for key, sign in signs.items() if key in entry and entry[key] < 10**6]
    return " ".join([name, ", ".join(bounds)]).rstrip()


def _value(value: object) -> str:
    """A default as one writes it in YAML."""
    return f"`{value}`" if isinstance(value, str) else f"`{json.dumps(value)}`"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *([cell.replace("|", r"\|") for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main(arguments: Sequence[str]) -> int:
    """Write or check all pages; returns the exit code."""
    stale = []
    for page in markdown_pages():
        if "--outputs" in arguments:
            page.write_text(with_outputs(page), encoding="utf-8")
        text = page.read_text(encoding="utf-8")
        made = with_tables(text)
        if made != text:
            stale.append(page.name)
            if "--check" not in arguments:
                page.write_text(made, encoding="utf-8")
    checked = "--check" in arguments
    if stale:
        advice = ": run python docs/generate.py" if checked else " written"
        sys.stdout.write(f"{', '.join(stale)}{advice}\n")
    return 1 if stale and checked else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
