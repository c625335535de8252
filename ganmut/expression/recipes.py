"""The change of the 22 controls that shows each emotion, from the neutral face of a closed mouth.

Found by gradient descent through the model on 80 neutral faces of the training split: the margin of
the emotion under an expression classifier (face-api's, and photos/emotion with less weight) at a
cosine of the face embedding of about .8, small Mahalanobis distances to real expressions preferred.
Sadness is held to closed lips and open eyes, which costs it recognition: the unconstrained vector
weeps with an open mouth. Surprise comes from a random search with the same aim, and was made a
tenth stronger on 80 other faces. Anger, fear and sadness come from evolution strategies on 40, 64
and 100 faces: without a bound on the jaw anger and fear shouted, so it is held to a quarter and a
half of its range; chosen, and sadness made .15 stronger, on other faces of the training split.
Order of landmark_data.CONTROLS.
"""

from ganmut.emotions import EMOTIONS, prototype_units
from ganmut.expression.point_set import MESH, PointSet

# fmt: off
RECIPES: dict[str, tuple[float, ...]] = {
    "happy": (
        0.11, 0.12, -0.02, -0.08, 0.05, 0.0, 0.0, 0.11, 0.0, 0.03, 0.0,
        0.0, 0.45, 0.17, 0.0, 0.02, -0.03, 0.02, 0.0, 0.84, 0.23, 0.43,
    ),
    "sad": (
        0.8, 1.35, 0.05, 0.29, -0.11, 0.02, 0.0, -0.02, 0.0, -0.01, 0.24,
        0.0, 0.0, -0.08, 0.94, 0.18, 0.1, 0.13, -0.07, 0.06, 0.51, 0.0,
    ),
    "surprised": (
        -0.13, 0.4, 0.25, -0.07, -0.37, 0.07, 0.0, 0.72, 0.0, 0.06, 0.04,
        0.04, 0.42, 0.01, 0.15, 0.13, 0.21, 0.12, 0.04, 0.15, 0.02, 0.12,
    ),
    "fearful": (
        -0.13, 0.94, 0.0, -0.17, -0.39, -0.02, 0.0, 0.5, 0.0, -0.04, 0.57,
        0.02, 0.47, -0.1, 0.11, 0.08, 0.06, 0.0, 0.0, -0.04, 0.66, 0.02,
    ),
    "disgusted": (
        0.88, 0.39, 0.23, 0.11, 0.51, 0.0, 0.0, -0.02, 0.0, 0.0, 0.27,
        0.0, 0.46, -0.04, 0.51, 0.07, 0.09, 0.04, 0.11, 0.0, 0.0, 0.93,
    ),
    "angry": (
        0.55, 0.04, 0.17, -0.11, 0.28, -0.01, 0.0, 0.24, 0.0, -0.02, 0.2,
        0.0, 0.88, -0.06, -0.05, 0.0, -0.05, -0.08, 0.07, -0.01, -0.14, 1.21,
    ),
}
# fmt: on


def recipes(points: PointSet) -> dict[str, tuple[float, ...]]:
    """The recipes of faces with these landmarks: of rendered faces, whose controls are action
    units, the units of each emotion."""
    if points is MESH:
        return RECIPES
    return {emotion: tuple(prototype_units(emotion)) for emotion in EMOTIONS[1:]}
