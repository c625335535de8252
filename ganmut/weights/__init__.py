"""Weights: find, load, save and verify editors, from `weights/`, a run folder or the Hub."""

from ganmut.weights.resolve import (
    BadWeights,
    Weights,
    available,
    build,
    bundled_root,
    find,
    golden,
    load,
    place,
    prefer,
    read,
    read_config,
    restore,
    save,
    sets,
    sha256,
    verify,
)

__all__ = [
    "BadWeights", "Weights", "available", "build", "bundled_root", "find", "golden", "load",
    "place", "prefer", "read", "read_config", "restore", "save", "sets", "sha256", "verify",
]  # fmt: skip
