"""The end of a video file as its own structure states it: FFmpeg reads a file that was cut short up
to the cut, without a word."""

from __future__ import annotations

import os
from typing import BinaryIO

BOXES = (b"ftyp", b"moov", b"mdat", b"moof")  # of MP4; others may be another program's trailer
SEGMENT = b"\x18\x53\x80\x67"  # of Matroska: everything but the head of the file


def missing_bytes(file: BinaryIO) -> int:
    """How many bytes of a video are not there, 0 where its structure does not say; the file is read
    from its start again afterwards."""
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    head = file.read(64)
    stated = 0
    if head[4:8] in BOXES:
        stated = _end_of_boxes(file, size)
    elif head[:4] == b"RIFF":
        stated = _end_of_riffs(file, size)
    elif head[:4] == b"\x1a\x45\xdf\xa3":
        stated = _end_of_segment(head)
    file.seek(0)
    return max(stated - size, 0)


def _end_of_boxes(file: BinaryIO, size: int) -> int:
    """Where the last box of an MP4 ends."""
    place = end = 0
    while place < size:
        file.seek(place)
        head = file.read(16)
        length, kind = int.from_bytes(head[:4]), head[4:8]
        if length == 1:  # the length stands behind the kind
            length = int.from_bytes(head[8:16])
        if length < 8:  # up to the end of the file, or no box
            break
        place += length
        end = place if kind in BOXES else end
    return end


def _end_of_riffs(file: BinaryIO, size: int) -> int:
    """Where the last part of an AVI ends; recorders that were switched off state none."""
    place = end = 0
    while place < size:
        file.seek(place)
        head = file.read(8)
        if head[:4] != b"RIFF":
            break
        place += 8 + int.from_bytes(head[4:], "little")
        end = place
    return end


def _end_of_segment(head: bytes) -> int:
    """Where the segment of a Matroska file ends, 0 where it does not say or lies further behind."""
    place = head.find(SEGMENT) + len(SEGMENT)
    if place < len(SEGMENT) or place >= len(head) or not head[place]:
        return 0
    width = 9 - head[place].bit_length()
    length = int.from_bytes(head[place : place + width]) & ((1 << 7 * width) - 1)
    if length == (1 << 7 * width) - 1:  # not known when it was begun
        return 0
    return place + width + length
