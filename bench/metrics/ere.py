"""ERE: how near a method comes to any emotion distribution that a real face shows (GANmut, section
5.2).

In batches of 16 test faces the classifier's softmax of one face is the target: the face whose k-th
largest score is the highest (setting 1: k = 3, setting 2: k = 2), so the most ambiguous one. The
faces of the batch (where the protocol says so, the first few) are edited under all codes of a grid;
a face's error is the smallest mean squared
difference between its softmax and the target. The value is over the papers' own grids (441 codes
for GANmut, GGANmut and SMIT, the 7 labels for StarGAN and GANimation); the part "equal" gives every
method the same budget. The interval is over faces, with the targets as they were drawn.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np

from bench.metrics.base import METRICS, Metric, Score, by_face

if TYPE_CHECKING:
    from bench.feature_cache import Evidence


class ERE(Metric):
    needs = ("source:softmax", "paper_grid:softmax", "equal_grid:softmax")
    about = "expression"
    higher_is_better = False
    minimum = 16
    rows = frozenset(
        {"editor", "identity"}
    )  # the oracle renders one emotion at a time, not mixtures
    k: ClassVar[int]

    def compute(self, evidence: Evidence) -> Score:
        protocol, n = evidence.protocol, len(evidence.faces)
        self.enough(n, protocol.ere_batch)
        seen = evidence["source:softmax"][protocol.ere_batches(n).ravel()]
        target = targets(seen, self.k, protocol.ere_batch)[protocol.ere_faces(n)]
        errors = {
            part: smallest_error(evidence[f"{part}_grid:softmax"], target)
            for part in ("paper", "equal")
        }
        both = by_face(errors, evidence)
        return Score(
            both.parts["paper"],
            both.n,
            {"equal": both.parts["equal"]},
            both.intervals["paper"],
            {"equal": both.intervals["equal"]},
            {"": both.draws["paper"], "equal": both.draws["equal"]},
        )


@METRICS.register("ere@1")
class ERE1(ERE):
    title = "ERE 1"
    k = 3
    reference: ClassVar = {
        "gganmut": ".020",
        "ganmut": ".025",
        "smit": ".028",
        "ganimation_labels": ".036",
        "stargan": ".038",
    }


@METRICS.register("ere@2")
class ERE2(ERE):
    title = "ERE 2"
    k = 2
    reference: ClassVar = {
        "gganmut": ".018",
        "ganmut": ".025",
        "smit": ".029",
        "ganimation_labels": ".037",
        "stargan": ".037",
    }


def targets(softmax: np.ndarray, k: int, batch: int) -> np.ndarray:
    """n x emotions: for every face the softmax of its batch's face with the highest k-th largest
    score.
    """
    groups = softmax.reshape(-1, batch, softmax.shape[-1])
    kth = np.sort(groups, -1)[..., -k]
    chosen = groups[np.arange(len(groups)), kth.argmax(1)]
    return np.repeat(chosen, batch, axis=0)


def smallest_error(reached: np.ndarray, target: np.ndarray) -> np.ndarray:
    """`[n]`: the smallest mean squared difference over the codes; reached n x codes x emotions,
    target n x emotions.
    """
    return np.array(
        [
            ((np.asarray(codes, np.float64) - goal) ** 2).mean(-1).min()
            for codes, goal in zip(reached, target, strict=True)
        ]
    )
