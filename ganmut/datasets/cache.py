"""Cache of rendered and decoded images: memory-mapped uint8 arrays on disk.

`~/.cache/ganmut` (or GANMUT_CACHE) holds `<key>-<size>.npy`, and for decoded images a `.json` of
the same name that lists unreadable ones. The cache may be deleted at any time.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.lib.format import open_memmap
from tqdm import tqdm

from ganmut.datasets.base import BadData
from ganmut.files import write_atomic
from ganmut.images import BadImage, resize, to_tensor

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


def cached_array(key: str, count: int, size: int, make: Callable[[Path], None]) -> np.ndarray:
    """uint8 count x 3 x size x size, memory-mapped; `make` writes the file where it is missing.

    key: identifies the content. The file is created atomically. The mapping is copy-on-write:
    changes stay in this process, and torch.from_numpy does not warn about a read-only array. Raises
    BadData where the disk is full or cannot be written.
    """
    array = cache_root() / f"{key}-{size}.npy"
    if not array.is_file():
        _require_disk_space(array.parent, count * 3 * size * size)
        partial = array.with_name(f".{array.name}.{os.getpid()}.tmp")
        try:
            make(partial)
            os.replace(partial, array)
        except OSError as error:
            raise BadData(f"cannot write {array}: {error.strerror}; set GANMUT_CACHE") from None
        finally:
            partial.unlink(missing_ok=True)
    return np.load(array, mmap_mode="c")


def create_array(path: Path, count: int, size: int) -> np.memmap:
    """A new memory-mapped file of count x 3 x size x size uint8, to be filled and flushed."""
    return open_memmap(path, mode="w+", dtype=np.uint8, shape=(count, 3, size, size))


def cached_images(
    key: str,
    count: int,
    size: int,
    read: Callable[[int], np.ndarray],
    progress: bool = True,
) -> tuple[np.ndarray, dict[int, str]]:
    """(uint8 count x 3 x size x size, memory-mapped; unreadable: row -> reason, with zeros there).

    read(row) returns H x W x 3 uint8 or raises BadImage. It is called from several threads, and
    only where the cache lacks `key` at this size. Raises BadData as `cached_array`.
    """
    failures = cache_root() / f"{key}-{size}.json"

    def make(path: Path) -> None:
        bad = _decode_images(path, count, size, read, progress)
        write_atomic(failures, json.dumps({"pictures": count, "unreadable": bad}))

    if not failures.is_file():  # decode again: the array does not say which rows are unreadable
        (cache_root() / f"{key}-{size}.npy").unlink(missing_ok=True)
    array = cached_array(key, count, size, make)
    bad = json.loads(failures.read_text())["unreadable"]
    return array, {int(row): reason for row, reason in bad.items()}


def _decode_images(
    path: Path, count: int, size: int, read: Callable[[int], np.ndarray], progress: bool
) -> dict[int, str]:
    target = create_array(path, count, size)
    bad: dict[int, str] = {}

    def decode(row: int) -> None:
        try:
            target[row] = crop_square(read(row), size)
        except BadImage as error:
            bad[row] = str(error)

    with ThreadPoolExecutor(min(os.cpu_count() or 1, 8)) as pool:
        bar = tqdm(total=count, desc="decoding", unit="image", disable=not progress)
        for rows in _chunks(count):
            list(pool.map(decode, rows))
            bar.update(len(rows))
        bar.close()
    target.flush()
    return dict(sorted(bad.items()))


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
