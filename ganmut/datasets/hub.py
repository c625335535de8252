"""Source "hub:OWNER/NAME@REVISION": a dataset of the Hub with an image and a label column.

The revision is a commit, 40 hex digits, so that results stay reproducible. The columns are found by
their type, or named with `image_column` and `label_column`. The columns `person`, `split`, `fill`,
`units` and AU01 .. AU45 have the meaning that they have in a folder's metadata (folder.py).
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ganmut import images
from ganmut.datasets.base import SOURCES, BadData
from ganmut.datasets.records import (
    LABELS,
    Row,
    RowFilter,
    TableSource,
    cell_text,
    parse_fill,
    parse_units,
)
from ganmut.datasets.tables import readable_rows, row_columns
from ganmut.errors import first_line, hub_errors
from ganmut.text import quote


@SOURCES.register("hub")
class Hub(TableSource):
    """A dataset of the Hub. name: its configuration; other options as TableSource. Raises
    BadData."""

    def __init__(
        self,
        argument: str,
        *,
        image_column: str = "",
        label_column: str = "",
        name: str | None = None,
        on_error: str = "raise",
        **options: Any,
    ):
        self.id, self.revision = parse(argument)
        self.name = name
        self.parts = fetch(self.id, self.revision, name)
        features = next(iter(self.parts.values())).features
        self.image_column = image_column or _image_column(self.id, features)
        label = label_column or _label_column(self.id, features)
        for column in (self.image_column, label):
            if column not in features:
                raise BadData(
                    f"{self.id} has no column {quote(column)}; it has {', '.join(features)}"
                )
        source = f"hub:{self.id}@{self.revision}"
        row_filter = RowFilter(source, on_error)
        rows = list(self._rows(label, row_filter))
        self._encoded = {split: self._undecoded(part) for split, part in self.parts.items()}
        super().__init__(source, rows, row_filter, **options)

    def read_image(self, row: Row) -> np.ndarray:
        split, _, number = row.key.rpartition("/")
        try:
            cell = self._encoded[split][int(number)][self.image_column]
        except Exception as error:  # noqa: BLE001 (pyarrow raises classes of its own and Python's)
            raise images.BadImage(f"damaged ({first_line(error)})", row.key) from None
        if not cell or (cell["bytes"] is None and not cell["path"]):
            raise images.BadImage("no image", row.key)
        try:
            return images.read_image(
                cell["path"] if cell["bytes"] is None else io.BytesIO(cell["bytes"])
            )
        except images.BadImage as error:
            raise images.BadImage(error.reason, row.key) from None

    def location(self) -> str:
        return f"{self.id}@{self.revision}/{self.name}/{self.image_column}"

    def _undecoded(self, part: Any) -> Any:
        """The image column without decoding, so that a damaged image is reported with its row."""
        from datasets import Image

        return part.select_columns([self.image_column]).cast_column(
            self.image_column, Image(decode=False)
        )

    def _rows(self, label: str, row_filter: RowFilter) -> Iterator[Row]:
        for split, part in self.parts.items():
            label_name = _label_names(part.features[label])
            table = part.select_columns(row_columns(part.column_names, label))
            for number, cells in enumerate(readable_rows(table, f"{self.id}, split {split}")):
                key = f"{split}/{number}"
                try:
                    units, fill = parse_units(cells), parse_fill(cells.get("fill"))
                except (TypeError, ValueError, OverflowError) as error:
                    row_filter.reject(key, str(error))
                    continue
                person = cell_text(cells["person"]) if "person" in cells else None
                yield Row(
                    key,
                    label_name(cells[label]),
                    split=cell_text(cells.get("split")) or split,
                    person=person,
                    units=units,
                    fill=fill,
                )


def parse(argument: str) -> tuple[str, str]:
    """("OWNER/NAME", revision) of an argument; raises BadData without a pinned revision."""
    name, _, revision = argument.partition("@")
    if not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", name):
        raise BadData(f"hub:{argument}: write hub:OWNER/NAME@REVISION")
    if not re.fullmatch(r"[0-9a-f]{40}", revision):
        raise BadData(
            f"hub:{argument}: the revision must be a commit: "
            f"hub:{name}@REVISION, the 40 hex digits of a commit (https://huggingface.co/datasets/{name}/commits/main)"
        )
    return name, revision


def fetch(name: str, revision: str, config: str | None) -> dict[str, Any]:
    """Split -> datasets.Dataset of a pinned dataset; raises BadData where it cannot be loaded."""
    try:
        import datasets
    except ImportError:
        raise BadData("the hub source needs `datasets`: pip install 'ganmut[data]'") from None
    from huggingface_hub import errors

    try:
        return dict(datasets.load_dataset(name, config, revision=revision))
    except errors.RevisionNotFoundError:
        raise BadData(f"{name} on the Hub has no revision {revision}") from None
    except (datasets.exceptions.DatasetNotFoundError, errors.RepositoryNotFoundError) as error:
        if "gated" in str(error):
            raise BadData(
                f"{name} is gated: accept its terms on https://huggingface.co/datasets/{name}, "
                "then run `hf auth login`"
            ) from None
        raise BadData(
            f"the Hub has no dataset {name} at {revision}, or it is private: log in first"
        ) from None
    except hub_errors() as error:
        raise BadData(f"{name} could not be fetched from the Hub: {first_line(error)}") from None
    except (ValueError, RuntimeError, datasets.exceptions.DatasetsError) as error:
        raise BadData(f"{name} could not be read as a dataset: {first_line(error)}") from None


def _image_column(name: str, features: Any) -> str:
    from datasets import Image

    found = [column for column, kind in features.items() if isinstance(kind, Image)]
    if len(found) != 1:
        match = f"image columns: {', '.join(found) or 'none'}"
        raise BadData(f"{name}: {match}, of {', '.join(features)}; name one with image_column")
    return found[0]


def _label_column(name: str, features: Any) -> str:
    from datasets import ClassLabel

    if usual := [column for column in LABELS if column in features]:
        return usual[0]
    found = [column for column, kind in features.items() if isinstance(kind, ClassLabel)]
    if len(found) != 1:
        match = f"label columns: {', '.join(found) or 'none'}"
        raise BadData(f"{name}: {match}, of {', '.join(features)}; name one with label_column")
    return found[0]


def _label_names(kind: Any) -> Callable[[Any], str]:
    """A function from a cell of a label column of this type to the label's name, "" for none."""
    from datasets import ClassLabel

    if not isinstance(kind, ClassLabel):
        return cell_text

    def name(cell: Any) -> str:
        named = isinstance(cell, int) and cell < len(kind.names)
        return "" if cell is None or cell < 0 else kind.names[cell] if named else cell_text(cell)

    return name
