"""The import of gradio in half of its time.

Imports nothing but the standard library.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Iterator
from typing import Any


@contextlib.contextmanager
def without_stubs() -> Iterator[None]:
    """Within this, gradio is imported without a .pyi file for each of its components: it compares
    or writes them at every import, which takes as long as the rest of it.

    Gradio leaves a component out that has no source file, so no class has one here.
    """
    find_file = inspect.getfile

    def refuse_classes(of: Any) -> str:
        if isinstance(of, type):
            raise OSError("classes have no file while gradio is imported")
        return find_file(of)

    inspect.getfile = refuse_classes  # type: ignore[assignment]
    try:
        yield
    finally:
        inspect.getfile = find_file
