"""What the entries of a weight's config.json must be, whoever wrote it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from ganmut.errors import ParameterError
from ganmut.networks.config import Settings


@dataclass(frozen=True)
class Facts(Settings):
    """The entries of config.json that are read, by their names there; other entries are free.

    The settings of a network, `config`, are checked against the Config of its method.
    """

    format: int
    kind: str
    sha256: str
    bytes: int | None = None
    parts: tuple[Any, ...] | None = None
    method: str | None = None
    extractor: str | None = None
    network: str | None = None
    emotions: tuple[str, ...] | None = None
    size: int | None = None
    version: int | None = None
    config: dict[str, Any] | None = None
    crop: str | None = None
    grey: bool | None = None
    licence: str | None = None
    note: str | None = None
    set: str | None = None
    ablation_of: str | None = None
    converted_from: str | None = None
    kimg: float | None = None
    g_steps: int | None = None
    minutes: float | None = None
    faces: int | None = None
    scores: dict[str, Any] | None = None

    LIMITS: ClassVar = {
        "size": (8, 1024),
        "bytes": (0, 2**63),
        "g_steps": (0, 1e12),
        "minutes": (0, 1e9),
        "kimg": (0, 1e9),
        "faces": (0, 1e9),
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        names = self.emotions
        if names is None:
            return
        if len(names) < 2 or names[0] != "neutral" or len(set(names)) < len(names):
            raise ParameterError(
                "emotions", f"emotions must be distinct, neutral first, got {', '.join(names)}"
            )
