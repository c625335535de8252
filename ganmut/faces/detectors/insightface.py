"""insightface's detectors (SCRFD, RetinaFace), from a model pack or a folder of ONNX files."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

from ganmut.errors import first_line
from ganmut.faces.detectors.base import DETECTORS, DetectorMissing, Face, non_max_suppression
from ganmut.text import quote

PACK = "buffalo_sc"
LICENCE = (
    "insightface's model pack {pack} will be downloaded from its GitHub release, which has no "
    "checksum. Its weights are for non-commercial research only."
)


def announce(pack: str) -> None:
    """Prints the licence of a pack's weights, unless they are downloaded already."""
    if not (Path("~/.insightface/models") / pack).expanduser().exists():
        print(LICENCE.format(pack=quote(pack)), file=sys.stderr)


@DETECTORS.register("insightface")
class InsightFace:
    """`insightface` (the small pack), `insightface:PACK` or `insightface:FOLDER` of ONNX files.

    Prints the licence of the weights before a download. Raises DetectorMissing without the package
    or a detection network.
    """

    min_score = 0.5

    def __init__(self, argument: str = ""):
        try:
            from insightface.app import FaceAnalysis
        except ImportError as error:
            raise DetectorMissing(
                f"insightface cannot be imported ({error}): pip install insightface onnxruntime"
            ) from None
        pack = argument or PACK
        if not Path(pack).expanduser().is_dir():
            if "/" in pack or "\\" in pack:
                raise DetectorMissing(
                    f"there is no folder {quote(pack)}; give a folder of ONNX files or a "
                    "pack's name"
                )
            announce(pack)
        providers = ["CPUExecutionProvider"]
        try:
            self.app = FaceAnalysis(name=pack, allowed_modules=["detection"], providers=providers)
        except AssertionError:
            raise DetectorMissing(
                f"{pack} holds no detection network (det_*.onnx); give another pack"
            ) from None
        except Exception as error:  # noqa: BLE001 (its errors share no base class)
            raise DetectorMissing(
                f"insightface could not load {quote(pack)} ({first_line(error)})"
            ) from None
        self.app.prepare(ctx_id=-1, det_thresh=self.min_score)

    def detect(self, picture: np.ndarray) -> list[Face]:
        """The faces of an H x W x 3 uint8 RGB picture, largest first."""
        found = self.app.get(np.ascontiguousarray(picture[..., ::-1]))  # it expects OpenCV's BGR
        return non_max_suppression([_face(face) for face in found if face.kps is not None])


def _face(found: Any) -> Face:
    """A Face of insightface's own, whose box has corners (left, top, right, bottom)."""
    left, top, right, bottom = found.bbox
    box = (left, top, right - left, bottom - top)
    return Face(found.kps, box, min(float(found.det_score), 1.0))
