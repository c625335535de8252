"""The published numbers of every method, and the presets that must show them."""

from __future__ import annotations

import math

import pytest
import torch
from toys import random_batch

from ganmut import images
from ganmut.cli import main
from ganmut.emotions import EMOTIONS
from ganmut.errors import ParameterError
from ganmut.methods.base import METHODS
from ganmut.training.config import Recipe
from ganmut.training.presets import OBJECTIVES, resolve_settings

# Value and source. `code`: the authors' released code; numbers that the methods' docstrings convert
# are given as they are published, times the conversion.
STARGAN = "StarGAN, paper and code"
GANMUT, SUPPLEMENT = "GANmut, paper", "GANmut, paper: initial values and noise"
SMIT, V2, GANIMATION = "SMIT, code for RafD", "StarGAN v2, paper and code", "GANimation, code"
DEFGAN, EFGAN = "DefGAN, paper", "EF-GAN, supplement"
COMMON = {
    "size": (128, "all but SMIT and StarGAN v2"),
    "faces": (0, "every paper trains on all of its data"),
    "lr_g": (1e-4, "Adam, all but SMIT"),
    "lr_d": (1e-4, "Adam, all but SMIT"),
    "beta1": (0.5, "Adam, all but StarGAN v2"),
    "beta2": (0.999, "Adam, all but StarGAN v2"),
    "ema_decay": (0.0, "no average but in StarGAN v2"),
    "dtype": ("fp32", "no code uses half precision"),
    "balanced": (False, "batches follow the data, but in StarGAN v2"),
    "flip": (True, "all but SMIT on RafD"),
    "augment": (0.0, "ours"),
    "rotation": (0.0, "GANmut alone"),
    "crop_area": (1.0, "SMIT and StarGAN v2 alone"),
    "d_warmup_kimg": (0.0, "ours"),
    "g_warmup_kimg": (0.0, "ours"),
    "lambda_pix": (0.0, "ours"),
}
WGAN = {
    "adversarial": ("wgan_gp", "Gulrajani et al. 2017"),
    "lambda_gp": (10.0, "Gulrajani et al. 2017"),
    "g_interval": (5, "n_critic of StarGAN"),
    "width": (64, "StarGAN, table 4"),
    "blocks": (6, "StarGAN, table 4"),
    "d_width": (64, "StarGAN, table 5"),
    "d_layers": (6, "StarGAN, table 5"),
    "output": ("tanh", "StarGAN, table 4"),
    "condition": ("concat", "StarGAN: label planes"),
    "stem": ("conv7", "StarGAN, table 4"),
    "head_noise": (0.0, "ours"),
    "head_augment": (0.0, "ours"),
}
VIEWS = {
    "rotation": (7.5, "GANmut, code: degrees"),
    "shift": (7.5 / 128, "GANmut, code: 7.5 px of 128"),
    "zoom_low": (1.075, "GANmut, code"),
    "zoom_high": (1.15, "GANmut, code"),
}
EFGAN_NUMBERS = {
    "batch": (2, EFGAN),
    "kimg": (20 * 5.06, "20 epochs of CFEED's 5,060 faces"),
    "lr_decay_fraction": (0.5, EFGAN),
    "spectral": (True, EFGAN),
    "lambda_cond": (3000 / 2, "lambda_1 over the batch, GANimation's rule"),
    "lambda_cont": (10.0, "lambda_2"),
    "lambda_attn": (0.1 * 128, "lambda_3 times the root of 128 x 128 pixels"),
    "lambda_interp": (1.0, "lambda_4"),
    "lambda_int": (0.1, EFGAN),
    "stages": (1, EFGAN),
}
PUBLISHED = {
    "stargan": WGAN
    | {
        "batch": (16, STARGAN),
        "kimg": (200_000 * 16 / 1000, "code: 200 thousand iterations"),
        "lr_decay_fraction": (0.5, "code: the last 100 thousand iterations"),
        "lambda_cls": (1.0, STARGAN),
        "lambda_rec": (10.0, STARGAN),
    },
    "ganmut": WGAN
    | VIEWS
    | {
        "batch": (16, GANMUT),
        "kimg": (1_000_000 * 16 / 1000, "1 million iterations"),
        "lr_decay_fraction": (0.1, "the last 100 thousand of them"),
        "lambda_cls": (1.0, GANMUT),
        "lambda_rec": (10.0, GANMUT),
        "lambda_info": (1.0, GANMUT),
        "lambda_rho": (4.0, GANMUT),
        "sigma": (0.1, SUPPLEMENT),
        "random_share": (7 / 16, "n_c 9 of a batch of 16"),
        "init_directions": (math.sqrt(1 / 6) * 1e-4, SUPPLEMENT),
    },
    "gganmut": WGAN
    | VIEWS
    | {
        "batch": (16, GANMUT),
        "kimg": (1_800_000 * 16 / 1000, "1.8 million iterations"),
        "lr_decay_fraction": (1 / 18, "the last 100 thousand of them"),
        "lambda_div": (2.0, GANMUT),
        "lambda_cls": (0.5, GANMUT),
        "lambda_rec": (10.0, GANMUT),
        "mode_share": (7 / 16, "n_c 7 of a batch of 16"),
        "lr_scale_gamut": (1.0, "one optimizer"),
    },
    "smit": {
        "size": (256, SMIT),
        "batch": (20, SMIT),
        "kimg": (800 * 4.32 / 2, "800 epochs of 4,320 faces, half of which D sees"),
        "lr_decay_fraction": (0.5, "400 of 800 epochs"),
        "lr_g": (2e-4, SMIT),
        "lr_d": (2e-4, SMIT),
        "flip": (False, "code: RafD is not mirrored"),
        "crop_area": (0.7, "code: RandomResizedCrop, scale .7 to 1"),
        "crop_stretch": (0.2, "code: ratio .8 to 1.2"),
        "crop_share": (1.0, SMIT),
        "width": (32, SMIT),
        "blocks": (6, SMIT),
        "d_width": (32, "code: 32 at 256 px, else 16"),
        "d_layers": (7, "code: log2(size) - 1"),
        "scales": (3, SMIT),
        "latent": (20, SMIT),
        "spectral": (True, SMIT),
        "adversarial": ("relativistic_hinge", SMIT),
        "g_interval": (1, SMIT),
        "lambda_cls": (2.0, SMIT),
        "lambda_rec": (10.0, SMIT),
        "lambda_idt": (10.0, SMIT),
        "lambda_mask": (1.0, SMIT),
        "lambda_tv": (1e-5 * 20 * 128, "1e-5 a pixel of a batch of 20, in sides of 128 px"),
    },
    "ganimation": WGAN
    | {
        "batch": (25, GANIMATION),
        "kimg": (30 * 200.0, "30 epochs of 200 thousand faces"),
        "lr_decay_fraction": (1 / 3, "10 of 30 epochs"),
        "lambda_y": (4000 / 25, "4000 over the batch"),
        "lambda_idt": (10.0, GANIMATION),
        "lambda_A": (0.1, GANIMATION),
        "lambda_TV": (1e-5 * 25, "1e-5 summed over the batch"),
        "attention_rise": (0.0, "constant"),
        "attention_patience": (0, "constant"),
        "unit_noise": (0.1, GANIMATION),
        "named_share": (0.0, GANIMATION),
        "init_std": (0.02, GANIMATION),
    },
    "defgan": WGAN
    | {
        "batch": (25, DEFGAN),
        "kimg": (40 * 190.0, "40 epochs of 190 thousand faces"),
        "lr_decay_fraction": (0.5, "20 of 40 epochs"),
        "g_interval": (10, DEFGAN),
        "lambda_exp_comp": (4000 / 25, "eq. 8, over the batch"),
        "lambda_exp_def": (1000 / 25, "eq. 9, over the batch"),
        "lambda_exp_real": (1.0, "eq. 7 has no weight"),
        "lambda_cyc": (100.0, DEFGAN),
        "lambda_face": (1.0, DEFGAN),
        "lambda_eye_G": (0.1, DEFGAN),
        "lambda_eye_M": (0.1, DEFGAN),
        "lambda_TV_G": (1e-5 * 25, DEFGAN),
        "lambda_TV_M": (1e-5 * 25, DEFGAN),
        "lambda_comp": (1.0, "10 is published; the docstring says why"),
    },
    "efgan": WGAN | EFGAN_NUMBERS,
    "efgan_cascade": WGAN
    | EFGAN_NUMBERS
    | {
        "stages": (3, "Cascade EF-GAN, paper: the best trade-off"),
        "kimg": (10 * 5.06, "10 epochs"),
        "lr_g": (1e-5, EFGAN),
        "lr_d": (1e-5, EFGAN),
        "lr_decay_fraction": (1.0, "linear to zero"),
    },
    "stargan_v2": {
        "size": (256, V2),
        "batch": (16, "8 with latents and 8 with references an iteration"),
        "kimg": (1600.0, "100 thousand iterations"),
        "lr_decay_fraction": (0.0, V2),
        "beta1": (0.0, V2),
        "beta2": (0.99, V2),
        "weight_decay": (1e-4, V2),
        "ema_decay": (0.999, V2),
        "balanced": (True, "code: a class-balanced sampler"),
        "crop_share": (0.5, "code: probability of a RandomResizedCrop"),
        "crop_area": (0.8, "code: scale .8 to 1"),
        "crop_stretch": (0.1, "code: ratio .9 to 1.1"),
        "width": (0, "code: 2^14 / size"),
        "d_width": (0, "code: 2^14 / size"),
        "d_layers": (0, "code: down to 4 x 4"),
        "max_channels": (512, V2),
        "hidden": (512, V2),
        "latent": (16, V2),
        "style": (64, V2),
        "g_interval": (1, V2),
        "lambda_r1": (1.0, V2),
        "lambda_sty": (1.0, V2),
        "lambda_ds": (1.0, V2),
        "lambda_cyc": (1.0, V2),
    },
}


def settings(name: str, *presets: str, **overrides: object) -> dict[str, object]:
    recipe, config = resolve_settings(name, *presets, **overrides)
    return vars(recipe) | vars(config)


@pytest.mark.parametrize("name", list(METHODS))
def test_paper_preset_shows_published_numbers(name):
    found = settings(name, "paper", "paper")
    for field, (value, source) in (COMMON | PUBLISHED[name]).items():
        assert found[field] == pytest.approx(value), (field, source)


def test_labels_have_the_comparisons_weight():
    """lambda_A 1: GANmut (GANimation with labels in its comparison)."""
    assert settings("ganimation", "paper", code_type="labels")["lambda_A"] == 1
    assert settings("ganimation", "stable", "cpu", code_type="labels")["lambda_A"] == 0.01


@pytest.mark.parametrize("name", list(METHODS))
def test_stable_objective_leaves_published_extras_alone(name):
    entry = METHODS[name]
    base = {"method": name} | vars(Recipe(name)) | vars(entry.Config())
    found = settings(name, "stable", "gpu")
    taken = entry.PAPER_OBJECTIVE.keys() - entry.SHORT_SCHEDULE.keys() - {"ema_decay"}
    assert {k: found[k] for k in taken} == {k: base[k] for k in taken}
    assert found["dtype"] == "auto" and "dtype" in OBJECTIVES["paper"]


def test_explain_shows_the_papers_objective(capsys):
    words = ["train", "ganmut", "--objective=paper", "--budget=paper", "--explain"]
    assert main(words) == 0
    lines = {line.split()[0]: line.split()[1:] for line in capsys.readouterr().out.splitlines()}
    assert lines["rotation"] == ["7.5", "paper's", "objective"]
    assert lines["faces"] == ["0", "budget"] and lines["lr_decay_fraction"] == ["0.1", "paper"]


def test_published_widths_follow_the_size():
    for size, width, layers in ((256, 64, 6), (128, 128, 5)):
        config = METHODS["stargan_v2"].PAPER.at_size(size)
        assert (config.width, config.d_width, config.d_layers) == (width, width, layers)
    kept = METHODS["stargan_v2"].Config(width=24, d_width=16, d_layers=4).at_size(64)
    assert (kept.width, kept.d_width, kept.d_layers) == (24, 16, 4)


def test_convolutions_start_with_the_published_deviation():
    _, config = resolve_settings("ganimation", size=32, width=16, blocks=1, d_layers=4)
    method = METHODS["ganimation"](config, EMOTIONS, 32)
    weights = [p.detach() for p in method.parameters() if p.dim() == 4]
    assert all(abs(float(w.std()) - 0.02) < 0.004 for w in weights if w.numel() > 500)


def test_defgan_weighs_units_of_real_faces_apart():
    batch, losses = random_batch(4), {}
    for weight in (0.0, 1.0):
        sizes = {"width": 4, "blocks": 1, "d_width": 8, "d_layers": 4, "lambda_exp_real": weight}
        torch.manual_seed(0)
        method = METHODS["defgan"](METHODS["defgan"].Config(**sizes), EMOTIONS, 32)
        losses[weight] = float(method.d_loss(batch, batch.units, batch.x)["units"].detach())
    assert losses[0.0] == pytest.approx(160 * losses[1.0])


# ---- random views

RAMP = torch.linspace(-1, 1, 32).expand(64, 3, 32, 32).contiguous()  # brightness is the x position


def view(seed: int = 0, **numbers: float) -> torch.Tensor:
    return images.RandomView(**numbers)(RAMP, torch.Generator().manual_seed(seed))


def test_no_view_draws_no_random_number():
    generator = torch.Generator().manual_seed(0)
    before = generator.get_state()
    assert images.RandomView()(RAMP, generator) is RAMP
    assert torch.equal(generator.get_state(), before)


def test_views_come_from_the_generator():
    numbers = {"rotation": 7.5, "shift": 0.05, "crop_area": 0.7}
    assert torch.equal(view(**numbers), view(**numbers))
    assert not torch.equal(view(**numbers), view(seed=1, **numbers))


def test_shift_stays_within_its_share():
    middle = view(shift=0.1)[:, 0, 16, 12:20] - RAMP[0, 0, 16, 12:20]  # a side is 2 in brightness
    share = middle.mean(1) / 2 * 31 / 32
    assert share.abs().max() <= 0.1 + 1e-4 and share.abs().max() > 0.08


def test_zoom_enlarges_within_its_range():
    slope = (
        view(zoom_low=1.075, zoom_high=1.15)[:, 0, 16, 24]
        - view(zoom_low=1.075, zoom_high=1.15)[:, 0, 16, 8]
    )
    zoom = (RAMP[0, 0, 16, 24] - RAMP[0, 0, 16, 8]) / slope
    assert zoom.min() >= 1.075 - 1e-4 and zoom.max() <= 1.15 + 1e-4
    assert zoom.max() - zoom.min() > 0.05


def test_crops_keep_area_and_share():
    views = view(crop_area=0.7, crop_share=0.5)
    width = (views[:, 0, 16, 24] - views[:, 0, 16, 8]) / (RAMP[0, 0, 16, 24] - RAMP[0, 0, 16, 8])
    whole = width > 1 - 1e-5
    assert 16 < int(whole.sum()) < 48  # half of 64
    assert width.min() >= math.sqrt(0.7) - 1e-4
    assert views.min() >= -1 and views.max() <= 1


@pytest.mark.parametrize("numbers", [{"zoom_low": 1.2}, {"crop_share": 0.5}])
def test_views_without_effect_or_range_are_refused(numbers):
    with pytest.raises(ParameterError) as caught:
        Recipe("stargan", **numbers)
    assert caught.value.parameter == next(iter(numbers))
