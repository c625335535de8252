"""Publishes weights: among the bundled ones, or as one commit of a model repository on the Hub.

The files of a weight are uploaded unchanged, after a check. Its card is written anew, with the
scores that the bench measured for the tensors of this sha256 as `model-index`.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ganmut import legacy
from ganmut.errors import ParameterError, first_line, hub_errors
from ganmut.extractors.base import EXTRACTORS
from ganmut.files import read_lines, replaced_folder, write_atomic
from ganmut.methods.base import METHODS
from ganmut.text import quantity, quote
from ganmut.weights import card, hub
from ganmut.weights.editors import verify
from ganmut.weights.resolve import bundled_root, list_folders, locate, resolve
from ganmut.weights.storage import (
    BadWeights,
    read,
    read_config,
    read_golden,
    tensor_files,
)

TOLERANCE = 12  # grey levels between golden edits made on another processor (docs/precision.md)


@dataclass(frozen=True)
class Item:
    """A file to publish: its path in the repository, and its bytes or the file that holds them."""

    path: str
    content: bytes | Path

    @property
    def size(self) -> int:
        return len(self.content) if isinstance(self.content, bytes) else self.content.stat().st_size


def bundle(folder: str | Path, set: str, name: str, **facts: Any) -> Path:
    """Copies the weight of an editor or extractor to `weights/<set>/<name>` and returns the folder.

    facts: entries added to its config and card, such as note and ablation_of.
    """
    config = {**read(folder).config, "set": set, **facts}
    target = bundled_root() / set / name
    with replaced_folder(target) as partial:
        shutil.copytree(folder, partial, dirs_exist_ok=True)
        write_atomic(partial / "config.json", json.dumps(config, indent=2, allow_nan=False) + "\n")
        if "extractor" in config:
            text = card.extractor_card(config, EXTRACTORS[config["extractor"]], name)
        elif config.get("method", "") in METHODS:
            text = card.editor_card(config, METHODS[config["method"]], name)
        else:  # a fitted method and a landmark network write their own card
            return target
        write_atomic(partial / "README.md", text)
    return target


def read_scores(results: Path) -> list[dict[str, Any]]:
    """The scores in all results.jsonl below a folder, in the order of writing, current names.
    Raises ParameterError where there is none."""
    paths = sorted(results.rglob("results.jsonl"))
    if not paths:
        raise ParameterError(
            "results", f"{results} has no results.jsonl; give a folder that the bench wrote"
        )
    records = [record for path in paths for record in read_lines(path)[0]]
    found = [legacy.read_result(record) for record in records]
    return [r for r in found if r.get("kind") == "score" and r.get("status") == "ok"]


def select_scores(scores: Iterable[dict[str, Any]], sha256: str) -> list[dict[str, Any]]:
    """The scores of the tensors of this sha256; of repeated measurements the last one."""
    same = ("metric", "data", "split", "size", "protocol")
    kept: dict[tuple[Any, ...], dict[str, Any]] = {}
    for score in scores:
        if score["weights_sha256"] == sha256 and score["value"] is not None:
            # A later score of the same measurement replaces an earlier one.
            kept[tuple(score[name] for name in same)] = score
    return list(kept.values())


def plan_upload(spec: str | Path, to: str, results: Path | None) -> list[Item]:
    """The files that `push` uploads for a run, a weight, a set or a folder of sets; results: where
    the cards' scores are, None for cards without.

    Raises BadWeights or UnknownNameError for what cannot be published, ParameterError where
    `to` is not OWNER/NAME or `results` has none.
    """
    if not re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*", to):
        raise ParameterError(
            "to", f"expected OWNER/NAME such as me/ganmut-weights, got {quote(to)}"
        )
    scores = read_scores(results) if results else []
    folders = list_members(spec)
    items, measurements = [], {}
    for inside, folder in folders.items():
        config = check_publishable(folder)
        own = select_scores(scores, config["sha256"])
        measurements[inside or to.partition("/")[2]] = own
        at = f"{inside}/" if inside else ""
        names = (*tensor_files(config), "config.json", "golden.safetensors")
        items += [Item(at + name, folder / name) for name in names]
        items.append(Item(f"{at}README.md", weight_card(config, folder, inside, to, own).encode()))
    if "" not in folders:
        items.append(Item("README.md", repository_card(folders, measurements, to).encode()))
    return items


def list_members(spec: str | Path) -> dict[str, Path]:
    """{folder in the repository: local folder} of every weight of a spec; the former is SET/NAME,
    or "" for a single weight."""
    root = locate(spec)
    if root is None:
        return {"": resolve(spec)}
    for folder in (root, root / "weights"):
        if (folder / "config.json").is_file():
            return {"": folder}
    # A set holds weights; a folder of sets holds them one level deeper.
    found = {}
    for folder in list_folders(root, 2):
        inside = folder.relative_to(root).as_posix()
        found[inside if "/" in inside else f"{root.resolve().name}/{inside}"] = folder
    if not found:
        raise BadWeights(f"{spec} holds no weight: give a run, a weight, a set or a folder of sets")
    return {inside: found[inside] for inside in sorted(found)}


def check_publishable(folder: Path) -> dict[str, Any]:
    """The config of a weight that may be published; raises BadWeights for one that may not."""
    config = read(folder).config
    read_golden(folder)
    if origin := config.get("converted_from"):
        raise BadWeights(
            f"{folder} was converted from the authors' checkpoint ({origin}), which only they may "
            "redistribute; publish weights that you trained"
        )
    # The sha256 shows that the file is whole; only the golden edits show that this code reads it.
    if config["kind"] == "editor" and (apart := verify(folder)) > TOLERANCE:
        raise BadWeights(
            f"{folder}: edits of its golden faces differ by up to {apart:.0f} grey levels from "
            "those saved with it; bundle it again"
        )
    return config


# Cards --------------------------------------------------------------------------------------------


def weight_card(
    config: dict[str, Any], folder: Path, inside: str, to: str, scores: list[dict[str, Any]]
) -> str:
    """The card of one published weight, with its scores."""
    own = (folder / "README.md").read_text(encoding="utf-8")
    if config["kind"] != "editor":
        return own
    spec = f"hub:{to}@REVISION" + (f"/{inside}" if inside else "")
    name = inside or to.partition("/")[2]
    # A fitted method writes its own card: it was not trained as the other cards say.
    trained = config["method"] in METHODS
    text = card.editor_card(config, METHODS[config["method"]], name, spec) if trained else own
    return add_model_index(text + score_section(scores), {name: scores})


def score_section(scores: list[dict[str, Any]]) -> str:
    """A Markdown section with a table of scores, or ""."""
    if not scores:
        return ""
    head = ["\n## Measured\n", "| | value | 95 % interval | unit | faces | on |", "|" + "---|" * 6]
    lines = []
    for score in scores:
        interval = ", ".join(f"{end:.4g}" for end in score["interval"] or ())
        cells = (score["metric"], f"{score['value']:.4g}", interval, score["unit"], score["n"])
        lines.append("| " + " | ".join(map(str, (*cells, dataset_name(score)))) + " |")
    return "\n".join([*head, *lines, ""])


def dataset_name(score: dict[str, Any]) -> str:
    """The data of a score for a card: source, split and size, without the path of a folder."""
    kind, _, argument = score["data"].partition(":")
    # The path of a folder may name people or machines: only its last part is published.
    named = argument.rstrip("/").rpartition("/")[2] if kind == "folder" else argument
    return f"{kind}{':' if named else ''}{named}, {score['split']} split, {score['size']} px"


def add_model_index(text: str, scores: dict[str, list[dict[str, Any]]]) -> str:
    """A card with the scores of its models ({name: scores}) as `model-index` metadata."""
    from huggingface_hub import EvalResult, ModelCard
    from huggingface_hub.repocard_data import eval_results_to_model_index

    index = []
    for name, found in scores.items():
        results = [
            EvalResult(
                task_type="image-to-image",
                task_name="facial expression editing",
                dataset_type=score["data"].partition(":")[0],
                dataset_name=dataset_name(score),
                dataset_split=score["split"],
                dataset_config=f"{score['size']} px",
                dataset_args={"fingerprint": score["data_fingerprint"]},
                metric_type=score["metric"],
                metric_value=score["value"],
                metric_name=f"{score['metric']}, {score['unit']}" if score["unit"] else None,
                metric_args={"faces": score["n"], "protocol": score["protocol"]},
            )
            for score in found
        ]
        index += eval_results_to_model_index(name, results) if results else []
    card_with_index = ModelCard(text)
    if index:
        card_with_index.data["model-index"] = index
    return str(card_with_index)


def repository_card(
    folders: dict[str, Path], scores: dict[str, list[dict[str, Any]]], to: str
) -> str:
    """The card of a repository of several weights: a table of them, and the scores of each."""
    lines = []
    for inside, folder in folders.items():
        config = read_config(folder)
        method = config.get("method", "")
        what = METHODS[method].title if method in METHODS else method or config["kind"]
        lines.append(f"| [{inside}]({inside}) | {what} | {config.get('size', '')} |")
    # The example loads an editor where there is one.
    first = next((i for i in folders if "method" in read_config(folders[i])), next(iter(folders)))
    head = card.front_matter(["facial-expression", "image-editing", "gan"], "image-to-image")
    text = f"""{head}
# Weights of ganmut

| | | px |
|---|---|---|
{chr(10).join(lines)}

```python
import ganmut

editor = ganmut.load("hub:{to}@REVISION/{first}")
```

REVISION is a commit of this repository, 40 hex digits. With `GANMUT_HUB={to}@REVISION` in the
environment every command loads its weights from here. Each folder has its own card.
"""
    return add_model_index(text, scores)


# Sending ------------------------------------------------------------------------------------------


def push(items: list[Item], to: str, private: bool = False) -> str:
    """Uploads files as one commit and returns its hash; creates the repository where needed.

    Raises HubError where nobody is logged in or the upload fails, ParameterError where `private` is
    asked of a repository that is public already.
    """
    from huggingface_hub import CommitOperationAdd, HfApi, errors, get_token

    if not get_token():
        raise hub.HubError(
            "not logged in: run `hf auth login` with a token that has write permission "
            "(https://huggingface.co/settings/tokens), or set HF_TOKEN"
        )
    hub.check_connection()
    operations = [CommitOperationAdd(item.path, item.content) for item in items]
    count = sum(item.path.endswith("config.json") for item in items)
    try:
        # `create_repo` with exist_ok leaves a public repository public.
        if private and HfApi().repo_exists(to) and not HfApi().repo_info(to).private:
            raise ParameterError("private", f"{to} exists and is public: make it private first")
        HfApi().create_repo(to, private=private, exist_ok=True)
        done = HfApi().create_commit(
            to, operations, commit_message=f"ganmut: {quantity(count, 'weight')}"
        )
    except errors.HfHubHTTPError as error:
        raise hub.HubError(hub.explain_status(error, to)) from None
    except hub_errors() as error:
        raise hub.HubError(
            f"the upload to {to} was interrupted ({first_line(error)}); "
            "the repository is unchanged: try again"
        ) from None
    return done.oid
