"""The Animate tab: from neutral to an emotion, through chosen points, or once round the wheel."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import gradio as gr
import numpy as np
import torch
from gradio.data_classes import FileData, ImageData
from PIL import Image
from torch import Tensor

from demo import video
from demo.components.base import JsonHTML, NoStubMeta, save_file
from demo.handlers import Handlers
from demo.sessions.session import MethodChoice
from demo.settings import Setting, number
from demo.tabs.edit import PAGE, Controls, Face
from demo.visualize import add_mark, jpeg
from ganmut.text import quote

SIDE = 320  # px of a frame
FRAMES, RATES = (8, 96), (5, 30)
MOST = 6  # stops that can be kept
WAYS = {
    "emotion": "Neutral to an emotion and back",
    "stops": "Through the points I keep",
    "wheel": "Once round the wheel",
}
STOPS = (
    "<ol class='stops'>${(value.stops || []).map(s => `<li><img src='${s.picture}' alt=''>"
    "<span>${s.words}</span></li>`).join('') || '<li class=\"hint\">Keep two settings or more: "
    "move the point on the Edit tab, come back, press Keep.</li>'}</ol>"
)


class PathStops(JsonHTML, metaclass=NoStubMeta):
    """The settings that an animation goes through: {"stops": [{"picture", "words", "setting"}]}."""

    def __init__(self, value: dict[str, Any] | None = None, **options: Any):
        super().__init__(value or {"stops": []}, html_template=STOPS, **options)


class Gif(gr.Image, metaclass=NoStubMeta):
    """A picture whose value is the bytes of a GIF."""

    def get_block_name(self) -> str:
        return "image"

    def postprocess(self, value: bytes | None) -> ImageData | None:
        if value is None:
            return None
        path = save_file(value, "ganmut.gif", self.GRADIO_CACHE)
        return ImageData(path=path, orig_name="ganmut.gif", mime_type="image/gif")


class Mp4(gr.Video, metaclass=NoStubMeta):
    """A video whose value is the bytes of an MP4."""

    def get_block_name(self) -> str:
        return "video"

    def postprocess(self, value: bytes | None) -> FileData | None:
        if value is None:
            return None
        path = save_file(value, "ganmut.mp4", self.GRADIO_CACHE)
        return FileData(path=path, orig_name="ganmut.mp4", mime_type="video/mp4")


class Animate:
    """Codes along a way, one frame each."""

    def __init__(self, handlers: Handlers):
        self.handlers, self.service = handlers, handlers.service

    def codes(
        self,
        face: str,
        choice: MethodChoice,
        way: str,
        emotion: str,
        stops: list[Setting],
        radius: float,
        frames: int,
    ) -> Tensor:
        """`[frames, dim]`: the codes of a way. Raises ValueError with a sentence."""
        if way == "emotion":
            ends = [
                self.service.code_of_emotion(choice.key, emotion, share)
                for share in (0.0, 1.0, 0.0)
            ]
            return self.service.path(choice.key, ends, frames)
        if way == "wheel":
            if choice.shape != "disc":
                raise ValueError(f"{choice.title} has no wheel; choose a method with a round pad")
            angles = torch.linspace(0, 2 * math.pi, frames + 1)[:-1]
            return radius * torch.stack([angles.cos(), angles.sin()], 1)
        if way != "stops":
            raise ValueError(f"unknown way {quote(way)}; there are: {', '.join(WAYS)}")
        if len(stops) < 2:
            raise ValueError("keep at least two points first: move the point, then press Keep")
        ends = [self.service.code(stop, face) for stop in stops]
        return self.service.path(choice.key, ends, frames)

    def frames(self, face: str, method: str, codes: Tensor) -> Iterator[np.ndarray]:
        """SIDE x SIDE x 3 uint8, one a code; the network is free for others between them."""
        for code in codes:
            pixels, _ = self.service.move(face, method, code, read=False)
            frame = Image.fromarray(pixels).resize((SIDE, SIDE), Image.Resampling.LANCZOS)
            yield np.asarray(add_mark(np.asarray(frame)))

    def render(
        self,
        face: str,
        method: str,
        way: str,
        emotion: str,
        stops: Any,
        radius: float,
        frames: int,
        rate: int,
        progress: gr.Progress = gr.Progress(),  # noqa: B008
    ) -> tuple[bytes, bytes]:
        """(GIF, MP4) of a face along a way; 8 to 96 frames, 5 to 30 a second."""
        if not face:
            raise ValueError("choose a face first")
        choice = self.handlers.choice(method)
        frames = int(number(frames, *FRAMES, "number of frames"))
        rate = int(number(rate, *RATES, "frames a second"))
        radius = number(radius, 0, 1, "radius")
        codes = self.codes(
            face, choice, way, emotion, self.read_stops(choice, stops), radius, frames
        )
        made = self.frames(face, choice.key, codes)
        pixels = list(progress.tqdm(made, total=frames, desc="drawing", unit="frames"))
        return video.gif(pixels, rate), video.mp4(pixels, rate)

    def keep(self, face: str, stops: Any, *controls: Any) -> dict[str, Any]:
        """One more stop: the Edit tab's setting with its picture; another method begins anew."""
        setting = self.handlers.setting(*controls)
        if not face:
            raise ValueError("choose a face first")
        method = setting.method
        pixels, _ = self.service.move(face, method, self.service.code(setting, face), read=False)
        small = np.asarray(Image.fromarray(pixels).resize((96, 96), Image.Resampling.LANCZOS))
        whole = asdict(setting)  # nothing of what was sent that no one has checked
        before = [s for s in self.valid_stops(stops) if s["setting"]["method"] == method]
        stop = {"picture": jpeg(small), "words": str(len(before) + 1), "setting": whole}
        return {"stops": [*before, stop][-MOST:]}

    def valid_stops(self, stops: Any) -> list[dict[str, Any]]:
        """The stops that came back from the page, of their fields only what was sent to it."""
        found = stops.get("stops", []) if isinstance(stops, dict) else []
        fields = (("picture", str), ("words", str), ("setting", dict))
        return [
            {name: stop[name] for name, _ in fields}
            for stop in (found if isinstance(found, list) else [])
            if isinstance(stop, dict)
            and all(isinstance(stop.get(n), kind) for n, kind in fields)
            and self.is_setting(stop["setting"])
        ]

    def is_setting(self, setting: dict[str, Any]) -> bool:
        """Whether a setting is one that `keep` made: numbers under known names."""
        try:
            return bool(self.read_stops(self.handlers.choice(setting.get("method")), [setting]))
        except ValueError:
            return False

    def read_stops(self, choice: MethodChoice, stops: Any) -> list[Setting]:
        """The settings in what `Stops` holds or a program sent; those of another method are not."""
        found = stops.get("stops", []) if isinstance(stops, dict) else stops
        if not isinstance(found, list) or len(found) > MOST:
            raise ValueError(f"stops are a list of at most {MOST} settings")
        settings = []
        for stop in found:
            one = stop.get("setting", stop) if isinstance(stop, dict) else None
            if not isinstance(one, dict):
                raise ValueError(f'a stop is {{"point": [0.4, -0.6]}}, got {quote(stop)}')
            if one.get("method", choice.key) in choice.names:
                point = tuple(number(v, -1, 1, "x, y") for v in one.get("point", [0, 0]))
                if len(point) != 2:
                    raise ValueError(f"a point is two numbers, got {len(point)}")
                rest = (one.get("mix", {}), one.get("seed", 0), one.get("units", {}))
                settings.append(self.handlers.setting(choice.key, point, *rest))
        return settings


def build(handlers: Handlers, face: Face, do: Controls) -> None:
    """The tab."""
    animate = Animate(handlers)
    names = list(dict.fromkeys(n for c in handlers.choices.values() for n in c.emotions[1:]))
    first = next(iter(handlers.choices.values())).favourite
    gifs = {"interactive": False, "show_label": False, "container": False}
    with gr.Row(elem_classes="workspace"):
        with gr.Column(scale=5, min_width=320, elem_classes="card"):
            gr.HTML(
                "<h2>Path <span>with the method of the Edit tab</span></h2>",
                apply_default_css=False,
            )
            way = gr.Radio(
                [(words, way) for way, words in WAYS.items()],
                value="emotion",
                show_label=False,
                container=False,
                elem_classes="pills",
                elem_id="way",
            )
            with gr.Column(visible=True, elem_classes="way") as by_emotion:
                emotion = gr.Radio(
                    names, value=first, show_label=False, container=False, elem_classes="pills"
                )
            with gr.Column(visible=False, elem_classes="way") as by_stops:
                stops = PathStops(elem_id="stops")
                with gr.Row():
                    keep = gr.Button("Keep this point", size="sm", elem_id="keep")
                    clear = gr.Button("Begin anew", size="sm")
            with gr.Column(visible=False, elem_classes="way") as by_wheel:
                radius = gr.Slider(0, 1, 0.8, step=0.01, label="Radius")
            frames = gr.Slider(*FRAMES, 32, step=1, label="Frames", elem_id="frames")
            rate = gr.Slider(*RATES, 12, step=1, label="Frames a second")
            make = gr.Button("Render animation", variant="primary", elem_id="make")
        with gr.Column(scale=7, min_width=320, elem_classes="card animation-card"):
            gr.HTML(
                "<h2>Animation <span>GIF and MP4, to download</span></h2>", apply_default_css=False
            )
            with gr.Row():
                moving = Gif(
                    buttons=["download"],
                    elem_id="gif",
                    height=SIDE,
                    alt_text="the animation",
                    placeholder="",
                    **gifs,
                )
                video = Mp4(
                    buttons=["download"],
                    loop=True,
                    autoplay=True,
                    elem_id="mp4",
                    height=SIDE,
                    **gifs,
                )
    way.input(
        lambda chosen: [gr.update(visible=chosen == name) for name in WAYS],
        way,
        [by_emotion, by_stops, by_wheel],
        api_visibility="private",
        show_progress="hidden",
    )
    keep.click(
        animate.keep,
        [face.known, stops, *do.setting],
        stops,
        api_name="keep",
        show_progress="hidden",
        **PAGE,
    )
    clear.click(
        lambda: {"stops": []}, None, stops, api_visibility="private", show_progress="hidden"
    )
    make.click(
        animate.render,
        [face.known, do.method, way, emotion, stops, radius, frames, rate],
        [moving, video],
        api_name="render_animation",
        concurrency_limit=1,
        concurrency_id="animation",
        show_progress_on=[moving],
        **PAGE,
    )
