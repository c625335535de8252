"""Small parts of the page: the upload, pictures as buttons, the live picture, the caption."""

from __future__ import annotations

import html
from abc import ABCMeta
from typing import Any

import gradio as gr
from gradio.component_meta import ComponentMeta, updateable

PICK = """
element.addEventListener('click', (event) => {
  const item = event.target.closest('button');
  if (!item) return;
  props.value = item.dataset.name;
  trigger('input');
});
"""


class Quiet(ComponentMeta):
    """Makes component classes as gradio does, but writes no .pyi file beside the source."""

    def __new__(cls, name: str, bases: tuple[type, ...], attrs: dict[str, Any]) -> type:
        if "__init__" in attrs:
            attrs["__init__"] = updateable(attrs["__init__"])
        return ABCMeta.__new__(cls, name, bases, attrs)


class Photograph(gr.Image, metaclass=Quiet):
    """An upload whose value is the path of the file just as it came: guard.read looks at it,
    nothing before.

    Links are refused: this server fetches nothing on behalf of a visitor.
    """

    def get_block_name(self) -> str:
        return "image"

    async def async_move_resource_to_block_cache(self, url_or_file_path: Any) -> str | None:
        if str(url_or_file_path).startswith(("http://", "https://")):
            raise gr.Error("give the picture itself, links are not fetched", print_exception=False)
        return await super().async_move_resource_to_block_cache(url_or_file_path)

    def preprocess(self, payload: Any) -> str | None:
        return payload.path if payload else None


class Live(gr.HTML, metaclass=Quiet):
    """A square picture given as a data URI: it is shown as it changes and never lies on a disk."""

    def __init__(self, value: str = "", *, caption: str = "", **options: Any):
        template = (
            "<figure class='live'>"
            "${value ? `<img src='${value}' alt='${caption}' decoding='sync'>` : '<div></div>'}"
            "<figcaption>${caption}</figcaption></figure>"
        )
        super().__init__(
            value, html_template=template, apply_default_css=False, js_on_load=None,
            caption=html.escape(caption, quote=True), **options,
        )  # fmt: skip

    def get_block_name(self) -> str:
        return "html"


class Shelf(gr.HTML, metaclass=Quiet):
    """Pictures as buttons; the value is the name of the one last taken.

    items: [(name, data URI or "")]; named: whether the names stand under the pictures.
    """

    def __init__(
        self, value: str = "", *, items: list | None = None, named: bool = False, **options: Any
    ):
        buttons = (
            "<div class='shelf ${named ? 'named' : ''}'>${items.map(i => `<button type='button' "
            "data-name='${i[0]}' aria-pressed='${i[0] === value}' title='${i[0]}'>"
            "${i[1] ? `<img src='${i[1]}' alt=''>` : '<i></i>'}"
            "${named ? `<span>${i[0]}</span>` : ''}</button>`).join('')}</div>"
        )
        super().__init__(
            value, html_template=buttons, apply_default_css=False, js_on_load=PICK, named=named,
            items=[list(item) for item in items or []], **options,
        )  # fmt: skip

    def get_block_name(self) -> str:
        return "html"

    def example_payload(self) -> str:
        return self.value or ""


class Facts(gr.HTML, metaclass=Quiet):
    """What was done, as an object for the API and a line of text for the eye."""

    def __init__(self, value: dict[str, Any] | None = None, **options: Any):
        line = (
            "<p class='facts'>${value.title ? `<b>${value.title}</b> ${value.setting} · "
            "${value.width} × ${value.height} px` + (value.faces > 1 ? "
            "` · face ${value.face} of ${value.faces}, the largest` : '') : ''}</p>"
        )
        super().__init__(
            value or {}, html_template=line, apply_default_css=False, js_on_load=None, **options
        )

    def get_block_name(self) -> str:
        return "html"

    def postprocess(self, value: dict[str, Any] | None) -> dict[str, Any]:
        return value or {}

    def api_info(self) -> dict[str, Any]:
        return {"type": "object", "additionalProperties": True}
