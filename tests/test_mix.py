"""Mixtures: sources side by side as one set; and pictures that are moved and lit at random."""

from pathlib import Path

import pytest
import torch
from PIL import Image

from ganmut import images
from ganmut.datasets import concat
from ganmut.datasets.base import BadData, open_source
from ganmut.training import presets
from ganmut.training.sampler import Sampler

SIZE = 32


def folder(root, emotions, mode="RGB"):
    for emotion, count in emotions.items():
        for number in range(count):
            path = root / emotion / f"{number:02d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (SIZE, SIZE), (200, 3 * number, 40)).convert(mode).save(path)
    return f"folder:{root}"


@pytest.fixture
def mixture(tmp_path, monkeypatch):
    monkeypatch.setattr(concat, "MIN_FACES", 8)
    few = folder(tmp_path / "few", {"neutral": 30, "happy": 30, "sad": 7}, "L")
    many = folder(tmp_path / "many", {"neutral": 30, "sad": 30, "bored": 30})
    return f"{few} + {many}"


def test_concat_joins_emotions_and_drops_rare_ones(mixture):
    faces = open_source(mixture).load("train", SIZE, progress=False)
    assert sorted(faces.emotions) == ["bored", "happy", "neutral", "sad"]
    assert faces.emotions[0] == "neutral"
    sad = faces.emotion == faces.emotions.index("sad")
    assert faces.source_id[sad].unique().tolist() == [1]
    neutral = faces.emotion == 0
    assert faces.source_id[neutral].unique().tolist() == [0, 1]
    assert faces.grey and faces.units is None


def test_what_a_mixture_leaves_out_is_counted(mixture, capsys):
    """Rare emotions, and the same reason of two sources."""
    for part in mixture.split(" + "):
        (Path(part.removeprefix("folder:")) / "neutral" / "00.psd").write_bytes(b"8BPS")
    faces = open_source(mixture).load("train", SIZE, progress=False)
    alone = open_source(mixture.partition(" + ")[0]).load("train", SIZE, progress=False)
    rare = int((alone.emotion == alone.emotions.index("sad")).sum())
    counts = faces.skip_counts
    assert counts["format .psd is not read"] == 2
    assert counts["an emotion with fewer than 8 faces"] == rare > 0
    assert f"left out {rare} faces of an emotion" in capsys.readouterr().out


def test_colour_stays_where_all_have_it(tmp_path):
    count = {"neutral": 40, "happy": 40}
    spec = " + ".join(folder(tmp_path / name, count) for name in "ab")
    faces = open_source(spec).load("train", SIZE, progress=False)
    assert not faces.grey and faces.source_id.bincount().min() > 15


def test_balanced_sampling_is_even_over_sources(mixture):
    faces = open_source(mixture).load("train", SIZE, progress=False)
    settings = {"batch": 500, "size": SIZE, "balanced": True}
    sampler = Sampler(
        faces,
        presets.resolve_settings("ganmut", "stable", "cpu", **settings)[0],
        torch.device("cpu"),
    )
    rows = sampler.rows(0)
    cells = torch.bincount(faces.emotion[rows] + 10 * faces.source_id[rows])
    assert cells[cells > 0].min() > 70 and (cells > 0).sum() == 5


def test_rendered_faces_join_a_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(concat, "MIN_FACES", 4)
    spec = folder(tmp_path, {"neutral": 40, "happy": 40}) + " + procedural"
    faces = open_source(spec).load("train", SIZE, 80, progress=False)
    assert faces.emotions[0] == "neutral" and len(faces.emotions) == 7
    assert faces.source_id[faces.emotion > 1].unique().tolist() == [1]


@pytest.mark.parametrize(
    ("spec", "words"),
    [("{} + ", "SPEC"), ("{0} + {0}", "20"), ("{0} + {0}?a=1", "no option")],
)
def test_what_is_no_mixture_is_refused(tmp_path, spec, words):
    source = folder(tmp_path, {"neutral": 3, "sad": 3})
    with pytest.raises(BadData, match=words):
        open_source(spec.format(source)).load("train", SIZE, progress=False)


def test_jitter_is_small_and_repeatable():
    ramp = torch.linspace(-0.8, 0.8, SIZE).expand(6, 3, SIZE, SIZE).contiguous()
    again = [images.augment(ramp, 1.0, torch.Generator().manual_seed(3)) for _ in range(2)]
    assert torch.equal(*again)
    assert torch.allclose(images.augment(ramp, 0.0, torch.Generator()), ramp, atol=1e-5)
    change = (again[0] - ramp).abs().mean(dim=(1, 2, 3))
    assert change.min() > 0.005 and change.max() < 0.3
    assert images.augment(ramp, 3.0, torch.Generator()).abs().max() <= 1


def test_a_jitter_beyond_sense_is_refused():
    with pytest.raises(ValueError, match="augment"):
        presets.resolve_settings("ganmut", "stable", "cpu", augment=4.0)
