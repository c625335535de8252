"""Plans: which test faces are edited under which codes. The same faces and the same seed for every
row.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from bench.protocol import Protocol
from bench.systems import Row
from ganmut.device import generator


@dataclass(frozen=True)
class Plan:
    """m edits: faces `[m]` (positions in the test set), codes `[m, dim]`, wanted `[m]` (emotion
    asked for, or -1).

    shape: what m means, such as (faces, emotions, steps); evidence arrives in this shape.
    """

    faces: Tensor
    codes: Tensor
    wanted: Tensor
    shape: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.faces)


def _product(faces: Tensor, codes: Tensor, shape: tuple[int, ...] = ()) -> Plan:
    """Faces (positions, `[n]`) under the same list of codes, face by face."""
    n, m = len(faces), len(codes)
    wanted = torch.full((n * m,), -1)
    return Plan(faces.repeat_interleave(m), codes.repeat(n, 1), wanted, (n, *(shape or (m,))))


def source(row: Row, n: int, protocol: Protocol) -> Plan:
    """Every test face as it is."""
    return Plan(torch.arange(n), torch.zeros(n, row.space.dim), torch.full((n,), -1), (n,))


def prior(row: Row, n: int, protocol: Protocol) -> Plan:
    """One edit a face under codes of the method's evaluation prior: FED and FID."""
    codes = row.space.sample(n, generator(protocol.seed))
    return Plan(torch.arange(n), codes, torch.full((n,), -1), (n,))


def source_fid(row: Row, n: int, protocol: Protocol) -> Plan:
    """The first n_fid test faces as they are."""
    return _first(source(row, n, protocol), protocol.n_fid)


def prior_fid(row: Row, n: int, protocol: Protocol) -> Plan:
    """The first n_fid edits of `prior`."""
    return _first(prior(row, n, protocol), protocol.n_fid)


def labels(row: Row, n: int, protocol: Protocol) -> Plan:
    """(faces, emotions): every face under every emotion at full intensity, styles drawn anew for
    each face.
    """
    n, kinds, draws = min(n, protocol.n_accuracy), len(row.emotions), generator(protocol.seed)
    codes = torch.stack([row.space.several(e, n, draws) for e in row.emotions], 1)
    faces = torch.arange(n).repeat_interleave(kinds)
    return Plan(faces, codes.flatten(0, 1), torch.arange(kinds).repeat(n), (n, kinds))


def paths(row: Row, n: int, protocol: Protocol) -> Plan:
    """(faces, emotions without neutral, steps): the way from neutral to each emotion."""
    space, others = row.space, row.emotions[1:]
    neutral = space.of(row.emotions[0])
    codes = torch.cat(
        [space.path(neutral, space.of(emotion), protocol.steps) for emotion in others]
    )
    n = min(n, row.most.get("paths", n), protocol.n_smooth)
    return _product(torch.arange(n), codes, (len(others), protocol.steps))


def paper_grid(row: Row, n: int, protocol: Protocol) -> Plan:
    """(faces, codes): the codes the papers search for ERE, thinned to the protocol's budget."""
    codes = row.space.grid(None)
    if len(codes) > protocol.budget:
        codes = row.space.grid(protocol.budget)
    return _product(torch.from_numpy(protocol.ere_faces(n)), codes)


def equal_grid(row: Row, n: int, protocol: Protocol) -> Plan:
    """(faces, codes): as many codes for everybody."""
    return _product(torch.from_numpy(protocol.ere_faces(n)), row.space.grid(protocol.budget))


def chart(row: Row, n: int, protocol: Protocol) -> Plan:
    """(faces, valid codes of the chart): the gamut map; only for spaces that are a plane."""
    sheet = row.space.chart(protocol.chart_side)
    return _product(torch.arange(min(n, protocol.chart_faces)), sheet.codes[sheet.valid])


def _first(plan: Plan, n: int) -> Plan:
    n = min(n, len(plan))
    return Plan(plan.faces[:n], plan.codes[:n], plan.wanted[:n], (n,))


PLANS: dict[str, Callable[[Row, int, Protocol], Plan]] = {
    plan.__name__: plan
    for plan in (source, prior, source_fid, prior_fid, labels, paths, paper_grid, equal_grid, chart)
}


def make(name: str, row: Row, n: int, protocol: Protocol) -> Plan:
    """The named plan for a row and n test faces."""
    return PLANS[name](row, n, protocol)
