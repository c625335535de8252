"""The Label maps tab: the classifier's emotion at each place of a learned space, and where valence
and arousal grow."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import gradio as gr
import numpy as np
from PIL import Image

from demo.components.base import STATIC, JsonHTML, NoStubMeta
from demo.components.gamut_pad import data_uri, labels
from demo.descriptions import LEARNED
from demo.handlers import Handlers
from demo.security.lease import LeaseLock
from demo.sessions.session import MethodChoice
from demo.tabs.edit import PAGE
from ganmut.emotions import emotion_color

# Codes along a side of the map, first and then, odd numbers: neutral is one of them.
SIDES = (9, 25)
PEOPLE = 2  # rendered faces whose judgements are averaged
DRAWN = 480  # px of the drawing
# Where emotions lie on the circumplex (Russell, 1980, figure 2; disgust: Posner et al., 2005):
# valence and arousal, -1..1.
AFFECT = {
    "neutral": (0.0, 0.0),
    "happy": (0.89, 0.17),
    "sad": (-0.81, -0.4),
    "surprised": (0.2, 0.85),
    "fearful": (-0.12, 0.79),
    "disgusted": (-0.68, 0.35),
    "angry": (-0.4, 0.79),
}


@dataclass(frozen=True)
class Map:
    """share: n x n x emotions, mean probabilities (rows top first); valid: n x n bool;
    emotions: the classifier's. axes: name -> unit vector (x, y) along which it grows most."""

    share: np.ndarray
    valid: np.ndarray
    emotions: tuple[str, ...]
    axes: dict[str, tuple[float, float]]


class LabelMaps:
    """The map of each gamut, computed once from the weights and a few rendered people."""

    def __init__(self, handlers: Handlers):
        self.handlers, self.service = handlers, handlers.service
        self.done: dict[tuple[str, int], dict[str, Any]] = {}
        self.lock = LeaseLock(seconds=100)  # as long as a first map may take

    def entry(self, choice: MethodChoice, side: int) -> dict[str, Any]:
        """What the tab shows of one gamut: its map, drawn once for all visitors, of `side` codes
        along a side or of more where that is done already."""
        with self.lock:  # the first visitor waits for it, the others with him
            known = max((n for key, n in self.done if key == choice.key), default=0)
            if known < side:
                self.done[choice.key, side] = self._draw(choice, side)
            return self.done[choice.key, max(known, side)]

    def classify(self, choice: MethodChoice, side: int) -> Map | None:
        """The map of one gamut, or None where its set of weights has no classifier of emotions."""
        classifiers = self.service.classifiers[choice.group]
        if "emotion" not in classifiers.by_role:
            return None
        chart = self.service.editors[choice.key].space.chart(side)
        valid, codes = chart.valid.numpy(), chart.codes[chart.valid]
        rows = []
        gallery = self.handlers.gallery.all
        people = [e for e in gallery if e.face is not None] or gallery
        for example in people[:PEOPLE]:
            face = self.service.open(example.picture, pinned=True)
            for some in codes.split(64):
                seen = classifiers.emotions(self.service.many(face, choice.key, some))
                rows += [list(row.values()) for row in seen]
        emotions = tuple(classifiers.by_role["emotion"].emotions)
        mean = np.array(rows).reshape(-1, len(codes), len(emotions)).mean(0)
        share = np.zeros((*valid.shape, len(emotions)))
        share[valid] = mean
        return Map(share, valid, emotions, axes(codes.numpy(), mean, emotions))

    def stream(self) -> Iterator[dict[str, Any]]:
        """What the tab shows, one map more or finer at a time, in the order of the methods."""
        gamuts = [c for c in self.handlers.choices.values() if c.kind == "gamut"]
        maps: list[dict[str, Any]] = []
        for side in SIDES:  # a coarse map of each comes at once, and becomes a finer one later
            for place, choice in enumerate(gamuts):
                maps = [*maps[:place], self.entry(choice, side), *maps[place + 1 :]]
                yield {"maps": maps, "of": len(gamuts)}
        if not gamuts:
            yield {"maps": [], "of": 0}

    def _name(self, choice: MethodChoice) -> str:
        """The title, with its set where there are several."""
        several = len(self.service.classifiers) > 1
        return (
            f"{choice.title}, {LEARNED.get(choice.group, choice.group)}"
            if several
            else choice.title
        )

    def _draw(self, choice: MethodChoice, side: int) -> dict[str, Any]:
        found = self.classify(choice, side)
        if found is None:
            return {
                "title": choice.title,
                "why": f"there is no classifier of emotions for {choice.group}",
            }
        seen = [
            e
            for i, e in enumerate(found.emotions)
            if (found.share.argmax(-1)[found.valid] == i).any()
        ]
        marks = labels(choice.shape, [(m.name, m.x, m.y) for m in choice.marks])
        return {
            "title": self._name(choice),
            "shape": choice.shape,
            "picture": picture(found),
            "marks": marks,
            "axes": [[name, *axis, *clear(axis, marks)] for name, axis in found.axes.items()],
            "seen": [[name, emotion_color(name)] for name in seen],
        }


def axes(
    codes: np.ndarray, share: np.ndarray, emotions: tuple[str, ...]
) -> dict[str, tuple[float, float]]:
    """Unit vectors along which valence and arousal grow: of the plane fitted to their means over
    the codes (n x 2), which follow from the shares (n x emotions). Emotions of no known place are
    left out."""
    known = [i for i, name in enumerate(emotions) if name in AFFECT]
    places = np.array([AFFECT[emotions[i]] for i in known])
    means = share[:, known] @ places
    design = np.column_stack([codes, np.ones(len(codes))])
    slopes = np.linalg.lstsq(design, means, rcond=None)[0][:2].T
    lengths = np.linalg.norm(slopes, axis=1)
    return {
        name: (float(slope[0] / length), float(slope[1] / length))
        for name, slope, length in zip(("valence", "arousal"), slopes, lengths, strict=True)
        if length > 1e-6
    }


def clear(axis: tuple[float, float], marks: list[dict[str, Any]]) -> tuple[float, float]:
    """The place (x, y) on an axis for its name: as far out as no dot and no emotion's name is in
    its way, or where they are least so."""
    taken = [(mark[x], mark[y]) for mark in marks for x, y in (("x", "y"), ("tx", "ty"))]

    def room(t: float) -> float:  # 1: just beside the next; a name is four times as wide as high
        near = [max(abs(t * axis[0] - x) / 0.4, abs(t * axis[1] - y) / 0.1) for x, y in taken]
        return min(1.0, *near)

    t = max((0.76, 0.66, 0.56, 0.46, 0.36, 0.26), key=room)  # the first of equals
    return t * axis[0], t * axis[1]


def picture(found: Map) -> str:
    """The map as a data URI: the colour is the most probable emotion, its strength how probable."""
    share, inside = (enlarge(x) for x in (found.share, found.valid[..., None].astype(float)))
    share = share / inside.clip(1e-6)  # codes beyond the border have no say
    tints = np.array([_rgb(emotion_color(name)) for name in found.emotions])
    best = share.argmax(-1)
    least = 1 / len(found.emotions)
    strength = ((share.max(-1) - least) / (1 - least)).clip(0, 1) ** 0.7
    ground = np.array([44.0, 40.0, 37.0])
    pixels = ground + strength[..., None] * (tints[best] - ground)
    # The border is that of the space itself; its corner codes stand half a step inside.
    x, y = np.meshgrid(*2 * [np.linspace(-1, 1, DRAWN)])
    alpha = 255.0 * ((np.hypot(x, y) <= 1) | found.valid.all())[..., None]
    flat = np.concatenate([pixels, alpha], -1).round().clip(0, 255).astype(np.uint8)
    return data_uri(Image.fromarray(flat, "RGBA"), "WEBP", quality=88)


def enlarge(values: np.ndarray) -> np.ndarray:
    """n x n x k -> DRAWN x DRAWN x k, linear between the codes, which reach from edge to edge."""
    place = np.linspace(0, len(values) - 1, DRAWN)
    low = np.minimum(place.astype(int), len(values) - 2)
    part = (place - low)[:, None]
    rows = values[low] + part[..., None] * (values[low + 1] - values[low])
    return rows[:, low] + part[None] * (rows[:, low + 1] - rows[:, low])


def _rgb(name: str) -> list[int]:
    return [int(name[i : i + 2], 16) for i in (1, 3, 5)]


class Chart(JsonHTML, metaclass=NoStubMeta):
    """A row of label maps: what `LabelMaps.stream` returned."""

    def __init__(self, value: list | None = None, **options: Any):
        template = (STATIC / "label_maps.html").read_text("utf-8")
        super().__init__({"maps": value or [], "of": 1}, html_template=template, **options)


def build(handlers: Handlers, tab: gr.Tab) -> None:
    """The tab; it is filled when it is opened for the first time."""
    maps = LabelMaps(handlers)
    with gr.Column(elem_classes="card"):
        gr.HTML(
            "<h2>What the networks drew <span>the label map of each learned space</span></h2>"
            "<p class='hint'>Colour: the emotion that a classifier sees most in the edited faces, "
            "stronger where it is surer. Dots: where the method says that emotions are. Arrows: "
            "where valence and arousal grow, fitted to what is seen.</p>",
            apply_default_css=False,
        )
        chart = Chart(elem_id="maps")
    tab.select(
        maps.stream,
        None,
        chart,
        api_name="maps",
        show_progress="hidden",
        concurrency_limit=1,
        concurrency_id="maps",
        **PAGE,
    )
