"""ERE: how closely a method can reach any emotion distribution that a real face shows (GANmut,
section 5.3).

In batches of 16 test faces, the target is the classifier's softmax of one face: the one whose k-th
largest probability is the highest (setting 1: k = 3, setting 2: k = 2), which is the most ambiguous
one. The faces of the batch (where the protocol says so, the first few) are edited under all codes
of a grid. The error of a face is the smallest mean squared difference between its softmax and the
target. The value uses the papers' own grids (441 codes for GANmut, GGANmut and SMIT, the 7 labels
for StarGAN and GANimation); the part "equal" gives every method the same budget.

The interval resamples batches, each with its target: the faces of a batch share the target, and
most of an error's variation is that of the target.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from .base import METRICS, Metric, Score, by_face, by_second_judge

if TYPE_CHECKING:
    from ..features.cache import Features


# The rows of table 2 of GANmut, in the order of the values below.
PAPER_ROWS = ("gganmut", "ganmut", "smit", "ganimation_labels", "stargan")


class ERE(Metric):
    version = 2  # the interval resamples batches
    needs = ("source:softmax", "paper_grid:softmax", "equal_grid:softmax")
    group = "expression"
    higher_is_better = False
    minimum = 16
    # The ground truth renders one emotion at a time, not mixtures.
    systems = frozenset({"editor", "no_edit"})
    k: ClassVar[int]

    def compute(self, features: Features) -> Score:
        protocol, n = features.protocol, len(features.faces)
        self.require(n, protocol.ere_batch)
        softmax = features["source:softmax"][protocol.ere_batches(n).ravel()]
        target = targets(softmax, self.k, protocol.ere_batch)[protocol.ere_faces(n)]
        errors = {
            part: smallest_error(features[f"{part}_grid:softmax"], target)
            .reshape(-1, protocol.ere_edited)
            .mean(1)
            for part in ("paper", "equal")
        }
        batches = len(errors["paper"])
        note = f"{batches} targets, one a batch of {protocol.ere_batch}"
        paper = by_face({"": errors["paper"]}, features, note)
        return replace(paper.join(by_face({"equal": errors["equal"]}, features)), n=len(target))


@by_second_judge
@METRICS.register("ere@1")
class ERE1(ERE):
    title = "ERE 1"
    k = 3
    reference: ClassVar = dict(
        zip(PAPER_ROWS, (".020", ".025", ".028", ".036", ".038"), strict=True)
    )


@by_second_judge
@METRICS.register("ere@2")
class ERE2(ERE):
    title = "ERE 2"
    k = 2
    reference: ClassVar = dict(
        zip(PAPER_ROWS, (".018", ".025", ".029", ".037", ".037"), strict=True)
    )


def targets(softmax: np.ndarray, k: int, batch: int) -> np.ndarray:
    """n x emotions: for every face the softmax of the face of its batch with the highest k-th
    largest probability."""
    groups = softmax.reshape(-1, batch, softmax.shape[-1])
    # Setting 1 asks for three likely emotions, setting 2 for two: the k-th probability says so.
    kth = np.sort(groups, -1)[..., -k]
    # One target a batch, from a face of the same batch: it is certainly a face's distribution.
    chosen = groups[np.arange(len(groups)), kth.argmax(1)]
    return np.repeat(chosen, batch, axis=0)


def smallest_error(softmax: np.ndarray, target: np.ndarray) -> np.ndarray:
    """`[n]`: the smallest mean squared difference over the codes; softmax n x codes x emotions,
    target n x emotions."""
    return np.array(
        [
            ((np.asarray(codes, np.float64) - goal) ** 2).mean(-1).min()
            for codes, goal in zip(softmax, target, strict=True)
        ]
    )
