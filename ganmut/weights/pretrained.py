"""Editors by the contract of `huggingface_hub.PyTorchModelHubMixin`: `Editor.from_pretrained` and
`Editor.push_to_hub`. The mixin itself would unpickle where a repository holds no safetensors."""

from __future__ import annotations

import os
import re
from pathlib import Path

import torch

from ganmut.editor import Editor
from ganmut.errors import ParameterError
from ganmut.text import quote
from ganmut.weights import hub, pins, publish
from ganmut.weights.editors import load
from ganmut.weights.storage import BadWeights, read_config


def from_pretrained(
    name: str | Path,
    revision: str | None,
    subfolder: str,
    device: torch.device | str | None,
) -> Editor:
    """See `Editor.from_pretrained`."""
    inside = re.fullmatch(r"(?:[\w-][\w.-]*(?:/[\w-][\w.-]*)*)?", str(subfolder))
    if not inside:
        raise ParameterError("subfolder", f"{quote(subfolder)} is no folder inside of a repository")
    if os.path.isdir(str(name)):  # not of Path, whose empty name is this folder
        if revision is not None:
            raise ParameterError("revision", f"{name} is a folder here, which has no revisions")
        # Absolute: a relative name may be that of a bundled weight.
        return load(Path(name).resolve() / subfolder, device)
    if not re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*", str(name)):
        raise ParameterError(
            "name", f"{quote(str(name))} is neither a folder nor OWNER/NAME on the Hugging Face Hub"
        )
    revision = hub.MAIN if revision is None else revision
    if not isinstance(revision, str) or not re.fullmatch(r"[\w-][\w./-]*", revision):
        raise ParameterError("revision", f"{quote(revision)} is no commit, branch or tag")
    try:
        address = pins.resolve_commit(hub.Address(str(name), revision))
    except hub.HubError as error:
        raise BadWeights(str(error)) from None
    return load(f"hub:{address}" + (f"/{subfolder}" if subfolder else ""), device)


def push_to_hub(editor: Editor, name: str, private: bool) -> str:
    """See `Editor.push_to_hub`."""
    folder = editor.folder
    if folder is None:
        raise BadWeights(
            "this editor was not loaded from a weight folder: write one with ganmut.weights.save "
            "and load it"
        )
    if read_config(folder).get("sha256") != editor.config.get("sha256"):
        raise BadWeights(f"{folder} holds other weights than this editor by now: load it again")
    # Scores belong to sets of a checkout: without a folder of results the card has none.
    items = publish.plan_upload(folder, name, None)
    address = hub.Address(name, publish.push(items, name, private))
    return f"{address.page}/commit/{address.revision}"
