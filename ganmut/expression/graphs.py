"""The expression model as ONNX graphs: once a face its basis, once an edit the drawing.

Both are traces of the library's own code (traced.py); only the loop over flows that would fold a
face is scripted, since its number of rounds depends on the face.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from ganmut.expression.face_basis import FaceBasis
from ganmut.expression.geometry import shift_taps
from ganmut.expression.method import ExpressionMethod
from ganmut.expression.model import Displacement
from ganmut.expression.mouth import Palette
from ganmut.expression.openings import EdgeCurves
from ganmut.expression.point_set import PointSet
from ganmut.expression.render import ATTEMPTS, KEPT, Flow, clamp_change, draw, whole_flow
from ganmut.expression.traced import to_float
from ganmut.expression.weight import example_crop
from ganmut.weights.onnx_graphs import GRAPHS, TRACED, Graphs

# The tensors of a basis and the names of those of their sides that depend on the face.
SIDES: dict[str, dict[int, str]] = {
    "crop": {1: "side", 2: "side"},
    "coefficients": {1: "side", 2: "side"},
    "landmarks": {},
    "expression": {},
    "low": {},
    "high": {},
    "matrix": {},
    "softness": {},
    "grid": {1: "flow_rows", 2: "flow_columns"},
    "columns": {0: "width"},
    "rows": {0: "height"},
    "fixed": {},
    "reach": {0: "flow_rows", 1: "flow_columns"},
    "light": {1: "light_rows", 2: "light_columns"},
    "light_grid": {1: "light_rows", 2: "light_columns"},
    "inside": {0: "height", 1: "width"},
}
EDGES = {"upper": {2: "width"}, "lower": {2: "width"}}
COLOURS = ("level", "tooth", "gum", "tongue", "dark")


def tensors_of(basis: FaceBasis) -> dict[str, Tensor]:
    """A basis as named tensors: those of SIDES and EDGES, the colours, box 4, scale 1."""
    tensors = {name: getattr(basis, name) for name in SIDES}
    tensors |= {name: getattr(basis.curves, name) for name in EDGES}
    tensors |= {name: getattr(basis.colours, name) for name in COLOURS}
    box = torch.stack([torch.as_tensor(edge) for edge in basis.box])
    return tensors | {"box": box, "scale": torch.as_tensor(basis.scale).reshape(1)}


def basis_of(tensors: Mapping[str, Tensor], points: PointSet) -> FaceBasis:
    """The basis of `tensors_of`, in a trace."""
    top, left, height, width = tensors["box"]
    return FaceBasis(
        points=points,
        **{name: tensors[name] for name in SIDES},
        box=(top, left, height, width),  # type: ignore[arg-type] # numbers of a trace
        scale=to_float(tensors["scale"]),
        curves=EdgeCurves(*(tensors[name] for name in EDGES)),
        colours=Palette(*(tensors[name] for name in COLOURS)),
    )


@GRAPHS.register(ExpressionMethod.drawing)
def expression_graphs(method: ExpressionMethod) -> Graphs:
    """The graphs of an editor that an expression model draws, of one face each, of any size."""

    def example(number: int) -> tuple[Tensor, Tensor]:
        aligned = example_crop(method.model.points)[None] / 127.5 - 1
        rim = round(aligned.shape[-1] * (method.margin - 1) / 2)
        wide = F.pad(aligned, (rim,) * 4, mode="replicate")
        # Another size and another side of the face for every number.
        side = 96 + 64 * number
        wide = F.interpolate(wide, size=side, mode="bilinear", antialias=True).clamp(-1, 1)
        emotions = method.emotions[1:]
        code = method.space().of(emotions[number % len(emotions)])
        return wide.flip(3) if number % 2 else wide, code[None].float()

    def edit(x: Tensor, code: Tensor) -> Tensor:
        with ExactDistances():
            return method.edit(method.encode(x, method.margin), code).images

    x, code = example(TRACED)
    (basis,) = method.encode(x, method.margin)
    return Graphs(
        EncodeGraph(method),
        DecodeGraph(method, basis, code),
        tensors_of(basis),
        ["images"],
        SIDES | EDGES | {"images": {2: "side", 3: "side"}},
        example,
        edit,
        {
            "margin": method.margin,
            "images": "float32 1 x 3 x side x side, RGB in [-1, 1], of any side; the aligned crop "
            "is the middle of it, side / margin wide",
        },
    )


class EncodeGraph(nn.Module):
    """An image 1 x 3 x side x side in [-1, 1], whose middle 1 / margin of a side is the aligned
    crop -> the tensors of its basis."""

    def __init__(self, method: ExpressionMethod):
        super().__init__()
        self.method = method
        shift_taps()  # a constant, not a part of the trace

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        (basis,) = self.method.encode(images, self.method.margin)
        return tuple(tensors_of(basis).values())


class DecodeGraph(nn.Module):
    """Code 1 x dim and the tensors of a basis -> the edited image, 1 x 3 x side x side in
    [-1, 1]. The source itself is not used: a basis holds it."""

    def __init__(self, method: ExpressionMethod, basis: FaceBasis, code: Tensor):
        super().__init__()
        self.method, self.names = method, tuple(tensors_of(basis))
        self.flow = unfolded_flow(method, basis, code)

    def forward(self, code: Tensor, source: Tensor, *tensors: Tensor) -> Tensor:
        model = self.method.model
        basis = basis_of(dict(zip(self.names, tensors, strict=True)), model.points)
        change = self.method.target((basis,), code) - basis.expression
        change = clamp_change(model, basis, change)
        moved = model.displacement(basis, change)
        grid = basis.grid[None]
        blank = [torch.stack([grid, grid]), grid, basis.curves.upper, basis.curves.lower]
        points, moves, sheets, joined, upper, lower = self.flow(
            moved.points, moved.moves, blank, list(tensors), ATTEMPTS
        )
        moved = Displacement(points, moves, moved.gap, moved.opened)
        flow = Flow(moved, sheets, joined, EdgeCurves(upper, lower))
        return draw(model, basis, change, flow) * 2 - 1


def unfolded_flow(
    method: ExpressionMethod, basis: FaceBasis, code: Tensor
) -> Callable[..., tuple[Tensor, ...]]:
    """`render.backward_flow` for a graph: points and moves of a displacement, tensors of the shapes
    of its result, the tensors of a basis and the attempts left -> points, moves and the parts of
    their flow."""
    model, example = method.model, tensors_of(basis)
    change = clamp_change(model, basis, method.target((basis,), code) - basis.expression)
    moved = model.displacement(basis, change)

    def attempt(points: Tensor, moves: Tensor, tensors: list[Tensor]) -> tuple[Tensor, ...]:
        here = basis_of(dict(zip(example, tensors, strict=True)), model.points)
        flow, whole = whole_flow(model, here, Displacement(points, moves, points, points))
        shorter = moves * (KEPT * whole.clamp(max=1 / KEPT)).view(-1, 1, 1)
        parts = flow.sheets, flow.joined, flow.curves.upper, flow.curves.lower
        return *parts, points - moves + shorter, shorter, (whole < 1).any()

    traced = torch.jit.trace(
        attempt, (moved.points, moved.moves, list(example.values())), check_trace=False
    )

    @torch.jit.script
    def flow(
        points: Tensor, moves: Tensor, parts: list[Tensor], tensors: list[Tensor], left: int
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
        sheets, joined, upper, lower = parts
        shorter, less, folds = points, moves, True
        while folds and left > 0:
            points, moves = shorter, less
            sheets, joined, upper, lower, shorter, less, again = traced(points, moves, tensors)
            folds = bool(again)
            left = left - 1
        return points, moves, sheets, joined, upper, lower

    return flow


class ExactDistances(TorchFunctionMode):
    """While it is entered, torch's distances are of differences, as those of the graphs; by
    default they are of products of matrices, which rounds to some hundredths of a pixel."""

    def __torch_function__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        exact = {"compute_mode": "donot_use_mm_for_euclid_dist"} if func is torch.cdist else {}
        return func(*args, **(kwargs or {}) | exact)
