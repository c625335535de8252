"""The expression model behind an Editor: target expressions, drawn at any resolution."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from ganmut.codes import CodeSpace
from ganmut.expression.face_basis import FaceBasis
from ganmut.expression.landmark_net import LandmarkNet, Landmarks, find_landmarks
from ganmut.expression.model import ExpressionModel
from ganmut.expression.point_set import SIZE
from ganmut.expression.render import VERSION
from ganmut.expression.space import ExpressionSpace
from ganmut.expression.traced import area_means, rounded
from ganmut.images import luma
from ganmut.methods.base import Edit


class ExpressionMethod(nn.Module):
    """What an Editor needs of a method, without a training: `encode`, `edit` and a code space.

    landmarks: the network that finds the model's landmarks in a crop. A code is the expression
    after the edit (ExpressionSpace); the source's own is read from its landmarks, and its code
    changes nothing.
    """

    name = "expression"
    title = "Expression model"
    paper = (
        "Cootes et al. 1998 (active appearance models), Liu et al. 2001 (expression ratio images)"
    )
    drawing = "expression model"
    supervision = "pairs, landmarks, units"  # pairs: several pictures of one person
    any_size = True  # crops keep the photograph's resolution
    cpu_only = True  # a hundred small steps that depend on numbers of the one before
    reads_source = True
    margin = 2.0  # an open jaw leaves the aligned crop, whose lower border is the chin

    def __init__(self, model: ExpressionModel, landmarks: LandmarkNet, emotions: tuple[str, ...]):
        super().__init__()
        self.model = model
        # Not a submodule: editors cast their convolutions to bfloat16, which costs landmarks half
        # a pixel, and all editors may share one network.
        self.find: Callable[[Tensor], Landmarks] = lambda crops: find_landmarks(landmarks, crops)
        self.emotions, self.size = emotions, SIZE
        self.dependencies: tuple[str, ...] = (model.sha256, landmarks.sha256, VERSION)

    def space(self) -> CodeSpace:
        return ExpressionSpace(self.emotions, self.model)

    def encode(self, x: Tensor, margin: float = 1.0) -> tuple[FaceBasis, ...]:
        """The basis of each face; x N x 3 x S x S in [-1, 1], whose middle S / margin pixels a
        side are the aligned crop. Raises ValueError where the landmarks lie outside the crop."""
        with torch.autocast(x.device.type, enabled=False):
            crops = (x.float() + 1) / 2
            rim = rounded(x.shape[-1] * (1 - 1 / margin) / 2)
            inner = luma(crops)[:, :, rim : x.shape[-1] - rim, rim : x.shape[-1] - rim]
            # Areas are averaged: any other reduction would alias the landmarks' edges.
            grey = area_means(inner, SIZE).clamp(0, 1)
            found = self.find(grey)
            middle = SIZE / 2  # crops span 0..128: the centre of pixel i lies at i + .5
            points = (found.points - middle) * (inner.shape[-1] / x.shape[-1]) + middle
            faces = zip(crops, points, found.expression, strict=True)
            return tuple(self.model.basis(*face) for face in faces)

    def reduce_features(self, features: tuple[FaceBasis, ...], x: Tensor) -> tuple[FaceBasis, ...]:
        """The bases of the same faces in crops N x 3 x s x s in [-1, 1] of another size: landmarks
        and expression stay those that the larger crops showed."""
        with torch.autocast(x.device.type, enabled=False):
            faces = zip((x.float() + 1) / 2, features, strict=True)
            return tuple(self.model.resize_basis(basis, crop) for crop, basis in faces)

    def target(self, features: tuple[FaceBasis, ...], code: Tensor) -> Tensor:
        """N x K expressions of N bases after an edit under N codes: the codes themselves."""
        return code.float()

    def edit(self, features: tuple[FaceBasis, ...], code: Tensor) -> Edit:
        """Edited crops N x 3 x S x S in [-1, 1] of N bases under N codes."""
        targets = self.target(features, code)
        with torch.autocast(code.device.type, enabled=False):
            edited = [
                self.model.render(basis, target - basis.expression)[0]
                for basis, target in zip(features, targets, strict=True)
            ]
        return Edit(torch.stack(edited) * 2 - 1)

    @staticmethod
    def source_codes(features: tuple[FaceBasis, ...]) -> Tensor:
        """N x K expressions that the faces show."""
        return torch.stack([basis.expression for basis in features])

    @staticmethod
    def index_features(features: tuple[FaceBasis, ...], rows: Tensor) -> tuple[FaceBasis, ...]:
        """Some of the encoded faces, by row."""
        return tuple(features[int(row)] for row in rows)

    def style_of(self, x: Tensor, emotion: Any) -> Tensor:
        raise ValueError(f"{self.title} takes no reference picture; give an emotion or a code")
