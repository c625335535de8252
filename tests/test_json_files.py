"""Small JSON files of others: whatever is in their place, one error with the file's name."""

from __future__ import annotations

import os

import pytest

from ganmut.files import DamagedFile
from ganmut.json_files import MAX_BYTES, read_json


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[" * 200_000, b"\xff\xfe{}", b"9" * 5000, b"\0" * 9, b" " * (MAX_BYTES + 1)],
)
def test_damaged_files_are_named(content, tmp_path):
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(DamagedFile, match=r"a\.json"):
        read_json(tmp_path / "a.json")


def test_what_is_no_file_is_not_opened(tmp_path):
    os.mkfifo(tmp_path / "a.json")
    (tmp_path / "b.json").symlink_to("/dev/zero")
    for name in ("a.json", "b.json"):
        with pytest.raises(DamagedFile, match="regular"):
            read_json(tmp_path / name)
    with pytest.raises(FileNotFoundError):
        read_json(tmp_path / "c.json")


def test_json_is_read_in_any_encoding(tmp_path):
    (tmp_path / "a.json").write_text('{"é": [1, null]}', encoding="utf-16")
    assert read_json(tmp_path / "a.json") == {"é": [1, None]}
