"""The folder of a server: private, gone at the end, and swept after a crash."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from voigt.app.home import PREFIX, home_folder, sweep


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


def age(folder: Path) -> None:
    os.utime(folder, (time.time() - 3600,) * 2)


def test_it_is_private_and_goes_with_its_server_whatever_happens(temporary: Path) -> None:
    def serve() -> None:
        with home_folder() as folder:
            assert folder.parent == temporary
            assert folder.stat().st_mode & 0o077 == 0
            (folder / "upload").write_text("secret")
            age(folder)
            sweep()  # of another server
            assert (folder / "upload").exists()
            raise KeyError

    with pytest.raises(KeyError):
        serve()
    assert list(temporary.iterdir()) == []


def test_what_a_killed_server_left_goes_when_the_next_one_starts(temporary: Path) -> None:
    program = (
        "import tempfile, time\n"
        f"tempfile.tempdir = {str(temporary)!r}\n"
        "from voigt.app.home import home_folder\n"
        "with home_folder() as folder:\n"
        "    (folder / 'upload').write_text('secret')\n"
        "    print(folder, flush=True)\n"
        "    time.sleep(100)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    folder = Path(process.stdout.readline().strip())
    age(folder)
    sweep()
    assert folder.exists()
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert (folder / "upload").exists()
    with home_folder() as own:
        assert not folder.exists()
        assert own.exists()


def test_a_link_of_somebody_else_is_not_followed(temporary: Path) -> None:
    precious = temporary / "precious"
    precious.mkdir()
    (precious / "lock").touch()
    (temporary / f"{PREFIX}trap").symlink_to(precious)
    age(precious)
    sweep()
    assert (precious / "lock").exists()
