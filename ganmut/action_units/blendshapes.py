"""Conversion of MediaPipe's 52 face blendshapes (those of ARKit) to action units.

Blendshapes are controls for animation, not intensities of a FACS coder, so the units are proxies.
TABLE defines the blendshape and its range for every unit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

# MediaPipe's order; left and right as seen by the person.
BLENDSHAPES = (
    "_neutral", "browDownLeft", "browDownRight", "browInnerUp", "browOuterUpLeft",
    "browOuterUpRight", "cheekPuff", "cheekSquintLeft", "cheekSquintRight", "eyeBlinkLeft",
    "eyeBlinkRight", "eyeLookDownLeft", "eyeLookDownRight", "eyeLookInLeft", "eyeLookInRight",
    "eyeLookOutLeft", "eyeLookOutRight", "eyeLookUpLeft", "eyeLookUpRight", "eyeSquintLeft",
    "eyeSquintRight", "eyeWideLeft", "eyeWideRight", "jawForward", "jawLeft", "jawOpen",
    "jawRight", "mouthClose", "mouthDimpleLeft", "mouthDimpleRight", "mouthFrownLeft",
    "mouthFrownRight", "mouthFunnel", "mouthLeft", "mouthLowerDownLeft", "mouthLowerDownRight",
    "mouthPressLeft", "mouthPressRight", "mouthPucker", "mouthRight", "mouthRollLower",
    "mouthRollUpper", "mouthShrugLower", "mouthShrugUpper", "mouthSmileLeft", "mouthSmileRight",
    "mouthStretchLeft", "mouthStretchRight", "mouthUpperUpLeft", "mouthUpperUpRight",
    "noseSneerLeft", "noseSneerRight",
)  # fmt: skip

Read = Callable[[str], float]  # value of a blendshape, the mean of left and right if it has sides

# Unit -> (function of the blendshapes, its value for a neutral face, its value for a full unit).
# Neutral: the median of MediaPipe's outputs on 6,787 neutral press photographs; full: the 99th
# percentile on all 13,281. Without this scaling every face would have lids tightened by .38 and
# 99 of 100 faces lids raised by at most .11.
# Units without an equivalent: for 6, MediaPipe leaves cheekSquint at 0, so a squint with a smile
# replaces it; for 9, MediaPipe leaves noseSneer at 0 and nothing replaces it; 23 uses mouthPress
# (AU24); 25 is parted lips, by the jaw or by either lip.
TABLE: dict[int, tuple[Callable[[Read], float], float, float]] = {
    1: (lambda v: v("browInnerUp"), 0.01, 0.82),
    2: (lambda v: v("browOuterUp"), 0.02, 0.68),
    4: (lambda v: v("browDown"), 0.13, 0.81),
    5: (lambda v: v("eyeWide"), 0.01, 0.11),
    6: (lambda v: max(v("cheekSquint"), min(v("eyeSquint"), v("mouthSmile"))), 0.00, 0.72),
    7: (lambda v: v("eyeSquint"), 0.38, 0.78),
    9: (lambda v: v("noseSneer"), 0.00, 1.00),
    10: (lambda v: v("mouthUpperUp"), 0.00, 0.78),
    12: (lambda v: v("mouthSmile"), 0.00, 0.95),
    14: (lambda v: v("mouthDimple"), 0.01, 0.16),
    15: (lambda v: v("mouthFrown"), 0.00, 0.26),
    17: (lambda v: v("mouthShrugLower"), 0.01, 0.66),
    20: (lambda v: v("mouthStretch"), 0.00, 0.50),
    23: (lambda v: v("mouthPress"), 0.04, 0.40),
    25: (
        lambda v: max(v("jawOpen") - v("mouthClose"), v("mouthLowerDown"), v("mouthUpperUp")),
        0.02,
        0.84,
    ),
    26: (lambda v: v("jawOpen"), 0.02, 0.43),
    45: (lambda v: v("eyeBlink"), 0.11, 0.61),
}


def units(blendshapes: Sequence[float] | Mapping[str, float]) -> tuple[float, ...]:
    """17 action units in 0..1 (order of ganmut.emotions.UNITS) of 52 blendshapes, by name or in
    MediaPipe's order. Raises ValueError where some are missing or not in 0..1."""
    if not isinstance(blendshapes, Mapping):
        if len(blendshapes) != len(BLENDSHAPES):
            raise ValueError(f"{len(blendshapes)} blendshapes, not {len(BLENDSHAPES)}")
        blendshapes = dict(zip(BLENDSHAPES, blendshapes, strict=True))
    if not all(0 <= float(value) <= 1 for value in blendshapes.values()):
        raise ValueError("blendshapes outside 0..1")

    def read(name: str) -> float:
        sides = (name,) if name in BLENDSHAPES else (f"{name}Left", f"{name}Right")
        if missing := [side for side in sides if side not in blendshapes]:
            raise ValueError(f"blendshape {missing[0]} is missing")
        return sum(float(blendshapes[side]) for side in sides) / len(sides)

    return tuple(
        min(max((value(read) - rest) / (full - rest), 0.0), 1.0)
        for value, rest, full in TABLE.values()
    )
