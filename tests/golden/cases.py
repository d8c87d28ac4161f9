"""What is frozen here, and how a result is held against it. Knows predictions and files, nothing of voigt's inside."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import ase
import ase.io
import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

Array: TypeAlias = NDArray[Any]

GOLDEN = Path(__file__).resolve().parent
EXAMPLES = GOLDEN.parent.parent / "examples"

RELATIVE = 1e-6
"""Of the largest component of a tensor, of a number in a file: what two results may differ by."""
FLOOR = {
    "born_charges": 2e-6,
    "eps_inf": 1e-5,
    "eps_ionic": 1e-5,
    "eps_total": 1e-5,
    "elastic": 4e-4,
    "piezo_total": 2e-6,
    "band_gap": 1e-5,
    "formation_energy": 3e-6,
}
"""Added to that, in the property's unit (e, 1, GPa, C/m^2, eV, eV/atom). Networks run in single precision: other
batches and instructions of the processor (AVX-512, AVX2, none) change a tensor by up to half of the sum, see `noise` in
make_golden.py."""
SMALL_FLOOR = dict.fromkeys(FLOOR, 2e-6)
"""The same for the small networks of models/, whose random weights give tensors of the order of one."""
NUMBER_FLOOR = 5e-6
"""The same for numbers in texts, and in files where compare.py says nothing else."""

MODELS = ("born", "dielectric", "elastic", "piezo", "band_gap", "formation_energy")
WEIGHTS = {
    "born": "913ed62919ae5226",
    "dielectric": "5f0a5a65f288aa53",
    "elastic": "61070ef627fcba4f",
    "piezo": "b69977567f173faa",
    "band_gap": "0602104a929f7bed",
    "formation_energy": "7bd350772d4e78fc",
}
"""SHA-256 (16 digits) of the tensors of the model files that gave what is frozen: of what follows the header, which may
say more of a model than it did."""


def _tensors(file: Path) -> bytes:
    """The tensors of a safetensors file, which come after the length of its header (8 bytes) and the header."""
    content = file.read_bytes()
    return content[8 + int.from_bytes(content[:8], "little") :]


RETRAINED = frozenset(
    name
    for name, digest in WEIGHTS.items()
    if not (file := GOLDEN.parent.parent / "src/voigt/weights" / f"{name}.safetensors").is_file()
    or not hashlib.sha256(_tensors(file)).hexdigest().startswith(digest)
)
"""Those that are others today."""
GIVES = {"piezo": "piezo_total", "born": "born_charges"}
"""Property by which a call names a model, where it is not the model's name."""
DEFAULT = "born"
UNNAMED = ("eps_inf", "default", "predict", "predict_csv", "predict_options", "predict_odd", "phonons", "infrared")
"""VARIANTS and COMMANDS that the default model answers though nothing in the call says so."""
PROPERTIES = ("born_charges", "eps_inf", "eps_ionic", "eps_total", "piezo_total", "elastic", "band_gap",
              "formation_energy")
STRUCTURES = ("BaTiO3.vasp", "LiNbO3.cif", "MgO.vasp", "NaCl.cif", "SiO2-quartz.cif", "ZnO.cif", "families.xyz",
              "three_crystals.xyz")
"""Files of examples/ that hold structures."""

FOR_MODELS = ("BaTiO3.vasp", "SiO2-quartz.cif", "ZnO.cif", "MgO.vasp")
"""Those that the small model files of models/ are asked for."""

VARIANTS: dict[str, tuple[str | None, dict[str, Any]]] = {
    **{name: (name, {}) for name in MODELS},
    "all properties": (None, {"properties": PROPERTIES}),
    "eps_inf": (None, {"properties": ("eps_inf",)}),
    "default": (None, {}),
    "born as the network says": ("born", {"symmetrize": False, "sum_rule": False}),
    "born of a charged cell": ("born", {"total_charge": 1.0}),
    "born for PBE": ("born", {"functional": "PBE"}),
    "dielectric for PBE": ("dielectric", {"functional": "PBE"}),
    "several for PBEsol": (None, {"properties": ("eps_total", "elastic", "piezo_total"), "functional": "PBEsol"}),
    "elastic as the network says": ("elastic", {"symmetrize": False}),
    "piezo with a coarse symmetry": ("piezo", {"symprec": 0.1}),
}
"""Calls on every example: name -> model and settings."""

STORES = {
    "store": ("screen", "examples", "--properties", "band_gap,eps_inf,eps_total", "--where", "band_gap > 0.5", "--rank",
              "eps_total * band_gap", "--top", "12", "--workers", "1"),
    "store_odd": ("screen", "odd.xyz", "--properties", "born_charges,elastic,band_gap", "--prefilter", "band_gap > 0.5",
                  "--workers", "1"),
}
"""Screenings whose stores are kept: folder -> call, to which `-o FOLDER` is added."""
COMMANDS: dict[str, tuple[str, ...]] = {
    "predict": ("predict", "examples/three_crystals.xyz"),
    "predict_json": ("predict", "examples/three_crystals.xyz", "--properties", ",".join(PROPERTIES), "-o", "out.json"),
    "predict_csv": ("predict", "examples/three_crystals.xyz", "-q", "-o", "out.csv"),
    "predict_crystal_csv": ("predict", "examples/three_crystals.xyz", "-q", "--model", "piezo", "-o", "out.csv"),
    "predict_extxyz": ("predict", "examples/three_crystals.xyz", "-q", "--properties", ",".join(PROPERTIES), "-o",
                       "out.extxyz"),
    "predict_parquet": ("predict", "examples/three_crystals.xyz", "-q", "--properties", ",".join(PROPERTIES), "-o",
                        "out.parquet"),
    "predict_options": ("predict", "examples/LiNbO3.cif", "--no-symmetry", "--no-sum-rule", "--functional", "PBE",
                        "--total-charge", "1", "--all-atoms"),
    "predict_born": ("predict", "examples/BaTiO3.vasp", "examples/MgO.vasp", "--born", "{id}.BORN"),
    "predict_odd": ("predict", "odd.xyz", "-o", "out.json"),
    "predict_odd_unseen": ("predict", "odd.xyz", "--allow-unseen", "--model", "elastic"),
    "predict_nowhere": ("predict", "nowhere.cif"),
    "predict_colour": ("predict", "examples/MgO.vasp", "--properties", "colour"),
    "predict_functional": ("predict", "examples/MgO.vasp", "--functional", "LDA"),
    "predict_suffix": ("predict", "examples/MgO.vasp", "-o", "out.doc"),
    "phonons": ("phonons", "project", "-o", "out.json"),
    "phonons_of_project": ("phonons", "project", "--nac", "project", "--band", "-o", "out.csv", "--direction", "1 0 1"),
    "phonons_write_born": ("phonons", "project", "--write-born", "--overwrite", "-q"),
    "infrared": ("infrared", "project", "-o", "out.json", "--linewidth", "0.3THz"),
    "infrared_of_project": ("infrared", "project", "--nac", "project"),
    "models": ("models",),
    "explain": ("explain", "examples/SiO2-quartz.cif", "--property", "band_gap"),
    "evaluate": ("evaluate", "models/equivar.safetensors", "training/crystals.extxyz", "--split", "val", "-q"),
    "report": ("screen", "report", "store", "-o", "report"),
    "report_other": ("screen", "report", "store", "-o", "report", "--rank", "eps_inf", "--ascending", "--top", "60",
                     "--pareto", "eps_total,-band_gap"),
    "report_odd": ("screen", "report", "store_odd", "-o", "report"),
    "screen": (*STORES["store"], "-o", "fresh"),
    "screen_odd": (*STORES["store_odd"], "-o", "fresh_odd"),
}
"""Calls of the command line in a folder made by `workplace`; what they print and write is in commands/NAME."""
WRITTEN = {
    "predict_json": ("out.json",),
    "predict_csv": ("out.csv",),
    "predict_crystal_csv": ("out.csv",),
    "predict_extxyz": ("out.extxyz",),
    "predict_parquet": ("out.parquet",),
    "predict_born": ("BaTiO3.BORN", "MgO.BORN"),
    "predict_odd": ("out.json",),
    "phonons": ("out.json",),
    "phonons_of_project": ("out.csv",),
    "phonons_write_born": ("project/BORN",),
    "infrared": ("out.json",),
    "report": ("report/report.md", "report/top.csv", "report/pareto.csv"),
    "report_other": ("report/top.csv", "report/pareto.csv"),
    "report_odd": ("report/report.md", "report/top.csv"),
    "screen": ("fresh/selection.csv",),
    "screen_odd": ("fresh_odd/failed.csv",),
}
"""Files that are kept of them."""


def touches(call: Sequence[Any], model: str) -> bool:
    """Whether a model takes part in a call: named, by one of its properties, or among all models."""
    words = re.findall(r"[\w/]+", str(call))
    return bool({model, GIVES.get(model, model), "models"} & set(words))


def workplace(folder: Path) -> Path:
    """A folder with copies of everything that the commands name."""
    (folder / "examples").mkdir()
    for name in STRUCTURES:
        shutil.copy(EXAMPLES / name, folder / "examples" / name)
    for name in ("project", "models", "training", *STORES):
        shutil.copytree(GOLDEN / name, folder / name)
    shutil.copy(GOLDEN / "odd.xyz", folder / "odd.xyz")
    return folder


def data_crystals(root: Path, chosen: Sequence[tuple[str, int, str]]) -> list[ase.Atoms]:
    """Crystals of the shared data by file and place, without labels, each with "file:place" as its id.

    Raises
    ------
    ValueError
        The file holds another crystal at that place: these data are not those that were frozen.
    """
    found: dict[tuple[str, int], ase.Atoms] = {}
    for file in dict.fromkeys(name for name, _, _ in chosen):
        places = {place: identity for name, place, identity in chosen if name == file}
        for place, identity, atoms in _picked(root / file, set(places)):
            if identity != places[place]:
                raise ValueError(f"{file} has {identity} at {place}, not {places[place]}: these are other data")
            bare = ase.Atoms(atoms.numbers, positions=atoms.positions, cell=atoms.cell, pbc=True)
            bare.info["id"] = f"{file}:{place}"
            found[file, place] = bare
    return [found[file, place] for file, place, _ in chosen]


def _picked(path: Path, places: set[int]) -> Iterator[tuple[int, str, ase.Atoms]]:
    if path.suffix == ".parquet":
        table = pq.read_table(path, columns=["mp_id", "numbers", "cell", "frac"]).take(sorted(places))
        for place, row in zip(sorted(places), table.to_pylist(), strict=True):
            cell, frac = np.reshape(row["cell"], (3, 3)), np.reshape(row["frac"], (-1, 3))
            yield place, row["mp_id"], ase.Atoms(row["numbers"], cell=cell, scaled_positions=frac, pbc=True)
        return
    with path.open(encoding="utf-8") as stream:
        for place, head in enumerate(stream):
            lines = [next(stream) for _ in range(int(head) + 1)]
            if place in places:
                atoms = ase.io.read(io.StringIO("".join([head, *lines])), format="extxyz")
                yield place, str(atoms.info["id"]), atoms


def record(outcomes: Sequence[Any]) -> tuple[dict[str, Any], dict[str, Array]]:
    """Predictions and failures of one call as something to store: texts by the place of the crystal, and flat arrays.

    Of every property: "values" and "spread" in single precision, which rounds a component by 6e-8 of itself, a tenth of
    what is allowed; in double precision its "residual" and the "norm" of the raw tensor by which that is judged; as
    "parts" (crystal, number of components). Of every crystal "space_group", and where there are charges "drift".
    """
    texts: dict[str, Any] = {"failed": {}, "warned": {}, "said": {}}
    found: dict[str, list[Any]] = {}

    def add(key: str, value: Any) -> None:
        found.setdefault(key, []).append(np.ravel(value))

    for k, entry in enumerate(outcomes):
        if hasattr(entry, "reason"):
            texts["failed"][str(k)] = entry.reason
            continue
        if entry.warnings:
            texts["warned"][str(k)] = list(entry.warnings)
        units, models, functionals = entry.units, entry.models, entry.functionals
        told = [f"{name} ({units[name]}) by {models[name]} for {functionals[name]}" for name in entry.values]
        how = "symmetrized" if entry.symmetrized else "as the network says"
        texts["said"].setdefault(f"{how}: {', '.join(told)}", []).append(k)
        add("space_group", entry.symmetry.number)
        if entry.drift is not None:
            add("drift", entry.drift)
        for name, value in entry.values.items():
            add(f"{name}/values", value)
            add(f"{name}/parts", (k, value.size))
            add(f"{name}/norm", np.linalg.norm(entry.raw[name]))
            if name in entry.spread:
                add(f"{name}/spread", entry.spread[name])
            if name in entry.residual:
                add(f"{name}/residual", entry.residual[name])
    small = {"values": np.float32, "spread": np.float32, "parts": np.int32, "space_group": np.int16}
    kinds = {key: small.get(key.rpartition("/")[2], np.float64) for key in found}
    return texts, {key: np.concatenate(rows).astype(kinds[key]) for key, rows in found.items()}


def excesses(
    new: Mapping[str, Array], old: Mapping[str, Array], floor: Mapping[str, float] = FLOOR
) -> dict[str, float]:
    """By how many times what is allowed the arrays of two records differ at most; infinite if they do not compare."""
    found = dict.fromkeys(sorted(set(new) ^ set(old)), np.inf)
    for key in sorted(set(new) & set(old)):
        found[key] = np.inf
        if new[key].shape == old[key].shape and np.isfinite(new[key]).all():
            difference = np.abs(new[key].astype(np.float64) - old[key].astype(np.float64))
            found[key] = float((difference / _allowed(key, old, floor)).max(initial=0.0))
    return found


def _allowed(key: str, old: Mapping[str, Array], floor: Mapping[str, float]) -> Array:
    """What each number of an array may differ by; places that count things not at all."""
    name, _, kind = key.rpartition("/")
    if kind in ("parts", "space_group"):
        return np.full(old[key].shape, 0.5)
    if kind == "drift":  # a sum over atoms
        charges = _of_tensors(old, "born_charges", floor) * old["born_charges/parts"].reshape(-1, 2)[:, 1] / 9
        return charges.repeat(9)
    tensors = _of_tensors(old, name, floor)
    if kind in ("values", "spread"):
        return tensors.repeat(old[f"{name}/parts"].reshape(-1, 2)[:, 1])
    root = np.sqrt(old[f"{name}/parts"].reshape(-1, 2)[:, 1])  # of the number of components: a norm
    if kind == "norm":
        return tensors * root
    return tensors * root / np.maximum(old[f"{name}/norm"], tensors)  # of a tensor that vanishes it says nothing


def _of_tensors(old: Mapping[str, Array], name: str, floor: Mapping[str, float]) -> Array:
    """RELATIVE times the largest component of each crystal's tensor, plus the floor."""
    sizes = old[f"{name}/parts"].reshape(-1, 2)[:, 1]
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    largest = np.maximum.reduceat(np.abs(old[f"{name}/values"].astype(np.float64)), starts)
    return np.asarray(RELATIVE * largest + floor[name])


def save_records(path: Path, records: Mapping[str, tuple[dict[str, Any], dict[str, Array]]]) -> None:
    """Texts of several calls to PATH.json, arrays to PATH.npz; equal arrays once, with a note in the texts."""
    texts, arrays, first = {}, {}, {}
    for name, (entry, own) in records.items():
        texts[name] = {**entry, "as": {}}
        for key, value in own.items():
            digest = (key, value.tobytes())
            if digest in first:
                texts[name]["as"].setdefault(first[digest], []).append(key)
            else:
                first[digest] = name
                arrays[f"{name}:{key}"] = value
    text = json.dumps(texts, indent=1, ensure_ascii=False)
    flat = re.sub(r"\[\s+(\d+(?:,\s+\d+)*)\s+\]", lambda match: "[" + " ".join(match[1].split()) + "]", text)
    path.with_suffix(".json").write_text(flat + "\n", encoding="utf-8")
    np.savez_compressed(path.with_suffix(".npz"), **arrays)


def load_records(path: Path) -> dict[str, tuple[dict[str, Any], dict[str, Array]]]:
    """What `save_records` wrote."""
    records = {}
    with np.load(path.with_suffix(".npz")) as stored:
        for name, entry in json.loads(path.with_suffix(".json").read_text(encoding="utf-8")).items():
            own = {key.partition(":")[2]: stored[key] for key in stored.files if key.partition(":")[0] == name}
            for other, keys in entry.pop("as").items():
                own |= {key: stored[f"{other}:{key}"] for key in keys}
            records[name] = (entry, own)
    return records


def training_summary(folder: Path, weights: Mapping[str, Array]) -> dict[str, Any]:
    """Last row of figures of a run (without its time), and size, norm and sum of every array of weights."""
    with (folder / "metrics.csv").open(encoding="utf-8", newline="") as stream:
        last = list(csv.DictReader(stream))[-1]
    return {
        "metrics": {key: float(value) for key, value in last.items() if key != "seconds"},
        "weights": {
            name: [int(array.size), float(np.linalg.norm(wide := array.astype(np.float64))), float(wide.sum())]
            for name, array in sorted(weights.items())
        },
    }


def described(model: Any) -> dict[str, Any]:
    """What a loaded model says of itself."""
    return {
        "name": model.name,
        "members": len(model.members),
        "parameters": sum(parameter.numel() for parameter in model.members[0].parameters()),
        "properties": list(model.hypers.properties),
        "cutoff": model.hypers.cutoff,
        "elements": list(model.card.elements),
        "functionals": list(model.card.functionals),
        "metrics": dict(model.card.metrics),
    }
