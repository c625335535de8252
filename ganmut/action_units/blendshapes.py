"""The 52 face blendshapes of ARKit, as MediaPipe gives them, read as action units.

They are proxies: an animator's controls, not intensities that a FACS coder would write. TABLE is
the one place that says which control stands for which unit, and how far it goes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

# MediaPipe's order; left and right are the person's own.
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

Read = Callable[[str], float]  # the value of a control, the mean of its two sides where it has two

# Unit -> (its control, the control's value at rest, its value where the unit is taken for full).
# At rest: the median of MediaPipe's answers on 6,787 neutral press photographs; full: the 99th
# percentile on all 13,281 of them. Without this, lids would be half tight on every face (.38) and
# never raised (.11 at most on 99 of 100).
# No counterpart: 6 has cheekSquint, which MediaPipe leaves at 0, so a squint that comes with a
# smile stands in; 9 has noseSneer, which MediaPipe leaves at 0, and nothing stands in; 23 has none,
# mouthPress (which is AU24) stands in; 25 is what parts the lips: the jaw, or either lip alone.
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
        min(max((control(read) - rest) / (full - rest), 0.0), 1.0)
        for control, rest, full in TABLE.values()
    )
