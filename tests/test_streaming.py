"""Images that stay in their files: the same batches and trainings as from memory, in less of it."""

from __future__ import annotations

import json
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from toys import SHORT, world

from ganmut.datasets.base import BadData, FaceSet, open_source
from ganmut.datasets.cache import stored_array
from ganmut.datasets.stored import StoredImages
from ganmut.errors import ParameterError
from ganmut.training import loop as training
from ganmut.training import presets
from ganmut.training.run_dir import RunDir
from ganmut.training.sampler import Sampler

CPU = torch.device("cpu")
LOSSES = ("d/", "g/", "d_penalty/", "d_warmup/", "g_warmup/")


def stored(path: Path, images: np.ndarray) -> np.ndarray:
    """The images in a file, memory-mapped as a source gives them."""

    def fill(target: np.ndarray) -> None:
        target[:] = images

    return stored_array(path, images.shape, fill)[0]


def faces_of(images: np.ndarray) -> FaceSet:
    labels = torch.arange(len(images)) % 2
    return FaceSet("toy", "train", ("neutral", "happy"), images, labels, "toy")


def test_stored_images_select_join_and_turn_grey(tmp_path):
    rng = np.random.default_rng(0)
    one, two = (rng.integers(0, 256, (n, 3, 8, 8), dtype=np.uint8) for n in (5, 4))
    first = StoredImages.of(stored(tmp_path / "one.npy", one)).select(np.array([4, 0, 2]))
    second = StoredImages.of(stored(tmp_path / "two.npy", two))
    assert (first[:] == one[[4, 0, 2]]).all() and len(first) == 3
    both = StoredImages.join([first, second], [False, True])
    assert both.shape == (7, 3, 8, 8)
    assert (both[np.array([5, 1])][1] == one[0]).all()
    grey = both[3:]
    assert (grey == grey[:, :1]).all() and (second[:] == two).all()
    assert StoredImages.of(stored(tmp_path / "one.npy", one)[1:]) is None
    assert StoredImages.of(one) is None


def test_a_selection_stays_in_its_file(tmp_path):
    images = world(20, 0).images.numpy()
    faces = faces_of(stored(tmp_path / "a.npy", images)).select(torch.tensor([3, 3, 19]))
    assert isinstance(faces.images, StoredImages)
    assert (faces.faces(torch.tensor([2])).numpy() == images[[19]]).all()
    assert faces.select(torch.tensor([0])).faces().equal(torch.from_numpy(images[[3]]))


def test_streamed_batches_are_those_from_memory(tmp_path):
    images = world(50, 0).images.numpy()
    recipe, _ = presets.resolve_settings("stargan", "stable", "cpu", batch=8, augment=1.0)
    faces = faces_of(stored(tmp_path / "a.npy", images))
    chosen = replace(recipe, balanced=True)
    memory, disk = (Sampler(faces, chosen, CPU, image_memory_gib=g) for g in (1, 0))
    assert (memory.streams, disk.streams) == (False, True)
    for step in (0, 1, 7, 8):  # a resumed training begins anywhere
        rng = [torch.Generator().manual_seed(step) for _ in range(2)]
        one, two = memory.batch(step, rng[0]), disk.batch(step, rng[1])
        assert one.x.equal(two.x) and one.emotion.equal(two.emotion)
    assert not Sampler(faces_of(images), recipe, CPU, image_memory_gib=0).streams


def test_streaming_keeps_the_memory_limit(tmp_path, monkeypatch):
    # glibc before 2.38 hardly reuses freed aligned blocks of its heap, and now and then keeps two
    # gigabytes of batches: blocks of a megabyte and more return to the system at once.
    monkeypatch.setenv("MALLOC_MMAP_THRESHOLD_", "1000000")
    # In a process of its own: what other tests leave in this one moves by more than the limit.
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        grown = pool.submit(growth, tmp_path / "large.npy").result()
    assert grown < 120  # the file whole would be 240 MB


def growth(path: Path) -> float:
    """MB that this process and its workers take on while nearly every image of a file of 240 MB is
    read."""
    count, size = 20000, 64
    large, _ = stored_array(path, (count, 3, size, size), lambda target: None)
    recipe, _ = presets.resolve_settings("stargan", "stable", "cpu", batch=512, size=size)
    sampler = Sampler(faces_of(large), recipe, CPU, image_memory_gib=0.05)
    assert sampler.streams
    rng = torch.Generator().manual_seed(0)
    for step in range(3):
        sampler.batch(step, rng)
    before = resident_megabytes()
    for step in range(3, 120):
        sampler.batch(step, rng)
    return resident_megabytes() - before


def resident_megabytes() -> float:
    """Of this process and its workers."""
    ids = ["self", *(str(child.pid) for child in multiprocessing.active_children())]
    pages = [int(Path(f"/proc/{i}/statm").read_text().split()[1]) for i in ids]
    return sum(pages) * 4096 / 2**20


def run(out: Path, **how: object) -> Path:
    settings = presets.resolve_settings("ganmut", "stable", "cpu", **SHORT)
    return training.train(*settings, out, device="cpu", progress=False, **how)


def losses(folder: Path) -> list[dict[str, float]]:
    lines = (folder / "stats.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(x).items() if k.startswith(LOSSES)} for x in lines]


def test_streamed_training_has_equal_losses_and_resumes(tmp_path):
    memory, disk = run(tmp_path / "memory"), run(tmp_path / "disk", image_memory_gib=0)
    assert losses(memory) == losses(disk) and len(losses(disk)[2]) > 3
    whole = load_file(RunDir(memory).snapshots()[-1])
    newest = RunDir(disk).snapshots()[-1]
    streamed = load_file(newest)
    assert [k for k in whole if not torch.equal(whole[k], streamed[k])] == []
    newest.unlink()
    run(tmp_path, resume=disk, image_memory_gib=0)
    again = load_file(RunDir(disk).snapshots()[-1])
    assert [k for k in whole if not torch.equal(whole[k], again[k])] == []


def test_a_lost_cache_ends_with_a_sentence(tmp_path):
    path = tmp_path / "a.npy"
    recipe, _ = presets.resolve_settings("stargan", "stable", "cpu", batch=8)
    images = stored(path, world(50, 0).images.numpy())
    sampler = Sampler(faces_of(images), recipe, CPU, image_memory_gib=0)
    path.unlink()
    with pytest.raises(BadData, match=r"a\.npy"):
        sampler.batch(0, torch.Generator())


@pytest.mark.parametrize("limit", [-1, float("nan")])
def test_a_limit_below_zero_is_refused(tmp_path, limit):
    with pytest.raises(ParameterError) as error:
        run(tmp_path, image_memory_gib=limit)
    assert error.value.parameter == "image_memory_gib" and not list(tmp_path.iterdir())


def test_joined_sources_stay_in_their_files(tmp_path, monkeypatch):
    monkeypatch.setattr("ganmut.datasets.concat.MIN_FACES", 1)
    faces = open_source("procedural + procedural").load("train", 32, 40, progress=False)
    assert isinstance(faces.images, StoredImages) and len(faces.images) == 80
    assert faces.faces(torch.tensor([0])).equal(faces.faces(torch.tensor([40])))
