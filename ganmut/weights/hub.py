"""The Hugging Face Hub: downloads pinned repositories and explains why one cannot be had.

The client retries for half a minute when a server does not answer and for minutes when it stays
silent. A short request with a timeout of CONNECT_TIMEOUT therefore comes first, so that being
offline or a wrong name is reported within seconds. Files in the cache are used without a request.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ganmut.errors import first_line, hub_errors
from ganmut.text import quote

CONNECT_TIMEOUT = 8.0  # seconds until the Hub's first answer
MAIN = "main"  # the branch that a repository without a revision means


class HubError(ValueError):
    """A repository that cannot be had; the message names it, the fault and the remedy."""


@dataclass(frozen=True)
class Address:
    """A model repository at a revision.

    name: OWNER/NAME. revision: a commit (40 hex digits), a branch or a tag. subfolder: a folder in
    it, or "".
    """

    name: str
    revision: str
    subfolder: str = ""

    @property
    def is_commit(self) -> bool:
        """Whether the revision is a commit, so that the address never means anything else."""
        return re.fullmatch(r"[0-9a-f]{40}", self.revision) is not None

    def __str__(self) -> str:
        return f"{self.name}@{self.revision}" + (f"/{self.subfolder}" if self.subfolder else "")

    @property
    def page(self) -> str:
        """The URL of the repository's page."""
        from huggingface_hub import constants

        return f"{constants.ENDPOINT}/{self.name}"


def parse(spec: str) -> Address:
    """The Address of "hub:OWNER/NAME", with "@REVISION" (default the branch main) and "/FOLDER"
    where they are given. Raises HubError for anything else."""
    name = r"[\w-][\w.-]*"
    match = re.fullmatch(rf"(?:hub:)?({name}/{name})(?:@({name}))?((?:/{name})*)/?", spec)
    if not match:
        raise HubError(
            f"{quote(spec)} is not hub:OWNER/NAME, with @REVISION (a commit, a tag or a branch) "
            "and /FOLDER where they are needed"
        )
    name, revision, subfolder = match.groups()
    return Address(name, revision or MAIN, subfolder.strip("/"))


def parse_commit(spec: str) -> Address:
    """`parse` of an address that must hold a commit; raises HubError."""
    # What everybody loads by default must not change under its users.
    if not re.fullmatch(r"[^@]*@[0-9a-f]{40}(/.*)?", spec):
        raise HubError(
            f"{quote(spec)} is not hub:OWNER/NAME@REVISION with the 40 hex digits of a commit; the "
            "repository's page lists its commits"
        )
    return parse(spec)


def find_commit(address: Address) -> Address:
    """The Address of the commit that a branch or a tag is at now, which the Hub is asked for.
    Raises HubError."""
    return replace(address, revision=str(_describe(address).sha))


def find_cached(address: Address, patterns: list[str]) -> Path | None:
    """The local folder of a repository whose files of these patterns are all cached, or None."""
    from huggingface_hub import errors

    try:
        return _snapshot(address, patterns, local_files_only=True)
    except errors.LocalEntryNotFoundError:
        return None


def download(address: Address, patterns: list[str], force: bool = False) -> Path:
    """The local folder of a repository with its files of these patterns; raises HubError.

    force: download files that are in the cache, too.
    """
    from huggingface_hub import errors

    # The short question first: the client itself retries for minutes.
    list_files(address)
    retryable: tuple[type[Exception], ...] = (*hub_errors(), errors.EntryNotFoundError)
    try:
        return _snapshot(address, patterns, force_download=force)
    except retryable as error:
        raise HubError(
            f"{address}: the download was interrupted ({first_line(error)}); "
            "run it again to fetch the missing files"
        ) from None


def list_files(address: Address) -> list[str]:
    """The paths of all files of a repository; raises HubError within seconds where it cannot be
    read."""
    return sorted(sibling.rfilename for sibling in _describe(address).siblings or [])


def _describe(address: Address) -> Any:
    """The Hub's description of a repository at a revision; raises HubError within seconds."""
    from huggingface_hub import HfApi

    try:
        return HfApi().model_info(address.name, revision=address.revision, timeout=CONNECT_TIMEOUT)
    except hub_errors() as error:
        raise HubError(explain(error, address)) from None


def check_connection() -> None:
    """Raises HubError within seconds where the Hub does not answer."""
    from huggingface_hub import constants, get_session

    try:
        get_session().head(constants.ENDPOINT, timeout=CONNECT_TIMEOUT)
    except hub_errors() as error:
        raise HubError(
            f"{constants.ENDPOINT} cannot be reached ({first_line(error)}): "
            "check the network, the proxy and HF_HUB_OFFLINE"
        ) from None


def explain(error: Exception, address: Address) -> str:
    """One sentence on why the Hub did not give a repository, with the remedy."""
    from huggingface_hub import constants, errors

    name = address.name
    if isinstance(error, errors.GatedRepoError):
        return f"{name} is gated: accept its terms on {address.page}, then run `hf auth login`"
    if isinstance(error, errors.RevisionNotFoundError):
        return (
            f"{name} on the Hub has no revision {address.revision}; "
            f"{address.page}/commits/main lists its revisions"
        )
    if isinstance(error, errors.RepositoryNotFoundError):
        return (
            f"the Hub has no model {name}, or it is private: check the name, "
            "or log in with `hf auth login` or HF_TOKEN"
        )
    known = f"{address} is not in the cache"
    if not address.is_commit:  # the weights may well be there
        known = f"the commit of {address} is not known here (nothing is pinned)"
    if isinstance(error, errors.OfflineModeIsEnabled):
        return f"{known} and HF_HUB_OFFLINE is set: unset it and download once"
    if isinstance(error, errors.HfHubHTTPError):
        return explain_status(error, name)
    return (
        f"{known}, and {constants.ENDPOINT} cannot be reached "
        f"({first_line(error)}): check the network and the proxy, then try again"
    )


def explain_status(error: Any, name: str) -> str:
    """One sentence on an HTTP error of the Hub, with the remedy."""
    status = error.response.status_code
    if status in (401, 403):
        return (
            f"the Hub refuses your token for {name} ({status}): create one with this permission on "
            "https://huggingface.co/settings/tokens, then `hf auth login` or HF_TOKEN"
        )
    return f"the Hub answered {status} for {name} ({first_line(error)}); try again later"


def _snapshot(
    address: Address,
    patterns: list[str],
    force_download: bool = False,
    local_files_only: bool = False,
) -> Path:
    from huggingface_hub import snapshot_download

    prefix = f"{address.subfolder}/" if address.subfolder else ""
    folder = snapshot_download(
        address.name,
        revision=address.revision,
        allow_patterns=[prefix + pattern for pattern in patterns],
        force_download=force_download,
        local_files_only=local_files_only,
    )
    return Path(folder) / address.subfolder
