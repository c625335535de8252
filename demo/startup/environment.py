"""What the page reads of its environment, checked before anything is loaded.

Imports nothing that takes time: of this project `ganmut.text` alone.
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Callable, Mapping, MutableMapping
from importlib.util import find_spec
from pathlib import Path

from ganmut.text import quote

MCP_REMEDY = "pip install 'gradio[mcp]', or start without --mcp and GRADIO_MCP_SERVER"
DEFAULTS = {"GRADIO_SERVER_NAME": "127.0.0.1", "GRADIO_SERVER_PORT": "7860"}
# One thread a call: visitors share the cores. The pools of torch and numpy wait actively, and on a
# machine with other work a call that takes 0.7 s alone then takes ten.
THREADS = {"OMP_NUM_THREADS": "1"}


def port(value: str) -> str:
    return "" if _is_whole(value, 1, 65535) else "must be a whole number from 1 to 65535"


def count(value: str) -> str:
    return "" if _is_whole(value, 1, 10_000) else "must be a whole number from 1 to 10000"


def host(value: str) -> str:
    try:
        socket.getaddrinfo(value, None)
    except (OSError, UnicodeError):
        return "is no name or address of this machine, such as 127.0.0.1 or 0.0.0.0"
    return ""


def switch(value: str) -> str:
    return "" if value in ("0", "1") else "must be 0 or 1"


def flag(value: str) -> str:
    return "" if value.lower() in ("true", "false", "1", "0") else "must be True or False"


def folder(value: str) -> str:
    return "" if os.path.isdir(value) else "is no folder"


def new_folder(value: str) -> str:
    """For a folder that is made where it is missing."""
    try:
        os.makedirs(value, exist_ok=True)
    except (OSError, ValueError) as error:
        return f"cannot be made ({getattr(error, 'strerror', None) or error})"
    return "" if os.access(value, os.W_OK | os.X_OK) else "cannot be written to"


def new_file(value: str) -> str:
    """For a file that is appended to."""
    path = Path(value)
    if path.exists() and not path.is_file():
        return "is no file"
    if path.is_symlink() and not path.exists():
        return "is a link that leads nowhere"
    if path.exists() and not os.access(path, os.W_OK):
        return "cannot be written to"
    return new_folder(str(path.parent))


def repository(value: str) -> str:
    name = r"[\w.-]{1,96}"
    return "" if re.fullmatch(f"{name}/{name}", value) else "must be OWNER/NAME of the Hub"


def revision(value: str) -> str:
    fits = re.fullmatch(r"(hub:)?[\w.-]+/[\w.-]+@[0-9a-f]{40}(/[\w./-]*)?", value)
    return "" if fits else "must be OWNER/NAME@REVISION of the Hub, with the 40 digits of a commit"


# Variable -> what is wrong with a value, "" for nothing. An empty variable counts as none.
CHECKS: dict[str, Callable[[str], str]] = {
    "GRADIO_SERVER_NAME": host,
    "GRADIO_SERVER_PORT": port,
    "GRADIO_NUM_PORTS": count,
    "GRADIO_NUM_WORKERS": count,
    "GRADIO_ANALYTICS_MAX_EVENTS": count,
    "GRADIO_DEBUG": switch,
    "GRADIO_ANALYTICS_ENABLED": flag,
    "GRADIO_MCP_SERVER": flag,
    "GRADIO_TEMP_DIR": new_folder,
    "GANMUT_CACHE": new_folder,
    "GANMUT_HUB": revision,
    "GANMUT_LOG": new_file,
    "GANMUT_MARK": switch,
    "GANMUT_STUDY": new_file,
    "GANMUT_STUDY_HUB": repository,
    "GANMUT_WEIGHTS": folder,
    "OMP_NUM_THREADS": count,
}


def prepare(environment: MutableMapping[str, str] = os.environ) -> tuple[str, int]:
    """The name and port that the page will serve at; sets the number of threads where it is not
    set. Raises ValueError with a sentence for a variable whose value cannot be used."""
    for name, check in CHECKS.items():
        value = environment.get(name, "")
        if value and (wrong := check(value)):
            raise ValueError(f"{name}={quote(value)} {wrong}; set another value or none")
        if not value:
            environment.pop(name, None)  # Gradio would read an empty text as a number
    for name, value in THREADS.items():
        environment.setdefault(name, value)
    at, number = (environment.get(name, value) for name, value in DEFAULTS.items())
    return at, int(number)


def wants_mcp(asked: bool, environment: Mapping[str, str] = os.environ) -> bool:
    """Whether the endpoints are also tools of the Model Context Protocol: `asked` (--mcp), or
    GRADIO_MCP_SERVER. Raises ValueError where its package is missing."""
    if not asked and environment.get("GRADIO_MCP_SERVER", "").lower() not in ("true", "1"):
        return False
    if find_spec("mcp") is None:
        raise ValueError(f"tools of MCP need the package mcp: {MCP_REMEDY}")
    return True


def _is_whole(value: str, low: int, high: int) -> bool:
    return value.isascii() and value.isdecimal() and len(value) < 10 and low <= int(value) <= high
