"""`python bench/speed/run.py`: training throughput and edit latency against the published loop.

Networks have their published width and schedule (a cycle is five discriminator steps and one
generator step). The library and the baseline are timed in turns in one process, so that other load
affects both; medians and ratios are over these turns. Processor time depends less on other load
than wall time. The last line of the output is one JSON object.
"""

from __future__ import annotations

import argparse
import copy
import json
import platform
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

if not __package__:  # run as a script
    sys.path[0], __package__ = str(Path(__file__).resolve().parents[2]), "bench.speed"
if __name__ == "__main__":
    from .. import script

    script.run("speed.run")

import torch

from ganmut import device as hardware
from ganmut import images
from ganmut.datasets.base import Batch, FaceSet
from ganmut.editor import Editor
from ganmut.emotions import EMOTIONS, UNITS
from ganmut.methods.base import METHODS, Method
from ganmut.rendering.sampler import sample_parameters
from ganmut.rendering.shading import render
from ganmut.text import Parser, quantity
from ganmut.training import presets
from ganmut.training.trainer import Trainer

from .baseline import METHOD_TERMS, Baseline, Optimisations

Turn = Callable[[], Any]
EDIT_BATCHES = (1, 16)
NETWORK = ("width", "blocks", "d_width", "d_layers", "d_max_channels")
# Label -> field of Optimisations. Cumulative: each line keeps the ones above it.
LADDER = {
    "no graph for the edited faces": "no_graph",
    "real and edited faces in one pass": "one_pass",
    "discriminator frozen in the generator step": "freeze_d",
    "losses read once per tick": "lazy_log",
    "bfloat16 except for the penalty": "bf16",
    "fused Adam": "fused",
}


def take_turns(turns: dict[str, Turn], rounds: int, calls: int = 1) -> dict[str, dict[str, float]]:
    """Name -> median wall and processor seconds per call, interleaved, after one warm-up call of
    each."""
    wall: dict[str, list[float]] = {name: [] for name in turns}
    cpu: dict[str, list[float]] = {name: [] for name in turns}
    for turn in turns.values():
        turn()
    for _ in range(rounds):
        for name, turn in turns.items():
            w, c = time.perf_counter(), time.process_time()
            for _ in range(calls):
                turn()
            wall[name].append((time.perf_counter() - w) / calls)
            cpu[name].append((time.process_time() - c) / calls)
    return {n: {"wall": median(wall[n]), "cpu": median(cpu[n])} for n in turns}


def build(name: str, size: int, batch: int, network: dict[str, Any]) -> tuple[Any, Method]:
    """The recipe and the method of the paper preset, with the given changes of the network."""
    recipe, config = presets.resolve_settings(name, "paper", size=size, batch=batch, **network)
    torch.manual_seed(0)
    method = METHODS[name](config, EMOTIONS, size)
    method.setup_data(faces_of(size, len(EMOTIONS)))
    return recipe, method


def batch_of(size: int, n: int) -> Batch:
    """A training batch of n noise images (n x 3 x S x S in [-1, 1])."""
    rng = hardware.generator(0)
    x = torch.rand(n, 3, size, size, generator=rng) * 2 - 1
    emotion = torch.randint(len(EMOTIONS), (n,), generator=rng)
    return Batch(x, emotion, torch.rand(n, len(UNITS), generator=rng))


def faces_of(size: int, n: int) -> FaceSet:
    """n noise images with emotions and action units, from which a method is set up."""
    batch = batch_of(size, n)
    return FaceSet(
        source="noise",
        split="train",
        emotions=EMOTIONS,
        images=images.to_uint8(batch.x),
        emotion=torch.arange(n) % len(EMOTIONS),
        units=batch.units,
        fingerprint="noise",
    )


def cycle_of(trainer: Any, batch: Batch, interval: int) -> Turn:
    """One whole cycle: `interval` discriminator steps, one generator step."""

    def turn() -> None:
        for _ in range(interval):
            trainer.train_step(batch)

    return turn


def library_cycle(
    name: str, size: int, batch: Batch, compiled: bool, network: dict[str, int]
) -> Turn:
    recipe, method = build(name, size, len(batch), network)
    trainer = Trainer(method, recipe, torch.device("cpu"))
    if compiled:
        method.G.compile()
        method.D.compile()
    return cycle_of(trainer, batch, method.config.g_interval)


def baseline_cycle(
    name: str,
    size: int,
    batch: Batch,
    network: dict[str, int],
    optimisations: Optimisations | None = None,
) -> Turn:
    recipe, method = build(name, size, len(batch), network)
    baseline = Baseline(method, recipe.lr_d, optimisations or Optimisations())
    return cycle_of(baseline, batch, method.config.g_interval)


def training(name: str, size: int, args: argparse.Namespace) -> dict[str, Any]:
    """Images per second of the library's loop and of the baseline.

    A cycle is `g_interval` batches.
    """
    batch = batch_of(size, args.batch)
    turns = {"own": library_cycle(name, size, batch, args.compile, args.network)}
    if name in METHOD_TERMS:
        turns["plain"] = baseline_cycle(name, size, batch, args.network)
    times = take_turns(turns, args.rounds)
    shown = args.batch * build(name, size, args.batch, args.network)[1].config.g_interval
    row = {"method": name, "size": size, "batch": args.batch, "compiled": args.compile}
    return row | relative_times(times, shown, "img_s")


def editing(name: str, size: int, n: int, args: argparse.Namespace) -> dict[str, Any]:
    """Milliseconds from n prepared faces and a code to uint8 pictures."""
    _, method = build(name, size, args.batch, args.network)
    x = images.to_uint8(batch_of(size, n).x)
    baseline = Baseline(method) if name in METHOD_TERMS else None
    editor = Editor(copy.deepcopy(method), {})
    faces, code = editor.prepare(x), editor.space.of("happy")
    turns: dict[str, Turn] = {"own": lambda: editor.edit(faces, code)}
    if baseline is not None:
        turns["plain"] = lambda: baseline.edit(faces.x.contiguous(), code)
    # An edit is far shorter than a cycle of training: more turns for the same noise.
    times = take_turns(turns, 5 * args.rounds, calls=2)
    return {"method": name, "size": size, "batch": n} | relative_times(times, 1000.0, "ms")


def relative_times(
    times: dict[str, dict[str, float]], amount: float, unit: str
) -> dict[str, float]:
    """Library (own) and baseline (plain) in `unit` of wall time, and the ratios plain / own of wall
    and of processor time."""
    row = {}
    for who, t in times.items():
        value = amount * t["wall"] if unit == "ms" else amount / t["wall"]
        row[f"{who}_{unit}"] = round(value, 2)
        row[f"{who}_cpu_s"] = round(t["cpu"], 4)
    if "plain" in times:
        plain, own = times["plain"], times["own"]
        row["ratio"] = round(plain["wall"] / own["wall"], 2)
        row["ratio_cpu"] = round(plain["cpu"] / own["cpu"], 2)
    return row


def ladder(name: str, size: int, args: argparse.Namespace) -> list[dict[str, Any]]:
    """The gain of each optimisation: one more per line, the library's loop last."""
    batch, on = batch_of(size, args.batch), {}
    turns = {"baseline": baseline_cycle(name, size, batch, args.network)}
    for label, field in LADDER.items():
        on[field] = True
        turns[label] = baseline_cycle(name, size, batch, args.network, Optimisations(**on))
    own = "one generator pass for both players, products for small maps"
    turns[own] = library_cycle(name, size, batch, False, args.network)
    if args.compile:
        turns["torch.compile"] = library_cycle(name, size, batch, True, args.network)
    times = take_turns(turns, args.rounds)
    base = times["baseline"]
    return [
        {
            "method": name,
            "size": size,
            "step": label,
            "cycle_s": round(t["wall"], 4),
            "ratio": round(base["wall"] / t["wall"], 2),
            "ratio_cpu": round(base["cpu"] / t["cpu"], 2),
        }
        for label, t in times.items()
    ]


def rendering(args: argparse.Namespace) -> list[dict[str, float]]:
    """Rendered faces per second, by wall and by processor time."""
    rows = []
    shown = -(-args.faces // 256) * 256
    for size in args.sizes:
        start, busy = time.perf_counter(), time.process_time()
        for first in range(0, shown, 256):
            render(sample_parameters(0, "test", range(first, first + 256)), size)
        wall, cpu = time.perf_counter() - start, time.process_time() - busy
        rows.append(
            {"size": size, "faces_s": round(shown / wall, 1), "faces_cpu_s": round(shown / cpu, 1)}
        )
    return rows


def processor() -> str:
    """The processor's name, PyTorch's threads and instruction set."""
    table = Path("/proc/cpuinfo")
    lines = table.read_text().splitlines() if table.is_file() else []
    names = [it.partition(":")[2].strip() for it in lines if it.startswith("model name")]
    name = names[0] if names else platform.processor() or platform.machine()
    threads = quantity(torch.get_num_threads(), "thread")
    return f"{name}, {threads}, {torch.backends.cpu.get_cpu_capability()}"


def parser() -> argparse.ArgumentParser:
    """The command line."""
    it = Parser(prog="bench/speed/run.py", description=__doc__.split("\n")[0])
    add = it.add_argument
    add("--methods", default="all", metavar="A,B", help="registered methods (default all)")
    add("--size", default="64,128", metavar="S,S", help="sides in pixels (default 64,128)")
    add("--batch", type=int, default=16, help="training batch (default 16, as published)")
    add("--rounds", type=int, default=3, help="timed turns of each (default 3)")
    add("--threads", type=int, default=0, help="processor threads (default: PyTorch's own choice)")
    add("--compile", action="store_true", help="torch.compile the library's networks (minutes)")
    add(
        "--steps",
        action="store_true",
        help="also: gain of each optimisation (first method and size)",
    )
    add("--faces", type=int, default=0, help="also: render this many faces a size, in 256s")
    add("--json", action="store_true", help="the JSON line alone")
    for field in NETWORK:
        add(f"--{field}", type=int, default=None, help=argparse.SUPPRESS)
    return it


def validate(args: argparse.Namespace) -> argparse.Namespace:
    """The arguments with names, sizes and network parsed; raises ValueError for invalid ones."""
    args.names = list(METHODS) if args.methods == "all" else args.methods.split(",")
    for name in args.names:
        METHODS[name]  # raises UnknownNameError with what is near
    if not all(s.isdigit() and int(s) > 0 for s in args.size.split(",")):
        raise ValueError(f"--size must be sides in pixels such as 64,128, got {args.size}")
    if args.batch < 1 or args.rounds < 1:
        raise ValueError(
            f"--batch and --rounds must be at least 1, got {args.batch}, {args.rounds}"
        )
    args.sizes = [int(s) for s in args.size.split(",")]
    args.network = {f: v for f in NETWORK if (v := getattr(args, f)) is not None}
    return args


def measure(args: argparse.Namespace, say: Callable[[str], None]) -> dict[str, Any]:
    """All rows; `say` gets a line for each as it is measured."""
    result: dict[str, Any] = {"training": [], "edit": [], "steps": [], "rendering": []}
    for size in args.sizes:
        for name in args.names:
            row = training(name, size, args)
            result["training"].append(row)
            say(f"{name:13s} {size:4d} px  training {line(row, 'img_s', 'img/s')}")
            for n in EDIT_BATCHES:
                row = editing(name, size, n, args)
                result["edit"].append(row)
                say(f"{name:13s} {size:4d} px  edit of {n:2d}  {line(row, 'ms', 'ms')}")
    if args.steps:
        result["steps"] = ladder(args.names[0], args.sizes[0], args)
        for row in result["steps"]:
            say(f"{row['ratio']:6.2f} x (processor {row['ratio_cpu']:.2f} x)  {row['step']}")
    if args.faces:
        result["rendering"] = rendering(args)
        for row in result["rendering"]:
            say(f"rendered faces {row['size']} px: {row['faces_s']} a second")
    return {"hardware": processor(), "torch": torch.__version__} | result


def line(row: dict[str, Any], unit: str, shown: str) -> str:
    if "ratio" not in row:
        return f"{row[f'own_{unit}']:8.2f} {shown} (no baseline)"
    own, plain = row[f"own_{unit}"], row[f"plain_{unit}"]
    return (
        f"{own:8.2f} against {plain:8.2f} {shown}: {row['ratio']:.2f} x"
        f" (processor time {row['ratio_cpu']:.2f} x)"
    )


def main(words: Sequence[str] | None = None) -> int:
    """Measures and prints; exit code 2 for invalid arguments."""
    args = parser().parse_args(words)
    try:
        validate(args)
    except ValueError as error:
        print(f"speed: {error}", file=sys.stderr)
        return 2
    if args.threads:
        torch.set_num_threads(args.threads)
    say: Callable[[str], None] = (lambda _: None) if args.json else partial(print, flush=True)
    say(f"{processor()}, PyTorch {torch.__version__}")
    print(json.dumps(measure(args, say)))
    return 0
