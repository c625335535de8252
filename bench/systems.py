"""Systems: what the rows of the leaderboard measure. Editors, and three reference systems that pin
the ends of every scale: no_edit, ground_truth and real_split.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor

from ganmut.codes import CodeSpace, LabelSpace
from ganmut.datasets import FaceSet
from ganmut.editor import Editor, PreparedFaces

from .features.ground_truth import GroundTruth
from .stats import NotMeasured

# Edits per batch on the CPU, and elsewhere. Larger batches are no faster.
CPU_BATCH, GPU_BATCH = 16, 128


class System(ABC):
    """A source of edited test faces, given codes of its code space.

    kind: what metrics select systems by. sha256 and dependencies: everything that makes the
    pictures; features cached under one hash are never used under another. max_faces: edit set ->
    limit on its faces, where a system is slow.
    """

    kind: ClassVar[str]
    max_faces: ClassVar[dict[str, int]] = {}
    drawing = ""  # what draws the edits of a method that has no generator of images
    supervision = ""  # what the training of the method knew of the faces
    dependencies: tuple[str, ...] = ()  # what edits depend on that is not in sha256

    def __init__(self, name: str, space: CodeSpace, emotions: tuple[str, ...], sha256: str):
        self.name, self.space, self.emotions, self.sha256 = name, space, tuple(emotions), sha256
        self.batch = CPU_BATCH

    @abstractmethod
    def edit(self, faces: Tensor, codes: Tensor) -> Tensor:
        """uint8 m x 3 x S x S: test faces (positions, `[m]`) under codes (`[m, dim]`)."""


class EditorSystem(System):
    """An editor, as `ganmut.load` returns it.

    Raises ValueError where the editor lacks an emotion of the data.
    """

    kind = "editor"

    def __init__(self, name: str, editor: Editor, faces: FaceSet):
        super().__init__(
            name, editor.space, faces.emotions, str(editor.config.get("sha256", "unsaved"))
        )
        missing = [emotion for emotion in faces.emotions if emotion not in editor.emotions]
        if missing:
            raise ValueError(
                f"{name} has no emotion {', '.join(missing)}; it has {', '.join(editor.emotions)}"
            )
        self.editor, self.faces = editor, faces
        self.drawing = getattr(editor.method, "drawing", "")
        self.dependencies = editor.method.dependencies
        self.supervision = editor.method.supervision
        self._prepared: tuple[Tensor, PreparedFaces] | None = None  # of the last batch
        self.batch = CPU_BATCH if editor.device.type == "cpu" else GPU_BATCH

    def edit(self, faces: Tensor, codes: Tensor) -> Tensor:
        # Each face is prepared once, however many codes it is edited under: edits come ordered by
        # face, and the codes of one face fill many batches.
        distinct, back = faces.unique(return_inverse=True)
        if self._prepared is None or not torch.equal(self._prepared[0], distinct):
            self._prepared = distinct, self.editor.prepare(self.faces.faces(distinct))
        return self.editor.edit(self.editor.select(self._prepared[1], back), codes)


class NullSpace(LabelSpace):
    """The code space of a system that ignores its code: every emotion has the same zero code."""

    def of(self, emotion: str, intensity: float = 1.0) -> Tensor:
        self._intensity(emotion, intensity)
        return torch.zeros(self.dim)

    def sample(self, n: int, generator: torch.Generator, histogram: Tensor | None = None) -> Tensor:
        return torch.zeros(n, self.dim)

    def grid(self, budget: int | None = None) -> Tensor:
        return torch.zeros(1, self.dim)

    def clamp(self, code: Tensor) -> Tensor:
        return torch.zeros_like(self._validate(code))


class NoEditSystem(System):
    """Returns its input: FED 0, identity distance 0, and every face keeps its own expression."""

    kind = "no_edit"

    def __init__(self, faces: FaceSet):
        super().__init__("no_edit", NullSpace(faces.emotions), faces.emotions, "no_edit")
        self.faces = faces

    def edit(self, faces: Tensor, codes: Tensor) -> Tensor:
        return self.faces.faces(faces)


class GroundTruthSystem(System):
    """Renders the same person with the target expression; only for data sources that can."""

    kind = "ground_truth"
    max_faces: ClassVar = {"paths": 6}

    def __init__(self, faces: FaceSet, ground_truth: GroundTruth):
        super().__init__("ground_truth", LabelSpace(faces.emotions), faces.emotions, "ground_truth")
        self.faces, self.ground_truth = faces, ground_truth
        self.batch = 512  # faces are rendered per expression: larger batches make larger groups

    def edit(self, faces: Tensor, codes: Tensor) -> Tensor:
        emotion, intensity = decode_one_hot(codes)
        out = torch.empty(len(faces), 3, self.faces.size, self.faces.size, dtype=torch.uint8)
        for index, t in torch.stack([emotion.double(), intensity], 1).unique(dim=0).tolist():
            rows = ((emotion == index) & (intensity == t)).nonzero()[:, 0]
            out[rows] = self.ground_truth.render(faces[rows], self.faces.emotions[int(index)], t)
        return out


def decode_one_hot(codes: Tensor) -> tuple[Tensor, Tensor]:
    """Emotion (index, `[m]`) and intensity (0..1, `[m]`) of codes (1 - t) e_0 + t e_c; the inverse
    of LabelSpace.of."""
    intensity, emotion = codes[:, 1:].double().max(1)
    neutral = intensity == 0
    return torch.where(neutral, 0, emotion + 1), torch.where(
        neutral, 1.0, intensity.round(decimals=6)
    )


class RealSplitSystem(System):
    """Other real test faces in place of the edited ones: the sampling noise of each metric."""

    kind = "real_split"

    def __init__(self, faces: FaceSet, others: FaceSet | None):
        super().__init__("real_split", NullSpace(faces.emotions), faces.emotions, "real_split")
        self.others = others

    def edit(self, faces: Tensor, codes: Tensor) -> Tensor:
        if self.others is None:
            raise NotMeasured("the test split has too few faces for a second half")
        return self.others.faces(faces)


class SourceSystem(NoEditSystem):
    """The unedited test faces, whose features all systems share."""

    kind = "source"

    def __init__(self, faces: FaceSet):
        super().__init__(faces)
        self.name, self.sha256 = "test faces", "source"
