"""Tampered weights: what a bad disk leaves, and what an author on the Hub may write."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import safetensors.torch
import torch

from attack.base import Outcome, Report, run
from attack.programs import prepare
from attack.states import Tamper, cut, fifo, fill, flip, folder, gone, zeros
from ganmut.cli import main

TENSORS, CONFIG, GOLDEN = "generator.safetensors", "config.json", "golden.safetensors"
Tensors = dict[str, torch.Tensor]


def config(**changes: object) -> Tamper:
    """Changes entries of config.json; "config__NAME" changes the method's own."""

    def tamper(path: Path) -> None:
        facts = json.loads(path.read_text())
        for name, value in changes.items():
            inner = name.removeprefix("config__")
            (facts if inner == name else facts["config"])[inner] = value
        path.write_text(json.dumps(facts))

    return tamper


def sign(path: Path) -> None:
    """Writes the sha256 of a file of tensors into config.json, as its author would."""
    data = path.read_bytes()
    facts = {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
    config(**facts)(path.with_name(CONFIG))


def author(change: Callable[[Tensors], Tensors]) -> Tamper:
    """Changes the tensors and signs them."""

    def tamper(path: Path) -> None:
        tensors = change(safetensors.torch.load(path.read_bytes()))
        path.write_bytes(safetensors.torch.save(tensors))
        sign(path)

    return tamper


def signed(data: bytes) -> Tamper:
    """Replaces the file of tensors and signs it."""

    def tamper(path: Path) -> None:
        path.write_bytes(data)
        sign(path)

    return tamper


def each(change: Callable[[torch.Tensor], torch.Tensor]) -> Tamper:
    """Changes every tensor and signs them."""
    return author(lambda tensors: {name: change(t).contiguous() for name, t in tensors.items()})


HEADER = (10**15).to_bytes(8, "little") + b"{}"
OVERLAP = json.dumps({"a": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 4]}}).encode()
# Name -> (file of a weight, what is done to it).
CASES: dict[str, tuple[str, Tamper]] = {
    **{f"tensors flipped at {s}": (TENSORS, flip(s)) for s in (0, 0.001, 0.02, 0.3, 0.6, 0.9, 1)},
    **{f"config flipped at {s}": (CONFIG, flip(s)) for s in (0, 0.05, 0.2, 0.35, 0.5, 0.7, 0.9, 1)},
    **{f"golden flipped at {s}": (GOLDEN, flip(s)) for s in (0, 0.5, 1)},
    **{
        f"{file} {how}": (file, tamper)
        for file in (TENSORS, CONFIG)
        for how, tamper in {
            "half": cut(0.5),
            "empty": cut(0),
            "gone": gone,
            "a folder": folder,
            "a pipe": fifo,
            "endless": zeros,
        }.items()
    },
    "config is a list": (CONFIG, fill(b"[]")),
    "config is nested": (CONFIG, fill(b"[" * 200_000)),
    "config is not text": (CONFIG, fill(b"\xff\xfe\0")),
    "config of 50 MB": (CONFIG, config(note="x" * 50_000_000)),
    "method unknown": (CONFIG, config(method="stylegan")),
    "method is a list": (CONFIG, config(method=["stargan"])),
    "method is a path": (CONFIG, config(method="../../stargan")),
    "another method": (CONFIG, config(method="ganmut")),
    "kind unknown": (CONFIG, config(kind="virus")),
    "kind is a list": (CONFIG, config(kind=[])),
    "format of the future": (CONFIG, config(format=99)),
    "parts lead out": (CONFIG, config(parts=[{"file": "../generator.safetensors"}])),
    "parts are text": (CONFIG, config(parts="generator.safetensors")),
    "parts without end": (CONFIG, config(parts=[{"file": TENSORS}] * 10_000)),
    "sha256 is a number": (CONFIG, config(sha256=1)),
    "bytes is text": (CONFIG, config(bytes="many")),
    "settings are a list": (CONFIG, config(config=[])),
    "setting unknown": (CONFIG, config(config__run="rm")),
    "width of text": (CONFIG, config(config__width="8")),
    "width below 0": (CONFIG, config(config__width=-8)),
    "width huge": (CONFIG, config(config__width=10**12)),
    "width large": (CONFIG, config(config__width=4096)),
    "blocks huge": (CONFIG, config(config__blocks=10**7)),
    "size huge": (CONFIG, config(size=10**6)),
    "size of text": (CONFIG, config(size="32")),
    "size 0": (CONFIG, config(size=0)),
    "emotions are a number": (CONFIG, config(emotions=7)),
    "emotions without end": (CONFIG, config(emotions=[str(i) for i in range(10**6)])),
    "emotions are equal": (CONFIG, config(emotions=["happy"] * 7)),
    "emotions are numbers": (CONFIG, config(emotions=list(range(7)))),
    "grey is text": (CONFIG, config(grey="no")),
    "tensors of NaN": (TENSORS, each(lambda t: t * float("nan") if t.is_floating_point() else t)),
    "tensors of infinity": (TENSORS, each(lambda t: t + float("inf") if t.dim() else t)),
    "tensors of doubles": (TENSORS, each(lambda t: t.double())),
    "tensors of bytes": (TENSORS, each(lambda t: t.to(torch.uint8))),
    "tensors of no values": (TENSORS, each(lambda t: t[:0] if t.dim() else t)),
    "tensors of another shape": (TENSORS, each(lambda t: t[None])),
    "a tensor more": (TENSORS, author(lambda ts: {**ts, "alien": torch.zeros(9)})),
    "a tensor of 300 MB more": (TENSORS, author(lambda ts: {**ts, "x": torch.zeros(75_000_000)})),
    "no tensor": (TENSORS, author(lambda ts: {})),
    "a pickle": (TENSORS, signed(b"\x80\x04cos\nsystem\n(S'touch hacked'\ntR.")),
    "a huge header": (TENSORS, signed(HEADER)),
    "offsets that lie": (TENSORS, signed(len(OVERLAP).to_bytes(8, "little") + OVERLAP + b"\0" * 4)),
}


def attack(report: Report, folder: Path) -> None:
    """Edits a picture with each tampered weight: it is refused with one sentence, or the edit is
    that of the whole weight, or its author chose it."""
    prepare(folder)
    weight, copy = folder / "weights" / "procedural" / "stargan", folder / "copy"
    picture, out = folder / "pictures" / "0.png", folder / "out.png"

    def edit(where: Path) -> Outcome:
        out.unlink(missing_ok=True)
        words = ["edit", str(picture), "--weights", str(where), "--emotion", "happy"]
        return run(lambda: main([*words, "--out", str(out)]))

    whole = edit(weight)
    assert whole.status == 0, whole.output
    expected, report.rest = out.read_bytes(), whole.peak
    for name, (file, tamper) in CASES.items():
        shutil.copytree(weight, copy)
        tamper(copy / file)
        outcome, lost = edit(copy), ""
        damaged = tamper.__qualname__.split(".")[0] in ("flip", "cut")
        if outcome.status == 0 and damaged and out.read_bytes() != expected:
            lost = "another edit without a word"
        elif outcome.status == 2 and outcome.output.count("error: ") != 1:
            lost = "no sentence"
        elif outcome.status not in (0, 2):
            lost = f"status {outcome.status}"
        report.add(name, outcome, "" if outcome.traceback else lost)
        shutil.rmtree(copy)
