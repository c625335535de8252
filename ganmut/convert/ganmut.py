"""GANmut's generators (`learned_generators/*.ckpt` of stefanodapolito/GANmut): the linear model
and the Gaussian one (GGANmut), told apart by what they learned besides the trunk.

Both were trained on pictures as OpenCV reads them, blue first: the channels are swapped where they
enter and leave. The linear model's `axes` are directions of any length, their bias is unused. The
Gaussian model's `mu` passes through tanh wherever it is a code (our modes always do), and the
magnitudes of `covariance_axes` are variances.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ganmut.convert import stargan_trunk
from ganmut.convert.base import FORMATS, Checkpoint, Format, ordered
from ganmut.methods.base import METHODS, Method
from ganmut.weights.storage import BadWeights


@FORMATS.register("ganmut")
class GANmut(Format):
    """Two-dimensional models, with the labels of AffectNet unless others are named."""

    licence = "other"
    terms = (
        "Converted from a checkpoint of GANmut's authors, whose licence allows non-commercial "
        "research only. It was trained on faces detected and cropped their way."
    )

    def method(self, checkpoint: Checkpoint, labels: tuple[str, ...], size: int) -> Method:
        if (values := stargan_trunk.planes(checkpoint)) != 2:
            raise BadWeights(
                f"{checkpoint.path} has codes of {values} values, not 2: only the two-dimensional "
                "models can be converted"
            )
        if "mu.weight" in checkpoint.tensors:
            return self.gaussian(checkpoint, labels, size)
        return self.linear(checkpoint, labels, size)

    def linear(self, checkpoint: Checkpoint, labels: tuple[str, ...], size: int) -> Method:
        axes = checkpoint.take("axes.weight")
        checkpoint.take("axes.bias")
        emotions, order = ordered(labels, len(axes) + 1, checkpoint.path)
        if order[0] != 0:  # neutral has no direction, and is the label before the first
            raise BadWeights(f"{checkpoint.path} has neutral first: name it first in labels")
        own = {"directions": axes}
        return stargan_trunk.build("ganmut", checkpoint, emotions, size, own, bgr=True)

    def gaussian(self, checkpoint: Checkpoint, labels: tuple[str, ...], size: int) -> Method:
        modes = checkpoint.take("mu.weight")
        emotions, order = ordered(labels, len(modes), checkpoint.path)
        own = {
            "raw_modes": modes[order],
            "rotation": checkpoint.take("covariance_angles.weight", 1, len(modes))[0][order],
            "raw_variances": checkpoint.take("covariance_axes.weight", len(modes), 2)[order],
        }
        method = stargan_trunk.build("gganmut", checkpoint, emotions, size, own, bgr=True)
        with torch.no_grad():
            variances = method.G.raw_variances.abs()
            method.G.raw_variances.copy_(raw(variances, floor()))
        return method


def floor() -> float:
    """The smallest variance that our Gaussian model can have: at a raw value of minus infinity."""
    kind = METHODS["gganmut"]
    probe = kind(kind.Config(width=4, blocks=0), ("neutral", "happy"), 32, training=False)
    with torch.no_grad():
        probe.G.raw_variances.fill_(-1e4)
        return float(probe.G.covariances()[0, 0, 0])


def raw(variances: Tensor, floor: float) -> Tensor:
    """What softplus, with the floor, makes these variances of; a variance below it is raised."""
    above = (variances.double() - floor).clamp(min=1e-9)
    return (above + torch.log(-torch.expm1(-above))).float()
