"""MediaPipe's face landmarker (Apache-2.0): 52 blendshapes, read as units by ganmut.blendshapes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from ganmut.action_units import blendshapes
from ganmut.action_units.base import PROVIDERS, ProviderUnavailable

MODEL = "face_landmarker.task"
PAGE = "https://ai.google.dev/edge/mediapipe/solutions/vision/face_landmarker"
# Its detector wants a head with air around it; an aligned crop has none.
AIR, LEAST = 0.25, 256


@PROVIDERS.register("mediapipe")
class MediaPipe:
    """`model` is the path of Google's face_landmarker.task, which users fetch themselves.

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
            told = f"there is no file {model!r}" if model else "mediapipe needs its model"
            raise ProviderUnavailable(
                f"{told}: download {MODEL} from {PAGE} and pass its path as model"
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
            raise ProviderUnavailable(f"{path} is no face landmarker ({reason})") from None
        self.picture = mediapipe.Image
        self.form = mediapipe.ImageFormat.SRGB

    def estimate_units(self, images: list[np.ndarray]) -> list[tuple[float, ...] | None]:
        """The units of the face in each picture, None where MediaPipe finds no face."""
        return [self._one(aired(picture)) for picture in images]

    def _one(self, picture: np.ndarray) -> tuple[float, ...] | None:
        found = self.landmarker.detect(self.picture(image_format=self.form, data=picture))
        if not found.face_blendshapes:
            return None
        named = {one.category_name: min(max(one.score, 0), 1) for one in found.face_blendshapes[0]}
        return blendshapes.units(named)


def aired(picture: np.ndarray) -> np.ndarray:
    """The picture with its border repeated outwards, enlarged to at least 256 px."""
    margin = round(AIR * max(picture.shape[:2]))
    wide = np.pad(picture, ((margin, margin), (margin, margin), (0, 0)), mode="edge")
    scale = LEAST / min(wide.shape[:2])
    if scale > 1:
        size = [round(side * scale) for side in wide.shape[1::-1]]
        wide = np.asarray(Image.fromarray(wide).resize(size, Image.Resampling.BICUBIC))
    return np.ascontiguousarray(wide)
