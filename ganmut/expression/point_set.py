"""Which landmarks an expression model moves, and how they bound the mouth and the eyes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from ganmut.emotions import UNITS
from ganmut.expression.traced import made_once

SIZE = 128  # pixels of the crop that landmarks are given in

# The controls of an expression: ARKit's blendshapes without gaze and sideways jaw, the mean of left
# and right, and without the five that MediaPipe leaves at zero. This order is every vector's.
CONTROLS = (
    "browDown",
    "browInnerUp",
    "browOuterUp",
    "eyeBlink",
    "eyeSquint",
    "eyeWide",
    "jawForward",
    "jawOpen",
    "mouthClose",
    "mouthDimple",
    "mouthFrown",
    "mouthFunnel",
    "mouthLowerDown",
    "mouthPress",
    "mouthPucker",
    "mouthRollLower",
    "mouthRollUpper",
    "mouthShrugLower",
    "mouthShrugUpper",
    "mouthSmile",
    "mouthStretch",
    "mouthUpperUp",
)

# The controls of faces whose action units are known (rendered ones).
UNIT_CONTROLS = tuple(f"AU{number}" for number in UNITS)

# Landmarks of the parts of a face, MediaPipe's numbers.
FACE_OVAL = (
    10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377, 152,
    148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109,
)  # fmt: skip
BROWS = (
    70, 63, 105, 66, 107, 55, 65, 52, 53, 46, 300, 293, 334, 296, 336, 285, 295, 282, 283, 276,
)  # fmt: skip
IRISES = tuple(range(468, 478))


@dataclass(frozen=True)
class Opening:
    """Contours of an opening that an expression closes: mouth or eye, numbers of landmarks.

    upper, lower: the two edges from left to right in the picture, both with the two corners and
    equally many points. outer_upper, outer_lower: the skin that follows each edge (the lips' outer
    contours, the rings round an eye), left to right; empty where the point set has none.
    """

    upper: tuple[int, ...]
    lower: tuple[int, ...]
    outer_upper: tuple[int, ...] = ()
    outer_lower: tuple[int, ...] = ()

    # As tensors, made once: lists are slow to index with.

    @made_once
    def both(self) -> Tensor:
        """int64: the upper edge, then the lower one."""
        return torch.tensor(self.upper + self.lower)

    @made_once
    def outer_inner(self) -> tuple[Tensor, Tensor]:
        """int64: both outer contours without their corners; empty where there are none."""
        upper, lower = (
            torch.tensor(contour[1:-1], dtype=torch.long)
            for contour in (self.outer_upper, self.outer_lower)
        )
        return upper, lower


@dataclass(frozen=True)
class Inside:
    """How the inside of an opened mouth is made of a drawing and of a regression on real ones.

    learned: share (of the logarithm) that the regression has in the coarse brightness; a mean of
    many photographs blurs teeth and gaps, and alone makes a smile grey. kept: exponent of the drawn
    contrast; whole, drawn teeth look hard in a dark mouth. enamel: chroma of drawn teeth, 1 is the
    skin's. least_gap: px between the lips of a mouth that the regression learns from.
    """

    learned: float = 0.6
    kept: float = 0.75
    enamel: float = 0.5  # the teeth of portraits under warm light are warm too
    least_gap: float = 4.0


@dataclass(frozen=True)
class PointSet:
    """The landmarks of one annotation scheme: how many there are and which parts they show.

    oval: points of the face's outline; crown: how far the face goes on above them, as a share of
    their height. chin, nose: the lowest point of the outline and the base of the nose. others:
    further points that the flow passes through. controls: the names of the values that an
    expression has where faces are annotated so. group: the set of bundled weights on these
    landmarks; note: what they were learned from. contact: px of the crop that landmarks of closed
    lips, and of closed lids, stay apart. products: whether gaps are fitted with products of the
    controls, and then trusted over the linear shape; landmarks that are a pixel off say too little
    for that. inside: of the mouth.
    """

    name: str
    count: int
    controls: tuple[str, ...]
    group: str
    note: str
    oval: tuple[int, ...]
    brows: tuple[int, ...]
    mouth: Opening
    eyes: tuple[Opening, Opening]
    chin: int
    nose: int
    others: tuple[int, ...]
    irises: tuple[int, ...] = ()
    crown: float = 0.0
    contact: tuple[float, float] = (1.2, 0.9)
    products: bool = False
    inside: Inside = Inside()

    def __deepcopy__(self, memo: dict) -> PointSet:
        # A copied model has the same landmarks: schemes are told apart by identity.
        return self

    @property
    def openings(self) -> tuple[Opening, ...]:
        """The mouth, then the eye on the left of the picture, then the one on the right."""
        return (self.mouth, *self.eyes)

    def sheet(self, edge: str) -> tuple[int, ...]:
        """Control landmarks of the sheet that ends at the "upper" or the "lower" edges: without the
        opposite edges, whose points lie where the other sheet shows."""
        opposite = "lower" if edge == "upper" else "upper"
        hidden = {p for o in self.openings for p in getattr(o, opposite)[1:-1]}
        return tuple(p for p in self.control if p not in hidden)

    @made_once
    def sheets(self) -> Tensor:
        """int64: the landmarks of the upper sheet, then as many of the lower one."""
        return torch.tensor([*self.sheet("upper"), *self.sheet("lower")])

    @made_once
    def edges(self) -> tuple[Tensor, Tensor]:
        """int64 2 x M x n: upper and lower edges of the mouth (M = 1), and of the eyes (M = 2),
        which have another number of points."""
        mouth, eyes = (
            torch.tensor([[o.upper for o in part], [o.lower for o in part]])
            for part in ((self.mouth,), self.eyes)
        )
        return mouth, eyes

    def hairline(self, ellipse: Tensor) -> Tensor:
        """A x 2: places on the upper edge of a face's ellipse (2 x 2, centre and radii) where no
        landmark holds the forehead; none where the outline goes round the face."""
        if not self.crown:
            return ellipse.new_empty(0, 2)
        angles = torch.linspace(0.15, 0.85, 7) * -torch.pi
        return ellipse[0] + ellipse[1] * torch.stack([angles.cos(), angles.sin()], 1)

    @cached_property
    def parts(self) -> dict[str, tuple[int, ...]]:
        """Landmarks of the parts of a face that an expression moves, by name."""
        mouth = self.mouth
        lips = mouth.upper + mouth.lower + mouth.outer_upper + mouth.outer_lower
        lids = tuple(p for eye in self.eyes for p in eye.upper + eye.lower)
        parts = {"lips": lips, "lids": lids, "brows": self.brows, "irises": self.irises}
        return {name: tuple(dict.fromkeys(points)) for name, points in parts.items() if points}

    @cached_property
    def control(self) -> tuple[int, ...]:
        """Landmarks that the flow passes through, each once."""
        parts = [self.oval, self.others]
        for opening in self.openings:
            parts += [opening.upper, opening.lower, opening.outer_upper, opening.outer_lower]
        return tuple(dict.fromkeys(point for part in parts for point in part))


MESH = PointSet(
    "mediapipe_478",
    478,
    CONTROLS,
    group="photos",
    note="Trained on muxspace/facial_expressions (Apache-2.0 repository; press photographs and "
    "film stills whose rights its compilers cannot clear): for research use.",
    oval=FACE_OVAL[::2],
    brows=BROWS,
    mouth=Opening(
        upper=(78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308),
        lower=(78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308),
        outer_upper=(61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291),
        outer_lower=(61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291),
    ),
    eyes=(
        Opening(
            upper=(33, 246, 161, 160, 159, 158, 157, 173, 133),
            lower=(33, 7, 163, 144, 145, 153, 154, 155, 133),
            outer_upper=(130, 30, 27, 56, 243),
            outer_lower=(130, 110, 23, 26, 243),
        ),
        Opening(
            upper=(362, 398, 384, 385, 386, 387, 388, 466, 263),
            lower=(362, 382, 381, 380, 374, 373, 390, 249, 263),
            outer_upper=(463, 286, 257, 260, 359),
            outer_lower=(463, 256, 253, 339, 359),
        ),
    ),
    chin=152,
    nose=2,
    others=(*BROWS[::2], 1, 2, 98, 327, 168, 6, 197, 195, 5, 4, 205, 425, 50, 280, 36, 266),
    irises=IRISES,
)

# The 68 points of iBUG 300-W (Sagonas et al. 2013): lips have five points an edge, eyes four.
IBUG = PointSet(
    "ibug_68",
    68,
    UNIT_CONTROLS,
    group="procedural",
    note="Learned from rendered faces, whose landmarks and action units are exact.",
    oval=tuple(range(17)),
    brows=tuple(range(17, 27)),
    mouth=Opening(
        upper=(60, 61, 62, 63, 64),
        lower=(60, 67, 66, 65, 64),
        outer_upper=(48, 49, 50, 51, 52, 53, 54),
        outer_lower=(48, 59, 58, 57, 56, 55, 54),
    ),
    eyes=(Opening((36, 37, 38, 39), (36, 41, 40, 39)), Opening((42, 43, 44, 45), (42, 47, 46, 45))),
    chin=8,
    nose=33,
    others=tuple(range(17, 36)),
    crown=0.6,  # the outline ends at the ears
    contact=(0.3, 0.3),  # rendered lips meet; what is left is the error of found landmarks
    products=True,
    # Rendered teeth have no seams. Their chroma as measured between lips at 128 px, whose red is a
    # part of it; the teeth's own is .28.
    inside=Inside(learned=1.0, kept=0.0, enamel=0.9, least_gap=1.5),
)

POINT_SETS = {points.name: points for points in (MESH, IBUG)}
