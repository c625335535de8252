"""What an edit computes with, outside and inside a graph.

An edit takes sizes and positions from the face: Python numbers, and branches on them. A graph
(expression/graphs.py) computes them anew for every face, so while an edit is traced for one they
stay tensors, and branches that only save time are taken. Operators that graphs lack are written in
those that they have. Outside a trace every function here is one of Python or torch.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, cached_property
from typing import Any, TypeVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor

Made = TypeVar("Made")

BLOCK = (
    16  # unknowns that `eliminate` takes at once: few large products, no long chain of small ones
)


def made_once(function: Callable[[Any], Made]) -> cached_property[Made]:
    """A property that is computed at its first use; where that is in inference mode, its tensors
    are of use for gradients all the same."""
    return cached_property(torch.inference_mode(False)(torch.no_grad()(function)))


def to_float(value: Tensor) -> float:
    """The number of a tensor of one element; the tensor itself, without dimensions, in a trace."""
    return cast(float, value.reshape(())) if torch.jit.is_tracing() else float(value)


def to_int(value: Tensor) -> int:
    """The whole number of a tensor of one element; an int64 tensor in a trace."""
    return cast(int, value.reshape(()).long()) if torch.jit.is_tracing() else int(value)


def rounded(value: float) -> int:
    """The nearest whole number, halves to the even one."""
    return to_int(value.round()) if isinstance(value, Tensor) else round(value)


def at_least(value: float, least: float) -> float:
    """The larger of a number and a bound."""
    return value.clamp(min=least) if isinstance(value, Tensor) else max(value, least)


def any_true(condition: Tensor) -> bool:
    """Whether a bool tensor is true somewhere; always True in a trace."""
    return torch.jit.is_tracing() or bool(condition.any())


def distances(first: Tensor, second: Tensor) -> Tensor:
    """N x P x R Euclidean distances of points N x P x 2 and N x R x 2."""
    if not torch.jit.is_tracing():
        return torch.cdist(first, second)
    # The exporter's own translation takes differences of squares.
    x, y = (first[:, :, None, i] - second[:, None, :, i] for i in (0, 1))
    return (x * x + y * y).sqrt()


def search_sorted(bounds: Tensor, values: Tensor, right: bool = False) -> Tensor:
    """int64 ...: how many of the ascending bounds (n, or N x n for values N x W) lie below each
    value, or at it with `right`."""
    if not torch.jit.is_tracing():
        return torch.searchsorted(bounds, values, right=right)
    bounds, values = bounds.unsqueeze(-2), values.unsqueeze(-1)
    return (bounds <= values if right else bounds < values).sum(-1)


def running_maximum(x: Tensor) -> Tensor:
    """N x n: the largest of the values up to each one of a row."""
    if not torch.jit.is_tracing():
        return torch.cummax(x, 1).values
    before = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool).tril()
    return torch.where(before, x[:, None], x.new_full((), -torch.inf)).amax(2)


def lower_median(x: Tensor) -> Tensor:
    """The median of n values; the lower one of the two in the middle."""
    return x.sort().values[(x.shape[0] - 1) // 2] if torch.jit.is_tracing() else x.median()


def area_means(images: Tensor, size: int) -> Tensor:
    """N x C x size x size means over equal parts of images N x C x H x W."""
    if not torch.jit.is_tracing():
        return F.interpolate(images, size=(size, size), mode="area")
    rows, columns = (_shares(images.shape[dim], size) for dim in (2, 3))
    return rows @ images @ columns.T


def _shares(length: int, count: int) -> Tensor:
    """count x length: what each pixel contributes to the mean of each part, as torch divides."""
    part, place = torch.arange(count)[:, None], torch.arange(length)
    start, end = part * length // count, ((part + 1) * length + count - 1) // count
    return ((place >= start) & (place < end)).float() / (end - start)


def box_blur(x: Tensor, reach: int) -> Tensor:
    """N x C x H x W means over squares of 2 reach + 1 pixels, the border repeated."""
    side = 2 * reach + 1
    if not torch.jit.is_tracing():
        wide = F.pad(x, (reach,) * 4, mode="replicate")
        # In two passes, along columns and along rows.
        return F.avg_pool2d(F.avg_pool2d(wide, (side, 1), 1), (1, side), 1)
    # A graph's pooling has a fixed size: here differences of running sums.
    for dim in (2, 3):
        count = x.shape[dim]
        places = torch.arange(-reach - 1, count + reach).clamp(0, count - 1)
        total = x.index_select(dim, places).cumsum(dim)
        x = (total.narrow(dim, side, count) - total.narrow(dim, 0, count)) / side
    return x


def least_squares(system: Tensor, right: Tensor) -> Tensor:
    """n x m least-squares solution of a system M x n, float64, with right sides M x m."""
    if not torch.jit.is_tracing():
        return torch.linalg.lstsq(system, right).solution
    return eliminate((system.T @ system)[None], (system.T @ right)[None])[0]


def solve(system: Tensor, right: Tensor) -> Tensor:
    """N x n x m solutions of systems N x n x n with right sides N x n x m."""
    if torch.jit.is_tracing():
        return eliminate(system, right)
    # One by one: torch's batched solver is known to fail on some processors for systems of this
    # size. Not numpy: its threads are not torch's, and they spin when other programs are at work.
    return torch.stack([torch.linalg.solve(a, b) for a, b in zip(system, right, strict=True)])


def eliminate(system: Tensor, right: Tensor) -> Tensor:
    """`solve` by Gaussian elimination without pivoting, in blocks."""
    count = system.shape[1]
    rows, done = torch.cat([system, right], 2), []
    for start in range(0, count, BLOCK):
        size = min(BLOCK, count - start)
        head, rows = rows[:, :size], rows[:, size:]
        head = _inverse(head[:, :, :size], size) @ head[:, :, size:]
        rows = rows[:, :, size:] - rows[:, :, :size] @ head
        done.append(head)
    found = done.pop()
    while done:
        head, ahead = done.pop(), found.shape[1]
        found = torch.cat([head[:, :, ahead:] - head[:, :, :ahead] @ found, found], 1)
    return found


def _inverse(matrix: Tensor, size: int) -> Tensor:
    """Inverses of N x size x size matrices by sweeps (Dempster 1969) without pivoting."""
    return _scripted(_sweep)(matrix, size)


@cache
def _scripted(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """A function whose loops stay loops of the graph: written out they would be most of its nodes,
    which take longer to load than to run."""
    return torch.jit.script(function)


def _sweep(matrix: Tensor, size: int) -> Tensor:
    place = torch.arange(size)
    one = torch.ones_like(matrix[:, :1])
    for i in range(size):
        pivot = place == i
        row, column = matrix[:, i : i + 1], matrix[:, :, i : i + 1]
        # The rest less a product, the new row and the new column, all in one difference.
        row = torch.where(pivot, one, row) / row[:, :, i : i + 1]
        rest = torch.where(pivot | pivot[:, None], torch.zeros_like(matrix), matrix)
        matrix = rest - torch.where(pivot[:, None], -torch.ones_like(column), column) * row
    return matrix
