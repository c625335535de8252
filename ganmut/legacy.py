"""Old names: the one table that reads weights, runs, results and links written by earlier versions.

`KEYS` maps old keys to new ones and `VALUES` old values of a key to new ones, by the place where
they were written. Nothing writes old names. Command-line options have no entry here: an old option
is an error.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# place -> {old key: new key}. Places: "config" and "recipe" (config.json of weights, recipe.json of
# runs), "data" (options in a data spec, `folder:PATH?option=value`), "result" (results.jsonl),
# "link" (query of a link to the page), "snapshot" (prefixes of tensor names).
KEYS: dict[str, dict[str, str]] = {
    "config": {},
    "recipe": {},
    "data": {},
    "result": {},
    "link": {},
    "snapshot": {},
}

# place -> {new key: {old value: new value}}.
VALUES: dict[str, dict[str, dict[Any, Any]]] = {
    "config": {},
    "recipe": {},
    "data": {},
    "result": {},
    "link": {},
}

# Config fields that did nothing in some methods and were written by all: dropped where the method
# has no such field.
INERT: frozenset[str] = frozenset()


def read(place: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """A dictionary with current keys and values, from one with old or current ones.

    A current key wins over its old name. Raises KeyError for an unknown place.
    """
    keys, renamed = KEYS[place], {}
    for key, value in values.items():
        name = keys.get(key, key)
        if name == key or name not in values:
            renamed[name] = value
    return {key: _value(place, key, value) for key, value in renamed.items()}


def read_config(values: Mapping[str, Any], fields: set[str]) -> dict[str, Any]:
    """A method's `config` as `read` gives it, without the entries of `INERT` that are not among the
    method's `fields`."""
    renamed = read("config", values)
    return {key: value for key, value in renamed.items() if key in fields or key not in INERT}


def read_data_spec(spec: str) -> str:
    """A data spec with the current names of its options, `SOURCE:PATH?option=value&...`."""
    path, mark, query = spec.partition("?")
    if not mark:
        return spec
    options = [option.partition("=") for option in query.split("&")]
    named = [(KEYS["data"].get(key, key), sign, value) for key, sign, value in options]
    return f"{path}?{'&'.join(''.join(option) for option in named)}"


def read_snapshot_key(name: str) -> str:
    """The current name of a snapshot's tensor, such as "method.G.head.weight"."""
    prefix, dot, rest = name.partition(".")
    return KEYS["snapshot"].get(prefix, prefix) + dot + rest


def _value(place: str, key: str, value: Any) -> Any:
    names = VALUES.get(place, {}).get(key, {})
    return names.get(value, value) if isinstance(value, (str, int)) else value
