"""Editor: the inference path that the CLI, the page, the API and the bench share."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ganmut import images as pictures
from ganmut.codes import CodeSpace
from ganmut.device import inference, prepare_for_inference
from ganmut.emotions import UNITS
from ganmut.errors import ParameterError
from ganmut.methods.base import Edit, Method
from ganmut.networks.warp import warp

# Codes closer than this to the code of the source face (largest difference of a component) fade the
# edit out. Generators change a face slightly even under its own code; without the fade the smallest
# move of an action unit would show all of that change at once.
FADE_RADIUS = 0.1

MAX_CROP = 1024  # px: largest crop side of an editor that takes any size; larger faces are reduced

ImageBatch = Tensor | np.ndarray | Iterable[np.ndarray]


@dataclass(frozen=True)
class PreparedFaces:
    """Faces encoded once, to be edited many times.

    x: N x 3 x S x S float in [-1, 1]. features: the output of the method's `encode`. n: N.
    source_codes: N x dim, the codes that the source faces show (as given, or as the method reads
    them), or None where they are unknown. grey: N bool, faces without colour, whose edits have none
    either.
    """

    x: Tensor
    features: Any
    n: int
    source_codes: Tensor | None = None
    grey: Tensor | None = None

    def __len__(self) -> int:
        return self.n


class Editor:
    """An expression editor: a trained method with its code space.

    Images are uint8 RGB, in and out. The same input gives the same bytes on the same hardware.
    """

    def __init__(
        self,
        method: Method,
        config: dict[str, Any],
        device: torch.device | str = "cpu",
        folder: Path | None = None,
    ):
        """method: taken over, and changed for inference; give a copy of one that is used elsewhere.
        device: where edits are computed; of a method that is `cpu_only`, the CPU. folder: the
        weight folder that the method was read from, if any."""
        self.config, self.folder = config, folder
        self.device = torch.device("cpu" if method.cpu_only else device)
        self.method = prepare_for_inference(method, self.device)
        self.space: CodeSpace = method.space()
        self.emotions = method.emotions
        self.size = method.size
        self.grey: bool = bool(config.get("grey", False))

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | Path,
        *,
        revision: str | None = None,
        subfolder: str = "",
        device: torch.device | str | None = None,
    ) -> Editor:
        """The editor of OWNER/NAME on the Hugging Face Hub, or of a local folder.

        revision: a commit, a branch or a tag (default the branch main). The commit of a branch or a
        tag is asked of the Hub and printed on stderr; a commit is used from the cache without a
        request. subfolder: SET/NAME in a repository of several. `hf auth login` or HF_TOKEN opens
        what is private. Raises BadWeights, ParameterError for arguments that cannot be used.
        """
        return _pretrained().from_pretrained(
            pretrained_model_name_or_path, revision, subfolder, device
        )

    def push_to_hub(self, repo_id: str, *, private: bool = False) -> str:
        """Publishes the weight folder of this editor as one commit of the model OWNER/NAME on the
        Hugging Face Hub, made where needed, and returns the URL of the commit.

        The command `push` uploads the same files after the same checks. Raises BadWeights for an
        editor without a folder and for weights that may not be published, HubError where nobody
        is logged in or the upload fails.
        """
        return _pretrained().push_to_hub(self, repo_id, private)

    @property
    def name(self) -> str:
        """The method's registry name, such as "ganmut"."""
        return self.method.name

    def crop_size(self, extent: float) -> tuple[int, float]:
        """(side in pixels, margin) of the crop that this editor takes of a face whose aligned crop
        covers `extent` pixels of its image: see `faces.crop_face`."""
        if not self.method.any_size:
            return self.size, 1.0
        # Never below the size that the model was made for, never above what memory allows.
        side = min(max(extent, self.size), MAX_CROP / self.method.margin)
        return round(side * self.method.margin), self.method.margin

    def prepare(
        self,
        images: ImageBatch,
        source_codes: Tensor | Sequence[float] | None = None,
        margin: float = 1.0,
    ) -> PreparedFaces:
        """Encodes aligned faces for `edit`.

        images: uint8 N x 3 x H x W (tensor), or N x H x W x 3 / list of H x W x 3 (arrays); faces
        of another size are resized to the editor's. source_codes: [dim] or [N, dim], what the faces
        show: edits closer to it than FADE_RADIUS fade out. margin: the one that `crop_size`
        returned for these crops. Raises ValueError for another shape or dtype, ParameterError for
        source_codes of a method that reads them itself.
        """
        if source_codes is not None and self.method.reads_source:
            raise ParameterError("source_codes", f"{self.name} reads itself what a face shows")
        x, visible = self._preprocess(images)
        if len(visible) == 1:  # channels_last is faster for one face, and slower for several
            visible = visible.contiguous(memory_format=torch.channels_last)
        with torch.no_grad(), inference(self.device):
            wide = self.method.any_size and margin != 1
            features = self.method.encode(visible, *([margin] if wide else []))
        if self.method.reads_source:
            source_codes = self.method.source_codes(features)
        if source_codes is not None:
            source_codes = self._codes(source_codes, len(x))
        # Grey photographs stay grey, whatever the network adds to its channels.
        grey = (x == x[:, :1]).flatten(1).all(1)
        return PreparedFaces(x, features, len(x), source_codes, grey)

    def reduce(self, faces: PreparedFaces, images: ImageBatch) -> PreparedFaces:
        """The prepared faces of an editor of any size in smaller copies of their images: what was
        read of them stays, and an edit costs as much as the copies have pixels.

        images: as for `prepare`, N squares that show the same. Raises ValueError for editors of one
        size and for another number of images.
        """
        x, visible = self._preprocess(images)
        if len(x) != len(faces):
            raise ValueError(f"{len(faces)} faces but {len(x)} images; give one per face")
        with torch.no_grad(), inference(self.device):
            features = self.method.reduce_features(faces.features, visible)
        return PreparedFaces(x, features, len(x), faces.source_codes, faces.grey)

    def code_of_units(self, faces: PreparedFaces, units: Mapping[int, float]) -> Tensor:
        """float N x dim: the codes of action units {FACS number: 0..1}; units that are not named
        stay as the faces show them.

        Raises ParameterError where the method has no units, and where units are not named and
        what the faces show is not known; ValueError for a number that is not among UNITS and for
        a value outside 0..1.
        """
        if not self.space.has_units:
            raise ParameterError("units", f"{self.name} is not controlled by action units")
        if faces.source_codes is None and units.keys() < set(UNITS):
            raise ParameterError(
                "source_units",
                f"nothing here can read the action units that a face shows for {self.name}: "
                f"give them, or name all {len(UNITS)}",
            )
        if faces.source_codes is None:
            return self.space.units(units).expand(len(faces), -1)
        own = faces.source_codes.float().cpu().tolist()
        return torch.stack([self.space.units(units, shown) for shown in own])

    def encode_reference(self, images: ImageBatch, emotion: str) -> Tensor:
        """float N x dim: codes that show an emotion in the style of aligned reference faces (images
        as for `prepare`). Raises ValueError where the method takes no references, and for an
        unknown emotion."""
        return self.method.style_of(self._preprocess(images)[1], emotion).float().cpu()

    def edit(self, faces: PreparedFaces, code: Tensor) -> Tensor:
        """uint8 N x 3 x S x S: the faces under `code` ([dim], or [N, dim] for one code per face).

        Raises ValueError for another number of codes, NaN, infinity or another dimension.
        """
        return self.edit_details(faces, code).images

    def edit_details(self, faces: PreparedFaces, code: Tensor) -> Edit:
        """The edit with its mask (N x 1 x S x S, 0..1, 1 = new pixels) and its flow (N x 2 x S x S,
        pixels), either of them None where the method has none."""
        code = self._codes(code, len(faces))
        with torch.no_grad(), inference(self.device):
            edit = self.method.edit(faces.features, code)
        edited = edit.images.float()
        if self.grey:
            edited = with_chroma(faces.x, edited, edit.flow)
        if faces.grey is not None and faces.grey.any():
            level = pictures.luma(edited).expand_as(edited)
            edited = torch.where(faces.grey.view(-1, 1, 1, 1), level, edited)
        mask, flow = edit.mask, edit.flow
        if faces.source_codes is not None and not self.method.reads_source:
            # The largest control decides: one unit that is asked for must not be faded by the
            # others.
            distance = (code - faces.source_codes).abs().amax(1)
            # A code that says what the face shows gives the face itself, not its reconstruction.
            share = (distance / FADE_RADIUS).clamp(max=1)[:, None, None, None]
            edited = torch.lerp(faces.x, edited, share)
            mask, flow = (None if x is None else share * x for x in (mask, flow))
        return Edit(pictures.to_uint8(edited).cpu(), mask, flow)

    def warp_source(self, faces: PreparedFaces, flow: Tensor) -> Tensor:
        """uint8 N x 3 x S x S: the faces moved by the flow of an edit, without its new pixels."""
        return pictures.to_uint8(warp(faces.x, flow.to(faces.x.device))).cpu()

    def select(self, faces: PreparedFaces, rows: Tensor) -> PreparedFaces:
        """The prepared faces of int64 `rows`, in any order and with repeats, without encoding them
        again: n faces under m codes."""
        rows = rows.to(self.device)
        codes, grey = (None if t is None else t[rows] for t in (faces.source_codes, faces.grey))
        features = self.method.index_features(faces.features, rows)
        return PreparedFaces(faces.x[rows], features, len(rows), codes, grey)

    def _codes(self, code: Tensor | Sequence[float], n: int) -> Tensor:
        """n x dim float32 on the device: one code for all faces, or one per face."""
        code = self.space.clamp(torch.as_tensor(code, dtype=torch.float32)).to(self.device)
        code = code.expand(n, -1) if code.dim() == 1 else code
        if len(code) != n:
            raise ValueError(f"{n} faces but {len(code)} codes; give one code or one per face")
        return code

    def _preprocess(self, images: ImageBatch) -> tuple[Tensor, Tensor]:
        """N x 3 x S x S in [-1, 1]: the faces, and the method's input (grey for a grey editor)."""
        x = pictures.to_float(self._stack(images).to(self.device))
        if not self.method.any_size:
            x = pictures.resize(x, self.size)
        x = x.clamp(-1, 1)
        return x, pictures.luma(x).expand_as(x).contiguous() if self.grey else x

    @staticmethod
    def _stack(images: ImageBatch) -> Tensor:
        """uint8 N x 3 x H x W of what `prepare` accepts."""
        if not isinstance(images, Tensor):
            arrays = np.stack([np.asarray(image) for image in images])
            if arrays.ndim != 4 or arrays.shape[-1] != 3:
                raise ValueError(f"expected H x W x 3 images, got shape {arrays.shape[1:]}")
            images = pictures.to_tensor(arrays)
        if images.dtype != torch.uint8 or images.dim() != 4 or images.shape[1] != 3:
            raise ValueError(
                f"expected uint8 N x 3 x H x W, got {images.dtype} {tuple(images.shape)}"
            )
        return images


def with_chroma(x: Tensor, edited: Tensor, flow: Tensor | None) -> Tensor:
    """N x 3 x S x S: sources x with the luminance of the edits of a grey editor, all in [-1, 1];
    flow: N x 2 x S x S px, by which the edits moved the sources, or None."""
    base = x if flow is None else warp(x, flow)
    # The change of luminance goes to all channels: the chroma stays the source's.
    return base + edited.mean(1, keepdim=True) - pictures.luma(base)


def _pretrained() -> Any:
    """The module that reads and publishes weights of Editors: it imports this one."""
    return importlib.import_module("ganmut.weights.pretrained")
