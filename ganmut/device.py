"""The only file that asks what hardware this is: device, dtype, memory format, seeds."""

from __future__ import annotations

import contextlib
import copy
import platform
from collections.abc import Iterator
from typing import TypeVar

import torch
from torch import nn

from ganmut.errors import ParameterError

Network = TypeVar("Network", bound=nn.Module)


def select_device(name: str | None = None) -> torch.device:
    """The named device, or CUDA where there is one, else the CPU; raises ValueError for a device
    that is not there."""
    if name is None or name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ParameterError(
            "device", f"unknown device {name!r}; use cpu, cuda or cuda:N"
        ) from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ParameterError("device", f"PyTorch finds no CUDA device for {name!r}; use cpu")
    return device


def device_name(device: torch.device) -> str:
    """A short name of the hardware for configs and logs, such as "NVIDIA H200" or "x86_64 CPU, 2
    threads"."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{platform.machine()} CPU, {torch.get_num_threads()} threads"


def memory_format(device: torch.device) -> torch.memory_format:
    """channels_last on CUDA; contiguous on the CPU, where it is up to three times faster with these
    norms."""
    return torch.channels_last if device.type == "cuda" else torch.contiguous_format


def bf16(device: torch.device) -> bool:
    """Whether bfloat16 is the faster and safe choice here."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported()
    return torch.backends.cpu.get_cpu_capability() in ("AVX512", "AVX512_BF16", "AMX")


@contextlib.contextmanager
def autocast(device: torch.device, dtype: str = "auto") -> Iterator[None]:
    """bfloat16 autocast where it pays ("auto"), always ("bf16") or never ("fp32")."""
    enabled = dtype == "bf16" or (dtype == "auto" and bf16(device))
    with torch.autocast(device.type, torch.bfloat16, enabled=enabled):
        yield


@contextlib.contextmanager
def inference(device: torch.device) -> Iterator[None]:
    """The setting every edit runs under, so that bench, demo and golden tests see the same
    numbers."""
    with autocast(device):
        yield


def prepare_for_inference(module: Network, device: torch.device) -> Network:
    """A copy of a network for `inference`, with convolution weights as autocast would cast them at
    every call.

    The edits are the same; casting eight million weights takes as long as a small edit itself.
    """
    module = copy.deepcopy(module).to(device)
    module.to(memory_format=torch.channels_last)  # type: ignore[call-overload] # torch omits it
    if bf16(device):
        for layer in module.modules():
            if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)):
                layer.to(torch.bfloat16)
    return module


def generator(seed: int, device: torch.device | str = "cpu") -> torch.Generator:
    """A fresh random generator; all randomness of the project goes through one of these."""
    return torch.Generator(device=device).manual_seed(seed)


def peak_memory_gib(device: torch.device) -> float:
    """Peak memory of this process so far in GiB (device memory on CUDA, resident memory on the
    CPU)."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**30
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
