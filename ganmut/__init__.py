"""Facial-expression editing with GANs: nine methods, trained and benchmarked under one protocol.

`ganmut.edit("photo.jpg", emotion="happy")` returns the edited picture, and
`ganmut.load("photos/ganmut")` an `Editor`. The public names are imported on first use,
so that `import ganmut` and `python -m ganmut --help` do not load PyTorch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ganmut.edit_picture import edit
    from ganmut.editor import Editor
    from ganmut.emotions import EMOTIONS
    from ganmut.methods.base import METHODS
    from ganmut.weights import load

__all__ = ["EMOTIONS", "METHODS", "Editor", "edit", "load"]
__version__ = "0.1.0"

# Public name -> the module that defines it.
_MODULES = {
    "EMOTIONS": "ganmut.emotions",
    "METHODS": "ganmut.methods.base",
    "Editor": "ganmut.editor",
    "edit": "ganmut.edit_picture",
    "load": "ganmut.weights",
}


def __getattr__(name: str) -> Any:
    """Imports a public name on first use (PEP 562); raises AttributeError for another name."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(_MODULES[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
