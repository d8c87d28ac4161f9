"""Memory of predictions does not grow with the number of crystals."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from tests.conftest import REPOSITORY
from tests.predictions import save_tiny_model

SCRIPT = """
import sys
from itertools import islice, repeat
from pathlib import Path
import numpy as np
from tests import crystals
from voigt.prediction.plan import choose_models
from voigt.prediction.result import Settings
from voigt.prediction.stream import predict_planned
from voigt.structures import read

plan = choose_models(sys.argv[1], Settings(allow_unseen=True, check_domain=False, device="cpu"))

def stream(count):
    for k in range(count):
        atoms = crystals.quartz()
        atoms.set_cell(atoms.cell * (1 + 1e-5 * k), scale_atoms=True)
        yield next(iter(read(atoms)))

def peak():
    status = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) / 1024

for count in (300, 1500):
    Path("/proc/self/clear_refs").write_text("5")
    assert sum(1 for _ in predict_planned(stream(count), plan)) == count
    print(peak())
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="peak memory is read from Linux's /proc")
def test_five_times_as_many_crystals_take_no_more_memory(tmp_path: Path) -> None:
    model = save_tiny_model(tmp_path / "tiny.safetensors")
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(model)], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    few, many = map(float, done.stdout.split())
    assert many < few + 20  # MiB
