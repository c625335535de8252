"""The Hugging Face Hub: fetches pinned repositories, and says in one sentence why one is not there.

The client tries for half a minute where nothing answers, and for many where nothing is said. So one
short question comes first: whoever is offline, or wrote the name wrong, knows within seconds. What
is in the cache is used without any question.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PATIENCE = 8.0  # seconds that the Hub has for its first answer
HOME = {"model": "", "dataset": "datasets/"}  # where repositories of a kind lie on the site


class HubError(ValueError):
    """A repository that cannot be had; the message names it, the fault and the remedy."""


@dataclass(frozen=True)
class Address:
    """A pinned repository: kind "model" or "dataset", "OWNER/NAME", 40 hex digits; inside: a folder
    of it, or ""."""

    name: str
    revision: str
    inside: str = ""
    kind: str = "model"

    def __str__(self) -> str:
        return f"{self.name}@{self.revision}" + (f"/{self.inside}" if self.inside else "")

    @property
    def page(self) -> str:
        """Where a person finds it."""
        from huggingface_hub import constants

        return f"{constants.ENDPOINT}/{HOME[self.kind]}{self.name}"


def parse(spec: str) -> Address:
    """The Address of "hub:OWNER/NAME@REVISION" or "hub:OWNER/NAME@REVISION/FOLDER"; raises
    HubError where the revision is not pinned."""
    match = re.fullmatch(r"(?:hub:)?([\w.-]+/[\w.-]+)@([0-9a-f]{40})((?:/[\w-][\w.-]*)*)/?", spec)
    if not match:
        raise HubError(
            f"{spec!r}: write hub:OWNER/NAME@REVISION with the 40 hex digits of a commit (the page "
            "of the repository lists them under commits), so that nothing can change under you"
        )
    name, revision, inside = match.groups()
    return Address(name, revision, inside.strip("/"))


def cached(address: Address, wanted: list[str]) -> Path | None:
    """The local folder of a repository all of whose wanted files were fetched before, or None."""
    from huggingface_hub import errors

    try:
        return _snapshot(address, wanted, local_files_only=True)
    except errors.LocalEntryNotFoundError:
        return None


def fetch(address: Address, wanted: list[str], again: bool = False) -> Path:
    """The local folder of a repository, its files that match `wanted` fetched; raises HubError.

    again: fetch them although they are in the cache.
    """
    from huggingface_hub import errors

    contents(address)
    try:
        return _snapshot(address, wanted, force_download=again)
    except (*failures(), errors.EntryNotFoundError) as error:
        raise HubError(
            f"{address}: the download broke off ({line(error)}); "
            "run it again, it goes on with the files that are not here yet"
        ) from None


def contents(address: Address) -> list[str]:
    """The paths of all files of a repository; raises HubError within seconds for whatever keeps it
    away."""
    from huggingface_hub import HfApi

    ask = {"model": HfApi().model_info, "dataset": HfApi().dataset_info}[address.kind]
    try:
        found = ask(address.name, revision=address.revision, timeout=PATIENCE)
    except failures() as error:
        raise HubError(why(error, address)) from None
    return sorted(sibling.rfilename for sibling in found.siblings or [])


def reach() -> None:
    """Raises HubError within seconds where the Hub does not answer at all."""
    from huggingface_hub import constants, get_session

    try:
        get_session().head(constants.ENDPOINT, timeout=PATIENCE)
    except failures() as error:
        raise HubError(
            f"{constants.ENDPOINT} cannot be reached ({line(error)}): "
            "check the network, or the proxy, and HF_HUB_OFFLINE"
        ) from None


def why(error: Exception, address: Address) -> str:
    """One sentence on why the Hub did not give a repository, with the remedy."""
    from huggingface_hub import constants, errors

    kind, name = address.kind, address.name
    if isinstance(error, errors.GatedRepoError):
        return f"{name} asks for consent: accept its terms on {address.page}, then `hf auth login`"
    if isinstance(error, errors.RevisionNotFoundError):
        return (
            f"{name} on the Hub has no revision {address.revision}; "
            f"those it has are listed on {address.page}/commits/main"
        )
    if isinstance(error, errors.RepositoryNotFoundError):
        return (
            f"the Hub has no {kind} {name}, or it is private: check the name, "
            "or log in with `hf auth login` or HF_TOKEN"
        )
    if isinstance(error, errors.OfflineModeIsEnabled):
        return (
            f"{address} is not in the cache, and HF_HUB_OFFLINE forbids to fetch it: "
            "unset it and fetch it once"
        )
    if isinstance(error, errors.HfHubHTTPError):
        return answered(error, name)
    return (
        f"{address} is not in the cache, and {constants.ENDPOINT} cannot be reached "
        f"({line(error)}): check the network, or the proxy, and try again"
    )


def answered(error: Any, name: str) -> str:
    """One sentence on an answer of the Hub that is an error, with the remedy."""
    status = error.response.status_code
    if status in (401, 403):
        return (
            f"the Hub refuses your token for {name} ({status}): make one that may do this on "
            "https://huggingface.co/settings/tokens, then `hf auth login` or HF_TOKEN"
        )
    return f"the Hub answered {status} for {name} ({line(error)}); try again later"


def line(error: Exception) -> str:
    """The first line of an error's message, or its class."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _snapshot(address: Address, wanted: list[str], **how: bool) -> Path:
    from huggingface_hub import snapshot_download

    inside = f"{address.inside}/" if address.inside else ""
    folder = snapshot_download(
        address.name,
        repo_type=address.kind,
        revision=address.revision,
        allow_patterns=[inside + pattern for pattern in wanted],
        **how,
    )
    return Path(folder) / address.inside


def failures() -> tuple[type[Exception], ...]:
    """What the client raises: its own errors, and those of the httpx it brings (their base)."""
    from huggingface_hub import errors

    return (OSError, *(kind for kind in errors.HfHubHTTPError.__bases__ if kind is not OSError))
