"""Devices other than the CPU, on a machine without: tensors on "meta" have a shape, a type and a
device, and an operation on two devices at once is refused as a GPU refuses it."""

from __future__ import annotations

import contextlib
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from toys import PRESETS, TOY, toy

from ganmut import device as hardware
from ganmut import weights
from ganmut.datasets import FaceSet
from ganmut.datasets.base import Batch
from ganmut.editor import Editor
from ganmut.emotions import EMOTIONS
from ganmut.extractors.base import EXTRACTORS
from ganmut.methods.base import METHODS
from ganmut.training import presets
from ganmut.training.sampler import Sampler
from ganmut.training.trainer import Trainer

ELSEWHERE = torch.device("meta")
# What takes tensors of two devices on a GPU, too: copies, and rows by numbers on the CPU.
MIXING = ("copy", "index.Tensor")


class OneDevice(TorchDispatchMode):
    """Refuses operations on tensors of two devices. Numbers (tensors without dimensions) may be
    anywhere."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        given = tree_leaves((args, kwargs or {}))
        devices = {t.device.type for t in given if isinstance(t, torch.Tensor) and t.dim()}
        if len(devices) > 1 and not any(word in str(function) for word in MIXING):
            raise RuntimeError(f"{function} of tensors on {' and '.join(sorted(devices))}")
        return function(*args, **(kwargs or {}))


def test_overlapping_blocks_give_threads_back():
    before = torch.get_num_threads()
    inside, seen = threading.Barrier(2), []

    def render():
        with hardware.one_thread():
            inside.wait(30)
            seen.append(torch.get_num_threads())
        seen.append(torch.get_num_threads())

    torch.set_num_threads(3)
    try:
        with ThreadPoolExecutor() as pool:
            with hardware.one_thread():
                running = pool.submit(render)
                inside.wait(30)
            running.result(30)
        assert seen == [1, 3]
        assert torch.get_num_threads() == 3
        with ThreadPoolExecutor() as pool:
            assert pool.submit(torch.get_num_threads).result() == 3
    finally:
        torch.set_num_threads(before)


@pytest.fixture
def gpu(monkeypatch):
    """The settings of CUDA that "meta" does not have, or has not."""
    autocast, adam = torch.autocast, torch.optim.Adam

    def autocast_elsewhere(kind, *args, **kwargs):
        return contextlib.nullcontext() if kind == "meta" else autocast(kind, *args, **kwargs)

    monkeypatch.setattr(torch, "autocast", autocast_elsewhere)
    monkeypatch.setattr(hardware, "select_device", torch.device)
    monkeypatch.setattr(hardware, "memory_format", lambda device: torch.channels_last)
    monkeypatch.setattr(torch.optim, "Adam", lambda *a, **k: adam(*a, **(k | {"fused": False})))
    return ELSEWHERE


def batch_on(device: torch.device) -> Batch:
    n = 16
    x = torch.empty(n, 3, TOY["size"], TOY["size"], device=device)
    x = x.contiguous(memory_format=torch.channels_last)
    emotion = torch.zeros(n, dtype=torch.int64, device=device)
    return Batch(x, emotion, torch.empty(n, 17, device=device))


def test_two_devices_at_once_are_refused():
    with OneDevice(), pytest.raises(RuntimeError, match="cpu and meta"):
        torch.nn.functional.linear(torch.empty(2, 3, device=ELSEWHERE), torch.empty(4, 3))


@pytest.mark.parametrize("name", list(METHODS))
def test_methods_train_where_their_faces_are(name, gpu):
    recipe, _ = presets.resolve_settings(name, **PRESETS["cpu"], **TOY)
    trainer, batch = Trainer(toy(name), recipe, gpu), batch_on(gpu)
    with OneDevice():
        trainer.schedule()
        trainer.warmup_step("d_warmup", batch)
        trainer.warmup_step("g_warmup", batch)
        trainer.adversarial_step(batch)
    assert {p.device for p in trainer.method.parameters()} == {gpu}


@pytest.mark.parametrize("name", list(METHODS))
def test_methods_edit_where_their_faces_are(name, gpu):
    method, batch = toy(name).to(gpu), batch_on(gpu)
    with OneDevice(), torch.no_grad():
        code = method.code(method.sample_targets(batch, hardware.generator(0)))
        edit = method.edit(method.encode(batch.x), code)
    assert edit.images.device == gpu and edit.images.shape == batch.x.shape


@pytest.mark.parametrize("name", list(EXTRACTORS))
def test_extractors_embed_where_their_faces_are(name, gpu):
    network = EXTRACTORS[name](EMOTIONS, 64).eval().to(gpu)
    with OneDevice():
        x = network.preprocess(torch.zeros(4, 3, 32, 32, dtype=torch.uint8), gpu)
        assert network.predict(network.embed(x)).device == gpu


@pytest.mark.parametrize("augment", [0.0, 0.5])
def test_batches_are_made_on_the_device(augment, gpu):
    pixels = torch.zeros(40, 3, TOY["size"], TOY["size"], dtype=torch.uint8)
    faces = FaceSet("t", "train", EMOTIONS, pixels, torch.arange(40) % 7, "", torch.zeros(40, 17))
    recipe, _ = presets.resolve_settings("ganmut", **PRESETS["paper"], **TOY, augment=augment)
    with OneDevice():
        batch = Sampler(faces, recipe, gpu).batch(0, hardware.generator(0))
    assert {batch.x.device, batch.emotion.device, batch.units.device} == {gpu}


@pytest.mark.parametrize("spec", ["photos/expression", "photos/wheel"])
def test_the_expression_model_needs_no_gpu(spec):
    """It is the default of photographs: where there is a GPU, the processor draws them all the
    same."""
    here = weights.load(spec, "cpu")
    there = Editor(weights.load(spec, "cpu").method, here.config, ELSEWHERE)
    assert there.device == torch.device("cpu")
    face = weights.read_golden(weights.resolve(spec), "faces")["faces"][:1]
    code = here.space.of("happy")
    assert torch.equal(*(editor.edit(editor.prepare(face), code) for editor in (here, there)))
