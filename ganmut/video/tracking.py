"""One face through a clip: found by a detector, followed by the five-point network, found again
after cuts and losses."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from ganmut.errors import ParameterError
from ganmut.faces.detectors.base import Detector, Face
from ganmut.faces.detectors.builtin import Builtin, eye_distance
from ganmut.faces.landmarks.five_points import load_network, locate_points
from ganmut.faces.pipeline import select_faces
from ganmut.text import quote
from ganmut.video.reading import Frame

# A search of a whole frame takes ten times as long as an edit: without a face every eighth frame is
# searched, and what is found is followed back into the frames before.
STRIDE = 8
MIN_SCORE = 0.9  # of a face that is followed: a detector has said already that it is one
CUT = 28.0  # grey levels, mean difference of two frames of CUT_SIZE
CUT_SIZE = (32, 18)


@dataclass(frozen=True, eq=False)
class TrackedFrame:
    """points: 5 x 2 px, or None where no face was found. shot: number of the shot, from 0; a shot
    ends at a cut and where the face is lost. Points of two shots are not compared."""

    frame: Frame
    points: np.ndarray | None
    shot: int


class Tracker:
    """Follows one face. face: "largest" or its number in the first frame that shows any, largest
    first; after a cut the largest, after a loss the one nearest to where it was lost.

    cuts: cuts so far. seen: frames with the face so far.
    """

    def __init__(self, detector: Detector, face: str | int = "largest"):
        self.detector, self.face = detector, face
        self.network = load_network()
        self.cuts = self.seen = 0

    def track(self, frames: Iterator[Frame]) -> Iterator[TrackedFrame]:
        """Yields every frame with the points of the face. Holds at most STRIDE frames. Raises
        FaceNumberError where the first frame with a face has none of that number."""
        waiting: deque[TrackedFrame] = deque()  # the latest frames, all without a face
        before = points = last = None
        shot = pause = 0
        for frame in frames:
            small = _thumbnail(frame.pixels)
            if before is not None and np.abs(small - before).mean() > CUT:
                yield from waiting
                waiting.clear()
                self.cuts += 1
                shot, pause, points, last = shot + 1, 0, None, None
            before = small
            if points is not None and (points := self._follow(frame, points)) is None:
                shot, pause = shot + 1, 0
            if points is None and pause == 0:
                points, pause = self._search(frame, last), STRIDE
                back = self._follow_back(waiting, points, shot)
                yield from back
                waiting.clear()
            if points is None:
                pause -= 1
                waiting.append(TrackedFrame(frame, None, shot))
                continue
            last = points
            self.seen += 1
            yield TrackedFrame(frame, points, shot)
        yield from waiting

    def _follow_back(
        self, waiting: deque[TrackedFrame], points: np.ndarray | None, shot: int
    ) -> list[TrackedFrame]:
        """The frames before one with the face at `points`, with the face where they show it."""
        found = []
        for tracked in reversed(waiting):
            points = None if points is None else self._follow(tracked.frame, points)
            self.seen += points is not None
            found.append(replace(tracked, points=points, shot=shot))
        return found[::-1]

    def _follow(self, frame: Frame, points: np.ndarray) -> np.ndarray | None:
        """The points of a face near `points`, or None where there is none."""
        first, _ = locate_points(self.network, frame.pixels, points[None])
        second, scores = locate_points(self.network, frame.pixels, first)
        apart = np.linalg.norm(second - first, axis=2).mean()
        if scores[0] < MIN_SCORE or apart > Builtin.max_shift * eye_distance(second[0]):
            return None
        return second[0]

    def _search(self, frame: Frame, last: np.ndarray | None) -> np.ndarray | None:
        """The points of the face in a whole frame, near `last` where it was seen before."""
        faces = self.detector.detect(frame.pixels)
        if not faces:
            return None
        if last is not None:
            found = min(faces, key=lambda face: _distance(face, last))
        elif self.seen:
            found = faces[0]
        else:
            found = faces[select_faces(faces, self.face)[0] - 1]
        # Every frame has points of the same network: those of two detectors lie apart.
        followed = self._follow(frame, found.points)
        return found.points if followed is None else followed


def check_face(face: str | int) -> None:
    """Raises ParameterError for what is neither "largest" nor a number."""
    if face != "largest" and not str(face).strip().isdecimal():
        raise ParameterError(
            "face", f"in a clip one face is tracked: give largest or a number, got {quote(face)}"
        )


def _distance(face: Face, points: np.ndarray) -> float:
    return float(np.linalg.norm(face.points.mean(0) - points.mean(0)))


def _thumbnail(pixels: np.ndarray) -> np.ndarray:
    small = Image.fromarray(pixels).resize(CUT_SIZE, Image.Resampling.BOX, reducing_gap=2.0)
    return np.asarray(small.convert("L")).astype(np.float32)
