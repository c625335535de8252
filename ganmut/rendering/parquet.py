"""Rendered faces as a data set of the Hub: Parquet files, a data card and Croissant metadata."""

from __future__ import annotations

import io
import json
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tqdm import tqdm

from ganmut import __version__
from ganmut.emotions import EMOTIONS, UNITS
from ganmut.errors import ParameterError
from ganmut.files import replaced_folder, sha256, write_atomic
from ganmut.images import to_array
from ganmut.rendering.sampler import sample_parameters
from ganmut.rendering.shading import render

# Split -> its share, as `procedural` has them by default.
SHARES = {"train": 20 / 39, "extractor": 12 / 39, "test": 3.5 / 39, "validation": 3.5 / 39}
CHUNK = 256  # faces that are rendered, and written as one row group
SHARD = 5120  # faces of one file
TYPES = {
    "image": ("sc:ImageObject", "PNG, RGB, aligned: ArcFace's template moved up by 7 px of 128"),
    "emotion": ("sc:Integer", "class label: " + ", ".join(EMOTIONS)),
    "units": ("sc:Float", "17 action units in 0..1: " + ", ".join(f"AU{u}" for u in UNITS)),
    "person": ("sc:Text", "who it is; no person is in two splits"),
}


def write_dataset(out: Path, n: int, size: int, seed: int, progress: bool = True) -> list[Path]:
    """Renders `n` faces of size x size px into Parquet files below `out`, whole or not at
    all, and returns the files.

    A face depends on seed, split and its number alone: it is that of the data source `procedural`.
    Raises ParameterError for a folder that holds something, and for too few faces.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ParameterError("out", f"{out} exists; name a new folder")
    counts = {split: round(n * share) for split, share in SHARES.items()}
    counts["train"] += n - sum(counts.values())
    if min(counts.values()) < len(EMOTIONS):
        raise ParameterError("n", f"a data set of four splits needs at least 80 faces, got {n}")
    schema = _schema()
    with replaced_folder(out) as folder:
        (folder / "data").mkdir()
        bar = tqdm(total=sum(counts.values()), unit="face", disable=not progress, file=sys.stderr)
        with bar:
            for split, count in counts.items():
                for shard in _shards(folder / "data", split, count):
                    _write_shard(*shard, split, size, seed, schema, bar)
        files = sorted((folder / "data").iterdir())
        write_atomic(folder / "README.md", data_card(counts, size, seed))
        text = json.dumps(croissant(files, size, seed), indent=2)
        write_atomic(folder / "croissant.json", text + "\n")
        names = [file.name for file in files]
    return [out / "data" / name for name in names]


def _shards(folder: Path, split: str, count: int) -> Iterator[tuple[Path, range]]:
    """(file, numbers of its faces) of the files of a split, named as `datasets` names them."""
    shards = math.ceil(count / SHARD)
    for number in range(shards):
        rows = range(number * SHARD, min((number + 1) * SHARD, count))
        yield folder / f"{split}-{number:05d}-of-{shards:05d}.parquet", rows


def _write_shard(
    path: Path, rows: range, split: str, size: int, seed: int, schema: Any, bar: Any
) -> None:
    import pyarrow
    import pyarrow.parquet

    with pyarrow.parquet.ParquetWriter(path, schema) as writer:
        for start in range(rows.start, rows.stop, CHUNK):
            part = range(start, min(start + CHUNK, rows.stop))
            faces = sample_parameters(seed, split, part)
            units, pixels = faces.units.tolist(), to_array(render(faces, size))
            people, emotions = faces.person.tolist(), faces.emotion.tolist()
            cells = [
                {
                    "image": {"bytes": _png(pixels[i]), "path": f"{split}-{number:06d}.png"},
                    "emotion": emotions[i],
                    "units": units[i],
                    "person": f"{split}-{people[i]}",
                }
                for i, number in enumerate(part)
            ]
            writer.write_table(pyarrow.Table.from_pylist(cells, schema))
            bar.update(len(part))


def _png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def _schema() -> Any:
    """The schema of the files, with the types that the viewer of the Hub and `datasets` read.
    Raises ParameterError where the package is missing."""
    try:
        import datasets
    except ImportError:
        raise ParameterError(
            "format", "Parquet needs the package datasets: pip install 'ganmut[data]'"
        ) from None
    columns = {
        "image": datasets.Image(),
        "emotion": datasets.ClassLabel(names=list(EMOTIONS)),
        "units": datasets.List(datasets.Value("float32"), length=len(UNITS)),
        "person": datasets.Value("string"),
    }
    return datasets.Features(columns).arrow_schema


# Descriptions -------------------------------------------------------------------------------------


def data_card(counts: dict[str, int], size: int, seed: int) -> str:
    """README.md of the data set, as the Hub shows it."""
    files = "".join(f"  - split: {split}\n    path: data/{split}-*.parquet\n" for split in counts)
    table = "\n".join(f"| {split} | {count:,} |" for split, count in counts.items())
    columns = "\n".join(f"| `{name}` | {text} |" for name, (_, text) in TYPES.items())
    return f"""---
license: apache-2.0
task_categories:
- image-classification
tags:
- facial-expression
- action-units
- synthetic
configs:
- config_name: default
  data_files:
{files}---

# Rendered faces with known expressions

{sum(counts.values()):,} faces of {size} x {size} px, rendered by ganmut {__version__} with seed
{seed}. Nobody of them exists. Person, emotion, action units, pose and light are drawn at random; a
label is drawn from a mixture of emotions, so that faces are ambiguous, as labelled photographs are.
`train` has AffectNet's imbalance of classes, `test` and `validation` have every emotion equally
often. `extractor` is for networks that measure editors trained on `train`.

| split | faces |
| --- | --- |
{table}

| column | content |
| --- | --- |
{columns}

Results on these faces compare methods. They say nothing about photographs: networks trained here
do not read real faces.

```python
from datasets import load_dataset

faces = load_dataset("parquet", data_files={{"train": "data/train-*.parquet"}})
```

`python -m ganmut train ganmut --data folder:PATH` trains on this folder, and
`--data hub:OWNER/NAME@REVISION` on the same files on the Hub. `ganmut faces --format parquet` makes
them again, with the same pixels.
"""


def croissant(files: list[Path], size: int, seed: int) -> dict[str, Any]:
    """The Croissant 1.0 description (JSON-LD) of Parquet files."""
    objects = [
        {
            "@type": "cr:FileObject",
            "@id": file.stem,
            "name": file.name,
            "contentUrl": f"data/{file.name}",
            "contentSize": f"{file.stat().st_size} B",
            "encodingFormat": "application/x-parquet",
            "sha256": sha256(file),
        }
        for file in files
    ]
    file_set = {
        "@type": "cr:FileSet",
        "@id": "faces-parquet",
        "containedIn": [{"@id": file.stem} for file in files],
        "encodingFormat": "application/x-parquet",
        "includes": "data/*.parquet",
    }
    fields = [
        {
            "@type": "cr:Field",
            "@id": f"faces/{name}",
            "name": name,
            "description": text,
            "dataType": kind,
            **({"repeated": True} if name == "units" else {}),
            "source": {"fileSet": {"@id": "faces-parquet"}, "extract": {"column": name}},
        }
        for name, (kind, text) in TYPES.items()
    ]
    return {
        "@context": {
            "@vocab": "https://schema.org/",
            "sc": "https://schema.org/",
            "cr": "http://mlcommons.org/croissant/",
            "dct": "http://purl.org/dc/terms/",
            "conformsTo": "dct:conformsTo",
            "column": "cr:column",
            "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
            "extract": "cr:extract",
            "field": "cr:field",
            "fileSet": "cr:fileSet",
            "includes": "cr:includes",
            "recordSet": "cr:recordSet",
            "repeated": "cr:repeated",
            "source": "cr:source",
        },
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "name": "ganmut-rendered-faces",
        "description": f"Rendered faces of {size} px with known emotion, action units and person",
        "license": "https://www.apache.org/licenses/LICENSE-2.0",
        "version": f"{__version__}+seed{seed}",
        "distribution": [*objects, file_set],
        "recordSet": [{"@type": "cr:RecordSet", "@id": "faces", "name": "faces", "field": fields}],
    }
