"""The speed table takes every registered method, whatever it asks to know before it starts."""

from __future__ import annotations

import pytest
import torch

from bench import speed
from ganmut.methods.base import METHODS
from ganmut.training.loop import Game

TOY = {"width": 8, "blocks": 1, "d_width": 8, "d_layers": 4}


@pytest.mark.parametrize("name", METHODS.names())
def test_every_method_can_be_timed(name):
    recipe, method = speed.build(name, 32, 8, TOY)
    Game(method, recipe, torch.device("cpu")).advance(speed.batch_of(32, 8))
    assert method.space().of("happy").isfinite().all()


def test_all_means_every_registered_method():
    args = speed.settle(speed.parser().parse_args([]))
    assert args.names == METHODS.names()
