"""The one family of exceptions: each message says what was wrong, where, and what to do."""

from __future__ import annotations

from voigt.text import one_line


class VoigtError(Exception):
    """Base of every error that a user can cause or mend; its text is one line, whatever it quotes of a file."""

    def __str__(self) -> str:
        return "\n  ".join(map(one_line, super().__str__().split("\n  ")))  # lists of faults have a line for each


class InputError(VoigtError):
    """A structure file or one of its frames cannot be used."""


class TargetError(VoigtError):
    """Training labels are missing, misspelled, misshapen or all zero."""


class RecipeError(VoigtError):
    """A training recipe holds unknown keys or impossible values."""


class WeightsError(VoigtError):
    """A file of model weights is absent, truncated or of another format version."""


class DomainError(VoigtError):
    """Outside what a model was trained on, or where a quantity has no meaning."""


class OutputError(VoigtError):
    """A result could not be written (full disk, no permission)."""
