"""Toys that several test files share: small instances of the real classes, and a world of pictures
whose truth is known.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import torch
from torch import Tensor

from bench.features.cache import Features, source_features
from bench.features.extract import Extractors
from bench.features.ground_truth import GroundTruth
from bench.protocol import Protocol
from bench.systems import System
from ganmut import weights
from ganmut.codes import ActionUnitSpace, LabelSpace
from ganmut.datasets import FaceSet
from ganmut.datasets.base import Batch
from ganmut.emotions import EMOTIONS, prototype_units
from ganmut.extractors import EXTRACTORS
from ganmut.methods.base import METHODS
from ganmut.training.presets import resolve_settings
from ganmut.weights import storage

# Methods and trainings ----------------------------------------------------------------------------

# Small enough for a second a test; the classes are the ones that train and edit.
TOY = {"size": 32, "width": 8, "blocks": 1, "d_width": 8, "d_layers": 4, "batch": 16}
SHORT = TOY | {
    "faces": 32,
    "kimg": 0.192,
    "kimg_per_tick": 0.064,
    "d_warmup_kimg": 0.032,
    "g_warmup_kimg": 0.032,
}
SHORT_OPTIONS = [f"--{k.replace('_', '-')}={v}" for k, v in SHORT.items()]


# The presets that tests cover: objective, budget, domain.
PRESETS = {
    "paper": {},
    "cpu": {"objective": "stable", "budget": "cpu"},
    "photographs": {"objective": "stable", "budget": "cpu", "domain": "photographs"},
}


def toy(name: str, preset: str = "cpu", **overrides: object):
    """A toy-size method of the real class, its parameters drawn from seed 0."""
    _, config = resolve_settings(name, **PRESETS[preset], **(TOY | overrides))
    torch.manual_seed(0)
    return METHODS[name](config, EMOTIONS, TOY["size"])


def random_batch(n: int = 16, emotions: int = 7, size: int = TOY["size"]) -> Batch:
    """n random images in [-1, 1] with the emotions in turn and random units, from seed 0."""
    rng = torch.Generator().manual_seed(0)
    x = torch.rand(n, 3, size, size, generator=rng) * 2 - 1
    return Batch(x, torch.arange(n) % emotions, torch.rand(n, 17, generator=rng))


# A world of 8 x 8 pictures ------------------------------------------------------------------------
#
# Pixel rows 0 to 3 are the person; column e of pixel rows 4 to 7 shows emotion e.

SIDE = 8
UNITS = torch.tensor([prototype_units(emotion) for emotion in EMOTIONS])
PROTOCOL = Protocol(
    "toy",
    n_test=64,
    n_fid=64,
    n_accuracy=32,
    n_smooth=8,
    n_ere=32,
    replicates=60,
    budget=70,
    chart_faces=2,
    chart_side=5,
)


def paint(person: Tensor, shown: Tensor) -> Tensor:
    """uint8 n x 3 x 8 x 8 of persons (n x 4 x 8) showing emotions (n x 7 in 0..1)."""
    picture = torch.zeros(len(person), SIDE, SIDE)
    picture[:, :4] = person
    picture[:, 4:, :7] = shown[:, None] * 200
    return picture.round().to(torch.uint8)[:, None].expand(-1, 3, -1, -1).contiguous()


def mixture(emotion: Tensor, intensity: float) -> Tensor:
    shown = intensity * torch.eye(7)[emotion]
    shown[:, 0] += 1 - intensity
    return shown


def world(n: int, seed: int) -> FaceSet:
    g = torch.Generator().manual_seed(seed)
    person = torch.randint(20, 230, (n, 4, SIDE), generator=g).float()
    emotion = torch.arange(n) % 7
    clarity = 0.4 + 0.6 * torch.rand(n, 1, generator=g)
    shown = clarity * mixture(emotion, 1.0) + (1 - clarity) * torch.rand(n, 7, generator=g)

    def ground_truth(rows: Tensor, name: str, intensity: float = 1.0) -> Tensor:
        target = torch.full((len(rows),), EMOTIONS.index(name))
        return paint(person[rows], mixture(target, intensity))

    return FaceSet(
        source="toy",
        split="test",
        emotions=EMOTIONS,
        images=paint(person, shown),
        emotion=emotion,
        fingerprint=f"toy-{seed}-{n}",
        ground_truth=ground_truth,
    )


@dataclass
class ToyExtractor:
    """The interface of an extractor; reads the toy pictures without error."""

    role: str
    emotions: tuple[str, ...] = EMOTIONS
    note: str = ""
    images_seen: int = 0

    @property
    def sha256(self) -> str:
        return f"toy-{self.role}"

    def __call__(self, images: Tensor) -> SimpleNamespace:
        self.images_seen += len(images)
        x = images.float().mean(1)
        shown, person = x[:, 4:, :7].mean(1) / 200, x[:, :4].flatten(1)
        if self.role.endswith("emotion"):
            return SimpleNamespace(features=shown, outputs=(8 * shown).softmax(1))
        if self.role.endswith("identity"):
            return SimpleNamespace(
                features=person, outputs=person / person.norm(dim=1, keepdim=True)
            )
        if self.role == "units":
            return SimpleNamespace(features=shown, outputs=shown.double() @ UNITS.double())
        return SimpleNamespace(features=torch.cat([shown, person[:, :3] / 255], 1))


class ToySystem(System):
    """A perfect editor that can be degraded: noise, intensities in coarse steps, a smaller reach,
    the last emotions lost."""

    kind = "editor"

    def __init__(
        self, faces: FaceSet, noise: float = 0, steps: int = 0, reach: float = 1, lost: int = 0
    ):
        knobs = f"toy-{noise}-{steps}-{reach}-{lost}"
        super().__init__("toy", LabelSpace(EMOTIONS), faces.emotions, knobs)
        self.faces, self.noise, self.steps = faces, noise, steps
        self.reach, self.lost = reach, lost

    def edit(self, faces: Tensor, codes: Tensor) -> Tensor:
        shown = codes.clone()
        if self.steps:
            shown = (shown * self.steps).floor() / self.steps
        if self.lost:
            shown[:, 0] += shown[:, -self.lost :].sum(1)
            shown[:, -self.lost :] = 0
        shown = self.reach * shown + (1 - self.reach) / 7
        edited = paint(self.faces.images[faces, 0, :4].float(), shown).float()
        # Noise depends on the face and the code, not on the batch.
        for i, face in enumerate(faces.tolist()):
            seed = 1000 * face + int(997 * codes[i].abs().sum() + 31 * codes[i].argmax())
            g = torch.Generator().manual_seed(seed)
            edited[i] += self.noise * torch.randn(edited[i].shape, generator=g)
        return edited.round().clamp(0, 255).to(torch.uint8)


class UnitSystem(ToySystem):
    """The toy editor with action units as codes, which it converts to emotions."""

    def __init__(self, faces: FaceSet, **knobs: float):
        super().__init__(faces, **knobs)
        mixed = torch.rand(50, 7, generator=torch.Generator().manual_seed(0))
        bank = mixed / mixed.sum(1, keepdim=True) @ UNITS
        self.space = ActionUnitSpace(EMOTIONS, UNITS, bank)

    def edit(self, faces: Tensor, codes: Tensor) -> Tensor:
        shown = codes @ torch.linalg.pinv(UNITS)
        shown[:, 0] = 1 - shown[:, 1:].sum(1)  # neutral is no unit at all
        return super().edit(faces, shown)


def toy_extractors(faces: FaceSet, cache: Path, protocol: Protocol = PROTOCOL) -> Extractors:
    roles = ("emotion", "identity", "units", "inception", "second_emotion", "second_identity")
    networks = {role: ToyExtractor(role) for role in roles}
    ground_truth = GroundTruth(faces, protocol.n_accuracy, cache / "ground_truth")
    return Extractors(networks, faces.emotions, ground_truth)


def toy_features(
    system: System, faces: FaceSet, cache: Path, protocol: Protocol = PROTOCOL
) -> Features:
    extractors = toy_extractors(faces, cache, protocol)
    source = source_features(faces, protocol, extractors, cache)
    return Features(system, faces, protocol, extractors, cache, source)


# The bench's command ----------------------------------------------------------------------------

TINY = Protocol(
    "tiny",
    n_test=130,
    n_fid=4,
    n_accuracy=4,
    n_smooth=2,
    n_ere=16,
    replicates=40,
    budget=30,
    chart_faces=2,
    chart_side=3,
)
BENCH_METHODS = ("stargan", "ganmut", "gganmut")


def write_bundle(root: Path, *editors: str) -> Path:
    """Untrained editors (METHOD_... is an ablation) and extractors as the set procedural in a
    folder, which is returned."""
    faces = world(2, 0).images.repeat(1, 1, 4, 4)
    torch.manual_seed(0)
    for name in editors:
        kind = METHODS[name.partition("_")[0]]
        method = kind(kind.Config(width=8, blocks=1), EMOTIONS, TOY["size"], training=False)
        meta = {"ablation_of": "ganmut"} if "_" in name else {"kimg": 0}
        weights.save(root / "procedural" / name, method, meta, faces)
    for name in EXTRACTORS:
        network = EXTRACTORS[name](EMOTIONS, TOY["size"])
        config = {
            "extractor": name,
            "version": network.version,
            "emotions": EMOTIONS,
            "size": TOY["size"],
        }
        folder = root / "procedural" / name
        storage.write(folder, "extractor", network.state_dict(), config, lambda w: {"x": faces}, "")
    return root


class ToySource:
    """A data source of toy pictures."""

    emotions = EMOTIONS

    def load(self, split, size, n=None, *, seed=0, progress=True):
        small = world(n, seed)
        pictures = torch.nn.functional.interpolate(small.images.float(), size).to(torch.uint8)
        render = small.ground_truth

        def ground_truth(rows, emotion, intensity=1.0):
            return torch.nn.functional.interpolate(
                render(rows, emotion, intensity).float(), size
            ).to(torch.uint8)

        return type(small)(**{**small.__dict__, "images": pictures, "ground_truth": ground_truth})
