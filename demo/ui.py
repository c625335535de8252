"""The page: layout and event wiring; what it shows is the service's, what it hears is guarded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
from PIL import Image

from demo import guard
from demo.events import START, Events, about, favourite, heading, start
from demo.pad import GamutPad, data_uri
from demo.parts import Facts, Live, Photograph, Shelf
from demo.service import Service
from demo.visit import examples

HEADLINE = "Move the point, the face changes."
LEAD = "Every place on the pad is an expression; a network drew this map from labelled faces alone."
USE = (
    "Edit your own face, or one whose owner agreed. Do not pass an edited picture off as a real "
    "one, and do not read anyone's feelings from it."
)
KEPT = (
    "Pictures are not stored: a face is held while you work on it and gone within twenty minutes."
)
HINT = (
    "<p class='hint'>The face is found on its own; of several, the largest. "
    "JPEG, PNG or WebP up to 20 MB.</p>"
)
CREDIT = "The rendered faces are this project's own; the photograph is NASA's."
TRAIN = "python -m ganmut train ganmut --data procedural --recipe cpu"


def header() -> str:
    return f"<header><h1>{HEADLINE}</h1><p>{LEAD}</p><span class='brand'>ganmut</span></header>"


def footer(events: Events | None) -> str:
    problems = events.service.problems if events else {}
    trouble = "".join(f"<p>Not shown here: {name}. {text}</p>" for name, text in problems.items())
    return f"<footer><p>{USE}</p><p>{KEPT} {CREDIT}</p>{trouble}</footer>"


def build(
    service: Service | None = None, shelf: list[tuple[str, np.ndarray]] | None = None
) -> gr.Blocks:
    """The whole page; without a single usable weight, a page that says so and how to make one.

    shelf: (name, H x W x 3 uint8) of the example faces; the page opens with the first.
    """
    service = service or Service()
    service.keep_forgetting()
    with gr.Blocks(
        title="ganmut", analytics_enabled=False, delete_cache=(600, 600), fill_width=True
    ) as page:
        gr.HTML(header(), apply_default_css=False, elem_id="head")
        if service.choices and not service.blocked:
            _desk(Events(service, shelf or examples()))
        else:
            gr.HTML(_empty(service), apply_default_css=False)
    return page.queue(max_size=16, default_concurrency_limit=1)


def _empty(service: Service) -> str:
    problems = "".join(f"<li><b>{name}</b> {why}</li>" for name, why in service.problems.items())
    return (
        "<section class='card empty'><h2>There is nothing to edit with yet</h2>"
        f"<p>{'This could not be used:' if problems else 'There are no trained weights yet.'}</p>"
        f"<ul>{problems}</ul><p>Train a method (about an hour on two cores):</p><pre>{TRAIN}</pre>"
        "<p>Then move the <code>weights</code> folder of that run to "
        "<code>weights/procedural/ganmut</code> and start this page again.</p></section>"
    )


def _desk(events: Events) -> None:
    choice = next(iter(events.choices.values()))
    name, picture = events.shelf[0]
    face, _, pad_now, cast_now, source, edited, whole_now, facts_now = events._opened(
        events.service.open(picture, pinned=True),
        choice.name,
        start(choice),
        favourite(choice),
        START,
    )  # also the edit that warms the network up
    pad_now, cast_now = {k: v for k, v in pad_now.items() if k != "__type__"}, cast_now["items"]
    with gr.Row(elem_classes="desk"):
        with gr.Column(scale=0, min_width=244, elem_classes="card give"):
            gr.HTML("<h2>Give a face</h2>", apply_default_css=False)
            photo = Photograph(
                picture,
                type="filepath",
                image_mode=None,
                format="png",
                sources=["upload", "webcam", "clipboard"],
                show_label=False,
                container=False,
                height=250,
                buttons=[],
                elem_id="photo",
                placeholder="Drop a picture, or click",
            )
            thumbs = [(n, data_uri(_thumb(p), "JPEG", quality=85)) for n, p in events.shelf]
            shelf = Shelf(name, items=thumbs, elem_id="shelf")
            gr.HTML(HINT, apply_default_css=False)
            said = gr.HTML("", apply_default_css=False, elem_id="said")
        with gr.Column(scale=13, min_width=420, elem_classes="card steer"):
            title = gr.HTML(heading(choice), apply_default_css=False)
            method = gr.Radio(
                [(c.title, c.name) for c in events.choices.values()],
                value=choice.name,
                show_label=False,
                container=False,
                elem_classes="pills",
                elem_id="method",
            )
            pad = GamutPad(
                dict(zip("xy", start(choice), strict=True)),
                visible=bool(choice.shape),
                elem_id="pad",
                **pad_now,
            )
            with gr.Column(visible=not choice.shape, elem_classes="named") as named:
                emotion = Shelf(favourite(choice), items=cast_now, named=True, elem_id="emotion")
                intensity = gr.Slider(
                    0, 1, START, step=0.01, label="Intensity", elem_id="intensity"
                )
            told = gr.HTML(about(choice), apply_default_css=False)
        with gr.Column(scale=12, min_width=420, elem_classes="card result"):
            gr.HTML("<h2>See it there</h2>", apply_default_css=False)
            with gr.Row(elem_classes="pair"):
                before = Live(source, caption="source", elem_id="before")
                after = Live(edited, caption="edited", elem_id="after")
            whole = gr.Image(
                whole_now,
                format="png",
                interactive=False,
                show_label=False,
                container=False,
                buttons=["download", "fullscreen"],
                elem_id="whole",
                height=300,
            )
            facts = Facts(facts_now, elem_id="facts")
    gr.HTML(footer(events), apply_default_css=False, elem_id="foot")
    known = gr.Textbox(face, visible=False, label="face")
    setting = [method, pad, emotion, intensity]
    _wire(
        events,
        photo,
        shelf,
        known,
        said,
        setting,
        (named, title, told),
        (before, after, whole, facts),
    )


def _thumb(pixels: np.ndarray) -> Image.Image:
    """A square thumbnail; of a larger photograph its upper middle, where a portrait's face is."""
    picture = Image.fromarray(pixels)
    if picture.width > 300:
        side = picture.width // 2
        left, top = (picture.width - side) // 2 - side // 8, 0
        picture = picture.crop((left, top, left + side, top + side))
    return picture.resize((96, 96), Image.Resampling.LANCZOS)


def _wire(events: Events, photo, shelf, known, said, setting, words, shown) -> None:
    """Every event with its endpoint; one concurrency group, so one edit at a time."""
    method, pad, emotion, intensity = setting
    before, after, whole, facts = shown
    named, title, told = words
    net = {"concurrency_limit": 1, "concurrency_id": "net"}
    live = net | {"trigger_mode": "always_last", "show_progress": "hidden"}
    gr.api(events.methods, api_name="methods", api_description=Events.methods.__doc__)
    shelf.input(events.example, shelf, photo, api_name="example", show_progress="hidden")
    photo.change(
        events.open,
        [photo, *setting],
        [known, said, pad, emotion, before, after, whole, facts],
        api_name="open",
        show_progress="minimal",
        show_progress_on=[after],
        **net,
    )
    method.input(
        events.choose,
        [known, method],
        [pad, named, emotion, intensity, after, title, told],
        api_name="choose",
        show_progress="hidden",
        **net,
    ).then(
        events.edit,
        [photo, *setting],
        [whole, facts],
        api_name="chosen",
        api_visibility="private",
        show_progress="hidden",
        **net,
    )
    gr.on(
        [pad.input, emotion.input, intensity.input],
        events.move,
        [known, *setting],
        after,
        api_name="move",
        **live,
    )
    gr.on(
        [pad.release, emotion.input, intensity.release],
        events.edit,
        [photo, *setting],
        [whole, facts],
        api_name="edit",
        **live,
    )


def theme() -> gr.themes.Base:
    """Quiet, light, and without a font from another server."""
    sans = [
        "ui-sans-serif",
        "system-ui",
        "-apple-system",
        "Segoe UI",
        "Roboto",
        "Helvetica Neue",
        "sans-serif",
    ]
    return gr.themes.Base(font=sans, font_mono=["ui-monospace", "monospace"], radius_size="lg").set(
        body_background_fill="#f5f3ee",
        body_background_fill_dark="#f5f3ee",
        body_text_color="#211f1c",
        slider_color="#d8472b",
        color_accent="#d8472b",
    )


LAUNCH: dict[str, Any] = {
    "theme": theme(),
    "css_paths": [Path(__file__).with_name("page.css")],
    "max_file_size": guard.MAX_BYTES,
    "show_error": False,
    "ssr_mode": False,
    "_frontend": False,  # Gradio asks its own front page at start and gives up on a busy machine
    "footer_links": ["api"],
    "js": "() => document.body.classList.remove('dark')",
}
