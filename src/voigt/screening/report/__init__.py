"""Reports on a screening: tables, structures, figures, a page in Markdown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from voigt.lazy import lazy_names

if TYPE_CHECKING:
    from voigt.screening.report.listing import selection_text, summary_text
    from voigt.screening.report.report import Report, write_report
    from voigt.screening.report.survey import Failures, Survey, read_failures, read_survey

__all__ = [
    "Failures",
    "Report",
    "Survey",
    "read_failures",
    "read_survey",
    "selection_text",
    "summary_text",
    "write_report",
]

# A table for the terminal needs no matplotlib.
__getattr__ = lazy_names(
    __name__,
    {
        **dict.fromkeys(("selection_text", "summary_text"), "listing"),
        **dict.fromkeys(("Report", "write_report"), "report"),
        **dict.fromkeys(("Failures", "Survey", "read_failures", "read_survey"), "survey"),
    },
)
