"""StarGAN's generator with output "warp_residual": the source under a flow, plus a change."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from ganmut import images
from ganmut.editor import Editor
from ganmut.emotions import EMOTIONS
from ganmut.methods.base import METHODS
from ganmut.networks.warp import REACH, warp

WARPING = ("stargan", "ganmut", "gganmut")


def small(name: str, output: str = "warp_residual", training: bool = False):
    kind = METHODS[name]
    torch.manual_seed(0)
    config = kind.Config(width=8, blocks=1, d_width=8, d_layers=4, condition="adain", output=output)
    return kind(config, EMOTIONS, 32, training)


@pytest.fixture
def people():
    generator = torch.Generator().manual_seed(1)
    coarse = torch.rand(3, 3, 8, 8, generator=generator)
    return images.to_uint8(images.resize(coarse, 32) * 2 - 1)


def with_flow(method):
    """The method with weights that warp."""
    torch.nn.init.normal_(method.G.offsets.weight, std=0.3)
    return method


@pytest.mark.parametrize("name", WARPING)
def test_initial_flow_is_zero(name, people):
    editor = Editor(small(name), {})
    made = editor.edit_details(editor.prepare(people), editor.space.of("happy"))
    assert made.flow.shape == (3, 2, 32, 32) and made.flow.abs().max() == 0


def test_edit_is_warped_source_plus_change(people):
    method = with_flow(small("ganmut"))
    x = images.to_float(people)
    edited, flow = method.G.edit_and_flow(
        method.G.encode(x), torch.tensor([[0.5, 0.2]]).expand(3, 2)
    )
    assert 0.1 < flow.abs().max() <= REACH * 32 / 128
    added = edited - warp(x, flow)
    assert 0 < added.abs().mean() < (edited - x).abs().mean()
    torch.nn.init.zeros_(method.G.trunk.head.weight)
    plain, flow = method.G.edit_and_flow(
        method.G.encode(x), torch.tensor([[0.5, 0.2]]).expand(3, 2)
    )
    torch.testing.assert_close(plain, warp(x, flow))


def test_the_code_decides_the_flow(people):
    editor = Editor(with_flow(small("stargan")), {})
    ready = editor.prepare(people)
    happy, sad = (editor.edit_details(ready, editor.space.of(e)).flow for e in ("happy", "sad"))
    assert (happy - sad).abs().max() > 0.01


def test_gradients_reach_the_flow(people):
    method = small("gganmut", training=True)
    x = images.to_float(people)
    (method.G(x, torch.zeros(3, 2)) - x.flip(3)).abs().mean().backward()
    assert method.G.offsets.weight.grad.abs().max() > 0


def test_only_these_methods_warp():
    for name in METHODS:
        allowed = METHODS[name].Config.choices()["output"]
        assert ("warp_residual" in allowed) == (name in WARPING)
        if name not in WARPING:
            with pytest.raises(ValueError, match=r"output.*warp_residual"):
                dataclasses.replace(METHODS[name].PAPER, output="warp_residual")


def test_init_from_refuses_another_output():
    with pytest.raises(ValueError, match="ganmut"):
        small("ganmut").init_from(small("ganmut", "residual"))
