"""The change of the 22 controls that shows each emotion, from the neutral face of a closed mouth.

Happiness is .85 of the mean of real smiles that show teeth. The others were found by a search on
people of the training split: highest log probability of the emotion by an expression classifier,
small changes and plausible expressions preferred. Order of landmark_data.CONTROLS.
"""

# fmt: off
RECIPES: dict[str, tuple[float, ...]] = {
    "happy": (
        0.09, 0.03, 0.04, 0.07, 0.07, 0.0, 0.0, 0.02, 0.0, 0.01, 0.0,
        0.01, 0.35, 0.03, 0.0, -0.01, 0.0, 0.0, 0.01, 0.74, 0.12, 0.49,
    ),
    "surprised": (
        -0.12, 0.36, 0.23, -0.06, -0.34, 0.06, 0.0, 0.65, 0.0, 0.05, 0.04,
        0.04, 0.38, 0.01, 0.14, 0.12, 0.19, 0.11, 0.04, 0.14, 0.02, 0.11,
    ),
    "sad": (
        0.3, 1.18, -0.01, 0.33, 0.15, 0.03, 0.0, 0.18, 0.0, 0.06, 0.63,
        0.04, 0.11, 0.02, 0.05, 0.29, 0.31, 0.25, 0.08, 0.09, 0.22, 0.05,
    ),
    "angry": (
        0.68, 0.05, 0.22, 0.0, 0.32, 0.01, 0.0, 0.44, 0.0, 0.1, 0.26,
        0.04, 0.39, 0.01, 0.02, 0.05, 0.15, 0.06, 0.13, 0.08, 0.09, 0.58,
    ),
    "fearful": (
        -0.3, 0.25, 0.03, -0.2, -0.18, 0.66, 0.0, 0.54, 0.0, -0.03, 0.58,
        -0.16, -0.12, 0.07, 0.04, -0.05, -0.28, -0.28, 0.12, -0.01, 0.39, -0.04,
    ),
    "disgusted": (
        0.79, 0.55, 0.14, 0.0, 0.63, -0.3, 0.0, -0.27, 0.0, -0.18, 0.14,
        0.05, 0.32, 0.11, 0.65, -0.3, -0.21, 0.29, 0.35, -0.05, -0.1, 0.91,
    ),
}
# fmt: on
