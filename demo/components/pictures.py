"""Pictures of the page: the upload, the live edit, its views, the file."""

from __future__ import annotations

import html
import io
from typing import Any

import gradio as gr
from gradio.data_classes import ImageData
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from demo.components.base import JsonHTML, NoStubMeta, save_file

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
LEGENDS = {
    "edited": "Left of the line: the source. Right of it: the edit.",
    "difference": "Black: unchanged. The brighter, the more a pixel changed.",
    "mask": "White: painted by the network. Dark: kept from the source.",
    "flow": "<i class='wheel'></i>Colour: where to a pixel moves. The stronger, the further.",
}


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
