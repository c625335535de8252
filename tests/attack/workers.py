"""Several processes: numbers that are none, hostile pictures among others, a process that is
killed, a weight that changes."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from hostile_pictures import HOSTILE
from PIL import Image
from skimage import data as samples

from attack.base import HANG, Outcome, Report, run
from attack.programs import editing, left_over, pictures, prepare

NUMBERS = ("0", "-1", "1.5", "two", "nan", "", "9" * 400, "1000000", "0x2", "--")
WHEN = ("a first process begins", "a first picture is there", "half of them are there")


def when(number: int, folder: Path) -> bool:
    """Whether the moment of WHEN has come for an edit into a folder."""
    made = len(list((folder / "out").glob("*.png")))
    return bool(multiprocessing.active_children()) and made >= (0, 1, 6)[number]


def soon(ready: Callable[[], bool], act: Callable[[], object]) -> None:
    """Acts in a thread as soon as something is ready."""

    def wait() -> None:
        while not ready():
            time.sleep(0.002)
        act()

    threading.Thread(target=wait, daemon=True).start()


def kill_one() -> None:
    """Kills a worker process, as the system does for lack of memory."""
    os.kill(multiprocessing.active_children()[0].pid or 0, signal.SIGKILL)


def attack(report: Report, folder: Path) -> None:
    """Edits folders by several processes: as one would, or with one sentence; a next run goes on
    from what a stopped one has done."""
    prepare(folder)
    face = Image.fromarray(samples.astronaut()[:300, 60:400])
    for number in range(8):
        face.crop((number, 0, 340, 300)).save(folder / "pictures" / f"more{number}.png")
    words = ("--emotion", "happy")

    def edit(own: Path, *options: str) -> Outcome:
        return run(lambda: editing(own, "pictures", "", *words, *options), limit=240)

    def case(name: str) -> Path:
        own = folder / name
        own.mkdir()
        return own

    one, two = case("one"), case("two")
    edit(one)
    healthy = edit(two, "--workers", "2")
    report.rest, expected = healthy.peak, pictures(one)
    report.add("whole", light(healthy, healthy), "" if pictures(two) == expected else "differs")
    for text in NUMBERS:
        own = case(f"number {text[:9]}")
        outcome = edit(own, f"--workers={text}")
        said = outcome.status == 2 and outcome.output.count("error: ") == 1
        report.add(f"workers {text[:9]}", outcome, "" if said else "no sentence")
    for number, moment in enumerate(WHEN):
        own = case(moment)

        def stopped(own: Path = own, number: int = number) -> int | None:
            soon(lambda: when(number, own), kill_one)
            return editing(own, "pictures", "", *words, "--workers", "2")

        outcome = run(stopped, limit=120)
        lost = "" if outcome.status == 2 and outcome.output.count("error: ") == 1 else "no sentence"
        again = edit(own, "--workers", "2")
        lost = lost or ("" if pictures(own) == expected else "differs")
        lost = lost or ", ".join(left_over(own))
        report.add(f"a process killed as {moment}", light(outcome, healthy), lost)
        report.add(f"the run after {moment}", light(again, healthy))
    for name, (make, _) in HOSTILE.items():
        (folder / "pictures" / name).write_bytes(make(face.copy()))
    os.mkfifo(folder / "pictures" / "pipe.jpg")
    os.symlink("/dev/zero", folder / "pictures" / "endless.png")
    one, two = case("hostile one"), case("hostile two")
    alone, together = edit(one), edit(two, "--workers", "2")
    lost = "" if pictures(one) == pictures(two) and alone.status == together.status else "differs"
    # Two processes start, which `healthy` took, and read what one reads alone.
    usual = replace(alone, seconds=alone.seconds + healthy.seconds)
    report.add("hostile pictures", light(together, usual), lost)
    own, weight = case("weight"), folder / "weights" / "procedural" / "stargan"

    def changed() -> int | None:
        soon(lambda: bool(multiprocessing.active_children()), lambda: shutil.rmtree(weight))
        return editing(own, "pictures", "", *words, "--workers", "2")

    outcome = run(changed, limit=120)
    said = outcome.status == 2 and outcome.output.count("error: ") == 1
    report.add("the weight goes meanwhile", light(outcome, healthy), "" if said else "no sentence")


def light(outcome: Outcome, healthy: Outcome) -> Outcome:
    """An outcome without the seconds that its work takes: processes start in seconds each."""
    return replace(
        outcome, seconds=min(outcome.seconds, max(outcome.seconds - healthy.seconds, HANG / 2))
    )
