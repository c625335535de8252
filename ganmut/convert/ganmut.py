"""GANmut's generators (`learned_generators/*.ckpt` of stefanodapolito/GANmut): the linear model
and the Gaussian one (GGANmut), distinguished by their tensors beside the trunk.

Both were trained on BGR images, as OpenCV reads them; the conversion swaps the channels of the
first and the last layer. The linear model's `axes` are directions of any length with an unused
bias. The Gaussian model's `mu` passes through tanh wherever it is a code, as modes always do here,
and the magnitudes of `covariance_axes` are variances.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from ganmut.convert import stargan_trunk
from ganmut.convert.base import FORMATS, Checkpoint, Format, order_emotions
from ganmut.methods.base import METHODS, Method
from ganmut.weights.storage import BadWeights


@FORMATS.register("ganmut")
class GANmut(Format):
    """Two-dimensional models; the labels of AffectNet by default."""

    licence = "other"
    terms = (
        "Converted from a checkpoint of GANmut's authors, whose licence allows non-commercial "
        "research only. It was trained on faces detected and cropped by the authors' method."
    )

    def fits(self, tensors: Mapping[str, Tensor]) -> bool:
        return stargan_trunk.fits(tensors)

    def method(self, checkpoint: Checkpoint, labels: tuple[str, ...], size: int) -> Method:
        if (values := stargan_trunk.code_dim(checkpoint)) != 2:
            raise BadWeights(
                f"{checkpoint.path} has codes of {values} values, not 2; only the two-dimensional "
                "models can be converted"
            )
        if "mu.weight" in checkpoint.tensors:
            return self.gaussian(checkpoint, labels, size)
        return self.linear(checkpoint, labels, size)

    def linear(self, checkpoint: Checkpoint, labels: tuple[str, ...], size: int) -> Method:
        axes = checkpoint.pop("axes.weight")
        checkpoint.pop("axes.bias")
        emotions, order = order_emotions(labels, len(axes) + 1, checkpoint.path)
        if order[0] != 0:  # neutral has no direction and is the first label of the file
            raise BadWeights(f"{checkpoint.path} has neutral first; name it first in labels")
        own = {"directions": axes}
        return stargan_trunk.build("ganmut", checkpoint, emotions, size, own, bgr=True)

    def gaussian(self, checkpoint: Checkpoint, labels: tuple[str, ...], size: int) -> Method:
        modes = checkpoint.pop("mu.weight")
        emotions, order = order_emotions(labels, len(modes), checkpoint.path)
        own = {
            "raw_modes": modes[order],
            "rotation": checkpoint.pop("covariance_angles.weight", 1, len(modes))[0][order],
            "raw_variances": checkpoint.pop("covariance_axes.weight", len(modes), 2)[order],
        }
        method = stargan_trunk.build("gganmut", checkpoint, emotions, size, own, bgr=True)
        with torch.no_grad():
            # The authors use |a| without a floor; ours are softplus(raw) + floor, inverted here.
            variances = method.G.raw_variances.abs()
            method.G.raw_variances.copy_(softplus_inverse(variances, variance_floor()))
        return method


def variance_floor() -> float:
    """The smallest variance of the Gaussian model here: the limit for a raw value of -infinity."""
    kind = METHODS["gganmut"]
    probe = kind(kind.Config(width=4, blocks=0), ("neutral", "happy"), 32, training=False)
    with torch.no_grad():
        probe.G.raw_variances.fill_(-1e4)
        return float(probe.G.covariances()[0, 0, 0])


def softplus_inverse(variances: Tensor, floor: float) -> Tensor:
    """Raw values with softplus(raw) + floor = variances; variances below the floor are raised to
    it."""
    # log(exp(v) - 1) as v + log(1 - exp(-v)), which neither overflows nor cancels.
    above = (variances.double() - floor).clamp(min=1e-9)
    return (above + torch.log(-torch.expm1(-above))).float()
