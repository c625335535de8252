"""Sampler: random training batches of a FaceSet, from memory or streamed from its files."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from ganmut import device as hardware
from ganmut import images
from ganmut.datasets.base import BadData, Batch, FaceSet
from ganmut.datasets.stored import StoredImages
from ganmut.training.config import Recipe
from ganmut.training.distributed import SINGLE_PROCESS, ProcessGroup

# Share of the free memory that images may take where no limit is given: networks and gradients
# need the rest.
MEMORY_SHARE = 0.5
AHEAD = 8  # batches that a process has read ahead of the training


class Sampler:
    """Draws batches of a FaceSet with replacement: uniform over faces, or, if the recipe is
    `balanced`, over emotions (of every source of a concatenation). Mirrors and augments them.

    Which faces a step shows follows from the recipe's seed, the process and the step alone, so a
    resumed training sees the same ones. image_memory_gib: images that take more stay in their
    files, and a process reads those of the next batches (`streams`); by default MEMORY_SHARE of
    what is free.
    """

    def __init__(
        self,
        faces: FaceSet,
        recipe: Recipe,
        device: torch.device,
        processes: ProcessGroup = SINGLE_PROCESS,
        image_memory_gib: float | None = None,
    ):
        self.share, self.rank = processes.local_batch(recipe.batch), processes.rank
        self.recipe, self.device = recipe, device
        if image_memory_gib is None:
            image_memory_gib = MEMORY_SHARE * hardware.free_memory_gib(device)
        fits = len(faces) * 3 * faces.size**2 <= image_memory_gib * 2**30
        stored = None if fits else StoredImages.of(faces.images)
        self.streams = stored is not None
        # What does not fit on a GPU and lies in memory already stays there.
        self.faces = faces.to(device) if fits and device.type == "cuda" else faces
        self._stored, self._next = stored, -1
        self._ahead: Iterator[Tensor] = iter(())
        fields = dataclasses.fields(images.RandomView)
        self.view = images.RandomView(*(getattr(recipe, field.name) for field in fields))
        # Faces sorted by kind (source and emotion), so that a kind is a contiguous range.
        kind = faces.emotion.cpu()
        if faces.source_id is not None:
            kind = kind + len(faces.emotions) * faces.source_id.cpu()
        self.order = kind.argsort(stable=True)
        self.count = torch.bincount(kind)
        self.start = self.count.cumsum(0) - self.count
        self.present = self.count.nonzero()[:, 0]

    def rows(self, step: int) -> Tensor:
        """int64 rows of the batch of a step."""
        n = self.share
        seed = np.random.SeedSequence([self.recipe.seed, self.rank, step])
        rng = hardware.generator(int(seed.generate_state(1, np.uint64)[0]))
        if not self.recipe.balanced:
            return torch.randint(len(self.faces), (n,), generator=rng)
        # First the kind, then a face of it: rare emotions recur and common ones do not crowd them
        # out.
        kind = self.present[torch.randint(len(self.present), (n,), generator=rng)]
        # rand times count, since randint takes one bound for all rows.
        offset = (torch.rand(n, generator=rng) * self.count[kind]).long()
        return self.order[self.start[kind] + offset]

    def batch(self, step: int, rng: torch.Generator) -> Batch:
        """The batch of a step on the device, images B x 3 x S x S in [-1, 1]. rng: of flips and
        augmentation. Raises BadData where the files of the images are gone."""
        rows = self.rows(step)
        # Random numbers come from the CPU generator, so that GPU and CPU runs draw the same
        # batches.
        mirrored = torch.rand(len(rows), generator=rng) < 0.5 if self.recipe.flip else None
        faces, at = self.faces, rows.to(self.faces.emotion.device)
        pixels = self._streamed(step) if self.streams else faces.faces(at)
        x = images.to_float(pixels.to(self.device, non_blocking=True))
        if mirrored is not None:
            x = torch.where(mirrored.to(self.device)[:, None, None, None], x.flip(3), x)
        x = self.view(x, rng)
        if self.recipe.augment:
            x = images.augment(x, self.recipe.augment, rng)
        x = x.contiguous(memory_format=hardware.memory_format(self.device))
        units = None if faces.units is None else faces.units[at].to(self.device)
        return Batch(x, faces.emotion[at].to(self.device), units)

    def _streamed(self, step: int) -> Tensor:
        """uint8 B x 3 x S x S of a step, read ahead."""
        assert self._stored is not None
        if step != self._next:
            loader = DataLoader(
                ImageRows(self._stored),
                batch_sampler=Steps(self, step),
                num_workers=1,
                prefetch_factor=AHEAD,
                collate_fn=torch.from_numpy,
                pin_memory=self.device.type == "cuda",
                # A process that has computed with PyTorch must not be forked.
                multiprocessing_context="spawn",
            )
            self._ahead = iter(loader)
        self._next = step + 1
        try:
            return next(self._ahead)
        except (OSError, RuntimeError) as error:  # of a worker: its traceback, then the reason
            reason = str(error).strip().splitlines()[-1]
            raise BadData(
                f"the images cannot be read any more ({reason}); resume the run, which makes a "
                "lost cache again"
            ) from None


class Steps:
    """The rows of the batches of a Sampler from a step on, as lists, without end."""

    def __init__(self, sampler: Sampler, step: int):
        self.sampler, self.step = sampler, step

    def __iter__(self) -> Iterator[list[int]]:
        return (self.sampler.rows(step).tolist() for step in itertools.count(self.step))


class ImageRows(Dataset):
    """StoredImages as a DataLoader reads them: a list of rows at a time."""

    def __init__(self, stored: StoredImages):
        self.stored = stored

    def __getitems__(self, rows: list[int]) -> np.ndarray:
        return self.stored[np.array(rows, np.int64)]
