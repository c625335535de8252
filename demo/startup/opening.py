"""What the page opens with: the first example, edited, once the page answers.

The page is built and served with its controls and no edit. A thread then makes the first edit,
which also warms the networks up, and puts it into the page; who came before gets it as an answer.
"""

from __future__ import annotations

import atexit
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import gradio as gr
from gradio.components import Component
from gradio.processing_utils import move_files_to_cache
from pydantic import BaseModel

from demo import errors
from demo.components import face_picker
from demo.descriptions import notice
from demo.handlers import Handlers
from demo.security.limits import Page
from demo.sessions.history import History, State
from demo.sessions.session import MethodChoice
from demo.settings import emotion_button, find_choice
from demo.visualize import jpeg
from ganmut.text import quote

if TYPE_CHECKING:
    from demo.tabs.edit import Controls, Face, Result

LAST_STEP = 10.0  # seconds that a program which stops waits for the first edit
LOADING = "The networks are loading: the first edit appears here in a few seconds."


@dataclass(frozen=True)
class Start:
    """What the page shows before anybody has done anything. face: its id, "" before the first
    edit."""

    face: str
    choice: MethodChoice
    values: dict[str, Any]


def outline(handlers: Handlers) -> Start:
    """The page without an edit: nothing of it needs a network."""
    choice = _first_choice(handlers)
    setting = handlers.first("", choice)
    return Start(
        "",
        choice,
        {
            "setting": setting,
            "said": f"<p class='notice calm'>{LOADING}</p>",  # no error
            "examples": handlers.gallery.thumbnails(complete=False),
            "units": handlers.unit_sliders("", setting),
            "edited": "",
            "readings": {},
            "whole": None,
            "facts": {},
            "views": {},
            "emotion_previews": handlers.emotion_previews("", choice.key),
            "history": History(),
            "picker": {"number": 1},
            "source": "",
            "background": None,
        },
    )


def _first_choice(handlers: Handlers) -> MethodChoice:
    """The method that the page opens with."""
    gamuts = [c for c in handlers.choices.values() if c.kind == "gamut"]
    first = next(iter([*gamuts, *handlers.choices.values()]))
    rendered = handlers.gallery.first.face is not None
    return handlers.choices[handlers.service.method_for(rendered, first.key)]


def begin(handlers: Handlers) -> Start:
    """Opens the first example and edits it: the edit that warms the networks up."""
    choice = _first_choice(handlers)
    known = handlers.service.open(handlers.gallery.first.picture, pinned=True)
    setting = handlers.first(known, choice)
    units = handlers.unit_sliders(known, setting)
    controls = [choice.key, setting.point, dict(setting.mix), setting.seed, units["value"]]
    edited, readings = handlers.move(known, *controls)
    whole, facts, views = handlers.rest(known, *controls)
    session = handlers.service.session(known)
    return Start(
        known,
        choice,
        {
            "setting": setting,
            "said": "",
            "examples": handlers.gallery.thumbnails(complete=True),
            "units": units,
            "edited": edited,
            "readings": readings,
            "whole": whole,
            "facts": facts,
            "views": views,
            "emotion_previews": handlers.emotion_previews(known, choice.key),
            "history": History((State(known, facts["link"], chosen=False),)),
            "picker": face_picker.picker_value(session),
            "source": jpeg(session.view),
        },
    )


class Opening:
    """Makes the first edit once, for the page and for those who came before."""

    def __init__(self, handlers: Handlers):
        self.handlers = handlers
        self.lock = threading.Lock()
        self.stopped = threading.Event()
        self._start: Start | None = None

    def start(self) -> Start:
        """The first edit; who asks while it is made waits."""
        with self.lock:
            if self._start is None:
                self._start = begin(self.handlers)
            return self._start

    def answer(self) -> list:
        """What `Handlers.open_link` returns, of the first edit."""
        start = self.start()
        shown = self.handlers.restore(start.face, start.values["facts"]["link"])
        name = self.handlers.gallery.first.name
        items = gr.update(value=name, items=start.values["examples"])
        return [True, *shown, *start.values["history"].outputs(), items, gr.skip()]

    def link_notice(self, query: Mapping[str, str]) -> str:
        """What is said where the page's link names no method here, or ""."""
        asked, choices = query.get("method"), self.handlers.choices
        if not asked or find_choice(asked, choices):
            return ""
        shown = _first_choice(self.handlers).title
        said = f"the link of this page names no method here ({quote(asked)}); the page shows"
        return notice(errors.as_sentence(f"{said} {shown} instead"))

    def start_warming(self, page: Page, *parts: Any) -> None:
        """Runs `warm` in a thread. A program that stops waits for its next step: a network cannot
        be left running while Python ends."""
        thread = threading.Thread(
            target=self.warm, args=(page, *parts), daemon=True, name="first edit"
        )
        atexit.register(thread.join, LAST_STEP)
        atexit.register(self.stopped.set)  # called first
        thread.start()

    def warm(self, page: Page, face: Face, do: Controls, out: Result, emotion: gr.Radio) -> None:
        """Puts the first edit into the page, as soon as it answers; without it the page stays as
        it was, and visitors get the edit as an answer."""
        while not page.is_running:
            if self.stopped.wait(0.05):
                return
        try:
            for part, value, properties in self._parts(face, do, out, emotion):
                fill(part, value, **properties)
            page.config = page.get_config_file()
            start = self.start()
            for drawn in self.handlers.pad_background(start.face, start.choice.key):
                if self.stopped.is_set():
                    return
                fill(do.background, drawn)
            page.config = page.get_config_file()
        except Exception as error:  # noqa: BLE001 (the page goes on without)
            errors.note(error)

    def _parts(
        self, face: Face, do: Controls, out: Result, emotion: gr.Radio
    ) -> list[tuple[Component, Any, dict[str, Any]]]:
        """(component, its value, its properties) of what the first edit changes on the page."""
        start = self.start()
        values, setting = start.values, start.values["setting"]
        named, intensity = emotion_button(start.choice, setting)
        return [
            (face.said, values["said"], {}),
            (face.gallery, self.handlers.gallery.first.name, {"items": values["examples"]}),
            (face.picker, values["picker"], {}),
            (do.history, values["history"], {}),
            (do.pad, setting.point, {}),
            (do.emotion, named, {"items": values["emotion_previews"]}),
            (do.intensity, intensity, {}),
            (do.mix, dict(setting.mix), {}),
            (do.units, values["units"]["value"], {"rows": values["units"]["rows"]}),
            (out.before, values["source"], {}),
            (out.after, values["edited"], {}),
            (out.views, values["views"], {}),
            (out.readings, values["readings"], {}),
            (out.whole, values["whole"], {}),
            (out.facts, values["facts"], {}),
            (emotion, next(iter(setting.mix), start.choice.favourite), {}),
            (face.known, start.face, {}),
        ]


def fill(part: Component, value: Any, **properties: Any) -> None:
    """Gives a component another first value, and other properties of its template, as its
    constructor would: for visitors who load the page from now on."""
    if part.stateful:
        part.value = value
        return
    shown = part.postprocess(value)
    if isinstance(shown, BaseModel):
        shown = shown.model_dump()
    part.value = move_files_to_cache(shown, part, postprocess=True, keep_in_cache=True)
    if properties:
        part.props |= properties  # type: ignore[attr-defined] # of gr.HTML
