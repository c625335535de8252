"""Expression transport: edits as optimal transport between the expressions of the emotions.

Fisher's linear discriminants of labelled expressions are coordinates in which the emotions differ
and in which the expressions of each of them scatter evenly, with variance 1 (Rao 1948). An edit
moves a face in these coordinates alone, by the smallest change of the expression that does so
(Mahalanobis distance within an emotion); whatever of an expression tells no emotion stays.

The expressions of all faces and those of one emotion are taken as Gaussians. Between Gaussians the
transport of least squared distance is affine (Knott and Smith 1984): along a discriminant whose
variance between emotions is v, a face keeps 1 / sqrt(1 + v) of its own coordinate, and the centre
moves to the emotion's. So edited faces are distributed as real faces of the emotion are, and each
face moves no further than that needs.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from scipy.cluster.vq import kmeans2
from scipy.linalg import eigh
from torch import Tensor, nn

from ganmut.codes import CodeSpace
from ganmut.datasets.base import BadData
from ganmut.expression.conditional import LabelledExpressions, check_expressions
from ganmut.expression.face_basis import FaceBasis
from ganmut.expression.landmark_net import LandmarkNet
from ganmut.expression.method import ExpressionMethod
from ganmut.expression.model import ExpressionModel
from ganmut.expression.traced import running_maximum, search_sorted

SEARCHED = 441  # codes of `grid`, as many as GANmut searches
FACES_EACH = 500  # of every emotion, that the places and the recogniser are taken from
RIDGE = 0.002  # variance added to that of controls, some of which hardly vary
PENALTY = 1e-4  # of the recogniser's weights, squared
# Of named emotions, times their centres: a drawn change is seen as about three quarters of itself.
STRENGTH = 1.4
STEPS = 32  # of a way, between which progress is interpolated


class Transport(nn.Module):
    """What is fitted, D = E - 1 coordinates of K controls for E emotions, neutral first.

    Buffers: mean K (of balanced expressions), axes K x D (coordinates of a change), back K x D (the
    smallest change of given coordinates), kept D (share of its own coordinates that a transported
    face keeps), points E x D (where named emotions lie), faces M x D (places of real faces, evenly
    spread), logits D + 1 x E (a recogniser of the emotions; its last row is the constant).
    """

    mean: Tensor
    axes: Tensor
    back: Tensor
    kept: Tensor
    points: Tensor
    faces: Tensor
    logits: Tensor

    def __init__(self, controls: int, emotions: int):
        super().__init__()
        d = emotions - 1
        for name, shape in {
            "mean": (controls,),
            "axes": (controls, d),
            "back": (controls, d),
            "kept": (d,),
            "points": (emotions, d),
            "faces": (SEARCHED, d),
            "logits": (d + 1, emotions),
        }.items():
            self.register_buffer(name, torch.zeros(shape))

    def coordinates(self, expressions: Tensor) -> Tensor:
        """N x D of expressions N x K."""
        return (expressions - self.mean) @ self.axes

    def shares(self, coordinates: Tensor) -> Tensor:
        """... x E probabilities of the emotions at coordinates ... x D."""
        return (coordinates @ self.logits[:-1] + self.logits[-1]).softmax(-1)


def fit_transport(data: LabelledExpressions) -> Transport:
    """The transport of labelled expressions, in closed form; the spread of `faces` is k-means, and
    the recogniser a logistic regression.

    Raises BadData for expressions that cannot be used.
    """
    check_expressions(data)
    kinds, controls = len(data.emotions), data.values.shape[1]
    if kinds > controls:
        raise BadData(f"{kinds} emotions need at least as many controls; there are {controls}")
    fitted = Transport(controls, kinds)
    values = data.values.double().numpy()
    groups = [values[(data.labels == kind).numpy()] for kind in range(kinds)]
    # ---- discriminants; every emotion counts the same, however many faces show it
    means = np.stack([group.mean(0) for group in groups])
    within = np.mean([np.cov(group.T) for group in groups], 0) + RIDGE * np.eye(controls)
    between = np.cov(means.T, bias=True)
    # The largest E - 1 of the generalised problem: the means have no more directions.
    variances, axes = eigh(between, within, subset_by_index=(controls - kinds + 1, controls - 1))
    fitted.mean.copy_(torch.from_numpy(means.mean(0)))
    fitted.axes.copy_(torch.from_numpy(axes))
    # axes^T within axes = 1: the least change within an emotion that has given coordinates.
    fitted.back.copy_(torch.from_numpy(within @ axes))
    fitted.kept.copy_(torch.from_numpy(1 / np.sqrt(1 + variances.clip(min=0))))
    # ---- named emotions
    centres = fitted.coordinates(torch.from_numpy(means).float())
    fitted.points.copy_(STRENGTH * centres)
    fitted.points[0] = centres[0]
    # ---- real faces, as many of every emotion as there are, at most FACES_EACH
    draws = np.random.default_rng(0)
    shown = [group[draws.permutation(len(group))[:FACES_EACH]] for group in groups]
    own = [fitted.coordinates(torch.from_numpy(group).float()) for group in shown]
    fitted.faces.copy_(STRENGTH * _evenly_spread(torch.cat(own)))
    fitted.logits.copy_(_fit_logits(own))
    return fitted


def _evenly_spread(own: Tensor) -> Tensor:
    """SEARCHED x D centres of coordinates N x D (k-means); of fewer faces some repeat."""
    count = min(SEARCHED, len(own))
    centres, _ = kmeans2(own.double().numpy(), count, minit="++", rng=np.random.default_rng(0))
    return torch.from_numpy(centres).float()[torch.arange(SEARCHED) % count]


def _fit_logits(own: Sequence[Tensor]) -> Tensor:
    """D + 1 x E weights of a logistic regression on coordinates (N_e x D for each emotion), all
    emotions equally frequent. Gaussians round the centres would be far too sure: expressions have
    tails."""
    x = F.pad(torch.cat(list(own)).double(), (0, 1), value=1.0)
    label = torch.cat([torch.full((len(each),), kind) for kind, each in enumerate(own)])
    weight = torch.cat([torch.full((len(each),), 1 / len(each)) for each in own]).double()
    logits = torch.zeros(x.shape[1], len(own), dtype=torch.double, requires_grad=True)
    optimizer = torch.optim.LBFGS([logits], max_iter=200, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        missed = F.cross_entropy(x @ logits, label, reduction="none") @ weight / len(own)
        total = missed + PENALTY * logits[:-1].square().sum()
        total.backward()
        return total

    optimizer.step(loss)
    return logits.detach().float()


class TransportSpace(CodeSpace):
    """D coordinates, the share (0..1) that a face keeps of its own transported ones, and how far
    (0..1) it is on its way from neutral.

    Named emotions keep all of it (1): the transport. Codes of `grid` keep nothing (0): every face
    goes to that very place. On the way coordinates and distance grow together, so mixtures and
    paths are linear.
    """

    kind = "labels"

    def __init__(self, emotions: tuple[str, ...], fitted: Transport):
        super().__init__(emotions)
        points, places = (x.detach().float().cpu() for x in (fitted.points, fitted.faces))
        self.dim = points.shape[1] + 2
        self.points = F.pad(F.pad(points, (0, 1), value=1.0), (0, 1), value=1.0)
        self.points[0, -1] = 0.0
        self.places = F.pad(F.pad(places, (0, 1)), (0, 1), value=1.0)
        # Twice as far as any code here: beyond it nothing is known of expressions.
        self.reach = 2 * float(torch.cat([points, places]).abs().amax())

    def of(self, emotion: str, intensity: float = 1.0) -> Tensor:
        which, value = self._intensity(emotion, intensity)
        return torch.lerp(self.points[0], self.points[which], value)

    def sample(self, n: int, generator: torch.Generator, histogram: Tensor | None = None) -> Tensor:
        return self.points[self._draw_emotions(n, generator, histogram)]

    def grid(self, budget: int | None = None) -> Tensor:
        """The places of real faces, evenly spread: 441 by default."""
        return self.places[: SEARCHED if budget is None else budget]

    def clamp(self, code: Tensor) -> Tensor:
        code = self._validate(code)
        held = code[..., :-2].clamp(-self.reach, self.reach), code[..., -2:].clamp(0, 1)
        return torch.cat(held, -1)


class ExpressionTransport(ExpressionMethod):
    """The transport of an expression (`fitted`), drawn by an expression model."""

    name = "transport"
    title = "Expression transport"
    paper = "this project; Fisher 1936 (discriminants), Knott and Smith 1984 (optimal transport)"
    supervision = f"labels, {ExpressionMethod.supervision}"
    reads_source = False

    def __init__(
        self,
        model: ExpressionModel,
        landmarks: LandmarkNet,
        fitted: Transport,
        emotions: Sequence[str],
    ):
        super().__init__(model, landmarks, tuple(emotions))
        self.fitted = fitted

    def space(self) -> TransportSpace:
        return TransportSpace(self.emotions, self.fitted)

    def expression(self, source: Tensor, code: Tensor) -> Tensor:
        """N x K expressions in the allowed range of source expressions N x K under codes."""
        fitted = self.fitted
        own = fitted.coordinates(source)
        neutral, (keep, way) = fitted.points[0], code[:, -2:].split(1, 1)
        kept = keep * fitted.kept * own
        # Where the way ends: coordinates grow with the distance (TransportSpace).
        full = neutral + (code[:, :-2] - neutral) / way.clamp(min=1e-3)
        start, end = neutral + kept, full + kept
        place = torch.lerp(start, end, self.progress(start, end, way))
        return self.model.clamp_expression(source + (place - own) @ fitted.back.T)

    def progress(self, start: Tensor, end: Tensor, way: Tensor) -> Tensor:
        """N x 1: the share of the line from start to end (N x D) after `way` (N x 1), in steps that
        are half those of the line and half those of what is seen on it: the probabilities of the
        emotions. A face that is nearly happy gets there in small steps."""
        line = torch.linspace(0, 1, STEPS + 1, device=start.device)
        seen = self.fitted.shares(torch.lerp(start[:, None], end[:, None], line[:, None]))
        # Along the whole change: what comes up on the way and goes again is no progress.
        away = seen - seen[:, :1]
        passed = running_maximum((away * away[:, -1:]).sum(2).clamp(min=0))
        passed = passed / passed[:, -1:].clamp(min=1e-6)
        # Both halves: other recognisers see other steps than this one.
        passed = (passed + line) / (passed[:, -1:] + 1)
        after = search_sorted(passed.contiguous(), way.contiguous()).clamp(1, STEPS)
        low, high = passed.gather(1, after - 1), passed.gather(1, after)
        return (after - 1 + ((way - low) / (high - low)).clamp(0, 1)) / STEPS

    def target(self, features: tuple[FaceBasis, ...], code: Tensor) -> Tensor:
        """N x K expressions of N bases after an edit under N codes."""
        # float32: bfloat16 rounds an expression so coarsely that edits differ by grey levels.
        with torch.autocast(code.device.type, enabled=False):
            return self.expression(self.source_codes(features), code.float())
