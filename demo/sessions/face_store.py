"""The faces of the last few visitors, in memory only."""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from demo.security.lease import LeaseLock
from demo.sessions.session import (
    FaceSession,
    SessionExpired,
    Spot,
    choose_face,
    fingerprint,
    identify,
    window,
)
from ganmut import faces as photographs
from ganmut.decoding import Picture
from ganmut.faces import Face


class FaceStore(ABC):
    """At most `seats` faces and `megabytes` together, each for `minutes` after its last use."""

    def __init__(
        self,
        detector: Any,
        seats: int,
        megabytes: float,
        minutes: float,
        clock: Callable[[], float],
    ):
        self.detector, self.seats, self.seconds, self.clock = detector, seats, 60 * minutes, clock
        self.bytes = int(megabytes * 2**20)
        self.sessions: OrderedDict[str, FaceSession] = OrderedDict()
        self.known_faces: dict[str, list[Face]] = {}  # pictures whose faces need no search
        self.lock = LeaseLock()

    @abstractmethod
    def with_edits(self, origin: Picture, edits: Mapping[int, str]) -> np.ndarray:
        """H x W x 3 uint8: a picture with the faces of these numbers edited as links say."""

    def open(
        self,
        source: np.ndarray | Picture,
        spot: Spot = 1,
        pinned: bool = False,
        edits: Mapping[int, str] | None = None,
    ) -> str:
        """The id under which a face of a picture, or of H x W x 3 uint8 pixels, is now known.

        edits: number of another face of the picture -> its edit as a link; the face is then one of
        the picture with these edits. The same values have the same id, and the faces of a picture
        are searched once. Raises NoFace, BadPoints or DetectorMissing.
        """
        origin = source if isinstance(source, Picture) else Picture.of(source)
        edits = dict(edits or {})
        whole, known = identify(origin, spot, edits)
        with self.lock:
            if known not in self.sessions:
                faces = self.known_faces.get(whole) or next(
                    (v.faces for v in self.sessions.values() if v.whole == whole), None
                )
                if faces is None:
                    faces = photographs.detect_faces(origin.pixels, self.detector)
                face, number = choose_face(origin.pixels, faces, spot)
                picture = self.with_edits(origin, edits) if edits else origin.pixels
                view, to_picture = window(picture, face.box)
                self.expire_sessions()
                self.sessions[known] = FaceSession(
                    origin,
                    picture,
                    edits,
                    whole,
                    faces,
                    face,
                    number,
                    view,
                    to_picture,
                    self.clock(),
                    pinned,
                )
            self._session(known)
        return known

    def register_face(self, picture: np.ndarray, face: Face) -> None:
        """Where the face of an H x W x 3 uint8 picture is, so that none is searched there."""
        self.known_faces[fingerprint(picture)] = [face]

    def session(self, face: str) -> FaceSession:
        """What is known of a face; raises SessionExpired."""
        with self.lock:
            return self._session(face)

    def _session(self, face: str) -> FaceSession:
        session = self.sessions.get(face) if isinstance(face, str) else None
        if session is None:
            raise SessionExpired("this face is no longer in memory; give its picture again")
        session.seen = self.clock()
        self.sessions.move_to_end(face)
        return session

    def expire_sessions(self) -> None:
        """Drops who came too long ago, and the longest unseen to make room for one more."""
        with self.lock:
            limit = self.clock() - self.seconds
            loose = [face for face, session in self.sessions.items() if not session.pinned]
            late = [face for face in loose if self.sessions[face].seen < limit]
            kept = [face for face in loose if face not in late]
            room = self.bytes
            for i, face in enumerate(reversed(kept), 1):
                room -= self.sessions[face].size()
                if i >= self.seats or room < 0:
                    late.append(face)
            for face in late:
                del self.sessions[face]

    def start_expiry(self, every: float = 60.0) -> None:
        """Forgets even while nobody comes: a daemon thread looks every so many seconds."""

        def sweep() -> None:
            while True:
                time.sleep(every)
                self.expire_sessions()

        threading.Thread(target=sweep, daemon=True, name="forget").start()
