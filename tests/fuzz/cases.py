"""The inputs of a campaign: number `k` of seed `s` is always the same, whatever else is run."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

from tests.fuzz import containers, crystals, mutators, projects
from tests.fuzz.crystals import CRYSTALS, Crystal
from tests.fuzz.mutators import json_text, json_value, spoiled


@dataclass(frozen=True)
class Case:
    """One input.

    Attributes
    ----------
    action
        What is done with it, a key of `actions.ACTIONS`.
    files
        Name -> content, in the folder in which the action runs.
    arguments
        Of the action.
    good
        Crystals that must be delivered although something beside them is spoiled: id -> symbols in rising order.
    spare
        How many of them may be missing: in a text that is held together by headers or counts, a broken frame may take
        its neighbors along: rows without a count may belong to the frame before, and a count may reach into the next.
    named
        Whether the file gives the ids; otherwise only the symbols are compared.
    """

    action: str
    files: Mapping[str, bytes]
    arguments: tuple[str, ...]
    good: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    spare: int = 0
    named: bool = True


def good(chosen: Sequence[Crystal]) -> dict[str, tuple[str, ...]]:
    return {crystal.id: tuple(sorted(crystal.symbols)) for crystal in chosen}


def _some(rng: Random, fewest: int = 2, most: int = 5) -> tuple[list[Crystal], int]:
    """Crystals, and the place of the one that is to be spoiled."""
    chosen = rng.sample(CRYSTALS, rng.randint(fewest, most))
    return chosen, rng.randrange(len(chosen))


def _bad_text(rng: Random, crystal: Crystal, text: Callable[[Crystal], str]) -> bytes:
    """A spoiled text of a crystal, or the sound text of a spoiled crystal."""
    if rng.random() < 0.3:
        return text(mutators.crystal(rng, crystal)).encode()
    return spoiled(rng, text(crystal).encode())


def _bad_json(rng: Random, crystal: Crystal, record: Callable[[Crystal], dict[str, Any]]) -> bytes:
    kind = rng.random()
    if kind < 0.3:
        return json_text(record(mutators.crystal(rng, crystal)))
    if kind < 0.75:
        return json_text(json_value(rng, record(crystal)))
    return spoiled(rng, json_text(record(crystal)))


def _others(chosen: Sequence[Crystal], bad: int) -> list[Crystal]:
    return [crystal for k, crystal in enumerate(chosen) if k != bad]


# Files of structures


def frames(rng: Random, name: str, text: Callable[[Crystal], str], most: int = 5) -> Case:
    """Several structures in one text, one of them spoiled."""
    chosen, bad = _some(rng, 1, most)
    pieces = [text(c).encode() if k != bad else _bad_text(rng, c, text) for k, c in enumerate(chosen)]
    return Case("read", {name: b"".join(pieces)}, (name,), good(_others(chosen, bad)), spare=2)


def single(rng: Random, name: str, text: Callable[[Crystal], str]) -> Case:
    """One structure, spoiled."""
    return Case("read", {name: _bad_text(rng, rng.choice(CRYSTALS), text)}, (name,))


def cif(rng: Random) -> Case:
    """Blocks of a CIF, whose names are no ids. One without a header belongs to the block before, and may spoil it."""
    if rng.random() < 0.85:
        return replace(frames(rng, "crystals.cif", crystals.cif), named=False, spare=2)
    case = frames(rng, "crystals.cif", crystals.symmetric_cif)
    return replace(case, good=dict.fromkeys(case.good, ("Mg",) * 4 + ("O",) * 4), named=False, spare=2)


def mcif(rng: Random) -> Case:
    return replace(frames(rng, "crystals.mcif", crystals.magnetic_cif), named=False, spare=2)


def poscar(rng: Random) -> Case:
    return single(rng, rng.choice(("crystal.vasp", "POSCAR", "CONTCAR_1")), crystals.poscar)


def extxyz(rng: Random) -> Case:
    return frames(rng, rng.choice(("crystals.xyz", "crystals.extxyz", "no_suffix")), crystals.extxyz)


def vasprun(rng: Random) -> Case:
    case = single(rng, "vasprun.xml", crystals.vasprun)
    if rng.random() < 0.1:
        entities = "".join(f'<!ENTITY e{k} "{f"&e{k - 1};" * 10 if k else "ha"}">' for k in range(rng.choice((1, 9))))
        outside = rng.choice(
            ("", '<!ENTITY e SYSTEM "file:///etc/hostname">', '<!ENTITY % p SYSTEM "http://localhost/">%p;')
        )
        text = crystals.vasprun(CRYSTALS[0]).replace("<modeling>", f"<!DOCTYPE m [{entities}{outside}]>\n<modeling>", 1)
        text = text.replace("<v>0 ", rng.choice(("<v>&e0; ", "<v>&e8; ", "<v>&e; ")), 1)
        return replace(case, files={"vasprun.xml": text.encode()})
    return case


def database_row(rng: Random) -> Case:
    """One row of an ASE database has other fields; all others must come."""
    chosen = CRYSTALS[: rng.choice((2, 4))]
    bad = rng.randrange(len(chosen))
    data = containers.spoil_row(rng, containers.database(chosen), bad + 1)
    if rng.random() < 0.1:
        with suppress(Exception):  # there are crystals that ASE does not write
            changed = mutators.crystal(rng, chosen[bad])
            data = containers.database((*chosen[:bad], changed, *chosen[bad + 1 :]))
    action = rng.choice(("read", "read", "collection"))
    return Case(action, {"crystals.db": data}, ("crystals.db",), good(_others(chosen, bad)))


def database_pages(rng: Random) -> Case:
    data = containers.spoil_pages(rng, containers.database(CRYSTALS[:3]))
    return Case(rng.choice(("read", "collection")), {"crystals.db": data}, ("crystals.db",))


def pymatgen(rng: Random) -> Case:
    return Case("read", {"a.json": _bad_json(rng, rng.choice(CRYSTALS), crystals.pymatgen)}, ("a.json",))


def json_lines(rng: Random) -> Case:
    """Each line stands for itself: all others must come."""
    chosen, bad = _some(rng)
    lines = [json_text(crystals.json_line(c)) for c in chosen]
    lines[bad] = _bad_json(rng, chosen[bad], crystals.json_line)
    return Case("read", {"a.jsonl": b"\n".join(lines) + b"\n"}, ("a.jsonl",), good(_others(chosen, bad)))


def json_document(rng: Random) -> Case:
    """A list, or a map from ids, one entry spoiled as a value."""
    chosen, bad = _some(rng)
    shape = rng.choice(("map", "list", "optimade", "jarvis"))
    record = {
        "map": crystals.pymatgen,
        "list": crystals.json_line,
        "optimade": crystals.optimade,
        "jarvis": crystals.jarvis,
    }
    entries = [record[shape](c) for c in chosen]
    entries[bad] = json_value(
        rng, record[shape](mutators.crystal(rng, chosen[bad]) if rng.random() < 0.3 else chosen[bad])
    )
    document: Any = entries
    if shape == "map":
        document = {c.id: entry for c, entry in zip(chosen, entries, strict=True)}
    elif shape == "optimade":
        document = {"data": entries, "meta": {"api_version": "1.1.0"}}
    if rng.random() < 0.2:
        return Case("read", {"a.json": spoiled(rng, json_text(document))}, ("a.json",))
    return Case("read", {"a.json": json_text(document)}, ("a.json",), good(_others(chosen, bad)))


def other_codes(rng: Random) -> Case:
    """Files of other codes that ASE parses."""
    name, text = crystals.FOREIGN[rng.choice(sorted(crystals.FOREIGN))]
    return single(rng, name, text)


def trajectory(rng: Random) -> Case:
    data = containers.trajectory()
    data = spoiled(rng, data, binary=True) if rng.random() < 0.7 else spoiled(rng, data)
    if rng.random() < 0.05:
        data = containers.pickled()
    return Case("read", {"a.traj": data}, ("a.traj",))


def crystal(rng: Random) -> Case:
    """Sound text, hostile crystal: several in a row, between good ones."""
    chosen, bad = _some(rng)
    changed = mutators.crystal(rng, chosen[bad])
    for _ in range(rng.choice((0, 0, 1))):
        changed = mutators.crystal(rng, changed)
    pieces = [crystals.extxyz(changed if k == bad else c) for k, c in enumerate(chosen)]
    return Case("network", {"a.xyz": "".join(pieces).encode()}, ("a.xyz",), good(_others(chosen, bad)))


def memory(rng: Random) -> Case:
    """Dictionaries handed over in Python, one spoiled."""
    chosen, bad = _some(rng)
    entries: list[Any] = [crystals.pymatgen(c) for c in chosen]
    entries[bad] = json_value(rng, entries[bad])
    known = {} if not isinstance(entries[bad], dict) else {
        f"structure:{k}": tuple(sorted(c.symbols)) for k, c in enumerate(chosen) if k != bad
    }  # fmt: skip
    return Case("memory", {"objects.json": json_text(entries)}, ("objects.json",), known)


# Files that hold files


def _file_of(rng: Random, crystal: Crystal, bad: bool) -> tuple[str, bytes]:
    suffix, text = rng.choice(((".cif", crystals.cif), (".vasp", crystals.poscar), (".xyz", crystals.extxyz)))
    content = _bad_text(rng, crystal, text) if bad else text(crystal).encode()
    return f"{crystal.id}{suffix}", content


def packed(rng: Random) -> Case:
    suffix = rng.choice(sorted(containers.PACKINGS))
    name = rng.choice(("a.xyz", "a.cif", "POSCAR", "a.jsonl", "vasprun.xml", "a.json", "a.db", "a.traj", "a")) + suffix
    if rng.random() < 0.04:
        return Case(rng.choice(("read", "collection")), {name: containers.bomb(rng, suffix)}, (name,))
    text = rng.choice((crystals.extxyz, crystals.cif, crystals.poscar, crystals.vasprun))
    content = containers.PACKINGS[suffix](text(rng.choice(CRYSTALS)).encode())
    if rng.random() < 0.2:
        content = containers.PACKINGS[suffix](_bad_text(rng, rng.choice(CRYSTALS), text))
    return Case("read", {name: spoiled(rng, content, binary=True)}, (name,))


_PLACES = ("../", "/", "a/../../", "x\\..\\", "./", "é/", "a\n/")


def archive(rng: Random) -> Case:
    """One member is spoiled and all others must come; or the archive itself is."""
    chosen, bad = _some(rng)
    members = dict(_file_of(rng, c, k == bad) for k, c in enumerate(chosen))
    kind = rng.choice((".zip", ".tar", ".tar.gz"))
    odd = rng.random()
    if odd < 0.15:
        members = {rng.choice(_PLACES) + name: content for name, content in members.items()}
    elif odd < 0.2:
        members |= {"big.xyz.gz": containers.bomb(rng, ".gz"), "deep.zip": containers.zipped(members)}
    pack = {".zip": containers.zipped, ".tar": containers.tar, ".tar.gz": lambda m: containers.tar(m, ".gz")}[kind]
    data = pack(members)
    if 0.2 < odd < 0.3 and kind == ".tar":
        data = containers.odd_tar_members(rng, data)
    elif odd > 0.65:
        return Case("collection", {f"a{kind}": spoiled(rng, data, binary=True)}, (f"a{kind}",))
    named = odd > 0.15  # the others have ids with their folders
    return Case("collection", {f"a{kind}": data}, (f"a{kind}",), good(_others(chosen, bad)) if named else {})


def folder(rng: Random) -> Case:
    chosen, bad = _some(rng)
    members = dict(_file_of(rng, c, k == bad) for k, c in enumerate(chosen))
    if rng.random() < 0.3:
        odd = rng.choice(
            (
                "-o.cif",
                "$(touch canary).cif",
                "a\nb.cif",
                "\x1b[31m.cif",
                "é.cif",
                "\udcff.cif",
                " .cif",
                "a" * 200 + ".cif",
            )
        )
        members[odd] = b"data_x\n"
    files = {f"folder/{name}": content for name, content in members.items()}
    return Case(rng.choice(("read", "collection")), files, ("folder",), good(_others(chosen, bad)))


def table(rng: Random) -> Case:
    data = containers.structures_table(CRYSTALS)
    if rng.random() < 0.3:
        bad = rng.randrange(len(CRYSTALS))
        changed = [c if k != bad else mutators.crystal(rng, c) for k, c in enumerate(CRYSTALS)]
        known = {"Mg", "O", "Na", "Cl", "Ba", "Ti", "Zn", "Ca", "F", "Li", "Nb", "H", "He", "Og", "X"}
        if set(changed[bad].symbols) <= known:
            content = containers.parquet(containers.structures_table(changed))
            return Case("collection", {"a.parquet": content}, ("a.parquet",), good(_others(CRYSTALS, bad)))
    content = containers.parquet(containers.spoil_table(rng, data) if rng.random() < 0.5 else data)
    return Case(
        "collection",
        {"a.parquet": containers.spoil_parquet(rng, content) if rng.random() < 0.5 else content},
        ("a.parquet",),
    )


# What the command line is given


IDS = (
    "a\nb", "a\rb", "\x1b[31mred", "\x00", "\ud800", "\udcff", "\u202egnp", "=1+1", "@SUM(1)", "+1", "-1", "a,b",
    'a"b', "a'b",
    "", " ", "../../canary", "/tmp/canary", "..", ".", "a/b", "a" * 5000, "nan", "None", "1", "1.5", "T", "[1,2]",
    "{}", "\ufeffa",
    "<script>alert(1)</script>", "$(touch canary)", "`touch canary`", "é", "e\u0301", "💎", "\u2028", "\x85", "a b",
    "a=b", "#", "\\", "%s",
)  # fmt: skip


def outputs(rng: Random) -> Case:
    """Predictions of crystals with odd ids and broken neighbors, written to a file that must be read back."""
    chosen, bad = _some(rng)
    lines = [crystals.json_line(c) for c in chosen]
    if rng.random() < 0.3:
        lines[bad] = json_value(rng, lines[bad])
    else:
        lines[bad]["id"] = rng.choice(IDS)
    if rng.random() < 0.2 and isinstance(lines[bad], dict):
        lines[bad][rng.choice(IDS)] = rng.choice(IDS)
    suffix = rng.choice(("csv", "json", "extxyz", "parquet"))
    extra = rng.choice(((), (), (), ("--born", "{id}.BORN")))
    text = b"\n".join(json_text(line) for line in lines) + b"\n"
    return Case("predict", {"in.jsonl": text}, ("in.jsonl", "-o", f"out.{suffix}", *extra), good(_others(chosen, bad)))


def several_files(rng: Random) -> Case:
    """A list of files of any format, one spoiled."""
    chosen, bad = _some(rng)
    files = dict(_file_of(rng, c, k == bad) for k, c in enumerate(chosen))
    return Case("predict", files, (*files, "-o", f"out.{rng.choice(('csv', 'json', 'extxyz', 'parquet'))}"),
                good(_others(chosen, bad)))  # fmt: skip


_FORMS = (
    "{} + {}", "{} - {}", "{} * {}", "{} / {}", "({}) ^ ({})", "min({}, {})", "max({}, {})", "log({}) + {}", "-{} * {}",
    "sqrt({} - {})", "exp({} * {})", "abs({}) ** {}",
)  # fmt: skip
_SYMBOLS = (
    "eps_total", "band_gap", "elastic", "num_atoms", 'has("Pb")', 'has("Xx")', "bulk_modulus", "and", "or", "not",
    "true", "<", "<=", ">", "==", "!=", "=", "+", "-", "*", "/", "^", "**", "(", ")", "((", "))", ",", "min", "max",
    "abs", "sqrt", "log(", "1", "0", "1e308", "1e400", "9" * 400, ".", "3", "-1", "lambda", "[", "'", '"', "if", "else",
    "__import__('os').system('touch canary')", "\x00", "é", "\u202e", "\x1b[31m", "\ud800", "volume", "spacegroup",
    "unknown_name", "eps_total_spread",
)  # fmt: skip
_EXPRESSIONS = (
    "eps_total > 20 and band_gap > 3", "sqrt(eps_inf)", "bulk_modulus / shear_modulus < 2", "5 < eps_total < 40",
    'not has("Pb") or band_gap == 0', "max(band_gap, 1, 2) ^ 2 ^ 0.5",
)  # fmt: skip


def _formula(rng: Random, depth: int) -> str:
    if depth == 0:
        return rng.choice(
            ("band_gap", "eps_total", "bulk_modulus", "num_atoms", "volume", "0", "1", "2.5", "1e308", "1e-308")
        )
    left, right = _formula(rng, depth - 1), _formula(rng, rng.randrange(depth))
    form = rng.choice(_FORMS)
    return form.format(left, right)


def _condition(rng: Random, depth: int) -> str:
    """A condition that follows the grammar, on values that overflow, vanish or are missing."""
    if depth <= 1 or rng.random() < 0.4:
        sign = rng.choice(("<", "<=", ">", ">=", "==", "!="))
        return f"{_formula(rng, depth)} {sign} {_formula(rng, rng.randrange(depth + 1))}"
    left, right = _condition(rng, depth - 1), _condition(rng, rng.randrange(1, depth))
    return rng.choice(
        ("({}) and {}", "{} or {}", "not ({}) or {}", 'has("Pb") and {} or {}', "true == ({} and {})")
    ).format(left, right)


def expression(rng: Random) -> Case:
    kind = rng.random()
    if kind < 0.3:
        text = _condition(rng, rng.randint(1, 5))
    elif kind < 0.5:
        text = " ".join(rng.choice(_SYMBOLS) for _ in range(rng.choice((1, 3, 8, 30, 300))))
    elif kind < 0.6:
        text = rng.choice(("(", "not ", "-", "abs(", "2^", "min(1,")) * rng.choice((30, 33, 300, 100_000)) + rng.choice(
            ("1", "")
        )
    else:
        text = spoiled(rng, rng.choice(_EXPRESSIONS).encode()).decode("utf-8", "surrogateescape")[:20_000]
    return Case("expression", {}, (text,))


def recipe(rng: Random) -> Case:
    return Case("recipe", {"r.yaml": projects.bad_recipe(rng)}, ("r.yaml",))


def model(rng: Random) -> Case:
    return Case("model", {"m.safetensors": containers.spoil_model(rng, projects.model_file())}, ("m.safetensors",))


def checkpoint(rng: Random) -> Case:
    data = projects.checkpoint_file()
    data = containers.pickled() if rng.random() < 0.1 else spoiled(rng, data, binary=rng.random() < 0.5)
    return Case("checkpoint", {"last.ckpt": data}, ("last.ckpt",))


def born(rng: Random) -> Case:
    files = {**projects.project_files("params"), "BORN": spoiled(rng, projects.BORN)}
    return Case("project", {f"project/{name}": content for name, content in files.items()}, ("project",))


def project(rng: Random) -> Case:
    """One file of a phonopy project is spoiled."""
    files = projects.bad_project(rng)
    return Case("project", {f"project/{name}": content for name, content in files.items()}, ("project",))


def phonons(rng: Random) -> Case:
    """The same by the command line, with a network."""
    return replace(project(rng) if rng.random() < 0.6 else born(rng), action="phonons")


def store(rng: Random) -> Case:
    files = projects.bad_store(rng)
    return Case("store", {f"store/{name}": content for name, content in files.items()}, ("store",))


def report(rng: Random) -> Case:
    return replace(store(rng), action="report")


def resumed(rng: Random) -> Case:
    """A screening goes on in a spoiled store: at its end each crystal is there once, or the call was refused."""
    case = store(rng)
    return replace(
        case,
        action="screen",
        files={**case.files, "a.jsonl": projects.collection_file()},
        arguments=("a.jsonl", "store"),
    )


KINDS: Mapping[str, tuple[Callable[[Random], Case], int]] = {
    "CIF": (cif, 90), "magnetic CIF": (mcif, 30), "POSCAR": (poscar, 60), "extended XYZ": (extxyz, 90),
    "vasprun.xml": (vasprun, 45), "ASE database, fields": (database_row, 60),
    "ASE database, pages": (database_pages, 25),
    "pymatgen JSON": (pymatgen, 45), "JSON lines": (json_lines, 55), "JSON documents": (json_document, 45),
    "other codes": (other_codes, 90), "trajectory": (trajectory, 20), "cells and atoms": (crystal, 60),
    "objects in memory": (memory, 20),
    "packed": (packed, 30), "archive": (archive, 40), "folder": (folder, 15), "Parquet": (table, 40),
    "outputs": (outputs, 40),
    "several files": (several_files, 15), "expression": (expression, 50), "recipe": (recipe, 55),
    "model file": (model, 50),
    "checkpoint": (checkpoint, 10), "BORN": (born, 20), "phonopy project": (project, 40), "voigt phonons": (phonons, 3),
    "store": (store, 45), "report": (report, 3), "resumed screening": (resumed, 9),
}  # fmt: skip
"""Kind -> what makes an input of it, and how often it comes."""

_TURNS = [kind for kind, (_, weight) in KINDS.items() for _ in range(weight)]
Random(0).shuffle(_TURNS)


def kind_of(number: int) -> str:
    """The kind of an input: kinds come in a fixed order, each as often as its weight says."""
    return _TURNS[number % len(_TURNS)]


def make(seed: int, number: int, kind: str | None = None) -> Case:
    """Input `number` of a seed; of one kind if it is named."""
    kind = kind or kind_of(number)
    with warnings.catch_warnings():  # of the libraries that write spoiled crystals
        warnings.simplefilter("ignore")
        return KINDS[kind][0](Random(f"{seed} {number} {kind}"))
