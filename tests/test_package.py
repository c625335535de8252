"""The wheel: what is in it, and that it works outside of a checkout."""

from __future__ import annotations

import contextlib
import csv
import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import yaml
from hub_server import serve
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from PIL import Image
from skimage import data as samples
from toys import TOY, toy, write_bundle

import ganmut
from ganmut import __version__, cli, files, revision, weights
from ganmut.registry import UnknownNameError

RESOLVE = sys.modules["ganmut.weights.resolve"]  # weights.resolve is the function
ROOT = Path(__file__).resolve().parents[1]
LIMIT = 25 << 20  # bytes of the default weights in a wheel


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel of this checkout, built in a copy: a build writes beside its sources."""
    folder = tmp_path_factory.mktemp("build")
    for name in ("ganmut", "weights", "bench"):
        shutil.copytree(
            ROOT / name,
            folder / name,
            ignore=shutil.ignore_patterns("__pycache__"),
            copy_function=link,
        )
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    build = "from setuptools import build_meta; build_meta.build_wheel('dist')"
    python(folder, "-c", build)
    (built,) = (folder / "dist").glob("*.whl")
    return built


def link(source: str, target: str) -> None:
    """A hard link, or a copy where the file system has none."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy(source, target)


def python(
    folder: Path, *words: str | Path, path: str | Path = "", status: int = 0, **variables: str
) -> subprocess.CompletedProcess:
    """Runs Python in a folder, with `path` in place of the checkout on the search path, and expects
    a status. variables: of its environment."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("GANMUT_", "PYTHONPATH"))}
    environment = kept | ({"PYTHONPATH": str(path)} if path else {}) | variables
    ran = subprocess.run(
        [sys.executable, *words], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert ran.returncode == status, ran.stdout + ran.stderr
    return ran


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """A folder with the installed wheel. Its dependencies are those of the tests."""
    target = tmp_path_factory.mktemp("site")
    options = ("--no-deps", "--no-index", "--no-compile", "--quiet", "--target", target)
    python(target, "-m", "pip", "install", *options, wheel)
    return target


@pytest.fixture
def empty(tmp_path):
    """A folder with a photograph and nothing else."""
    Image.fromarray(samples.astronaut()[:300, 60:400]).save(tmp_path / "photo.png")
    return tmp_path


def test_the_wheel_holds_the_package_alone(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    inside = {name for name in names if ".dist-info/" not in name}
    assert all(name.startswith("ganmut/") for name in inside)
    modules = {p.relative_to(ROOT).as_posix() for p in (ROOT / "ganmut").rglob("*.py")}
    bench = {p.relative_to(ROOT).as_posix() for p in (ROOT / "bench").rglob("*.py")}
    modules |= {f"ganmut/{name}" for name in bench}
    assert modules == {name for name in inside if name.endswith(".py")}
    # Of the bench the code alone: results belong to a checkout.
    assert {n for n in inside if n.startswith("ganmut/bench/")} == {f"ganmut/{n}" for n in bench}
    assert "ganmut/py.typed" in inside


def test_the_wheel_holds_whole_small_weights(wheel):
    """Each default weight travels with its golden tensors and the card that states its licence."""
    files = {i.filename: i.file_size for i in zipfile.ZipFile(wheel).infolist()}
    sizes = {name: n for name, n in files.items() if name.startswith("ganmut/bundled/")}
    assert 0 < sum(sizes.values()) <= LIMIT
    folders = {name.removeprefix("ganmut/bundled/").rpartition("/")[0] for name in sizes}
    for folder in folders:
        inside = {name.rpartition("/")[2] for name in sizes if f"/{folder}/" in name}
        assert inside == {path.name for path in (ROOT / "weights" / folder).iterdir()}, folder


USE = """
import os
import ganmut
from ganmut import faces, images, weights

assert weights.bundled_root().parent.name == "ganmut", weights.bundled_root()
assert ganmut.load("photos/ganmut").space.of("happy").shape == (2,)
photo = images.read_image("photo.png")
(face,) = faces.detect_faces(photo)
assert ganmut.edit("photo.png", emotion="happy").size == photo.shape[1::-1]
for folder in sorted(weights.bundled_root().glob("*/*/config.json")):
    weights.read(folder.parent, weights.read_config(folder.parent)["kind"])
ganmut.load("photos/wheel"), ganmut.load("procedural/ganmut")
try:
    ganmut.load("mine/stargan")
except ValueError as error:
    print(error)
os.environ["GANMUT_HUB"] = "me/all@" + "a" * 40
print(ganmut.load("mine/stargan").name)
"""


def test_the_library_works_outside_a_checkout(installed, empty):
    """Its own weights without a network, the published ones where an address is set."""
    faces = torch.zeros(2, 3, TOY["size"], TOY["size"], dtype=torch.uint8)
    weights.save(empty / "all" / "mine" / "stargan", toy("stargan"), {}, faces)
    with published(empty) as hub:
        message, name = python(empty, "-c", USE, path=installed, **hub).stdout.splitlines()
    assert "mine/stargan" in message and "GANMUT_HUB=" in message
    assert name == "stargan"


@contextlib.contextmanager
def published(folder: Path) -> Iterator[dict[str, str]]:
    """The variables with which programs find folder/all as the published weights `me/all`."""
    with serve({("models", "me/all"): {"a" * 40: folder / "all"}}) as endpoint:
        hub = {"HF_ENDPOINT": endpoint, "HF_HOME": str(folder / "home"), "HF_HUB_OFFLINE": "0"}
        yield hub | {"NO_PROXY": "127.0.0.1", "HF_HUB_DISABLE_XET": "1"}


def test_the_bench_measures_outside_a_checkout(installed, empty):
    """Editors and judges are the published ones; the work is shared by two processes."""
    write_bundle(empty / "all", "stargan")
    script = installed / "bin" / "ganmut-bench"
    few = ("--protocol", "quick", "--metrics", "accuracy")
    with published(empty) as hub:
        hub["GANMUT_HUB"] = "me/all@" + "a" * 40
        python(empty, script, *few, "--export-sources", "copies", path=installed, **hub)
        with open(empty / "copies" / "manifest.csv", newline="") as table:
            for row in csv.DictReader(table):
                shutil.copy(empty / "copies" / row["source"], empty / "copies" / row["edited"])
        rows = ("--methods", "stargan", "--edits", "copies", "--workers", "2", "--no-figures")
        python(empty, script, *few, *rows, path=installed, **hub)
    folder = empty / "out" / "bench"
    records, unread = files.read_lines(folder / "results.jsonl")
    found = {record["row"]: record for record in records if record["kind"] == "score"}
    assert {"no_edit", "stargan", "copies"} <= set(found) and not unread
    assert {record["status"] for record in found.values()} == {"ok"}
    assert found["copies"]["value"] == found["no_edit"]["value"] is not None
    assert "| copies |" in (folder / "LEADERBOARD.md").read_text(encoding="utf-8")


def test_the_bench_says_what_to_install(installed, empty):
    """Without the extra `bench`, and without the published weights: one sentence each."""
    script = installed / "bin" / "ganmut-bench"
    (empty / "lacking").mkdir()
    lack = "raise ModuleNotFoundError(\"No module named 'rich'\", name='rich')"
    (empty / "lacking" / "rich.py").write_text(lack)
    path = os.pathsep.join(map(str, (empty / "lacking", installed)))
    told = python(empty, script, "--help", path=path, status=2).stderr
    assert "pip install 'ganmut[bench]'" in told and told.count("\n") == 1
    few = ("--protocol", "quick", "--metrics", "accuracy", "--no-figures")
    for name in ("ganmut", "stargan"):  # the judge is missing, and the editor
        words = (*few, "--methods", name)
        told = python(empty, script, *words, path=installed, status=2).stderr
        assert "GANMUT_HUB=" in told and told.count("\n") == 1
    module = ("-m", "ganmut.bench.leaderboard")
    told = python(empty, *module, path=installed, status=2).stderr
    assert "--out" in told and told.count("\n") == 1


def test_the_console_script_edits_a_photograph(installed, empty):
    script = installed / "bin" / "ganmut"
    options = ("--emotion", "happy", "--out", "edited.png")
    told = python(empty, script, "edit", "photo.png", *options, path=installed).stdout
    assert "photos/expression" in told
    before, after = (Image.open(empty / name) for name in ("photo.png", "edited.png"))
    assert before.size == after.size and before.tobytes() != after.tobytes()


def test_the_version_is_the_packages_own(installed, empty):
    for name in ("ganmut", "ganmut-bench"):
        script = installed / "bin" / name
        told = python(empty, script, "--version", path=installed).stdout
        assert told == f"ganmut {__version__}\n"
        told = python(empty, script, "--help", path=installed).stdout
        assert told.startswith(f"usage: {name} ")
    (metadata,) = installed.glob("ganmut-*.dist-info")
    assert metadata.name == f"ganmut-{__version__}.dist-info"
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert cited["version"] == __version__


def test_reproduce_finds_the_installed_bench(installed, empty):
    """It starts the module, and says before it trains what the bench lacks."""
    words = ("-m", "ganmut", "reproduce", "--trial")
    assert "\nbench " in python(empty, *words, "--plan", path=installed).stdout
    program = "from ganmut.cli import reproduce; print(*reproduce.bench_command())"
    assert python(empty, "-c", program, path=installed).stdout == "-m ganmut.bench.run\n"
    (empty / "rich.py").write_text("raise ModuleNotFoundError(name='rich')")
    told = python(empty, *words, path=installed, status=2).stderr
    assert "ganmut[bench]" in told and not (empty / "out").exists()


def test_reproduce_needs_the_bench(tmp_path, monkeypatch, capsys):
    """It says so before it trains."""
    monkeypatch.setattr(ganmut, "__file__", str(tmp_path / "site" / "ganmut" / "__init__.py"))
    assert cli.main(["reproduce", "--out", str(tmp_path / "out")]) == 2
    assert "repository" in capsys.readouterr().err and not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "packaged, address", [(True, ""), (False, ""), (True, "me/all@" + "a" * 40)]
)
def test_a_weight_that_does_not_travel(tmp_path, monkeypatch, packaged, address):
    """Only an installed package without an address says how to get the other weights."""
    folder = tmp_path / "ganmut" / "bundled"
    (folder if packaged else tmp_path / "weights").mkdir(parents=True)
    monkeypatch.setattr(RESOLVE, "PACKAGED", folder)
    monkeypatch.delenv("GANMUT_WEIGHTS", raising=False)
    monkeypatch.setenv("GANMUT_HUB", address)
    monkeypatch.setattr(RESOLVE, "download", lambda spec: tmp_path)
    assert weights.bundled_root() == (folder if packaged else tmp_path / "weights")
    with pytest.raises(UnknownNameError) as raised:
        weights.load("procedural/stargan")
    assert ("GANMUT_WEIGHTS" in str(raised.value)) == (packaged and not address)


def test_an_installed_package_has_no_commit(tmp_path, monkeypatch):
    """An environment inside a repository of something else records no commit of that."""
    package = tmp_path / "site-packages" / "ganmut"
    package.mkdir(parents=True)
    shutil.copy(revision.__file__, package)
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    who = ("-c", "user.name=a", "-c", "user.email=a@b.c")
    subprocess.run(
        ["git", "-C", tmp_path, *who, "commit", "-q", "--allow-empty", "-m", "x"], check=True
    )
    monkeypatch.setattr(revision, "__file__", str(package / "revision.py"))
    assert revision.commit() == "unknown"
    monkeypatch.setattr(revision, "__file__", str(tmp_path / "ganmut" / "revision.py"))
    assert len(revision.commit()) == revision.DIGITS


def test_an_address_of_published_weights_travels():
    tool = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]
    assert RESOLVE.ADDRESS_FILE in tool["setuptools"]["package-data"]["ganmut.bundled"]


def pinned(name: str) -> dict[str, str]:
    """Package -> version of a requirements file, without the files that it includes."""
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    pairs = (line.split("==") for line in lines if not line.startswith(("#", "-r")))
    return {canonicalize_name(package): version for package, version in pairs}


def test_the_space_installs_what_the_page_needs():
    """requirements.txt is the page's alone: the library's packages and gradio, no tool of tests."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    needed = [*project["dependencies"], *project["optional-dependencies"]["demo"]]
    space = pinned("requirements.txt")
    for requirement in map(Requirement, needed):
        assert requirement.specifier.contains(space.pop(canonicalize_name(requirement.name)))
    assert space == {}
    others = pinned("requirements-bench.txt") | pinned("requirements-dev.txt")
    assert {"pytest", "ruff", "insightface", "setuptools"} <= set(others)
