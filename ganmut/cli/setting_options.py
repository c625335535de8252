"""Command-line options of dataclasses of settings."""

from __future__ import annotations

import argparse
import dataclasses
import typing


def add_options(parser: argparse.ArgumentParser, cls: type, skip: tuple[str, ...] = ()) -> None:
    """Adds an option --kebab-case with its help for every field of a dataclass. An option that is
    not given is absent from the namespace."""
    group = parser.add_argument_group(f"{cls.__module__}.{cls.__name__}")
    hints = typing.get_type_hints(cls)
    for field in dataclasses.fields(cls):
        if field.name in skip or not field.metadata.get("option", True):
            continue
        kind, name = hints[field.name], f"--{field.name.replace('_', '-')}"
        # argparse formats help with %, so a percent sign must be doubled.
        text = field.metadata.get("help", "").replace("%", "%%")
        common = {"dest": field.name, "default": argparse.SUPPRESS, "help": text}
        if kind is bool:
            group.add_argument(name, action=argparse.BooleanOptionalAction, **common)
        else:
            group.add_argument(name, type=kind, metavar=kind.__name__.upper(), **common)
