"""Public names of a package that are imported on first use (PEP 562)."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any

from ganmut.text import quote


def on_first_use(
    package: dict[str, Any], modules: Mapping[str, str]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """(`__getattr__`, `__dir__`) of a package; package: its globals(); modules: public name -> the
    module that defines it. A name that is none of them raises AttributeError."""

    def get(name: str) -> Any:
        if name not in modules:
            raise AttributeError(f"{package['__name__']} has no public name {quote(name)}")
        value = package[name] = getattr(importlib.import_module(modules[name]), name)
        return value

    return get, lambda: sorted({*package, *modules})
