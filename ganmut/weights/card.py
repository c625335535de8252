"""Model cards: the README.md of a weight folder, YAML for the Hub and Markdown."""

from __future__ import annotations

from typing import Any

from ganmut.text import quantity

# Facts of the training that a card lists, in this order, where the config holds them.
FACTS = (
    "recipe_hash",
    "data",
    "data_fingerprint",
    "data_changes",
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
    """The YAML block at the head of a card: licence, library, pipeline task and tags."""
    from huggingface_hub import ModelCardData

    data = ModelCardData(license=licence, library_name="ganmut", pipeline_tag=task, tags=tags)
    return f"---\n{data.to_yaml()}\n---\n"


def table(facts: dict[str, Any]) -> str:
    """A Markdown table of two columns, one row per fact."""
    rows = (f"| {name.replace('_', ' ')} | {value} |" for name, value in facts.items())
    return "\n".join(["| | |", "|---|---|", *rows, ""])


def training_facts(config: dict[str, Any]) -> str:
    """The table of the FACTS that a config holds; floats with two digits."""
    known = {name: config[name] for name in FACTS if config.get(name) not in (None, "")}
    return table({k: round(v, 2) if isinstance(v, float) else v for k, v in known.items()})


def editor_card(config: dict[str, Any], method: Any, name: str, spec: str = "") -> str:
    """The card of an editor: purpose, usage, training and limits.

    spec: the argument of `ganmut.load`; by default the bundled name.
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
`config.json` holds the sha256 of the tensors; `golden.safetensors` holds faces, codes and the edits
that these tensors make.

## Limits

An edited face shows an expression that the person did not make. Ask for the person's consent, and
mark edited images as edited. Emotion names are labels of the training data, not feelings.
"""


def extractor_card(config: dict[str, Any], extractor: Any, name: str) -> str:
    """The card of an extractor: outputs, accuracy and training data."""
    spec = f"{config['set']}/{name}" if config.get("set") else "FOLDER"
    tags = ["facial-expression", "evaluation", config["extractor"]]
    task, licence = "image-feature-extraction", config.get("licence", "apache-2.0")
    note = f"\n{config['note']}\n" if config.get("note") else ""
    shared = config.get("split") == "train"
    people = (
        "that editors are trained on, too" if shared else "of people that no editor is trained on"
    )
    return f"""{front_matter(tags, task, licence)}
# {extractor.title}: {name}

Input: aligned faces (resized to {config["size"]} x {config["size"]} px). Output:
{extractor.outputs}.
It scores edited faces. Trained on {quantity(config["faces"], "face")} {people}.
{note}
```python
from ganmut import extractors

extraction = extractors.load("{spec}")(images)  # uint8 N x 3 x H x W
extraction.features, extraction.outputs
```

## Accuracy on the test split

{score_tables(config["scores"])}
## Training

{training_facts(config)}
Scores are valid for faces like those of its training data only. It does not measure what a person
feels.
"""


def score_tables(scores: dict[str, Any]) -> str:
    """Markdown tables: one of the plain scores, and one per dict of scores; lists are left out."""
    shown = {k: f"{v:.3f}" if isinstance(v, float) else v for k, v in scores.items()}
    parts = [table({k: v for k, v in shown.items() if not isinstance(v, dict | list)})]
    for name, row in scores.items():
        if isinstance(row, dict):
            parts.append(f"### {name.replace('_', ' ')}\n")
            parts.append(table({k: f"{v:.3f}" for k, v in row.items()}))
    return "\n".join(parts)
