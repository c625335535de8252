"""Source "relabel:SPEC": the faces of another source, of which those labelled neutral whose action
units clearly show a rare emotion are labelled with it.

Photographs gathered by searching are neutral where nobody looked closely, and poor in what people
seldom show: most of their frowns and raised brows are among the neutral ones. A critic that knows
two hundred angry faces knows them by heart; with those that were overlooked it knows anger.

The units are read by logistic regression, with every emotion weighing the same, and no face is
judged by a regression that has seen it (confident learning: Northcutt et al., JAIR 2021). With
`doubt` the faces are left out whose units do not show the emotion of their label. Only the training
split changes: what is measured is measured with the labels as they came.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from ganmut.datasets.base import SOURCES, BadData, FaceSet, digest, open_source

CERTAIN = 0.45  # of an emotion, where all are equally likely beforehand
RARE = 0.1  # share of the faces; an emotion that there is plenty of needs no faint examples
FOLDS = 5
STRENGTH = 0.01  # scikit-learn's C: few faces of an emotion want it small


@SOURCES.register("relabel")
class Relabel:
    """The source of a spec with its overlooked emotions; certain: least probability of a new label,
    above 0 and up to 1; doubt: a face whose emotion is less probable is left out unless it is
    labelled neutral, from 0 (none) to below 1. Other options are the inner source's. Raises
    BadData."""

    def __init__(
        self,
        argument: str,
        certain: float | str = CERTAIN,
        doubt: float | str = 0.0,
        **options: Any,
    ):
        if not argument:
            raise BadData("relabel needs the source to label anew, such as relabel:folder:PATH")
        self.certain, self.doubt = probability(certain), probability(doubt)
        if not 0 < self.certain <= 1:
            raise BadData(f"relabel: certain must be above 0 and up to 1, got {certain!r}")
        if not 0 <= self.doubt < 1:
            raise BadData(f"relabel: doubt must be from 0 to below 1, got {doubt!r}")
        self.source = open_source(argument, **options)

    @property
    def emotions(self) -> tuple[str, ...]:
        """Those of the inner source."""
        return self.source.emotions

    def load(
        self, split: str, size: int, n: int | None = None, *, seed: int = 0, progress: bool = True
    ) -> FaceSet:
        """One split; of "train" the neutral faces labelled anew, and what is in doubt left out."""
        faces = self.source.load(split, size, n, seed=seed, progress=progress)
        if split != "train":
            return faces
        if faces.units is None:
            raise BadData(
                f"{faces.source} has faces without action units to label by: "
                "see `python -m ganmut units`"
            )
        shares = read(faces.units, faces.emotion, len(faces.emotions))
        emotion = overlooked(shares, faces.emotion, self.certain)
        if progress:
            count = emotion[faces.emotion == 0].bincount(minlength=len(faces.emotions)).tolist()
            told = zip(faces.emotions, count, strict=True)
            tqdm.write(f"of the neutral faces are {', '.join(f'{e} {n}' for e, n in told)}")
        fingerprint = digest("relabel", faces.fingerprint, emotion)
        faces = replace(
            faces, source=f"relabel:{faces.source}", emotion=emotion, fingerprint=fingerprint
        )
        if not self.doubt:
            return faces
        # Neutral stays: a critic that has seen faint emotions called neutral wants clear ones.
        shown = shares.gather(1, emotion[:, None])[:, 0] >= self.doubt
        (kept,) = torch.where(shown | (emotion == 0))
        lost = set(emotion.tolist()) - set(emotion[kept].tolist())
        if lost:
            names = ", ".join(faces.emotions[kind] for kind in sorted(lost))
            raise BadData(f"relabel: doubt={self.doubt:g} leaves no face of {names}; lower it")
        reason = {"emotion not shown": len(faces) - len(kept)}
        if progress:
            count = reason["emotion not shown"]
            tqdm.write(f"left out, for they do not show their label: {count} faces")
        return replace(faces, skip_counts=faces.skip_counts | reason).select(kept)


def probability(given: float | str) -> float:
    """The number of an option; nan, which is in no range, for what is none."""
    try:
        return float(given)
    except ValueError:
        return float("nan")


def overlooked(shares: Tensor, emotion: Tensor, certain: float = CERTAIN) -> Tensor:
    """Labels (int64 N, 0 = neutral) after neutral faces took the rare emotion that `shares` (N x
    emotions) give at least `certain` probability."""
    share, best = shares.max(1)
    rare = emotion.bincount(minlength=shares.shape[1]) < RARE * len(emotion)
    return torch.where((emotion == 0) & rare[best] & (share >= certain), best, emotion)


def read(units: Tensor, emotion: Tensor, emotions: int) -> Tensor:
    """N x emotions: how probable an emotion is by the units (N x 17 in [0, 1]) of a face, read by
    what the other faces' labels (int64 N) teach; raises BadData where an emotion has fewer than
    FOLDS faces."""
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
            f"relabel needs at least {FOLDS} faces of every emotion to learn their units from, "
            f"got {dict(zip(present.tolist(), count.tolist(), strict=True))}"
        )
    # Units are mostly near 0; the root spreads what is faint.
    seen = units.cpu().double().clamp(min=0).sqrt().numpy()
    reader = make_pipeline(
        StandardScaler(),
        LogisticRegression(C=STRENGTH, class_weight="balanced", max_iter=2000),
    )
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=0)
    shares = torch.zeros(len(labels), emotions, dtype=torch.float64)
    shares[:, present] = torch.from_numpy(
        cross_val_predict(reader, seen, labels, cv=folds, method="predict_proba")
    )
    return shares
