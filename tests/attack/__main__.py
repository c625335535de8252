"""`python tests/attack [PART ...]`: runs the parts and prints a table and every fault."""

from __future__ import annotations

import argparse
import importlib
import os
import pkgutil
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # forked processes must not inherit a pool

HERE = Path(__file__).parent
PARTS = sorted(m.name for m in pkgutil.iter_modules([str(HERE)]) if m.name[0] != "_")
SHARED = {"base", "programs"}
PARTS = [name for name in PARTS if name not in SHARED]


def main(words: list[str] | None = None) -> int:
    """The exit status: 0 without a fault, 1 with one."""
    parser = argparse.ArgumentParser(prog="python tests/attack", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}")
    chosen = parser.parse_args(words).parts or PARTS
    if unknown := set(chosen) - set(PARTS):
        parser.error(f"no part {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    # This package, toys and hostile_pictures; bench, demo and ganmut.
    sys.path[:0] = [str(HERE.parent), str(HERE.parent.parent)]

    import torch

    from attack.base import MEMORY, Report

    torch.set_num_threads(1)
    report = Report()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["GANMUT_CACHE"] = f"{folder}/cache"
        os.environ["HF_HUB_OFFLINE"] = "1"
        for name in chosen:
            own, start = Path(folder) / name, time.monotonic()
            own.mkdir()
            report.part, report.rest, report.allowed = name, 0.0, MEMORY
            importlib.import_module(f"attack.{name}").attack(report, own)
            print(
                f"{name}: {report.cases[name]} cases, {time.monotonic() - start:.0f} s", flush=True
            )
    print()
    print(report.table())
    for part, case, kind, text in report.faults:
        print(f"{part}: {case}: {kind}: {text}")
    return 1 if report.faults else 0


if __name__ == "__main__":
    sys.exit(main())
