"""Faces in photographs: find them, cut the aligned crop, edit it and paste the change back.

`detect_faces` -> `crop_face` -> an Editor -> `paste_face`; `edit_image` does all four, `edit_files`
does them for files and folders. `align_files` makes training data: it detects and crops.
"""

from ganmut.faces.align import BadPoints, crop_face
from ganmut.faces.align_dataset import align_files
from ganmut.faces.detectors.base import DETECTORS, DetectorMissing, Face, NoFace
from ganmut.faces.image_files import edit_files
from ganmut.faces.paste_back import paste_face
from ganmut.faces.pipeline import (
    EditedImage,
    crop_for_editor,
    detect_faces,
    edit_image,
    encode_reference,
    open_detector,
    select_faces,
)
from ganmut.faces.target_code import make_target_code, source_code

__all__ = [
    "DETECTORS",
    "BadPoints",
    "DetectorMissing",
    "EditedImage",
    "Face",
    "NoFace",
    "align_files",
    "crop_face",
    "crop_for_editor",
    "detect_faces",
    "edit_files",
    "edit_image",
    "encode_reference",
    "make_target_code",
    "open_detector",
    "paste_face",
    "select_faces",
    "source_code",
]
