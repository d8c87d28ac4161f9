"""Fuzzing from the command line, resumable by the same command: python -m tests.fuzz --inputs 50000 --out runs/fuzz."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tests.fuzz import campaign
from tests.fuzz.cases import KINDS, make
from tests.fuzz.worker import write_files


def main() -> int:
    """Exit code 0 if no input did harm."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--inputs", type=int, default=50_000, help="numbers 0 to N - 1")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/fuzz"), help="progress, table, and inputs that did harm")
    parser.add_argument("--kind", choices=KINDS, help="inputs of one kind alone")
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--step", type=int, default=1, help="every so many alone, to share the work among processes")
    parser.add_argument("--show", type=int, metavar="N", help="write the files of one input to --out and stop")
    given = parser.parse_args()
    if given.show is not None:
        campaign.prepare()
        case = make(given.seed, given.show, given.kind)
        write_files(case, given.out)
        print(f"{case.action} {' '.join(map(ascii, case.arguments))}; good: {', '.join(case.good) or 'none'}")
        campaign.finish()
        return 0
    reports = campaign.run(given.inputs, given.seed, given.out, given.kind, given.step, given.first)
    text = campaign.table(reports, given.kind)
    (given.out / "table.md").write_text(text + "\n")
    print(text)
    return int(any(report["faults"] for report in reports))


if __name__ == "__main__":
    sys.exit(main())
