"""`voigt serve`: where it listens, what it says, how it ends."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import Result

from voigt.app.home import PREFIX

Call = Callable[..., Result]


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What a server was started with, in place of starting it."""
    calls: list[Any] = []
    monkeypatch.setattr("voigt.app.run.run_server", lambda *arguments: calls.append(arguments))
    return calls


def test_it_listens_on_this_machine_alone_unless_told_otherwise(voigt: Call, started: list[Any]) -> None:
    result = voigt("serve")
    assert (result.exit_code, result.stderr) == (0, "")
    options, port, _ = started[0]
    assert (options.host, port, options.workers) == ("127.0.0.1", 8000, 1)
    result = voigt("serve", "--host", "0.0.0.0", "--port", "9000", "--workers", "3")
    options, port, _ = started[1]
    assert (options.host, port, options.workers) == ("0.0.0.0", 9000, 3)
    assert result.stderr.startswith("warning: at 0.0.0.0 anyone who reaches this machine over the network")
    assert "without a password" in result.stderr
    for host in ("localhost", "::1", "127.0.0.2"):
        assert voigt("serve", "--host", host).stderr == ""


def test_an_address_that_cannot_be_had_is_explained(voigt: Call) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = voigt("serve", "--port", port)
    assert result.exit_code == 2
    assert result.stderr.startswith(f"voigt: cannot listen at 127.0.0.1, port {port}: ")
    result = voigt("serve", "--host", "no such host")
    assert (result.exit_code, result.stderr.splitlines()[1][:35]) == (2, "voigt: cannot listen at no such hos")
    assert voigt("serve", "--workers", "0").exit_code == 2


def test_without_the_extra_it_says_what_to_install(voigt: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("voigt.app.") or name == "uvicorn"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    result = voigt("serve")
    assert result.exit_code == 2
    assert result.stderr == 'voigt: voigt serve needs the packages of the extra app: pip install "voigt[app]"\n'


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_when_told_so_and_leaves_nothing(end: signal.Signals, tmp_path: Path) -> None:
    program = "from voigt.cli.main import run; run()"
    words = [sys.executable, "-c", program, "serve", "--port", "0"]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True, env=environment)
    assert process.stderr is not None
    line = process.stderr.readline()
    found = re.fullmatch(r"voigt serves (http://127\.0\.0\.1:\d+); Ctrl-C ends it\n", line)
    assert found is not None, line
    assert httpx.get(f"{found[1]}/healthz", timeout=60).json()["status"] == "starting"
    assert [path.name.startswith(PREFIX) for path in tmp_path.iterdir()] == [True]
    process.send_signal(end)
    rest = process.stderr.read()
    process.stderr.close()
    assert process.wait() in (0, 130, -end)
    assert "Traceback" not in rest
    assert list(tmp_path.iterdir()) == []
