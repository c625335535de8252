"""Checkpoints of the published networks, made here, edit as the published forward passes do.

The forward passes are restated plainly, from the papers' architectures, over the very tensors of
the checkpoint; names are those of the released files where they are known (StarGAN, GANmut) and
invented where they are not (GANimation, StarGAN v2). Most layers are small; the released sizes,
whose numbers of parameters are published, are converted at the end.
"""

from __future__ import annotations

import itertools
import json
import math
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from ganmut import weights
from ganmut.cli import main
from ganmut.convert import FORMATS, convert
from ganmut.convert.base import Checkpoint
from ganmut.emotions import EMOTIONS
from ganmut.registry import UnknownNameError
from ganmut.weights.storage import BadWeights

W, BLOCKS, SIZE = 8, 2, 32


class Rng:
    """Random tensors of sizes that keep signals at their size."""

    def __init__(self, seed: int = 0):
        self.rng = torch.Generator().manual_seed(seed)

    def normal(self, *shape: int) -> torch.Tensor:
        spread = math.sqrt(math.prod(shape[1:])) if len(shape) > 1 else 3.0
        return torch.randn(shape, generator=self.rng) / spread

    def norm(self, name: str, channels: int, tracked: bool = False) -> dict:
        tensors = {
            f"{name}.weight": 1 + self.normal(channels),
            f"{name}.bias": self.normal(channels),
        }
        if tracked:  # statistics that would break every picture if they were used
            tensors |= {
                f"{name}.running_mean": torch.full((channels,), 50.0),
                f"{name}.running_var": torch.full((channels,), 1e-4),
                f"{name}.num_batches_tracked": torch.tensor(1000),
            }
        return tensors


def sequential(
    inputs: int, rng: Rng, tracked: bool = True, width: int = W, blocks: int = BLOCKS
) -> dict:
    """The trunk of StarGAN and GANmut as their files name it."""
    shapes = {0: (width, inputs, 7, 7), 3: (2 * width, width, 4, 4)}
    shapes[6] = (4 * width, 2 * width, 4, 4)
    tensors = {}
    for at, shape in shapes.items():
        tensors[f"main.{at}.weight"] = rng.normal(*shape)
        tensors |= rng.norm(f"main.{at + 1}", shape[0], tracked)
    for at in range(9, 9 + blocks):
        for inner in (0, 3):
            tensors[f"main.{at}.main.{inner}.weight"] = rng.normal(4 * width, 4 * width, 3, 3)
            tensors |= rng.norm(f"main.{at}.main.{inner + 1}", 4 * width, tracked)
    for at, wide in ((9 + blocks, 4 * width), (12 + blocks, 2 * width)):
        tensors[f"main.{at}.weight"] = rng.normal(wide, wide // 2, 4, 4)
        tensors |= rng.norm(f"main.{at + 1}", wide // 2, tracked)
    tensors[f"main.{15 + blocks}.weight"] = rng.normal(3, width, 7, 7)
    return tensors


def behind(t: dict) -> int:
    """The number of the first layer behind the residual blocks."""
    return 9 + sum(name.endswith(".main.0.weight") for name in t)


def instance(x: torch.Tensor, weight=None, bias=None) -> torch.Tensor:
    """Instance norm, in the words of its definition."""
    centred = x - x.mean((2, 3), keepdim=True)
    x = centred / (centred.square().mean((2, 3), keepdim=True) + 1e-5).sqrt()
    return x if weight is None else x * weight[:, None, None] + bias[:, None, None]


def run(t: dict, x: torch.Tensor, code: torch.Tensor) -> torch.Tensor:
    """What comes out of the trunk before its heads, by the names of `sequential`."""

    def norm(x, at):
        return instance(x, t[f"{at}.weight"], t[f"{at}.bias"])

    planes = code[:, :, None, None].expand(-1, -1, *x.shape[2:])
    x = F.relu(norm(F.conv2d(torch.cat([x, planes], 1), t["main.0.weight"], padding=3), "main.1"))
    for at in (3, 6):
        x = F.conv2d(x, t[f"main.{at}.weight"], stride=2, padding=1)
        x = F.relu(norm(x, f"main.{at + 1}"))
    for at in range(9, behind(t)):
        h = F.conv2d(x, t[f"main.{at}.main.0.weight"], padding=1)
        h = F.relu(norm(h, f"main.{at}.main.1"))
        h = F.conv2d(h, t[f"main.{at}.main.3.weight"], padding=1)
        x = x + norm(h, f"main.{at}.main.4")
    for at in (behind(t), behind(t) + 3):
        x = F.conv_transpose2d(x, t[f"main.{at}.weight"], stride=2, padding=1)
        x = F.relu(norm(x, f"main.{at + 1}"))
    return x


def published_output(t: dict, x: torch.Tensor, code: torch.Tensor) -> torch.Tensor:
    head = t[f"main.{behind(t) + 6}.weight"]
    return torch.tanh(F.conv2d(run(t, x, code), head, padding=3))


def faces(n: int = 3, size: int = SIZE) -> torch.Tensor:
    return torch.rand(n, 3, size, size, generator=torch.Generator().manual_seed(9)) * 2 - 1


def convert_file(tmp_path, tensors: dict, format: str, **options):
    """The method of a checkpoint after its way through a file and a weight folder."""
    torch.save(tensors, tmp_path / "theirs.ckpt")
    folder = convert(tmp_path / "theirs.ckpt", format, tmp_path / "ours", size=SIZE, **options)
    assert weights.verify(folder) == 0
    return weights.build_method(weights.read(folder)).eval()


def edit(method, x: torch.Tensor, code: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return method.edit(method.encode(x), code).images


def test_the_formats_are_these():
    assert FORMATS.names() == ["ganimation", "ganmut", "stargan", "stargan_v2"]


def test_stargan(tmp_path):
    theirs = sequential(3 + 7, Rng())
    method = convert_file(tmp_path, theirs, "stargan")
    code = torch.eye(7)[[1, 0, 6]]
    assert torch.allclose(
        edit(method, faces(), code), published_output(theirs, faces(), code), atol=1e-5
    )
    assert method.config.width == W and method.config.blocks == BLOCKS
    assert "track" not in json.dumps(method.config.__dict__)


def test_stargan_s_labels_come_in_any_order(tmp_path):
    theirs = sequential(3 + 4, Rng())
    method = convert_file(tmp_path, theirs, "stargan", labels=("Anger", "happy", "neutral", "fear"))
    assert method.emotions == ("neutral", "angry", "happy", "fearful")
    ours, same = torch.eye(4)[[0, 1, 3]], torch.eye(4)[[2, 0, 3]]
    assert torch.allclose(
        edit(method, faces(), ours), published_output(theirs, faces(), same), atol=1e-5
    )


def flip(x: torch.Tensor) -> torch.Tensor:
    return x.flip(1)


def test_linear_model_of_ganmut_is_bgr(tmp_path):
    rng = Rng()
    axes = rng.normal(6, 2)
    theirs = {"axes.weight": axes, "axes.bias": rng.normal(6), **sequential(3 + 2, rng)}
    method = convert_file(tmp_path, theirs, "ganmut")
    code = torch.tensor([[0.3, -0.4], [0.0, 0.0], [-0.6, 0.8]])
    want = flip(published_output(theirs, flip(faces()), code))
    assert torch.allclose(edit(method, faces(), code), want, atol=1e-5)
    assert not torch.allclose(edit(method, faces(), code), flip(want), atol=1e-2)
    directions = axes / axes.norm(dim=1, keepdim=True)
    assert torch.allclose(method.space().of("sad", 0.5), 0.5 * directions[1], atol=1e-6)
    assert method.name == "ganmut" and method.emotions == EMOTIONS


def test_gaussian_model_keeps_modes_and_densities(tmp_path):
    rng = Rng()
    theirs = {
        "covariance_angles.weight": 3 * rng.normal(1, 7),
        "covariance_axes.weight": 0.3 + rng.normal(7, 2).abs(),
        "mu.weight": 2 * rng.normal(7, 2),
        **sequential(3 + 2, rng),
    }
    theirs["covariance_axes.weight"][2] *= -1  # only the magnitude counts
    method = convert_file(tmp_path, theirs, "ganmut")
    code = torch.tensor([[0.3, -0.4], [1.0, -1.0], [-0.6, 0.8]])
    want = flip(published_output(theirs, flip(faces()), code))
    assert torch.allclose(edit(method, faces(), code), want, atol=1e-5)
    space, modes = method.space(), torch.tanh(theirs["mu.weight"])
    assert torch.allclose(space.of("surprised"), modes[3], atol=1e-6)
    angle, (a, b) = theirs["covariance_angles.weight"][0], theirs["covariance_axes.weight"].abs().T
    cos, sin = angle.cos(), angle.sin()
    spread = torch.stack(
        [
            torch.stack([a * cos**2 + b * sin**2, (a - b) * cos * sin], -1),
            torch.stack([(a - b) * cos * sin, a * sin**2 + b * cos**2], -1),
        ],
        -2,
    )
    offset = code[:, None] - modes
    squared = torch.einsum("nci,cij,ncj->nc", offset, torch.linalg.inv(spread), offset)
    assert torch.allclose(space.density(code), torch.softmax(-squared, 1), atol=1e-5)


def ganimation(values: int, rng: Rng, width: int = W, blocks: int = BLOCKS) -> dict:
    """Names of our own: the order of layers, their shapes and kinds are the published ones."""
    theirs = sequential(3 + values, rng, False, width, blocks)
    colours = theirs.pop(f"main.{15 + blocks}.weight")
    return {
        **{f"body.{name}": value for name, value in theirs.items()},
        "mask.0.weight": rng.normal(1, width, 7, 7),
        "rgb.0.weight": colours,
    }


def run_attention(
    t: dict, x: torch.Tensor, code: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """(edited, attention) of a file of `ganimation`."""
    h = run({name.removeprefix("body."): value for name, value in t.items()}, x, code)
    keep = torch.sigmoid(F.conv2d(h, t["mask.0.weight"], padding=3))
    colours = torch.tanh(F.conv2d(h, t["rgb.0.weight"], padding=3))
    return keep * x + (1 - keep) * colours, keep


@pytest.mark.parametrize("values", [17, 7])
def test_ganimation_by_units_or_labels(tmp_path, values):
    theirs = ganimation(values, Rng())
    method = convert_file(tmp_path, theirs, "ganimation")
    code = torch.rand(3, values, generator=torch.Generator().manual_seed(1))
    want, keep = run_attention(theirs, faces(), code)
    with torch.no_grad():
        made = method.edit(method.encode(faces()), code)
    assert torch.allclose(made.images, want, atol=1e-5)
    assert torch.allclose(made.mask, 1 - keep, atol=1e-5)
    assert method.config.code_type == ("units" if values == 17 else "labels")


# StarGAN v2 ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Sizes:
    """Of a network for `side` px: channels at the picture's own side, at most, of a style, hidden
    in the mapping network; kinds: emotions."""

    side: int
    low: int
    high: int
    style: int
    hidden: int
    kinds: int

    def doubling(self, times: int) -> list[tuple[int, int]]:
        """Channels in and out of blocks that halve the picture `times` times."""
        wide = [min(self.low << i, self.high) for i in range(times + 1)]
        return list(itertools.pairwise(wide))

    @property
    def encoder(self) -> list[tuple[int, int]]:
        return [*self.doubling(self.side.bit_length() - 5), *[(self.high, self.high)] * 2]

    @property
    def decoder(self) -> list[tuple[int, int]]:
        return [(b, a) for a, b in reversed(self.encoder)]

    @property
    def reader(self) -> list[tuple[int, int]]:
        return self.doubling(self.side.bit_length() - 3)


SMALL = Sizes(side=SIZE, low=16, high=32, style=6, hidden=10, kinds=3)
RELEASED = Sizes(side=128, low=128, high=512, style=64, hidden=512, kinds=7)


def conv(rng: Rng, name: str, inputs: int, outputs: int, side: int, bias: bool = True) -> dict:
    tensors = {f"{name}.weight": rng.normal(outputs, inputs, side, side)}
    return tensors | ({f"{name}.bias": rng.normal(outputs)} if bias else {})


def lin(rng: Rng, name: str, inputs: int, outputs: int) -> dict:
    return {f"{name}.weight": rng.normal(outputs, inputs), f"{name}.bias": rng.normal(outputs)}


def resblock(rng: Rng, name: str, a: int, b: int, style: int = 0, normed: bool = True) -> dict:
    """Published: encoders keep the width in conv1 and change it in conv2, decoders the reverse.
    style: its size where it steers the norms."""
    middle = b if style else a
    tensors = conv(rng, f"{name}.c1", a, middle, 3) | conv(rng, f"{name}.c2", middle, b, 3)
    if style:
        tensors |= lin(rng, f"{name}.n1.map", style, 2 * a)
        tensors |= lin(rng, f"{name}.n2.map", style, 2 * middle)
    elif normed:
        tensors |= rng.norm(f"{name}.n1", a) | rng.norm(f"{name}.n2", middle)
    return tensors | (conv(rng, f"{name}.short", a, b, 1, bias=False) if a != b else {})


def stargan_v2(rng: Rng, head_first: bool = True, of: Sizes = SMALL) -> dict:
    head = rng.norm("out.0", of.low) | conv(rng, "out.2", of.low, 3, 1)
    stem = conv(rng, "in", 3, of.low, 3)
    body = {}
    for i, (a, b) in enumerate(of.encoder):
        body |= resblock(rng, f"enc.{i}", a, b)
    for i, (a, b) in enumerate(of.decoder):
        body |= resblock(rng, f"dec.{i}", a, b, of.style)
    mapping = {}
    for i in range(4):
        mapping |= lin(rng, f"all.{2 * i}", 16 if i == 0 else of.hidden, of.hidden)
    for k in range(of.kinds):
        for i in range(4):
            last = of.style if i == 3 else of.hidden
            mapping |= lin(rng, f"each.{k}.{2 * i}", of.hidden, last)
    reader = conv(rng, "down.0", 3, of.low, 3)
    for i, (a, b) in enumerate(of.reader):
        reader |= resblock(rng, f"down.{i + 1}", a, b, normed=False)
    after = len(of.reader) + 2  # an activation stands between
    reader |= conv(rng, f"down.{after}", of.high, of.high, 4)
    discriminator = dict(reader) | conv(rng, f"down.{after + 2}", of.high, of.kinds, 1)
    for k in range(of.kinds):
        reader |= lin(rng, f"heads.{k}", of.high, of.style)
    generator = {**stem, **head, **body} if head_first else {**stem, **body, **head}
    return {
        "generator": generator,
        "discriminator": discriminator,
        "mapping": mapping,
        "styles": reader,
    }


def act(x):
    return F.leaky_relu(x, 0.2)


def conv2d(t: dict, name: str, x: torch.Tensor) -> torch.Tensor:
    weight = t[f"{name}.weight"]
    padding = 1 if weight.shape[-1] == 3 else 0
    return F.conv2d(x, weight, t.get(f"{name}.bias"), padding=padding)


def block(t: dict, name: str, x: torch.Tensor, scale: str = "", style=None) -> torch.Tensor:
    """Published order: pooling behind the shortcut's convolution, enlarging before it."""

    def norm(h, which):
        if style is not None:
            made = F.linear(style, t[f"{name}.{which}.map.weight"], t[f"{name}.{which}.map.bias"])
            gain, offset = made[:, :, None, None].chunk(2, 1)
            return (1 + gain) * instance(h) + offset
        if f"{name}.{which}.weight" in t:
            return instance(h, t[f"{name}.{which}.weight"], t[f"{name}.{which}.bias"])
        return h

    def change_size(h, when):
        if scale != when:
            return h
        return F.avg_pool2d(h, 2) if scale == "down" else F.interpolate(h, scale_factor=2)

    h = conv2d(t, f"{name}.c1", change_size(act(norm(x, "n1")), "up"))
    h = conv2d(t, f"{name}.c2", act(norm(change_size(h, "down"), "n2")))
    side = change_size(x, "up")
    side = conv2d(t, f"{name}.short", side) if f"{name}.short.weight" in t else side
    return (h + change_size(side, "down")) / math.sqrt(2)


def generate(t: dict, x: torch.Tensor, style: torch.Tensor, of: Sizes = SMALL) -> torch.Tensor:
    x = conv2d(t, "in", x)
    for i in range(len(of.encoder)):
        x = block(t, f"enc.{i}", x, "down" if i < len(of.encoder) - 2 else "")
    for i in range(len(of.decoder)):
        x = block(t, f"dec.{i}", x, "up" if i >= 2 else "", style)
    return conv2d(t, "out.2", act(instance(x, t["out.0.weight"], t["out.0.bias"])))


def styles(t: dict, latent: torch.Tensor, kind: int) -> torch.Tensor:
    h = latent
    for name in [f"all.{2 * i}" for i in range(4)] + [f"each.{kind}.{2 * i}" for i in range(3)]:
        h = F.relu(F.linear(h, t[f"{name}.weight"], t[f"{name}.bias"]))
    return F.linear(h, t[f"each.{kind}.6.weight"], t[f"each.{kind}.6.bias"])


def read_style(t: dict, x: torch.Tensor, kind: int, of: Sizes = SMALL) -> torch.Tensor:
    x = conv2d(t, "down.0", x)
    for i in range(len(of.reader)):
        x = block(t, f"down.{i + 1}", x, "down")
    h = act(conv2d(t, f"down.{len(of.reader) + 2}", act(x))).flatten(1)
    return F.linear(h, t[f"heads.{kind}.weight"], t[f"heads.{kind}.bias"])


@pytest.mark.parametrize("head_first", [True, False])
def test_stargan_v2(tmp_path, head_first):
    theirs = stargan_v2(Rng(), head_first)
    labels = ("happy", "neutral", "sad")
    method = convert_file(tmp_path, theirs, "stargan_v2", labels=labels)
    assert method.emotions == ("neutral", "happy", "sad") and method.size == SIZE
    style = torch.randn(3, SMALL.style, generator=torch.Generator().manual_seed(1))
    want = generate(theirs["generator"], faces(), style)
    assert torch.allclose(edit(method, faces(), style), want, atol=1e-5)
    latent = torch.randn(3, 16, generator=torch.Generator().manual_seed(2))
    for ours, kind in enumerate((1, 0, 2)):
        made = method.map_latent(torch.full((3,), ours), latent).detach()
        assert torch.allclose(made, styles(theirs["mapping"], latent, kind), atol=1e-5)
        with torch.no_grad():
            encoded = method.G.encoder(faces(), torch.full((3,), ours))
        assert torch.allclose(encoded, read_style(theirs["styles"], faces(), kind), atol=1e-5)


def test_stargan_v2_with_a_landmark_network_is_refused(tmp_path):
    theirs = stargan_v2(Rng())
    for name in [n for n in theirs["generator"] if n.startswith("dec.0")]:  # one block more, less
        del theirs["generator"][name]
    with pytest.raises(BadWeights, match=r"w_hpf 0.*\b32\b"):
        convert_file(tmp_path, theirs, "stargan_v2", labels=("happy", "neutral", "sad"))
    del theirs["mapping"]
    with pytest.raises(BadWeights, match="mapping"):
        convert_file(tmp_path, theirs, "stargan_v2", labels=("happy", "neutral", "sad"))


# As large as they were released -------------------------------------------------------------------


def count(tensors: dict) -> int:
    """How many parameters a file holds; running statistics are none."""
    kept = [v for name, v in tensors.items() if "running" not in name and v.is_floating_point()]
    return sum(value.numel() for value in kept)


@pytest.mark.parametrize(("kind", "parameters"), [("linear", 8_421_138), ("gaussian", 8_421_155)])
def test_ganmut_as_released(tmp_path, kind, parameters):
    rng = Rng()
    learned = {
        "linear": {"axes.weight": rng.normal(6, 2), "axes.bias": rng.normal(6)},
        "gaussian": {
            "covariance_angles.weight": rng.normal(1, 7),
            "covariance_axes.weight": torch.ones(7, 2),
            "mu.weight": rng.normal(7, 2),
        },
    }[kind]
    theirs = {**learned, **sequential(5, rng, width=64, blocks=6)}
    assert count(theirs) == parameters
    method = convert_file(tmp_path, theirs, "ganmut")
    assert method.name == {"linear": "ganmut", "gaussian": "gganmut"}[kind]
    code = torch.tensor([[0.3, -0.4]])
    want = flip(published_output(theirs, flip(faces(1)), code))
    assert torch.allclose(edit(method, faces(1), code), want, atol=1e-5)


def test_stargan_as_released(tmp_path):
    theirs = sequential(3 + 7, Rng(), width=64, blocks=6)
    assert count(theirs) == 8_436_800
    assert count(sequential(3 + 5, Rng(), width=64, blocks=6)) == 8_430_528  # with five attributes
    method, code = convert_file(tmp_path, theirs, "stargan"), torch.eye(7)[2:3]
    want = published_output(theirs, faces(1), code)
    assert torch.allclose(edit(method, faces(1), code), want, atol=1e-5)


def test_ganimation_as_released(tmp_path):
    theirs = ganimation(17, Rng(), width=64, blocks=6)
    assert count(theirs) == 8_471_296
    method, code = convert_file(tmp_path, theirs, "ganimation"), torch.full((1, 17), 0.3)
    want, _ = run_attention(theirs, faces(1), code)
    assert torch.allclose(edit(method, faces(1), code), want, atol=1e-5)


@pytest.mark.slow
def test_stargan_v2_as_released():
    """At 128 px with seven emotions; straight into a method, without the golden edits' minutes."""
    theirs = stargan_v2(Rng(), of=RELEASED)
    sizes = {name: count(network) for name, network in theirs.items()}
    assert sizes == {
        "generator": 33_632_003,
        "mapping": 6_542_272,
        "styles": 20_963_904,
        "discriminator": 20_737_671,
    }
    flat = {f"{name}.{key}": v for name, network in theirs.items() for key, v in network.items()}
    checkpoint = Checkpoint(Path(r"theirs\.ckpt"), flat)
    method = FORMATS["stargan_v2"]().method(checkpoint, EMOTIONS, 128).eval()
    checkpoint.finish()
    assert method.size == 128
    x, style = faces(1, 128), torch.randn(1, 64, generator=torch.Generator().manual_seed(1))
    want = generate(theirs["generator"], x, style, RELEASED)
    assert torch.allclose(edit(method, x, style), want, atol=1e-5)
    with torch.no_grad():
        encoded = method.G.encoder(x, torch.tensor([3]))
    assert torch.allclose(encoded, read_style(theirs["styles"], x, 3, RELEASED), atol=1e-5)


# What can be wrong --------------------------------------------------------------------------------


class Harm:
    """Unpickled, it would write a file."""

    def __reduce__(self):
        import pathlib

        return pathlib.Path.touch, (pathlib.Path("harm"),)


def test_a_checkpoint_with_code_is_not_read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"main.0.weight": torch.zeros(1), "more": Harm()}, "bad.ckpt")
    with pytest.raises(BadWeights, match=r"bad\.ckpt"):
        convert("bad.ckpt", "stargan", "out")
    assert not (tmp_path / "harm").exists() and not (tmp_path / "out").exists()


STAND_INS = {
    "pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n",
    "page": b"<!DOCTYPE html><html><title>Sign in</title>",
    "text": b"not a checkpoint",
    "empty": b"",
}


@pytest.mark.parametrize("name", STAND_INS)
def test_no_advice_to_load_unsafely(tmp_path, name):
    (tmp_path / "theirs.ckpt").write_bytes(STAND_INS[name])
    with pytest.raises(BadWeights, match=r"theirs\.ckpt") as refused:
        convert(tmp_path / "theirs.ckpt", "stargan", tmp_path / "out")
    assert "weights_only" not in str(refused.value) and "\n" not in str(refused.value)
    assert {"pointer": "lfs pull", "page": "web page"}.get(name, "damaged") in str(refused.value)


def wrap_checkpoint(name: str, theirs: dict) -> dict:
    """Checkpoints as trainings of others save them."""
    other = {key: value + 1 for key, value in theirs.items()}
    patches = {"main.0.weight": torch.ones(4, 3, 4, 4), "main.0.bias": torch.ones(4)}
    parameter = torch.nn.Parameter(torch.ones(2))
    optimizer = torch.optim.Adam([parameter])
    parameter.sum().backward()
    optimizer.step()
    return {
        "G_ema": {"G": other, "G_ema": theirs, "D": patches, "step": 7},
        "optimizer": {"netG": theirs, "optimizer": optimizer.state_dict(), "epoch": 3},
        "module": {"state_dict": {f"module.{key}": value for key, value in theirs.items()}},
        "deep": {"models": {"generator": theirs, "discriminator": patches}},
    }[name]


@pytest.mark.parametrize("name", ["G_ema", "optimizer", "module", "deep"])
def test_the_generator_of_a_training_is_found(tmp_path, name):
    theirs = sequential(3 + 7, Rng())
    method, code = (
        convert_file(tmp_path, wrap_checkpoint(name, theirs), "stargan"),
        torch.eye(7)[2:3],
    )
    assert torch.allclose(
        edit(method, faces(1), code), published_output(theirs, faces(1), code), atol=1e-5
    )
    origin = json.loads((tmp_path / "ours/config.json").read_text())["converted_from"]
    assert name == "module" or {"optimizer": "netG", "deep": "generator"}.get(name, name) in origin


@pytest.mark.parametrize("format", ["ganimation", "stargan_v2"])
def test_generators_without_known_names_are_found(tmp_path, format):
    made = {"ganimation": lambda: ganimation(17, Rng()), "stargan_v2": lambda: stargan_v2(Rng())}
    options = {"labels": ("happy", "neutral", "sad")} if format == "stargan_v2" else {}
    plain = convert_file(tmp_path, made[format](), format, **options).G.state_dict()
    (tmp_path / "inner").mkdir()
    inner = {"nets": {}, "nets_ema": made[format](), "optims": {"state": {}, "param_groups": []}}
    found = convert_file(tmp_path / "inner", inner, format, **options).G.state_dict()
    assert all(torch.equal(plain[key], found[key]) for key in plain)


def test_attributes_are_no_emotions(tmp_path):
    attributes = ("Black_Hair", "Blond_Hair", "Brown_Hair", "Male", "Young")
    with pytest.raises(BadWeights, match=r"attributes.*cannot be converted"):
        convert_file(tmp_path, sequential(3 + 5, Rng()), "stargan", labels=attributes)


WRONG = [
    ("stargan", lambda t: t.pop("main.4.weight"), r"'main\.4\.weight'"),
    ("stargan", lambda t: t.update({"new.weight": torch.ones(2)}), r"\b1\b.*'new\.weight'"),
    ("stargan", lambda t: t.update({"main.3.weight": torch.ones(2, 2)}), r"'trunk\.down1\.0\.weig"),
    ("ganmut", lambda t: None, r"\b7\b.*\b2\b"),
    ("ganimation", lambda t: None, r"theirs\.ckpt.*conv7"),
    ("stargan_v2", lambda t: None, "generator"),
    ("stargan", lambda t: t.clear() or t.update(note=torch.tensor(3)), r"theirs\.ckpt"),
]


@pytest.mark.parametrize(("format", "alter", "message"), WRONG)
def test_another_network_is_refused_by_name(tmp_path, format, alter, message):
    theirs = sequential(3 + 7, Rng())
    alter(theirs)
    with pytest.raises(BadWeights, match=message):
        convert_file(tmp_path, theirs, format)
    assert not (tmp_path / "ours").exists()


def test_labels_are_required_unless_seven(tmp_path):
    theirs = sequential(3 + 5, Rng())
    with pytest.raises(BadWeights, match=r"\b5\b"):
        convert_file(tmp_path, theirs, "stargan")
    with pytest.raises(BadWeights, match="neutral"):
        convert_file(tmp_path, theirs, "stargan", labels=("happy", "sad"))
    rng = Rng()
    linear = {"axes.weight": rng.normal(1, 2), "axes.bias": rng.normal(1), **sequential(5, rng)}
    with pytest.raises(BadWeights, match="neutral"):
        convert_file(tmp_path, linear, "ganmut", labels=("happy", "neutral"))
    with pytest.raises(UnknownNameError, match=r"'stargam'.*'stargan'"):
        convert_file(tmp_path, theirs, "stargam")


def test_command_writes_a_weight_with_its_origin(tmp_path, capsys):
    torch.save(sequential(3 + 7, Rng()), tmp_path / "200000-G.ckpt")
    out = str(tmp_path / "out")
    asked = ["convert", str(tmp_path / "200000-G.ckpt"), "--from", "stargan", "--out", out]
    assert main([*asked, "--size", str(SIZE)]) == 0
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["converted_from"].startswith("200000-G.ckpt, sha256 ")
    assert config["crop"] == "the authors' own" and config["licence"] == "other"
    assert weights.load(out, "cpu").size == SIZE
    assert config["note"] in (tmp_path / "out" / "README.md").read_text()
    assert main(["convert", str(tmp_path / "no.ckpt"), "--from", "stargan", "--out", out]) == 2
    assert str(tmp_path / "no.ckpt") in capsys.readouterr().err
