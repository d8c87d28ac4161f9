"""What a conversion gave, by code and label, and as a record of every frame and failure."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from voigt.calculations.frames import Frame, provenance_keys
from voigt.files import atomic_write
from voigt.notes import Failure
from voigt.tensors.properties import PROPERTIES


@dataclass
class Summary:
    """Counts of frames, filled as they come; `record` keeps a line for each."""

    frames: Counter[str] = field(default_factory=Counter)
    labels: Counter[tuple[str, str]] = field(default_factory=Counter)
    functionals: Counter[str] = field(default_factory=Counter)
    record: list[dict[str, Any]] = field(default_factory=list)

    def add(self, outcome: Frame | Failure) -> None:
        """Count a frame or a failure."""
        if isinstance(outcome, Failure):
            self.record.append({"id": outcome.id, "source": outcome.source, "failure": outcome.problem})
            return
        calculation = outcome.calculation
        code = calculation.provenance.code
        self.frames[code] += 1
        self.functionals[calculation.provenance.functional or "not stated"] += 1
        self.labels.update((code, name) for name in calculation.targets)
        keys = provenance_keys(calculation.provenance)
        keys["files"], keys["conversions"] = (
            list(calculation.provenance.files),
            list(calculation.provenance.conversions),
        )
        entry = {"id": outcome.id, "labels": list(calculation.targets), **keys, "problems": list(calculation.problems)}
        self.record.append(entry)

    def rows(self) -> list[tuple[str, ...]]:
        """A table: one row for each code, one column for each label that occurs."""
        names = [name for name in PROPERTIES if any(label == name for _, label in self.labels)]
        rows = [("code", "frames", *names)]
        rows += [
            (code, str(self.frames[code]), *(str(self.labels[code, name]) for name in names))
            for code in sorted(self.frames)
        ]
        return rows

    def write(self, path: str | Path) -> None:
        """Write the record as JSON; OutputError if that fails."""
        import json

        with atomic_write(path) as stream:
            json.dump(self.record, stream, indent=1)
            stream.write("\n")
