"""Small parts of the page: the upload, pictures as buttons, live pictures, what classifiers say."""

from __future__ import annotations

import hashlib
import html
import io
from abc import ABCMeta
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.component_meta import ComponentMeta, updateable
from gradio.data_classes import ImageData
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from ganmut.files import write_atomic

STATIC = Path(__file__).parent / "static"
PICK = """
element.addEventListener('click', (event) => {
  const item = event.target.closest('button');
  if (!item) return;
  props.value = item.dataset.name;
  trigger('input');
});
"""
# The divider between before and after: a range over the picture, so that keys and readers find it.
DIVIDE = """
const stage = element.closest('.stage');
const put = () => stage.style.setProperty('--cut', element.querySelector('input').value + '%');
element.addEventListener('input', put);
put();
"""
# What is looked at stays chosen while the pictures under it change: it is kept on the element.
VIEWS = """
element.addEventListener('click', (event) => {
  const item = event.target.closest('button');
  if (!item) return;
  element.dataset.view = item.dataset.name;
  element.querySelectorAll('button').forEach((b) => b.setAttribute('aria-pressed', b === item));
});
"""
COPY = """
element.addEventListener('click', async (event) => {
  const item = event.target.closest('button');
  if (!item) return;
  const link = location.origin + location.pathname + props.value.link;
  try {
    await navigator.clipboard.writeText(item.dataset.copy === 'link' ? link : props.value.python);
    item.classList.add('done');
    setTimeout(() => item.classList.remove('done'), 1600);
  } catch (error) {
    item.closest('.repeat').classList.add('shown');
  }
});
"""


def save_file(content: bytes, name: str, folder: str) -> str:
    """The path of a new file that visitors may fetch, whole: on a full disk nothing of it stays.
    Raises OSError."""
    path = Path(folder) / hashlib.sha256(content).hexdigest() / name
    return str(write_atomic(path, content).resolve())


LEGENDS = {
    "edited": "Left of the line: the source. Right of it: the edit.",
    "difference": "Black: unchanged. The brighter, the more a pixel changed.",
    "mask": "White: painted by the network. Dark: kept from the source.",
    "flow": "<i class='wheel'></i>Colour: where to a pixel moves. The stronger, the further.",
}


class NoStubMeta(ComponentMeta):
    """Makes component classes as gradio does, but writes no .pyi file beside the source."""

    def __new__(cls, name: str, bases: tuple[type, ...], attrs: dict[str, Any]) -> type:
        if "__init__" in attrs:
            attrs["__init__"] = updateable(attrs["__init__"])
        return ABCMeta.__new__(cls, name, bases, attrs)


class Photograph(gr.Image, metaclass=NoStubMeta):
    """An upload whose value is the path of the file just as it came, for security.read_picture."""

    def get_block_name(self) -> str:
        return "image"

    def preprocess(self, payload: Any) -> str | None:
        return payload.path if payload else None


class Png(gr.Image, metaclass=NoStubMeta):
    """A picture that leaves as a PNG with its comment, packed quickly rather than tightly."""

    def get_block_name(self) -> str:
        return "image"

    def postprocess(self, value: Image.Image | None) -> ImageData | None:
        if value is None:
            return None
        buffer, notes = io.BytesIO(), PngInfo()
        notes.add_text("Comment", value.info.get("Comment", ""))
        value.save(buffer, "PNG", compress_level=1, pnginfo=notes)
        path = save_file(buffer.getvalue(), "ganmut.png", self.GRADIO_CACHE)
        return ImageData(path=path, orig_name="ganmut.png", mime_type="image/png")


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


class LiveImage(gr.HTML, metaclass=NoStubMeta):
    """A square picture given as a data URI: it is shown as it changes and never lies on a disk."""

    def __init__(self, value: str = "", *, caption: str = "", **options: Any):
        template = (
            "<figure class='live'>"
            "${value ? `<img src='${value}' alt='${caption}' decoding='sync'><figcaption>${caption}"
            "</figcaption>` : '<div>No face yet</div>'}</figure>"
        )
        super().__init__(
            value,
            html_template=template,
            apply_default_css=False,
            js_on_load=None,
            caption=html.escape(caption, quote=True),
            **options,
        )

    def get_block_name(self) -> str:
        return "html"


class CompareSlider(JsonHTML, metaclass=NoStubMeta):
    """The divider between two Live pictures that lie on each other in one `.stage`."""

    def __init__(self, **options: Any):
        line = (
            "<label class='compare-slider'><input type='range' min='0' max='100' value='50' "
            "aria-label='how much of the edited picture is shown'><i></i></label>"
        )
        super().__init__("", html_template=line, js_on_load=DIVIDE, **options)


class Methods(gr.HTML, metaclass=NoStubMeta):
    """The methods as buttons, grouped by what one moves; the value is the key of the chosen one.

    groups: [[what one moves, [[key, title]]]].
    """

    def __init__(self, value: str = "", *, groups: list | None = None, **options: Any):
        buttons = (
            "<div class='methods'>${groups.map(g => `<div role='group' aria-label='${g[0]}'>"
            "<span>${g[0]}</span>${g[1].map(m => `<button type='button' data-name='${m[0]}' "
            "aria-pressed='${m[0] === value}'>${m[1]}</button>`).join('')}</div>`).join('')}</div>"
        )
        super().__init__(
            value,
            html_template=buttons,
            apply_default_css=False,
            js_on_load=PICK,
            groups=groups or [],
            **options,
        )

    def get_block_name(self) -> str:
        return "html"


class ImagePicker(gr.HTML, metaclass=NoStubMeta):
    """Pictures as buttons; the value is the name of the one last taken.

    items: [(name, data URI or "", hint)]; named: whether the names stand under the pictures.
    """

    def __init__(
        self, value: str = "", *, items: list | None = None, named: bool = False, **options: Any
    ):
        buttons = (
            "<div class='picker ${named ? 'named' : ''}'>${items.map(i => `<button type='button' "
            "data-name='${i[0]}' aria-pressed='${i[0] === value}' title='${i[2] || i[0]}'>"
            "${i[1] ? `<img src='${i[1]}' alt=''>` : '<i></i>'}"
            "${named ? `<span>${i[0]}</span>` : ''}</button>`).join('')}</div>"
        )
        super().__init__(
            value,
            html_template=buttons,
            apply_default_css=False,
            js_on_load=PICK,
            named=named,
            items=[list(item) for item in items or []],
            **options,
        )

    def get_block_name(self) -> str:
        return "html"

    def example_payload(self) -> str:
        return self.value or ""


class ChangeViews(JsonHTML, metaclass=NoStubMeta):
    """What changed, as pictures over the stage: value {"difference", "mask", "flow"}, each a data
    URI, or "" where the method has none."""

    def __init__(self, value: dict[str, str] | None = None, **options: Any):
        pictures = (
            "${['difference', 'mask', 'flow'].map(v => value[v] ? `<img class='${v}' "
            "src='${value[v]}' alt='${v}'>` : `<p class='${v}'>${!value.difference ? "
            "'Choose a face to see what changes.' : v === 'mask' ? 'This method has no mask: it "
            "may change every pixel.' : 'This method has no flow: it repaints, it does not "
            "bend.'}</p>`).join('')}"
        )
        names = ("edited", "difference", "mask", "flow")
        buttons = "".join(
            f"<button type='button' data-name='{n}' aria-pressed='{str(n == 'edited').lower()}'>"
            f"{n}</button>"
            for n in names
        )
        legend = "".join(f"<span class='{n}'>{text}</span>" for n, text in LEGENDS.items())
        template = (
            f"<div class='frame'>{pictures}</div><nav aria-label='what is shown'>{buttons}</nav>"
            f"<p class='legend' role='status'>{legend}</p>"
        )
        super().__init__(value or {}, html_template=template, js_on_load=VIEWS, **options)


class Readings(JsonHTML, metaclass=NoStubMeta):
    """What the classifiers say: bars of the emotions, and how far the person is from the source."""

    def __init__(self, value: dict[str, Any] | None = None, **options: Any):
        bars = (
            "<div class='readings'>${value.emotions ? `<ul>${Object.entries(value.emotions).map("
            "([n, p]) => `<li style='--p:${p}'><span>${n}</span><i></i><b>${Math.round(100 * p)}"
            "</b></li>`).join('')}</ul>` : ''}"
            "${value.distance != null ? `<p title='1 - cosine between the embeddings of the "
            "source and of the edit'>identity distance <b>${value.distance.toFixed(3)}</b>"
            "<i style='--p:${Math.min(1, value.distance)}'></i><small><span>0 same</span>"
            "<span>1 unrelated</span></small></p>` : ''}"
            "<p class='reader' role='status'>${value.emotions ? `${Object.entries(value.emotions)"
            ".sort((a, b) => b[1] - a[1]).slice(0, 2).map(([n, p]) => `${n} ${Math.round(100 * p)} "
            "%`).join(', ')}` : ''}${value.distance != null ? `, identity distance "
            "${value.distance.toFixed(2)}` : ''}</p></div>"
        )
        super().__init__(value or {}, html_template=bars, **options)


class Facts(JsonHTML, metaclass=NoStubMeta):
    """What was done: an object for the API; a line of text, a link and Python for the page."""

    def __init__(self, value: dict[str, Any] | None = None, **options: Any):
        line = (
            "${value.title ? `<p class='facts'><b>${value.title}</b> ${value.setting} · "
            "${value.width} × ${value.height} px` + (value.faces > 1 && value.face ? "
            "` · face ${value.face} of ${value.faces}` : '') + (Object.keys(value.edits).length ? "
            "` · edited too: face ${Object.keys(value.edits).join(', ')}` : '') + `</p>"
            "<div class='repeat' data-link='${value.link}'>"
            "<button type='button' data-copy='link'>Copy the link</button>"
            "<button type='button' data-copy='python'>Copy as Python</button>"
            "<pre tabindex='0'>${value.python}</pre></div>` : ''}"
        )
        super().__init__(value or {}, html_template=line, js_on_load=COPY, **options)
