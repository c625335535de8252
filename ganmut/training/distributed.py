"""Several processes at one training: `torchrun` starts them, PyTorch's distributed package averages
their gradients (gloo on the CPU, NCCL on GPUs).

Every process trains on its share of the recipe's batch with random numbers of its own; what they
learn is averaged at every step, so all hold the same networks. The first one alone writes.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor


@dataclass(frozen=True)
class ProcessGroup:
    """The processes of a training, and which of them this one is."""

    rank: int = 0
    size: int = 1

    @property
    def is_main(self) -> bool:
        return self.rank == 0

    def local_batch(self, batch: int) -> int:
        """How much of a batch is this process's; raises ValueError where it cannot be divided."""
        if batch % self.size:
            raise ValueError(
                f"a batch of {batch} cannot be divided among {self.size} processes; "
                "choose another --batch or --nproc-per-node"
            )
        return batch // self.size

    def all_reduce_mean(self, tensors: Iterable[Tensor | None]) -> None:
        """Replaces tensors by their means over the processes; all must give the same shapes."""
        there = [t for t in tensors if t is not None]
        if self.size == 1 or not there:
            return
        flat = torch.cat([t.flatten().float() for t in there])
        dist.all_reduce(flat)
        parts = (flat / self.size).split([t.numel() for t in there])
        torch._foreach_copy_(there, [p.view_as(t) for p, t in zip(parts, there, strict=True)])

    def all_reduce_min(self, value: Tensor) -> Tensor:
        """The smallest value that any process has."""
        if self.size > 1:
            value = value.clone()
            dist.all_reduce(value, dist.ReduceOp.MIN)
        return value

    def all_gather(self, tensor: Tensor) -> list[Tensor]:
        """Every process's tensor (same shape and kind), in their order."""
        if self.size == 1:
            return [tensor]
        device = "cuda" if dist.get_backend() == "nccl" else "cpu"
        own = tensor.to(device)
        everyone = [torch.empty_like(own) for _ in range(self.size)]
        dist.all_gather(everyone, own)
        return [t.to(tensor.device) for t in everyone]

    def barrier(self) -> None:
        """Until all are here."""
        if self.size > 1:
            dist.barrier()

    def close(self) -> None:
        """Ends the work together; else gloo's threads may outlive the interpreter, and abort."""
        if self.size > 1:
            dist.barrier()
            dist.destroy_process_group()


SINGLE_PROCESS = ProcessGroup()


def init_process_group(device: torch.device) -> tuple[ProcessGroup, torch.device]:
    """The processes that torchrun started (this one alone where it did not), and this one's
    device: each takes the GPU of its number on this machine."""
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return SINGLE_PROCESS, device
    if device.type == "cuda" and device.index is None:
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
    if not dist.is_initialized():
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    return ProcessGroup(dist.get_rank(), dist.get_world_size()), device
