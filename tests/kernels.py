"""Triton's kernels in tests."""

from __future__ import annotations

import importlib
from types import ModuleType

import pytest


def load_kernels(monkeypatch: pytest.MonkeyPatch, interpreted: bool = True) -> ModuleType:
    """`voigt.models.equivariant.fused`, with `interpreted` for tensors of the processor; skips where there is none."""
    if interpreted:
        monkeypatch.setenv("TRITON_INTERPRET", "1")  # read when kernels are declared
    pytest.importorskip("triton", reason="Triton is not installed")
    kernels = importlib.import_module("voigt.models.equivariant.fused")
    if interpreted and type(kernels._messages).__name__ == "JITFunction":
        pytest.skip("Triton was loaded without its interpreter; set TRITON_INTERPRET=1")
    return kernels
