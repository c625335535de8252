"""Neutral faces whose units show an emotion are labelled with it, in training alone."""

import csv
import re
import sys

import pytest
import torch
from PIL import Image

from ganmut.datasets.base import BadData, open_source
from ganmut.datasets.relabel import predict_emotions, relabel_neutral
from ganmut.emotions import UNITS

SIZE = 32


def make_units(n: int, smile: float) -> torch.Tensor:
    units = torch.rand(n, len(UNITS), generator=torch.manual_seed(n)) * 0.2
    units[:, UNITS.index(12)] = smile
    return units


def test_relabel_finds_a_smile_and_changes_nothing_else():
    units = torch.cat(
        [make_units(380, 0.02), make_units(20, 0.8), make_units(30, 0.8), make_units(5, 0.02)]
    )
    emotion = torch.tensor([0] * 400 + [1] * 35)
    shares = predict_emotions(units, emotion, emotions=3)
    assert shares.shape == (435, 3) and torch.allclose(shares.sum(1), torch.ones(435).double())
    assert not shares[:, 2].any()  # an emotion without labels has no probability
    after = relabel_neutral(shares, emotion)
    assert after[:380].sum() <= 3  # neutral faces without a smile
    assert after[380:400].sum() >= 19  # neutral faces that smile
    assert after[400:].tolist() == [1] * 35  # other labels stay
    assert relabel_neutral(shares, emotion, threshold=1.0).tolist() == emotion.tolist()


def test_frequent_emotions_are_not_relabelled():
    units = torch.cat([make_units(200, 0.02), make_units(20, 0.8), make_units(200, 0.8)])
    emotion = torch.tensor([0] * 220 + [1] * 200)
    assert torch.equal(
        relabel_neutral(predict_emotions(units, emotion, emotions=2), emotion), emotion
    )


def test_too_few_faces_of_an_emotion_raise():
    with pytest.raises(BadData, match=r"\b5\b"):
        predict_emotions(make_units(23, 0.1), torch.tensor([0] * 20 + [1] * 3), emotions=2)


def photographs(root, smiling: range, happy: range):
    """200 faces a split, of which some smile and some are labelled happy, all others neutral."""
    names = [f"AU{unit:02d}" for unit in UNITS]
    with open(root / "metadata.csv", "w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["file_name", "emotion", "split", *names])
        for split in ("train", "test"):
            for number in range(200):
                smile = 0.9 if number in smiling else 0.02
                path = root / f"{split}{number:03d}.png"
                Image.new("RGB", (SIZE, SIZE), (200, number, 40)).save(path)
                units = [smile if name == "AU12" else 0.01 * (number % 7) for name in names]
                table.writerow(
                    [path.name, "happy" if number in happy else "neutral", split, *units]
                )
    return root


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Nine smiles of 24 are labelled neutral."""
    return photographs(tmp_path_factory.mktemp("faces"), range(176, 200), range(185, 200))


def test_only_the_training_split_changes(folder, capsys):
    plain = open_source(f"folder:{folder}")
    source = open_source(f"relabel:folder:{folder}?relabel_threshold=0.5")
    before, after = (s.load("train", SIZE) for s in (plain, source))
    assert source.emotions == plain.emotions
    smiling = before.units[:, UNITS.index(12)] > 0.5
    assert (smiling & (before.emotion == 0)).any() and (~smiling).any()
    assert torch.equal(after.emotion, smiling.long())
    assert after.source == f"relabel:{before.source}"
    assert after.fingerprint != before.fingerprint
    assert f"neutral {(~smiling).sum()}, happy " in capsys.readouterr().out
    assert torch.equal(source.load("test", SIZE).emotion, plain.load("test", SIZE).emotion)
    assert source.load("test", SIZE).fingerprint == plain.load("test", SIZE).fingerprint


def test_min_label_prob_leaves_out_improbable_labels(tmp_path, capsys):
    """Six of 30 faces called happy do not smile; of the neutral ones four do."""
    photographs(tmp_path, range(166, 194), range(170, 200))
    plain = open_source(f"folder:{tmp_path}")
    sure = open_source(f"relabel:folder:{tmp_path}?relabel_threshold=1&min_label_prob=0.5")
    before, after = (s.load("train", SIZE) for s in (plain, sure))
    smiling, happy = before.units[:, UNITS.index(12)] > 0.5, before.emotion == 1
    kept = smiling | ~happy  # neutral faces stay, whatever they show
    assert 0 < (~kept).sum() == after.skip_counts["emotion not shown"]
    assert re.search(rf"\b{(~kept).sum()}\b", capsys.readouterr().out)
    assert (smiling & ~happy).any()
    assert torch.equal(after.faces(), before.faces(kept.nonzero()[:, 0]))
    assert torch.equal(after.emotion, before.emotion[kept])
    assert after.fingerprint != before.fingerprint
    with pytest.raises(BadData, match="happy"):
        open_source(f"relabel:folder:{tmp_path}?min_label_prob=0.9999").load("train", SIZE)
    test = [s.load("test", SIZE) for s in (plain, sure)]
    assert len(test[0]) == len(test[1]) and test[0].fingerprint == test[1].fingerprint


def test_invalid_options_and_missing_units_raise(folder, tmp_path):
    for bad in ("0", "1.5", "much", "nan"):
        with pytest.raises(BadData, match="relabel_threshold"):
            open_source(f"relabel:folder:{folder}?relabel_threshold={bad}")
    for bad in ("1", "-0.1", "much", "nan"):
        with pytest.raises(BadData, match="min_label_prob"):
            open_source(f"relabel:folder:{folder}?min_label_prob={bad}")
    with pytest.raises(BadData, match="relabel:folder:PATH"):
        open_source("relabel:")
    for name in ("neutral", "happy"):
        (tmp_path / name).mkdir()
        for number in range(9):
            Image.new("RGB", (SIZE, SIZE), (9, number, 9)).save(tmp_path / name / f"{number}.png")
    with pytest.raises(BadData, match="ganmut units"):
        open_source(f"relabel:folder:{tmp_path}").load("train", SIZE, progress=False)


def test_missing_scikit_learn_raises(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.linear_model", None)
    with pytest.raises(BadData, match=r"pip install 'ganmut\[data\]'"):
        predict_emotions(make_units(20, 0.1), torch.tensor([0] * 10 + [1] * 10), emotions=2)


def test_old_option_names_are_read(folder):
    source = open_source(f"relabel:folder:{folder}?certain=0.5&doubt=0.25&on_bad=skip")
    assert (source.relabel_threshold, source.min_label_prob) == (0.5, 0.25)
    assert source.source.row_filter.on_error == "skip"
