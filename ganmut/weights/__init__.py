"""Weights: resolve a spec to a folder, load an editor from it, save and verify it.

`resolve.py`: spec -> folder. `storage.py`: the folder on disk. `editors.py`: folder -> Editor.
`hub.py`, `pins.py`, `publish.py`, `card.py`: the Hugging Face Hub.
"""

from ganmut.files import sha256
from ganmut.weights.editors import build_editor, build_method, load, save, verify
from ganmut.weights.resolve import (
    bundled_root,
    is_set,
    list_sets,
    list_weights,
    locate,
    other_weights,
    pin,
    resolve,
    set_default_hub,
)
from ganmut.weights.storage import BadWeights, Weights, read, read_config, read_golden

__all__ = [
    "BadWeights",
    "Weights",
    "build_editor",
    "build_method",
    "bundled_root",
    "is_set",
    "list_sets",
    "list_weights",
    "load",
    "locate",
    "other_weights",
    "pin",
    "read",
    "read_config",
    "read_golden",
    "resolve",
    "save",
    "set_default_hub",
    "sha256",
    "verify",
]
