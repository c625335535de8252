"""The Compare tab: one face, one emotion and intensity, every method in a row, with numbers."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import gradio as gr

from demo.components.base import JsonHTML, NoStubMeta
from demo.components.pickers import Methods
from demo.descriptions import MOVED
from demo.handlers import Handlers
from demo.settings import START, number
from demo.startup.opening import Start
from demo.tabs.edit import LIVE, NET, PAGE, Face
from demo.visualize import jpeg
from ganmut.text import quote

CARD = (
    "<div class='cards'>${(value.cards || []).map(c => `<figure class='card'>"
    "<img src='${c.picture}' alt='${c.title}'><figcaption><b>${c.title}</b>"
    "${c.probability != null ? `<span class='meter' style='--p:${c.probability}'><i></i>"
    "${Math.round(100 * c.probability)} % ${value.emotion}</span>` : ''}"
    "${c.distance != null ? `<span>identity distance <em>${c.distance.toFixed(3)}</em></span>`"
    " : ''}"
    "${c.ms != null ? `<span>network <em>${c.ms} ms</em></span>` : "
    "'<span>what was given</span>'}</figcaption></figure>`).join('') || "
    "'<p class=\"hint\">Choose a face, and every method edits it.</p>'}</div>"
)


class Cards(JsonHTML, metaclass=NoStubMeta):
    """A row of pictures with numbers: {"emotion", "cards": [{"title", "picture", ...}]}."""

    def __init__(self, value: dict[str, Any] | None = None, **options: Any):
        super().__init__(value or {"cards": []}, html_template=CARD, **options)


class Compare:
    """Every method of one set on one target."""

    def __init__(self, handlers: Handlers):
        self.handlers, self.service = handlers, handlers.service

    def rows(self, face: str, method: str, emotion: str, intensity: float) -> dict[str, Any]:
        """The cards of all methods in the set of `method` that know the emotion, source first."""
        if not face:
            return {"cards": []}
        group = self.handlers.choice(method).group
        intensity = number(intensity, 0, 1, "intensity")
        cards = [{"title": "source", "picture": jpeg(self.service.session(face).view)}]
        for numbers, pixels in self.each(face, group, emotion, intensity):
            cards.append(numbers | {"picture": jpeg(pixels)})
        return {"emotion": emotion, "cards": cards}

    def each(
        self, face: str, group: str, emotion: str, intensity: float
    ) -> Iterator[tuple[dict[str, Any], Any]]:
        """(numbers, VIEW x VIEW x 3 uint8) of each method of a set under one emotion."""
        known = [c for c in self.handlers.choices.values() if c.group == group]
        if not any(emotion in c.emotions for c in known):
            names = dict.fromkeys(name for c in known for name in c.emotions)
            raise ValueError(f"unknown emotion {quote(emotion)}; there are: {', '.join(names)}")
        titles = Counter(choice.title for choice in known)
        for choice in known:
            if emotion not in choice.emotions:
                continue
            title = choice.title
            if titles[title] > 1:  # variants of a method differ in what they take
                title += f", {MOVED[choice.kind]}"
            code = self.service.code_of_emotion(choice.key, emotion, intensity)
            pixels, seen = self.service.move(face, choice.key, code)
            start = time.perf_counter()  # of an edit alone: the face is prepared by now
            self.service.edit_crop(face, choice.key, code)
            ms = round(1000 * (time.perf_counter() - start))
            yield (
                {
                    "method": choice.key,
                    "title": title,
                    "distance": seen["distance"],
                    "probability": (seen["emotions"] or {}).get(emotion),
                    "ms": ms,
                },
                pixels,
            )


def build(handlers: Handlers, face: Face, method: Methods, start: Start, tab: gr.Tab) -> gr.Radio:
    """The tab; it is filled when it is opened, and when its emotion changes. Returns the choice of
    its emotion."""
    compare = Compare(handlers)
    names = list(dict.fromkeys(n for c in handlers.choices.values() for n in c.emotions))
    # The emotion of the first edit: the opening face does not show it already.
    first = next(iter(start.values["setting"].mix), start.choice.favourite)
    with gr.Column(elem_classes="card"):
        gr.HTML(
            "<h2>All methods on one target <span>what the classifier sees in each</span></h2>",
            apply_default_css=False,
        )
        with gr.Row(elem_classes="bar"):
            emotion = gr.Radio(
                names,
                value=first,
                show_label=False,
                container=False,
                elem_classes="pills",
                elem_id="compare-emotion",
                scale=3,
            )
            intensity = gr.Slider(
                0, 1, START, step=0.01, label="Intensity", elem_id="compare-intensity", scale=1
            )
        cards = Cards(elem_id="cards")
    inputs = [face.known, method, emotion, intensity]
    gr.on(
        [emotion.input, intensity.release],
        compare.rows,
        inputs,
        cards,
        api_name="compared",
        **LIVE | PAGE,
    )
    gr.on(
        [tab.select, face.known.change],
        compare.rows,
        inputs,
        cards,
        api_name="compared_again",
        show_progress="hidden",
        trigger_mode="always_last",
        **NET | PAGE,
    )
    return emotion
