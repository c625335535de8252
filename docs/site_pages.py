"""Pages of the site that are no files in docs/ (mkdocs calls these functions): the README as its
start, and the API from docstrings. Links out of docs/ become names of files of the repository."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parent.parent
# Modules of public names: one page each.
MODULES = (
    "ganmut",
    "ganmut.editor",
    "ganmut.codes",
    "ganmut.faces",
    "ganmut.images",
    "ganmut.decoding",
    "ganmut.encoding",
    "ganmut.video",
    "ganmut.weights",
    "ganmut.extractors",
    "ganmut.datasets",
    "ganmut.methods.base",
    "ganmut.training.loop",
    "ganmut.errors",
)
LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)")


def on_config(config: Any) -> Any:
    """The navigation with a page for each module."""
    pages = [{module: f"api/{module}.md"} for module in MODULES]
    config["nav"] = [{"API": pages} if item == {"API": "API"} else item for item in config["nav"]]
    return config


def on_files(files: Files, config: Any) -> Files:
    """The files of docs/, the README, the modules' pages, and the figures that pages show."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    # As if it lay in docs/.
    readme = re.sub(r"\]\((?!https?:|#|docs/)", "](../", readme).replace("](docs/", "](")
    files.append(File.generated(config, "index.md", content=readme))
    for module in MODULES:
        page = f"# {module}\n\n::: {module}\n"
        files.append(File.generated(config, f"api/{module}.md", content=page))
    texts = [readme, *(path.read_text(encoding="utf-8") for path in (ROOT / "docs").glob("*.md"))]
    shown = {path for text in texts for mark, _, path in LINK.findall(text) if mark}
    for path in sorted(path for path in shown if path.startswith("../")):
        figure = ROOT / "docs" / path
        files.append(File.generated(config, path.removeprefix("../"), abs_src_path=str(figure)))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """A page's text, whose links out of docs/ name the file."""

    def rewrite(found: re.Match[str]) -> str:
        mark, text, path = found.groups()
        if path.startswith("browser/"):  # its own page, with a README that is for the repository
            return f"{text} (`docs/{path}`)"
        if not path.startswith("../"):
            return found[0]
        inside = path.removeprefix("../")
        return f"![{text}]({inside})" if mark else f"{text} (`{inside}`)"

    return LINK.sub(rewrite, markdown)
