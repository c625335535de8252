"""What is said of an edit: by the classifiers, and in words, a link and Python."""

from __future__ import annotations

from typing import Any

from demo.components.base import JsonHTML, NoStubMeta

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
