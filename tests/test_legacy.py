"""Old names are read, current ones pass unchanged."""

import dataclasses

import pytest

from ganmut import legacy
from ganmut.methods.base import METHODS
from ganmut.training.config import Recipe


def test_current_names_pass_unchanged():
    values = {"width": 32, "output": "residual"}
    assert legacy.read("config", values) == values


def test_old_keys_and_values_are_renamed(monkeypatch):
    monkeypatch.setitem(legacy.KEYS, "config", {"old": "new"})
    monkeypatch.setitem(legacy.VALUES, "config", {"new": {"a": "b"}})
    assert legacy.read("config", {"old": "a", "other": 1}) == {"new": "b", "other": 1}
    assert legacy.read("config", {"old": "a", "new": "c"}) == {"new": "c"}


def test_an_inert_field_is_dropped(monkeypatch):
    monkeypatch.setattr(legacy, "INERT", frozenset({"idle"}))
    assert legacy.read_config({"idle": 1, "width": 2}, {"width"}) == {"width": 2}
    assert legacy.read_config({"idle": 1}, {"idle"}) == {"idle": 1}


def test_a_data_spec_is_renamed(monkeypatch):
    monkeypatch.setitem(legacy.KEYS, "data", {"doubt": "min_label_prob"})
    spec = "relabel:folder:a?doubt=0.4&x=1"
    assert legacy.read_data_spec(spec) == "relabel:folder:a?min_label_prob=0.4&x=1"
    assert legacy.read_data_spec("procedural") == "procedural"


def test_every_part_of_a_data_spec_is_renamed(monkeypatch):
    monkeypatch.setitem(legacy.KEYS, "data", {"doubt": "min_label_prob", "on_bad": "on_error"})
    spec = "relabel:folder:doubt?x=1&doubt=0.4 + folder:b?on_bad=skip&doubt=0 + folder:c"
    assert legacy.read_data_spec(spec) == (
        "relabel:folder:doubt?x=1&min_label_prob=0.4 + folder:b?on_error=skip&min_label_prob=0"
        " + folder:c"
    )
    assert legacy.read_data_spec("a?doubt=1+b?doubt=2") == "a?min_label_prob=1+b?min_label_prob=2"


def test_a_snapshot_prefix_is_renamed(monkeypatch):
    monkeypatch.setitem(legacy.KEYS, "snapshot", {"average": "ema"})
    assert legacy.read_snapshot_key("average.head.weight") == "ema.head.weight"
    assert legacy.read_snapshot_key("rng") == "rng"


@pytest.mark.parametrize("place", ["config", "recipe"])
def test_new_keys_exist_and_old_ones_do_not(place):
    classes = [Recipe] if place == "recipe" else [METHODS[name].Config for name in METHODS]
    fields = {field.name for cls in classes for field in dataclasses.fields(cls)}
    assert set(legacy.KEYS[place].values()) <= fields
    assert not set(legacy.KEYS[place]) & fields
