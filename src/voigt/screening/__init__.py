"""Screening of large collections: predict into a store, select and rank, report.

    job = Job(("band_gap", "eps_total"))
    screen_collection(open_collection("crystals.parquet"), "run", job)
    best = select(result_parts("run"), parse("band_gap > 3"), parse("eps_total"), top=20)
    write_report("run", read_criteria("band_gap > 3", "eps_total"))

Order of the rooms, each using those before it: sources, store, query, job and compute, engines, screen, report.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from voigt.lazy import lazy_names
from voigt.screening.query import (
    Criteria,
    evaluate,
    pareto_front,
    parse,
    read_criteria,
    read_crystals,
    select,
    write_selection,
)
from voigt.screening.sources import open_collection
from voigt.screening.store import read_manifest, result_parts

if TYPE_CHECKING:
    from voigt.screening.job import Job
    from voigt.screening.report import read_failures, read_survey, write_report
    from voigt.screening.screen import Resources, Summary, choose_resources, screen_collection

__all__ = [
    "Criteria",
    "Job",
    "Resources",
    "Summary",
    "choose_resources",
    "evaluate",
    "open_collection",
    "pareto_front",
    "parse",
    "read_criteria",
    "read_crystals",
    "read_failures",
    "read_manifest",
    "read_survey",
    "result_parts",
    "screen_collection",
    "select",
    "write_report",
    "write_selection",
]

# Torch is needed to predict only, matplotlib to report.
__getattr__ = lazy_names(
    __name__,
    {
        "Job": "job",
        **dict.fromkeys(("Resources", "Summary", "choose_resources", "screen_collection"), "screen"),
        **dict.fromkeys(("read_failures", "read_survey", "write_report"), "report"),
    },
)
