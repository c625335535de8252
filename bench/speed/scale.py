"""`python bench/speed/scale.py`: what docs/scale.md computes its table from, measured here.

Seconds are of processor time where nothing else is said: they depend less on other programs than
wall time. `torchrun --nproc-per-node 2 bench/speed/scale.py --training` measures the pace of a
training that processes share. The last line of the output is one JSON object.
"""

from __future__ import annotations

import io
import json
import os
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Sequence
from pathlib import Path

if not __package__:  # run as a script
    sys.path[0], __package__ = str(Path(__file__).resolve().parents[2]), "bench.speed"
if __name__ == "__main__":
    from .. import script

    script.run("speed.scale")

import numpy as np
import torch
from PIL import Image
from skimage.data import astronaut

from ganmut import device as hardware
from ganmut import images
from ganmut.datasets.base import Batch
from ganmut.datasets.cache import crop_square, stored_array
from ganmut.datasets.records import Row
from ganmut.datasets.stored import StoredImages
from ganmut.emotions import EMOTIONS
from ganmut.files import sha256
from ganmut.methods.base import METHODS
from ganmut.text import Parser
from ganmut.training import presets
from ganmut.training.distributed import init_process_group
from ganmut.training.trainer import Trainer


def measure_decoding(size: int, source: int, n: int = 200) -> dict[str, float]:
    """Seconds a face to decode and reduce a JPEG of `source` px, and its kilobytes."""
    buffer = io.BytesIO()
    face = Image.fromarray(astronaut()[:256, 96:352]).resize((source, source))
    face.save(buffer, "JPEG", quality=90)
    start = time.process_time()
    for _ in range(n):
        buffer.seek(0)
        crop_square(images.read_image(buffer), size)
    return {
        "decode_seconds": (time.process_time() - start) / n,
        "jpeg_kilobytes": len(buffer.getvalue()) / 1e3,
    }


def measure_reading(size: int, count: int = 8000, batch: int = 16) -> dict[str, float]:
    """Seconds a face to read random ones from a file that the system has in memory, and gigabytes
    a second of the checksum with which a training begins."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "faces.npy"

        def fill(target: np.ndarray) -> None:
            target[:] = np.random.default_rng(0).integers(0, 256, target.shape[1:], np.uint8)

        stored = StoredImages.of(stored_array(path, (count, 3, size, size), fill)[0])
        assert stored is not None
        rng = np.random.default_rng(0)
        start, steps = time.process_time(), count // batch
        for _ in range(steps):
            stored[rng.integers(0, count, batch)]
        reading = (time.process_time() - start) / (steps * batch)
        start = time.process_time()
        sha256(path)
        return {
            "read_seconds": reading,
            "checksum_gb_per_second": path.stat().st_size / 1e9 / (time.process_time() - start),
        }


def measure_labels(n: int = 20000) -> dict[str, float]:
    """Bytes a face of what is kept beside the images: the row with 17 action units."""
    tracemalloc.start()
    rows = [
        Row(f"train/{i % 8}/{i:07d}.jpg", "happy", units=tuple(i + u / 17 for u in range(17)))
        for i in range(n)
    ]
    held = tracemalloc.get_traced_memory()[0] / len(rows)
    tracemalloc.stop()
    return {"row_bytes": held}


def measure_training(size: int, batch: int, cycles: int) -> dict[str, float]:
    """Images a second and processor seconds an image of GANmut at its published size; a cycle is
    five discriminator steps and one generator step. Under torchrun the batch is shared."""
    processes, device = init_process_group(torch.device("cpu"))
    recipe, config = presets.resolve_settings("ganmut", "paper", size=size, batch=batch)
    torch.manual_seed(0)
    trainer = Trainer(METHODS["ganmut"](config, EMOTIONS, size), recipe, device, processes)
    n = processes.local_batch(batch)
    rng = torch.Generator().manual_seed(processes.rank)
    x = torch.rand(n, 3, size, size, generator=rng) * 2 - 1
    faces = Batch(x, torch.arange(n) % len(EMOTIONS), torch.rand(n, 17, generator=rng))
    for _ in range(config.g_interval):  # the first steps choose algorithms
        trainer.train_step(faces)
    processes.barrier()
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(cycles * config.g_interval):
        trainer.train_step(faces)
    processes.barrier()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    spent = torch.tensor(cpu)
    processes.all_reduce_mean([spent])
    shown = cycles * config.g_interval * batch
    found = {
        "processes": processes.size,
        "images_per_second": shown / wall,
        "cpu_seconds_per_image": float(spent) * processes.size / shown,
        "load": os.getloadavg()[0],
    }
    main_process = processes.is_main
    processes.close()
    return found if main_process else {}


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status."""
    it = Parser(prog="bench/speed/scale.py")
    it.add_argument("--size", type=int, default=128, help="of the images in pixels (default 128)")
    it.add_argument("--source", type=int, default=224, help="of the JPEG files (default 224)")
    it.add_argument("--batch", type=int, default=16, help="images a step (default 16)")
    it.add_argument("--cycles", type=int, default=4, help="of the training (default 4)")
    it.add_argument("--training", action="store_true", help="measure the training alone")
    args = it.parse_args(arguments)
    torch.set_num_threads(1)
    found: dict[str, float] = {}
    if not args.training:
        found |= measure_decoding(args.size, args.source)
        found |= measure_reading(args.size, batch=args.batch)
        found |= measure_labels()
    found |= measure_training(args.size, args.batch, args.cycles)
    if found:
        print(hardware.device_name(torch.device("cpu")), torch.__version__)
        print(json.dumps({name: round(value, 6) for name, value in found.items()}))
    return 0
