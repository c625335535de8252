"""Settings: dataclass fields with help texts, types and limits. They become command-line options,
recipe.json and config.json, whose values are all checked here."""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

from ganmut.errors import ParameterError
from ganmut.text import quote

MAX_NAMES = 256  # entries of a list of names, and characters of each


def setting(default: Any, help: str, option: bool = True) -> Any:
    """Returns a dataclass field with a default value and the help text of its option. option: False
    for what a command sets itself."""
    return field(default=default, metadata={"help": help, "option": option})


@dataclass(frozen=True)
class Settings:
    """Base of all settings. A value of another type than its field's, or outside its limits, raises
    ParameterError.

    `ALLOWED` lists the values of fields with choices, `SHARES` the fields in 0..1, `LIMITS` the
    smallest and largest value of numbers (others: 0 to a million). Fields of type float
    accept whole numbers; NaN and infinity are never accepted.
    """

    ALLOWED: ClassVar[dict[str, tuple[str, ...]]] = {}
    SHARES: ClassVar[tuple[str, ...]] = ()
    LIMITS: ClassVar[dict[str, tuple[float, float]]] = {}

    @classmethod
    def choices(cls) -> dict[str, tuple[str, ...]]:
        """The values of fields with choices; those of a subclass replace those of its bases."""
        return _merged(cls, "ALLOWED")

    @classmethod
    def names(cls) -> set[str]:
        """The names of the fields."""
        return {item.name for item in dataclasses.fields(cls)}

    @classmethod
    def parse(cls, values: Mapping[str, Any]) -> Self:
        """The settings of a JSON object, whose lists become tuples. Raises ParameterError for a
        name that is no field, a field that is missing, and a value that cannot be used."""
        if not isinstance(values, Mapping):
            raise ParameterError("config", f"settings must be an object, got {quote(values)}")
        if unknown := sorted(values.keys() - cls.names()):
            raise ParameterError(unknown[0], f"{quote(unknown[0])} is not a setting")
        needed = {f.name for f in dataclasses.fields(cls) if f.default is dataclasses.MISSING}
        if missing := sorted(needed - values.keys()):
            raise ParameterError(missing[0], f"{quote(missing[0])} is missing")
        return cls(**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})

    def __post_init__(self) -> None:
        hints = typing.get_type_hints(type(self))
        for name in (item.name for item in dataclasses.fields(self)):
            _check_type(name, getattr(self, name), hints[name])
        for name, values in self.choices().items():
            if getattr(self, name) not in values:
                raise ParameterError(
                    name,
                    f"{name} must be one of {', '.join(values)}, got {quote(getattr(self, name))}",
                )
        # A subclass adds shares; it does not repeat those of its bases.
        shares = {name for kind in type(self).__mro__ for name in vars(kind).get("SHARES", ())}
        limits = _merged(type(self), "LIMITS") | dict.fromkeys(shares, (0, 1))
        for name in (item.name for item in dataclasses.fields(self)):
            value = getattr(self, name)
            least, most = limits.get(name, (0, 1e6))
            # `type`: a bool is an int to isinstance.
            if type(value) in (int, float) and not least <= value <= most:
                raise ParameterError(
                    name, f"{name} must be in {least:.12g}..{most:.12g}, got {quote(value)}"
                )


def _merged(cls: type, name: str) -> dict[str, Any]:
    """The dictionaries of a class variable over all bases; the last class wins."""
    merged: dict[str, Any] = {}
    for kind in reversed(cls.__mro__):
        merged |= vars(kind).get(name, {})
    return merged


def _check_type(name: str, value: Any, hint: Any) -> None:
    """Raises ParameterError for a value of another type than a field's: bool, int, float, str,
    dict, tuple[str, ...], tuple[Any, ...], or one of these and None."""
    if isinstance(hint, types.UnionType):
        if value is None:
            return
        hint = next(kind for kind in typing.get_args(hint) if kind is not type(None))
    hint = dict if typing.get_origin(hint) is dict else hint
    if hint == tuple[Any, ...]:
        fits, expected = isinstance(value, tuple), "a list"
    elif typing.get_origin(hint) is tuple:
        fits = isinstance(value, tuple) and len(value) <= MAX_NAMES
        fits = fits and all(isinstance(v, str) and 0 < len(v) <= MAX_NAMES for v in value)
        expected = f"a list of at most {MAX_NAMES} names"
    elif hint is float:
        # A whole number of thousands of digits has no float.
        fits = type(value) is int or (type(value) is float and math.isfinite(value))
        expected = "a finite number"
    else:
        # Exactly: to isinstance True is a whole number.
        fits = type(value) is hint
        expected = {int: "a whole number", bool: "true or false", str: "text"}.get(
            hint, "an object"
        )
    if not fits:
        raise ParameterError(name, f"{name} must be {expected}, got {quote(value)}")


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
    # Twice the largest published values. A network is built before its tensors are compared.
    LIMITS: ClassVar = {
        "width": (1, 1024),
        "blocks": (0, 32),
        "d_width": (1, 1024),
        "d_layers": (1, 12),
        "d_max_channels": (1, 4096),
    }

    def scale_width(self, share: float) -> Self:
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
