"""Files: whole or not at all, appended by the line, checked when read, swept after a kill."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

import ganmut
from ganmut import files

ROOT = Path(ganmut.__file__).parent.parent
FULL = OSError(28, "No space left on device")


def fail(*_: object) -> None:
    raise FULL


@contextlib.contextmanager
def file_limit(size: int):
    """No file of this process may grow beyond `size` bytes, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    old = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, old)


def test_lines_follow_a_torn_line(tmp_path, caplog):
    path = tmp_path / "log.jsonl"
    files.append_lines(path, [{"a": 1}, {"name": "ümlaut\u2028 in.png"}])
    for torn in ('{"a": 2', '{"a": {"b": 2}', '"text"', '{"a":' * 10**5):
        with open(path, "a") as file:
            file.write(torn)
        files.append_lines(path, [{"a": 3}])
    records, invalid = files.read_lines(path)
    assert records == [{"a": 1}, {"name": "ümlaut\u2028 in.png"}, *[{"a": 3}] * 4]
    assert invalid == [3, 5, 7, 9]
    assert "log.jsonl" in caplog.text and "4" in caplog.text
    assert files.read_lines(tmp_path / "none.jsonl") == ([], [])


def test_flipped_bits_in_lines_are_noticed():
    record = {"value": 0.0463, "name": "d/adv"}
    line = files.to_line(record).encode()
    for place in range(8 * len(line.strip())):
        flipped = bytearray(line)
        flipped[place // 8] ^= 1 << place % 8
        try:
            found = files.from_line(flipped.decode())
        except (files.DamagedFile, UnicodeDecodeError):
            continue
        # A bit of the checksum's own key or brackets: the record itself is whole.
        assert {name: found[name] for name in record} == record


def test_lines_without_a_checksum_are_read(tmp_path):
    (tmp_path / "old.jsonl").write_text('{"a": 1}\n{"b": 2}')
    assert files.read_lines(tmp_path / "old.jsonl") == ([{"a": 1}, {"b": 2}], [])


def test_names_that_are_no_text_have_a_line():
    record = {"file": os.fsdecode(b"\xff.png")}
    assert files.from_line(files.to_line(record)) == record
    for bad in ({}, {"a": float("nan")}):
        with pytest.raises(ValueError):
            files.to_line(bad)


def test_a_full_disk_leaves_the_lines_before(tmp_path):
    path = tmp_path / "log.jsonl"
    files.append_lines(path, [{"a": 1}])
    before = path.read_bytes()
    with file_limit(len(before) + 10), pytest.raises(OSError) as error:
        files.append_lines(path, [{"a": 2}])
    assert path.read_bytes() == before and error.value.filename == str(path)


def test_short_writes_append_whole_lines(tmp_path, monkeypatch):
    write = os.write
    monkeypatch.setattr(os, "write", lambda file, data: write(file, data[:10]))
    path = files.append_lines(tmp_path / "log.jsonl", [{"step": 1}, {"text": "x" * 50}])
    assert files.read_lines(path) == ([{"step": 1}, {"text": "x" * 50}], [])


def test_processes_append_whole_lines_together(tmp_path):
    code = (
        "import sys; from ganmut import files\n"
        "for i in range(40): files.append_lines(sys.argv[1], [{'who': sys.argv[2], 'i': i}])"
    )
    path = str(tmp_path / "log.jsonl")
    running = [
        subprocess.Popen([sys.executable, "-c", code, path, who], cwd=ROOT) for who in ("a", "b")
    ]
    assert [process.wait() for process in running] == [0, 0]
    records, invalid = files.read_lines(path)
    assert invalid == [] and len(records) == 80
    assert [r["i"] for r in records if r["who"] == "b"] == list(range(40))


def test_nothing_half_written_is_left(tmp_path, monkeypatch):
    (tmp_path / "kept").write_text("old")
    with monkeypatch.context() as patch:
        patch.setattr(files.os, "fsync", fail)
        with pytest.raises(OSError, match="No space") as error:
            files.write_atomic(tmp_path / "kept", "new")
    with file_limit(10), pytest.raises(OSError):
        files.write_atomic(tmp_path / "kept", "n" * 100)
    assert error.value.filename == str(tmp_path / "kept")
    assert [p.name for p in tmp_path.iterdir()] == ["kept"]
    assert (tmp_path / "kept").read_text() == "old"


def test_threads_may_write_the_same_file(tmp_path):
    texts = {str(i) * 10**5 for i in range(8)}
    writers = [
        threading.Thread(target=files.write_atomic, args=(tmp_path / "a", text)) for text in texts
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert (tmp_path / "a").read_text() in texts and len(list(tmp_path.iterdir())) == 1


def test_temporaries_of_killed_processes_are_removed(tmp_path):
    code = """
import os, signal, sys
from ganmut import files
root = sys.argv[1]
with files.replaced_folder(root + "/weights") as folder, files.replacement(root + "/a"):
    files.write_atomic(folder / "x", "x")
    os.kill(os.getpid(), signal.SIGKILL)
"""
    (tmp_path / ".mine.tmp").write_text("not ours")
    with files.replacement(tmp_path / "living"):
        done = subprocess.run([sys.executable, "-c", code, tmp_path], cwd=ROOT, check=False)
        assert done.returncode == -signal.SIGKILL
        assert len(list(tmp_path.glob(".*.tmp"))) == 4
        assert files.remove_temporaries(tmp_path) == 2
        assert len(list(tmp_path.glob(".*.tmp"))) == 2  # the living one, and one of other make
    assert {p.name for p in tmp_path.iterdir()} == {".mine.tmp", "living"}


def test_flipped_bits_in_sealed_files_are_noticed(tmp_path):
    tensors = {"a": np.arange(4, dtype=np.float32)}
    meta = {"meta": '{"step": 3}', "sha256": files.UNSEALED}
    data = files.seal(safetensors.numpy.save(tensors, meta))
    path = files.write_atomic(tmp_path / "x.safetensors", data)
    assert safetensors.numpy.load(files.unseal(path))["a"][3] == 3
    for place in range(0, 8 * len(data), 5):
        flipped = bytearray(data)
        flipped[place // 8] ^= 1 << place % 8
        path.write_bytes(flipped)
        with pytest.raises((files.DamagedFile, safetensors.SafetensorError)):
            safetensors.numpy.load(files.unseal(path))
    for length in (0, 5, 60, len(data) - 1):
        path.write_bytes(data[:length])
        with pytest.raises(files.DamagedFile, match=r"x\.safetensors"):
            files.unseal(path)


def test_a_file_without_a_seal_is_read(tmp_path):
    data = safetensors.numpy.save({"a": np.ones(3)}, {"meta": "{}"})
    (tmp_path / "x").write_bytes(data)
    assert files.unseal(tmp_path / "x") == data


def test_a_folder_has_one_holder(tmp_path):
    code = (
        "import sys; from ganmut import files\n"
        "with files.folder_lock(sys.argv[1]): print('held', flush=True); sys.stdin.read()"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", code, tmp_path], cwd=ROOT, stdin=-1, stdout=-1, text=True
    )
    assert holder.stdout and holder.stdout.readline() == "held\n"
    with pytest.raises(files.InUse) as error, files.folder_lock(tmp_path):
        pass
    assert str(holder.pid) in str(error.value) and os.uname().nodename in str(error.value)
    holder.kill()  # a killed process holds nothing, though its file is still there
    holder.communicate()
    assert (tmp_path / ".lock").exists()
    with files.folder_lock(tmp_path), pytest.raises(files.InUse), files.folder_lock(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("at_once", [True, False])
def test_a_folder_is_replaced_whole(tmp_path, monkeypatch, at_once):
    if not at_once:  # a system that cannot exchange two names
        monkeypatch.setattr(files.ctypes, "CDLL", lambda name: None)
    folder = tmp_path / "weights"
    for text in ("one", "two"):
        with files.replaced_folder(folder) as new:
            files.write_atomic(new / "text", text)
    with pytest.raises(OSError), files.replaced_folder(folder):
        fail()
    assert (folder / "text").read_text() == "two"
    assert [p.name for p in tmp_path.iterdir()] == ["weights"]


def test_a_swap_cut_in_two_is_mended(tmp_path):
    folder = tmp_path / "weights"
    with files.replaced_folder(folder) as new:
        files.write_atomic(new / "text", "one")
    os.replace(folder, tmp_path / ".weights.0123abcd.old")
    with pytest.raises(OSError), files.replaced_folder(folder):
        fail()
    assert (folder / "text").read_text() == "one"
    assert [p.name for p in tmp_path.iterdir()] == ["weights"]


@pytest.mark.parametrize("line", ["[" * 100_000, '{"a":' * 100_000])
def test_a_line_of_brackets_is_damaged(line):
    with pytest.raises(files.DamagedFile):
        files.from_line(line)


@pytest.mark.parametrize("kind", ["file", "pipe", "link"])
def test_a_folder_replaces_nothing_else(tmp_path, kind):
    place = tmp_path / "out"
    {"file": place.touch, "pipe": lambda: os.mkfifo(place), "link": lambda: place.symlink_to("x")}[
        kind
    ]()
    with pytest.raises(FileExistsError, match="out"), files.replaced_folder(place):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["out"] and not place.is_dir()


def test_errors_of_libraries_get_a_name(tmp_path):
    with pytest.raises(OSError, match="out") as caught, files.replaced_folder(tmp_path / "out"):
        raise FULL
    assert caught.value.errno == 28 and list(tmp_path.iterdir()) == []
