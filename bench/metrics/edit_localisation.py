"""Edit localisation: the share of an edit's absolute pixel change that lies where the expression
requires a change. DefGAN's difference images (figures 5, 13, 14) as a number.

The region is, on rendered faces, where the ground truth differs from the source, and elsewhere
fixed boxes around the parts that the emotions' action units move (bench/features/regions.py). A
change spread evenly over the picture scores the region's own share of it, the part "area";
repainting the whole face comes close to that. Faces that already show the target expression are
left out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .base import METRICS, Metric, NotMeasured, Score, by_face

if TYPE_CHECKING:
    from ..features.cache import Features


@METRICS.register("edit_localisation")
class EditLocalisation(Metric):
    title = "edit localisation"
    needs = ("labels:localisation",)
    higher_is_better = True
    systems = frozenset({"editor", "ground_truth"})  # no_edit changes no pixel

    def compute(self, features: Features) -> Score:
        # faces x emotions x (share, area)
        localisation = features["labels:localisation"].astype(np.float64)
        self.require(len(localisation))
        share, area = localisation[..., 0], localisation[..., 1]
        if not np.isfinite(share).any():
            raise NotMeasured("no edit changes any pixel of a face that must change")
        by_emotion = dict(zip(features.emotions, share.T, strict=True))
        rows = np.isfinite(area).any(1)
        face_area = np.full(len(area), np.nan)
        face_area[rows] = np.nanmean(area[rows], 1)
        available = features.extractors.ground_truth.available
        note = f"regions from {'the ground truth' if available else 'fixed boxes'}"
        left_out = 1 - np.isfinite(share).mean()
        if left_out:
            note += f"; {100 * left_out:.0f} % of the edits left out (nothing to change)"
        return by_face(by_emotion, features, note).join(by_face({"area": face_area}, features))
