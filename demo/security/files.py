"""Which file reaches a decoder.

`open_upload` is the only place that decides whether a value that names a file may be opened.
`Page` (demo/security/limits.py) applies `check_files` to every input of every endpoint before
Gradio looks at it, `read_picture` opens pictures through `open_upload`, and `RequestFilter`
(demo/security/requests.py) asks `is_upload` before a file is served.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any, BinaryIO

from gradio.utils import get_upload_folder

from ganmut import decoding
from ganmut.images import BadImage

TYPES = ("JPEG", "PNG", "WEBP")
MAX_BYTES = 20 * 2**20  # of an upload
MAX_PIXELS = 50_000_000  # that are decoded: a JPEG may have more, it is decoded at a fraction
LONGEST, SHORTEST = 4096, 64  # px
TOO_LARGE = f"this file is larger than {MAX_BYTES // 2**20} MB; give a smaller picture"
NOT_UPLOADED = "this is not an uploaded picture; upload the picture itself"


def open_upload(name: Any) -> BinaryIO:
    """The open file that a visitor's value names; raises BadImage(NOT_UPLOADED) for any other.

    The name must be an absolute path that lies in Gradio's upload folder, as written and with its
    links followed, and be a regular file. A path outside the folder is refused before anything of
    it is looked up, and a device or a FIFO is never opened. The sentence is always the same, so it
    does not tell whether a path exists.
    """
    try:
        target = _target(name)
        # The file may have been replaced since: a link is not followed, a FIFO does not block.
        flags = ("O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC", "O_BINARY")
        number = os.open(target, os.O_RDONLY | sum(getattr(os, flag, 0) for flag in flags))
        if stat.S_ISREG(os.fstat(number).st_mode):
            return os.fdopen(number, "rb")
        os.close(number)
    except (OSError, ValueError):  # a ValueError: a NUL byte, or no text at all
        pass
    raise BadImage(NOT_UPLOADED)


def _target(name: Any) -> str:
    """The real path of an uploaded file; raises ValueError or OSError where there is none."""
    folder = os.path.abspath(get_upload_folder())
    real = os.path.realpath(folder)
    if not isinstance(name, str) or not os.path.isabs(name):
        raise ValueError("no absolute path")
    if not any(Path(os.path.abspath(name)).is_relative_to(f) for f in (folder, real)):
        raise ValueError("outside the upload folder")
    target = os.path.realpath(name)
    if not Path(target).is_relative_to(real) or not stat.S_ISREG(os.lstat(target).st_mode):
        raise ValueError("a link out of the upload folder, or no regular file")
    return target


def is_upload(name: Any) -> bool:
    """Whether `open_upload` accepts the name."""
    try:
        open_upload(name).close()
    except BadImage:
        return False
    return True


def check_files(value: Any, file_only: bool) -> None:
    """Raises BadImage(NOT_UPLOADED) unless every file that an input names is an upload.

    A file is a dictionary with a "path", at any depth, with or without "meta". file_only: whether
    the component takes nothing but a file; a string or a list is then refused, too.
    """
    if file_only and value is not None and not (isinstance(value, dict) and "path" in value):
        raise BadImage(NOT_UPLOADED)
    if isinstance(value, dict) and "path" in value and not is_upload(value["path"]):
        raise BadImage(NOT_UPLOADED)
    if isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            check_files(inner, False)


def read_picture(path: str) -> decoding.Picture:
    """The picture of an uploaded file, upright, its longest side at most LONGEST px.

    The first frame only; nothing of the file's metadata goes further. Raises BadImage with a
    sentence for the visitor, which never names a path of this machine.
    """
    with open_upload(path) as file:
        if os.fstat(file.fileno()).st_size > MAX_BYTES:
            raise BadImage(TOO_LARGE)
        try:
            picture = decoding.read_picture(
                file, longest=LONGEST, max_pixels=MAX_PIXELS, formats=TYPES
            )
        except BadImage as error:
            raise BadImage(f"this picture cannot be used: {error.reason}") from None
    shorter = min(picture.pixels.shape[:2])
    if shorter < SHORTEST:
        width, height = picture.size
        why = f"this picture is {width} x {height} px; "
        if shorter < min(width, height):
            raise BadImage(
                f"{why}reduced to {LONGEST} px, its shorter side has {shorter} px and needs "
                f"{SHORTEST}: cut out the face"
            )
        raise BadImage(f"{why}each side needs at least {SHORTEST} px")
    return picture
