"""Buttons of which one is chosen: methods, and pictures."""

from __future__ import annotations

from typing import Any

import gradio as gr

from demo.components.base import NoStubMeta

PICK = """
element.addEventListener('click', (event) => {
  const item = event.target.closest('button');
  if (!item) return;
  props.value = item.dataset.name;
  trigger('input');
});
"""


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
