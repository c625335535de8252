"""What runs in the browser for the page as a whole: its keys, and its sentences for Gradio's."""

from __future__ import annotations

import json

from demo.components.base import STATIC
from demo.errors import as_sentence
from demo.security.files import TOO_LARGE, TYPES
from demo.security.limits import Limits, full

KEYS = (STATIC / "keys.js").read_text("utf-8")
NO_PICTURE = f"this file is no picture; give one as {', '.join(TYPES[:-1])} or {TYPES[-1]}"
OFFLINE = "there is no connection to the page; it is tried again by itself"


def messages(limits: Limits) -> str:
    """The script that puts the page's sentences in the place of Gradio's."""
    sentences = [
        ("this application is currently busy.*", full(limits)),
        (r"file\(s\) exceed the maximum allowed size.*", TOO_LARGE),
        ("invalid file type.*", NO_PICTURE),
        (r'http \d+: \{"detail": "(.*)"\}', "$1"),
        (r"connection to the server was lost.*", OFFLINE),
    ]
    shown = [(pattern, as_sentence(text)) for pattern, text in sentences]
    return (STATIC / "messages.js").read_text("utf-8").replace("SENTENCES", json.dumps(shown), 1)
