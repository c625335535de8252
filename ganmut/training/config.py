"""Recipe: the settings of a training that all methods share, and its file recipe.json."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from typing import ClassVar

from ganmut import legacy
from ganmut.errors import ParameterError, first_line
from ganmut.methods.base import METHODS, Config
from ganmut.networks.config import Settings, setting


@dataclass(frozen=True)
class Recipe(Settings):
    """Settings of a training that all methods share. kimg counts thousands of real images shown to
    the discriminator, including warm-ups."""

    method: str
    data: str = setting("procedural", "data source: a spec such as procedural or folder:PATH")
    size: int = setting(128, "side of the images in pixels")
    faces: int = setting(20000, "training faces to prepare; 0: all of the source")
    batch: int = setting(16, "images per step, over all processes")
    kimg: float = setting(3200.0, "length of the training in thousands of images")
    d_warmup_kimg: float = setting(0.0, "kimg in which D is trained as a classifier alone")
    g_warmup_kimg: float = setting(0.0, "kimg in which G is trained as an autoencoder alone")
    lr_g: float = setting(1e-4, "learning rate of the generator")
    lr_d: float = setting(1e-4, "learning rate of the discriminator")
    beta1: float = setting(0.5, "beta1 of Adam")
    beta2: float = setting(0.999, "beta2 of Adam")
    weight_decay: float = setting(0.0, "weight decay of Adam")
    lr_decay_fraction: float = setting(
        0.5, "last share of the training in which the learning rate falls linearly to 0"
    )
    ema_decay: float = setting(0.999, "decay of the averaged generator per step, in 0..1")
    balanced: bool = setting(False, "sample every emotion equally often")
    flip: bool = setting(True, "mirror half of the images")
    augment: float = setting(0.0, "strength of random motion and light on images, 0..3")
    rotation: float = setting(0.0, "largest random rotation of the images in degrees")
    shift: float = setting(0.0, "largest random shift of the images, as a share of the side")
    zoom_low: float = setting(1.0, "smallest random zoom of the images")
    zoom_high: float = setting(1.0, "largest random zoom of the images")
    crop_area: float = setting(1.0, "smallest share of the image's area in a random crop")
    crop_stretch: float = setting(0.0, "largest departure of a random crop's sides from 1 : 1")
    crop_share: float = setting(1.0, "share of the images that are cropped at random")
    dtype: str = setting("auto", "auto (bfloat16 where it is faster), bf16 or fp32")
    kimg_per_tick: float = setting(4.0, "kimg between reports, sample grids and snapshots")
    seed: int = setting(0, "seed of all random numbers")
    init_from: str = setting(
        "", "weight folder or run to start from; the discriminator of a run too where it fits"
    )

    ALLOWED: ClassVar = {"dtype": ("auto", "bf16", "fp32")}
    SHARES: ClassVar = ("lr_decay_fraction", "beta1", "beta2", "ema_decay", "crop_share")
    LIMITS: ClassVar = {
        "size": (8, 1024),
        "batch": (1, 65536),
        "faces": (0, 1e9),
        "lr_g": (0, 1),
        "lr_d": (0, 1),
        "augment": (0, 3),
        "rotation": (0, 180),
        "shift": (0, 0.5),
        "zoom_low": (0.25, 4),
        "zoom_high": (0.25, 4),
        "crop_area": (0.01, 1),
        "crop_stretch": (0, 0.9),
        "seed": (0, 2**63 - 1),
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        METHODS[self.method]  # raises UnknownNameError
        for name in ("kimg", "kimg_per_tick", "lr_g", "lr_d"):
            if not getattr(self, name) > 0:
                raise ParameterError(name, f"{name} must be above 0, got {getattr(self, name)}")
        if self.zoom_low > self.zoom_high:
            raise ParameterError(
                "zoom_low", f"zoom_low {self.zoom_low} is above zoom_high {self.zoom_high}"
            )
        if self.crop_share != 1 and self.crop_area == 1 and not self.crop_stretch:
            raise ParameterError(
                "crop_share", "crop_share has no effect without crop_area or crop_stretch"
            )
        for name in ("beta1", "beta2", "ema_decay"):
            if getattr(self, name) == 1:
                raise ParameterError(name, f"{name} must be below 1, got {getattr(self, name)}")
        if not self.steps:
            raise ParameterError(
                "kimg", f"kimg {self.kimg:g} is less than half a batch of {self.batch}: no step"
            )

    @property
    def steps(self) -> int:
        """Steps of the discriminator, each with a batch of images."""
        # A whole number: kimg summed in floating point would end a step early or late.
        return round(self.kimg * 1000 / self.batch)


def to_json(recipe: Recipe, config: Config) -> str:
    """The text of recipe.json, which is all that is needed to repeat a run."""
    both = {"recipe": dataclasses.asdict(recipe), "config": dataclasses.asdict(config)}
    return json.dumps(both, indent=2) + "\n"


def from_json(text: str) -> tuple[Recipe, Config]:
    """The inverse of `to_json`, also for files with old names; raises ValueError for other text."""
    try:
        both = json.loads(text)
        settings = legacy.read("recipe", both["recipe"])
        settings["data"] = legacy.read_data_spec(settings["data"])
        recipe = Recipe.parse(settings)
        kind = METHODS[recipe.method].Config
        return recipe, kind.parse(legacy.read_config(both["config"], kind.names()))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        reason = f"it lacks {error}" if isinstance(error, KeyError) else first_line(error)
        raise ValueError(f"not a recipe.json of this version ({reason})") from None


def settings_hash(recipe: Recipe, config: Config) -> str:
    """16 hex digits of a hash over all settings."""
    return hashlib.sha256(to_json(recipe, config).encode()).hexdigest()[:16]
