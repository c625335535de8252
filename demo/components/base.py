"""What the components of the page share: HTML that is drawn from JSON, files for visitors."""

from __future__ import annotations

import hashlib
from abc import ABCMeta
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.component_meta import ComponentMeta, updateable

from ganmut.files import write_atomic

STATIC = Path(__file__).parents[1] / "static"


def save_file(content: bytes, name: str, folder: str) -> str:
    """The path of a new file that visitors may fetch, whole: on a full disk nothing of it stays.
    Raises OSError."""
    path = Path(folder) / hashlib.sha256(content).hexdigest() / name
    return str(write_atomic(path, content).resolve())


class NoStubMeta(ComponentMeta):
    """Makes component classes as gradio does, but writes no .pyi file beside the source."""

    def __new__(cls, name: str, bases: tuple[type, ...], attrs: dict[str, Any]) -> type:
        if "__init__" in attrs:
            attrs["__init__"] = updateable(attrs["__init__"])
        return ABCMeta.__new__(cls, name, bases, attrs)


class JsonHTML(gr.HTML, metaclass=NoStubMeta):
    """HTML drawn from a value that is any JSON; the value is an object for the API."""

    schema: dict[str, Any] = {"type": "object", "additionalProperties": True}  # noqa: RUF012

    def __init__(self, value: Any = None, *, html_template: str = "${value}", **options: Any):
        options = {"js_on_load": None, "apply_default_css": False} | options
        super().__init__(value, html_template=html_template, **options)

    def get_block_name(self) -> str:
        return "html"

    def api_info(self) -> dict[str, Any]:
        return self.schema

    def postprocess(self, value: Any) -> Any:
        return {} if value is None else value

    def example_payload(self) -> Any:
        return self.value

    def example_value(self) -> Any:
        return self.value
