"""The learned brightness inside a mouth, and the sampler of edited faces."""

from __future__ import annotations

import pytest
import torch

from ganmut.expression.geometry import SHIFT, shifted_coefficients
from ganmut.expression.mouth import palette
from ganmut.expression.mouth_tone import (
    COLUMNS,
    ROWS,
    apply_tone,
    fit_mouth_tone,
    tone,
    tone_terms,
)
from ganmut.expression.point_set import Inside


def test_fit_recovers_a_symmetric_brightness():
    generator = torch.Generator().manual_seed(0)
    terms = tone_terms(
        torch.rand(400, 3, generator=generator), torch.rand(400, generator=generator)
    )
    maps = 0.2 * torch.rand(terms.shape[1], ROWS, COLUMNS, generator=generator)
    maps = (maps + maps.flip(2)) / 2
    fitted, explained = fit_mouth_tone(terms, torch.einsum("nt,trc->nrc", terms, maps))
    predicted = torch.einsum("nt,trc->nrc", terms, fitted)
    assert explained > 0.98
    assert torch.allclose(predicted, torch.einsum("nt,trc->nrc", terms, maps), atol=0.05)


def test_tone_follows_the_lips():
    """A map that is bright under the upper lip and dark above the lower one."""
    maps = torch.zeros(5, ROWS, COLUMNS)
    maps[2] = torch.linspace(1, 0, ROWS)[:, None]
    columns, rows = torch.arange(40.0), torch.arange(60.0)
    up, down = torch.full((1, 40), 10.0), torch.full((1, 40), 50.0)
    corners = torch.tensor([[0.0, 40.0]])
    field = tone(maps, torch.zeros(1, 1), columns, rows, (up, down), corners, 1.0)[0, 0]
    assert field.shape == (60, 40)
    assert float(field[11, 20]) == pytest.approx(1, abs=0.05)
    assert float(field[30, 20]) == pytest.approx(0.5, abs=0.05)
    assert float(field[49, 20]) == pytest.approx(0.09, abs=0.05)


@pytest.mark.parametrize(("learned", "kept"), [(0.6, 0.75), (1.0, 0.0)])
def test_the_tone_nears_brightness_and_keeps_detail(learned, kept):
    stripes = 0.4 + 0.2 * (torch.arange(64) % 4 < 2).float()
    drawn = stripes.view(1, 1, 1, -1).expand(1, 3, 64, 64)
    inside = Inside(learned=learned, kept=kept)
    out = apply_tone(drawn, torch.full((1, 1, 64, 64), 0.2), 0.1, inside)
    assert float(out.mean()) == pytest.approx(0.5 * (0.2 / 0.5) ** learned, abs=0.02)
    contrast = float(out[0, 0, 32, 33] / out[0, 0, 32, 35])
    assert contrast == pytest.approx((0.6 / 0.4) ** kept, abs=0.01)


def test_a_dark_mouth_stays_a_number():
    out = apply_tone(torch.zeros(1, 3, 8, 8), torch.zeros(1, 1, 8, 8), 1.0, Inside())
    assert torch.isfinite(out).all()


def shift_image(image: torch.Tensor, move: float, sharp: bool) -> torch.Tensor:
    """C x H x W of an image, `move` pixels to the right of each of its pixels."""
    height, width = image.shape[1:]
    shift = SHIFT if sharp else 0.0
    y, x = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    grid = torch.stack([(x + move - shift) * 2 / width, (y - shift) * 2 / height], -1)[None] - 1
    values = shifted_coefficients(image) if sharp else image
    options = {"padding_mode": "border", "align_corners": False}
    return torch.nn.functional.grid_sample(values[None], grid, **options)[0]


def test_shifted_sampling_is_exact_at_pixels():
    image = torch.rand(2, 20, 30, generator=torch.Generator().manual_seed(1))
    assert torch.allclose(shift_image(image, 0.0, sharp=True), image, atol=1e-4)


def test_shifted_sampling_keeps_more_detail():
    x = torch.arange(64.0)
    wave = 0.5 + 0.4 * torch.sin(0.9 * x).expand(1, 8, -1)
    truth = 0.5 + 0.4 * torch.sin(0.9 * (x + 0.5)).expand(1, 8, -1)
    errors = [
        float((shift_image(wave, 0.5, sharp) - truth)[..., 8:-8].abs().mean())
        for sharp in (True, False)
    ]
    assert errors[0] < 0.6 * errors[1]


def test_enamel_takes_part_of_the_skins_tint():
    skin = torch.tensor([0.4, 0.3, 0.2])  # no channel reaches white
    for enamel in (0.0, 0.28, 0.5):
        tooth = palette(skin, enamel).tooth.flatten()
        expected = (skin[0] / skin[2]) ** enamel
        torch.testing.assert_close(tooth[0] / tooth[2], expected, atol=1e-4, rtol=1e-4)
