"""Resolves a weight spec to the folder that it means: bundled, a path, a run, or on the Hub.

Names such as "procedural/ganmut" mean the bundled weights. Where GANMUT_HUB=OWNER/NAME@REVISION or
the file hub.txt beside the bundled weights holds an address, names mean the published weights of
that repository first, as "hub/procedural/ganmut" does (docs/weights.md).
"""

from __future__ import annotations

import functools
import os
from pathlib import Path

from ganmut.errors import ParameterError
from ganmut.files import write_atomic
from ganmut.folders import subfolders
from ganmut.registry import UnknownNameError, did_you_mean
from ganmut.text import quote
from ganmut.weights import hub, pins
from ganmut.weights.storage import BadWeights, read, read_config

# Files fetched from a repository.
PATTERNS = ["*.safetensors", "*.json", "README.md"]
# File among the bundled weights that holds the address of the published ones.
ADDRESS_FILE = "hub.txt"


# Default weights in an installed package (setup.py). A checkout has no such folder.
PACKAGED = Path(__file__).resolve().parents[1] / "bundled"


def bundled_root() -> Path:
    """The folder of the bundled weights: GANMUT_WEIGHTS, else `weights/` of the checkout that this
    module lies in, else the default weights of the installed package."""
    # Read at every call: a test or a page may point to other weights after the import.
    checkout = PACKAGED.parents[1] / "weights"
    return Path(os.environ.get("GANMUT_WEIGHTS") or (PACKAGED if PACKAGED.is_dir() else checkout))


def hub_address() -> str:
    """OWNER/NAME@REVISION of the published weights: GANMUT_HUB (empty: none), else the line in
    hub.txt, else ""."""
    address = os.environ.get("GANMUT_HUB")
    if address is None and (file := bundled_root() / ADDRESS_FILE).is_file():
        address = file.read_text(encoding="utf-8")
    return (address or "").strip().removeprefix("hub:")


def set_default_hub(spec: str) -> Path:
    """Writes the address OWNER/NAME@REVISION to hub.txt, so that names mean its weights; returns
    the file. Raises HubError for an address that is not pinned."""
    write_atomic(bundled_root() / ADDRESS_FILE, f"{hub.parse_commit(spec)}\n")
    return bundled_root() / ADDRESS_FILE


def list_sets() -> list[str]:
    """Names of all sets of weights, such as "procedural", sorted."""
    folders = (path for root in _search_roots() if root.is_dir() for path in subfolders(root))
    return sorted({path.name for path in folders})


def list_weights(
    set: str = "procedural", kind: str = "editor", ablations: bool = False
) -> list[str]:
    """Names of the weights of a set and kind ("editor", "extractor"), sorted; may be empty.

    ablations: also the weights that exist for one comparison of the bench.
    """
    group = locate(set, _search_roots())
    folders = list_folders(group) if group else []
    configs = {folder.name: read_config(folder) for folder in folders}
    return [
        name
        for name, config in configs.items()
        if config["kind"] == kind and (ablations or not config.get("ablation_of"))
    ]


def list_folders(root: Path, depth: int = 1) -> list[Path]:
    """The weight folders that lie up to `depth` levels below a folder, without hidden ones: what a
    killed command was writing is hidden, and may look whole."""
    found = []
    for folder in subfolders(root):
        found += [folder] if (folder / "config.json").is_file() else []
        found += list_folders(folder, depth - 1) if depth > 1 else []
    return found


def locate(spec: str | Path, roots: tuple[Path, ...] = ()) -> Path | None:
    """The folder that a spec names, whatever it holds (a weight, a run, a set, sets), or None.

    "hub:OWNER/NAME" with @REVISION and /FOLDER where they are given, "hub[/SET[/NAME]]" (the
    published weights; the set procedural by default), SET[/NAME], or a path. roots: where SET is
    looked up; by default the published weights, the bundled ones, and then the path itself. Raises
    BadWeights for an address that cannot be fetched.
    """
    spec = str(spec)
    if spec.startswith("hub:"):
        return download(spec)
    if spec == "hub" or spec.startswith("hub/"):
        return locate(spec.partition("/")[2] or "procedural", (_hub_root(),))
    candidates = [root / spec for root in roots or _search_roots()]
    candidates += [] if roots else [Path(spec)]
    return next((folder for folder in candidates if folder.is_dir()), None)


def resolve(spec: str | Path, kind: str = "editor", member: str = "") -> Path:
    """The weight folder of a spec: "set/name", a folder, a run, or "hub:..." (see `locate`).

    member: name of the weight where the spec is a set. Raises ParameterError for a member of a
    spec that is one weight, UnknownNameError for a name that does not exist, BadWeights for a
    folder without a weight.
    """
    spec, found = str(spec), locate(spec)
    single = _weight_folder(found) if found else None
    if single and member:
        raise ParameterError(
            "weights, method", f"{spec} is one weight, not a set: omit the method {quote(member)}"
        )
    inner = found / member if found and member else None
    # The spec itself first: a run has a folder `weights` of its own that is no set.
    if folder := single or (inner and _weight_folder(inner)):
        return folder
    members: list[str] = []
    if found:
        members = sorted(path.relative_to(found).as_posix() for path in list_folders(found, 2))
    if members and not member:
        raise BadWeights(f"{spec} holds several weights: add one of /{', /'.join(members)}")
    if found and not members:
        raise BadWeights(f"{spec} has no config.json: neither a weight folder nor a finished run")
    raise _unknown(f"{spec}/{member}" if found else spec, kind)


def is_set(spec: str | Path) -> bool:
    """Whether a spec is a folder that holds no weight of its own, so that a member is needed."""
    found = locate(spec)
    return found is not None and _weight_folder(found) is None


def _weight_folder(folder: Path) -> Path | None:
    """The folder itself where it is a weight, its `weights/` where it is a run, else None."""
    for candidate in (folder, folder / "weights"):
        if (candidate / "config.json").is_file():
            return candidate
    return None


def _unknown(name: str, kind: str) -> UnknownNameError:
    """The error for a name that does not exist, with the closest name and all names."""
    names = [f"{group}/{name}" for group in list_sets() for name in list_weights(group, kind, True)]
    same_end = [known for known in names if known.rsplit("/")[-1] == name]
    hint = f"; did you mean {quote(same_end[0])}?" if same_end else did_you_mean(name, names)
    return UnknownNameError(
        f"unknown weight {quote(name)}{hint} Bundled in {_search_roots()[0]}: "
        f"{', '.join(names) or 'none'}. Other specs: a folder, hub:OWNER/NAME@REVISION"
        f"{other_weights()}"
    )


def other_weights() -> str:
    """The end of a message about bundled weights that are not there: how an installed package gets
    the others. "" for a checkout, which holds all, and where an address is set."""
    if bundled_root() != PACKAGED or hub_address():
        return ""
    return (
        ". An installed package holds the default weights only: for others, set "
        "GANMUT_HUB=OWNER/NAME@REVISION to published weights, or GANMUT_WEIGHTS to the folder "
        "weights of a checkout"
    )


def _hub_root() -> Path:
    """The folder of the published weights, fetched once; raises BadWeights."""
    if not (address := hub_address()):
        raise BadWeights(
            "hub means the published weights, and no address of them is set: set "
            "GANMUT_HUB=OWNER/NAME@REVISION (docs/weights.md)"
        )
    try:
        return download(f"hub:{hub.parse_commit(address)}")
    except hub.HubError as error:
        raise BadWeights(str(error)) from None


def _search_roots() -> tuple[Path, ...]:
    """The folders of sets in which names are looked up: published weights first, then bundled."""
    if not hub_address():
        return (bundled_root(),)
    try:
        return _hub_root(), bundled_root()
    except BadWeights as error:
        raise BadWeights(f"{error}; GANMUT_HUB= (empty) selects the bundled weights") from None


def pin(spec: str) -> Path:
    """Pins "hub:OWNER/NAME@REVISION", a branch or a tag, to the commit that it is at now, and
    returns the file that says so; an earlier pin of it moves. Raises HubError, ParameterError for a
    spec that no pin is of."""
    file = pins.pin(spec)
    _find_commit.cache_clear()
    return file


def download(spec: str) -> Path:
    """The local folder of "hub:OWNER/NAME@REVISION/FOLDER", fetched once and every weight in it
    checked against its sha256; raises BadWeights."""
    try:
        return _fetch(_find_commit(spec))
    except hub.HubError as error:
        raise BadWeights(str(error)) from None


@functools.lru_cache
def _find_commit(spec: str) -> hub.Address:
    """The address of the commit of a spec, the same in all of a process."""
    return pins.resolve_commit(hub.parse(spec))


@functools.lru_cache
def _fetch(address: hub.Address) -> Path:
    # What is in the cache needs no network, so a commit works offline.
    cached = hub.find_cached(address, PATTERNS)
    folder = cached if cached and not _damage(cached) else hub.download(address, PATTERNS)
    if cached and _damage(folder):  # the client takes a file of the right size for complete
        folder = hub.download(address, PATTERNS, force=True)
    if damage := _damage(folder):
        raise BadWeights(f"{address} on the Hub cannot be used: {damage}")
    return folder


def _damage(folder: Path) -> str:
    """What is wrong with the first damaged weight below a folder, or ""."""
    configs = sorted(folder.rglob("config.json"))
    if not configs:
        files = ", ".join(sorted(path.name for path in folder.glob("*"))) or "no matching file"
        return f"it has no config.json and therefore no weight; it has {files}"
    for path in configs:
        try:
            read(path.parent)
        except BadWeights as error:
            return str(error)
    return ""
