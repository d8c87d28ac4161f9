"""Fine-tuning without a recipe: what the data allow is decided from them. Needs the extra [train]."""

from __future__ import annotations

from typing import TYPE_CHECKING

from voigt.lazy import lazy_names

if TYPE_CHECKING:
    from voigt.finetuning.comparison import Comparison, compare
    from voigt.finetuning.plan import Plan, make_plan
    from voigt.finetuning.run import Finetuned, Options, finetune
    from voigt.finetuning.selection import Choice, select_frames
    from voigt.finetuning.survey import Survey, survey

__all__ = [
    "Choice",
    "Comparison",
    "Finetuned",
    "Options",
    "Plan",
    "Survey",
    "compare",
    "finetune",
    "make_plan",
    "select_frames",
    "survey",
]

# Training takes seconds to import, and selection does not need it.
__getattr__ = lazy_names(
    __name__,
    {
        "Choice": "selection",
        "Comparison": "comparison",
        "Finetuned": "run",
        "Options": "run",
        "Plan": "plan",
        "Survey": "survey",
        "compare": "comparison",
        "finetune": "run",
        "make_plan": "plan",
        "select_frames": "selection",
        "survey": "survey",
    },
)
