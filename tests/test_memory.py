"""Freed memory that a process keeps: page faults of arrays that come and go, and whose choice it is."""

from __future__ import annotations

import ctypes
import os
import platform
import subprocess
import sys
from types import SimpleNamespace

import pytest

from voigt import memory
from voigt.memory import KEPT, LARGEST, keep_freed_memory

VARIABLES = ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_")
PAGES = """
import resource, torch

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

def growing():
    # Page faults of one array after the other, each 1 MB larger: glibc by itself asks the kernel for each of them.
    before = faults()
    for megabytes in range(1, 32):
        torch.ones(megabytes << 18)
    return faults() - before

def repeated():
    # Page faults of six arrays of 16 MB at once, again and again, when everything has settled.
    def arrays():
        return [torch.ones(16 << 18) for _ in range(6)]
    for _ in range(5):
        arrays()
    before = faults()
    for _ in range(10):
        arrays()
    return faults() - before
"""
ALL_GROWING, ALL_REPEATED = sum(range(1, 32)) * 256, 10 * 6 * 16 * 256
"""Pages of 4 kB of these arrays."""


def run(script: str, **variables: str) -> list[str]:
    """Lines that a fresh interpreter prints."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    environment |= {"OMP_NUM_THREADS": "1", **variables}
    command = [sys.executable, "-c", PAGES + script]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.fixture
def without_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is set in a test is gone after it."""
    for name in VARIABLES:
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)


needs_glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the memory of this system is not glibc's")


@needs_glibc
def test_arrays_do_not_come_from_the_kernel_each_time() -> None:
    script = "from voigt.memory import keep_freed_memory; keep_freed_memory(); print(growing(), repeated())"
    growing, repeated = map(int, run(script))
    assert growing < 0.25 * ALL_GROWING
    assert repeated < 0.01 * ALL_REPEATED
    assert int(run("print(growing())")[0]) > 0.9 * ALL_GROWING


@needs_glibc
def test_the_largest_arrays_are_given_back() -> None:
    """Those of 200 MB, of which a process has few."""
    script = """
from pathlib import Path
from voigt.memory import keep_freed_memory

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() >> 20

keep_freed_memory()
start = resident()
large = torch.ones(200 << 18)
print(resident() - start)
del large
print(resident() - start)
"""
    large, after = map(int, run(script))
    assert large >= 200
    assert after < 50


@needs_glibc
def test_children_do_the_same() -> None:
    script = """
import subprocess, sys
from voigt.memory import keep_freed_memory

keep_freed_memory()
child = "import sys; exec(sys.argv[1]); print(growing())"
print(subprocess.run([sys.executable, "-c", child, OWN], capture_output=True, text=True, check=True).stdout)
"""
    (found,) = run(f"OWN = {PAGES!r}\n{script}")
    assert int(found) < 0.25 * ALL_GROWING


@needs_glibc
@pytest.mark.parametrize("name", VARIABLES)
def test_a_choice_of_the_user_stands(name: str) -> None:
    """128 kB are what glibc starts with; naming it means that it shall stay."""
    script = "from voigt.memory import keep_freed_memory\nimport os\nkeep_freed_memory()\n"
    script += "print(sorted(n for n in os.environ if n.startswith('MALLOC_'))); print(repeated())"
    *variables, found = run(script, **{name: "131072"})
    assert variables == [f"['{name}']"]
    assert int(found) > 0.9 * ALL_REPEATED


@needs_glibc
def test_a_library_leaves_the_process_of_others_alone() -> None:
    """Whoever imports the package, all of it, has the memory that he had before."""
    script = """
import os
import voigt, voigt.api, voigt.cli.main

print(growing(), len([name for name in os.environ if name.startswith("MALLOC_")]))
"""
    found, variables = run(script)
    assert int(found) > 0.6 * ALL_GROWING  # imports free arrays too, of some megabytes
    assert variables == "0"


@needs_glibc
def test_the_command_keeps_memory() -> None:
    """The entry point of `voigt`, whatever it is asked."""
    script = """
import os, sys
from voigt.cli.main import run

sys.argv = ["voigt", "--version"]
try:
    run()
except SystemExit as end:
    assert not end.code
print(os.environ["MALLOC_MMAP_THRESHOLD_"], os.environ["MALLOC_TRIM_THRESHOLD_"], growing())
"""
    *_, threshold, kept, found = run(script)
    assert (int(threshold), int(kept)) == (LARGEST, KEPT)
    assert int(found) < 0.25 * ALL_GROWING


@pytest.mark.usefixtures("without_variables")
def test_options_are_those_of_glibc(monkeypatch: pytest.MonkeyPatch) -> None:
    """M_TRIM_THRESHOLD is -1 and M_MMAP_THRESHOLD is -3 in malloc.h; a choice made once is not made again."""
    calls: list[tuple[int, int]] = []
    library = SimpleNamespace(mallopt=lambda option, size: calls.append((option, size)))
    monkeypatch.setattr(ctypes, "CDLL", lambda _: library)
    monkeypatch.setattr(sys, "platform", "linux")
    keep_freed_memory()
    keep_freed_memory()
    assert sorted(calls) == [(-3, LARGEST), (-1, KEPT)]
    assert [os.environ[name] for name in VARIABLES] == [str(LARGEST), str(KEPT)]


@pytest.mark.usefixtures("without_variables")
@pytest.mark.parametrize("system", ["linux", "darwin", "win32"])
def test_other_systems_are_left_alone(system: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """musl has no mallopt; elsewhere no library is even asked for."""
    monkeypatch.setattr(memory.sys, "platform", system)
    asked: list[None] = []

    def library(name: None) -> SimpleNamespace:
        asked.append(name)
        return SimpleNamespace(malloc=None)

    monkeypatch.setattr(ctypes, "CDLL", library)
    keep_freed_memory()
    assert asked == ([None] if system == "linux" else [])
    assert not any(name in os.environ for name in VARIABLES)
