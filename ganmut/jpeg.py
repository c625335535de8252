"""How long a JPEG takes to decode, told from its file."""

from __future__ import annotations

from typing import BinaryIO

PLAIN_SCANS = 24  # that any JPEG may have
MAX_SCANNED = 1_000_000_000  # pixels of all scans of others
SCAN = b"\xff\xda"  # the marker that begins one
CHUNK_BYTES = 1 << 20


def is_endless(stream: BinaryIO, pixels: int) -> bool:
    """Whether a JPEG of so many pixels has scans that would take minutes: each passes over all
    pixels, also one of a few bytes. The stream stays where it is."""
    count = count_scans(stream)
    return count > PLAIN_SCANS and count * pixels > MAX_SCANNED


def count_scans(stream: BinaryIO) -> int:
    """How often a scan begins. Compressed data never holds the marker; a preview in the metadata
    may. The stream stays where it is."""
    place, count, last = stream.tell(), 0, b""
    stream.seek(0)
    while chunk := stream.read(CHUNK_BYTES):
        count += (last + chunk).count(SCAN)
        last = SCAN[:1] if chunk.endswith(SCAN[:1]) else b""
    stream.seek(place)
    return count
