"""The second identity embedder: another architecture, and no method trains against it.

DefGAN minimises the distance of the identity embedder; by this one it is judged like the others.
"""

from __future__ import annotations

from torch import nn

from ganmut.extractors.base import EXTRACTORS, resnet
from ganmut.extractors.identity import Identity


@EXTRACTORS.register("identity_resnet")
class IdentityResNet(Identity):
    """Identity with a residual network in place of the VGG."""

    title = "Identity embedder (residual)"

    @staticmethod
    def build_trunk(size: int) -> nn.Module:
        return resnet((24, 48, 96, 128, 160), 128)
