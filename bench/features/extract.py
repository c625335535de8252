"""Features: what is computed from each edited picture. Every frozen network runs once per picture;
metrics read features, not pictures.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from skimage.metrics import structural_similarity
from torch import Tensor

from ganmut import images as pictures
from ganmut.text import quote

from ..stats import NotMeasured
from . import regions
from .ground_truth import GroundTruth


@dataclass
class Extractors:
    """The frozen networks by role ("emotion", "identity", "units", "inception", and the second
    judges' "second_emotion" and "second_identity"), and the ground truth of the test faces. The
    roles "ground_truth" and "regions" have no network.

    missing: role -> why it has no network; looking it up raises NotMeasured with that reason.
    """

    networks: dict[str, Any]
    emotions: tuple[str, ...]
    ground_truth: GroundTruth
    missing: dict[str, str] = field(default_factory=dict)
    device: str = "cpu"

    def __getitem__(self, role: str) -> Any:
        if role in self.missing:
            raise NotMeasured(self.missing[role])
        if role not in self.networks:
            raise NotMeasured(f"no extractor for {role}")
        return self.networks[role]

    def sha256(self, role: str) -> str:
        """The identifier of a role's network in caches and results; raises NotMeasured where there
        is none."""
        if role == "regions":
            return f"{'rendered' if self.ground_truth.available else 'boxes'} {regions.VERSION}"
        if role != "ground_truth":
            return str(self[role].sha256)
        if not self.ground_truth.available:
            raise NotMeasured("only rendered faces have a ground truth")
        return "rendered"

    def emotion_columns(self, role: str = "emotion") -> list[int]:
        """The output column of each emotion of the data, of the classifier of a role; raises
        ValueError where it has none."""
        labels = tuple(self[role].emotions)
        absent = [emotion for emotion in self.emotions if emotion not in labels]
        if absent:
            raise ValueError(
                f"the emotion extractor has no {', '.join(absent)}; it has {', '.join(labels)}"
            )
        return [labels.index(emotion) for emotion in self.emotions]


@dataclass
class EditedBatch:
    """One batch of edited pictures, with the outputs of the extractors that have run on it.

    images: uint8 m x 3 x S x S. faces: `[m]`, positions of the sources. targets: `[m]`, index of
    the target emotion or -1.
    """

    images: Tensor
    faces: Tensor
    targets: Tensor
    extractors: Extractors
    _outputs: dict[str, Any] = field(default_factory=dict)

    def extraction(self, role: str) -> Any:
        """The output of a role's network for this batch."""
        # Several features of a batch share a network, which is the slow part.
        if role not in self._outputs:
            self._outputs[role] = self.extractors[role](self.images)
        return self._outputs[role]

    def require_targets(self, feature: str) -> None:
        """Raises ValueError unless every edit has a target emotion."""
        if (self.targets < 0).any():
            raise ValueError(
                f"the feature {quote(feature)} needs edits with a target emotion, such as labels"
            )

    def ground_truth(self, feature: str) -> Tensor:
        """uint8 m x 3 x S x S: the same people rendered with the target emotions."""
        if "ground_truth" not in self._outputs:
            self.require_targets(feature)
            rendered = torch.empty(0)
            # By emotion: the cache of the ground truth holds one file an emotion.
            for target in self.targets.unique().tolist():
                rows = (self.targets == target).nonzero()[:, 0]
                emotion = self.extractors.emotions[target]
                part = self.extractors.ground_truth.render(self.faces[rows], emotion)
                if not len(rendered):
                    rendered = part.new_empty(len(self.faces), *part.shape[1:])
                rendered[rows] = part
            self._outputs["ground_truth"] = rendered
        return self._outputs["ground_truth"]


def emotion_features(batch: EditedBatch, role: str = "emotion") -> np.ndarray:
    """m x d: the emotion classifier's penultimate features."""
    return _array(batch.extraction(role).features)


def softmax(batch: EditedBatch, role: str = "emotion") -> np.ndarray:
    """m x emotions: the classifier's probabilities in the data's order of emotions. Emotions that
    the data lacks are dropped and the rest is normalised to 1."""
    outputs = torch.as_tensor(batch.extraction(role).outputs)
    # Classifiers order emotions by their own training data.
    columns = outputs[:, batch.extractors.emotion_columns(role)].double()
    return _array(columns / columns.sum(1, keepdim=True))


def embedding(batch: EditedBatch, role: str = "identity") -> np.ndarray:
    """m x d: L2-normalised identity embeddings."""
    return _array(batch.extraction(role).outputs)


def units(batch: EditedBatch) -> np.ndarray:
    """m x 17: action units in 0..1."""
    return _array(batch.extraction("units").outputs)


def inception(batch: EditedBatch) -> np.ndarray:
    """m x 2048: pool features of torch-fidelity's inception-v3-compat."""
    return _array(batch.extraction("inception").features)


def ground_truth_error(batch: EditedBatch) -> np.ndarray:
    """m x 2: mean absolute difference (grey levels, 0..255) and SSIM of the luma, against the
    ground truth."""
    truth = batch.ground_truth("ground_truth_error").float()
    # At the size of the data: editors of all sizes are compared on the same pixels.
    edited = _resize(batch.images, truth.shape[-1])
    l1 = (edited - truth).abs().mean((1, 2, 3)).numpy()
    luma = zip(pictures.luma(edited)[:, 0], pictures.luma(truth)[:, 0], strict=True)
    ssim = [structural_similarity(a.numpy(), b.numpy(), data_range=255.0) for a, b in luma]
    return np.stack([l1, np.array(ssim)], 1).astype(np.float32)


def localisation(batch: EditedBatch) -> np.ndarray:
    """m x 2: the share of the absolute pixel change from the source that lies in the region of the
    expression (bench/features/regions.py), and that region's share of the picture.

    NaN in the first where the edit changes nothing, in both where the region is empty.
    """
    ground_truth = batch.extractors.ground_truth
    source = ground_truth.faces.faces(batch.faces).float()
    edited = _resize(batch.images, source.shape[-1])
    change = (edited - source).abs().sum(1)
    if ground_truth.available:
        region = regions.changed_region(source, batch.ground_truth("localisation"))
    else:
        region = _boxes(batch, source.shape[-1])
    inside, total = (change * region).sum((1, 2)), change.sum((1, 2))
    area = region.float().mean((1, 2))
    # No change lies neither inside nor outside: NaN leaves the face out. The clamp only keeps the
    # division of those rows finite; sums of whole grey levels are else at least 1.
    empty, nan = area == 0, torch.tensor(float("nan"))
    share = torch.where(empty | (total == 0), nan, inside / total.clamp(min=1))
    return _array(torch.stack([share, torch.where(empty, nan, area)], 1))


def images(batch: EditedBatch) -> np.ndarray:
    """m x 3 x S x S uint8: the pictures themselves; large, and therefore never cached."""
    return batch.images.numpy()


def _boxes(batch: EditedBatch, size: int) -> Tensor:
    """bool m x S x S: the boxes of the target emotion and of the source emotion."""
    batch.require_targets("localisation")
    emotions = batch.extractors.emotions
    boxes = torch.stack([regions.box_region(emotion, size) for emotion in emotions])
    # Both: an edit has to undo the source's expression as well.
    source = batch.extractors.ground_truth.faces.emotion[batch.faces]
    return boxes[batch.targets] | boxes[source]


def _resize(images: Tensor, size: int) -> Tensor:
    """float m x 3 x size x size in grey levels, rounded as uint8 would be."""
    # Rounded, so that resizing does not add a change that no file could hold.
    return pictures.resize(images.float(), size).round().clamp(0, 255)


def _array(values: Any) -> np.ndarray:
    return torch.as_tensor(values).detach().float().cpu().numpy()


def second(name: str) -> str:
    """The name of a role, feature or metric of the second judge."""
    return f"second_{name}"


NON_NETWORK_ROLES = frozenset({"", "ground_truth", "regions"})
# Feature -> how it is computed, and the role of the extractor that it needs.
FEATURES: dict[str, tuple[Callable[[EditedBatch], np.ndarray], str]] = {
    "emotion_features": (emotion_features, "emotion"),
    "softmax": (softmax, "emotion"),
    "embedding": (embedding, "identity"),
    "units": (units, "units"),
    "inception": (inception, "inception"),
    "ground_truth_error": (ground_truth_error, "ground_truth"),
    "localisation": (localisation, "regions"),
    "images": (images, ""),
}
# The same features of the second judges: networks of the roles second_emotion and second_identity.
SECOND: tuple[tuple[Callable[..., np.ndarray], str], ...] = (
    (emotion_features, "emotion"),
    (softmax, "emotion"),
    (embedding, "identity"),
)
FEATURES |= {
    second(feature.__name__): (functools.partial(feature, role=second(role)), second(role))
    for feature, role in SECOND
}


def second_need(need: str) -> str:
    """A need ("edit set:feature") as the second judge meets it; the same where it has no such
    feature."""
    edit_set, feature = need.split(":")
    return f"{edit_set}:{second(feature)}" if second(feature) in FEATURES else need
