"""docs/models.md: every bundled editor with its edits, size, training, speed, licence and measured
quality."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ganmut import METHODS, weights
from ganmut.weights.publish import read_scores, select_scores

from . import model_samples
from .tables import number

# Metrics of the table, and their columns.
METRICS = {"accuracy": "recognised, %", "identity_distance": "identity distance"}
HEADER = [
    "weight",
    "source and edits",
    "method",
    "faces",
    "file",
    "training",
    "edit, ms",
    *METRICS.values(),
    "licence",
]

TITLES = {"photos": "Photographs", "procedural": "Rendered faces"}
TEXT = """# Bundled editors

Written by `python bench/leaderboard.py`, from `weights/` and `bench/results`.

```python
import ganmut

editor = ganmut.load("procedural/ganmut")  # aligned faces
edited = ganmut.edit("photo.jpg", emotion="happy", weights="photos/expression")  # a picture
```

The edits are {shown}, at full intensity, of a rendered face, or of
NASA's portrait of Eileen Collins (public domain). "Edit" is the processor time of one edit of a
prepared face of 64 px, or of 128 px where any size is edited, on one thread, beside other programs
({processor}, PyTorch {torch}); [speed.md](speed.md) has other sizes and processors.

Recognised is the share of edits at full intensity that the bench's classifier sees as what was
asked for. Identity distance is one minus the cosine between edit and source (0: the same person, as
far as the network sees). Both are of the default protocol; the leaderboards of [rendered
faces](../bench/results/LEADERBOARD.md) and [photographs](../bench/results/photos/LEADERBOARD.md)
have their intervals and name the networks that judge, which differ: rows of two sets cannot be
compared. Empty: not measured for exactly this file. A weak edit keeps the identity: read both
columns together.
"""
LICENCES = """
## Licence

All weights are under Apache-2.0 like the code. "Research": the photographs behind the set `photos`
are press photographs and film stills whose rights their compilers cannot clear, so use these
weights for research ([photographs.md](photographs.md)). Rendered faces show nobody.

What every method shows for every emotion is in [one picture](../bench/results/figures/sheet.png)
(rendered faces).
"""


def table(results: Path) -> str:
    """The text of docs/models.md; results: a folder with results.jsonl at any depth."""
    scores, times = read_scores(results), model_samples.read_times()
    shown = ", ".join(model_samples.SHOWN)
    parts = [TEXT.format(shown=shown, processor=times["processor"], torch=times["torch"])]
    for name in sorted(weights.list_sets()):
        rows = [row(name, weight, scores, times) for weight in weights.list_weights(name)]
        if not rows:
            continue
        lines = [HEADER, ["---"] * len(HEADER), *rows]
        body = "\n".join(f"| {' | '.join(line)} |" for line in lines)
        parts.append(f"\n## {TITLES.get(name, name)}\n\n{body}\n")
    return "".join([*parts, LICENCES])


def row(group: str, name: str, scores: list[dict[str, Any]], times: dict[str, Any]) -> list[str]:
    """The cells of one weight."""
    spec = f"{group}/{name}"
    folder = weights.resolve(spec)
    config = weights.read_config(folder)
    size = sum(path.stat().st_size for path in folder.glob("*.safetensors"))
    found = {
        score["metric"]: number(score["value"], score.get("unit") or "")
        for score in select_scores(scores, config["sha256"])
        if score["protocol"] == "default" and score["split"] == "test"
    }
    return [
        f"`{spec}`",
        f"![{name}](models/{model_samples.strip_name(spec)})",
        title(config, folder),
        f"{config['size']} px" if config["method"] in METHODS else "any size",
        f"{size / 1e6:.1f} MB",
        training(config),
        str(times["editors"][spec]["milliseconds"]),
        *(found.get(metric, "") for metric in METRICS),
        "Apache-2.0, research" if group == "photos" else "Apache-2.0",
    ]


def title(config: dict[str, Any], folder: Path) -> str:
    """The method as its paper spells it; what is not trained by a method has it on its card."""
    if config["method"] in METHODS:
        return METHODS[config["method"]].title
    card = (folder / "README.md").read_text(encoding="utf-8").splitlines()
    return next(line[2:] for line in card if line.startswith("# "))


def training(config: dict[str, Any]) -> str:
    """How much it learned from."""
    if "kimg" in config:
        return f"{config['kimg']:.0f} thousand images, {config['minutes']:.0f} min on one core"
    if "steps" in config:
        return f"{config['faces']:,} expressions, {config['steps']:,} steps"
    return f"fitted to {config['faces']:,} faces" if "faces" in config else "none"
