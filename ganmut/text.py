"""Words in messages."""

from __future__ import annotations


def quantity(n: int, noun: str, plural: str = "") -> str:
    """A number and its noun: "1 face", "1,200 faces". plural: where it is not the noun and s."""
    return f"{n:,} {noun if n == 1 else plural or noun + 's'}"
