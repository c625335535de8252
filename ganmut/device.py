"""Device, dtype, memory format and random generators: the only module that queries hardware."""

from __future__ import annotations

import contextlib
import math
import platform
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

import torch
from torch import nn

from ganmut.errors import ParameterError
from ganmut.text import quote

Network = TypeVar("Network", bound=nn.Module)


def select_device(name: str | None = None) -> torch.device:
    """The named device; without a name CUDA if available, else the CPU. Raises ParameterError for
    an unknown or unavailable device."""
    if name is None or name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        device = torch.device("meta")
    if device.type not in ("cpu", "cuda", "mps"):  # "meta" computes shapes and no values
        raise ParameterError("device", f"unknown device {quote(name)}; use cpu, cuda or cuda:N")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ParameterError("device", f"PyTorch finds no CUDA device for {quote(name)}; use cpu")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise ParameterError("device", f"PyTorch finds no MPS device for {quote(name)}; use cpu")
    return device


def device_name(device: torch.device) -> str:
    """A short name of the hardware for configs and logs: "NVIDIA H200", "x86_64 CPU, 2 threads"."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{platform.machine()} CPU, {torch.get_num_threads()} threads"


def memory_format(device: torch.device) -> torch.memory_format:
    """The memory format of training: channels_last on CUDA, contiguous on the CPU, where instance
    norms are up to three times faster with it."""
    return torch.channels_last if device.type == "cuda" else torch.contiguous_format


def bf16(device: torch.device) -> bool:
    """Whether the device computes bfloat16 natively, so that it is faster than float32."""
    if device.type == "cuda":
        # Without emulation: GPUs before Ampere compute bfloat16 too, several times slower.
        with torch.cuda.device(device):
            return torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.backends.cpu.get_cpu_capability() in ("AVX512", "AVX512_BF16", "AMX")


@contextlib.contextmanager
def autocast(device: torch.device, dtype: str = "auto") -> Iterator[None]:
    """bfloat16 autocast where the device supports it ("auto"), always ("bf16") or never
    ("fp32")."""
    enabled = dtype == "bf16" or (dtype == "auto" and bf16(device))
    with torch.autocast(device.type, torch.bfloat16, enabled=enabled):
        yield


@contextlib.contextmanager
def inference(device: torch.device) -> Iterator[None]:
    """The autocast setting of every edit: bench, demo and golden tests compute the same numbers."""
    with autocast(device):
        yield


def prepare_for_inference(module: Network, device: torch.device) -> Network:
    """The same network, changed for `inference`: its convolution weights are cast once instead of
    by autocast in every call.

    The edits are the same. Casting eight million weights takes as long as a small edit.
    """
    module = module.eval().requires_grad_(False).to(device)
    module.to(memory_format=torch.channels_last)  # type: ignore[call-overload] # torch omits it
    if bf16(device):
        for layer in module.modules():
            if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)):
                layer.to(torch.bfloat16)
    return module


class _Blocks:
    """How many blocks of `one_thread` run now, and torch's threads outside all of them."""

    lock = threading.Lock()
    running = 0
    threads = 1


def use_one_thread() -> None:
    """From now on PyTorch computes with one thread on the CPU, where the calling thread asks."""
    # The number is each thread's own. A thread that was never asked for its number takes over, when
    # it first computes, what was set last in any other.
    torch.get_num_threads()
    torch.set_num_threads(1)


@contextlib.contextmanager
def one_thread(device: torch.device | str = "cpu") -> Iterator[None]:
    """PyTorch with one thread on the CPU; nothing changes for another device. Blocks may overlap:
    each gives its thread back the number that was set outside all of them."""
    if torch.device(device).type != "cpu":
        yield
        return
    with _Blocks.lock:
        # A thread that starts inside another one's block sees that block's number, not its own.
        if not _Blocks.running:
            _Blocks.threads = torch.get_num_threads()
        _Blocks.running += 1
        use_one_thread()
    try:
        yield
    finally:
        with _Blocks.lock:
            _Blocks.running -= 1
            torch.set_num_threads(_Blocks.threads)


def generator(seed: int, device: torch.device | str = "cpu") -> torch.Generator:
    """A new random generator; all random numbers of the project come from such generators."""
    return torch.Generator(device=device).manual_seed(seed)


def free_memory_gib(device: torch.device) -> float:
    """Memory that is free now in GiB: the device's on CUDA, else the machine's (infinite where the
    system does not say)."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0] / 2**30
    try:
        # Linux: what programs can get, the cache of files included.
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) for line in lines if "MemAvailable" in line) / 2**20
    except (OSError, StopIteration):
        return math.inf


def peak_memory_gib(device: torch.device) -> float:
    """Peak memory of this process so far in GiB (device memory on CUDA, resident memory on the
    CPU)."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**30
    import resource

    # Bytes on macOS, KiB elsewhere.
    unit = 2**30 if sys.platform == "darwin" else 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
