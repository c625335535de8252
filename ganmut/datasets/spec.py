"""Data specs: `NAME:ARGUMENT?option=value&option=value`, several joined by ` + `.

Text in double quotes after a colon or an equals sign is taken as it is, so that names of folders
may hold ` + `, `?` and `&`: `folder:"faces + more"?openface="a&b.csv"`.
"""

from __future__ import annotations

import re

QUOTED = re.compile(r'(?<=[:=])"([^"]*)"(?=$|[?&]| \+ )')
HINT = 'quote a name that holds " + " or "?": folder:"PATH"'


def split_sources(spec: str) -> list[str]:
    """The specs of the sources that a spec joins, without surrounding spaces."""
    return [part.strip() for part in _split(spec, " + ")]


def parse_source(spec: str) -> tuple[str, str, dict[str, str]]:
    """(name, argument, options) of one source, without quotes."""
    options: dict[str, str] = {}
    if found := re.search(r"\?(?=\w+=[^?]*$)", _mask(spec)):
        pairs = _split(spec[found.end() :], "&")
        options = {k: unquote(v) for k, _, v in (pair.partition("=") for pair in pairs)}
        spec = spec[: found.start()]
    name, _, argument = spec.partition(":")
    return name, unquote(argument), options


def unquote(text: str) -> str:
    """A text without the quotes around all of it. Those inside are of a spec within the spec."""
    whole = re.fullmatch(r'"([^"]*)"', text)
    return whole[1] if whole else text


def _mask(spec: str) -> str:
    """A spec of the same length whose quoted texts hold no sign that means something."""
    return QUOTED.sub(lambda found: "\0" * len(found[0]), spec)


def _split(spec: str, separator: str) -> list[str]:
    parts, at = [], 0
    for masked in _mask(spec).split(separator):
        parts.append(spec[at : at + len(masked)])
        at += len(masked) + len(separator)
    return parts
