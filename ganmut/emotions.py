"""Canonical emotions, their order, other datasets' names for them, and their action-unit
prototypes."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ganmut.registry import did_you_mean
from ganmut.text import quote

# AffectNet's ids 0..6. Every CodeSpace relies on neutral being first. A FaceSet has its own tuple,
# so the number of emotions may differ from seven.
EMOTIONS = ("neutral", "happy", "sad", "surprised", "fearful", "disgusted", "angry")

# The seventeen intensities that OpenFace writes (`AUxx_r`), in its order. The project divides
# OpenFace's 0..5 by 5.
UNITS = (1, 2, 4, 5, 6, 7, 9, 10, 12, 14, 15, 17, 20, 23, 25, 26, 45)
UNIT_NAMES = {
    1: "inner brow raiser",
    2: "outer brow raiser",
    4: "brow lowerer",
    5: "upper lid raiser",
    6: "cheek raiser",
    7: "lid tightener",
    9: "nose wrinkler",
    10: "upper lip raiser",
    12: "lip corner puller",
    14: "dimpler",
    15: "lip corner depressor",
    17: "chin raiser",
    20: "lip stretcher",
    23: "lip tightener",
    25: "lips part",
    26: "jaw drop",
    45: "blink",
}

# Prototypes at full intensity in the manner of EMFACS (Ekman & Friesen, EMFACS-7; Matsumoto & Ekman
# 2008): unit -> 0..1.
PROTOTYPES: dict[str, dict[int, float]] = {
    "neutral": {},
    "happy": {6: 0.9, 12: 1.0, 25: 0.8, 26: 0.2},
    "sad": {1: 0.9, 4: 0.6, 15: 1.0, 17: 0.7, 45: 0.28},
    "surprised": {1: 1.0, 2: 1.0, 5: 0.8, 25: 1.0, 26: 1.0},
    "fearful": {1: 1.0, 2: 0.5, 4: 0.7, 5: 1.0, 7: 0.3, 20: 0.9, 25: 0.8, 26: 0.3},
    "disgusted": {4: 0.2, 6: 0.5, 7: 0.6, 9: 1.0, 10: 1.0, 15: 0.4, 17: 0.3, 25: 0.5},
    "angry": {4: 1.0, 5: 0.5, 7: 0.8, 10: 0.2, 17: 0.4, 23: 1.0},
}

# Variants of the prototypes (EMFACS lists several): surprise with a strong jaw drop, weaker brows
# and slightly raised lids (5B); sadness near tears, with tight and lowered lids; anger with the
# mouth open. Rendered faces use PROTOTYPES only; for photographs `nearest_prototype` chooses.
VARIANTS: dict[str, tuple[dict[int, float], ...]] = {
    "surprised": ({1: 0.7, 2: 0.7, 5: 0.4, 25: 1.0, 26: 1.0},),
    "sad": ({1: 1.0, 4: 1.0, 7: 0.4, 15: 1.0, 17: 1.0, 45: 0.9},),
    "angry": ({4: 1.0, 5: 0.5, 7: 1.0, 10: 0.8, 25: 0.9, 26: 0.5},),
}

# Names of the seven emotions in datasets. Contempt has no canonical counterpart: a source that has
# it either adds it as an emotion or lists the rows that it drops.
ALIASES = {
    "happiness": "happy",
    "joy": "happy",
    "smile": "happy",
    "sadness": "sad",
    "surprise": "surprised",
    "fear": "fearful",
    "afraid": "fearful",
    "disgust": "disgusted",
    "anger": "angry",
    "neutrality": "neutral",
    "contemptuous": "contempt",
}

# The colour of each emotion on the page and in figures, on light and dark backgrounds.
EMOTION_COLORS = {
    "neutral": "#a39c90",
    "happy": "#f0ae2c",
    "sad": "#5b8fd6",
    "surprised": "#f07f3c",
    "fearful": "#a983d8",
    "disgusted": "#72ad5c",
    "angry": "#e2493b",
}
OTHER_COLORS = ("#46b3a5", "#d872a8", "#8c9a2f", "#7a86e0")  # emotions of other datasets

AT_REST = 0.25  # share of a prototype below which a face counts as neutral


def canonical_emotion(name: str) -> str:
    """The canonical name of an emotion: lower case, aliases resolved ("Fear" -> "fearful"). Names
    without an alias are returned in lower case."""
    word = name.strip().lower()
    return ALIASES.get(word, word)


def emotion_index(name: str, emotions: tuple[str, ...] = EMOTIONS) -> int:
    """Position of an emotion in `emotions`; raises ValueError for an unknown one, with the nearest
    name and all names."""
    word = canonical_emotion(name)
    if word in emotions:
        return emotions.index(word)
    hint = did_you_mean(word, emotions)
    raise ValueError(f"unknown emotion {quote(name)}{hint} There are: {', '.join(emotions)}")


def emotion_color(name: str) -> str:
    """The colour of an emotion, "#rrggbb"; a fixed one of OTHER_COLORS for an unknown emotion."""
    # Not hash(): it differs between processes.
    other = OTHER_COLORS[sum(name.encode()) % len(OTHER_COLORS)]
    return EMOTION_COLORS.get(name, other)


def prototype_units(name: str) -> list[float]:
    """The seventeen unit values (0..1, order of UNITS) of an emotion at full intensity."""
    units = PROTOTYPES[canonical_emotion(name)]
    return [units.get(number, 0.0) for number in UNITS]


def nearest_prototype(name: str, shift: Sequence[float]) -> list[float]:
    """The prototype (17 values) of an emotion, or its variant, whose direction is nearest to
    `shift`: the mean units of the faces that show the emotion minus those of the neutral faces."""

    def similarity(units: list[float]) -> float:
        return sum(u * s for u, s in zip(units, shift, strict=True)) / math.hypot(*units)

    variants = VARIANTS.get(canonical_emotion(name), ())
    candidates = [prototype_units(name)]
    candidates += [[units.get(n, 0.0) for n in UNITS] for units in variants]
    return max(candidates, key=similarity) if variants else candidates[0]


def emotion_from_units(units: Sequence[float]) -> str:
    """The emotion of seventeen unit values (0..1): that of the nearest line from zero to a
    prototype; neutral where the projection on the line is below AT_REST.

    A rough label for faces without one. It is no classifier: faces show mixtures of emotions.
    """
    best, name = sum(value * value for value in units), "neutral"
    for emotion in EMOTIONS[1:]:
        full = prototype_units(emotion)
        # Intensity of the emotion: the projection of the units on the line to its prototype.
        share = sum(u * f for u, f in zip(units, full, strict=True)) / sum(f * f for f in full)
        # Beyond the prototype the distance grows again: the line ends at full intensity.
        share = min(share, 1.0)
        distance = sum((u - share * f) ** 2 for u, f in zip(units, full, strict=True))
        if share >= AT_REST and distance < best:
            best, name = distance, emotion
    return name
