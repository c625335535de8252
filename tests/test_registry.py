"""The file is the entry: a toy file dropped into a room is found, runs and is listed; nothing else
is touched."""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path

import pytest
import torch

import ganmut.datasets
import ganmut.faces
import ganmut.methods
from ganmut.datasets.base import SOURCES, open_source
from ganmut.editor import Editor
from ganmut.methods.base import METHODS
from ganmut.registry import Registry, UnknownNameError
from ganmut.training.presets import resolve_settings


@pytest.fixture
def room(tmp_path, monkeypatch):
    """Adds a folder to a package, as if the file lay in it, and forgets it afterwards."""

    def add(package, registry: Registry, file: str, code: str) -> None:
        registry.names()  # the real files first: they register once a process
        (tmp_path / file).write_text(textwrap.dedent(code))
        monkeypatch.setattr(package, "__path__", [*package.__path__, str(tmp_path)])
        monkeypatch.setattr(registry, "_searched", False)
        monkeypatch.setattr(registry, "_entries", dict(registry._entries))

    before = set(sys.modules)
    yield add
    for name in set(sys.modules) - before:
        if "toy_" in name:
            del sys.modules[name]


def test_a_method_is_one_new_file(room, batch):
    room(
        ganmut.methods,
        METHODS,
        "toy_brightness.py",
        """
        from dataclasses import dataclass
        from ganmut.methods.base import METHODS
        from ganmut.methods.stargan import StarGAN

        @METHODS.register("toy_brightness")
        class Brightness(StarGAN):
            title, paper = "Brightness", "nobody, nowhere"
    """,
    )
    assert "toy_brightness" in METHODS.names()
    _, config = resolve_settings("toy_brightness", "stable", "cpu", size=32, width=8, d_layers=4)
    editor = Editor(METHODS["toy_brightness"](config, ("neutral", "happy"), 32), {})
    faces = editor.prepare(torch.zeros(1, 3, 32, 32, dtype=torch.uint8))
    assert editor.edit(faces, editor.space.of("happy")).shape == (1, 3, 32, 32)


def test_a_source_is_one_new_file(room):
    room(
        ganmut.datasets,
        SOURCES,
        "toy_noise.py",
        """
        import torch
        from ganmut.datasets.base import SOURCES, FaceSet

        @SOURCES.register("toy_noise")
        class Noise:
            emotions = ("neutral", "happy")

            def __init__(self, argument=""):
                self.side = int(argument or 8)

            def load(self, split, size, n=None, *, seed=0, progress=True):
                images = torch.zeros(n, 3, size, size, dtype=torch.uint8)
                emotion = torch.arange(n) % 2
                return FaceSet("toy_noise", split, self.emotions, images, emotion, "noise")
    """,
    )
    assert "toy_noise" in SOURCES.names()
    assert len(open_source("toy_noise:4").load("train", 16, 5)) == 5


def test_the_same_name_twice_is_an_error(room):
    room(
        ganmut.methods,
        METHODS,
        "toy_twice.py",
        """
        from ganmut.methods.base import METHODS

        @METHODS.register("stargan")
        class Other:
            pass
    """,
    )
    with pytest.raises(ValueError, match="'stargan'"):
        METHODS.names()


def test_an_unknown_name_says_what_is_near():
    with pytest.raises(
        UnknownNameError,
        match=r"'ganmutt'.*'ganmut'.*stargan",
    ):
        METHODS["ganmutt"]


def test_looking_up_is_lazy():
    registry = Registry("thing", "package.that.is.not.there")
    assert isinstance(registry.package, str)
    with pytest.raises(ModuleNotFoundError):
        registry.names()


def test_every_file_of_the_rooms_registers_something():
    for package, registry, shared in (
        (ganmut.methods, METHODS, {"base", "layers", "__init__"}),
        (ganmut.datasets, SOURCES, {"base", "__init__"}),
    ):
        files = {p.stem for p in Path(package.__path__[0]).glob("*.py")} - shared
        modules = {registry[name].__module__.rsplit(".", 1)[1] for name in registry}
        assert modules <= files


@pytest.mark.parametrize("package", [ganmut, ganmut.faces])
def test_public_names_are_those_of_their_modules(package):
    for name in package.__all__:
        assert getattr(package, name) is not None and name in dir(package)
    with pytest.raises(AttributeError):
        package.nonsense  # noqa: B018
