"""Concentration: the share of an edit's absolute pixel change that falls where the expression needs
it. DefGAN's difference images (figures 5, 13, 14) as a number.

Where it is needed: on rendered faces wherever the same person under the expression asked for looks
different from the source, elsewhere in fixed boxes around the parts that the emotions' action units
move (bench/regions.py). A change spread evenly over the picture scores the regions' own share of
it, the part "area"; repainting the whole face comes close to that. Faces that already show what is
asked for are left out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bench.metrics.base import METRICS, Metric, NotMeasured, Score, by_face

if TYPE_CHECKING:
    from bench.feature_cache import Evidence


@METRICS.register("concentration")
class Concentration(Metric):
    title = "concentration"
    needs = ("labels:change",)
    higher_is_better = True
    rows = frozenset({"editor", "oracle"})  # returning the input changes nothing anywhere

    def compute(self, evidence: Evidence) -> Score:
        found = evidence["labels:change"].astype(np.float64)  # faces x emotions x (share, area)
        self.enough(len(found))
        if not np.isfinite(found[..., 0]).any():
            raise NotMeasured("no edit changes any pixel of a face that must change")
        share = dict(zip(evidence.emotions, found[..., 0].T, strict=True))
        known = np.isfinite(found[..., 1])
        needs = known.any(1)
        area = np.full(len(found), np.nan)
        area[needs] = np.nanmean(found[needs, :, 1], 1)
        regions = "the answer" if evidence.judges.answers.known else "fixed boxes"
        left_out = 1 - np.isfinite(found[..., 0]).mean()
        note = f"regions from {regions}"
        if left_out:
            note += f"; {100 * left_out:.0f} % of the edits left out (nothing to change)"
        return by_face(share, evidence, note).join(by_face({"area": area}, evidence))
