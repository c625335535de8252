"""Rows of the leaderboard: editors, and three rows that are no methods and pin the ends of every
scale.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor

from bench.ground_truth import Answers
from bench.score import NotMeasured
from ganmut.codes import CodeSpace, OneHot
from ganmut.datasets import FaceSet
from ganmut.editor import Editor

BATCH = {"cpu": 16, "cuda": 128}  # edits at once: beyond this neither gets faster


class Row(ABC):
    """What is measured: edited pictures of the test faces under codes of its space.

    sha256 names what makes the pictures: evidence made under one hash is never used under another.
    """

    kind: ClassVar[str]
    most: ClassVar[dict[str, int]] = {}  # plan -> faces at most, where a row is slow to make

    def __init__(self, name: str, space: CodeSpace, emotions: tuple[str, ...], sha256: str):
        self.name, self.space, self.emotions, self.sha256 = name, space, tuple(emotions), sha256
        self.batch = 16

    @abstractmethod
    def edit(self, faces: Tensor, codes: Tensor) -> Tensor:
        """uint8 m x 3 x S x S: test faces (positions, `[m]`) under codes (`[m, dim]`)."""


class EditorRow(Row):
    """A method: whatever `ganmut.load` gives."""

    kind = "editor"

    def __init__(self, name: str, editor: Editor, faces: FaceSet):
        super().__init__(
            name, editor.space, faces.emotions, str(editor.config.get("sha256", "unsaved"))
        )
        missing = [emotion for emotion in faces.emotions if emotion not in editor.emotions]
        if missing:
            raise ValueError(
                f"{name} does not know {', '.join(missing)}; it knows {', '.join(editor.emotions)}"
            )
        self.editor, self.faces = editor, faces
        self.batch = BATCH[editor.device.type]

    def edit(self, faces: Tensor, codes: Tensor) -> Tensor:
        # A face is encoded once however many codes it meets in this batch.
        distinct, back = faces.unique(return_inverse=True)
        ready = self.editor.prepare(self.faces.faces(distinct))
        return self.editor.edit(self.editor.select(ready, back), codes)


class Nowhere(OneHot):
    """The code space of something that ignores its code: every emotion has the same code, of which
    there is one.
    """

    def of(self, emotion: str, intensity: float = 1.0) -> Tensor:
        self._intensity(emotion, intensity)
        return torch.zeros(self.dim)

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        return torch.zeros(n, self.dim)

    def grid(self, budget: int | None = None) -> Tensor:
        return torch.zeros(1, self.dim)

    def clamp(self, code: Tensor) -> Tensor:
        return torch.zeros_like(self._checked(code))


class IdentityRow(Row):
    """Returns its input: FED 0, identity distance 0, every face keeps its own expression."""

    kind = "identity"

    def __init__(self, faces: FaceSet):
        super().__init__("identity", Nowhere(faces.emotions), faces.emotions, "identity")
        self.faces = faces

    def edit(self, faces: Tensor, codes: Tensor) -> Tensor:
        return self.faces.faces(faces)


class OracleRow(Row):
    """Renders the same person with the expression asked for: the truth, where the data source knows
    it.
    """

    kind = "oracle"
    most: ClassVar = {"paths": 6}

    def __init__(self, faces: FaceSet, answers: Answers):
        super().__init__("oracle", OneHot(faces.emotions), faces.emotions, "oracle")
        self.faces, self.answers = faces, answers
        self.batch = 512  # rendering is grouped by expression: larger batches make larger groups

    def edit(self, faces: Tensor, codes: Tensor) -> Tensor:
        emotion, intensity = read(codes)
        out = torch.empty(len(faces), 3, self.faces.size, self.faces.size, dtype=torch.uint8)
        for which, t in torch.stack([emotion.double(), intensity], 1).unique(dim=0).tolist():
            rows = ((emotion == which) & (intensity == t)).nonzero()[:, 0]
            out[rows] = self.answers.render(faces[rows], self.faces.emotions[int(which)], t)
        return out


def read(codes: Tensor) -> tuple[Tensor, Tensor]:
    """Emotion (index) and intensity of codes (1 - t) e_0 + t e_c; the inverse of OneHot.of."""
    intensity, emotion = codes[:, 1:].double().max(1)
    neutral = intensity == 0
    return torch.where(neutral, 0, emotion + 1), torch.where(
        neutral, 1.0, intensity.round(decimals=6)
    )


class RealRow(Row):
    """Real test faces: as many others in the place of the edited ones (half against half)."""

    kind = "real"

    def __init__(self, faces: FaceSet, others: FaceSet | None):
        super().__init__("real", Nowhere(faces.emotions), faces.emotions, "real")
        self.others = others

    def edit(self, faces: Tensor, codes: Tensor) -> Tensor:
        if self.others is None:
            raise NotMeasured("the test split has no faces left for a second half")
        return self.others.faces(faces)


class SourceRow(IdentityRow):
    """The test faces themselves, seen once for all rows."""

    kind = "source"

    def __init__(self, faces: FaceSet):
        super().__init__(faces)
        self.name, self.sha256 = "test faces", "source"
