"""Hostile pictures: broken, lying, huge and hard to find a face in, one by one and as a folder."""

from __future__ import annotations

import io
import os
import random
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from hostile_pictures import HOSTILE
from PIL import Image
from skimage import data as samples

from attack.base import Outcome, Report, run
from attack.programs import align, prepare
from ganmut.cli import main

FORMATS = ("jpeg", "png", "webp", "gif", "bmp", "tiff", "avif", "jpeg2000")
DAMAGES = 8  # of each format


def damaged(picture: Image.Image, seed: int = 0) -> Iterator[tuple[str, bytes]]:
    """Names and contents of whole pictures that lost bytes, gained some, or had some changed; half
    of them keep their head, so that a decoder begins."""
    draw = random.Random(seed)
    for form in FORMATS:
        buffer = io.BytesIO()
        picture.save(buffer, form)
        for number in range(DAMAGES):
            content = bytearray(buffer.getvalue())
            first = 64 if number % 2 else 0
            for _ in range(draw.randint(1, 40)):
                content[draw.randrange(first, len(content))] = draw.randrange(256)
            if number % 4 > 1:
                place = draw.randrange(first, len(content))
                content[place:] = draw.choice((b"", bytes(content[:place]), b"\xff" * 999))
            yield f"damaged_{number}.{form}", bytes(content)


def attack(report: Report, folder: Path) -> None:
    """Edits each picture, which gives a face or one sentence, and aligns all as one folder."""
    prepare(folder)
    album, out = folder / "album", folder / "out.png"
    album.mkdir()
    for name, (make, _) in HOSTILE.items():
        (album / name).write_bytes(make(Image.fromarray(samples.astronaut()[:300, 60:400])))
    for name, content in damaged(Image.fromarray(samples.astronaut()[:300, 60:400])):
        (album / name).write_bytes(content)
    (album / "folder.jpg").mkdir()
    os.mkfifo(album / "pipe.jpg")
    os.symlink("/dev/zero", album / "endless.png")
    os.symlink(album / "gone.png", album / "link.png")
    os.symlink(album, album / "circle")

    def edit(picture: Path) -> Outcome:
        out.unlink(missing_ok=True)
        weight = folder / "weights" / "procedural" / "stargan"
        words = ["--weights", str(weight), "--emotion", "happy", "--out", str(out)]
        return run(lambda: main(["edit", str(picture), *words]))

    report.rest = edit(folder / "pictures" / "0.png").peak
    for picture in sorted(album.iterdir()):
        outcome, lost = edit(picture), ""
        if outcome.status == 0 and not out.is_file() and picture.is_file():
            lost = "no picture and no sentence"
        elif outcome.status not in (0, 1, 2):
            lost = f"status {outcome.status}"
        elif outcome.status and outcome.output.count("error: ") + outcome.output.count(": ") == 0:
            lost = "no sentence"
        report.add(picture.name, outcome, "" if outcome.traceback else lost)
    shutil.rmtree(folder / "pictures")
    os.rename(album, folder / "pictures")
    outcome = run(lambda: align(folder / "aligned"), limit=120)
    # What may hang is a picture, not all of them.
    outcome = replace(outcome, seconds=outcome.seconds / len(os.listdir(folder / "pictures")))
    faces = len(list((folder / "aligned" / "out").glob("*.png")))
    report.add("a folder of all", outcome, "" if faces > 4 else f"{faces} faces")
