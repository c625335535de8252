"""Views: what is kept of an edited picture. Features instead of pictures, each frozen network run
once a picture.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from skimage.metrics import structural_similarity
from torch import Tensor

from bench import regions
from bench.ground_truth import Answers
from bench.score import NotMeasured
from ganmut import images as pictures

LUMA = torch.tensor([0.299, 0.587, 0.114])[:, None, None]


@dataclass
class Judges:
    """The frozen networks by role ("emotion", "identity", "units", "inception") and the answers,
    with the test faces. Two roles are no networks: "answers" and "regions".

    `missing` says why a role is empty; asking for it raises NotMeasured with that sentence.
    """

    networks: dict[str, Any]
    emotions: tuple[str, ...]
    answers: Answers
    missing: dict[str, str] = field(default_factory=dict)
    device: str = "cpu"

    def __getitem__(self, role: str) -> Any:
        if role in self.missing:
            raise NotMeasured(self.missing[role])
        if role not in self.networks:
            raise NotMeasured(f"no {role} extractor was given")
        return self.networks[role]

    def sha256(self, role: str) -> str:
        """What names the network of a role in caches and results; raises NotMeasured where there is
        none.
        """
        if role == "regions":
            return f"{'rendered' if self.answers.known else 'boxes'} {regions.VERSION}"
        if role != "answers":
            return str(self[role].sha256)
        if not self.answers.known:
            raise NotMeasured("only rendered faces have an answer to compare with")
        return "rendered"

    def columns(self) -> list[int]:
        """Where the data's emotions stand among the classifier's."""
        known = tuple(self["emotion"].emotions)
        absent = [emotion for emotion in self.emotions if emotion not in known]
        if absent:
            raise ValueError(
                f"the emotion extractor does not know {', '.join(absent)}; "
                f"it knows {', '.join(known)}"
            )
        return [known.index(emotion) for emotion in self.emotions]


@dataclass
class Seen:
    """One batch of edited pictures and what the networks said of them: every network looks once."""

    images: Tensor
    faces: Tensor
    wanted: Tensor
    judges: Judges
    _kept: dict[str, Any] = field(default_factory=dict)

    def by(self, role: str) -> Any:
        """The Extraction of a network for this batch."""
        if role not in self._kept:
            self._kept[role] = self.judges[role](self.images)
        return self._kept[role]


def features(seen: Seen) -> np.ndarray:
    """m x d: the classifier's penultimate features."""
    return _array(seen.by("emotion").features)


def softmax(seen: Seen) -> np.ndarray:
    """m x emotions: the classifier's probabilities, in the data's order of emotions; where it knows
    more emotions than the data has, those it shares add up to 1.
    """
    known = torch.as_tensor(seen.by("emotion").outputs)[:, seen.judges.columns()].double()
    return _array(known / known.sum(1, keepdim=True))


def embedding(seen: Seen) -> np.ndarray:
    """m x d: L2-normalised identity embeddings."""
    return _array(seen.by("identity").outputs)


def units(seen: Seen) -> np.ndarray:
    """m x 17: action units in 0..1."""
    return _array(seen.by("units").outputs)


def inception(seen: Seen) -> np.ndarray:
    """m x 2048: pool features of torch-fidelity's inception-v3-compat."""
    return _array(seen.by("inception").features)


def answer(seen: Seen) -> np.ndarray:
    """m x 2: mean absolute difference (grey levels, 0..255) and SSIM of the luma, against the
    rendered truth.
    """
    truth = _truth(seen, "answer").float()
    edited = pictures.resize(seen.images.float(), truth.shape[-1]).round().clamp(0, 255)
    l1 = (edited - truth).abs().mean((1, 2, 3)).numpy()
    return np.stack([l1, _ssim((edited * LUMA).sum(1), (truth * LUMA).sum(1))], 1).astype(
        np.float32
    )


def change(seen: Seen) -> np.ndarray:
    """m x 2: the share of the absolute pixel change, from the source, that lies where the
    expression needs it (bench/regions.py), and the share of the picture that this is.

    NaN in the first where the edit changes nothing, in both where nothing need change.
    """
    known = seen.judges.answers.faces
    source = known.faces(seen.faces).float()
    edited = pictures.resize(seen.images.float(), source.shape[-1]).round().clamp(0, 255)
    moved = (edited - source).abs().sum(1)
    if seen.judges.answers.known:
        needed = regions.rendered(source, _truth(seen, "change"))
    else:
        needed = _boxes(seen, source.shape[-1])
    inside, whole = (moved * needed).sum((1, 2)), moved.sum((1, 2))
    area = needed.float().mean((1, 2))
    nothing, gap = area == 0, torch.tensor(float("nan"))
    share = torch.where(nothing | (whole == 0), gap, inside / whole.clamp(min=1))
    return _array(torch.stack([share, torch.where(nothing, gap, area)], 1))


def _boxes(seen: Seen, size: int) -> Tensor:
    """bool m x S x S: the boxes of the emotion asked for and of the one that the source shows."""
    _asked(seen, "change")
    shown = seen.judges.answers.faces.emotion[seen.faces]
    every = torch.stack([regions.boxes(emotion, size) for emotion in seen.judges.emotions])
    return every[seen.wanted] | every[shown]


def _asked(seen: Seen, view: str) -> None:
    if (seen.wanted < 0).any():
        raise ValueError(f"the view {view!r} needs a plan that asks for an emotion, such as labels")


def _truth(seen: Seen, view: str) -> Tensor:
    """uint8 m x 3 x S x S: the same people rendered with the emotions asked for."""
    if "truth" not in seen._kept:
        _asked(seen, view)
        truth = torch.empty(0)
        for which in seen.wanted.unique().tolist():
            rows = (seen.wanted == which).nonzero()[:, 0]
            rendered = seen.judges.answers.render(seen.faces[rows], seen.judges.emotions[which])
            if not len(truth):
                truth = rendered.new_empty(len(seen.faces), *rendered.shape[1:])
            truth[rows] = rendered
        seen._kept["truth"] = truth
    return seen._kept["truth"]


def _ssim(a: Tensor, b: Tensor) -> np.ndarray:
    pairs = zip(a.numpy(), b.numpy(), strict=True)
    return np.array([structural_similarity(x, y, data_range=255.0) for x, y in pairs])


def images(seen: Seen) -> np.ndarray:
    """m x 3 x S x S uint8: the pictures themselves, for the few metrics that need pixels; large, so
    never the default.
    """
    return seen.images.numpy()


def _array(values: Any) -> np.ndarray:
    return torch.as_tensor(values).detach().float().cpu().numpy()


NETWORKLESS = frozenset({"", "answers", "regions"})  # roles that no network fills
VIEWS: dict[str, tuple[Callable[[Seen], np.ndarray], str]] = {
    "features": (features, "emotion"),
    "softmax": (softmax, "emotion"),
    "embedding": (embedding, "identity"),
    "units": (units, "units"),
    "inception": (inception, "inception"),
    "answer": (answer, "answers"),
    "change": (change, "regions"),
    "images": (images, ""),
}
