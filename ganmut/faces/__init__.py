"""Faces in photographs: detection, alignment, editing and pasting back.

`detect_faces` -> `crop_face` -> an Editor -> `paste_face`; `edit_image` runs all four steps and
`edit_files` runs them on files and folders, and `edit_clip` on a video. `align_files` detects and
crops, for training data. The names are imported on first use: a program below this package that
lacks one of theirs can say so.
"""

from typing import TYPE_CHECKING

from ganmut.lazy import on_first_use

if TYPE_CHECKING:
    from ganmut.errors import UnusableFace
    from ganmut.faces.align import BadPoints, crop_face
    from ganmut.faces.align_dataset import align_files
    from ganmut.faces.detectors.base import DETECTORS, DetectorMissing, Face, NoFace
    from ganmut.faces.image_files import edit_files
    from ganmut.faces.paste_back import PasteBack, paste_face
    from ganmut.faces.pipeline import (
        EditedImage,
        EditSettings,
        crop_for_editor,
        detect_faces,
        edit_image,
        encode_reference,
        open_detector,
        prepare_crop,
        select_faces,
        turn_note,
    )
    from ganmut.faces.request import EditRequest
    from ganmut.faces.target_code import make_target_code, source_code
    from ganmut.video.editing import edit_clip

__all__ = [
    "DETECTORS",
    "BadPoints",
    "DetectorMissing",
    "EditRequest",
    "EditSettings",
    "EditedImage",
    "Face",
    "NoFace",
    "PasteBack",
    "UnusableFace",
    "align_files",
    "crop_face",
    "crop_for_editor",
    "detect_faces",
    "edit_clip",
    "edit_files",
    "edit_image",
    "encode_reference",
    "make_target_code",
    "open_detector",
    "paste_face",
    "prepare_crop",
    "select_faces",
    "source_code",
    "turn_note",
]

__getattr__, __dir__ = on_first_use(
    globals(),
    {
        "BadPoints": "ganmut.faces.align",
        "DETECTORS": "ganmut.faces.detectors.base",
        "DetectorMissing": "ganmut.faces.detectors.base",
        "EditRequest": "ganmut.faces.request",
        "EditSettings": "ganmut.faces.pipeline",
        "EditedImage": "ganmut.faces.pipeline",
        "Face": "ganmut.faces.detectors.base",
        "NoFace": "ganmut.faces.detectors.base",
        "PasteBack": "ganmut.faces.paste_back",
        "UnusableFace": "ganmut.errors",
        "align_files": "ganmut.faces.align_dataset",
        "crop_face": "ganmut.faces.align",
        "crop_for_editor": "ganmut.faces.pipeline",
        "detect_faces": "ganmut.faces.pipeline",
        "edit_clip": "ganmut.video.editing",
        "edit_files": "ganmut.faces.image_files",
        "edit_image": "ganmut.faces.pipeline",
        "encode_reference": "ganmut.faces.pipeline",
        "make_target_code": "ganmut.faces.target_code",
        "open_detector": "ganmut.faces.pipeline",
        "paste_face": "ganmut.faces.paste_back",
        "prepare_crop": "ganmut.faces.pipeline",
        "select_faces": "ganmut.faces.pipeline",
        "source_code": "ganmut.faces.target_code",
        "turn_note": "ganmut.faces.pipeline",
    },
)
