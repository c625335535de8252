"""The programs that parts kill and whose files they tamper with, and what each of them made."""

from __future__ import annotations

import json
import os
import shutil
import sys
import threading
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

from clips import moving_face, read_video, write_video
from skimage import data as samples
from toys import TINY, ToySource, write_bundle

from attack.base import Outcome, Report, run
from bench import protocol, resolve, results
from bench import run as bench
from ganmut import files, images
from ganmut.cli import main

MOMENTS = 20  # at which a program is stopped
OPTIONS = [
    "--size=32",
    "--width=8",
    "--blocks=1",
    "--d-width=8",
    "--d-layers=4",
    "--batch=16",
    "--faces=32",
    "--kimg=0.048",
    "--kimg-per-tick=0.016",
    "--device=cpu",
]
Program = Callable[[Path], int | None]
Result = Callable[[Path], dict[str, bytes]]


def train(folder: Path) -> int:
    """A training of three ticks; goes on where there is one."""
    for path in folder.glob("*/recipe.json"):
        return main(["train", "resume", str(path.parent), "--device=cpu"])
    return main(["train", "stargan", *OPTIONS, f"--out={folder}"])


def train_with_log(folder: Path) -> int:
    """The same training, shown in TensorBoard too."""
    for path in folder.glob("*/recipe.json"):
        words = ["train", "resume", str(path.parent), "--device=cpu", "--log-to", "tensorboard"]
        return main(words)
    return main(["train", "stargan", *OPTIONS, f"--out={folder}", "--log-to", "tensorboard"])


def bench_of(folder: Path, *words: str) -> int:
    """A bench on toy faces, with the weights beside the folder of a case."""
    os.environ["GANMUT_WEIGHTS"] = str(folder.parent / "weights")
    resolve.open_source = lambda spec: ToySource()
    protocol.PROTOCOLS["tiny"] = TINY
    return bench.main(["--protocol", "tiny", *words])


def measure(folder: Path) -> int:
    """A bench of one editor."""
    where = ["--out", str(folder / "out"), "--cache", str(folder / "cache"), "--device", "cpu"]
    what = ["--methods", "stargan", "--metrics", "accuracy,identity_distance,fed", "--no-figures"]
    where += ["--workers", "1"]
    return bench_of(folder, *what, *where)


def export_sources(folder: Path) -> int:
    """The faces and the manifest for edits made elsewhere; what is there already stays."""
    if (folder / "out").exists():
        return 0
    words = ["--export-sources", str(folder / "out"), "--metrics", "accuracy"]
    return bench_of(folder, *words)


def measure_edits(folder: Path) -> int:
    """A bench of edits made elsewhere: the sources themselves."""
    edits = folder.parent / "elsewhere"  # read only, and by all cases
    where = ["--out", str(folder / "out"), "--cache", str(folder / "cache"), "--device", "cpu"]
    what = ["--edits", str(edits), "--metrics", "accuracy", "--no-figures", "--workers", "1"]
    return bench_of(folder, *what, *where)


def editing(folder: Path, source: str, out: str, *words: str) -> int:
    """An edit with the weight beside the folder of a case."""
    weight = str(folder.parent / "weights" / "procedural" / "stargan")
    where = ["--weights", weight, "--out", str(folder / "out" / out), "--device", "cpu"]
    return main(["edit", str(folder.parent / source), *where, *words])


def edit(folder: Path) -> int:
    """An edit of a folder of pictures."""
    return editing(folder, "pictures", "", "--emotion", "happy")


def edit_together(folder: Path) -> int:
    """The same by two processes."""
    return editing(folder, "pictures", "", "--emotion", "happy", "--workers", "2")


def edit_clip(folder: Path) -> int:
    """An edit of a clip along a path."""
    return editing(folder, "clip.mp4", "clip.mp4", "--path", "neutral@0", "happy@1")


def export(folder: Path) -> int:
    """The graphs of an editor for other runtimes."""
    weight = str(folder.parent / "weights" / "procedural" / "stargan")
    return main(["export", weight, "--onnx", str(folder / "out")])


def render(folder: Path) -> int:
    """Rendered faces as a data set; what is there already stays."""
    if (folder / "out").exists():
        return 0
    words = ["--format", "parquet", "--n", "80", "--size", "16"]
    return main(["faces", "--out", str(folder / "out"), *words])


def align(folder: Path) -> int:
    """The aligned faces of a folder of pictures."""
    return main(["align", str(folder.parent / "pictures"), "--out", str(folder / "out")])


def tensors(path: Path) -> bytes:
    """The tensors of a trained weight."""
    return (path / "weights" / "generator.safetensors").read_bytes()


def left_over(folder: Path) -> list[str]:
    """Temporaries and locks, which no finished program leaves."""
    return [path.name for path in folder.rglob(".*")]


def pictures(folder: Path) -> dict[str, bytes]:
    """The edited or aligned pictures of a folder and their records, in their order."""
    found = {path.name: path.read_bytes() for path in sorted((folder / "out").glob("*.png"))}
    for log in (folder / "out").glob("faces.jsonl"):
        records, invalid = files.read_lines(log)
        found["log"] = repr(
            [(r["file"], r.get("box"), r.get("error")) for r in records] + invalid
        ).encode()
    for log in (folder / "out").glob("metadata.jsonl"):
        found["log"] = log.read_bytes()
    return found


def written(folder: Path) -> dict[str, bytes]:
    """Every file that a program wrote as its result; of a clip what does not depend on the threads
    of its encoder."""
    found = {}
    for path in sorted((folder / "out").rglob("*")):
        if path.suffix == ".jsonl":
            record = json.loads(path.read_text())
            kept = {key: record[key] for key in ("frames", "edited_frames", "flicker")}
            found[path.name] = repr(kept).encode()
        elif path.suffix == ".mp4":
            frames, times, sound = read_video(path)
            found[path.name] = repr((len(frames), times)).encode() + sound
        elif path.is_file():
            found[path.name] = path.read_bytes()
    return found


def trained(folder: Path) -> dict[str, bytes]:
    """The weights of a training, and the steps in its log."""
    (run_folder,) = folder.glob("*/recipe.json")
    records, invalid = files.read_lines(run_folder.parent / "stats.jsonl")
    steps = [record["step"] for record in records]
    return {"weights": tensors(run_folder.parent), "steps": repr((steps, invalid)).encode()}


def measured(folder: Path) -> dict[str, bytes]:
    """The newest value of each cell of a bench."""
    records = results.read(folder / "out")
    cells = {f"{r['row']} {r['metric']}": r["value"] for r in records if r["kind"] == "score"}
    return {name: repr(value).encode() for name, value in cells.items()}


def prepare(folder: Path) -> None:
    """Writes the weights and pictures that the programs read, beside the folders of their cases."""
    write_bundle(folder / "weights", "stargan")
    for number in range(4):
        face = samples.astronaut()[:260, 110 + number : 370 + number]
        images.write_png(folder / "pictures" / f"{number}.png", face)
    write_video(folder / "clip.mp4", moving_face(12))
    made = run(lambda: export_sources(folder / "asked"), limit=120)
    assert made.status == 0, made.output
    shutil.move(folder / "asked" / "out", folder / "elsewhere")
    sources = sorted((folder / "elsewhere" / "sources").iterdir())
    for number, line in enumerate((folder / "elsewhere" / "manifest.csv").open()):
        if number:  # after the names of the columns
            shutil.copy(sources[0], folder / "elsewhere" / line.strip().rsplit(",", 1)[1])


def start(program: Program, folder: Path) -> int | None:
    """Runs a program with a cache of faces of its own."""
    os.environ["GANMUT_CACHE"] = str(folder / "faces")
    return program(folder)


# Each program, and what it made: name -> bytes.
PROGRAMS: list[tuple[Program, Result]] = [
    (train, trained),
    (measure, measured),
    (edit, pictures),
    (align, pictures),
    (measure_edits, measured),
    (edit_clip, written),
    (export_sources, written),
]
# Programs that write through other libraries or in other processes: they are stopped by the clock,
# too, and their disk is a limit of the system.
FOREIGN: list[tuple[Program, Result]] = [
    (edit_clip, written),
    (edit_together, pictures),
    (export, written),
    (render, written),
    (train_with_log, trained),
]


def stop_at(
    program: Program, folder: Path, calls: tuple[str, ...], moment: int, stop: Callable[[], None]
) -> tuple[Outcome, int]:
    """Runs a program in which `stop` comes before the system's calls of these names from number
    `moment` on, 0 for never; returns how it ended, and the number of such calls."""
    count = folder.with_name(f"{folder.name}.count")

    def counted() -> int | None:
        seen, write = 0, os.write

        def wrap(real: Callable) -> Callable:
            def call(*arguments: object, **options: object) -> object:
                nonlocal seen
                seen += 1
                if 0 < moment <= seen:
                    stop()
                return real(*arguments, **options)

            return call

        for name in calls:
            setattr(os, name, wrap(getattr(os, name)))
        status = start(program, folder)
        sys.stdout.flush()
        with open(count, "w") as file:
            write(file.fileno(), str(seen).encode())
        return status

    outcome = run(counted, limit=120)
    return outcome, int(count.read_text()) if count.exists() else 0


def stop_after(program: Program, folder: Path, seconds: float, stop: Callable[[], None]) -> Outcome:
    """Runs a program in which `stop` comes after some seconds, in a thread."""

    def timed() -> int | None:
        timer = threading.Timer(seconds, stop)
        timer.daemon = True
        timer.start()
        status = start(program, folder)
        timer.cancel()
        return status

    return run(timed, limit=120)


def check(
    report: Report,
    case: str,
    stopped: Outcome,
    again: Outcome,
    lost: str,
    own: Path,
    made: dict[str, bytes],
    expected: dict[str, bytes],
) -> None:
    """Adds the case of a program that was stopped and run again. lost: what was wrong with how it
    was stopped."""
    if not lost and again.status != 0:
        lost = f"the next run ends with {again.status}: {again.output[-200:]}"
    elif not lost and made != expected:
        lost = f"differs in {', '.join(k for k in expected if made.get(k) != expected[k])}"
    elif not lost and left_over(own):
        lost = f"left over: {', '.join(left_over(own))}"
    report.add(case, stopped if stopped.traceback else again, lost)


def stop_foreign(
    report: Report,
    folder: Path,
    how: str,
    moments: Callable[[float], Iterable[float]],
    stop: Callable[[Program, Path, float], Outcome],
    describe: Callable[[Outcome], str],
) -> None:
    """`stop_everywhere` for programs that write through other libraries. how: what the names of the
    cases say; moments: of a run that takes so many seconds; stop: runs a program in a folder up to
    a moment."""
    for program, result in FOREIGN:
        name = f"{program.__name__} {how}"
        whole = folder / name
        whole.mkdir()
        healthy = run(lambda program=program, whole=whole: start(program, whole), limit=120)
        assert healthy.status == 0, healthy.output
        expected, report.rest = result(whole), healthy.peak
        for moment in moments(healthy.seconds):
            own = folder / f"{name} {moment:g}"
            own.mkdir()
            stopped = stop(program, own, moment)
            again = run(lambda program=program, own=own: start(program, own), limit=120)
            # Worker processes take seconds to begin: what may hang is what the stop adds.
            again = replace(again, seconds=again.seconds - healthy.seconds)
            made = result(own) if again.status == 0 else {}
            # A run that was quicker than the first one, or wrote less, ended before the stop.
            lost = "" if stopped.status == 0 else describe(stopped)
            check(report, f"{name} {moment:g}", stopped, again, lost, own, made, expected)


def stop_everywhere(
    report: Report,
    folder: Path,
    calls: tuple[str, ...],
    stop: Callable[[], None],
    describe: Callable[[Outcome], str],
) -> None:
    """Stops each program at moments spread evenly over its calls, runs it again, and compares what
    it made with that of a run which nobody stopped. describe: what is wrong with how it ended."""
    prepare(folder)
    for program, result in PROGRAMS:
        name = program.__name__
        whole = folder / name
        whole.mkdir()
        healthy, total = stop_at(program, whole, calls, 0, stop)
        assert healthy.status == 0 and total > 3, healthy.output
        expected, report.rest = result(whole), healthy.peak
        for moment in sorted({1 + i * (total - 1) // (MOMENTS - 1) for i in range(MOMENTS)}):
            own = folder / f"{name}{moment}"
            own.mkdir()
            stopped, _ = stop_at(program, own, calls, moment, stop)
            again, _ = stop_at(program, own, calls, 0, stop)
            case = f"{name} stopped before call {moment} of {total}"
            made = result(own) if again.status == 0 else {}
            check(report, case, stopped, again, describe(stopped), own, made, expected)
