"""Settings of networks: dataclass fields with help texts, which become command-line options."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self


def setting(default: Any, help: str) -> Any:
    """Returns a dataclass field with a default value and the help text of its option."""
    return field(default=default, metadata={"help": help})


@dataclass(frozen=True)
class Settings:
    """Base of all settings. `ALLOWED` lists the values of fields with choices and `SHARES` the
    fields in 0..1; another value raises ValueError."""

    ALLOWED: ClassVar[dict[str, tuple[str, ...]]] = {}
    SHARES: ClassVar[tuple[str, ...]] = ()

    @classmethod
    def choices(cls) -> dict[str, tuple[str, ...]]:
        """The values of fields with choices; those of a subclass replace those of its bases."""
        merged: dict[str, tuple[str, ...]] = {}
        for kind in reversed(cls.__mro__):
            merged |= vars(kind).get("ALLOWED", {})
        return merged

    @classmethod
    def names(cls) -> set[str]:
        """The names of the fields."""
        return {item.name for item in dataclasses.fields(cls)}

    def __post_init__(self) -> None:
        for name, values in self.choices().items():
            if getattr(self, name) not in values:
                raise ValueError(
                    f"{name} must be one of {', '.join(values)}, got {getattr(self, name)!r}"
                )
        for name in {name for kind in type(self).__mro__ for name in vars(kind).get("SHARES", ())}:
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be in 0..1, got {getattr(self, name)}")


@dataclass(frozen=True)
class NetworkConfig(Settings):
    """Sizes of generator and discriminator, and the form of the generator's output."""

    width: int = setting(64, "channels of the generator's first layer (StarGAN: 64)")
    blocks: int = setting(6, "residual blocks of the generator (StarGAN: 6)")
    d_width: int = setting(64, "channels of the discriminator's first layer")
    d_layers: int = setting(6, "strided layers of the discriminator")
    d_max_channels: int = setting(2048, "channels of the discriminator's widest layer")
    output: str = setting(
        "tanh",
        "tanh (published); residual: source plus change, which preserves identity from the first "
        "step; warp_residual (StarGAN's generator): warped source plus change",
    )

    ALLOWED: ClassVar = {"output": ("tanh", "residual")}

    def scaled(self, share: float) -> Self:
        """These settings with a share of `width`, at least 4 channels."""
        return dataclasses.replace(self, width=max(4, round(self.width * share)))


@dataclass(frozen=True)
class TrunkConfig(NetworkConfig):
    """Settings of StarGAN's generator trunk."""

    condition: str = setting(
        "concat",
        "concat: the code as constant input planes (published); adain: the code modulates the "
        "instance norms of the residual blocks (docs/precision.md says why)",
    )
    stem: str = setting("conv7", "conv7 (published) or space_to_depth, which is cheaper")

    ALLOWED: ClassVar = {
        "condition": ("concat", "adain"),
        "stem": ("conv7", "space_to_depth"),
    }
