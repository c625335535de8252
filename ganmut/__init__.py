"""Facial-expression editing with GANs: nine methods, trained and benchmarked under one protocol.

`ganmut.edit("photo.jpg", emotion="happy")` returns the edited picture, and
`ganmut.load("photos/ganmut")` an `Editor`. The public names are imported on first use,
so that `import ganmut` and `python -m ganmut --help` do not load PyTorch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ganmut.lazy import on_first_use

if TYPE_CHECKING:
    from ganmut.edit_picture import edit
    from ganmut.editor import Editor
    from ganmut.emotions import EMOTIONS
    from ganmut.methods.base import METHODS
    from ganmut.weights import load

__all__ = ["EMOTIONS", "METHODS", "Editor", "edit", "load"]
__version__ = "0.1.0"

__getattr__, __dir__ = on_first_use(
    globals(),
    {
        "EMOTIONS": "ganmut.emotions",
        "METHODS": "ganmut.methods.base",
        "Editor": "ganmut.editor",
        "edit": "ganmut.edit_picture",
        "load": "ganmut.weights",
    },
)
