"""A file with its split written into it, and the leakage report beside it."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path

from voigt.audit.writing import require_extxyz, write_frames
from voigt.data.frames import read_frames
from voigt.data.labeled import LabeledCrystal
from voigt.data.splitting import Leakage, SplitRequest, measure_leakage, split_labels
from voigt.data.splitting.leakage import NEAR
from voigt.errors import InputError
from voigt.files import atomic_write
from voigt.notes import Failure


@dataclass(frozen=True, eq=False)
class SplitResult:
    """What was split.

    Attributes
    ----------
    labels
        Part of every frame that could be read, "" for those left out.
    leakage
        Of val and test; empty if it was not asked for.
    failures
        Frames that could not be read.
    """

    labels: tuple[str, ...]
    leakage: tuple[Leakage, ...]
    failures: tuple[Failure, ...]

    @property
    def counts_text(self) -> str:
        """How many frames each part has, as a phrase."""
        counts = Counter(self.labels)
        words = [f"{counts[name]:,} {name}" for name in ("train", "val", "test")]
        return ", ".join([*words, f"{counts['']:,} left out in gaps"] if counts[""] else words)


def split_file(source: str | Path, target: str | Path, request: SplitRequest, leakage: bool = True) -> SplitResult:
    """Split a file and write it with the info key (Parquet: column) `split`; frames in gaps are left out.

    Parameters
    ----------
    source
        Labeled extended XYZ, Parquet, or whatever `voigt.structures.read` reads.
    target
        .extxyz or .xyz; or .parquet if the source is a Parquet table.
    request
        How to split.
    leakage
        Measure it, and write it beside the target with the suffix .leakage.json.

    Raises
    ------
    InputError
        The source has no readable frame; crystals without a space group for prototypes.
    TargetError
        A part is left empty.
    OutputError
        The target cannot be written, or has an unknown suffix.
    """
    tables = [Path(path).suffix == ".parquet" for path in (source, target)]
    if not tables[1]:
        require_extxyz(target)
    elif not tables[0]:
        raise InputError(f"{target} can be written as Parquet only of a Parquet table; choose .extxyz")
    crystals: list[LabeledCrystal] = []
    places: list[int] = []
    failures: list[Failure] = []
    for index, entry in read_frames(source):
        if isinstance(entry, Failure):
            failures.append(entry)
        else:
            crystals.append(entry)
            places.append(index)
    if not crystals:
        raise InputError(f"{source} has no frame that can be read")
    labels = split_labels(crystals, request)
    measured = measure_leakage(crystals, labels) if leakage else []
    if tables[1]:
        _write_table(source, target, dict(zip(places, labels, strict=True)))
    else:
        for crystal, label in zip(crystals, labels, strict=True):
            crystal.atoms.info["split"] = label
        write_frames((c.atoms for c, label in zip(crystals, labels, strict=True) if label), target)
    if leakage:
        counts = Counter(labels)
        report = {
            "source": str(source),
            "request": asdict(request),
            "frames": {name or "left_out": counts[name] for name in ("train", "val", "test", "") if counts[name]},
            "near_duplicate_angstrom": NEAR,
            "leakage": [entry.record() for entry in measured],
        }
        with atomic_write(Path(target).with_suffix(".leakage.json")) as stream:
            json.dump(report, stream, indent=1)
            stream.write("\n")
    return SplitResult(tuple(labels), tuple(measured), tuple(failures))


def summary_rows(result: SplitResult) -> list[tuple[str, ...]]:
    """Leakage as rows of a table, its head first."""
    head = ("nearest in train", *(entry.part for entry in result.leakage))
    if not result.leakage:
        return [("nearest in train", "nothing in val and test")]
    records = [entry.record() for entry in result.leakage]
    rows = [
        ("crystals", "crystals"),
        ("formula also in train", "formula_in_train"),
        ("same geometry in train", "same_geometry_in_train"),
        ("near duplicate in train", "near_duplicates_in_train"),
    ]
    table = [head, *((words, *(f"{record[key]:,}" for record in records)) for words, key in rows)]
    for words, key in (("composition", "composition"), ("structure, Angstrom", "structure_angstrom")):
        for quantile, value in (("10 %", "0.1"), ("median", "0.5"), ("90 %", "0.9")):
            cells = []
            for record in records:
                quantiles = record[key]
                cells.append(f"{quantiles[value]:.3f}" if isinstance(quantiles, dict) else "")
            table.append((f"{words}, {quantile}", *cells))
    return table


def _write_table(source: str | Path, target: str | Path, label_of: dict[int, str]) -> None:
    """The table with a new column; rows that cannot be read or lie in gaps are left out."""
    import pyarrow
    import pyarrow.parquet as parquet

    table = parquet.read_table(source)
    labels = [label_of.get(row, "") for row in range(table.num_rows)]
    if "split" in table.column_names:
        table = table.drop_columns(["split"])
    table = table.append_column("split", pyarrow.array(labels, pyarrow.string()))
    table = table.filter(pyarrow.array([label != "" for label in labels]))
    with atomic_write(target, "wb") as stream:
        parquet.write_table(table, stream, compression="zstd")
