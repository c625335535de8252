"""What a call may give each component; `Page` (demo/security/limits.py) asks before Gradio looks.

Gradio's components fail at foreign values each in its own way, and handlers would in others. Here a
value that is not of the type which its component publishes ("Use via API") gets one sentence.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from gradio.components import Component
from gradio.data_classes import FileData, ImageData

from demo.security.files import check_files
from ganmut.text import quote

LARGEST = 1e9  # of numbers; every handler has bounds of its own within it


def is_number(value: Any) -> bool:
    """Whether a value is a finite number that no arithmetic of ours can overflow."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= LARGEST


# Type of a JSON schema -> (its name in a sentence, the check).
TYPES: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "string": ("a text", lambda value: isinstance(value, str)),
    "object": ("an object", lambda value: isinstance(value, dict)),
    "number": ("a number", is_number),
    "integer": ("a whole number", lambda value: is_number(value) and value == int(value)),
}


def check_inputs(blocks: Sequence[Component], values: Sequence[Any]) -> None:
    """Raises ValueError with a sentence, or BadImage, where values are not what components take;
    KeyError for a component whose type is none of TYPES."""
    if len(values) != len(blocks):
        raise ValueError(f"this call takes {len(blocks)} values, got {len(values)}")
    for place, (block, value) in enumerate(zip(blocks, values, strict=True), 1):
        model = getattr(block, "data_model", None)
        is_file = isinstance(model, type) and issubclass(model, FileData | ImageData)
        check_files(value, is_file)
        if is_file or block.stateful:  # Gradio puts the session's own in the place of a state
            continue
        takes, fits = TYPES[block.api_info()["type"]]
        if not fits(value):
            name = f" ({block.label.split(':')[0]})" if block.label else ""
            example = block.example_payload() if fits(block.example_payload()) else None
            if example and not isinstance(example, str):  # Gradio's own text is a greeting
                takes += f" such as {json.dumps(example)[:60]}"
            raise ValueError(f"value {place}{name} must be {takes}, got {quote(value)}")
