"""What happens on the page, and behind its API: values in, through the guard, pictures out."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import gradio as gr
import numpy as np
from PIL import Image

from demo import guard
from demo.pad import data_uri, labels, sheet
from demo.service import Service
from demo.visit import Choice
from ganmut.faces import NoFace

START = 0.8  # intensity of the first edit
NO_FACE = "no face was found in this picture; try one where it is larger and seen from the front"


def plainly(event: Callable) -> Callable:
    """Turns what a visitor can cause (ValueError) into one sentence; all else stays an error."""

    @functools.wraps(event)
    def wrapped(*values: Any) -> Any:
        try:
            return event(*values)
        except ValueError as error:
            raise gr.Error(
                sentence(error), title="That did not work", print_exception=False
            ) from None

    return wrapped


def sentence(error: ValueError) -> str:
    """What a visitor reads; one cannot choose another detector here, hence NO_FACE."""
    text = NO_FACE if isinstance(error, NoFace) else str(error)
    return text[:1].upper() + text[1:].rstrip(".") + "."


def jpeg(pixels: np.ndarray) -> str:
    return data_uri(Image.fromarray(pixels), "JPEG", quality=90)


class Events:
    """What happens when the visitor does something; each is the API endpoint of the same name."""

    def __init__(self, service: Service, shelf: list[tuple[str, np.ndarray]]):
        self.service, self.choices, self.shelf = service, service.choices, shelf

    def methods(self) -> list[dict[str, Any]]:
        """The methods that can be chosen, what each takes, and where its emotions lie."""
        return [
            {
                "name": choice.name,
                "title": choice.title,
                "paper": choice.paper,
                "takes": "point" if choice.shape else "emotion",
                "emotions": list(choice.emotions),
                "places": {mark.name: [mark.x, mark.y] for mark in choice.marks},
            }
            for choice in self.choices.values()
        ]

    @plainly
    def example(self, name: str) -> np.ndarray:
        """An example face as a picture."""
        known = dict(self.shelf)
        if name not in known:
            raise ValueError(f"there is no example {name!r}; there are: {', '.join(known)}")
        return known[name]

    def open(
        self, path: str | None, method: str, point: tuple, emotion: str, intensity: float
    ) -> list:
        """Takes a picture: its face, that face's gamut, the first edit; or a sentence why not."""
        try:
            if path is None:
                return self._nothing(method, "Give a face to begin.")
            face = self.service.open(guard.read(path))
            return self._opened(face, method, point, emotion, intensity)
        except ValueError as error:
            return self._nothing(method, sentence(error))

    def _opened(self, face: str, method: str, point: tuple, emotion: str, intensity: float) -> list:
        code, setting = self._code(method, point, emotion, intensity)
        source = jpeg(self.service.source(face))
        edited = jpeg(self.service.move(face, method, code))
        whole, facts = self._whole(face, method, code, setting)
        pad, cast = (
            gr.update(**self._pad(face, method)),
            gr.update(items=self._cast(face, method), named=True),
        )
        return [face, "", pad, cast, source, edited, whole, facts]

    def _nothing(self, method: str, why: str) -> list:
        # An update names every property of its component: what it leaves out is lost.
        pad = gr.update(**self._pad("", method))
        cast = gr.update(items=self._cast("", method), named=True)
        return ["", notice(why), pad, cast, "", "", None, {}]

    @plainly
    def choose(self, face: str, method: str) -> list:
        """Another method: its pad or its emotions, its own starting point, and the edit there."""
        choice = self._choice(method)
        emotion, point, edited = favourite(choice), start(choice), ""
        pad = {"value": point} | self._pad(face, method)
        if face:
            code, _ = self._code(method, point, emotion, START)
            edited = jpeg(self.service.move(face, method, code))
        return [
            gr.update(visible=bool(choice.shape), **pad),
            gr.update(visible=not choice.shape),
            gr.update(items=self._cast(face, method), named=True, value=emotion),
            START,
            edited,
            heading(choice),
            about(choice),
        ]

    @plainly
    def move(self, face: str, method: str, point: tuple, emotion: str, intensity: float) -> str:
        """The face (an id that /open gave) edited, as a JPEG data URI; small and quick."""
        if not face:
            raise ValueError("give a face first")
        code, _ = self._code(method, point, emotion, intensity)
        return jpeg(self.service.move(face, method, code))

    @plainly
    def edit(
        self, path: str | None, method: str, point: tuple, emotion: str, intensity: float
    ) -> tuple:
        """The photograph at its own resolution with its largest face edited, and what was done to
        it.

        GANmut and GGANmut take the point, methods without a gamut the emotion and its intensity
        (0..1).
        """
        if path is None:
            raise ValueError("give a picture first")
        code, setting = self._code(method, point, emotion, intensity)
        return self._whole(self.service.open(guard.read(path)), method, code, setting)

    def _whole(self, face: str, method: str, code: Any, setting: str) -> tuple[Image.Image, dict]:
        picture = guard.signed(self.service.edit(face, method, code))
        return picture, self.service.facts(face, method, code) | {"setting": setting}

    def _choice(self, method: str) -> Choice:
        if method not in self.choices:
            raise ValueError(f"unknown method {method!r}; there are: {', '.join(self.choices)}")
        return self.choices[method]

    def _code(self, method: str, point: tuple, emotion: str, intensity: float) -> tuple[Any, str]:
        choice = self._choice(method)
        intensity = guard.number(intensity, 0, 1, "intensity")
        code = self.service.code(method, point, emotion, intensity)
        if not choice.shape:
            return code, f"{emotion}, intensity {intensity:.2f}"
        x, y = code.tolist()
        return (
            code,
            f"angle {math.degrees(math.atan2(y, x)) % 360:.0f}°, radius {math.hypot(x, y):.2f}",
        )

    def _pad(self, face: str, method: str) -> dict[str, Any]:
        """The pad's properties for a face, all of them; without a face or a gamut it stays idle."""
        choice = self._choice(method)
        look = {"shape": choice.shape or "disc", "marks": marks(choice), "sheet": "", "idle": True}
        if face and choice.shape:
            gamut = self.service.gamut(face, method)
            look |= {"sheet": sheet(gamut.tiles, gamut.valid), "idle": False}
        return look

    def _cast(self, face: str, method: str) -> list[list[str]]:
        """For the emotion buttons: each name with this person's face under it, or without one."""
        choice = self._choice(method)
        if choice.shape or not face:
            return [[emotion, ""] for emotion in choice.emotions]
        faces = self.service.cast(face, method)
        return [[name, jpeg(tile)] for name, tile in zip(choice.emotions, faces, strict=True)]


def marks(choice: Choice) -> list[dict[str, Any]]:
    return labels(choice.shape or "disc", [(mark.name, mark.x, mark.y) for mark in choice.marks])


def favourite(choice: Choice) -> str:
    """The emotion of the first edit: happy where the method knows it."""
    return "happy" if "happy" in choice.emotions else choice.emotions[-1]


def start(choice: Choice) -> tuple[float, float]:
    """Where the point stands at first: most of the way from neutral to the favourite emotion."""
    places = {mark.name: (mark.x, mark.y) for mark in choice.marks}
    if not places:
        return (0.0, 0.0)
    (ax, ay), (bx, by) = places[choice.emotions[0]], places[favourite(choice)]
    return (ax + START * (bx - ax), ay + START * (by - ay))


def notice(text: str) -> str:
    return f"<p class='notice' role='status'>{text}</p>"


def heading(choice: Choice) -> str:
    if choice.shape:
        return "<h2>Move the point <span>drag, click or use the arrow keys</span></h2>"
    return "<h2>Choose an emotion <span>and how much of it</span></h2>"


def about(choice: Choice) -> str:
    how = {
        "disc": "direction is the emotion, distance from the middle its strength",
        "square": "each emotion has its own region, and blends lie between them",
        None: "one emotion at a time, mixed with neutral",
    }[choice.shape]
    return f"<p class='about'>{choice.title}: {how}.<span>{choice.paper}</span></p>"
