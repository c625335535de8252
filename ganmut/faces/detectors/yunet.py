"""YuNet (Wu, Peng and Yu, 2023; Apache-2.0) from an ONNX file or the Hub."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import numpy as np

from ganmut.errors import first_line, hub_errors
from ganmut.faces.detectors.base import DETECTORS, DetectorMissing, Face, non_max_suppression
from ganmut.faces.detectors.builtin import downscale
from ganmut.onnx_network import BadNetwork, open_session
from ganmut.text import quote

STRIDES = (8, 16, 32)
FILE = "face_detection_yunet_2023mar.onnx"
USAGE = "write yunet:PATH.onnx, or yunet:OWNER/NAME@REVISION (40 hex digits) for a Hub repository"


@DETECTORS.register("yunet")
class YuNet:
    """`yunet:PATH.onnx`, or `yunet:OWNER/NAME[/FILE.onnx]@REVISION` on the Hub.

    Raises DetectorMissing without onnxruntime or the file, and for a network without YuNet's
    outputs.
    """

    min_score = 0.6  # geometric mean of the class and the objectness probability

    def __init__(self, argument: str = ""):
        if importlib.util.find_spec("onnxruntime") is None:
            raise DetectorMissing("yunet needs onnxruntime: pip install onnxruntime")
        path = locate(argument)
        try:
            self.session = open_session(path)
        except BadNetwork as error:
            raise DetectorMissing(str(error)) from None
        self.outputs = [output.name for output in self.session.get_outputs()]
        required = {
            f"{kind}_{stride}" for kind in ("cls", "obj", "bbox", "kps") for stride in STRIDES
        }
        if missing := sorted(required - set(self.outputs)):
            raise DetectorMissing(f"{path} is not a YuNet: it has no output {quote(missing[0])}")
        self.input = self.session.get_inputs()[0]

    def detect(self, picture: np.ndarray) -> list[Face]:
        """The faces of an H x W x 3 uint8 RGB picture, largest first."""
        # The second pass finds faces that fill the picture and exceed the anchors of the first.
        for longest in (640, 160):
            if faces := self._detect_at(picture, longest):
                return faces
        return []

    def _detect_at(self, picture: np.ndarray, longest: int) -> list[Face]:
        """The faces of the picture at a longer side of at most `longest` px, zero-padded."""
        fixed = [side for side in self.input.shape[2:] if isinstance(side, int)]
        small, scale = downscale(picture, min([longest, *fixed]))
        height, width = (
            fixed if len(fixed) == 2 else (-(-side // 32) * 32 for side in small.shape[:2])
        )
        x = np.zeros((1, 3, height, width), np.float32)
        bgr = small[..., ::-1].transpose(2, 0, 1)  # YuNet's input: BGR, 0..255
        x[0, :, : small.shape[0], : small.shape[1]] = bgr
        arrays = self.session.run(self.outputs, {self.input.name: x})
        faces = decode(dict(zip(self.outputs, arrays, strict=True)), width, self.min_score)
        return [face.rescale(1 / scale) for face in faces]


def decode(outputs: dict[str, np.ndarray], width: int, min_score: float) -> list[Face]:
    """The faces in YuNet's raw outputs for an input `width` px wide, in input pixels.

    Each stride has one anchor per cell, row by row, at the cell's corner. Box centres and points
    are offsets from the anchor in units of the stride; box sides are logarithms of that unit.
    """
    faces = []
    for stride in STRIDES:
        product = outputs[f"cls_{stride}"][0, :, 0] * outputs[f"obj_{stride}"][0, :, 0].clip(0, 1)
        # Class and objectness were trained apart; their geometric mean is the usual score.
        scores = np.sqrt(product.clip(0, 1))
        for i in np.flatnonzero(scores >= min_score):
            row, column = divmod(int(i), width // stride)
            anchor = np.array([column, row], float)
            box = outputs[f"bbox_{stride}"][0, i].astype(float)
            centre, sides = (anchor + box[:2]) * stride, np.exp(box[2:]) * stride
            points = (outputs[f"kps_{stride}"][0, i].reshape(5, 2) + anchor) * stride
            faces.append(Face(points, (*(centre - sides / 2), *sides), scores[i]))
    return non_max_suppression(faces)


def locate(argument: str) -> Path:
    """The ONNX file of an argument, downloaded from the Hub at its pinned revision where needed.

    Raises DetectorMissing for an argument that names no file.
    """
    if not argument:
        raise DetectorMissing(f"yunet needs its network: {USAGE}")
    if Path(argument).is_file():
        return Path(argument)
    match = re.fullmatch(r"([\w.-]+/[\w.-]+?)(?:/([\w./-]+\.onnx))?@([0-9a-f]{40})", argument)
    if not match:
        raise DetectorMissing(f"there is no file {quote(argument)}; {USAGE}")
    from huggingface_hub import hf_hub_download

    name, file, revision = match.groups()
    try:
        return Path(hf_hub_download(name, file or FILE, revision=revision))
    except hub_errors() as error:
        raise DetectorMissing(
            f"{argument} could not be fetched from the Hub ({first_line(error)})"
        ) from None
