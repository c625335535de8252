"""The Leaderboard tab: the committed report of the bench, its tables sortable, with its figures."""

from __future__ import annotations

import html
import re
from pathlib import Path

import gradio as gr
from PIL import Image

from demo.components.gamut_pad import data_uri
from demo.tabs.edit import PAGE
from ganmut import images

RESULTS = Path(__file__).resolve().parents[2] / "bench" / "results"
# Each on its own heading: numbers of rendered faces and of photographs do not compare.
REPORTS = {"Rendered faces": RESULTS, "Photographs": RESULTS / "photos"}
OPEN = 4  # parts of the report that are shown at once: the tables and the claims; others unfold
WIDE = 1100  # px of a figure
LOADING = "<p class='hint' role='status'>Loading the tables ...</p>"
SORT = """
element.addEventListener('click', (event) => {
  const head = event.target.closest('th');
  if (!head) return;
  const body = head.closest('table').tBodies[0], column = head.cellIndex;
  const up = head.ariaSort !== 'ascending';
  head.parentNode.querySelectorAll('th').forEach((th) => { th.ariaSort = 'none'; });
  head.ariaSort = up ? 'ascending' : 'descending';
  const value = (row) => row.cells[column].dataset.value;
  const number = (text) => (text === '' || isNaN(text) ? null : Number(text));
  const rows = [...body.rows].sort((a, b) => {
    const [x, y] = [number(value(a)), number(value(b))];
    if (x === null && y === null) return (up ? 1 : -1) * value(a).localeCompare(value(b));
    if (x === null || y === null) return x === null ? 1 : -1; // what has no number comes last
    return up ? x - y : y - x;
  });
  body.append(...rows);
});
element.addEventListener('keydown', (event) => {
  if (event.key === 'Enter' && event.target.tagName === 'TH') event.target.click();
});
"""


def page(folders: dict[str, Path] = REPORTS) -> str:
    """The reports as HTML, each under its name, or a sentence where there are none."""
    files = {name: folder / "LEADERBOARD.md" for name, folder in folders.items()}
    parts = [f"<h2>{n}</h2>{report(path)}" for n, path in files.items() if path.is_file()]
    none = "<p class='hint'>There are no results yet: run python bench/run.py --methods all.</p>"
    return "".join(parts) or none


def report(path: Path) -> str:
    """One report as HTML."""
    sections = re.split(r"^## ", path.read_text(encoding="utf-8"), flags=re.M)
    first, rest = sections[0].partition("\n")[2], sections[1:]
    shown = [("", first), *(part.partition("\n")[::2] for part in rest)]
    return "".join(_section(i, *part, path.parent) for i, part in enumerate(shown))


def _section(number: int, title: str, text: str, folder: Path) -> str:
    body = "".join(_block(block, folder) for block in re.split(r"\n\s*\n", text.strip()))
    if not title:
        return f"<section>{body}</section>"
    state = "open" if number < OPEN else ""
    return f"<details {state}><summary>{html.escape(title)}</summary>{body}</details>"


def _block(block: str, folder: Path) -> str:
    """One paragraph, heading, list, table or figure of the report's plain Markdown."""
    if block.startswith("|"):
        return _table(block)
    if image := re.fullmatch(r"!\[([^\]]*)\]\(([\w./-]+)\)", block.strip()):
        return _figure(folder / image[2], image[1])
    if block.startswith("#"):
        return f"<h3>{_words(block.lstrip('# '))}</h3>"
    if block.startswith("* "):
        items = "".join(f"<li>{_words(line[2:])}</li>" for line in block.splitlines())
        return f"<ul>{items}</ul>"
    return f"<p>{_words(block)}</p>"


def _table(block: str) -> str:
    head, _, *rows = (_cells(line) for line in block.splitlines())
    names = "".join(f"<th tabindex='0' aria-sort='none'>{_words(name)}</th>" for name in head)
    body = "".join(f"<tr>{''.join(_cell(cell) for cell in row)}</tr>" for row in rows)
    table = f"<table><thead><tr>{names}</tr></thead><tbody>{body}</tbody></table>"
    return f"<div class='wide'>{table}</div>"


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip()[1:-1])]


def _cell(text: str) -> str:
    """A cell with the number that it sorts by; an interval is written small."""
    value = re.match(r"-?[\d.]+(?= |$|%)", text)
    shown = re.sub(r" (\[[^\]]*\])$", r" <small>\1</small>", _words(text))
    verdict = {"holds": "yes", "does not hold": "no"}.get(text.strip("*"), "")
    key = value[0] if value else text
    return f"<td data-value=\"{html.escape(key)}\" class='{verdict}'>{shown}</td>"


def _words(text: str) -> str:
    text = re.sub(r"\*\*(.+?)\*\*", r"<b>\1</b>", html.escape(text, quote=False))
    text = re.sub(r"\[([^\]]+)\]\([^)]+\)", r"\1", text)
    return re.sub(r"`(.+?)`", r"<code>\1</code>", text)


def _figure(path: Path, title: str) -> str:
    if not path.is_file():
        return ""
    picture = Image.fromarray(images.read_image(path))
    picture.thumbnail((WIDE, 4 * WIDE), Image.Resampling.LANCZOS)
    return f"<img loading='lazy' src='{data_uri(picture, 'WEBP', quality=80)}' alt='{title}'>"


def build(tab: gr.Tab) -> None:
    """The tab; it is filled when it is opened."""
    with gr.Column(elem_classes="card board"):
        gr.HTML(
            "<h2>Measured <span>press a column's name to sort by it</span></h2>",
            apply_default_css=False,
        )
        shown = gr.HTML(LOADING, apply_default_css=False, js_on_load=SORT, elem_id="board")
    tab.select(page_once(), None, shown, api_name="leaderboard", show_progress="hidden", **PAGE)


def page_once():
    """`page` that reads the report once: it is committed, it does not change while we run."""
    kept: list[str] = []

    def read() -> str:
        if not kept:
            kept.append(page())
        return kept[0]

    return read
