"""Conversion of MediaPipe's 52 face blendshapes (those of ARKit) to action units.

Blendshapes are controls for animation, not intensities of a FACS coder, so the units are proxies.
TABLE defines the blendshape and its range for every unit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

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


@dataclass(frozen=True)
class Proxy:
    """How blendshapes stand for a unit.

    control: the blendshape; rest, full: its values where the unit is 0 and 1. read: what is read in
    its place where several blendshapes tell of the unit. moves: {control: change for a whole unit},
    where asking for the unit moves something else than the control from rest to full.
    """

    control: str
    rest: float
    full: float
    read: Callable[[Read], float] | None = None
    moves: Mapping[str, float] | None = None

    def intensity(self, value: Read) -> float:
        """The unit in 0..1."""
        shown = self.read(value) if self.read else value(self.control)
        return min(max((shown - self.rest) / (self.full - self.rest), 0.0), 1.0)

    def changes(self) -> Mapping[str, float]:
        """{control: change} of the unit from 0 to 1."""
        return self.moves or {self.control: self.full - self.rest}


# At rest: the median of MediaPipe's outputs on 6,787 neutral press photographs; full: the 99th
# percentile on all 13,281. Without this scaling every face would have lids tightened by .38 and
# 99 of 100 faces lids raised by at most .11.
#
# Units without a control of their own:
#  5 has eyeWide, which hardly moves (.11). Lids that rise are also less closed than at rest:
#    eyeBlink falls with it, by its regression on AU5 within persons (-.15).
#  6 has cheekSquint, which MediaPipe leaves at 0. Read: a squint that comes with a smile. Asked
#    for: the squint alone, half as far as AU7 does, since 7 is read from it too; the smile is
#    AU12's.
#  9 has noseSneer, which MediaPipe leaves at 0. Nothing is read in its place. Asked for: half of
#    what AU10 and AU4 do, since the muscle that wrinkles the nose lifts the upper lip and draws the
#    brows down.
# 23 has none; mouthPress (AU24) stands in for it both ways.
# 25 is what parts the lips: the jaw, or either lip alone. Asked for: the lower lip alone, as within
#    persons where 10 and 26 do not change; these two move the upper lip and the jaw.
TABLE: dict[int, Proxy] = {
    1: Proxy("browInnerUp", 0.01, 0.82),
    2: Proxy("browOuterUp", 0.02, 0.68),
    4: Proxy("browDown", 0.13, 0.81),
    5: Proxy("eyeWide", 0.01, 0.11, moves={"eyeWide": 0.10, "eyeBlink": -0.15}),
    6: Proxy(
        "cheekSquint",
        0.00,
        0.72,
        read=lambda v: max(v("cheekSquint"), min(v("eyeSquint"), v("mouthSmile"))),
        moves={"eyeSquint": 0.20},
    ),
    7: Proxy("eyeSquint", 0.38, 0.78),
    9: Proxy("noseSneer", 0.00, 1.00, moves={"mouthUpperUp": 0.39, "browDown": 0.34}),
    10: Proxy("mouthUpperUp", 0.00, 0.78),
    12: Proxy("mouthSmile", 0.00, 0.95),
    14: Proxy("mouthDimple", 0.01, 0.16),
    15: Proxy("mouthFrown", 0.00, 0.26),
    17: Proxy("mouthShrugLower", 0.01, 0.66),
    20: Proxy("mouthStretch", 0.00, 0.50),
    23: Proxy("mouthPress", 0.04, 0.40),
    25: Proxy(
        "mouthLowerDown",
        0.02,
        0.84,
        read=lambda v: max(v("jawOpen") - v("mouthClose"), v("mouthLowerDown"), v("mouthUpperUp")),
    ),
    26: Proxy("jawOpen", 0.02, 0.43),
    45: Proxy("eyeBlink", 0.11, 0.61),
}


def units_of_controls(value: Read) -> tuple[float, ...]:
    """17 action units in 0..1 (order of ganmut.emotions.UNITS) of controls, each the mean of its
    sides, by name."""
    return tuple(proxy.intensity(value) for proxy in TABLE.values())


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

    return units_of_controls(read)
