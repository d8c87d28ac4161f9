"""Audits of labeled files: what is wrong or doubtful in them, a report, and a cleaned copy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from voigt.lazy import lazy_names

if TYPE_CHECKING:
    from voigt.audit.cleaning import write_clean
    from voigt.audit.finding import MEANING, Finding, Repair
    from voigt.audit.report import summary_rows, write_report
    from voigt.audit.run import Audit, audit_file

__all__ = ["MEANING", "Audit", "Finding", "Repair", "audit_file", "summary_rows", "write_clean", "write_report"]

_HOMES = {
    "cleaning": ("write_clean",),
    "finding": ("MEANING", "Finding", "Repair"),
    "report": ("summary_rows", "write_report"),
    "run": ("Audit", "audit_file"),
}
__getattr__ = lazy_names(__name__, {name: home for home, names in _HOMES.items() for name in names})
