"""Files below a folder that a person pointed at, without what systems and programs put there."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from ganmut.errors import ParameterError

# In lower case: archives of macOS, waste bins, what a check of a disk found, caches.
SYSTEM = frozenset(
    {
        "__macosx",
        "recycler",
        "recycled",
        "system volume information",
        "lost+found",
        "found.000",
        "__pycache__",
        "network trash folder",
        "temporary items",
        "thumbs.db",
        "ehthumbs.db",
        "desktop.ini",
    }
)


# Folders that NAS systems and Windows make begin so: @eaDir, #recycle, $RECYCLE.BIN, ~snapshot.
MARKS = (".", "@", "#", "$", "~")


def is_system_folder(name: str) -> bool:
    """Whether a folder of this name is hidden, or made by a system: no data of anybody."""
    return name.startswith(MARKS) or name.lower() in SYSTEM


def is_system(name: str) -> bool:
    """Whether a file of this name is hidden, or made by a system: no data of anybody."""
    return name.startswith(".") or name.lower() in SYSTEM


def subfolders(folder: Path) -> list[Path]:
    """The folders in a folder, sorted, without those of systems."""
    return sorted(
        path for path in folder.iterdir() if path.is_dir() and not is_system_folder(path.name)
    )


def walk_files(folder: Path) -> Iterator[Path]:
    """The files in and below a folder, sorted by path, without those of systems and below their
    folders. Links are followed, but never into a folder that holds them. Raises OSError for a
    folder that cannot be read."""

    def stop(error: OSError) -> None:
        raise error

    found = []
    for parent, names, files in os.walk(folder, onerror=stop, followlinks=True):
        names[:] = [n for n in names if not is_system_folder(n) and not _is_loop(parent, n)]
        found += [Path(parent, name) for name in files if not is_system(name)]
    return iter(sorted(found))


def _is_loop(parent: str, name: str) -> bool:
    path = os.path.join(parent, name)
    if not os.path.islink(path):
        return False
    target = os.path.realpath(path)
    inside = os.path.realpath(parent)
    return inside == target or inside.startswith(target.rstrip(os.sep) + os.sep)


def check_output(path: str | Path | None, parameter: str = "out") -> None:
    """Raises ParameterError for an output that is a link to nothing, or to itself."""
    if path is not None and os.path.islink(path) and not os.path.exists(path):
        raise ParameterError(parameter, f"{path} is a link that leads nowhere; remove it")


def check_output_folder(path: str | Path, parameter: str = "out") -> None:
    """Raises ParameterError for an output that can be no folder: a link to nothing, a file, a place
    below a file or in a folder that cannot be written to; OSError for a name that no folder can
    have."""
    check_output(path, parameter)
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        os.lstat(path)
    place = next(p for p in (Path(path), *Path(path).absolute().parents) if os.path.lexists(p))
    if not place.is_dir():
        raise ParameterError(parameter, f"{place} is no folder; name another or move it away")
    if not os.access(place, os.W_OK | os.X_OK):
        raise ParameterError(parameter, f"{place} cannot be written to; name another folder")


def real_path(path: str | Path) -> Path:
    """The path without links. A link to itself stays as it is; Path.resolve fails on it."""
    return Path(os.path.realpath(path))


def stamp(path: str | Path) -> list[int]:
    """Bytes and time of change (ns) of a file; empty where it has gone."""
    try:
        status = os.stat(path)
    except OSError:
        return []
    return [status.st_size, status.st_mtime_ns]
