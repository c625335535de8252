"""Edit sets: which test faces are edited under which codes. Every system gets the same faces and
the same seed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ganmut.datasets import FaceSet
from ganmut.device import generator

from .protocol import Protocol
from .systems import System

FINE_SIDE = 401  # of the grid from which even codes are drawn


@dataclass(frozen=True)
class EditSet:
    """m edits: faces `[m]` (positions in the test set), codes `[m, dim]`, targets `[m]` (index of
    the target emotion, or -1).

    shape: the axes that m flattens, such as (faces, emotions, steps); features are returned in this
    shape.
    """

    faces: Tensor
    codes: Tensor
    targets: Tensor
    shape: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.faces)

    def select(self, rows: Tensor) -> EditSet:
        """The edits at `rows`, as a flat set."""
        return EditSet(self.faces[rows], self.codes[rows], self.targets[rows], (len(rows),))


def _product(faces: Tensor, codes: Tensor, shape: tuple[int, ...] = ()) -> EditSet:
    """Every face (positions, `[n]`) under the same codes `[m, dim]`, face by face."""
    n, m = len(faces), len(codes)
    targets = torch.full((n * m,), -1)
    return EditSet(faces.repeat_interleave(m), codes.repeat(n, 1), targets, (n, *(shape or (m,))))


def source(system: System, faces: FaceSet, protocol: Protocol) -> EditSet:
    """(faces): the unedited test faces."""
    n, codes = len(faces), torch.zeros(len(faces), system.space.dim)
    return EditSet(torch.arange(n), codes, torch.full((n,), -1), (n,))


def prior(system: System, faces: FaceSet, protocol: Protocol) -> EditSet:
    """(faces): one edit a face, under codes of the method's evaluation prior, whose emotions are
    distributed as the test labels. For FED and FID."""
    n, space = len(faces), system.space
    counts = torch.bincount(faces.emotion, minlength=len(faces.emotions))
    # The editor may have more emotions than the data, in another order.
    histogram = torch.zeros(len(space.emotions), dtype=counts.dtype)
    histogram[[space.emotions.index(emotion) for emotion in faces.emotions]] = counts
    codes = space.sample(n, generator(protocol.seed), histogram)
    return EditSet(torch.arange(n), codes, torch.full((n,), -1), (n,))


def source_fid(system: System, faces: FaceSet, protocol: Protocol) -> EditSet:
    """(faces): the first n_fid unedited test faces."""
    return _first(source(system, faces, protocol), protocol.n_fid)


def prior_fid(system: System, faces: FaceSet, protocol: Protocol) -> EditSet:
    """(faces): the first n_fid edits of `prior`."""
    return _first(prior(system, faces, protocol), protocol.n_fid)


def uniform(system: System, faces: FaceSet, protocol: Protocol) -> EditSet:
    """(faces): one edit a face, under codes spread evenly over the whole of a two-dimensional
    space."""
    # Even in area, unlike the prior, which is even in angle and radius.
    grid = _chart(system, FINE_SIDE)
    rng, n = generator(protocol.seed), len(faces)
    codes = grid[torch.randint(len(grid), (n,), generator=rng)]
    return EditSet(torch.arange(n), codes, torch.full((n,), -1), (n,))


def labels(system: System, faces: FaceSet, protocol: Protocol) -> EditSet:
    """(faces, emotions): every face under every emotion at full intensity, with new styles for each
    face."""
    n, kinds = min(len(faces), protocol.n_accuracy), len(system.emotions)
    rng = generator(protocol.seed)
    # All emotions of a face before the next face, so that a prefix of the set is balanced.
    codes = torch.stack([system.space.sample_emotion(e, n, rng) for e in system.emotions], 1)
    rows = torch.arange(n).repeat_interleave(kinds)
    return EditSet(rows, codes.flatten(0, 1), torch.arange(kinds).repeat(n), (n, kinds))


def paths(system: System, faces: FaceSet, protocol: Protocol) -> EditSet:
    """(faces, emotions without neutral, steps): the path from neutral to each emotion."""
    space, others = system.space, system.emotions[1:]
    # From neutral on the source face, whatever it shows: the path is the codes', not the face's.
    neutral = space.of(system.emotions[0])
    codes = torch.cat(
        [space.path(neutral, space.of(emotion), protocol.steps) for emotion in others]
    )
    n = min(len(faces), system.max_faces.get("paths", len(faces)), protocol.n_smooth)
    return _product(torch.arange(n), codes, (len(others), protocol.steps))


def paper_grid(system: System, faces: FaceSet, protocol: Protocol) -> EditSet:
    """(faces, codes): the codes that the papers search for ERE, limited to the protocol's
    budget."""
    codes = system.space.grid(None)
    if len(codes) > protocol.budget:
        codes = system.space.grid(protocol.budget)
    return _product(torch.from_numpy(protocol.ere_faces(len(faces))), codes)


def equal_grid(system: System, faces: FaceSet, protocol: Protocol) -> EditSet:
    """(faces, codes): the same number of codes for every method, as far as its space has them."""
    return _product(
        torch.from_numpy(protocol.ere_faces(len(faces))), system.space.grid(protocol.budget)
    )


def chart(system: System, faces: FaceSet, protocol: Protocol) -> EditSet:
    """(faces, valid codes of the chart): for the gamut map; only for two-dimensional spaces."""
    codes = _chart(system, protocol.chart_side)
    return _product(torch.arange(min(len(faces), protocol.chart_faces)), codes)


def _chart(system: System, side: int) -> Tensor:
    """The valid codes of the chart, m x 2; raises ValueError where the space has no chart."""
    grid = system.space.chart(side)
    if grid is None:
        raise ValueError(f"{system.name} has no two-dimensional code space")
    return grid.codes[grid.valid]


def _first(edits: EditSet, n: int) -> EditSet:
    return edits.select(torch.arange(min(n, len(edits))))


EDIT_SETS: dict[str, Callable[[System, FaceSet, Protocol], EditSet]] = {
    edit_set.__name__: edit_set
    for edit_set in (
        source,
        prior,
        source_fid,
        prior_fid,
        uniform,
        labels,
        paths,
        paper_grid,
        equal_grid,
        chart,
    )
}


def build(name: str, system: System, faces: FaceSet, protocol: Protocol) -> EditSet:
    """The edit set of this name, for a system and the test faces."""
    return EDIT_SETS[name](system, faces, protocol)
