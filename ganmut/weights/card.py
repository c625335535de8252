"""Model cards: the README.md of a weight folder: YAML that the Hub reads, then Markdown."""

from __future__ import annotations

from typing import Any

# What a card tells of the training, in this order, where the config holds it.
FACTS = (
    "recipe_hash",
    "data",
    "data_fingerprint",
    "size",
    "crop",
    "kimg",
    "minutes",
    "hardware",
    "dtype",
    "commit",
    "ablation_of",
)


def front_matter(tags: list[str], task: str, licence: str = "apache-2.0") -> str:
    """The YAML block at the head of a card."""
    lines = ["---", f"license: {licence}", "library_name: ganmut", f"pipeline_tag: {task}", "tags:"]
    return "\n".join([*lines, *(f"- {tag}" for tag in tags), "---", ""])


def table(facts: dict[str, Any]) -> str:
    """A two-column Markdown table, one row a fact."""
    rows = (f"| {name.replace('_', ' ')} | {value} |" for name, value in facts.items())
    return "\n".join(["| | |", "|---|---|", *rows, ""])


def training_facts(config: dict[str, Any]) -> str:
    """The table of how a weight was trained: what of FACTS its config holds."""
    known = {name: config[name] for name in FACTS if config.get(name) not in (None, "")}
    return table({k: round(v, 2) if isinstance(v, float) else v for k, v in known.items()})


def editor_card(config: dict[str, Any], method: Any, name: str, spec: str = "") -> str:
    """The card of an editor: what it is, how to use it, how it was trained, its limits.

    spec: what `ganmut.load` takes, where it is not the bundled name.
    """
    spec = spec or (f"{config['set']}/{name}" if config.get("set") else "FOLDER")
    pinned = "  # REVISION: a commit, 40 hex digits" if "@REVISION" in spec else ""
    strongest = config["emotions"][1]
    tags = ["facial-expression", "image-editing", "gan", config["method"]]
    note = f"\n{config['note']}\n" if config.get("note") else ""
    return f"""{front_matter(tags, "image-to-image", config.get("licence", "apache-2.0"))}
# {method.title}: {name}

Edits the expression of an aligned face of {config["size"]} x {config["size"]} px. Emotions:
{", ".join(config["emotions"])}.{" It changes the luminance only." if config["grey"] else ""}
Method: {method.paper}
{note}
```python
import ganmut

editor = ganmut.load("{spec}"){pinned}
faces = editor.prepare(images)  # uint8 N x H x W x 3, aligned
edited = editor.edit(faces, editor.space.of("{strongest}", 0.8))  # uint8 N x 3 x S x S
```

## Training

{training_facts(config)}
The tensors' sha256 is in `config.json`; `golden.safetensors` holds faces, codes and the edits that
these very tensors made.

## Limits

An edited face shows an expression that the person did not make. Say so wherever you show one, and
ask the person first. The emotion names are labels of the training data, not what a person feels.
"""


def extractor_card(config: dict[str, Any], extractor: Any, name: str) -> str:
    """The card of an extractor: what it tells, how well, and on whom it learned."""
    spec = f"{config['set']}/{name}" if config.get("set") else "FOLDER"
    tags = ["facial-expression", "evaluation", config["extractor"]]
    task, licence = "image-feature-extraction", config.get("licence", "apache-2.0")
    note = f"\n{config['note']}\n" if config.get("note") else ""
    shared = config.get("split") == "train"
    whom = "which editors learned from too" if shared else "of people whom no editor sees"
    return f"""{front_matter(tags, task, licence)}
# {extractor.title}: {name}

Looks at aligned faces (resized to {config["size"]} x {config["size"]} px) and gives
{extractor.outputs}.
A judge of editors: it learned from {config["faces"]} faces {whom}.
{note}
```python
from ganmut import extractors

seen = extractors.load("{spec}")(images)  # uint8 N x 3 x H x W
seen.features, seen.outputs
```

## Its own accuracy, on the test split

{score_tables(config["scores"])}
## Training

{training_facts(config)}
It judges faces like those it learned from. What it says about other faces, and about what a person
feels, means nothing.
"""


def score_tables(scores: dict[str, Any]) -> str:
    """Markdown tables: of the named numbers, and of each dict of named numbers; no lists."""
    shown = {k: f"{v:.3f}" if isinstance(v, float) else v for k, v in scores.items()}
    parts = [table({k: v for k, v in shown.items() if not isinstance(v, dict | list)})]
    for name, row in scores.items():
        if isinstance(row, dict):
            parts.append(f"### {name.replace('_', ' ')}\n")
            parts.append(table({k: f"{v:.3f}" for k, v in row.items()}))
    return "\n".join(parts)
