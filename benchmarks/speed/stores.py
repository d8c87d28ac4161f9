"""How long a store of many crystals takes to open and to search, before and after its parts are put together.

    python -m benchmarks.speed.stores [--crystals 1000000] [-o runs/stores]

The rows are those of a real screening of examples/families.xyz, over and over under new ids, in parts of 128 as a
screening writes them. Every measurement runs in a process of its own, whose peak memory is given. Prints Markdown.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import time
from hashlib import blake2b
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from voigt.screening import Job, open_collection, parse, result_parts, screen_collection, select
from voigt.screening.compute import CRYSTALS
from voigt.screening.job import describe, pinned, stages_of
from voigt.screening.store.compaction import compact
from voigt.screening.store.manifest import read_manifest
from voigt.screening.store.rows import peak_mib
from voigt.screening.store.store import open_store

JOB = Job(("band_gap", "eps_total"))


def made(folder: Path, crystals: int) -> None:
    """A store of so many crystals."""
    shutil.rmtree(folder, ignore_errors=True)
    screen_collection(open_collection("examples/families.xyz"), folder, JOB)
    (first,) = result_parts(folder)
    rows = pq.read_table(first)
    for part, start in enumerate(range(0, crystals, CRYSTALS)):
        numbers = range(start, min(start + CRYSTALS, crystals))
        table = rows.take(np.arange(len(numbers)) % rows.num_rows)
        digests = [blake2b(str(number).encode(), digest_size=8).hexdigest() for number in numbers]
        for name, column in (("id", [f"crystal-{number:09d}" for number in numbers]), ("input_digest", digests)):
            place = table.schema.get_field_index(name)
            table = table.set_column(place, table.schema.field(name), pa.array(column, pa.string()))
        path = folder / "parts" / f"part-{part:06d}.parquet"
        pq.write_table(table, path, compression="zstd", write_page_checksum=True)


def opened(folder: Path) -> None:
    """Open the store as a screening does that goes on."""
    job = pinned(JOB)
    record, collection = describe(job, stages_of(job)), read_manifest(folder)["collection"]
    start = time.process_time()
    with open_store(folder, record, collection, "benchmark") as store:
        seconds, count = time.process_time() - start, len(store.done)
    print(f"open | {count:,} crystals | {seconds:.2f} s | {peak_mib():,.0f} MiB")


def searched(folder: Path) -> None:
    """The best twenty of a ranking."""
    start = time.process_time()
    found = select(result_parts(folder), parse("band_gap > 2"), parse("eps_total * band_gap"), 20)
    seconds = time.process_time() - start
    print(f"filter and rank | {found.looked_at:,} crystals | {seconds:.2f} s | {peak_mib():,.0f} MiB")


def put_together(folder: Path) -> None:
    """All small parts into large ones."""
    start = time.process_time()
    old, new = compact(folder)
    print(f"compact | {old:,} parts, then {new} | {time.process_time() - start:.1f} s | {peak_mib():,.0f} MiB")


STEPS = {"opened": opened, "searched": searched, "put_together": put_together}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--crystals", type=int, default=1_000_000)
    parser.add_argument("-o", "--output", type=Path, default=Path("runs/stores"))
    parser.add_argument("--step", choices=tuple(STEPS), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.step is not None:
        STEPS[arguments.step](arguments.output)
        return
    made(arguments.output, arguments.crystals)
    print("| | of | CPU time | peak memory of the process |\n|---|--:|--:|--:|")
    for step in ("opened", "searched", "put_together", "opened", "searched"):
        command = [sys.executable, "-m", "benchmarks.speed.stores", "--step", step, "-o", str(arguments.output)]
        print(f"| {subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()} |", flush=True)


if __name__ == "__main__":
    main()
