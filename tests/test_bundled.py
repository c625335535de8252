"""Every bundled weight: whole, small, honest about itself, and giving what it gave when made."""

from __future__ import annotations

import dataclasses
import json

import pytest

from ganmut import legacy, weights
from ganmut.datasets.base import CROP
from ganmut.extractors.loading import verify as verify_extractor
from ganmut.methods.base import METHODS
from ganmut.rendering.sampler import sample_parameters

FOLDERS = sorted(p.parent for p in weights.bundled_root().glob("*/*/config.json"))
EDITORS = [f for f in FOLDERS if weights.read_config(f)["kind"] == "editor"]
TRAINED = [f for f in EDITORS if weights.read_config(f)["method"] in METHODS]
EXTRACTORS = [f for f in FOLDERS if "extractor" in weights.read_config(f)]


def name(folder) -> str:
    return "/".join(folder.parts[-2:])


@pytest.mark.parametrize("folder", EDITORS, ids=name)
def test_an_editor_gives_its_golden_edits(folder):
    # Recorded in bfloat16; a CPU without it computes in float32 (docs/precision.md).
    assert weights.verify(folder) <= 12


@pytest.mark.parametrize("folder", EXTRACTORS, ids=name)
def test_an_extractor_gives_its_golden_features(folder):
    assert verify_extractor(folder) <= 1e-3


@pytest.mark.parametrize("folder", FOLDERS, ids=name)
def test_small_enough_and_with_a_card(folder):
    config = weights.read(folder).config
    assert max(f.stat().st_size for f in folder.iterdir()) < 6 * 2**20
    assert config.get("crop", CROP) == CROP  # the five-point network looks at windows, not crops
    card = (folder / "README.md").read_text()
    assert card.startswith("---\n") and "license:" in card


@pytest.mark.parametrize("folder", TRAINED, ids=name)
def test_an_editor_tells_how_it_was_trained(folder):
    config = json.loads((folder / "config.json").read_text())
    for fact in ("recipe_hash", "data_fingerprint", "commit", "kimg", "hardware", "minutes"):
        assert config[fact], fact
    kind = METHODS[config["method"]]
    fields = {field.name for field in dataclasses.fields(kind.Config)}
    written = set(legacy.read_config(config["config"], fields))
    assert written <= fields
    for younger in fields - written:  # than the weight: off where it is not set, or a first value
        assert getattr(kind.Config(), younger) == 0 or younger.startswith("init_"), younger


def trained(group: str) -> list[dict]:
    """The configs of a set's weights that the training loop made, not fitted ones."""
    configs = [weights.read_config(f) for f in EDITORS if f.parent.name == group]
    return [config for config in configs if config["method"] in METHODS]


def test_methods_of_a_set_share_their_terms():
    """Same data, crop, size and steps of the generator within 10 %: else no leaderboard."""
    configs = trained("procedural")
    for fact in ("data_fingerprint", "crop", "size"):
        assert len({c[fact] for c in configs}) <= 1, fact
    steps = [c["g_steps"] * c["recipe"]["batch"] for c in configs]
    assert not steps or max(steps) <= 1.1 * min(steps)


def test_bundled_weights_match_the_current_renderer():
    """A change of the renderer's seeds makes the bundled weights strangers to it."""
    configs = trained("procedural")
    for config in configs[:1]:
        recipe = config["recipe"]
        truth = sample_parameters(recipe["seed"], "train", range(recipe["faces"]))
        assert config["data_fingerprint"] == f"{truth.fingerprint}-{config['size']}"
