"""Presets: objective, budget and domain, and how they become the settings of one training.

A value comes from the last of these layers that sets it: default of the field, the method's paper,
objective, budget, domain, the method's own values for short trainings and for photographs, command
line.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from ganmut.methods.base import METHODS, Config
from ganmut.text import quote
from ganmut.training.config import Recipe

# What is minimised. "paper" is each method's published loss, in float32 and without an average of
# the generator, which StarGAN v2 alone has. "stable" is the same for all methods: the
# non-saturating loss with R1 is stable at one discriminator step a generator step.
OBJECTIVES: dict[str, dict[str, Any]] = {
    "paper": {"dtype": "fp32", "ema_decay": 0.0},
    "stable": {
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
    },
}

# How much is computed: sizes of images and networks, length of the training. "paper" is each
# method's published one.
_CPU: dict[str, Any] = {
    "size": 64,
    "batch": 16,
    "faces": 8000,
    "kimg": 48.0,
    "kimg_per_tick": 4.0,
    "ema_decay": 0.997,
    "width": 32,
    "blocks": 4,
    "d_width": 32,
    "d_layers": 5,
    "d_max_channels": 512,
}
BUDGETS: dict[str, dict[str, Any]] = {
    "paper": {"faces": 0},
    "quick": _CPU | {"faces": 1000, "kimg": 6.0, "kimg_per_tick": 1.0, "ema_decay": 0.99},
    "cpu": _CPU,
    "gpu": {
        "size": 128,
        "batch": 64,
        "faces": 60000,
        "kimg": 1200.0,
        "kimg_per_tick": 60.0,
        "ema_decay": 0.999,
        "width": 32,
        "blocks": 6,
        "d_width": 48,
        "d_layers": 6,
        "d_max_channels": 512,
    },
}

# Warm-ups of the stable objective by budget, in kimg. They save thousands of adversarial steps.
WARMUPS: dict[str, dict[str, Any]] = {
    "paper": {},
    "quick": {"d_warmup_kimg": 2.0, "g_warmup_kimg": 0.5},
    "cpu": {"d_warmup_kimg": 15.0, "g_warmup_kimg": 1.0},
    "gpu": {"d_warmup_kimg": 60.0, "g_warmup_kimg": 10.0},
}

# What the images are. There are few photographs, and they differ in more than expression: all of
# them are used, augmented, with more noise for the heads and a longer warm-up.
DOMAINS: dict[str, dict[str, Any]] = {
    "rendered": {},
    "photographs": {
        "faces": 0,
        "augment": 0.5,
        "head_noise": 0.12,
        "head_augment": 0.7,
        "lambda_adv": 2.0,
        "kimg": 80.0,
        "kimg_per_tick": 2.0,
        "d_warmup_kimg": 30.0,
        "g_warmup_kimg": 0.5,
    },
}


@dataclass(frozen=True)
class Layer:
    """Values of fields by name and their origin; `shared` layers are the same for all methods."""

    origin: str
    values: dict[str, Any]
    shared: bool = False


def layers(
    method: str, objective: str, budget: str, domain: str, by_labels: bool = False
) -> list[Layer]:
    """Returns the layers of a training, the last of which wins; raises ValueError for an unknown
    preset. by_labels: codes are labels where the method has units."""
    for kind, name, known in (
        ("objective", objective, OBJECTIVES),
        ("budget", budget, BUDGETS),
        ("domain", domain, DOMAINS),
    ):
        if name not in known:
            raise ValueError(f"unknown {kind} {quote(name)}. There are: {', '.join(known)}")
    entry, stable = METHODS[method], objective == "stable"
    defaults = {f.name: f.default for f in dataclasses.fields(entry.Config)}
    # Only what differs from the defaults, so that --explain names the paper where it matters.
    published = {k: v for k, v in dataclasses.asdict(entry.PAPER).items() if v != defaults[k]}
    found = [
        Layer("paper", {**entry.PAPER_RECIPE, **published}),
        Layer("objective", OBJECTIVES[objective], shared=True),
    ]
    if objective == "paper":
        found.append(Layer("paper's objective", entry.PAPER_OBJECTIVE))
        if by_labels:
            found.append(Layer("paper, labels", entry.PAPER_LABELS))
    found.append(Layer("budget", BUDGETS[budget], shared=True))
    if stable:
        found.append(Layer("warm-up", WARMUPS[budget], shared=True))
    found.append(Layer("domain", DOMAINS[domain], shared=True))
    # The paper's weights need the paper's number of steps: shorter trainings have their own.
    if stable and budget != "paper":
        found.append(Layer("short schedule", entry.SHORT_SCHEDULE))
    if domain == "photographs":
        found.append(Layer("photographs", entry.PHOTOGRAPHS))
    return found


def trace_settings(
    method: str,
    objective: str = "paper",
    budget: str = "paper",
    domain: str = "rendered",
    **overrides: Any,
) -> dict[str, tuple[Any, str]]:
    """Returns the value of every field of Recipe and of the method's Config, and its origin.

    A shared layer applies where the method has the field. Raises ValueError for a field that the
    method does not have in its own layers and overrides, or that no method has in a shared layer.
    """
    config = METHODS[method].Config
    own = dataclasses.fields(Recipe) + dataclasses.fields(config)
    known = {field.name for field in own}
    anywhere = known.union(*(METHODS[name].Config.names() for name in METHODS))
    traced = {field.name: (field.default, "default") for field in own if field.name != "method"}
    traced = {"method": (method, "command line")} | traced
    by_labels = overrides.get("code_type") == "labels"
    for layer in [
        *layers(method, objective, budget, domain, by_labels),
        Layer("command line", overrides),
    ]:
        # A shared layer speaks for all methods: a field that none has is a mistake in it.
        unknown = layer.values.keys() - (anywhere if layer.shared else known)
        if unknown:
            raise ValueError(f"{method} has no setting {', '.join(sorted(unknown))}")
        traced |= {k: (v, layer.origin) for k, v in layer.values.items() if k in known}
    return traced


def resolve_settings(
    method: str,
    objective: str = "paper",
    budget: str = "paper",
    domain: str = "rendered",
    **overrides: Any,
) -> tuple[Recipe, Config]:
    """Returns the Recipe and the Config of a method under presets, with any field overridden;
    raises ValueError for an unknown preset, field or value."""
    traced = trace_settings(method, objective, budget, domain, **overrides)
    recipe = {field.name for field in dataclasses.fields(Recipe)}
    values = {name: value for name, (value, _) in traced.items()}
    kind = METHODS[method].Config
    return (
        Recipe(**{k: v for k, v in values.items() if k in recipe}),
        kind(**{k: v for k, v in values.items() if k not in recipe}),
    )


def explain(traced: dict[str, tuple[Any, str]]) -> str:
    """Returns a table with a line for every field: name, value, origin."""
    rows = [(name, str(value), origin) for name, (value, origin) in traced.items()]
    wide = [max(len(row[i]) for row in rows) for i in range(2)]
    return "".join(f"{n:<{wide[0]}}  {v:<{wide[1]}}  {origin}\n" for n, v, origin in rows)
