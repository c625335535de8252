"""The parameters of rendered faces: identity, expression, pose, light and camera of each sample.

Sample i of a split comes from a counter-based generator (Philox) keyed by (seed, split, i), so it
does not depend on the batch, the process or the shard. `with_expression` gives the same person,
pose, light and camera another expression: the ground truth of an edit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from ganmut.datasets.base import BadData, digest
from ganmut.emotions import EMOTIONS, UNITS, emotion_index, prototype_units
from ganmut.text import quote

VERSION = 3  # part of the fingerprint; raise it when the faces of a seed change
# A split's place is part of its samples' key: new ones come last.
SPLITS = ("train", "extractor", "test", "validation")
BALANCED = ("test", "validation")  # every emotion equally often, as AffectNet's validation set
SAMPLES_PER_PERSON = 7  # consecutive samples of a split show the same person
# Imbalanced like AffectNet: neutral and happy dominate, disgusted is rare. Order of EMOTIONS.
TRAIN_PRIOR = (0.26, 0.35, 0.12, 0.08, 0.05, 0.04, 0.10)
# P(label) is proportional to weight ** sharpness over the emotions of the mixture. Annotators agree
# more on whether there is an emotion than on which one, so neutral is sharper: a weak smile is
# labelled happy. A classifier that knows the mixture gets 73 % of the balanced test labels right.
LABEL_SHARPNESS, NEUTRAL_SHARPNESS = 0.9, 4.0
INTENSITY_BETA = (2.4, 1.3)  # parameters of the intensity's beta distribution
MIXTURE_DIRICHLET = (5.5, 1.0, 0.45)  # of the shares of the first, second and third emotion
PROTOTYPES = np.array([prototype_units(name) for name in EMOTIONS], np.float32)

TRAITS = (
    "sex", "age", "tone", "undertone", "head_w", "crown", "mid", "chin_y", "jaw", "chin_size",
    "eye_x", "eye_y", "eye_w", "eye_up", "eye_low", "eye_tilt", "eye_hood", "iris_hue",
    "iris_light", "brow_y", "brow_gap", "brow_arch", "brow_thick", "brow_dense", "nose_w",
    "nose_len", "nose_high", "nose_tip", "mouth_w", "mouth_y", "mouth_bend", "lip_up", "lip_low",
    "lip_red", "cheek", "fold", "bags", "freckles", "uneven", "hair_line", "hair_open", "hair_side",
    "hair_end", "hair_peak", "hair_part", "hair_curl", "fringe", "bald", "melanin", "redness",
    "grey", "stubble", "beard", "moustache", "glasses", "glass_w", "glass_round", "lip_stick",
    "shirt",
)  # fmt: skip


@dataclass(frozen=True)
class FaceParameters:
    """All parameters of B rendered faces; float32 on the CPU unless said otherwise.

    index, person, emotion, seed: int64 B. identity: B x len(TRAITS). emotion_units: B x 7 x 17 in
    0..1, the units of each emotion at full intensity for this person. units: B x 17 in 0..1, order
    of UNITS. mixture: B x 7, weights of the emotions, sum 1. pose: B x 3, yaw (nose to the right),
    pitch (nose up), roll (clockwise), degrees. gaze: B x 2, px. lights: B x 9. camera: B x 7.
    """

    TRAITS: ClassVar[tuple[str, ...]] = TRAITS
    index: Tensor
    person: Tensor
    emotion: Tensor
    seed: Tensor
    identity: Tensor
    emotion_units: Tensor
    units: Tensor
    mixture: Tensor
    pose: Tensor
    gaze: Tensor
    lights: Tensor
    camera: Tensor

    def __len__(self) -> int:
        return len(self.index)

    def select(self, indices: Tensor | Sequence[int] | slice) -> FaceParameters:
        """The parameters of some of the faces, in the order given."""
        rows = indices if isinstance(indices, slice) else torch.as_tensor(indices)
        return FaceParameters(**{f.name: getattr(self, f.name)[rows] for f in fields(self)})

    @property
    def fingerprint(self) -> str:
        """16 hex digits of a hash over all values and the renderer's VERSION."""
        return digest(VERSION, *(getattr(self, f.name) for f in fields(self)))


def sample_parameters(
    seed: int, split: str, indices: Sequence[int] | Tensor | range
) -> FaceParameters:
    """The parameters of the samples `indices` (any order, repeats allowed) of a split ("train",
    "extractor", "test", "validation").

    Raises BadData for an unknown split or a negative index.
    """
    if split not in SPLITS:
        raise BadData(f"unknown split {quote(split)}; there are: {', '.join(SPLITS)}")
    rows = [int(i) for i in indices]
    if not rows or min(rows) < 0:
        raise BadData(f"indices must be whole numbers from 0 on, at least one; got {rows[:8]}")
    people = {p: _sample_person(seed, split, p) for p in {i // SAMPLES_PER_PERSON for i in rows}}
    drawn = [_sample_face(seed, split, i, people[i // SAMPLES_PER_PERSON]) for i in rows]
    columns = {f.name: np.stack([d[f.name] for d in drawn]) for f in fields(FaceParameters)}
    whole = ("index", "person", "emotion", "seed")
    return FaceParameters(
        **{
            name: torch.from_numpy(v.astype(np.int64 if name in whole else np.float32))
            for name, v in columns.items()
        }
    )


def with_expression(
    parameters: FaceParameters,
    emotion: str | None = None,
    intensity: float | Tensor = 1.0,
    *,
    units: Tensor | None = None,
) -> FaceParameters:
    """The same people, poses, lights and cameras with another expression.

    Either an emotion at an intensity (0..1, one number or B), which scales the person's
    `emotion_units`, or units (17 or B x 17, 0..1). Raises ValueError for numbers outside 0..1 or
    not finite, and when both or neither are given.
    """
    if units is not None and emotion is None:
        units = torch.as_tensor(units, dtype=torch.float32).cpu()
        if units.shape[-1] != len(UNITS):
            raise ValueError(f"units need {len(UNITS)} columns, got shape {tuple(units.shape)}")
        _check_unit_range("units", units)
        return replace(parameters, units=units.expand(len(parameters), -1).clone())
    if emotion is None or units is not None:
        raise ValueError("give either an emotion or units")
    strength = torch.as_tensor(intensity, dtype=torch.float32).cpu().expand(len(parameters))
    _check_unit_range("intensity", strength)
    which = emotion_index(emotion)
    mixture = torch.zeros_like(parameters.mixture)
    mixture[:, 0] = 1 - strength
    mixture[:, which] += strength
    return replace(
        parameters,
        units=(parameters.emotion_units[:, which] * strength[:, None]),
        mixture=mixture,
        emotion=torch.full_like(parameters.emotion, which),
    )


def _check_unit_range(name: str, values: Tensor) -> None:
    # NaN fails both comparisons, so it is refused as well.
    if not bool(((values >= 0) & (values <= 1)).all()):
        raise ValueError(
            f"{name} must be numbers from 0 to 1; got {values.flatten()[:17].tolist()}"
        )


def _generator(seed: int, split: str, stream: int, number: int) -> np.random.Generator:
    # Philox counts from a key: any face is drawn alone, in any order, with the same result.
    key = np.array([seed % 2**64, (SPLITS.index(split) * 2 + stream) << 48 | number], np.uint64)
    return np.random.Generator(np.random.Philox(key=key))


def _sample_person(seed: int, split: str, number: int) -> dict[str, np.ndarray]:
    """Identity and emotion units of one person.

    The number of draws is fixed, so that a change of one trait leaves the others as they are.
    """
    g = _generator(seed, split, 0, number)
    u, n = g.random(64), g.standard_normal(64)
    t = _sample_body(u, n)
    t |= _sample_features(t, u, n)
    t |= _sample_hair(t, u, n)
    # People show one emotion by the same units, more or less strongly; a log-normal factor is never
    # negative.
    gain = np.exp(
        g.normal(0, 0.10, (1, len(UNITS))) + g.normal(0, 0.08, (len(EMOTIONS), len(UNITS)))
    )
    emotion_units = PROTOTYPES * gain
    # A person adds a few units, weakly, that the prototype of the emotion does not have.
    extra = (g.random(emotion_units.shape) < 0.06) * g.uniform(0, 0.18, emotion_units.shape)
    extra[:, -1] = 0  # unit 45 (blink) is no part of an emotion
    unused = (PROTOTYPES == 0) & (PROTOTYPES.sum(1, keepdims=True) > 0)
    emotion_units = np.where(unused, extra, emotion_units)
    return {
        "person": np.asarray(SPLITS.index(split) * 10**9 + number, np.int64),
        "identity": np.array([t[name] for name in TRAITS], np.float32),
        "emotion_units": emotion_units.clip(0, 1).astype(np.float32),
    }


def _sample_body(u: np.ndarray, n: np.ndarray) -> dict[str, float]:
    sex = float(np.clip((u[0] < 0.5) * 0.72 + 0.14 + 0.1 * n[0], 0, 1))  # 0 feminine .. 1 masculine
    age = float(u[1] ** 1.7)  # 0 is about 18 years, 1 about 80
    return {
        "sex": sex,
        "age": age,
        "tone": float(u[2]),
        "undertone": float(np.clip(n[1], -2, 2)),
        "head_w": 43.4 + 1.3 * sex + 1.6 * n[2],
        "crown": 82 + 3 * n[3],
        "mid": -8 + 2 * n[4],
        "chin_y": 61.5 + 1.5 * sex + 2.0 * n[5],
        "jaw": float(np.clip(1.85 + 0.75 * sex + 0.22 * n[6], 1.5, 3.2)),
        "chin_size": 1 + 0.4 * sex + 0.3 * n[7],
    }


def _sample_features(t: dict[str, float], u: np.ndarray, n: np.ndarray) -> dict[str, float]:
    sex, age, tone = t["sex"], t["age"], t["tone"]
    return {
        "eye_x": 20.1 + 1.0 * n[8],
        "eye_y": -12 + 0.5 * n[9],
        "eye_w": 10.6 - 0.6 * sex + 0.5 * n[10],
        "eye_up": float(np.clip(3.65 - 0.35 * sex - 0.4 * age + 0.26 * n[11], 2.9, 4.3)),
        "eye_low": float(np.clip(3.0 + 0.2 * n[12], 2.5, 3.5)),
        "eye_tilt": 0.7 - 0.5 * age + 0.75 * n[13],
        "eye_hood": float(np.clip(0.25 + 0.45 * age + 0.3 * n[14], 0, 1)),
        "iris_hue": float(u[3]),
        "iris_light": float(np.clip((u[4] - tone - 0.12) * 1.3, 0, 1)),
        "brow_y": -22.6 + 1.2 * sex + 1.0 * n[15],
        "brow_gap": 0.9 * n[16],
        "brow_arch": float(np.clip(3.0 - 1.3 * sex + 0.8 * n[17], 0.3, 5)),
        "brow_thick": float(np.clip(1.65 + 1.0 * sex + 0.35 * n[18], 1.1, 3.6)),
        "brow_dense": float(np.clip(0.98 + 0.12 * n[19] - 0.15 * age, 0.55, 1.15)),
        "nose_w": 9.3 + 1.1 * sex + 2.2 * (tone - 0.4) + 1.1 * n[20],
        "nose_len": -0.8 + 1.2 * sex + 0.8 * n[21],
        "nose_high": 13.6 + 2.2 * sex - 2 * (tone - 0.4) + 1.5 * n[22],
        "nose_tip": float(np.clip(n[23], -2, 2)),
        "mouth_w": 15.9 + 0.9 * sex + 1.0 * n[24],
        "mouth_y": 34.0 + 0.5 * sex + 1.1 * n[25],
        "mouth_bend": -0.1 + 0.45 * n[26],
        "lip_up": float(np.clip(4.6 - 1.2 * sex - 0.9 * age + 0.8 * tone + 0.5 * n[27], 1.8, 6.4)),
        "lip_low": float(np.clip(6.2 - 1.1 * sex - 0.9 * age + 0.8 * tone + 0.6 * n[28], 2.8, 8.2)),
        "lip_red": float(np.clip(0.5 - 0.25 * sex + 0.2 * n[29], 0, 1)),
        "cheek": 1 + 0.35 * n[30],
        "fold": float(np.clip(0.15 + 0.75 * age + 0.15 * n[31], 0, 1.2)),
        "bags": float(np.clip(0.2 + 0.5 * age + 0.25 * n[32], 0, 1.2)),
        "freckles": float((u[5] < 0.2) * (tone < 0.45) * (0.4 + 0.6 * u[6])),
        "uneven": float(np.clip(0.09 * n[33], -0.2, 0.2)),
        "lip_stick": float((u[7] < 0.3) * (sex < 0.5) * (0.3 + 0.6 * u[8])),
        "shirt": float(u[9]),
    }


def _sample_hair(t: dict[str, float], u: np.ndarray, n: np.ndarray) -> dict[str, float]:
    sex, age, tone = t["sex"], t["age"], t["tone"]
    male = sex > 0.5
    style = u[10]
    bald = male and u[11] < 0.06 + 0.22 * age
    long = not bald and style < (0.12 if male else 0.68)
    fringe = u[12] < (0.15 if male else 0.3)
    volume = 5.5 + 7 * u[13] if long else 1.5 + 3.5 * u[13]
    bearded = male and u[14] < 0.34 and not u[15] < 0.1
    dark = float(np.clip(0.35 + 0.9 * tone + 0.3 * n[34], 0.05, 1))
    return {
        "hair_line": -52 + 3 * n[35] - (9 * age * u[16] if male else 0),
        "hair_open": 39.5 + 1.2 * n[36],
        "hair_side": volume,
        "hair_end": (200.0 if u[17] < 0.75 else 34 + 12 * n[37]) if long else -10 + 7 * n[38],
        "hair_peak": (8 * age + 3 * abs(n[39])) if male else 1.5 * abs(n[39]),
        "hair_part": float(np.clip(14 * n[40], -28, 28)),
        "hair_curl": float(np.clip(0.15 + 0.4 * abs(n[41]) + 0.3 * (tone > 0.7), 0, 1.2)),
        "fringe": float(fringe and not bald) * (12 + 8 * u[18]),
        "bald": float(bald),
        "melanin": dark,
        "redness": float(u[19] ** 3 * (dark < 0.75) * (tone < 0.5)),
        "grey": float(np.clip((age - 0.5) * 1.9 + 0.35 * n[42], 0, 1))
        * (1 if male or u[20] < 0.6 else 0.3),
        "stubble": float(np.clip(0.3 + 0.35 * n[43], 0, 1)) if male else 0.0,
        "beard": float(bearded) * (0.6 + 0.4 * u[21]),
        "moustache": float(bearded or (male and u[22] < 0.08)) * (0.6 + 0.4 * u[21]),
        "glasses": float(u[23] < 0.11 + 0.1 * age),
        "glass_w": 13.8 + 0.7 * n[44],
        "glass_round": 2.2 + 2.2 * u[24],
    }


def _sample_face(
    seed: int, split: str, number: int, person: dict[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """One sample of a person: mixture, label, units, pose, light and camera."""
    g = _generator(seed, split, 1, number)
    label = (
        number % len(EMOTIONS) if split in BALANCED else int(g.choice(len(EMOTIONS), p=TRAIN_PRIOR))
    )
    mixture = _sample_mixture(g, label)
    units = _mix_units(mixture, person["emotion_units"])
    # No two showings are equal, and units that have nothing to do with the emotion move weakly.
    units = units * np.exp(g.normal(0, 0.22, units.shape))
    units += (g.random(units.shape) < 0.12) * np.abs(g.normal(0, 0.10, units.shape))
    units[-1] = max(units[-1], (g.random() < 0.03) * g.uniform(0.3, 1.0))  # a blink
    pose = np.clip(g.normal(0, (6.5, 4.0, 1.6)), (-14, -9, -4), (14, 9, 4))
    lights = np.concatenate(
        [
            # key: azimuth, height, power, warmth
            [g.normal(0, 34), g.uniform(8, 46), g.uniform(0.85, 1.25), g.normal(0, 0.5)],
            [
                g.uniform(0.12, 0.45),
                g.uniform(0.26, 0.46),
                g.uniform(0.08, 0.7),
                g.normal(0, 1),
                g.uniform(0, 6.28),
            ],
        ]
    )
    lights[0], lights[3] = np.clip(lights[0], -62, 62), np.clip(lights[3], -1.2, 1.2)
    camera = np.concatenate(
        [
            # shift x, y (px), scale
            np.clip(g.normal(0, (0.7, 0.7, 0.018)), (-1.6, -1.6, -0.04), (1.6, 1.6, 0.04)),
            # blur, noise, exposure, chroma
            [g.uniform(0, 0.55), g.uniform(0.002, 0.009), g.normal(0, 0.05), g.uniform(0, 1)],
        ]
    )
    return {
        **person,
        "index": np.asarray(number, np.int64),
        "emotion": np.asarray(label, np.int64),
        "mixture": mixture,
        "units": units.clip(0, 1).astype(np.float32),
        "seed": np.asarray(g.integers(0, 2**31)),
        "lights": lights,
        "pose": pose,
        "gaze": np.clip(g.normal(0, (0.5, 0.25)), -1.2, 1.2),
        "camera": camera,
    }


def _sample_mixture(g: np.random.Generator, label: int) -> np.ndarray:
    """Weights over the seven emotions of a face that an annotator labelled `label`.

    Rejection sampling: draws a mixture and a label from it until the label matches. P(label |
    mixture) is then the same in every split; only the label prior differs (imbalanced for training,
    uniform for the test).
    """
    while True:
        main = int(g.integers(len(EMOTIONS)))
        mixture = np.zeros(len(EMOTIONS))
        strength = g.beta(*INTENSITY_BETA) if main else g.beta(1.2, 6)
        others = g.choice(len(EMOTIONS), size=2, replace=False, p=_mixing_weights(main))
        share = g.dirichlet(MIXTURE_DIRICHLET) * strength
        mixture[main if main else others[0]] += share[0]
        mixture[others] += share[1:]
        mixture[0] += 1 - share.sum()
        vote = mixture**LABEL_SHARPNESS
        vote[0] = mixture[0] ** NEUTRAL_SHARPNESS
        if g.choice(len(EMOTIONS), p=vote / vote.sum()) == label:
            return mixture.astype(np.float32)


def _mix_units(mixture: np.ndarray, emotion_units: np.ndarray) -> np.ndarray:
    """The units (float32 17) of a mixture (7) for a person's emotion units (7 x 17).

    The order of summation in a matrix product depends on the BLAS kernel, and the bytes of the
    faces would too. Here it is fixed: fused multiply-adds in float32, emotion by emotion (float64
    holds the product of two float32 exactly).
    """
    total = np.zeros(emotion_units.shape[1], np.float32)
    for weight, units in zip(
        mixture.astype(np.float64), emotion_units.astype(np.float64), strict=True
    ):
        total = (weight * units + total).astype(np.float32)
    return total


def _mixing_weights(main: int) -> np.ndarray:
    """Probabilities of mixing an emotion with each other one: higher where they share units."""
    near = PROTOTYPES @ PROTOTYPES[main] / (np.linalg.norm(PROTOTYPES, axis=1) + 1e-6)
    weight = 0.3 + near / (near.max() + 1e-6)
    weight[[0, main]] = 0
    return weight / weight.sum()
