"""Shared by all tests: no network but loopback, a cache of their own, toy-size instances of the
real classes."""

from __future__ import annotations

import socket

import pytest
import torch

from ganmut.datasets.base import Batch
from ganmut.emotions import EMOTIONS
from ganmut.methods.base import METHODS
from ganmut.training.config import assemble

torch.set_num_threads(1)  # toy tensors: more threads only wait for each other

# Small enough for a second a test; the classes are the ones that train and edit.
TOY = {"size": 32, "width": 8, "blocks": 1, "d_width": 8, "d_layers": 4, "batch": 16}


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any connection that leaves this machine fails the test."""
    real = socket.socket.connect

    def guarded(self: socket.socket, address: object) -> None:
        host = address[0] if isinstance(address, tuple) else "unix"
        if host not in ("127.0.0.1", "::1", "localhost", "unix"):
            raise AssertionError(f"a test tried to reach {address}")
        return real(self, address)

    monkeypatch.setattr(socket.socket, "connect", guarded)


@pytest.fixture(autouse=True, scope="session")
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Prepared faces go to a folder that ends with the test run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GANMUT_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture
def batch() -> Batch:
    """16 random 32 px faces, every emotion among them."""
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(16, 3, 32, 32, generator=generator) * 2 - 1
    return Batch(x, torch.arange(16) % 7, torch.rand(16, 17, generator=generator))


def toy(name: str, preset: str = "cpu", **overrides: object):
    """A toy-size method of the real class, its parameters drawn from seed 0."""
    _, config = assemble(name, preset, **(TOY | overrides))
    torch.manual_seed(0)
    return METHODS[name](config, EMOTIONS, TOY["size"])
