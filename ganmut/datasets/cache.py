"""Cache of rendered and decoded images: memory-mapped uint8 arrays on disk.

`~/.cache/ganmut` (or GANMUT_CACHE) holds `<key>-<size>.npy`, and a `.json` of the same name with
its checksum and, for decoded images, the unreadable ones. The cache may be deleted at any time.
"""

from __future__ import annotations

import errno
import hashlib
import logging
import math
import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.format import open_memmap
from tqdm import tqdm

from ganmut.datasets.base import BadData
from ganmut.files import (
    DamagedFile,
    from_line,
    remove_temporaries,
    replacement,
    require_file,
    sha256,
    to_line,
    write_atomic,
)
from ganmut.images import BadImage, resize, to_tensor

log = logging.getLogger(__name__)

CHUNK = 256  # images between two updates of the progress bar


def cache_root() -> Path:
    """The folder of the cache: GANMUT_CACHE, else ~/.cache/ganmut."""
    return Path(os.environ.get("GANMUT_CACHE") or Path.home() / ".cache" / "ganmut")


def crop_square(pixels: np.ndarray, size: int) -> np.ndarray:
    """3 x size x size uint8: the centre square of H x W x 3 uint8, resized with antialiasing."""
    height, width, _ = pixels.shape
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    middle = to_tensor(pixels[top : top + side, left : left + side])[None].float()
    return resize(middle, size)[0].round().clamp(0, 255).byte().numpy()


def cached_array(
    key: str, count: int, size: int, fill: Callable[[np.ndarray], dict[str, Any] | None]
) -> tuple[np.ndarray, dict[str, Any]]:
    """(uint8 count x 3 x size x size, memory-mapped; what `fill` returned when it filled them).

    key: identifies the content. fill: see `stored_array`. Raises BadData where the disk is full or
    cannot be written.
    """
    array = cache_root() / f"{key}-{size}.npy"
    shape = (count, 3, size, size)
    if not array.is_file() or not array.with_suffix(".json").is_file():
        _require_disk_space(array.parent, math.prod(shape))
        remove_temporaries(array.parent)
    try:
        return stored_array(array, shape, fill)
    except OSError as error:
        raise BadData(f"cannot write {array}: {error.strerror}; set GANMUT_CACHE") from None


def stored_array(
    path: Path, shape: tuple[int, ...], fill: Callable[[np.ndarray], dict[str, Any] | None]
) -> tuple[np.ndarray, dict[str, Any]]:
    """(the uint8 array in a file, memory-mapped; the facts that `fill` returned).

    `fill` gets an array of zeros to fill where the file is missing, or its content is not what was
    written, which a warning says. The checksum and the facts lie beside it in a .json. The mapping
    is copy-on-write: changes stay in this process, and torch.from_numpy does not warn about a
    read-only array. Raises OSError where the disk is full or cannot be written.
    """
    facts = _read_facts(path)
    if facts is not None:
        array = np.load(path, mmap_mode="c", allow_pickle=False)
        if array.shape == shape and array.dtype == np.uint8:
            return array, facts
    with replacement(path) as temporary:
        target = open_memmap(temporary, mode="w+", dtype=np.uint8, shape=shape)
        _reserve(temporary, target.offset)
        facts = fill(target) or {}
        # Flushed and unmapped before hashing: the file must hold what the checksum says.
        target.flush()
        del target
        digest = sha256(temporary)
    write_atomic(path.with_suffix(".json"), to_line({**facts, "sha256": digest}))
    return np.load(path, mmap_mode="c", allow_pickle=False), facts


def _read_facts(path: Path) -> dict[str, Any] | None:
    """The facts beside an array whose checksum they hold; None where it has to be made."""
    try:
        facts = from_line(require_file(path.with_suffix(".json")).read_text(encoding="utf-8"))
        if "sha256" not in facts:  # of an earlier version
            return None
        if facts.pop("sha256") != sha256(require_file(path)):
            raise DamagedFile("its checksum differs")
    except FileNotFoundError:
        return None
    except (ValueError, OSError) as error:
        log.warning("%s is damaged (%s): it is made again", path, error)
        return None
    return facts


def _reserve(path: Path, start: int) -> None:
    """Takes the space of a sparse file, from `start` on, from the disk. Raises OSError where it is
    not free; a write to a mapped page would end the process there (SIGBUS)."""
    with open(path, "r+b") as file:
        size = os.fstat(file.fileno()).st_size
        try:
            os.posix_fallocate(file.fileno(), 0, size)
        except (AttributeError, OSError) as error:
            if getattr(error, "errno", errno.EINVAL) not in (errno.EINVAL, errno.EOPNOTSUPP):
                raise
            file.seek(start)
            while start < size:  # a file system that cannot reserve
                start += file.write(bytes(min(1 << 20, size - start)))


def cached_images(
    key: str,
    count: int,
    size: int,
    read: Callable[[int], np.ndarray],
    progress: bool = True,
) -> tuple[np.ndarray, dict[int, str], str]:
    """(uint8 count x 3 x size x size, memory-mapped; unreadable: row -> reason, with zeros there;
    16 hex digits of all images as they were read, "" of a cache that an earlier version wrote).

    read(row) returns H x W x 3 uint8 or raises BadImage. It is called from several threads, and
    only where the cache lacks `key` at this size. Raises BadData as `cached_array`.
    """

    def fill(target: np.ndarray) -> dict[str, Any]:
        bad, content = _decode_images(target, size, read, progress)
        return {"unreadable": bad, "content": content}

    array, facts = cached_array(key, count, size, fill)
    bad = {int(row): reason for row, reason in facts["unreadable"].items()}
    return array, bad, facts.get("content", "")


def _decode_images(
    target: np.ndarray, size: int, read: Callable[[int], np.ndarray], progress: bool
) -> tuple[dict[int, str], str]:
    bad: dict[int, str] = {}
    # Of the pixels, not of the files: a copy that was compressed anew is other data, and a source
    # need not have files.
    hashes = [b""] * len(target)

    def decode(row: int) -> None:
        try:
            pixels = read(row)
            hashes[row] = hashlib.sha256(f"{pixels.shape}".encode() + pixels.tobytes()).digest()
            target[row] = crop_square(pixels, size)
        except BadImage as error:
            bad[row] = str(error)

    pool = ThreadPoolExecutor(min(os.cpu_count() or 1, 8))
    try:
        bar = tqdm(total=len(target), desc="decoding", unit="image", disable=not progress)
        for rows in _chunks(len(target)):
            list(pool.map(decode, rows))
            bar.update(len(rows))
        bar.close()
    finally:
        pool.shutdown(cancel_futures=True)  # Ctrl-C does not wait for the rest of a chunk
    return dict(sorted(bad.items())), hashlib.sha256(b"".join(hashes)).hexdigest()[:16]


def _chunks(count: int) -> Iterator[range]:
    for start in range(0, count, CHUNK):
        yield range(start, min(start + CHUNK, count))


def _require_disk_space(folder: Path, needed: int) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadData(f"{folder} cannot be written ({error.strerror}); set GANMUT_CACHE") from None
    if not os.access(folder, os.W_OK):
        raise BadData(f"{folder} cannot be written; set GANMUT_CACHE to another folder")
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise BadData(
            f"{folder} has {free >> 20} MB free, the decoded images need {needed >> 20} MB; "
            "set GANMUT_CACHE to another folder"
        )
