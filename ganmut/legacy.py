"""Old names: the one table that reads weights, runs, results and links written by earlier versions.

`KEYS` maps old keys to new ones and `VALUES` old values of a key to new ones, by the place where
they were written. Nothing writes old names. Command-line options have no entry here: an old option
is an error.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

# place -> {old key: new key}. Places: "config" and "recipe" (config.json of weights, recipe.json of
# runs), "data" (options in a data spec, `folder:PATH?option=value`), "result" (results.jsonl),
# "vote" (votes of the user study), "link" (query of a link to the page), "snapshot" (prefixes of
# tensor names).
KEYS: dict[str, dict[str, str]] = {
    "config": {
        "d_limit": "d_max_channels",
        "noise": "head_noise",
        "head_jitter": "head_augment",
        "head_erase": "head_cutout",
        "lambda_wary": "lambda_cls_fake",
        "lambda_keep": "lambda_pix",
        "conditions": "code_type",
        "limit": "max_channels",
    },
    "recipe": {
        "warm_d": "d_warmup_kimg",
        "warm_g": "g_warmup_kimg",
        "decay": "lr_decay_fraction",
        "average": "ema_decay",
        "jitter": "augment",
        "tick": "kimg_per_tick",
        "start": "init_from",
    },
    "data": {
        "on_bad": "on_error",
        "certain": "relabel_threshold",
        "doubt": "min_label_prob",
    },
    "result": {"evidence_seconds": "feature_seconds"},
    "vote": {},
    "link": {},
    "snapshot": {"average": "ema"},
}

# Rows of the leaderboard that are no methods.
_ROWS = {"identity": "no_edit", "oracle": "ground_truth", "real": "real_split"}

# place -> {new key: {old value: new value}}.
VALUES: dict[str, dict[str, dict[Any, Any]]] = {
    "config": {
        "condition": {"planes": "concat", "affine": "adain"},
        "stem": {"shuffle": "space_to_depth"},
        "output": {"bent": "warp_residual"},
    },
    "recipe": {},
    "data": {"on_error": {"refuse": "raise"}},
    "result": {
        "row": _ROWS,
        "weights_sha256": _ROWS,
        "metric": {
            "tsne": "real_neighbour_rate",
            "oracle": "ground_truth_l1",
            "concentration": "edit_localisation",
            "identity": "identity_distance",
        },
    },
    "vote": dict.fromkeys(("method", "left", "right", "chosen"), _ROWS),
    "link": {},
}

# Methods whose results were written without the kind of their codes, which are action units.
UNIT_ROWS = frozenset({"defgan", "efgan", "efgan_cascade", "ganimation"})

# Phrases in the notes of results and in the reasons of claims.
PHRASES: dict[str, str] = {
    "beside it identity:": "for context, identity_distance:",
    "beside it accuracy:": "for context, accuracy:",
    "has no tsne": "has no real_neighbour_rate",
    "has no oracle": "has no ground_truth_l1",
    "has no concentration": "has no edit_localisation",
    "has no identity": "has no identity_distance",
    "trainings: the first": "by training: first",
    "; the first: ": "; first: ",
    "regions from the answer": "regions from the ground truth",
    "have an answer to compare with": "have a ground truth",
    "has no faces left for a second half": "has too few faces for a second half",
    "the ways left out (range under": "the paths left out (range below",
    "against the prototype of the emotion asked for": "against the prototype of the target emotion",
}

# Config fields that did nothing in some methods and were written by all: dropped where the method
# has no such field.
INERT = frozenset(
    {
        "condition",
        "stem",
        "adversarial",
        "lambda_gp",
        "head_noise",
        "head_augment",
        "head_cutout",
        "lambda_cls_fake",
    }
)


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


def read_result(record: Mapping[str, Any]) -> dict[str, Any]:
    """A record of results.jsonl as `read` gives it, with the current words in its texts and the
    kind of its codes where that is known."""
    renamed = read("result", record)
    if renamed.get("row") in UNIT_ROWS:
        renamed.setdefault("codes", "units")
    for key in renamed.keys() & {"note", "why"}:
        for old, new in PHRASES.items():
            # A current phrase may begin with its old form ("identity", "identity_distance").
            if new not in renamed[key]:
                renamed[key] = renamed[key].replace(old, new)
    return renamed


def read_data_spec(spec: str) -> str:
    """A data spec with the current names of its options, in every part of a concatenation:
    `SOURCE:PATH?option=value&... + SOURCE:PATH?option=value`."""
    # Quoted texts are names of files.
    pattern = r'"[^"]*"|(?<=[?&])\w+(?==)'
    return re.sub(pattern, lambda name: KEYS["data"].get(name[0], name[0]), spec)


def read_snapshot_key(name: str) -> str:
    """The current name of a snapshot's tensor, such as "method.G.head.weight"."""
    prefix, dot, rest = name.partition(".")
    return KEYS["snapshot"].get(prefix, prefix) + dot + rest


def _value(place: str, key: str, value: Any) -> Any:
    names = VALUES.get(place, {}).get(key, {})
    return names.get(value, value) if isinstance(value, (str, int)) else value
