"""Loaded editors, faces made ready once and edited many times, one lock; no page is known here."""

from __future__ import annotations

import hashlib
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from skimage.transform import SimilarityTransform
from torch import Tensor

from demo.visit import Crop, Gamut, Visit, choice, window
from ganmut import faces as photographs
from ganmut import images, load, weights
from ganmut.editor import Editor

GRID = 8  # mini faces along a side of the gamut


class Forgotten(ValueError):
    """A face that is no longer, or never was, in memory."""


class Service:
    """The editors of one set of bundled weights, and the faces of the last few visitors.

    Faces live in memory only: at most `seats` of them, each for `minutes` after its last use.
    `problems` says by name why a weight could not be loaded.
    """

    def __init__(
        self,
        group: str = "procedural",
        detector: Any = "builtin",
        seats: int = 24,
        minutes: float = 15,
        clock: Callable[[], float] = time.monotonic,
    ):
        self.detector, self.seats, self.seconds, self.clock = detector, seats, 60 * minutes, clock
        self.editors: dict[str, Editor] = {}
        self.problems: dict[str, str] = {}
        self.visits: OrderedDict[str, Visit] = OrderedDict()
        self.lock = threading.RLock()
        for name in self._found(group):
            try:
                self.editors[name] = load(f"{group}/{name}")
            except ValueError as error:
                self.problems[name] = str(error)
        self.choices = {name: choice(editor) for name, editor in self.editors.items()}
        self.blocked = False  # without a detector no picture can be opened at all
        try:
            if isinstance(detector, str):
                photographs.open_detector(detector)
        except ValueError as error:
            self.problems["face detector"], self.blocked = str(error), True

    def _found(self, group: str) -> list[str]:
        try:
            return weights.available(group)
        except ValueError as error:  # one unreadable config.json hides the others' kinds
            self.problems[group] = str(error)
            return []

    def open(self, picture: np.ndarray, number: int = 1, pinned: bool = False) -> str:
        """The id under which a face of an H x W x 3 uint8 picture is now known: the largest, or the
        given number.

        The same picture has the same id and is searched once. Raises NoFace, BadPoints or
        DetectorMissing.
        """
        known = hashlib.sha256(f"{picture.shape}/{number}".encode() + picture.tobytes()).hexdigest()
        with self.lock:
            self.forget()
            if known not in self.visits:
                found = photographs.find(picture, self.detector)
                chosen = found[photographs.choose(found, number)[0] - 1]
                view, to_picture = window(picture, chosen.box)
                self.visits[known] = Visit(
                    picture, found, number, view, to_picture, self.clock(), pinned
                )
            self._visit(known)
        return known

    def code(
        self, method: str, point: tuple[float, float], emotion: str, intensity: float
    ) -> Tensor:
        """The code `[dim]` of a point, or of an emotion at an intensity where there is no gamut."""
        space = self._editor(method).space
        if self.choices[method].shape:
            return space.clamp(torch.tensor(point, dtype=torch.float32))
        return space.of(emotion, intensity)

    def source(self, face: str) -> np.ndarray:
        """VIEW x VIEW x 3 uint8: the photograph around the face, as it came."""
        with self.lock:
            return self._visit(face).view

    def move(self, face: str, method: str, code: Tensor) -> np.ndarray:
        """VIEW x VIEW x 3 uint8: the same part of the photograph with the face edited."""
        with self.lock:
            visit = self._visit(face)
            crop, edited = self._edited(visit, method, code)
            to_crop = SimilarityTransform(matrix=crop.transform.params @ visit.to_picture)
            return photographs.paste(visit.view, crop.source, edited, to_crop)

    def edit(self, face: str, method: str, code: Tensor) -> np.ndarray:
        """H x W x 3 uint8: the whole photograph, at its own resolution, with the face edited."""
        with self.lock:
            visit = self._visit(face)
            crop, edited = self._edited(visit, method, code)
            return photographs.paste(visit.picture, crop.source, edited, crop.transform)

    def gamut(self, face: str, method: str) -> Gamut:
        """This person's face all over the method's gamut; raises ValueError where it has none."""
        with self.lock:
            visit, editor = self._visit(face), self._editor(method)
            if method not in visit.gamuts:
                chart = editor.space.chart(2 * GRID + 1)
                if chart is None:
                    raise ValueError(f"{editor.name} has no gamut to draw; choose an emotion")
                # A chart reaches from border to border: every second of its points is the middle of
                # a cell.
                valid = chart.valid[1::2, 1::2]
                codes = chart.codes[1::2, 1::2][valid]
                crop = self._crop(visit, method)
                many = editor.pair(crop.ready, torch.zeros(len(codes), dtype=torch.long))
                tiles = np.zeros((GRID, GRID, editor.size, editor.size, 3), np.uint8)
                tiles[valid.numpy()] = images.array(editor.edit(many, codes))
                visit.gamuts[method] = Gamut(tiles, valid.numpy())
            return visit.gamuts[method]

    def cast(self, face: str, method: str) -> np.ndarray:
        """emotions x S x S x 3 uint8: this person under each emotion at full intensity."""
        with self.lock:
            visit, editor = self._visit(face), self._editor(method)
            if method not in visit.casts:
                codes = torch.stack([editor.space.of(emotion) for emotion in editor.emotions])
                rows = torch.zeros(len(codes), dtype=torch.long)
                many = editor.pair(self._crop(visit, method).ready, rows)
                visit.casts[method] = images.array(editor.edit(many, codes))
            return visit.casts[method]

    def facts(self, face: str, method: str, code: Tensor) -> dict[str, Any]:
        """What was done, for the caption and the API: method, code, face of faces, picture size."""
        with self.lock:
            visit = self._visit(face)
            height, width = visit.picture.shape[:2]
            return {
                "method": method,
                "title": self.choices[method].title,
                "code": [round(value, 4) for value in code.tolist()],
                "face": visit.number,
                "faces": len(visit.faces),
                "width": width,
                "height": height,
            }

    def _edited(self, visit: Visit, method: str, code: Tensor) -> tuple[Crop, np.ndarray]:
        crop = self._crop(visit, method)
        return crop, images.array(self._editor(method).edit(crop.ready, code))[0]

    def _crop(self, visit: Visit, method: str) -> Crop:
        if method not in visit.crops:
            editor = self._editor(method)
            face = visit.faces[visit.number - 1]
            source, transform = photographs.crop(visit.picture, face, editor.size)
            visit.crops[method] = Crop(source, transform, editor.prepare([source]))
        return visit.crops[method]

    def _editor(self, method: str) -> Editor:
        if method not in self.editors:
            raise ValueError(
                f"unknown method {method!r}. There are: {', '.join(self.editors) or 'none'}"
            )
        return self.editors[method]

    def _visit(self, face: str) -> Visit:
        visit = self.visits.get(face)
        if visit is None:
            raise Forgotten("this face is no longer in memory; give the picture again")
        visit.seen = self.clock()
        self.visits.move_to_end(face)
        return visit

    def forget(self) -> None:
        """Drops who came too long ago, and the longest unseen to make room for one more."""
        with self.lock:
            limit = self.clock() - self.seconds
            loose = [face for face, visit in self.visits.items() if not visit.pinned]
            late = [face for face in loose if self.visits[face].seen < limit]
            kept = [face for face in loose if face not in late]
            for face in late + kept[: max(len(kept) - self.seats + 1, 0)]:
                del self.visits[face]

    def keep_forgetting(self, every: float = 60.0) -> None:
        """Forgets even while nobody comes: a daemon thread looks every so many seconds."""

        def sweep() -> None:
            while True:
                time.sleep(every)
                self.forget()

        threading.Thread(target=sweep, daemon=True, name="forget").start()
