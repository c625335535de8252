"""Loaded editors, faces made ready once and edited many times, one lock; no page is known here."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from PIL import Image
from skimage.transform import SimilarityTransform
from torch import Tensor

from demo import settings
from demo.classifiers import Classifiers, readings
from demo.sessions.face_store import FaceStore
from demo.sessions.session import (
    KINDS,
    Crop,
    FaceSession,
    Gamut,
    MethodChoice,
    align_crop,
    choice,
    sets,
)
from demo.settings import Setting
from ganmut import faces as photographs
from ganmut import images, load, weights
from ganmut.decoding import Picture
from ganmut.editor import Editor
from ganmut.text import quote

GRID = 8  # mini faces along a side of the gamut
CHUNK = 8  # of them that are made before anybody else may have the network


@dataclass(frozen=True)
class EditedCrop:
    """An edited crop: edited S x S x 3 uint8, mask S x S in 0..1 and flow S x S x 2 in crop pixels
    (float32), or None where the method has none."""

    crop: Crop
    edited: np.ndarray
    mask: np.ndarray | None
    flow: np.ndarray | None


class Service(FaceStore):
    """The editors of the bundled sets of weights, and the faces of the last few visitors.

    `problems` says by name why a weight could not be loaded. seats, megabytes, minutes, clock: see
    `FaceStore`.
    """

    def __init__(
        self,
        groups: tuple[str, ...] | None = None,
        detector: Any = "builtin",
        seats: int = 64,
        megabytes: float = 640,
        minutes: float = 15,
        clock: Callable[[], float] = time.monotonic,
    ):
        super().__init__(detector, seats, megabytes, minutes, clock)
        self.editors: dict[str, Editor] = {}
        self.choices: dict[str, MethodChoice] = {}
        self.classifiers: dict[str, Classifiers] = {}
        self.problems: dict[str, str] = {}
        for group in groups or sets():
            self._load(group)
        by_kind = sorted(self.choices.items(), key=lambda item: KINDS.index(item[1].kind))
        self.choices = dict(by_kind)
        self.blocked = False  # without a detector no picture can be opened at all
        try:
            if isinstance(detector, str):
                photographs.open_detector(detector)
        except ValueError as error:
            self.problems["face detector"], self.blocked = str(error), True

    def _load(self, group: str) -> None:
        """Loads the editors and classifiers of a set; the first set's go by their plain name."""
        try:
            names = weights.list_weights(group)
        except ValueError as error:  # one unreadable config.json hides the others' kinds
            self.problems[group] = str(error)
            return
        first = not self.classifiers
        if names:
            self.classifiers[group] = Classifiers(group)
            self.problems |= self.classifiers[group].problems
        for name in names:
            key = name if first else f"{group}/{name}"
            try:
                self.editors[key] = load(f"{group}/{name}", "cpu")
                estimator = "units" in self.classifiers[group].by_role
                self.choices[key] = choice(self.editors[key], key, group, estimator)
            except ValueError as error:
                self.problems[key] = str(error)

    def with_edits(self, origin: Picture, edits: Mapping[int, str]) -> np.ndarray:
        """H x W x 3 uint8: a picture with the faces of these numbers edited, each as a link says.
        Raises ValueError for a link of no method here."""
        pixels = origin.pixels
        for number, link in edits.items():
            face, method, code = self.edit_of(origin, number, link)
            made = self.edit_crop(face, method, code)
            crop = made.crop
            pixels = photographs.paste_face(
                pixels, crop.source, made.edited, crop.transform, made.flow
            )
        return pixels

    def edit_of(self, origin: Picture, number: int, link: str) -> tuple[str, str, Tensor]:
        """(id, method, code) of the edit of a picture's face that a link says."""
        setting = settings.parse_link(settings.query_of(link), self.choices)
        if setting is None:
            raise ValueError(f"an edit is a link such as '?method=ganmut', got {quote(link)}")
        face = self.open(origin, number)
        return face, setting.method, self.code(setting, face)

    def edits_of(
        self, face: str, method: str, code: Tensor
    ) -> list[tuple[MethodChoice, Tensor, int, list[float] | None]]:
        """What `settings.snippet` takes: the edits beside a face, then its own."""
        session = self.session(face)
        edits = [
            (number, *self.edit_of(session.origin, number, link))
            for number, link in session.edits.items()
        ]
        edits.append((session.number, face, method, code))
        units = {key for key, choice in self.choices.items() if choice.kind == "units"}
        return [
            (self.choices[m], c, n, self.own_code(f, m) if m in units else None)
            for n, f, m, c in edits
        ]

    def recommend(self, face: str, method: str) -> str:
        """The method in the set of weights that goes with a face, see `method_for`."""
        return self.method_for(self.session(face).whole in self.known_faces, method)

    def method_for(self, rendered: bool, method: str) -> str:
        """The method in the set of weights that goes with rendered faces (the first) or with
        photographs, a key of `choices`. For photographs it is one that keeps their resolution,
        where there is one, with the same controls if it can be."""
        group, known = self.choices[method].group, list(self.classifiers)
        if len(known) < 2 or (group == known[0]) == rendered:
            return method
        if not rendered:
            sharp = [c for c in self.choices.values() if c.group == known[1] and c.sharp]
            if sharp:
                return min(sharp, key=lambda c: c.kind != self.choices[method].kind).key
        return self.counterpart(method, known[0] if rendered else known[1])

    def counterpart(self, method: str, group: str) -> str:
        """The same method in another set of weights, or the first of that set."""
        name = method.rpartition("/")[2]
        others = [key for key, choice in self.choices.items() if choice.group == group]
        if not others:
            raise ValueError(
                f"unknown weights {quote(group)}; there are: {', '.join(self.classifiers)}"
            )
        return next((key for key in others if key.rpartition("/")[2] == name), others[0])

    def code(self, setting: Setting, face: str | None = None) -> Tensor:
        """The code `[dim]` of a setting; units that it does not name are the face's own."""
        own = self.own_code(face, setting.method) if face else None
        return settings.code_of(self._editor(setting.method).space, setting, own)

    def code_of_emotion(self, method: str, emotion: str, intensity: float) -> Tensor:
        """The code `[dim]` of an emotion at an intensity 0..1, for any method."""
        return self._editor(method).space.of(emotion, intensity)

    def path(self, method: str, stops: list[Tensor], steps: int) -> Tensor:
        """`[steps, dim]` codes through the stops, the first and the last included, as the method
        itself goes from one to the next."""
        space = self._editor(method).space
        # The stops' places among the steps, and from each to the next the method's own path.
        places = torch.linspace(0, steps - 1, len(stops)).round().int().tolist()
        legs = [
            space.path(a, b, end - start + 1)[1:] if end > start else b[None][:0]
            for (a, b), start, end in zip(pairwise(stops), places, places[1:], strict=False)
        ]
        return torch.cat([stops[0][None], *legs])

    def own_code(self, face: str, method: str) -> list[float] | None:
        """The code that the face shows already, or None where nothing here can read it."""
        with self.lock:
            session = self._session(face)
            if not self.choices[method].reads:
                return None
            shown = self._crop(session, method).ready.source_codes
            return None if shown is None else settings.exact_numbers(shown[0].cpu())

    def units(self, face: str | None, setting: Setting) -> list[float]:
        """The seventeen units under a setting of a method that has units, two digits."""
        space = self._editor(setting.method).space
        return [round(value, 2) for value in space.units_of(self.code(setting, face)).tolist()]

    def move(
        self, face: str, method: str, code: Tensor, read: bool = True
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """(VIEW x VIEW x 3 uint8, readings): the part around the face with the edit, and what the
        classifiers say of it, if they are to be asked."""
        with self.lock:
            session = self._session(face)
            made = self._edit(self._live_crop(session, method), method, code)
            return self._paste(session, made), self._read(session, method, made) if read else {}

    def edit(
        self, face: str, method: str, code: Tensor
    ) -> tuple[np.ndarray, dict[str, Any], EditedCrop]:
        """(H x W x 3 uint8: the whole photograph, at its own resolution, with the face edited; what
        the classifiers say; the edited crop)."""
        with self.lock:
            session = self._session(face)
            made = self._edit_crop(session, method, code)
            crop = made.crop
            whole = photographs.paste_face(
                session.picture, crop.source, made.edited, crop.transform, made.flow
            )
            return whole, self._read(session, method, made), made

    def show_edit(self, face: str, made: EditedCrop) -> tuple[np.ndarray, np.ndarray]:
        """(VIEW x VIEW x 3 uint8: the part around the face with an edited crop, 3 x 3 from its
        pixels to those of the crop)."""
        with self.lock:
            session = self._session(face)
            return self._paste(session, made), made.crop.transform.params @ session.to_picture

    def edit_crop(self, face: str, method: str, code: Tensor) -> EditedCrop:
        """The edited crop alone."""
        with self.lock:
            return self._edit_crop(self._session(face), method, code)

    def gamut(self, face: str, method: str) -> Iterator[Gamut]:
        """This person's face all over the method's gamut: grows a few cells at a time, and once it
        is complete comes at once. Raises ValueError where the method has none."""
        chart = self._editor(method).space.chart(2 * GRID + 1)
        if chart is None:
            raise ValueError(f"{method} has no gamut to draw; choose an emotion")
        # A chart reaches from border to border: every second of its points is the middle of a cell.
        valid = chart.valid[1::2, 1::2].numpy()
        codes = chart.codes[1::2, 1::2][torch.from_numpy(valid)]
        cells = np.argwhere(valid)
        while True:
            with self.lock:
                session, editor = self._session(face), self._editor(method)
                made = session.gamuts.get(method)
                if made is None:
                    empty = np.zeros((GRID, GRID, editor.size, editor.size, 3), np.uint8)
                    made = Gamut(empty, valid, 0)
                if made.done < len(codes):
                    some = slice(made.done, made.done + CHUNK)
                    rows, columns = cells[some].T
                    made.tiles[rows, columns] = self._many(session, method, codes[some])
                    made = Gamut(made.tiles, valid, min(made.done + CHUNK, len(codes)))
                    session.gamuts[method] = made
            yield made
            if made.done == len(codes):
                return

    def emotion_previews(self, face: str, method: str) -> np.ndarray:
        """emotions x S x S x 3 uint8: this person under each emotion at full intensity."""
        with self.lock:
            session, editor = self._session(face), self._editor(method)
            if method not in session.emotion_previews:
                codes = torch.stack([editor.space.of(emotion) for emotion in editor.emotions])
                session.emotion_previews[method] = self._many(session, method, codes)
            return session.emotion_previews[method]

    def facts(self, face: str, method: str, code: Tensor) -> dict[str, Any]:
        """What was done, for the caption and the API: method, code, face of faces, picture size."""
        with self.lock:
            session, what = self._session(face), self.choices[method]
            height, width = session.picture.shape[:2]
            return {
                "method": method,
                "title": what.title,
                "weights": what.group,
                "code": settings.exact_numbers(code),
                "face": session.number,
                "faces": len(session.faces),
                "edits": {str(number): link for number, link in session.edits.items()},
                "width": width,
                "height": height,
            }

    def many(self, face: str, method: str, codes: Tensor) -> np.ndarray:
        """n x S x S x 3 uint8: a face's crop under n codes."""
        with self.lock:
            return self._many(self._session(face), method, codes)

    def _edit_crop(self, session: FaceSession, method: str, code: Tensor) -> EditedCrop:
        return self._edit(self._crop(session, method), method, code)

    def _edit(self, crop: Crop, method: str, code: Tensor) -> EditedCrop:
        edit = self._editor(method).edit_details(crop.ready, code)
        edited = images.to_array(edit.images)[0]
        mask, flow = (
            None if x is None else x[0].float().cpu().movedim(0, -1).numpy()
            for x in (edit.mask, edit.flow)
        )
        return EditedCrop(crop, edited, None if mask is None else mask[..., 0], flow)

    def _paste(self, session: FaceSession, made: EditedCrop) -> np.ndarray:
        crop = made.crop
        key = (len(crop.source), crop.margin)
        if key not in session.pasting:
            to_crop = SimilarityTransform(matrix=crop.transform.params @ session.to_picture)
            session.pasting[key] = photographs.PasteBack(session.view, crop.source, to_crop)
        return session.pasting[key].paste(made.edited, made.flow)

    def _read(self, session: FaceSession, method: str, made: EditedCrop) -> dict[str, Any]:
        group = self.choices[method].group
        classifiers, margin = self.classifiers[group], made.crop.margin
        source, edited = (align_crop(crop, margin) for crop in (made.crop.source, made.edited))
        if group not in session.people and (person := classifiers.person(source)) is not None:
            session.people[group] = person
        return readings(classifiers, session.people.get(group), edited)

    def _many(self, session: FaceSession, method: str, codes: Tensor) -> np.ndarray:
        """n x S x S x 3 uint8: one face under n codes, at the editor's own size S."""
        editor, crop = self._editor(method), self._crop(session, method)
        crop = self._smaller(session, method, round(editor.size * crop.margin))
        many = editor.select(crop.ready, torch.zeros(len(codes), dtype=torch.long))
        edited = editor.edit(many, codes)
        return np.stack([align_crop(face, crop.margin) for face in images.to_array(edited)])

    def _crop(self, session: FaceSession, method: str) -> Crop:
        if method not in session.crops:
            editor = self._editor(method)
            source, transform, margin = photographs.crop_for_editor(
                session.picture, session.face, editor
            )
            units = None
            if editor.space.kind == "units":
                units = self._source_units(session, self.choices[method].group, source)
            ready = photographs.prepare_crop(editor, source, units, margin)
            session.crops[method] = Crop(source, transform, ready, margin)
        return session.crops[method]

    def _live_crop(self, session: FaceSession, method: str) -> Crop:
        """The crop that is edited while the hand moves: at the view's resolution where the
        photograph has more. Drawing and pasting cost as much as the crop has pixels."""
        crop = self._crop(session, method)
        step = crop.transform.scale * math.hypot(*session.to_picture[:2, 0])
        least = self._editor(method).size * crop.margin
        return self._smaller(session, method, round(max(len(crop.source) / step, least)))

    def _smaller(self, session: FaceSession, method: str, side: int) -> Crop:
        """The crop of an editor of any size with fewer pixels a side; the crop itself where it has
        no more, or its editor takes one size alone."""
        crop, editor = self._crop(session, method), self._editor(method)
        if not editor.method.any_size or side >= len(crop.source):
            return crop
        if (method, side) not in session.smaller:
            small = Image.fromarray(crop.source).resize((side, side), Image.Resampling.BOX)
            scale = side / len(crop.source)  # pixel centres stay where they are
            shrink = SimilarityTransform(scale=scale, translation=(scale - 1) / 2)
            source = np.asarray(small)
            ready = editor.reduce(crop.ready, [source])
            transform = crop.transform + shrink
            session.smaller[method, side] = Crop(source, transform, ready, crop.margin)
        return session.smaller[method, side]

    def _source_units(
        self, session: FaceSession, group: str, source: np.ndarray
    ) -> list[float] | None:
        """The units of a crop by the extractor of a set of weights; None where it has none."""
        if (
            group not in session.units
            and (units := self.classifiers[group].units(source)) is not None
        ):
            session.units[group] = units
        return session.units.get(group)

    def _editor(self, method: str) -> Editor:
        if not isinstance(method, str) or method not in self.editors:
            raise ValueError(
                f"unknown method {quote(method)}; there are: {', '.join(self.editors) or 'none'}"
            )
        return self.editors[method]
