"""Hostile clips: broken, lying, empty and odd ones, one by one and as a folder; hostile paths."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

from clips import moving_face, read_video, write_video
from hostile_clips import HOSTILE_CLIPS

from attack.base import Outcome, Report, run
from attack.programs import left_over, prepare
from ganmut.cli import main
from ganmut.decoding import BadImage
from ganmut.video.reading import open_clip

# Stops of a path: of no number, of no time, out of order, of no emotion, and without end.
PATHS = [
    ["happy@0"],
    ["neutral@0", "happy@0"],
    ["neutral@2", "happy@1"],
    ["neutral@-1", "happy@1"],
    ["neutral@nan", "happy@1"],
    ["neutral@0", "happy@inf"],
    ["neutral@0", "happy@1e400"],
    ["neutral@0", "happy@1e308", "sad@1.5e308"],
    ["neutral@0", "happy@5e-324"],
    ["neutral@0", "happy:nan@1"],
    ["neutral@0", "happy:-1@1"],
    ["neutral@0", f"happy:{'9' * 5000}@1"],
    ["neutral@0", f"happy@{'9' * 5000}"],
    ["neutral@0", ":1@1"],
    ["@", "@"],
    ["", ""],
    ["neutral@0", "happy@1@2"],
    ["neutral@0", "happy:1:1@1"],
    ["neutral@0", "happy@1ss"],
    ["neutral@0", "happy@0x10"],
    ["neutral@0", "happy@--"],
    ["neutral@0", f"{'x' * 100_000}@1"],
    ["neutral@0", "h\udce4ppy@1"],
    ["neutral@0", "happy\0@1"],
    ["neutral@0", "../../etc/passwd@1"],
    ["source@0", "happy@1"],
    ["source@0", "source@1"],
    ["neutral@0", *[f"happy@{second}" for second in range(1, 2000)]],
    ["neutral@0", "happy@1", "--emotion=sad"],
    ["neutral@0", "happy@1", "--face=all"],
    ["neutral@0", "happy@1", "--face=99"],
    ["neutral@0", "happy@1", "--workers=2"],
    ["--"],
]
OUTPUTS = ("out.mkv", "out.webm", "out.gif", "out.webp", "out.png", "out.txt", "no/such/out.mp4")


def flaw(outcome: Outcome, source: Path, out: Path) -> str:
    """What is wrong with the edit of a clip: not whole, no sentence, or something left over."""
    if outcome.status == 0:
        if not out.is_file() or not out.with_suffix(".jsonl").is_file():
            return "no clip and no sentence"
        record = json.loads(out.with_suffix(".jsonl").read_text())
        if out.suffix == ".mp4" and len(read_video(out)[0]) != record["frames"]:
            return "another number of frames than recorded"
        if (count := frames(source)) and count != record["frames"]:
            return f"{record['frames']} of {count} frames"
    elif outcome.status not in (1, 2):
        return f"status {outcome.status}"
    elif outcome.output.count("error: ") != 1:
        return "no sentence"
    elif list(out.parent.glob("out*")):
        return "half a clip"
    return f"left over: {', '.join(left_over(out.parent))}" if left_over(out.parent) else ""


def frames(source: Path) -> int:
    """The frames that can be read of a clip, 0 for none."""
    try:
        with open_clip(source) as clip:
            return sum(1 for _ in clip.frames())
    except BadImage:
        return 0


def attack(report: Report, folder: Path) -> None:
    """Edits each clip along a path: it becomes a whole clip of as many frames, or there is one
    sentence and no file; then a whole clip along each hostile path and into each format, and all
    hostile clips as one folder."""
    prepare(folder)
    weight = str(folder / "weights" / "procedural" / "stargan")
    results = folder / "results"

    def edit(source: Path, out: str, *words: str) -> Outcome:
        shutil.rmtree(results, ignore_errors=True)
        results.mkdir()
        where = ["--weights", weight, "--out", str(results / out), "--device", "cpu"]
        return run(lambda: main(["edit", str(source), *where, *words]))

    way = ["--path", "neutral@0", "happy:.5@.1", "sad@1"]
    whole = write_video(folder / "whole.mp4", moving_face(6))
    report.rest = edit(whole, "out.mp4", *way).peak
    album = folder / "album"
    album.mkdir()
    for name, make in HOSTILE_CLIPS.items():
        make(album / name)
        outcome = edit(album / name, "out.mp4", *way)
        report.add(name, outcome, flaw(outcome, album / name, results / "out.mp4"))
    for path in PATHS:
        outcome = edit(whole, "out.mp4", "--path", *path)
        report.add(f"path {path[:3]}"[:80], outcome, flaw(outcome, whole, results / "out.mp4"))
    for out in OUTPUTS:
        outcome = edit(whole, out, "--emotion", "happy")
        report.add(f"into {out}", outcome, flaw(outcome, whole, results / out))
    outcome = run(
        lambda: main(
            ["edit", str(album), "--weights", weight, "--emotion", "happy", "--out", str(results)]
        ),
        limit=300,
    )
    lines = (results / "faces.jsonl").read_text().splitlines()
    told = len({json.loads(line)["file"] for line in lines})
    files = sum(not path.is_dir() for path in album.iterdir())
    # What may hang is a clip, not all of them.
    outcome = replace(outcome, seconds=outcome.seconds / files)
    report.add("a folder of all", outcome, "" if told == files else f"{told} of {files} told")
