"""Editor: the one inference surface. Faces in, edited faces out; bench and demo touch nothing else
of a method."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ganmut import images as pictures
from ganmut.codes import CodeSpace
from ganmut.device import inference, prepare_for_inference
from ganmut.methods.base import Edit, Method
from ganmut.networks.warp import warp


@dataclass(frozen=True)
class Faces:
    """Faces made ready once and edited many times: x N x 3 x S x S float in [-1, 1] and what the
    method encoded."""

    x: Tensor
    features: Any
    n: int

    def __len__(self) -> int:
        return self.n


class Editor:
    """An expression editor: a trained method with its code space. uint8 RGB in and out; same input,
    same bytes."""

    def __init__(self, method: Method, config: dict[str, Any], device: torch.device | str = "cpu"):
        self.config, self.device = config, torch.device(device)
        self.method = prepare_for_inference(method.eval().requires_grad_(False), self.device)
        self.space: CodeSpace = method.space()
        self.emotions = method.emotions
        self.size = method.size
        self.grey: bool = bool(config.get("grey", False))

    @property
    def name(self) -> str:
        """The method's registry name, such as "ganmut"."""
        return self.method.name

    def prepare(self, images: Tensor | np.ndarray | Iterable[np.ndarray]) -> Faces:
        """Readies aligned faces: uint8 N x 3 x H x W (tensor) or N x H x W x 3 / list of H x W x 3
        (arrays).

        Faces of another size are resized to the editor's. Raises ValueError for another shape or
        dtype.
        """
        x, seen = self._seen(images)
        if len(seen) == 1:  # the layout in which convolutions are fastest; norms of several are not
            seen = seen.contiguous(memory_format=torch.channels_last)
        with torch.no_grad(), inference(self.device):
            features = self.method.encode(seen)
        return Faces(x, features, len(x))

    def reference(self, images: Tensor | np.ndarray | Iterable[np.ndarray], emotion: str) -> Tensor:
        """float N x dim: codes that show an emotion in the way of aligned reference faces (images
        as for `prepare`). Raises ValueError where the method takes no references, and for an
        emotion that it does not know."""
        return self.method.style_of(self._seen(images)[1], emotion).float().cpu()

    def edit(self, faces: Faces, code: Tensor) -> Tensor:
        """uint8 N x 3 x S x S: every face under `code` ([dim], or [N, dim] for a code a face)."""
        return self.edit_details(faces, code).images

    def edit_details(self, faces: Faces, code: Tensor) -> Edit:
        """The edit with its mask (N x 1 x S x S, 0..1, 1 = new pixels) and flow (N x 2 x S x S,
        pixels), or None."""
        code = self.space.clamp(torch.as_tensor(code, dtype=torch.float32)).to(self.device)
        code = code.expand(len(faces), -1) if code.dim() == 1 else code
        if len(code) != len(faces):
            raise ValueError(
                f"{len(faces)} faces but {len(code)} codes; give one code or one a face"
            )
        with torch.no_grad(), inference(self.device):
            edit = self.method.edit(faces.features, code)
        edited = edit.images.float()
        if self.grey:  # the change of luminance goes to all channels; chroma stays with its skin
            ground = faces.x if edit.flow is None else warp(faces.x, edit.flow)
            edited = ground + edited.mean(1, keepdim=True) - pictures.luma(ground)
        return Edit(pictures.to_uint8(edited).cpu(), edit.mask, edit.flow)

    def select(self, faces: Faces, rows: Tensor) -> Faces:
        """Some of the prepared faces, in any order and repeated at will: n faces under m codes
        without encoding again."""
        rows = rows.to(self.device)
        return Faces(faces.x[rows], self.method.index_features(faces.features, rows), len(rows))

    def _seen(self, images: Tensor | np.ndarray | Iterable[np.ndarray]) -> tuple[Tensor, Tensor]:
        """N x 3 x S x S in [-1, 1]: the faces, and what the method sees of them."""
        x = pictures.to_float(self._stack(images).to(self.device))
        x = pictures.resize(x, self.size).clamp(-1, 1)
        return x, pictures.luma(x).expand_as(x).contiguous() if self.grey else x

    @staticmethod
    def _stack(images: Tensor | np.ndarray | Iterable[np.ndarray]) -> Tensor:
        if not isinstance(images, Tensor):
            arrays = np.stack([np.asarray(image) for image in images])
            if arrays.ndim != 4 or arrays.shape[-1] != 3:
                raise ValueError(f"expected H x W x 3 pictures, got shape {arrays.shape[1:]}")
            images = pictures.to_tensor(arrays)
        if images.dtype != torch.uint8 or images.dim() != 4 or images.shape[1] != 3:
            raise ValueError(
                f"expected uint8 N x 3 x H x W, got {images.dtype} {tuple(images.shape)}"
            )
        return images
