"""Every setting acts: another value of a field changes networks, targets, losses or steps."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterator
from functools import lru_cache
from itertools import zip_longest

import pytest
import torch
from toys import random_batch

from ganmut.datasets.base import FaceSet
from ganmut.methods.base import METHODS, Config, Method
from ganmut.training.config import Recipe
from ganmut.training.sampler import Sampler
from ganmut.training.trainer import Trainer

EMOTIONS = ("neutral", "happy", "sad")
SIZE, BATCH = 32, 6
# Small networks in which every width can still change.
SMALL = {"width": 8, "blocks": 1, "d_width": 8, "d_layers": 4, "d_max_channels": 64}
# Fields that act only together with others: the values of the others.
CONTEXT = {
    "lambda_gp": {"adversarial": "wgan_gp"},
    "lambda_r1": {"adversarial": "nonsaturating"},
    "penalty_interval": {"adversarial": "nonsaturating"},
    "stem": {"condition": "adain"},
}
# Other values where twice the default, or the next choice, is none.
OTHER = {
    "width": 12,
    "blocks": 2,
    "controls": 5,
    "d_width": 12,
    "d_layers": 3,
    "d_max_channels": 16,
    "max_channels": 8,
    "g_interval": 2,
    "head_cutout": 0.5,
    "local_share": 0.5,
    "refiner_share": 0.5,
    "deformer_share": 0.5,
    "attention_patience": 1,
    "scales": 2,
    "random_share": 0.25,
    "mode_share": 1.0,
    "embedder": "nowhere/nobody",
}


def other_value(field: dataclasses.Field, config: Config) -> object:
    """A valid value of a field that differs from the one in `config`."""
    value = getattr(config, field.name)
    if field.name in OTHER:
        return OTHER[field.name]
    if isinstance(value, str):
        return next(choice for choice in config.choices()[field.name] if choice != value)
    if isinstance(value, bool):
        return not value
    return 2 * value or 0.5


@lru_cache
def built(name: str, config: Config) -> Method:
    """The method with parameters away from their start, where some terms are zero."""
    torch.manual_seed(0)
    method = METHODS[name](config, EMOTIONS, SIZE)
    with torch.no_grad():
        for parameter in method.G.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape))
        if name == "ganimation":
            method.G.mask_bias.fill_(9.0)  # saturated, as attention_patience expects it
    return method


def build(name: str, config: Config) -> Method:
    """A copy of `built`, since a step changes buffers and random state."""
    method = copy.deepcopy(built(name, config))
    method.rng = torch.Generator().manual_seed(1)
    return method


@lru_cache
def shapes(name: str, config: Config) -> dict[str, torch.Size]:
    with torch.device("meta"):
        method = METHODS[name](config, EMOTIONS, SIZE)
    return {key: value.shape for key, value in method.state_dict().items()}


def observe(method: Method) -> Iterator[tuple[str, object]]:
    """Names and values of what one step computes, the cheapest first."""
    batch, rng = random_batch(BATCH, len(EMOTIONS), SIZE), torch.Generator().manual_seed(2)
    target = method.sample_targets(batch, rng)
    yield "lr_scale", method.lr_scale()
    yield "code", float(method.code(target).detach().sum())
    x_fake = method.fake(batch, target)
    d = method.pixel_loss(batch, x_fake) | method.d_loss(batch, target, x_fake.detach())
    yield from ((name, float(term.detach())) for name, term in d.items())
    penalty = method.d_penalty(batch, target, x_fake.detach(), rng)
    yield from ((name, float(term.detach())) for name, term in penalty.items())
    with torch.no_grad():
        g = method.g_loss(batch, target, x_fake)
    yield from ((f"g/{name}", float(term)) for name, term in g.items())


@lru_cache
def observations(name: str, config: Config) -> list[tuple[str, object]]:
    return list(observe(build(name, config)))


def differs(method: Method, before: list[tuple[str, object]]) -> bool:
    return any(a != b for a, b in zip_longest(observe(method), before))


def generator_steps(name: str, config: Config) -> int:
    """Generator steps within two discriminator steps."""
    recipe = Recipe(name, size=SIZE, batch=BATCH, kimg=1.0, d_warmup_kimg=0, g_warmup_kimg=0)
    trainer = Trainer(build(name, config), recipe, torch.device("cpu"))
    for _ in range(2):
        trainer.train_step(random_batch(BATCH, len(EMOTIONS), SIZE))
    return trainer.g_steps


def acts(name: str, base: Config, field: dataclasses.Field) -> bool:
    """Whether another value of a field changes shapes, a step, or the number of generator steps."""
    changed = dataclasses.replace(base, **{field.name: other_value(field, base)})
    if field.name == "g_interval":
        return generator_steps(name, base) != generator_steps(name, changed)
    if shapes(name, base) != shapes(name, changed):
        return True
    before, method = observations(name, base), build(name, base)
    method.config = changed  # most fields are read in the step; the others when networks are built
    return differs(method, before) or differs(build(name, changed), before)


# One method for each Config: EF-GAN and its cascade share theirs.
@pytest.mark.parametrize("name", {METHODS[name].Config: name for name in METHODS}.values())
def test_every_config_field_acts(name):
    kind = METHODS[name].Config
    small = SMALL | {k: v for k, v in {"spectral": False, "stages": 1}.items() if k in kind.names()}
    plain = dataclasses.replace(METHODS[name].PAPER, **small, g_interval=1)
    assert not differs(
        build(name, plain), observations(name, plain)
    )  # a difference below comes from the field
    inert = []
    for field in dataclasses.fields(kind):
        context = {k: v for k, v in CONTEXT.get(field.name, {}).items() if k in kind.names()}
        if not acts(name, dataclasses.replace(plain, **context), field):
            inert.append(field.name)
    assert inert == []


# ---- Recipe

# Fields that `train` uses outside of the steps; test_train.py and test_recipe.py cover them.
OUTSIDE = {"method", "data", "size", "faces", "kimg_per_tick", "init_from"}
RECIPE = Recipe(
    "stargan", size=SIZE, batch=BATCH, kimg=0.024, lr_decay_fraction=0.5, d_warmup_kimg=0.004
)
OTHER_RECIPE = {
    "batch": 8,
    "kimg": 0.048,
    "d_warmup_kimg": 0.008,
    "g_warmup_kimg": 0.004,
    "lr_g": 1e-3,
    "lr_d": 1e-3,
    "beta1": 0.9,
    "beta2": 0.9,
    "weight_decay": 0.1,
    "lr_decay_fraction": 1.0,
    "ema_decay": 0.05,
    "balanced": True,
    "flip": False,
    "augment": 1.0,
    "rotation": 5.0,
    "shift": 0.1,
    "zoom_low": 0.9,
    "zoom_high": 1.2,
    "crop_area": 0.6,
    "crop_stretch": 0.3,
    "crop_share": 0.5,
    "dtype": "bf16",
    "seed": 1,
}


@pytest.fixture(scope="module")
def faces() -> FaceSet:
    rng = torch.Generator().manual_seed(3)
    images = torch.randint(0, 256, (16, 3, SIZE, SIZE), generator=rng, dtype=torch.uint8)
    emotion = torch.tensor([0] * 12 + [1] * 3 + [2])
    return FaceSet("toy", "train", EMOTIONS, images, emotion, "toy")


def parameters_after_steps(recipe: Recipe, faces: FaceSet) -> list[torch.Tensor]:
    """Parameters of G, D and the averaged G after five steps on batches of the recipe's sampler."""
    torch.manual_seed(0)
    method = METHODS["stargan"](
        METHODS["stargan"].Config(**SMALL, g_interval=1), EMOTIONS, recipe.size
    )
    trainer = Trainer(method, recipe, torch.device("cpu"))
    sampler = Sampler(faces, recipe, torch.device("cpu"))
    for _ in range(5):
        trainer.train_step(sampler.batch(trainer.step, trainer.rng))
    return [p.detach() for p in (*method.parameters(), *trainer.ema.parameters())]


def test_every_recipe_field_acts(faces):
    # A share of crops acts where there are crops.
    recipe = dataclasses.replace(RECIPE, dtype="fp32", crop_area=0.8)
    assert OTHER_RECIPE.keys() | OUTSIDE == Recipe.names()
    before = parameters_after_steps(recipe, faces)
    again = parameters_after_steps(recipe, faces)
    assert all(torch.equal(a, b) for a, b in zip(before, again, strict=True))
    inert = []
    for name, value in OTHER_RECIPE.items():
        after = parameters_after_steps(dataclasses.replace(recipe, **{name: value}), faces)
        if all(torch.equal(a, b) for a, b in zip(before, after, strict=True)):
            inert.append(name)
    assert inert == []
