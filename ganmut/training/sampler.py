"""Sampler: random training batches of a FaceSet."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from ganmut import device as hardware
from ganmut import images
from ganmut.datasets.base import Batch, FaceSet
from ganmut.training.config import Recipe


class Sampler:
    """Draws batches of a FaceSet with replacement: uniform over faces, or, if the recipe is
    `balanced`, over emotions (of every source of a concatenation). Mirrors and augments them.
    share: batch size of this process; 0: the recipe's batch."""

    def __init__(self, faces: FaceSet, recipe: Recipe, device: torch.device, share: int = 0):
        self.share = share or recipe.batch
        self.faces = faces.to(device) if device.type == "cuda" else faces
        self.recipe, self.device = recipe, device
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

    def rows(self, rng: torch.Generator) -> Tensor:
        """int64 rows of the next batch."""
        n = self.share
        if not self.recipe.balanced:
            return torch.randint(len(self.faces), (n,), generator=rng)
        # First the kind, then a face of it: rare emotions recur and common ones do not crowd them
        # out.
        kind = self.present[torch.randint(len(self.present), (n,), generator=rng)]
        # rand times count, since randint takes one bound for all rows.
        offset = (torch.rand(n, generator=rng) * self.count[kind]).long()
        return self.order[self.start[kind] + offset]

    def batch(self, rng: torch.Generator) -> Batch:
        """The next batch on the device, images B x 3 x S x S in [-1, 1]."""
        rows = self.rows(rng)
        # Random numbers come from the CPU generator, so that GPU and CPU runs draw the same
        # batches.
        mirrored = torch.rand(len(rows), generator=rng) < 0.5 if self.recipe.flip else None
        faces, rows = self.faces, rows.to(self.faces.emotion.device)
        x = images.to_float(faces.faces(rows).to(self.device))
        if mirrored is not None:
            x = torch.where(mirrored.to(self.device)[:, None, None, None], x.flip(3), x)
        x = self.view(x, rng)
        if self.recipe.augment:
            x = images.augment(x, self.recipe.augment, rng)
        x = x.contiguous(memory_format=hardware.memory_format(self.device))
        units = None if faces.units is None else faces.units[rows].to(self.device)
        return Batch(x, faces.emotion[rows].to(self.device), units)
