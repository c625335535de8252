"""`python bench/speed.py`: training img/s and edit latency beside the plain published loop.

Published networks at full width under the published schedule (a cycle is five discriminator steps
and one generator step). The competitors take turns in one process, so that whatever else the
machine does falls on all of them; medians and ratios are of those turns. Wall time is what a user
waits; processor time depends less on other load. The last line is one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

if __package__ in (
    None,
    "",
):  # run as a script: the repository's root is where bench and ganmut lie
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import torch

from bench.baseline import PARTS, Plain, Switches
from ganmut import device as hardware
from ganmut.datasets import procedural
from ganmut.datasets.base import Batch, FaceSet
from ganmut.editor import Editor
from ganmut.emotions import EMOTIONS, UNITS
from ganmut.methods.base import METHODS, Method
from ganmut.training import config as recipes
from ganmut.training.loop import Game

Turn = Callable[[], Any]
EDIT_BATCHES = (1, 16)
NETWORK = ("width", "blocks", "d_width", "d_layers", "d_limit")
# Cumulative: each line keeps the switches above it.
LADDER = {
    "no graph for the edited faces": "no_graph",
    "real and edited faces in one pass": "one_pass",
    "critic frozen in the generator's step": "frozen",
    "losses read once a tick": "unread",
    "bfloat16 but for the penalty": "bf16",
    "fused Adam": "fused",
}


def take_turns(turns: dict[str, Turn], rounds: int, calls: int = 1) -> dict[str, dict[str, float]]:
    """Median wall and processor seconds of a call of each, interleaved, after one call of each."""
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


def build(name: str, size: int, batch: int, network: dict[str, int]) -> tuple[Any, Method]:
    """The recipe and the method as published, but for what `network` says."""
    recipe, config = recipes.assemble(name, "paper", size=size, batch=batch, **network)
    torch.manual_seed(0)
    method = METHODS[name](config, EMOTIONS, size)
    method.prime(faces_of(size, len(EMOTIONS)))
    return recipe, method


def batch_of(size: int, n: int) -> Batch:
    rng = hardware.generator(0)
    x = torch.rand(n, 3, size, size, generator=rng) * 2 - 1
    emotion = torch.randint(len(EMOTIONS), (n,), generator=rng)
    return Batch(x, emotion, torch.rand(n, len(UNITS), generator=rng))


def faces_of(size: int, n: int) -> FaceSet:
    """Noise for faces, each with units: what methods ask to know before they start."""
    batch = batch_of(size, n)
    return FaceSet(
        source="noise",
        split="train",
        emotions=EMOTIONS,
        images=bytes_of(batch.x),
        emotion=torch.arange(n) % len(EMOTIONS),
        units=batch.units,
        fingerprint="noise",
    )


def bytes_of(x: torch.Tensor) -> torch.Tensor:
    return (x * 127.5 + 127.5).round().to(torch.uint8)


def cycle_of(game: Any, batch: Batch, interval: int) -> Turn:
    """One whole cycle: `interval` discriminator steps, one generator step."""

    def turn() -> None:
        for _ in range(interval):
            game.advance(batch)

    return turn


def own_game(name: str, size: int, batch: Batch, compiled: bool, network: dict[str, int]) -> Turn:
    recipe, method = build(name, size, len(batch), network)
    game = Game(method, recipe, torch.device("cpu"))
    if compiled:
        method.G.compile()
        method.D.compile()
    return cycle_of(game, batch, method.config.g_interval)


def plain_game(
    name: str, size: int, batch: Batch, network: dict[str, int], switches: Switches | None = None
) -> Turn:
    recipe, method = build(name, size, len(batch), network)
    plain = Plain(method, recipe.lr_d, switches or Switches())
    return cycle_of(plain, batch, method.config.g_interval)


def training(name: str, size: int, args: argparse.Namespace) -> dict[str, Any]:
    """img/s of the library's loop and the plain one; a cycle shows `g_interval` batches."""
    batch = batch_of(size, args.batch)
    turns = {"own": own_game(name, size, batch, args.compile, args.network)}
    if name in PARTS:
        turns["plain"] = plain_game(name, size, batch, args.network)
    times = take_turns(turns, args.rounds)
    images = args.batch * build(name, size, args.batch, args.network)[1].config.g_interval
    row = {"method": name, "size": size, "batch": args.batch, "compiled": args.compile}
    return row | compared(times, images, "img_s")


def editing(name: str, size: int, n: int, args: argparse.Namespace) -> dict[str, Any]:
    """Milliseconds from prepared faces and a code to uint8 pictures, for n faces at once."""
    _, method = build(name, size, args.batch, args.network)
    x = bytes_of(batch_of(size, n).x)
    twin = Plain(method) if name in PARTS else None
    editor = Editor(method, {})
    faces, code = editor.prepare(x), editor.space.of("happy")
    turns: dict[str, Turn] = {"own": lambda: editor.edit(faces, code)}
    if twin is not None:
        turns["plain"] = lambda: twin.edit(faces.x.contiguous(), code)
    times = take_turns(turns, 5 * args.rounds, calls=2)
    return {"method": name, "size": size, "batch": n} | compared(times, 1000.0, "ms")


def compared(times: dict[str, dict[str, float]], amount: float, unit: str) -> dict[str, float]:
    """Own and plain in `unit` (wall time), and plain / own of wall and of processor time."""
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
    """Which step gave what: one lean choice more at every line, the library's loop at the end."""
    batch, on = batch_of(size, args.batch), {}
    turns = {"baseline": plain_game(name, size, batch, args.network)}
    for label, field in LADDER.items():
        on[field] = True
        turns[label] = plain_game(name, size, batch, args.network, Switches(**on))
    own = "one generator pass for both players, products for small maps"
    turns[own] = own_game(name, size, batch, False, args.network)
    if args.compile:
        turns["torch.compile"] = own_game(name, size, batch, True, args.network)
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
    """Faces a second of the embedded renderer, by wall and by processor time."""
    rows = []
    shown = -(-args.faces // 256) * 256
    for size in args.sizes:
        start, busy = time.perf_counter(), time.process_time()
        for first in range(0, shown, 256):
            procedural.render(procedural.sample(0, "test", range(first, first + 256)), size)
        wall, cpu = time.perf_counter() - start, time.process_time() - busy
        rows.append(
            {"size": size, "faces_s": round(shown / wall, 1), "faces_cpu_s": round(shown / cpu, 1)}
        )
    return rows


def processor() -> str:
    """The processor's name and what PyTorch uses of it."""
    table = Path("/proc/cpuinfo")
    lines = table.read_text().splitlines() if table.is_file() else []
    names = [it.partition(":")[2].strip() for it in lines if it.startswith("model name")]
    name = names[0] if names else platform.processor() or platform.machine()
    return f"{name}, {torch.get_num_threads()} threads, {torch.backends.cpu.get_cpu_capability()}"


def parser() -> argparse.ArgumentParser:
    """The command line."""
    it = argparse.ArgumentParser(prog="bench/speed.py", description=__doc__.split("\n")[0])
    add = it.add_argument
    add("--methods", default="all", metavar="A,B", help="registered methods (default all)")
    add("--size", default="64,128", metavar="S,S", help="sides in pixels (default 64,128)")
    add("--batch", type=int, default=16, help="training batch (default 16, as published)")
    add("--rounds", type=int, default=3, help="turns of each competitor (default 3)")
    add("--threads", type=int, default=0, help="processor threads (default: PyTorch's own choice)")
    add("--compile", action="store_true", help="torch.compile the library's networks (minutes)")
    add("--steps", action="store_true", help="also: which step gave what (first method and size)")
    add("--faces", type=int, default=0, help="also: render this many faces a size, in 256s")
    add("--json", action="store_true", help="the JSON line alone")
    for field in NETWORK:
        add(f"--{field}", type=int, default=None, help=argparse.SUPPRESS)
    return it


def settle(args: argparse.Namespace) -> argparse.Namespace:
    """Names and numbers checked; raises ValueError for what is not there."""
    args.names = list(METHODS) if args.methods == "all" else args.methods.split(",")
    for name in args.names:
        METHODS[name]  # raises Unknown with what is near
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
    """All rows, said as they come."""
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
        return f"{row[f'own_{unit}']:8.2f} {shown} (no plain twin)"
    own, plain = row[f"own_{unit}"], row[f"plain_{unit}"]
    return (
        f"{own:8.2f} against {plain:8.2f} {shown}: {row['ratio']:.2f} x"
        f" (processor time {row['ratio_cpu']:.2f} x)"
    )


def main(words: Sequence[str] | None = None) -> int:
    """Measures and prints; exit code 2 for what the user can mend."""
    args = parser().parse_args(words)
    try:
        settle(args)
    except ValueError as error:
        print(f"speed: {error}", file=sys.stderr)
        return 2
    if args.threads:
        torch.set_num_threads(args.threads)
    say: Callable[[str], None] = (lambda _: None) if args.json else partial(print, flush=True)
    say(f"{processor()}, PyTorch {torch.__version__}")
    print(json.dumps(measure(args, say)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
