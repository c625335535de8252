"""Training in several processes, started by `torchrun`: torch.distributed averages the gradients
(gloo on the CPU, NCCL on GPUs).

Every process has a share of the recipe's batch and random numbers of its own. Gradients are
averaged at every step, so that all processes hold the same networks. Only the main process writes.
"""

from __future__ import annotations

import contextlib
import datetime
import importlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor

from ganmut.errors import ParameterError

# While the main process decodes or writes, the others wait: for as long as it takes. A process that
# has ended is noticed by its sockets and by torchrun, not by a clock.
PATIENCE = datetime.timedelta(days=1)


class ProcessLost(ValueError):
    """Another process of this training ended: its share of a step will not come."""


@contextlib.contextmanager
def _collective() -> Iterator[None]:
    """Raises ProcessLost where torch.distributed finds that another process has gone."""
    try:
        yield
    except RuntimeError:  # its message is about sockets
        raise ProcessLost(
            "another process of this training was killed or failed; resume the run from its last "
            "snapshot"
        ) from None


@dataclass(frozen=True)
class ProcessGroup:
    """The number of processes of a training and the rank of this one."""

    rank: int = 0
    size: int = 1

    @property
    def is_main(self) -> bool:
        """Whether this process writes files and reports."""
        return self.rank == 0

    def local_batch(self, batch: int) -> int:
        """The share of a batch of this process; raises ParameterError for a batch that the number
        of processes does not divide."""
        if batch % self.size:
            raise ParameterError(
                "batch", f"a batch of {batch} cannot be divided among {self.size} processes"
            )
        return batch // self.size

    def all_reduce_mean(self, tensors: Iterable[Tensor | None]) -> None:
        """Replaces tensors by their means over the processes; shapes must agree, None is
        skipped."""
        # One call for all tensors: the latency of many small ones would dominate.
        present = [t for t in tensors if t is not None]
        if self.size == 1 or not present:
            return
        flat = torch.cat([t.flatten().float() for t in present])
        with _collective():
            dist.all_reduce(flat)
        # The mean, since each process has averaged over its own share of the batch.
        parts = (flat / self.size).split([t.numel() for t in present])
        torch._foreach_copy_(present, [p.view_as(t) for p, t in zip(parts, present, strict=True)])

    def all_reduce_min(self, value: Tensor) -> Tensor:
        """The minimum of a value over the processes."""
        if self.size > 1:
            value = value.clone()
            with _collective():
                dist.all_reduce(value, dist.ReduceOp.MIN)
        return value

    def all_gather(self, tensor: Tensor) -> list[Tensor]:
        """The tensors of all processes by rank, same shape and dtype."""
        if self.size == 1:
            return [tensor]
        # NCCL moves CUDA tensors only, and random states are CPU tensors.
        device = "cuda" if dist.get_backend() == "nccl" else "cpu"
        own = tensor.to(device)
        gathered = [torch.empty_like(own) for _ in range(self.size)]
        with _collective():
            dist.all_gather(gathered, own)
        return [t.to(tensor.device) for t in gathered]

    def barrier(self) -> None:
        """Waits until all processes have called it."""
        if self.size > 1:
            with _collective():
                dist.barrier()

    def close(self) -> None:
        """Leaves the group after all processes have called it. Otherwise threads of gloo may
        outlive the interpreter and abort it."""
        if self.size > 1:
            self.barrier()
            dist.destroy_process_group()


SINGLE_PROCESS = ProcessGroup()


def init_process_group(device: torch.device) -> tuple[ProcessGroup, torch.device]:
    """The processes that torchrun started, or this single one, and the device of this process: the
    GPU with its local rank. Raises ParameterError for more processes than GPUs."""
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return SINGLE_PROCESS, device
    if device.type == "cuda":
        if device.index is None:
            rank, count = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
            if rank >= count:
                raise ParameterError(
                    "device",
                    f"process {rank} has no GPU of its own: PyTorch finds {count}; start as many "
                    "processes as there are GPUs (torchrun --nproc-per-node), or use cpu",
                )
            device = torch.device("cuda", rank)
        # NCCL's barrier takes no tensor and so no device: it uses the current one.
        torch.cuda.set_device(device)
    # A second training in the same process, as in tests, uses the group of the first.
    if not dist.is_initialized():
        # Optimizers import it, and its functions take the group of that moment as a default: after
        # the start they would hold it, and its threads, to the interpreter's end.
        importlib.import_module("torch.distributed.nn.functional")
        backend = "nccl" if device.type == "cuda" else "gloo"
        dist.init_process_group(backend, timeout=PATIENCE)
    return ProcessGroup(dist.get_rank(), dist.get_world_size()), device
