"""What the rooms of screening offer, and what it costs to enter them."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module

import pytest

ROOMS = ("screening", *(f"screening.{name}" for name in ("engines", "query", "report", "sources", "store")))


@pytest.mark.parametrize("room", ROOMS)
def test_every_name_of_a_face_is_there_and_no_other(room: str) -> None:
    face = import_module(f"voigt.{room}")
    assert face.__all__ == sorted(face.__all__, key=lambda name: (not name.isupper(), not name[0].isupper(), name))
    for name in face.__all__:
        assert getattr(face, name) is not None
    with pytest.raises(AttributeError, match="has no attribute 'nonsense'"):
        face.nonsense  # noqa: B018


def test_to_read_a_screening_needs_neither_torch_nor_matplotlib() -> None:
    program = "import sys, voigt.screening, voigt.screening.report.listing"
    program += "; print(sorted({'torch', 'matplotlib', 'ray'} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout == "[]\n"
