"""The t-SNE figure: real and edited faces in one embedding of the classifier's features (GANmut,
figure 5), one method per panel.
"""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from ganmut.emotions import emotion_color

from ..features.cache import Features
from .canvas import hide_axes

FACES = 200  # real, and as many edited: more points would overlap
COLUMNS = 3


def panels(systems: list[Features], seed: int = 0) -> Figure:
    """Grey: real test faces. In colour: their edits under the evaluation prior, by the classifier's
    prediction."""
    across = min(COLUMNS, len(systems))
    down = -(-len(systems) // across)
    names = len(systems[0].emotions) + 1
    tall = 0.2 * -(-names // (2 * across)) + 0.2  # the legend has two names per panel and line
    figure = Figure(figsize=(2.8 * across, 2.9 * down + tall), layout="constrained")
    for number, one in enumerate(systems):
        edited = one["prior:emotion_features"][:FACES]
        points = embed(one["source:emotion_features"][: len(edited)], edited, seed)
        axes = figure.add_subplot(down, across, number + 1)
        x, y = points[: len(edited)].T
        axes.scatter(x, y, s=7, color="#c8c8c8")
        predicted = one["prior:softmax"][:FACES].argmax(1)
        tints = [emotion_color(one.emotions[i]) for i in predicted]
        x, y = points[len(edited) :].T
        axes.scatter(x, y, s=5, c=tints, marker="^")
        axes.set_title(one.system.name, fontsize=9)
        hide_axes(axes)
    emotions = systems[0].emotions
    marks = [axes.scatter([], [], marker="^", color=emotion_color(e)) for e in emotions]
    marks.insert(0, axes.scatter([], [], color="#c8c8c8"))
    figure.legend(
        marks,
        ["real", *emotions],
        loc="outside lower center",
        ncols=2 * across,
        frameon=False,
        fontsize=8,
    )
    return figure


def embed(real: np.ndarray, edited: np.ndarray, seed: int = 0) -> np.ndarray:
    """(n + m) x 2: a joint embedding of real and edited features (n x d, m x d; van der Maaten and
    Hinton 2008)."""
    from sklearn.manifold import TSNE  # two seconds to import

    together = np.concatenate([real, edited]).astype(np.float64)
    perplexity = min(30.0, (len(together) - 1) / 3)
    return TSNE(perplexity=perplexity, init="pca", random_state=seed).fit_transform(together)
