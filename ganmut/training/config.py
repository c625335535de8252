"""Recipe: how to train, the same for all methods; with the method's Config it becomes a command
line and recipe.json."""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
import typing
from dataclasses import dataclass
from typing import Any

from ganmut import legacy
from ganmut.methods.base import METHODS, Config


@dataclass(frozen=True)
class Recipe:
    """How to train. kimg counts real images shown to the discriminator, in thousands, warm-ups
    included.

    faces: how many training faces to prepare (0 = all that the source has). d_warmup_kimg,
    g_warmup_kimg: kimg spent on the discriminator as a plain classifier and the generator as an
    autoencoder before the training. lr_decay_fraction: last share of the training over which the
    learning rate falls to zero. average: decay of the averaged generator a step. balanced: every
    emotion as often as any other, instead of the data's own prior. jitter: how strongly pictures
    are moved and lit at random (images.py), which a small set needs. tick: kimg between reports.
    start: the weight to go on from; a run hands on its critics as well, where they are the same
    networks.
    """

    method: str
    data: str = "procedural"
    size: int = 128
    faces: int = 20000
    batch: int = 16
    kimg: float = 3200.0
    d_warmup_kimg: float = 0.0
    g_warmup_kimg: float = 0.0
    lr_g: float = 1e-4
    lr_d: float = 1e-4
    beta1: float = 0.5
    beta2: float = 0.999
    weight_decay: float = 0.0
    lr_decay_fraction: float = 0.5
    ema_decay: float = 0.999
    balanced: bool = False
    flip: bool = True
    augment: float = 0.0
    dtype: str = "auto"
    kimg_per_tick: float = 4.0
    seed: int = 0
    init_from: str = ""

    def __post_init__(self) -> None:
        METHODS[self.method]  # raises UnknownNameError with what is near
        for name in ("size", "batch", "kimg", "kimg_per_tick", "lr_g", "lr_d"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be above 0, got {getattr(self, name)}")
        if not 0 <= self.augment <= 3:
            raise ValueError(f"augment must be in 0..3, got {self.augment}")
        if not 0 <= self.ema_decay < 1 or not 0 <= self.lr_decay_fraction <= 1:
            raise ValueError("ema_decay must be in 0..1 (below 1) and lr_decay_fraction in 0..1")
        if self.dtype not in ("auto", "bf16", "fp32"):
            raise ValueError(f"dtype must be auto, bf16 or fp32, got {self.dtype!r}")


# Settings that were found to work, the same for all methods; "paper" is each method's own published
# one. Recipe fields first, Config fields after. What a method needs besides is its own
# SHORT_SCHEDULE. The non-saturating game with R1 is stable at one critic step a generator step;
# both warm-ups save thousands of steps.
_LEAN: dict[str, Any] = {
    "lr_g": 3e-4,
    "lr_d": 2e-4,
    "lr_decay_fraction": 0.4,
    "balanced": True,
    "adversarial": "nonsaturating",
    "g_interval": 1,
    "penalty_interval": 4,
    "lambda_r1": 0.05,
    "head_noise": 0.07,
    "condition": "adain",
    "output": "residual",
}
_CPU = _LEAN | {
    "size": 64,
    "batch": 16,
    "faces": 8000,
    "kimg": 48.0,
    "kimg_per_tick": 4.0,
    "d_warmup_kimg": 15.0,
    "g_warmup_kimg": 1.0,
    "ema_decay": 0.997,
    "width": 32,
    "blocks": 4,
    "d_width": 32,
    "d_layers": 5,
    "d_max_channels": 512,
}
PRESETS: dict[str, dict[str, Any]] = {
    "paper": {},
    "cpu": _CPU,
    # Photographs, of which there are few and which differ in more than their expression: all of
    # them, shown a little moved, under more noise, and a critic that has long looked at them.
    "photos": _CPU | {
        "faces": 0, "augment": 0.5, "head_noise": 0.12, "head_augment": 0.7, "lambda_adv": 2.0,
        "kimg": 80.0, "kimg_per_tick": 2.0, "d_warmup_kimg": 30.0, "g_warmup_kimg": 0.5,
    },
    "gpu": _LEAN | {
        "size": 128, "batch": 64, "faces": 60000, "kimg": 1200.0, "kimg_per_tick": 60.0,
        "d_warmup_kimg": 60.0, "g_warmup_kimg": 10.0,
        "ema_decay": 0.999, "width": 32, "blocks": 6, "d_width": 48, "d_layers": 6,
        "d_max_channels": 512,
    },
}  # fmt: skip


def resolve_settings(method: str, preset: str = "paper", **overrides: Any) -> tuple[Recipe, Config]:
    """(Recipe, Config) of a method under a preset, with any field of either overridden; unknown
    fields raise ValueError."""
    entry = METHODS[method]
    if preset not in PRESETS:
        raise ValueError(f"unknown recipe {preset!r}. There are: {', '.join(PRESETS)}")
    paper = {**entry.PAPER_RECIPE, **dataclasses.asdict(entry.PAPER)}
    own = {} if preset == "paper" else entry.SHORT_SCHEDULE
    own = own | (entry.PHOTOS if preset == "photos" else {})
    values = {"method": method} | paper | PRESETS[preset] | own | overrides
    recipe_fields = {f.name for f in dataclasses.fields(Recipe)}
    config_fields = {f.name for f in dataclasses.fields(entry.Config)}
    unknown = set(values) - recipe_fields - config_fields
    if unknown:
        raise ValueError(f"{method} has no setting {', '.join(sorted(unknown))}")
    return (
        Recipe(**{k: v for k, v in values.items() if k in recipe_fields}),
        entry.Config(**{k: v for k, v in values.items() if k in config_fields}),
    )


def to_json(recipe: Recipe, config: Config) -> str:
    """recipe.json: it alone repeats a run."""
    both = {"recipe": dataclasses.asdict(recipe), "config": dataclasses.asdict(config)}
    return json.dumps(both, indent=2) + "\n"


def from_json(text: str) -> tuple[Recipe, Config]:
    """The inverse of `to_json`; raises ValueError for anything else."""
    try:
        both = json.loads(text)
        settings = legacy.read("recipe", both["recipe"])
        recipe = Recipe(**settings | {"data": legacy.read_data_spec(settings["data"])})
        kind = METHODS[recipe.method].Config
        fields = {field.name for field in dataclasses.fields(kind)}
        return recipe, kind(**legacy.read_config(both["config"], fields))
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise ValueError(f"not a recipe.json of this version ({error})") from None


def settings_hash(recipe: Recipe, config: Config) -> str:
    """16 hex digits that change with any setting."""
    return hashlib.sha256(to_json(recipe, config).encode()).hexdigest()[:16]


def add_options(parser: argparse.ArgumentParser, cls: type, skip: tuple[str, ...] = ()) -> None:
    """One option per field of a dataclass; what the user does not give is absent from the
    namespace."""
    group = parser.add_argument_group(f"{cls.__module__}.{cls.__name__}")
    hints = typing.get_type_hints(cls)
    for field in dataclasses.fields(cls):
        if field.name in skip:
            continue
        kind, name = hints[field.name], f"--{field.name.replace('_', '-')}"
        common = {"dest": field.name, "default": argparse.SUPPRESS}
        if kind is bool:
            group.add_argument(name, action=argparse.BooleanOptionalAction, **common)
        else:
            group.add_argument(name, type=kind, metavar=kind.__name__, **common)
