"""Speed: every registered method can be timed."""

from __future__ import annotations

import pytest
import torch

from bench.speed import run as speed
from ganmut.methods.base import METHODS
from ganmut.training.trainer import Trainer

TOY = {"width": 8, "blocks": 1, "d_width": 8, "d_layers": 4}


@pytest.mark.parametrize("name", METHODS.names())
def test_every_method_can_be_timed(name):
    recipe, method = speed.build(name, 32, 8, TOY)
    Trainer(method, recipe, torch.device("cpu")).train_step(speed.batch_of(32, 8))
    assert method.space().of("happy").isfinite().all()


def test_all_selects_every_method():
    args = speed.validate(speed.parser().parse_args([]))
    assert args.names == METHODS.names()
