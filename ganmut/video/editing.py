"""`edit_clip`: one face of a clip edited in every frame that shows it, the rest as it is read."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from ganmut.datasets.base import digest
from ganmut.encoding import draw_mark, is_marked
from ganmut.errors import ParameterError
from ganmut.faces.align import crop_extent
from ganmut.faces.detectors.base import NoFace
from ganmut.faces.pipeline import EditSettings, SourceCode, edit_face, open_detector
from ganmut.files import replacement
from ganmut.folders import stamp
from ganmut.text import quantity
from ganmut.video.code_path import FrameCodes
from ganmut.video.reading import Clip, open_clip, pyav
from ganmut.video.segments import resumable
from ganmut.video.smoothing import steady
from ganmut.video.tracking import TrackedFrame, Tracker, check_face
from ganmut.video.writing import SILENT, ClipWriter, check_output, write_clip

FACE_SIDE = 0.8  # side of the region that flicker is measured in, in sides of the aligned crop


@dataclass
class Flicker:
    """Mean absolute change of the pixels of a face from frame to frame, in grey levels: `edited` of
    the edit, `source` of the source, sums over `pairs` of frames."""

    edited: float = 0.0
    source: float = 0.0
    pairs: int = 0  # within segments of SEGMENT frames
    before: tuple[TrackedFrame, np.ndarray] | None = None

    def add(self, tracked: TrackedFrame, pixels: np.ndarray) -> None:
        """Counts a frame and its edited pixels, H x W x 3 uint8, against the frame before it."""
        before, self.before = self.before, (tracked, pixels)
        if before is None or tracked.points is None or before[0].points is None:
            return
        if before[0].shot != tracked.shot:
            return
        middle, side = tracked.points.mean(0), FACE_SIDE * crop_extent(tracked.points)
        left, top = np.maximum(middle - side / 2, 0).astype(int)
        right, bottom = np.ceil(middle + side / 2).astype(int)
        region = slice(top, bottom), slice(left, right)
        self.edited += _difference(pixels[region], before[1][region])
        self.source += _difference(tracked.frame.pixels[region], before[0].frame.pixels[region])
        self.pairs += 1

    def state(self) -> list[float]:
        """The sums, for `restore`."""
        return [self.edited, self.source, self.pairs]

    def restore(self, state: list[float]) -> None:
        """Goes on from sums."""
        self.edited, self.source, self.pairs = state[0], state[1], int(state[2])


@contextmanager
def open_writer(out: Path, suffix: str, clip: Clip, key: str) -> Iterator[ClipWriter]:
    """The writer of a clip `out`, which replaces what lies there afterwards: of videos one that
    goes on after a kill; animations are short."""
    if suffix not in SILENT:
        with resumable(out, suffix, clip, key) as writer:
            yield writer
        return
    with replacement(out) as temporary, write_clip(temporary, suffix, clip) as plain:
        yield plain


def edit_clip(
    path: str | Path,
    settings: EditSettings,
    out: str | Path,
    *,
    progress: bool = True,
) -> dict[str, Any]:
    """Edits one face of a video or an animated picture in all frames, writes the clip `out` (a
    suffix of `writing.WRITABLE`), whole or not at all, and returns a record of it.

    settings: of its code or path, see `code_path.FrameCodes`; its face, "largest" or a number, is
    looked for in the first frame that shows faces. Memory does not grow with the length
    of the clip. A video that was interrupted goes on after its last whole segment of frames, to the
    same bytes, when it is edited again with the same settings. The record: frames, edited and
    without_face (frames), cuts, flicker (mean absolute change of pixels of the face from frame to
    frame, grey levels, edited minus source), motion (the
    source's own), notes. Raises BadImage for a clip that cannot be read, NoFace where no frame
    shows a face, ParameterError for an output or a code that cannot be used.
    """
    check_face(settings.face)
    path, out = Path(path), Path(out)
    suffix, marked = out.suffix.lower(), is_marked()
    key = digest(settings.digest(), suffix, pyav().__version__, list(stamp(path)))
    flicker, frames, edited, start = Flicker(), 0, 0, None
    codes = FrameCodes(settings.editor, settings.path or settings.code)

    def make_state() -> dict[str, Any]:
        return {"edited": edited, "flicker": flicker.state(), "codes": codes.state()}

    with open_clip(path) as clip:
        notes = [*clip.notes, *check_output(clip, suffix)]
        tracker = Tracker(open_detector(settings.detector), settings.face)
        bar = tqdm(total=clip.count or None, unit="frame", disable=not progress, file=sys.stderr)
        with bar, open_writer(out, suffix, clip, key) as writer:
            if writer.done:
                bar.write(f"{path}: {quantity(writer.done, 'frame')} were done by an earlier run")
                edited = writer.state["edited"]
                flicker.restore(writer.state["flicker"])
                codes.restore(writer.state["codes"])
            # The face is followed from the first frame on: that takes a quarter of an edit, and
            # what is known of it then is what was known before.
            for tracked in steady(tracker.track(clip.frames(writer.write_sound))):
                frame = tracked.frame
                start = frame.time if start is None else start
                frames += 1
                bar.update()
                if frames <= writer.done:
                    continue
                seconds = float(frame.time - start)
                pixels = _edit(tracked, codes, seconds, settings.source_code)
                flicker.add(tracked, pixels)
                edited += pixels is not frame.pixels
                # On every frame: a mark that comes and goes with the face would draw the eye.
                writer.write(draw_mark(pixels) if marked else pixels, frame.time, frame.duration)
                if writer.checkpoint(make_state):
                    flicker.before = None  # as after a kill here
            if not edited:
                raise NoFace(
                    f"{path}: no face was found in any of {quantity(frames, 'frame')}; try another "
                    "detector, or turn the clip if faces lie on their side"
                )
    pairs = max(flicker.pairs, 1)
    return {
        "frames": frames,
        "edited_frames": edited,
        "without_face": frames - edited,
        "cuts": tracker.cuts,
        "flicker": round((flicker.edited - flicker.source) / pairs, 3),
        "motion": round(flicker.source / pairs, 3),
        "notes": notes,
    }


def _edit(
    tracked: TrackedFrame,
    codes: FrameCodes,
    seconds: float,
    source_code: SourceCode | None,
) -> np.ndarray:
    """The edited pixels of a frame, or the same array where it has no face that can be edited."""
    pixels = tracked.frame.pixels
    if tracked.points is None:
        return pixels
    try:
        return edit_face(
            pixels,
            pixels,
            tracked.points,
            codes.editor,
            lambda faces: codes.code(faces, seconds, tracked.shot),
            source_code,
        )[0]
    except ParameterError:
        raise
    except ValueError:  # half outside of the frame: points or landmarks that fit no face
        return pixels


def _difference(a: np.ndarray, b: np.ndarray) -> float:
    """Mean absolute difference in grey levels; 0 for no pixels."""
    return float(np.abs(a.astype(np.int16) - b).mean()) if a.size else 0.0
