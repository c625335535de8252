"""Pins: which commit a branch or a tag of the Hub means for a person, until they pin it again.

A pin is a file beside the Hub's cache and its login, named by repository and revision, with the
commit in it. To delete the file ends the pin.
"""

from __future__ import annotations

import sys
import urllib.parse
from dataclasses import replace
from pathlib import Path

from ganmut.errors import ParameterError
from ganmut.files import write_atomic
from ganmut.text import quote
from ganmut.weights import hub


def pin(spec: str) -> Path:
    """Writes the file of `weights.pin`, which see, and returns it."""
    if not spec.startswith("hub:"):
        raise ParameterError(
            "pin", f"names of the Hub are pinned, hub:OWNER/NAME; got {quote(spec)}"
        )
    address = hub.parse(spec)
    if address.is_commit:
        raise ParameterError("pin", f"{address} names a commit, which never changes; omit it")
    file = _file(address)
    write_atomic(file, f"{hub.find_commit(address).revision}\n")
    return file


def resolve_commit(address: hub.Address) -> hub.Address:
    """The Address of a commit: the one given, the pinned one, else that of the branch or tag now.
    Prints on stderr which one it is where none was given. Raises HubError."""
    if address.is_commit:
        return address
    file = _file(address)
    if file.is_file():
        found = replace(
            address, revision=file.read_text(encoding="utf-8", errors="replace").strip()
        )
        if not found.is_commit:
            raise hub.HubError(f"{file} is damaged: it holds no commit; pin {address} again")
        said = f"is pinned to {found.revision} by {file}"
    else:
        found = hub.find_commit(address)
        said = f"is at {found.revision}; a pin or revision={quote(found.revision)} keeps it"
    print(f"{address.name}@{address.revision} {said}", file=sys.stderr)
    return found


def _file(address: hub.Address) -> Path:
    from huggingface_hub import constants

    # Names of branches may hold slashes.
    name = urllib.parse.quote(f"{address.name}@{address.revision}", safe="@")
    return Path(constants.HF_HOME) / "ganmut" / "pins" / name
