"""Edits a photograph: detection, crop, edit, paste-back."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from skimage.transform import SimilarityTransform
from torch import Tensor

from ganmut import __version__, images
from ganmut.datasets.base import digest
from ganmut.editor import Editor, PreparedFaces
from ganmut.encoding import is_marked
from ganmut.errors import ParameterError, UnusableFace
from ganmut.faces.align import crop_extent, crop_face
from ganmut.faces.covered_mouth.network import REFUSAL, has_covered_mouth
from ganmut.faces.detectors.base import (
    DETECTORS,
    Detector,
    Face,
    FaceNumberError,
    NoFace,
    downscale,
)
from ganmut.faces.paste_back import paste_face

if TYPE_CHECKING:
    from ganmut.video.code_path import CodePath

# Least score of a face in a turned image: three more searches have three times the false alarms.
MIN_TURNED_SCORE = 0.99
TURNED_SIDE = 2048  # px, the longest of an image that is turned
# The code [dim] of an edit, or action units {FACS number: 0..1}: units that are not named stay as
# each face shows them.
Target = Tensor | Mapping[int, float]
# The code [dim] that faces show already, or what reads it from a crop H x W x 3 uint8.
SourceCode = Tensor | Callable[[np.ndarray], Sequence[float]]


@dataclass(frozen=True)
class EditedImage:
    """An edited photograph.

    pixels: H x W x 3 uint8, the photograph with the edited faces pasted back. faces: all detected
    faces, largest first. numbers: the edited ones, counted from 1. sources, edits: their crops
    (S x S x 3 uint8) before and after the edit.
    """

    pixels: np.ndarray
    faces: list[Face]
    numbers: list[int]
    sources: list[np.ndarray]
    edits: list[np.ndarray]


@lru_cache(maxsize=4)
def open_detector(spec: str = "builtin") -> Detector:
    """The detector of a spec, built once: "builtin", "yunet:PATH.onnx", "insightface".

    Raises UnknownNameError for a name that no file registers, DetectorMissing for one that is not
    installed.
    """
    name, _, argument = spec.partition(":")
    return DETECTORS[name](argument)


def detect_faces(picture: np.ndarray, detector: str | Detector = "builtin") -> list[Face]:
    """The faces of an H x W x 3 uint8 RGB image, largest first; may be empty.

    Without an upright face the image is turned by 90, 270 and 180 degrees; the faces of the first
    turn that shows any are returned in pixels of the image as it is, with their `turn`. Raises
    ValueError for another shape or dtype, ParameterError for what is no detector.
    """
    if picture.ndim != 3 or picture.shape[2] != 3 or picture.dtype != np.uint8 or not picture.size:
        raise ValueError(f"expected H x W x 3 uint8, got {picture.dtype} {picture.shape}")
    engine = open_detector(detector) if isinstance(detector, str) else detector
    if not hasattr(engine, "detect"):
        kind = type(engine).__name__
        raise ParameterError("detector", f"expected a detector or its name, got {kind}")
    if faces := engine.detect(picture):
        return faces
    # A turned copy of all pixels would take as much memory as the image, three times over.
    small, scale = downscale(picture, TURNED_SIDE)
    # Quarter turns before the half turn: cameras store those.
    for quarters in (1, 3, 2):
        found = engine.detect(np.ascontiguousarray(np.rot90(small, quarters)))
        if faces := [face for face in found if face.score >= MIN_TURNED_SCORE]:
            upright = (face.rotate_back(quarters, *small.shape[:2]) for face in faces)
            return [face.rescale(1 / scale) if scale < 1 else face for face in upright]
    return []


def turn_note(face: Face) -> list[str]:
    """The sentence on a face that was found in a turned image, if it was."""
    if not face.turn:
        return []
    return [
        f"the face is upright when the picture is turned by {360 - face.turn} degrees clockwise"
    ]


def select_faces(faces: list[Face], face: str | int = "largest") -> list[int]:
    """Numbers of the selected faces, from 1 for the largest. face: "largest", "all" or a number.

    Raises NoFace without a face, FaceNumberError for a number that does not exist.
    """
    if not faces:
        raise NoFace(
            "no face was found in this image, nor in the image turned by 90, 180 and 270 degrees; "
            "try another image or another detector"
        )
    if face == "largest":
        return [1]
    if face == "all":
        return list(range(1, len(faces) + 1))
    number = int(face) if str(face).strip().isdecimal() else 0
    if not 1 <= number <= len(faces):
        raise FaceNumberError(face, len(faces))
    return [number]


def edit_image(
    picture: np.ndarray,
    editor: Editor,
    code: Target,
    *,
    detector: str | Detector = "builtin",
    face: str | int = "largest",
    source_code: SourceCode | None = None,
) -> EditedImage:
    """Edits one face or all faces of a photograph (H x W x 3 uint8 RGB) under `code`: [dim], or
    {unit: 0..1}, see `Editor.code_of_units`.

    face: "largest", "all" or a number from 1, largest first. source_code: the face's present
    expression, see `Editor.prepare`. Raises NoFace where there is no such face, UnusableFace for
    one that cannot be aligned or whose mouth is covered.
    """
    faces = detect_faces(picture, detector)
    numbers = select_faces(faces, face)
    sources, edits, pixels = [], [], picture
    for number in numbers:
        # Crops come from the photograph itself and changes add up: neighbours stay apart.
        pixels, source, edited = edit_face(
            picture, pixels, faces[number - 1], editor, code, source_code
        )
        sources.append(source)
        edits.append(edited)
    return EditedImage(pixels, faces, numbers, sources, edits)


@dataclass(frozen=True)
class EditSettings:
    """What edits pictures and clips: the arguments of `edit_image` but the picture.

    detector: a spec, see `open_detector`. path: of clips, the way of the codes, in the place of
    `code`.
    """

    editor: Editor
    code: Target
    detector: str = "builtin"
    face: str | int = "largest"
    source_code: SourceCode | None = None
    path: CodePath | None = None

    def edit(self, picture: np.ndarray) -> EditedImage:
        """`edit_image` of a picture, H x W x 3 uint8 RGB."""
        return edit_image(
            picture,
            self.editor,
            self.code,
            detector=self.detector,
            face=self.face,
            source_code=self.source_code,
        )

    def digest(self) -> str:
        """16 hex digits of what an edit depends on besides the picture; random where the editor, or
        what reads the source code, has no sha256 of its own."""
        editor, code, path = self.editor, self.code, self.path
        parts: list[Any] = [__version__, editor.config.get("sha256") or secrets.token_hex(8)]
        parts += editor.method.dependencies
        parts += [is_marked(), self.detector, str(self.face)]
        if path is not None:
            parts += [path.times, path.codes, path.shares]
        else:
            parts.append(code if isinstance(code, Tensor) else sorted(code.items()))
        if callable(self.source_code):
            parts.append(getattr(self.source_code, "sha256", "") or secrets.token_hex(8))
        else:
            parts.append(self.source_code)
        return digest(*parts)


def edit_face(
    picture: np.ndarray,
    pixels: np.ndarray,
    face: Face | np.ndarray,
    editor: Editor,
    code: Target | Callable[[PreparedFaces], Tensor],
    source_code: SourceCode | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(pixels, source, edited): a face (or its points, 5 x 2) cut out of `picture`, edited, and its
    change pasted into `pixels`, both H x W x 3 uint8.

    code: also a function of the prepared face. source, edited: S x S x 3 uint8, the crop before and
    after the edit. Raises UnusableFace.
    """
    source, transform, margin = crop_for_editor(picture, face, editor)
    shown = source_code(source) if callable(source_code) else source_code
    ready = prepare_crop(editor, source, shown, margin)
    if callable(code):
        target = code(ready)
    else:
        target = code if isinstance(code, Tensor) else editor.code_of_units(ready, code)
    edit = editor.edit_details(ready, target)
    edited = images.to_array(edit.images)[0]
    flow = None if edit.flow is None else edit.flow[0].float().movedim(0, -1).cpu().numpy()
    return paste_face(pixels, source, edited, transform, flow), source, edited


def crop_for_editor(
    picture: np.ndarray, face: Face | np.ndarray, editor: Editor
) -> tuple[np.ndarray, SimilarityTransform, float]:
    """(crop S x S x 3 uint8, picture -> crop transform, margin) of one face, with the size and
    margin of `Editor.crop_size`. Raises BadPoints."""
    # The face's own size decides: an editor of any size gets the photograph's resolution.
    size, margin = editor.crop_size(crop_extent(face))
    return *crop_face(picture, face, size, margin), margin


def prepare_crop(
    editor: Editor, crop: np.ndarray, source_code: Sequence[float] | Tensor | None, margin: float
) -> PreparedFaces:
    """The crop of `crop_for_editor` encoded by `Editor.prepare`. Raises UnusableFace for a face
    whose mouth is covered."""
    rim = round(len(crop) * (1 - 1 / margin) / 2)
    if has_covered_mouth(crop[rim : len(crop) - rim, rim : len(crop) - rim]):
        raise UnusableFace(REFUSAL)
    return editor.prepare([crop], source_code, margin)


def encode_reference(
    picture: np.ndarray,
    editor: Editor,
    emotion: str,
    *,
    detector: str | Detector = "builtin",
    face: str | int = "largest",
) -> Tensor:
    """The code [dim] that shows an emotion in the style of a face of a reference photograph.

    Raises NoFace where no face is found, ValueError where the method takes no references.
    """
    faces = detect_faces(picture, detector)
    number = select_faces(faces, face)[0]
    source, _ = crop_face(picture, faces[number - 1], editor.size)
    return editor.encode_reference([source], emotion)[0]
