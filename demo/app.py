"""The page: what stands where, what is said on it, and how it is served."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from functools import partial
from typing import Any

import gradio as gr
from starlette.middleware import Middleware

from demo import api
from demo.components.base import STATIC
from demo.handlers import Handlers
from demo.security.files import MAX_BYTES
from demo.security.limits import Limits, Page
from demo.security.requests import RequestFilter
from demo.service import Service
from demo.startup.environment import MCP_REMEDY
from demo.startup.gallery import Example
from demo.startup.opening import Opening, outline
from demo.tabs import animate, compare, edit, label_maps, leaderboard, user_study
from ganmut.device import one_thread
from ganmut.errors import first_line

HEADLINE = "Edit the expression of a face"
LEAD = (
    "Choose an emotion, a point in a learned space of emotions, or action units, and compare "
    "nine GAN methods and an expression model of photographs."
)
USE = (
    "Edit your own face, or one whose owner agreed. Do not pass an edited picture off as a real "
    "one (it carries a mark), and do not read anyone's feelings from it."
)
KEPT = (
    "Pictures are not stored: a face is held while you work on it and gone within twenty minutes. "
    "Nothing is logged but counts and timings."
)
CREDIT = "The rendered faces are this project's own; the photograph is NASA's."
TRAIN = "python -m ganmut train ganmut --data procedural --budget cpu"
MINUTES = 10  # after which files of a visit are deleted
FOLDER = "ganmut-page"  # of these files, in the folder for temporary ones
FACELESS = ("gamut", "study", "leaderboard")  # tabs that need no face of the visitor's


def header() -> str:
    return f"<header><h1>{HEADLINE}</h1><p>{LEAD}</p><span class='brand'>ganmut</span></header>"


def footer(service: Service) -> str:
    problems = service.problems.items()
    trouble = "".join(f"<p>Not shown here: {name}. {text}</p>" for name, text in problems)
    return f"<footer><p>{USE}</p><p>{KEPT} {CREDIT}</p>{trouble}</footer>"


def build(
    service: Service | None = None,
    gallery: list[Example] | None = None,
    seconds: int = 60 * MINUTES,
    limits: Limits | None = None,
    on_stuck: Callable[[], None] | None = None,
) -> Page:
    """The whole page; without a single usable weight, a page that says so and how to make one.

    gallery: the example faces; the page opens with the first, once it answers. seconds: after which
    the files of a visit are deleted. limits, on_stuck: see `Page`.
    """
    # Gradio's own default is shared with other programs, whose files are not ours to delete.
    os.environ.setdefault("GRADIO_TEMP_DIR", os.path.join(tempfile.gettempdir(), FOLDER))
    # Torch's pool of threads waits actively: beside other work, loading the networks took half a
    # minute with two threads and a second with one.
    with one_thread():
        service = service or Service()
        service.start_expiry()
        with Page(
            title="ganmut",
            analytics_enabled=False,
            seconds=seconds,
            fill_width=True,
            limits=limits,
            on_stuck=on_stuck,
        ) as page:
            gr.HTML(header(), apply_default_css=False, elem_id="head")
            if service.choices and not service.blocked:
                _tabs(page, Handlers(service, gallery or ()))
            else:
                gr.HTML(_empty(service), apply_default_css=False)
            gr.HTML(footer(service), apply_default_css=False, elem_id="foot")
    return page


def _tabs(page: Page, handlers: Handlers) -> None:
    start, opening = outline(handlers), Opening(handlers)
    with gr.Row(elem_classes="workspace", elem_id="edit-tab"):
        with gr.Column(scale=0, min_width=250, elem_classes="card face-card"):
            face = edit.face_card(handlers, start)
        with (
            gr.Column(scale=1, min_width=320, elem_classes="main"),
            gr.Tabs(elem_id="tabs", overflow_behavior="wrap"),
        ):
            with _tab("edit"):
                with gr.Row(elem_classes="workspace"):
                    with gr.Column(scale=13, min_width=400, elem_classes="card controls-card"):
                        controls = edit.controls(handlers, start)
                    with gr.Column(scale=12, min_width=360, elem_classes="card result"):
                        live = edit.result(start)
                with gr.Row(elem_classes="card download-card"):
                    shown = edit.Result(*live, *edit.download(start))
            with _tab("compare") as tab:
                emotion = compare.build(handlers, face, controls.method, start, tab)
            with _tab("animate"):
                animate.build(handlers, face, controls)
            with _tab("gamut") as tab:
                label_maps.build(handlers, tab)
            with _tab("study") as tab:
                user_study.build(handlers, tab)
            with _tab("leaderboard") as tab:
                leaderboard.build(tab)
    edit.connect(page, handlers, face, controls, shown, opening)
    page.after_start = partial(opening.start_warming, page, face, controls, shown, emotion)
    api.build(handlers)


def _tab(name: str) -> gr.Tab:
    """A tab by its name; where no face is needed the face card makes room."""
    tab = gr.Tab(name.capitalize(), id=name, elem_id=f"tab-{name}")
    hide = str(name in FACELESS).lower()
    tab.select(
        None,
        js=f"() => {{ document.querySelector('#edit-tab').classList.toggle('faceless', {hide}) }}",
    )
    return tab


def _empty(service: Service) -> str:
    problems = "".join(f"<li><b>{name}</b> {why}</li>" for name, why in service.problems.items())
    return (
        "<section class='card empty'><h2>There is nothing to edit with yet</h2>"
        f"<p>{'This could not be used:' if problems else 'There are no trained weights yet.'}</p>"
        f"<ul>{problems}</ul><p>Train a method (about an hour on two cores):</p><pre>{TRAIN}</pre>"
        "<p>Then move the <code>weights</code> folder of that run to "
        "<code>weights/procedural/ganmut</code> and start this page again.</p></section>"
    )


def theme() -> gr.themes.Base:
    """Quiet, and without a font from another server; page.css has the colours, light and dark."""
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
        body_background_fill_dark="#171614",
        body_text_color="#211f1c",
        body_text_color_dark="#ece7de",
        background_fill_primary_dark="#211f1c",
        background_fill_secondary_dark="#1b1a18",
        block_background_fill_dark="#211f1c",
        border_color_primary_dark="#3a3631",
        slider_color="#bf3a20",
        slider_color_dark="#f07a5e",
        color_accent="#bf3a20",
    )


LAUNCH: dict[str, Any] = {
    "theme": theme(),
    "css_paths": [STATIC / "page.css"],
    "max_file_size": MAX_BYTES,
    "show_error": False,
    "state_session_capacity": 128,  # Gradio keeps 0.2 MB of each call that comes from no browser
    "ssr_mode": False,
    "mcp_server": False,
    "enable_monitoring": False,
    "allowed_paths": [],
    "app_kwargs": {"middleware": [Middleware(RequestFilter)]},
    "_frontend": False,  # Gradio asks its own front page at start and gives up on a busy machine
    "footer_links": ["api"],
}


def with_mcp(page: Page) -> dict[str, Any]:
    """What LAUNCH is for a page whose endpoints are also tools of the Model Context Protocol, at
    /gradio_api/mcp/. Raises ValueError where Gradio cannot offer that."""
    try:
        import gradio.mcp

        from demo.mcp_tools import Tools

        Tools(page)  # Gradio itself would print the error and serve without it
    except Exception as error:  # noqa: BLE001 (whatever the other version raises)
        raise ValueError(
            f"tools of MCP need another version of the package mcp ({first_line(error)}): "
            f"{MCP_REMEDY}"
        ) from None
    gradio.mcp.GradioMCPServer = Tools  # type: ignore[misc] # what launch() makes
    passing = [Middleware(RequestFilter, mcp=True)]
    return LAUNCH | {"mcp_server": True, "app_kwargs": {"middleware": passing}}
