"""Who reads which people: trainings read the train split, and nothing is chosen on the bench's."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
import torch
from toys import SHORT

from ganmut.datasets import procedural
from ganmut.rendering.sampler import SPLITS, sample_parameters
from ganmut.training import presets
from ganmut.training.loop import train

ROOT = Path(__file__).resolve().parents[1]
# Files that name the test split of a data source, and what they do with it.
READERS = {
    "bench/cli.py": "leaderboards; --split validation is for choosing",
    "bench/figures/canvas.py": "figures of finished editors",
    "bench/model_table.py": "the leaderboard's scores",
    "bench/speed/run.py": "time of rendering",
    "demo/startup/gallery.py": "example faces",
    "demo/tabs/user_study.py": "ground truth of the study",
    "ganmut/cli/render.py": "a sheet of people",
    "ganmut/cli/train_extractor.py": "scores of a finished judge, for its card",
    "ganmut/convert/base.py": "golden faces",
    "ganmut/expression/train_landmarks.py": "errors of snapshots, reported; the last one is kept",
    "ganmut/faces/covered_mouth/train.py": "errors of the finished network, for its card",
    "ganmut/expression/weight.py": "golden faces",
    "ganmut/extractors/train.py": "golden faces",
    "ganmut/faces/landmarks/train.py": "errors of the finished network, for its card",
    "ganmut/training/loop.py": "golden faces",
}
# Files that define or translate splits.
DEFINITIONS = ("ganmut/datasets/", "ganmut/rendering/sampler.py")


def names_the_test_split(path: Path) -> bool:
    """Whether "test" is an argument, an option's value or an element of a loop's values."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        values = list(ast.iter_child_nodes(node)) if not isinstance(node, ast.Subscript) else []
        keys = node.keys if isinstance(node, ast.Dict) else []
        if any(isinstance(v, ast.Constant) and v.value == "test" and v not in keys for v in values):
            return True
    return False


def test_readers_of_the_test_split_are_known():
    found = set()
    for room in ("ganmut", "bench", "demo"):
        for path in sorted((ROOT / room).rglob("*.py")):
            name = path.relative_to(ROOT).as_posix()
            if not name.startswith(DEFINITIONS) and names_the_test_split(path):
                found.add(name)
    assert found == set(READERS)


@pytest.fixture
def opened(monkeypatch):
    """(split, number of faces) of every load of rendered faces, in order."""
    loads: list[tuple[str, int | None]] = []
    load = procedural.Procedural.load

    def record(self, split, size, n=None, **options):
        loads.append((split, n))
        return load(self, split, size, n, **options)

    monkeypatch.setattr(procedural.Procedural, "load", record)
    return loads


def test_training_reads_the_train_split_alone(opened, tmp_path):
    recipe, config = presets.resolve_settings("stargan", "stable", "cpu", **SHORT)
    train(recipe, config, tmp_path, device="cpu", progress=False)
    # The last one is the weight folder's golden faces, after the last step.
    assert opened == [("train", SHORT["faces"]), ("test", 3)]


def test_splits_have_different_people():
    people = {
        split: set(sample_parameters(0, split, range(70)).person.tolist()) for split in SPLITS
    }
    assert len(set.union(*people.values())) == 10 * len(SPLITS)


def test_validation_is_balanced_like_test():
    validation = sample_parameters(0, "validation", range(70)).emotion
    assert torch.bincount(validation).tolist() == [10] * 7
    assert torch.equal(validation, sample_parameters(0, "test", range(70)).emotion)
