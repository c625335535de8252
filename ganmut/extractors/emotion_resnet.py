"""The second emotion classifier: another architecture, so that its errors differ.

It measures again what the emotion classifier measures. A finding in which both agree does not
depend on one network.
"""

from __future__ import annotations

from torch import nn

from ganmut.extractors.base import EXTRACTORS, resnet
from ganmut.extractors.emotion import Emotion


@EXTRACTORS.register("emotion_resnet")
class EmotionResNet(Emotion):
    """Emotion with a residual network in place of the VGG."""

    title = "Emotion classifier (residual)"
    lr = 6e-4  # the VGG's 2e-3 stays at the loss of equal probabilities for the whole training

    @staticmethod
    def build_trunk(size: int) -> nn.Module:
        return resnet((24, 48, 96, 128, 160), 128)
