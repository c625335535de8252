"""For programs: /methods, /edit, /compare and /animate, each with typed, named, optional inputs.

A picture goes in as a file; what chooses the code is named as on the page; README.md has an
example.
"""

from __future__ import annotations

from typing import Any

import gradio as gr

from demo.components.face_picker import FaceAmongEdits, FaceInput
from demo.components.gamut_pad import GamutPad
from demo.components.pictures import Photograph, Png
from demo.components.result import Facts
from demo.components.sliders import Sliders
from demo.handlers import Handlers
from demo.security.files import read_picture
from demo.settings import START, number
from demo.tabs.animate import FRAMES, RATES, WAYS, Animate, Gif, Mp4, PathStops
from demo.tabs.compare import Cards, Compare
from demo.tabs.edit import NET
from demo.visualize import jpeg
from ganmut.text import quote


class Api:
    """The page's own functions, for pictures instead of faces that it remembers."""

    def __init__(self, handlers: Handlers):
        self.handlers, self.service = handlers, handlers.service
        self.comparing, self.animating = Compare(handlers), Animate(handlers)

    def methods(self) -> list[dict[str, Any]]:
        """The methods that can be chosen, what each takes, and where its emotions lie."""
        takes = {
            "gamut": "point",
            "labels": "mix",
            "styles": "mix and seed",
            "units": "units",
            "expression": "mix and units",
        }
        return [
            {
                "name": choice.key,
                "title": choice.title,
                "paper": choice.paper,
                "weights": choice.group,
                "size": choice.size,
                "takes": takes[choice.kind],
                "emotions": list(choice.emotions),
                "places": {mark.name: [mark.x, mark.y] for mark in choice.marks},
                "presets": {name: list(units) for name, units in choice.presets.items()},
                "as_it_is": choice.reads,
            }
            for choice in self.handlers.choices.values()
        ]

    def face(self, picture: str | None, face: FaceAmongEdits) -> str:
        """The id of a face in an uploaded file; raises ValueError with a sentence."""
        if picture is None:
            raise ValueError("give a picture first")
        spot, edits = face
        others = {number: link for number, link in edits.items() if number != spot}
        return self.service.open(read_picture(picture), spot, edits=others)

    def edit(
        self,
        picture: str | None,
        method: str,
        point: tuple,
        mix: Any,
        seed: Any,
        units: Any,
        face: FaceAmongEdits,
        emotion: str = "",
        intensity: float = 1.0,
    ) -> tuple:
        """The photograph at its own resolution with one face edited, and what was done to it.

        An emotion and its intensity choose the edit for any method, as in /compare; point, mix
        (with seed) and units are the other way. /methods says which emotions a method knows and
        which of point, mix and units it takes. Units that are not named stay as the face has them;
        where `as_it_is` is false nothing can read those of a face, and all must be named.

        Edits of other faces stay beside it: face={"number": 2, "edits": {"1": link}} with the link
        of an earlier answer.
        """
        setting = self.handlers.setting(method, point, mix, seed, units)
        if emotion and (setting.point != (0, 0) or setting.mix or setting.units):
            raise ValueError("give an emotion, or a point, a mix or units, but not both")
        opened = self.face(picture, face)
        if emotion:
            choice = self.handlers.choice(method)
            setting = self.handlers.preset_setting(opened, choice, emotion, intensity, seed)
        edited, facts, _ = self.handlers.whole(opened, setting)
        return edited, facts

    def compare(
        self,
        picture: str | None,
        emotion: str,
        intensity: float,
        weights: str,
        face: FaceAmongEdits,
    ) -> dict[str, Any]:
        """One face under one emotion by every method of a set: picture (a data URI), probability of
        the emotion, identity distance, milliseconds of the network."""
        known = list(self.service.classifiers)
        if weights not in known:
            raise ValueError(f"unknown weights {quote(weights)}; there are: {', '.join(known)}")
        opened = self.face(picture, face)
        intensity = number(intensity, 0, 1, "intensity")
        made = self.comparing.each(opened, weights, emotion, intensity)
        return {
            "emotion": emotion,
            "cards": [numbers | {"picture": jpeg(p)} for numbers, p in made],
        }

    def animate(
        self,
        picture: str | None,
        method: str,
        way: str,
        emotion: str,
        stops: Any,
        radius: float,
        frames: int,
        rate: int,
        face: FaceAmongEdits,
    ) -> tuple:
        """(GIF, MP4) of one face along a way: "emotion" (neutral, emotion, neutral), "stops" (a
        list such as [{"point": [0.4, -0.6]}, {"point": [0, 1]}]) or "wheel" (at a radius)."""
        opened = self.face(picture, face)
        values = (way, emotion, stops, radius, frames, rate)
        return self.animating.render(opened, method, *values, progress=gr.Progress())


def build(handlers: Handlers) -> None:
    """The endpoints, on components that the page does not show."""
    api = Api(handlers)
    first = next(iter(handlers.choices.values()))
    gr.api(api.methods, api_name="methods", api_description=Api.methods.__doc__)
    with gr.Column(visible=False):
        picture = Photograph(type="filepath", image_mode=None, format="png", label="picture")
        names = ", ".join(handlers.choices)
        method = gr.Textbox(first.key, label=f"method: {names}; or SET/NAME of its weight")
        point = GamutPad({"x": 0.0, "y": 0.0}, label="point")
        mix = Sliders({}, label="mix")
        seed = gr.Number(0, label="seed of the style", precision=0)
        units = Sliders({}, label="units")
        face = FaceInput({"number": 1}, label="face")
        emotion = gr.Textbox(first.favourite, label="emotion")
        wanted = gr.Textbox("", label="emotion: as /methods lists them; with its intensity")
        intensity = gr.Number(1.0, label="intensity, 0 to 1")
        weights = gr.Textbox(
            first.group, label="weights: " + ", ".join(handlers.service.classifiers)
        )
        way = gr.Textbox("emotion", label="way: " + ", ".join(WAYS))
        stops = PathStops({"stops": []}, label="stops")
        radius = gr.Number(START, label="radius, 0 to 1")
        frames = gr.Number(24, label=f"frames, {FRAMES[0]} to {FRAMES[1]}", precision=0)
        rate = gr.Number(12, label=f"frames a second, {RATES[0]} to {RATES[1]}", precision=0)
        edited, facts, cards = Png(), Facts(), Cards()
        gif, mp4 = Gif(), Mp4()
        ask = [gr.Button(name) for name in ("edit", "compare", "animate")]
    ask[0].click(
        api.edit,
        [picture, method, point, mix, seed, units, face, wanted, intensity],
        [edited, facts],
        api_name="edit",
        **NET,
    )
    ask[1].click(
        api.compare, [picture, emotion, intensity, weights, face], cards, api_name="compare", **NET
    )
    ask[2].click(
        api.animate,
        [picture, method, way, emotion, stops, radius, frames, rate, face],
        [gif, mp4],
        api_name="animate",
        concurrency_limit=1,
        concurrency_id="animation",
    )
