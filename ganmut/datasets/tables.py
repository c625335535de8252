"""Tables that programs of any system wrote: csv and JSON lines in any usual encoding, and the
columns and rows of tables that other libraries read."""

from __future__ import annotations

import codecs
import csv
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO

from ganmut.datasets.base import BadData
from ganmut.errors import describe_os_error, first_line
from ganmut.files import STAND_IN_BYTES, DamagedFile, describe_stand_in, require_file
from ganmut.json_files import parse_json
from ganmut.text import quote

CHUNK = 1 << 20
REMEDY = "save it as UTF-8"
# What a row may have beside image and label.
COLUMNS = ("split", "person", "fill", "units", "blendshapes")
UNIT_COLUMN = re.compile(r"\s*AU\d\d(_r)?\s*", re.IGNORECASE)


def open_text(path: Path) -> TextIO:
    """A text file opened for reading, in UTF-8, UTF-16, UTF-32 or, where it is none, Windows-1252.

    Raises BadData for a file that cannot be read or is in another encoding.
    """
    try:
        return open(path, encoding=find_encoding(path), newline="")
    except DamagedFile as error:
        raise BadData(str(error)) from None
    except OSError as error:
        raise BadData(describe_os_error(error)) from None


def find_encoding(path: Path) -> str:
    """The name of the encoding of a text file; raises BadData where it is unknown, OSError."""
    with open(require_file(path), "rb") as file:
        start = file.read(STAND_IN_BYTES)
        if stand_in := describe_stand_in(start):
            raise BadData(f"{path} is {stand_in}")
        # The mark of UTF-32 begins as that of UTF-16 does.
        if start.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
            candidates: tuple[str, ...] = ("utf-32",)
        elif start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            candidates = ("utf-16",)
        elif b"\0" in start:  # UTF-16 without a mark: Latin letters have a zero byte each
            candidates = ("utf-16-be" if start[:1] == b"\0" else "utf-16-le",)
        else:
            candidates = ("utf-8-sig", "cp1252")
        for name in candidates:
            file.seek(0)
            decoder = codecs.getincrementaldecoder(name)()
            try:
                while chunk := file.read(CHUNK):
                    decoder.decode(chunk)
                decoder.decode(b"", final=True)
            except UnicodeError:
                continue
            return name
    raise BadData(f"{path} is not text in {' or '.join(candidates)}; {REMEDY}")


def read_csv(path: Path) -> Iterator[tuple[int, list[str]]]:
    """(line number, cells) of the rows of a csv file that are not empty. Raises BadData."""
    with open_text(path) as file:
        reader = csv.reader(file, skipinitialspace=True)
        try:
            for cells in reader:
                if cells:
                    yield reader.line_num, cells
        except (csv.Error, UnicodeError) as error:
            raise BadData(
                f"{path} line {reader.line_num} cannot be read ({first_line(error)}); "
                "is a quotation mark not closed?"
            ) from None


def read_csv_columns(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """(line number, columns by name) of a csv file with a header; cells that are missing are "".

    Raises BadData for two columns of one name and for a row with more cells than the header.
    """
    names: list[str] = []
    for number, cells in read_csv(path):
        if not names:
            names = [name.strip() for name in cells]
            check_distinct(path, filter(None, names), names)
            continue
        if any(cells[len(names) :]):
            raise BadData(
                f"{path} line {number} has {len(cells)} cells, its header {len(names)}; "
                "quote cells that hold a comma"
            )
        row = cells + [""] * (len(names) - len(cells))
        yield number, {name: cell for name, cell in zip(names, row, strict=False) if name}


def check_distinct(where: object, used: Iterable[str], names: Sequence[str]) -> None:
    """Raises BadData where a table has two columns of a name that is used."""
    if twice := sorted({name for name in used if names.count(name) > 1}):
        raise BadData(f"{where} has two columns {quote(twice[0])}; keep one")


def row_columns(names: Iterable[str], label: str) -> list[str]:
    """The columns that a row is made of, beside its image: the others need not be readable."""
    return [c for c in names if c in (label, *COLUMNS) or UNIT_COLUMN.fullmatch(c)]


def readable_rows(rows: Iterable[dict[str, Any]], where: object) -> Iterator[dict[str, Any]]:
    """The rows that another library reads; raises BadData for whatever that raises."""
    try:
        yield from rows
    except Exception as error:  # noqa: BLE001 (a decoder may raise anything at damaged bytes)
        raise BadData(
            f"{where}: a row cannot be read ({first_line(error)}); download or write the file again"
        ) from None


def read_lines(path: Path) -> Iterator[str]:
    """The lines of a text file that are not blank. Raises BadData."""
    with open_text(path) as file:
        yield from (line for line in file.read().splitlines() if line.strip())


def parse_line(text: str, path: Path, number: int) -> Any:
    """The value of a JSON text; raises BadData with its file and line."""
    try:
        return parse_json(text)
    except DamagedFile as error:
        raise BadData(f"{path.name} line {number} is {error}") from None
