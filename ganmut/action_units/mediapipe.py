"""Provider "mediapipe": MediaPipe's face landmarker (Apache-2.0), whose 52 blendshapes are
converted to units."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from ganmut.action_units import blendshapes
from ganmut.action_units.base import PROVIDERS, ProviderUnavailable
from ganmut.text import quote

MODEL = "face_landmarker.task"
PAGE = "https://ai.google.dev/edge/mediapipe/solutions/vision/face_landmarker"
# The detector needs a margin around the head, which an aligned crop does not have.
MARGIN, MIN_SIDE = 0.25, 256  # share of the longer side; pixels


@PROVIDERS.register("mediapipe")
class MediaPipe:
    """model: the path of Google's face_landmarker.task, which users download themselves.

    Raises ProviderUnavailable without the package or the file.
    """

    def __init__(self, model: str = ""):
        try:
            import mediapipe
            from mediapipe.tasks.python import BaseOptions, vision
        except ImportError as error:
            raise ProviderUnavailable(
                f"mediapipe cannot be imported ({error}): pip install 'ganmut[units]'"
            ) from None
        path = Path(model).expanduser()
        if not model or not path.is_file():
            reason = f"no file {quote(model)}" if model else "mediapipe needs its model"
            raise ProviderUnavailable(
                f"{reason}: download {MODEL} from {PAGE} and pass its path as model"
            )
        options = vision.FaceLandmarkerOptions(
            base_options=BaseOptions(model_asset_path=str(path)),
            output_face_blendshapes=True,
            num_faces=1,
        )
        try:
            self.landmarker = vision.FaceLandmarker.create_from_options(options)
        except (RuntimeError, ValueError, OSError) as error:
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise ProviderUnavailable(f"{path} is not a face landmarker ({reason})") from None
        self.image_class = mediapipe.Image
        self.image_format = mediapipe.ImageFormat.SRGB

    def estimate_units(self, images: list[np.ndarray]) -> list[tuple[float, ...] | None]:
        """Units of the face in each image; None where MediaPipe finds no face."""
        return [self._units(pad_image(image)) for image in images]

    def _units(self, image: np.ndarray) -> tuple[float, ...] | None:
        result = self.landmarker.detect(
            self.image_class(image_format=self.image_format, data=image)
        )
        if not result.face_blendshapes:
            return None
        scores = {b.category_name: min(max(b.score, 0), 1) for b in result.face_blendshapes[0]}
        return blendshapes.units(scores)


def pad_image(image: np.ndarray) -> np.ndarray:
    """The uint8 H x W x 3 image with its border repeated outwards by MARGIN, enlarged to at least
    MIN_SIDE px."""
    margin = round(MARGIN * max(image.shape[:2]))
    padded = np.pad(image, ((margin, margin), (margin, margin), (0, 0)), mode="edge")
    scale = MIN_SIDE / min(padded.shape[:2])
    if scale > 1:
        width, height = (round(side * scale) for side in padded.shape[1::-1])
        padded = np.asarray(
            Image.fromarray(padded).resize((width, height), Image.Resampling.BICUBIC)
        )
    return np.ascontiguousarray(padded)
