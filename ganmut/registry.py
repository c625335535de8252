"""Registries: the files of a package register classes by name and are imported on first look-up."""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from ganmut.text import quote

LONGEST = 200  # characters of a name that is compared with others


def nearest_name(name: str, known: Iterable[str], cutoff: float = 0.6) -> str | None:
    """The known name most similar to `name` (difflib ratio of at least `cutoff`), or None."""
    if len(name) > LONGEST:  # near to none, and a search takes seconds for millions of characters
        return None
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=cutoff)
    return near[0] if near else None


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The hint of an error message about an unknown name: `; did you mean 'x'?`, or "."."""
    near = nearest_name(name, known)
    return f"; did you mean {quote(near)}?" if near else "."


class UnknownNameError(ValueError):
    """A name that is not registered; the message holds the nearest name and all names."""


class Registry:
    """Maps names to the classes or functions that the files of `package` register. A new file in
    the package is a new entry.

    Raises ValueError for a name that two files register and UnknownNameError for an unknown name.
    `kind` is the word for an entry in messages.
    """

    def __init__(self, kind: str, package: str):
        self.kind, self.package = kind, package
        self._entries: dict[str, Any] = {}
        self._searched = False

    def register(self, name: str) -> Callable[[Any], Any]:
        """A decorator that adds a class or function under `name` and sets its attribute `name`."""

        def enter(entry: Any) -> Any:
            known = self._entries.get(name)
            same = known is not None and known.__module__ == entry.__module__
            if known is not None and not same:  # a reload imports the same file again
                raise ValueError(
                    f"two {self.kind}s are called {quote(name)}: "
                    f"{known.__module__} and {entry.__module__}"
                )
            entry.name = name
            self._entries[name] = entry
            return entry

        return enter

    def _search(self) -> None:
        if self._searched:
            return
        package = importlib.import_module(self.package)
        for module in sorted(m.name for m in pkgutil.iter_modules(package.__path__)):
            importlib.import_module(f"{self.package}.{module}")
        self._searched = True

    def names(self) -> list[str]:
        """All registered names, sorted."""
        self._search()
        return sorted(self._entries)

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())

    def __contains__(self, name: str) -> bool:
        self._search()
        return name in self._entries

    def __getitem__(self, name: str) -> Any:
        self._search()
        if name not in self._entries:
            hint, known = did_you_mean(name, self._entries), ", ".join(self.names()) or "none"
            raise UnknownNameError(f"unknown {self.kind} {quote(name)}{hint} There are: {known}")
        return self._entries[name]
