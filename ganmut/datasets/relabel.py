"""Source "relabel:SPEC": another source whose neutral training faces get the emotion that their
action units show.

Photographs found by web search are mostly labelled neutral, and most faces that show a rare emotion
are among the neutral ones. A discriminator that sees only two hundred angry faces overfits them.

The emotion of a face is predicted from its units by logistic regression with balanced classes,
out of fold, as in confident learning (Northcutt et al., JAIR 2021). A neutral face takes the
predicted emotion where that emotion is rare and its probability at least `relabel_threshold`. Faces
whose label has a probability below `min_label_prob` are left out. The other splits are unchanged,
so results are measured on the labels of the data.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from ganmut.datasets.base import SOURCES, BadData, FaceSet, digest, open_source
from ganmut.text import quantity, quote

RELABEL_THRESHOLD = 0.45  # probability under balanced classes
RARE = 0.1  # share of the faces below which an emotion is rare
FOLDS = 5
INVERSE_REGULARISATION = 0.01  # scikit-learn's C: rare emotions have few faces, so it is small


@SOURCES.register("relabel")
class Relabel:
    """The source SPEC with neutral training faces relabelled by their action units.

    relabel_threshold: least probability of a new label, above 0 and up to 1. min_label_prob: faces
    whose label is less probable are left out, except neutral ones; from 0 (none) to below 1. Other
    options belong to SPEC. Raises BadData.
    """

    def __init__(
        self,
        argument: str,
        relabel_threshold: float | str = RELABEL_THRESHOLD,
        min_label_prob: float | str = 0.0,
        **options: Any,
    ):
        if not argument:
            raise BadData("relabel needs the source to relabel, such as relabel:folder:PATH")
        self.relabel_threshold = _parse_float(relabel_threshold)
        self.min_label_prob = _parse_float(min_label_prob)
        if not 0 < self.relabel_threshold <= 1:
            raise BadData(
                "relabel: relabel_threshold must be above 0 and up to 1, "
                f"got {quote(relabel_threshold)}"
            )
        if not 0 <= self.min_label_prob < 1:
            raise BadData(
                f"relabel: min_label_prob must be from 0 to below 1, got {quote(min_label_prob)}"
            )
        self.source = open_source(argument, **options)

    @property
    def emotions(self) -> tuple[str, ...]:
        """The emotions of SPEC."""
        return self.source.emotions

    def load(
        self, split: str, size: int, n: int | None = None, *, seed: int = 0, progress: bool = True
    ) -> FaceSet:
        """One split of SPEC; "train" relabelled. Raises BadData for faces without action units."""
        faces = self.source.load(split, size, n, seed=seed, progress=progress)
        if split != "train":
            return faces
        if faces.units is None:
            raise BadData(
                f"{faces.source} has faces without action units, which relabel needs: "
                "see `python -m ganmut units`"
            )
        probs = predict_emotions(faces.units, faces.emotion, len(faces.emotions))
        emotion = relabel_neutral(probs, faces.emotion, self.relabel_threshold)
        if progress:
            count = emotion[faces.emotion == 0].bincount(minlength=len(faces.emotions)).tolist()
            counts = ", ".join(f"{e} {n}" for e, n in zip(faces.emotions, count, strict=True))
            tqdm.write(f"labels of the neutral faces: {counts}")
        fingerprint = digest("relabel", faces.fingerprint, emotion)
        faces = replace(
            faces, source=f"relabel:{faces.source}", emotion=emotion, fingerprint=fingerprint
        )
        return self._drop_improbable(faces, probs, progress) if self.min_label_prob else faces

    def _drop_improbable(self, faces: FaceSet, probs: Tensor, progress: bool) -> FaceSet:
        """The faces whose label has at least the probability `min_label_prob`."""
        probable = probs.gather(1, faces.emotion[:, None])[:, 0] >= self.min_label_prob
        # Neutral faces stay: the class needs weak expressions, so that edits have to be plain.
        (rows,) = torch.where(probable | (faces.emotion == 0))
        if lost := set(faces.emotion.tolist()) - set(faces.emotion[rows].tolist()):
            names = ", ".join(faces.emotions[kind] for kind in sorted(lost))
            raise BadData(
                f"relabel: min_label_prob={self.min_label_prob:g} leaves no face of {names}; "
                "lower it"
            )
        count = len(faces) - len(rows)
        if progress:
            tqdm.write(f"left out {quantity(count, 'face')} whose units do not show the label")
        counts = faces.skip_counts | {"emotion not shown": count}
        return replace(faces, skip_counts=counts).select(rows)


def relabel_neutral(probs: Tensor, emotion: Tensor, threshold: float = RELABEL_THRESHOLD) -> Tensor:
    """Labels (int64 N, 0 = neutral) after relabelling.

    A neutral face takes its most probable emotion (probs: N x emotions) where that emotion is rare
    and has at least `threshold` probability.
    """
    # Balanced classes made the probabilities: common emotions have no head start.
    prob, best = probs.max(1)
    rare = emotion.bincount(minlength=probs.shape[1]) < RARE * len(emotion)
    return torch.where((emotion == 0) & rare[best] & (prob >= threshold), best, emotion)


def predict_emotions(units: Tensor, emotion: Tensor, emotions: int) -> Tensor:
    """N x emotions: out-of-fold probabilities of the emotions, from units (N x 17 in [0, 1]) and
    labels (int64 N).

    Raises BadData where an emotion has fewer than FOLDS faces or scikit-learn is missing.
    """
    try:  # seconds to import, and only this needs it
        from sklearn.linear_model import LogisticRegression
        from sklearn.model_selection import StratifiedKFold, cross_val_predict
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler
    except ImportError:
        raise BadData("relabel needs scikit-learn: pip install 'ganmut[data]'") from None

    labels = emotion.cpu().numpy()
    present, count = np.unique(labels, return_counts=True)
    if len(present) < 2 or count.min() < FOLDS:
        raise BadData(
            f"relabel needs at least {FOLDS} faces of every emotion, "
            f"got {dict(zip(present.tolist(), count.tolist(), strict=True))}"
        )
    # Most units are near 0; the square root spreads small values.
    inputs = units.cpu().double().clamp(min=0).sqrt().numpy()
    classifier = make_pipeline(
        StandardScaler(),
        LogisticRegression(C=INVERSE_REGULARISATION, class_weight="balanced", max_iter=2000),
    )
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=0)
    probs = torch.zeros(len(labels), emotions, dtype=torch.float64)
    probs[:, present] = torch.from_numpy(
        cross_val_predict(classifier, inputs, labels, cv=folds, method="predict_proba")
    )
    return probs


def _parse_float(given: float | str) -> float:
    """The number of an option; nan, which no range contains, for text that is no number."""
    try:
        return float(given)
    except ValueError:
        return float("nan")
