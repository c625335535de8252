"""Faces in photographs: find them, cut the aligned crop, edit it and paste the change back.

`find` -> `crop` -> an Editor -> `paste`; `edit_picture` does all four, `edit_files` does them for
files and folders. `align_files` makes training data: it finds and crops.
"""

from ganmut.faces.align import BadPoints, crop
from ganmut.faces.align_dataset import align_files
from ganmut.faces.base import DETECTORS, DetectorMissing, Face, NoFace
from ganmut.faces.files import edit_files
from ganmut.faces.paste_back import paste
from ganmut.faces.pipeline import (
    EditedPicture,
    choose,
    edit_picture,
    find,
    open_detector,
    reference,
)
from ganmut.faces.target_code import wanted

__all__ = [
    "DETECTORS",
    "BadPoints",
    "DetectorMissing",
    "EditedPicture",
    "Face",
    "NoFace",
    "align_files",
    "choose",
    "crop",
    "edit_files",
    "edit_picture",
    "find",
    "open_detector",
    "paste",
    "reference",
    "wanted",
]
