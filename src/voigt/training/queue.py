"""The training queue: the recipes that ship, one after the other, for as long as the machine has nothing better to do.

`python -m voigt.training.queue run` trains what is not finished yet, `status` says where it stands (`make weights`,
`make weights-status`). It may be killed at any moment and started again: `voigt train --resume` continues at the last
validation and ends with the same weights, bit for bit, as an uninterrupted run on the same machine.
"""

from __future__ import annotations

import argparse
import csv
import fcntl
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from voigt.errors import OutputError, VoigtError

FOLDER = Path("runs/weights")


@dataclass(frozen=True)
class Entry:
    """One training of the queue.

    Attributes
    ----------
    recipe
        Name of a recipe that ships, or a file.
    members
        Networks of the ensemble.
    """

    recipe: str
    members: int = 1

    @property
    def name(self) -> str:
        """Of its folder in the queue's."""
        return Path(self.recipe).stem


SHIPPED = (
    Entry("elastic", 3),
    Entry("response", 5),
    Entry("born"),
    Entry("piezo", 2),
    Entry("scalars", 3),
)
"""How the models that ship are made; those that others start from after those that need no other."""


def run_queue(entries: Sequence[Entry], folder: str | Path = FOLDER, device: str | None = None) -> list[str]:
    """Train what is not finished, in order; a training that fails does not keep the next ones waiting.

    What `voigt train` prints goes to the end of `<folder>/<name>/log`.

    Parameters
    ----------
    entries
        What to train.
    folder
        Of the queue; one folder per entry in it.
    device
        As `voigt train --device`; None: Lightning's choice.

    Returns
    -------
    Names of the entries that failed.

    Raises
    ------
    OutputError
        Another process works on this queue, or the folder cannot be written.
    """
    folder = Path(folder)
    failed = []
    with _alone(folder) as lock:
        for entry in entries:
            place = folder / entry.name
            if _model(place, entry).is_file():
                continue
            place.mkdir(parents=True, exist_ok=True)
            with (place / "log").open("a", encoding="utf-8") as log:
                log.write(f"--- {' '.join(command := _command(entry, place, device))}\n")
                log.flush()
                # The training holds the lock too: it may outlive a queue that was killed.
                code = subprocess.run(
                    command, stdout=log, stderr=subprocess.STDOUT, check=False, pass_fds=(lock,)
                ).returncode
            if code:
                failed.append(entry.name)
    return failed


def queue_status(entries: Sequence[Entry], folder: str | Path = FOLDER) -> list[tuple[str, str]]:
    """Name of every entry, and where it stands in words."""
    return [(entry.name, _state(Path(folder) / entry.name, entry)) for entry in entries]


def _state(place: Path, entry: Entry) -> str:
    if _model(place, entry).is_file():
        return "finished"
    if not (place / "log").is_file():
        return "waiting"
    lines = []
    for k, folder in enumerate(_folders(place, entry)):
        if _model(folder, entry).is_file():
            lines.append(f"member {k} finished")
        elif (rows := _rows(folder / "metrics.csv")):
            last = rows[-1]
            lines.append(f"member {k} at epoch {last['epoch']}, val/loss {float(last['val/loss']):.4f}")
    words = (place / "log").read_text(encoding="utf-8", errors="replace").splitlines()
    trouble = f"; last words: {words[-1]}" if words and words[-1].startswith("voigt:") else ""
    return (", ".join(lines) or "started") + trouble


def _rows(table: Path) -> list[dict[str, str]]:
    if not table.is_file():
        return []
    with table.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def _folders(place: Path, entry: Entry) -> list[Path]:
    """Where the members of an entry are trained."""
    return [place] if entry.members == 1 else [place / f"member-{k}" for k in range(entry.members)]


def _model(place: Path, entry: Entry) -> Path:
    return place / f"{entry.name}.safetensors"


def _command(entry: Entry, place: Path, device: str | None) -> list[str]:
    command = [sys.executable, "-c", "from voigt.cli.main import run; run()", "train", entry.recipe, "-o", str(place)]
    if entry.members > 1:
        command += ["--members", str(entry.members)]
    if device is not None:
        command += ["--device", device]
    # An ensemble finds out by itself which members have begun.
    begun = entry.members > 1 or any((place / name).is_file() for name in ("checkpoints/last.ckpt", "device.ckpt"))
    return [*command, "--resume"] if begun else command


@contextmanager
def _alone(folder: Path) -> Iterator[int]:
    """Keep a second queue out of the folder; the system lifts the lock with its last holder, however that ends."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "lock").open("w", encoding="utf-8") as stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise OutputError(f"another process works on the queue in {folder}; wait for it or stop it") from error
            yield stream.fileno()
    except OSError as error:
        raise OutputError(f"cannot write to {folder}: {error.strerror or error}; choose another folder") from error


def _main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m voigt.training.queue", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("what", choices=("run", "status"))
    parser.add_argument("names", nargs="*", help="which of the trainings that ship; by default all")
    parser.add_argument("-o", "--output", type=Path, default=FOLDER, help="folder of the queue")
    parser.add_argument("--device", help="as in voigt train")
    given = parser.parse_args(arguments)
    known = {entry.name: entry for entry in SHIPPED}
    unknown = [name for name in given.names if name not in known]
    if unknown:
        parser.error(f"no training {', '.join(unknown)}; choose from {', '.join(known)}")
    entries = [known[name] for name in given.names] or list(SHIPPED)
    failed = []
    if given.what == "run":
        try:
            failed = run_queue(entries, given.output, given.device)
        except VoigtError as error:
            sys.stderr.write(f"voigt: {error}\n")
            return 2
    for name, state in queue_status(entries, given.output):
        sys.stdout.write(f"{name:20} {state}\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(_main(sys.argv[1:]))
