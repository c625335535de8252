"""Files that survive a kill, a full disk and a flipped bit.

A file is replaced as a whole (`write_atomic`), appended to by the line (`append_lines`), or is a
safetensors file that holds its own checksum (`seal`). Temporaries have names of their own and are
locked by their writer, so that the next run can remove those of a killed one.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import glob
import hashlib
import json
import logging
import os
import re
import secrets
import shutil
import socket
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

try:
    import fcntl
except ImportError:  # Windows has no flock: nothing is locked there, and nothing is swept
    fcntl = None  # type: ignore[assignment]

log = logging.getLogger(__name__)

UNSEALED = "0" * 64  # stands for the checksum in the metadata of a file that `seal` completes
LOCK = ".lock"  # the file in a folder that a process holds
TEMPORARY = re.compile(r"\..+\.[0-9a-f]+\.tmp")
_SEAL = re.compile(rb':"([^"]{64})"[,}]')
_CHECK = re.compile(r', "crc32": "([^"]{8})"\}$')
_EXCHANGE, _AT_FDCWD = 2, -100  # of renameat2(2)


class DamagedFile(ValueError):
    """A file whose content is not what was written; the message names it."""


class InUse(ValueError):
    """A folder that another process works on; the message names the process and its host."""


# Whole files --------------------------------------------------------------------------------------


def write_atomic(path: str | Path, content: bytes | str) -> Path:
    """Writes a file atomically (temporary file beside it, fsync, rename) and returns its path.
    Raises OSError with the name of the file."""
    with replacement(path) as temporary, open(temporary, "wb") as file:
        file.write(content.encode() if isinstance(content, str) else content)
    return Path(path)


@contextlib.contextmanager
def replacement(path: str | Path) -> Iterator[Path]:
    """Yields the path of an empty temporary file, which replaces `path` afterwards; after an error
    `path` is as before. Raises OSError with the name of `path`."""
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    descriptor = -1
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = _create(temporary)
        yield temporary
        # On disk before the rename: a power failure leaves the old file or the new one.
        os.fsync(descriptor)
        os.replace(temporary, path)
    except OSError as error:
        raise _of_file(error, path) from None
    finally:
        temporary.unlink(missing_ok=True)
        if descriptor >= 0:
            os.close(descriptor)


def _create(temporary: Path) -> int:
    """The descriptor of a new file that this process has locked."""
    while True:
        # EXCL: of two processes that draw the same name one has to draw again.
        descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        _flock(descriptor, wait=True)
        if _is_at(descriptor, temporary):  # else removed by a sweep before it was locked
            return descriptor
        os.close(descriptor)


@contextlib.contextmanager
def naming_errors(path: str | Path) -> Iterator[None]:
    """Gives the errors of libraries that name no file the name of one."""
    try:
        yield
    except OSError as error:
        if error.filename or not error.errno:
            raise
        raise OSError(error.errno, os.strerror(error.errno), str(path)) from None


def _of_file(error: OSError, path: Path) -> OSError:
    """The same error, about `path`: a write that fails does not know its file."""
    return OSError(error.errno, error.strerror or str(error), str(path))


def _flock(descriptor: int, wait: bool) -> bool | None:
    """Locks a file or folder. False where another process holds it; None where nothing can be
    locked (some network file systems)."""
    if fcntl is None:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def _is_at(descriptor: int, path: Path) -> bool:
    """Whether an open file is the one at `path`, not one that was removed since."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False


def remove_temporaries(folder: str | Path, recursive: bool = False) -> int:
    """Removes the temporaries of killed processes in a folder and returns their number. Those of
    running processes are locked and stay."""
    folder, removed = Path(folder), 0
    for path in folder.rglob(".*.tmp") if recursive else folder.glob(".*.tmp"):
        if not TEMPORARY.fullmatch(path.name) or path.is_symlink():
            continue
        with contextlib.suppress(OSError):
            descriptor = os.open(path, os.O_RDONLY)
            try:
                if _flock(descriptor, wait=False):
                    shutil.rmtree(path) if path.is_dir() else path.unlink()
                    removed += 1
            finally:
                os.close(descriptor)
    return removed


# Lines --------------------------------------------------------------------------------------------


def to_line(record: dict[str, Any]) -> str:
    """A record as one line of JSON that ends with its own checksum, `"crc32": "1a2b3c4d"`. Raises
    ValueError for an empty record, NaN and infinity."""
    if not record:
        raise ValueError("an empty record has no line")
    text = to_text(record, allow_nan=False)
    return f'{text[:-1]}, "crc32": "{zlib.crc32(text.encode()):08x}"}}\n'


def to_text(record: Any, allow_nan: bool = True) -> str:
    """JSON that can be written as UTF-8. Names of files may hold bytes that are no text:
    surrogates, which only escapes can write."""
    # Readable names first; escapes only where nothing else can be written.
    text = json.dumps(record, ensure_ascii=False, allow_nan=allow_nan)
    if re.search("[\ud800-\udfff]", text):
        text = json.dumps(record, allow_nan=allow_nan)
    return text


def from_line(line: str) -> dict[str, Any]:
    """The record of a line; lines without a checksum, as earlier versions wrote, are accepted.
    Raises DamagedFile for anything else than one JSON object, or a checksum that differs."""
    line = line.strip()
    if match := _CHECK.search(line):
        line = line[: match.start()] + "}"
        # crc32 finds a torn or edited line; it is no protection against forgery.
        if match[1] != f"{zlib.crc32(line.encode()):08x}":
            raise DamagedFile("its checksum differs")
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DamagedFile(f"not JSON ({error})") from None
    if not isinstance(record, dict):
        raise DamagedFile("not a JSON object")
    return record


def append_lines(path: str | Path, records: Iterable[dict[str, Any]]) -> Path:
    """Appends records to a file of lines and returns its path.

    All or none: one write while no other process writes, after a missing end of line, to the disk
    before it returns. Raises OSError with the name of the file, which is then as before.
    """
    path = Path(path)
    data = "".join(map(to_line, records)).encode()
    if not data:
        return path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            _flock(descriptor, wait=True)
            end = os.lseek(descriptor, 0, os.SEEK_END)
            # A write that was cut short left no end of line: it must not swallow this one.
            if end and os.pread(descriptor, 1, end - 1) != b"\n":
                data = b"\n" + data
            _append(descriptor, data, end)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise _of_file(error, path) from None
    return path


def _append(descriptor: int, data: bytes, end: int) -> None:
    """Writes data at the end of a file, or leaves it as it was."""
    try:
        rest = memoryview(data)
        while rest:  # a short write: a signal came, or the disk is full, which the next one tells
            rest = rest[os.write(descriptor, rest) :]
        os.fsync(descriptor)
    except OSError:
        # A half line would be read as a damaged record for ever.
        os.ftruncate(descriptor, end)
        raise


def read_lines(path: str | Path) -> tuple[list[dict[str, Any]], list[int]]:
    """(records, numbers of the lines that cannot be read) of a file of lines; nothing where there
    is no file. Logs a warning that counts the lines that are left out."""
    path = Path(path)
    records, invalid = [], []
    content = path.read_bytes() if path.is_file() else b""
    for number, line in enumerate(content.split(b"\n"), 1):
        if not line.strip():
            continue
        try:
            records.append(from_line(line.decode()))
        except (DamagedFile, UnicodeDecodeError):
            invalid.append(number)
    if invalid:
        shown = ", ".join(map(str, invalid[:5])) + (" ..." if len(invalid) > 5 else "")
        log.warning("%s: left out what cannot be read, %d (line %s)", path, len(invalid), shown)
    return records, invalid


def trim_lines(path: str | Path, step: int) -> None:
    """Removes the records after `step` from a log of steps: what is resumed there writes them
    again. Logs a warning where the log does not reach that step."""
    records, _ = read_lines(path)
    before = [record for record in records if record.get("step", step + 1) <= step]
    if step and not any(record["step"] == step for record in before):
        log.warning("%s does not reach step %d: earlier records are lost", path, step)
    if Path(path).is_file():
        write_atomic(path, "".join(map(to_line, before)))


# Checksums ----------------------------------------------------------------------------------------


def seal(data: bytes) -> bytes:
    """The bytes of a safetensors file with its checksum in the place of UNSEALED, which a value of
    its metadata is."""
    start = data.index(f':"{UNSEALED}"'.encode(), 8, _header_end(data)) + 2
    digest = hashlib.sha256(data).hexdigest().encode()
    return data[:start] + digest + data[start + 64 :]


def require_file(path: str | Path) -> Path:
    """The path of a regular file: to open a pipe may wait for ever, and devices have no end. Raises
    DamagedFile for anything else, FileNotFoundError."""
    path = Path(path)
    if not path.is_file():
        path.stat()  # raises FileNotFoundError
        raise DamagedFile(f"{path} is damaged: it is not a regular file")
    return path


def unseal(path: str | Path) -> bytes:
    """The bytes of a file that `seal` completed, or of a safetensors file without a checksum, as
    earlier versions wrote. Raises DamagedFile where a byte differs, OSError."""
    data = require_file(path).read_bytes()
    if len(data) < 8 or _header_end(data) > len(data):
        raise DamagedFile(f"{path} is damaged: {len(data)} bytes are not the whole file")
    if match := _SEAL.search(data, 8, _header_end(data)):
        state = hashlib.sha256(memoryview(data)[: match.start(1)])
        # The digest is over the file as it was before its own digest was written into it.
        state.update(UNSEALED.encode())
        state.update(memoryview(data)[match.end(1) :])
        if state.hexdigest().encode() != match[1]:
            raise DamagedFile(f"{path} is damaged: its checksum differs")
    return data


def _header_end(data: bytes) -> int:
    return 8 + int.from_bytes(data[:8], "little")


def sha256(path: str | Path) -> str:
    """The sha256 of a file's bytes, 64 hex digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# Folders ------------------------------------------------------------------------------------------


@contextlib.contextmanager
def folder_lock(folder: str | Path) -> Iterator[None]:
    """Keeps a folder, created where needed, for this process. Raises InUse where another one holds
    it; a killed process holds nothing. Without effect on file systems that cannot lock."""
    path = Path(folder) / LOCK
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        held = _flock(descriptor, wait=False)
        if not held or _is_at(descriptor, path):
            break
        os.close(descriptor)  # its holder removed it before this process locked it
    try:
        if held is False:
            holder = os.pread(descriptor, 200, 0).decode(errors="replace") or "another process"
            raise InUse(f"{folder} is in use by {holder}; wait for it or stop it")
        if held:
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"process {os.getpid()} on {socket.gethostname()}".encode(), 0)
        yield
    finally:
        if held:
            path.unlink(missing_ok=True)
        os.close(descriptor)


@contextlib.contextmanager
def replaced_folder(folder: str | Path) -> Iterator[Path]:
    """Yields an empty temporary folder, which replaces `folder` afterwards; after an error `folder`
    is as before. OSErrors of libraries that name no file get the folder's name. Raises
    FileExistsError for what is no folder."""
    folder = Path(folder)
    if os.path.lexists(folder) and not folder.is_dir():  # what a person keeps there stays
        raise FileExistsError(errno.EEXIST, "is no folder; move it away", str(folder))
    folder.parent.mkdir(parents=True, exist_ok=True)
    for stale in folder.parent.glob(
        f".{glob.escape(folder.name)}.*.old"
    ):  # of a swap that a kill cut in two
        shutil.rmtree(stale) if folder.exists() else os.replace(stale, folder)
    remove_temporaries(folder.parent)
    temporary = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.tmp")
    temporary.mkdir()
    descriptor = os.open(temporary, os.O_RDONLY)
    _flock(descriptor, wait=True)
    try:
        with naming_errors(folder):
            yield temporary
        if folder.exists():
            _exchange(temporary, folder)
        else:
            os.replace(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        os.close(descriptor)


def _exchange(one: Path, other: Path) -> None:
    """Exchanges two folders: at once where the system can (Linux), so that no kill leaves neither
    in place, else by renaming one after the other."""
    names = os.fsencode(one), os.fsencode(other)
    renameat2 = fcntl and getattr(ctypes.CDLL(None), "renameat2", None)
    if renameat2 and renameat2(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _EXCHANGE) == 0:
        return
    old = one.with_suffix(".old")
    os.replace(other, old)
    try:
        os.replace(one, other)
    except OSError:
        os.replace(old, other)
        raise
    os.replace(old, one)


# Files that stand in for others -------------------------------------------------------------------

STAND_IN_BYTES = 512  # the start of a file that `describe_stand_in` needs


def describe_stand_in(start: bytes) -> str:
    """What a file is that was saved in the place of another, and the remedy; "" for others."""
    if start.startswith(b"version https://git-lfs"):
        return "a Git LFS pointer, not the file; run `git lfs pull`"
    # Drawings (SVG) begin as pages do.
    if re.match(rb"\s*<(!doctype|html|\?xml|head|body)", start, re.I) and b"<svg" not in start:
        return "a web page, not the file; download it again with the page's download button"
    return ""
