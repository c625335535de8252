"""JSON that others may have written, and small files of it: bounded, regular, of any content."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ganmut.errors import first_line
from ganmut.files import DamagedFile, require_file

MAX_BYTES = 10_000_000


def read_json(path: str | Path) -> Any:
    """The value of a JSON file. Raises DamagedFile with its name, OSError."""
    content = read_small(path)
    try:
        return parse_json(content)
    except DamagedFile as error:
        raise DamagedFile(f"{path} is damaged: {error}") from None


def read_small(path: str | Path) -> bytes:
    """The bytes of a small regular file. Raises DamagedFile for another one, OSError."""
    size = require_file(path).stat().st_size
    if size > MAX_BYTES:
        raise DamagedFile(f"{path} is damaged: {size:,} bytes, at most {MAX_BYTES:,} are expected")
    return Path(path).read_bytes()


def parse_json(text: str | bytes) -> Any:
    """The value of a JSON text; raises DamagedFile for another one."""
    try:
        return json.loads(text)
    except RecursionError:
        raise DamagedFile("not valid JSON (its brackets are too deep)") from None
    except ValueError as error:  # also a whole number with thousands of digits
        raise DamagedFile(f"not valid JSON ({first_line(error)})") from None
