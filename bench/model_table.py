"""docs/models.md: every bundled editor with its size, training, licence and measured quality."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bench.tables import number
from ganmut import METHODS, weights
from ganmut.weights.publish import read_scores, select_scores

# Metrics of the table, and their columns.
METRICS = {"accuracy": "recognised, %", "identity_distance": "identity distance"}
HEADER = ["weight", "method", "faces", "file", "training", *METRICS.values()]

TITLES = {"photos": "Photographs", "procedural": "Rendered faces"}
TEXT = """# Bundled editors

Written by `python bench/leaderboard.py`, from `weights/` and `bench/results`.

```python
import ganmut

editor = ganmut.load("procedural/ganmut")  # aligned faces
edited = ganmut.edit("photo.jpg", emotion="happy", weights="photos/expression")  # a picture
```

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

All weights are under Apache-2.0 like the code. The photographs behind the set `photos` are press
photographs and film stills whose rights their compilers cannot clear: use these weights for
research ([photographs.md](photographs.md)). Rendered faces show nobody.

What every method shows for every emotion is in [one picture](../bench/results/figures/sheet.png)
(rendered faces).
"""


def table(results: Path) -> str:
    """The text of docs/models.md; results: a folder with results.jsonl at any depth."""
    scores = read_scores(results)
    parts = [TEXT]
    for name in sorted(weights.list_sets()):
        rows = [row(name, weight, scores) for weight in weights.list_weights(name)]
        if not rows:
            continue
        lines = [HEADER, ["---"] * len(HEADER), *rows]
        body = "\n".join(f"| {' | '.join(line)} |" for line in lines)
        parts.append(f"\n## {TITLES.get(name, name)}\n\n{body}\n")
    return "".join([*parts, LICENCES])


def row(group: str, name: str, scores: list[dict[str, Any]]) -> list[str]:
    """The cells of one weight."""
    folder = weights.resolve(f"{group}/{name}")
    config = weights.read_config(folder)
    size = sum(path.stat().st_size for path in folder.glob("*.safetensors"))
    found = {
        score["metric"]: number(score["value"], score.get("unit") or "")
        for score in select_scores(scores, config["sha256"])
        if score["protocol"] == "default" and score["split"] == "test"
    }
    return [
        f"`{group}/{name}`",
        title(config, folder),
        f"{config['size']} px" if config["method"] in METHODS else "any size",
        f"{size / 1e6:.1f} MB",
        training(config),
        *(found.get(metric, "") for metric in METRICS),
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
