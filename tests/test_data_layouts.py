"""The layouts in which researchers have their faces: read as handed out, defects and all."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ganmut.datasets import SOURCES, BadData, open_source
from ganmut.datasets.affectnet import COLUMNS
from ganmut.emotions import PROTOTYPES, UNITS, emotion_from_units, prototype_units


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("GANMUT_CACHE", str(tmp_path / "cache"))


def picture(path: Path, shade: int = 90) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (12, 12), (shade % 256, 60, 20)).save(path)
    return path


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def openface(
    path: Path, units: list[float], confidence: float = 0.98, header: str = "face"
) -> Path:
    """A csv as FaceLandmarkImg writes it: a space after each comma, presence columns too."""
    names = [
        header,
        "confidence",
        *(f"AU{u:02d}_r" for u in UNITS),
        *(f"AU{u:02d}_c" for u in UNITS),
    ]
    row = [0, confidence, *(5 * value for value in units), *(1.0 for _ in UNITS)]
    return write(path, f"{', '.join(names)}\n{', '.join(f'{v:.3f}' for v in row)}\n")


# One function a layout: builds it below root and gives the number of rows that can be used.


def affectnet_2017(root: Path) -> int:
    for name, count, heading in (("training", 40, True), ("validation", 11, False)):
        lists = root / "Manually_Annotated_file_lists" / f"{name}.csv"
        lists.parent.mkdir(parents=True, exist_ok=True)
        with open(lists, "w", newline="") as file:
            table = csv.writer(file)
            if heading:
                table.writerow(COLUMNS)
            for i in range(count):
                place = f"{i % 3 + 1}/{name}{i:04x}.jpg"
                picture(root / "Manually_Annotated_Images" / place, i)
                table.writerow([place, 0, 0, 12, 12, "1;2;3", i % 11, -0.1, 0.2])
    return sum(i % 11 < 8 for i in range(40)) + 8


def affectnet_8(root: Path) -> int:
    for folder, count in (("train_set", 40), ("val_set", 8)):
        for i in range(count):
            picture(root / folder / "images" / f"{i}.jpg", i)
            notes = root / folder / "annotations"
            notes.mkdir(exist_ok=True)
            np.save(notes / f"{i}_exp.npy", np.array(str(i % 8)))
            np.save(notes / f"{i}_val.npy", np.array("-0.5"))
    return 48


def affectnet_folders(root: Path) -> int:
    counts = (6, 8, 4, 3, 3, 2, 4, 2)  # in the order of AffectNet's own
    for emotion, count in enumerate(counts):
        for i in range(count):
            picture(root / "train" / str(emotion) / f"{i}.jpg", i)
        for i in range(2):
            picture(root / "val" / str(emotion) / f"{i}.jpg", i)
    return 48


def rafdb(root: Path) -> int:
    lines = []
    for i in range(42):
        split, number = ("train", f"{i + 1:05}") if i < 28 else ("test", f"{i:04}")
        picture(root / "basic/Image/aligned" / f"{split}_{number}_aligned.jpg", i)
        picture(root / "basic/Image/original" / f"{split}_{number}.jpg", i)
        lines.append(f"{split}_{number}.jpg {i % 7 + 1}\n")
    write(root / "basic/EmoLabel/list_patition_label.txt", "".join(lines))
    return 42


def rafdb_folders(root: Path) -> int:
    for i in range(42):
        split = "train" if i < 28 else "test"
        picture(root / "DATASET" / split / str(i % 7 + 1) / f"{split}_{i:05}_aligned.jpg", i)
    return 42


def fer2013(root: Path, header: str = "emotion,pixels,Usage", name: str = "fer2013.csv") -> int:
    order = [column.strip() for column in header.split(",")]
    lines = [header]
    for i in range(42):
        usage = ("Training", "Training", "Training", "Training", "PublicTest", "PrivateTest")[i % 6]
        cells = {"emotion": str(i % 7), "pixels": " ".join([str(i)] * 48 * 48), "Usage": usage}
        lines.append(",".join(cells[column] for column in order))
    write(root / name, "\n".join(lines) + "\n")
    return 42


def fer2013_icml(root: Path) -> int:
    return fer2013(root / "archive", "emotion, Usage, pixels", "icml_face_data.csv")


def fer2013_folders(root: Path) -> int:
    names = ("angry", "disgust", "fear", "happy", "neutral", "sad", "surprise")
    for i in range(42):
        picture(root / ("train" if i < 28 else "test") / names[i % 7] / f"{i}.jpg", i)
    return 42


def rafd(root: Path) -> int:
    words = (
        "angry",
        "contemptuous",
        "disgusted",
        "fearful",
        "happy",
        "neutral",
        "sad",
        "surprised",
    )
    for person in range(1, 13):
        for word in words:
            for angle in ("045", "090"):
                who = "Kid_female" if person % 2 else "Caucasian_male"
                picture(root / f"Rafd{angle}_{person:02}_{who}_{word}_frontal.jpg", person)
    return 12 * 8


def cfeed(root: Path) -> int:
    for person in range(101, 113):
        for expression in (1, 2, 7, 8, 23):
            name = f"{expression:02}_{person}_{person * 26 + expression}.jpg"
            group = "01-04/Images1" if expression < 5 else "05-08/Images2"
            picture(root / "CFEE_Database_230" / group / name, person)
    return 12 * 3


def mug(root: Path) -> int:
    for person in range(1, 9):
        name = f"{person:03}"
        inside = Path(name) if person % 2 else Path(name) / "session0"
        for emotion in ("neutral", "happiness", "anger"):
            for take in range(2):
                for frame in range(30):
                    place = inside / emotion / f"take{take:03}" / f"img_{frame:04}.jpg"
                    picture(root / "subjects3" / place, 8 * frame)
    return 8 * 3 * 2 * 5


def ckplus(root: Path) -> int:
    for person in range(5, 15):
        for number, emotion in ((1, 3), (2, 5), (3, None)):
            place = f"S{person:03}/{number:03}"
            stem = f"S{person:03}_{number:03}_"
            for frame in range(1, 11):
                picture(root / f"cohn-kanade-images/{place}/{stem}{frame:08}.png", 20 * frame)
            (root / "Emotion" / place).mkdir(parents=True)
            if emotion is not None:
                write(
                    root / f"Emotion/{place}/{stem}00000010_emotion.txt", f"   {emotion}.0000e+00\n"
                )
                facs = "   9.0e+00   4.0e+00\n   1.7e+01   0.0e+00\n   2.7e+01   0.0e+00\n"
                write(root / f"FACS/{place}/{stem}00000010_facs.txt", facs)
    return 10 * 2 * 4


def emotionnet(root: Path) -> int:
    for i in range(42):
        emotion = list(PROTOTYPES)[i % 7]
        picture(root / f"batch{i % 2}" / f"N_{i:06}.jpg", i)
        openface(root / "openface" / f"N_{i:06}.csv", prototype_units(emotion))
        picture(root / "openface" / f"N_{i:06}.jpg")  # what OpenFace draws is no picture of ours
    return 42


def celebahq(root: Path) -> int:
    lines, who = ["idx   orig_idx   orig_file"], []
    for i in range(42):
        picture(root / "CelebA-HQ-img" / f"{i}.jpg", i)
        openface(root / "openface" / f"{i}.csv", prototype_units(list(PROTOTYPES)[i % 7]))
        original = i * 4800 + 1
        lines.append(f"{i}   {original - 1}   {original:06}.jpg")
        who.append(f"{original:06}.jpg {i // 3}")
    write(root / "CelebA-HQ-to-CelebA-mapping.txt", "\n".join(lines))
    write(root / "identity_CelebA.txt", "\n".join(who))
    return 42


NO_FACE = {f"labelled {word}": 4 for word in ("none", "uncertain", "no-face")}
UNNAMED = {f"expression {n}, which names.csv does not name": 12 for n in ("08", "23")}
LAYOUTS = {
    "affectnet_2017": ("affectnet", affectnet_2017, 8, NO_FACE),
    "affectnet_8": ("affectnet", affectnet_8, 8, {}),
    "affectnet_folders": ("affectnet", affectnet_folders, 8, {}),
    "rafdb": ("rafdb", rafdb, 7, {"an original or unlisted image; the aligned ones are used": 42}),
    "rafdb_folders": ("rafdb", rafdb_folders, 7, {}),
    "fer2013": ("fer2013", fer2013, 7, {}),
    "fer2013_icml": ("fer2013", fer2013_icml, 7, {}),
    "fer2013_folders": ("fer2013", fer2013_folders, 7, {}),
    "rafd": ("rafd", rafd, 8, {"camera at 045 degrees": 96}),
    "cfeed": ("cfeed", cfeed, 3, UNNAMED),
    "mug": ("mug", mug, 3, {}),
    "ckplus": ("ckplus", ckplus, 3, {"sequence without a label": 10}),
    "emotionnet": ("emotionnet", emotionnet, 7, {}),
    "celebahq": ("celebahq", celebahq, 7, {}),
}


def load(source) -> dict:
    """Every split that has faces: a few people leave some empty."""
    splits = sorted({row.split for row in source.rows})
    return {split: source.load(split, 8, progress=False) for split in splits}


def row_of(source, key: str):
    return next(row for row in source.rows if row.key.endswith(key))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_published_layout_is_read(tmp_path, layout):
    name, build, kinds, aside = LAYOUTS[layout]
    count = build(tmp_path / "data")
    source = open_source(f"{name}:{tmp_path / 'data'}")
    assert len(source.rows) == count and len(source.emotions) == kinds
    assert source.emotions[0] == "neutral" and source.skip_counts == aside
    sets = load(source)
    assert sum(map(len, sets.values())) == count and min(map(len, sets.values())) > 0
    assert all(faces.crop == "as found" and faces.skip_counts == aside for faces in sets.values())
    if name not in ("affectnet", "rafdb", "fer2013"):
        people = [set(faces.person.tolist()) for faces in sets.values() if faces.person is not None]
        assert name == "emotionnet" or len(people) == len(sets)
        assert all(not a & b for i, a in enumerate(people) for b in people[:i])
    with_units = name in ("ckplus", "emotionnet", "celebahq")
    assert all((faces.units is not None) == with_units for faces in sets.values())


@pytest.mark.parametrize("layout", LAYOUTS)
def test_an_unreadable_picture_is_refused_or_skipped(tmp_path, layout):
    name, build, _, _ = LAYOUTS[layout]
    build(tmp_path / "data")
    row = open_source(f"{name}:{tmp_path / 'data'}").rows[0]
    if not (tmp_path / "data" / row.key).is_file():
        return  # pixels in a table: see test_fer2013_pixels_and_splits
    (tmp_path / "data" / row.key).write_bytes(b"\xff\xd8\xff\xe0 and nothing more")
    with pytest.raises(BadData, match=r"1 x unreadable image"):
        open_source(f"{name}:{tmp_path / 'data'}").load(row.split, 8, progress=False)
    source = open_source(f"{name}:{tmp_path / 'data'}?on_error=skip")
    assert source.load(row.split, 8, progress=False).skip_counts["unreadable image"] == 1


@pytest.mark.parametrize("name", sorted({name for name, *_ in LAYOUTS.values()}))
def test_wrong_folder_error_shows_the_layout(tmp_path, name):
    for spec in (name, f"{name}:{tmp_path / 'gone'}", f"{name}:{tmp_path}"):
        with pytest.raises(BadData, match=f"{re.escape(SOURCES[name].expected)}|openface"):
            open_source(spec)
    assert name in SOURCES


def test_a_spec_carries_options(tmp_path):
    rafd(tmp_path)
    both = open_source(f"rafd:{tmp_path}?angles=045,090&emotions=neutral,happy")
    assert len(both.rows) == 12 * 2 * 2 and both.emotions == ("neutral", "happy")
    with pytest.raises(BadData, match=r"rafd.*'angel'"):
        open_source(f"rafd:{tmp_path}?angel=045")
    with pytest.raises(BadData, match="on_error"):
        open_source(f"rafd:{tmp_path}?on_error=never")
    (tmp_path / "what?").mkdir()  # a question mark alone is part of the path
    with pytest.raises(BadData, match=r"what\?"):
        open_source(f"rafd:{tmp_path / 'what?'}")


# What each one says of its pictures, and its own defects


def test_affectnet_2017_ids_splits_and_rows(tmp_path):
    affectnet_2017(tmp_path)
    source = open_source(f"affectnet:{tmp_path}")
    assert row_of(source, "1/training0003.jpg").label == "surprised"
    assert row_of(source, "2/training0007.jpg").label == "contempt"
    assert row_of(source, "1/validation0006.jpg").split == "test"
    (tmp_path / "Manually_Annotated_Images/1/training0000.jpg").unlink()
    lists = tmp_path / "Manually_Annotated_file_lists/training.csv"
    lists.write_text(lists.read_text() + "1/x.jpg,0,0,1,1,,12,0,0\n2/y.jpg,0\n")
    told = (
        "1/training0000.jpg",
        "1/x.jpg",
        "'12'",
        "training.csv line 43",
    )
    with pytest.raises(BadData) as refusal:
        open_source(f"affectnet:{tmp_path}")
    assert re.search(r"\b3\b", str(refusal.value))
    assert all(part in str(refusal.value) for part in told)
    assert len(open_source(f"affectnet:{tmp_path}?on_error=skip").rows) == len(source.rows) - 1


def test_affectnet_annotations_are_never_unpickled(tmp_path):
    affectnet_8(tmp_path)
    notes = tmp_path / "train_set/annotations"
    np.save(notes / "0_exp.npy", np.array({"label": 0}, object), allow_pickle=True)
    np.save(notes / "1_exp.npy", np.array("happy"))
    (notes / "2_exp.npy").unlink()
    np.save(notes / "3_exp.npy", np.array(3))  # a number is an id as well as its text
    (notes / "4_exp.npy").write_bytes(b"\x93NUMPY")
    with pytest.raises(BadData) as refusal:
        open_source(f"affectnet:{tmp_path}")
    said = str(refusal.value)
    assert all(name in said for name in ("0.jpg", "1.jpg", "'happy'", "2.jpg", "4.jpg"))
    assert "3.jpg" not in said
    assert len(open_source(f"affectnet:{tmp_path}?on_error=skip").rows) == 44


def test_rafdb_ids_and_splits(tmp_path):
    rafdb(tmp_path)
    source = open_source(f"rafdb:{tmp_path}")
    assert row_of(source, "train_00001_aligned.jpg").label == "surprised"
    assert row_of(source, "train_00007_aligned.jpg").label == "neutral"
    assert row_of(source, "test_0031_aligned.jpg").split == "test"
    table = tmp_path / "basic/EmoLabel/list_patition_label.txt"
    write(table, table.read_text() + "train_00099.jpg 3\ntrain_00098.jpg 8\n")
    with pytest.raises(BadData) as refusal:
        open_source(f"rafdb:{tmp_path}")
    for words in ("train_00099_aligned.jpg: missing file", "unknown label '8', ids are 1..7"):
        assert words in str(refusal.value)
    write(table, "surprise.jpg\n")
    with pytest.raises(BadData, match=r"train_00001\.jpg 5"):
        open_source(f"rafdb:{tmp_path}")


@pytest.mark.parametrize("build", [fer2013, fer2013_icml])
def test_fer2013_pixels_and_splits(tmp_path, build):
    build(tmp_path)
    source = open_source(f"fer2013:{tmp_path}")
    assert [row.label for row in source.rows[:7]] == [
        "angry",
        "disgusted",
        "fearful",
        "happy",
        "sad",
        "surprised",
        "neutral",
    ]
    test = source.load("test", 48, progress=False)
    assert test.grey and sorted(test.faces()[:, 0, 0, 0].tolist()) == list(range(5, 42, 6))
    table = next(tmp_path.rglob("*.csv"))
    line = table.read_text().splitlines()[1]
    wrong = [line.replace("0 0", "0", 1), line.replace("Training", "Test")]
    write(table, table.read_text() + "\n".join(wrong) + "\n")
    with pytest.raises(BadData, match="2 rows cannot be used"):
        open_source(f"fer2013:{tmp_path}")


def test_affectnet_folders_in_another_order(tmp_path):
    order = ("anger", "contempt", "disgust", "fear", "happy", "neutral", "sad", "surprise")
    for number, count in enumerate((4, 2, 2, 3, 8, 6, 4, 3)):
        for i in range(count):
            picture(tmp_path / "train" / str(number) / f"{i}.jpg")
            picture(tmp_path / "val" / str(number) / f"{i}.jpg")
    with pytest.raises(BadData, match=r"4 8.*label_map"):
        open_source(f"affectnet:{tmp_path}")
    names = ",".join(f"{number}:{name}" for number, name in enumerate(order))
    source = open_source(f"affectnet:{tmp_path}?label_map={names}")
    assert row_of(source, "train/4/0.jpg").label == "happy" and len(source.emotions) == 8


def test_label_map_names_numbers_and_leaves_out(tmp_path):
    for number in range(4):
        for i in range(3):
            picture(tmp_path / str(number) / f"{i}.jpg")
    with pytest.raises(BadData, match=r"label '0' is a number.*label_map=0:neutral"):
        open_source(f"folder:{tmp_path}")
    source = open_source(f"folder:{tmp_path}?label_map=0:neutral,1:Fear,2:happy,3:none")
    assert source.emotions == ("neutral", "happy", "fearful")
    assert source.skip_counts == {"labelled 3": 3}
    with pytest.raises(BadData, match=r"label_map names '7'; the labels are 0, 1, 2, 3"):
        open_source(f"folder:{tmp_path}?label_map=0:neutral,7:happy")
    for text in ("neutral,happy", "0:", ":happy", "0:neutral,0:happy"):
        with pytest.raises(BadData, match="LABEL:EMOTION"):
            open_source(f"folder:{tmp_path}?label_map={text}")


def test_rafd_names(tmp_path, capsys):
    rafd(tmp_path)
    source = open_source(f"rafd:{tmp_path}")
    row = row_of(source, "Rafd090_03_Kid_female_contemptuous_frontal.jpg")
    assert (row.label, row.person) == ("contempt", "03")
    picture(tmp_path / "Rafd090_01_Caucasian_female_happy.jpg")
    with pytest.raises(BadData, match="RaFD"):
        open_source(f"rafd:{tmp_path}")
    assert len(open_source(f"rafd:{tmp_path}?on_error=skip").rows) == len(source.rows)
    assert re.search(r"\b1\b", capsys.readouterr().out)


def test_cfeed_compounds_are_named_by_names_csv(tmp_path):
    cfeed(tmp_path)
    sheet = "id,name\n1,Neutral\n2,Happy\n7,Disgusted\n8,Happily surprised\n23,Awed\n"
    write(tmp_path / "CFEE_Database_230/names.csv", sheet)
    source = open_source(f"cfeed:{tmp_path}")
    assert source.emotions == ("neutral", "happy", "disgusted", "awed", "happily surprised")
    assert len(source.rows) == 60 and row_of(source, "23_101_2649.jpg").person == "101"
    write(tmp_path / "CFEE_Database_230/names.csv", "id,name\n1,\n")
    with pytest.raises(BadData, match="columns id,name"):
        open_source(f"cfeed:{tmp_path}")


def test_mug_shows_the_middle_of_a_take(tmp_path):
    mug(tmp_path)
    source = open_source(f"mug:{tmp_path}?frames=2")
    rows = [row for row in source.rows if "002/session0/happiness/take001" in row.key]
    assert [row.key[-8:-4] for row in rows] == ["0012", "0017"]
    assert {(row.label, row.person) for row in rows} == {("happy", "002")}
    picture(tmp_path / "subjects3/003/misc/take000/img_0000.jpg")
    assert "misc" in open_source(f"mug:{tmp_path}").emotions  # a name is a name
    picture(tmp_path / "subjects3/stray.jpg")
    with pytest.raises(BadData, match="take"):
        open_source(f"mug:{tmp_path}")
    with pytest.raises(BadData, match=r"frames.*'all'"):
        open_source(f"mug:{tmp_path}?frames=all")


def test_ckplus_peaks_neutral_and_facs(tmp_path):
    ckplus(tmp_path)
    source = open_source(f"ckplus:{tmp_path}")
    first, last = row_of(source, "S005_001_00000001.png"), row_of(source, "S005_001_00000010.png")
    assert (first.label, last.label, last.person) == ("neutral", "disgusted", "S005")
    units = dict(zip(UNITS, last.units, strict=True))
    assert (units[9], units[17], units[26], units[12]) == (0.8, 0.6, 1.0, 0)
    assert not any(first.units)
    assert not any("_00000005.png" in row.key for row in source.rows)
    write(tmp_path / "Emotion/S005/001/S005_001_00000010_emotion.txt", "9.0e+00")
    with pytest.raises(BadData, match=r"S005/001: S005_001_00000010_emotion.txt or its FACS"):
        open_source(f"ckplus:{tmp_path}")


def test_openface_defects(tmp_path):
    emotionnet(tmp_path)
    folder = tmp_path / "openface"
    (folder / "N_000000.csv").unlink()
    openface(folder / "N_000001.csv", prototype_units("happy"), confidence=0.1)
    write(folder / "N_000002.csv", "face, confidence\n0, 0.9\n")
    openface(folder / "N_000003.csv", [2.0] * 17)
    with pytest.raises(BadData) as refusal:
        open_source(f"emotionnet:{tmp_path}")
    for words in (
        "N_000000.jpg",
        "N_000001.jpg",
        "N_000002.jpg",
        "N_000003.jpg",
        "AU01_r .. AU45_r",
        "0..1",
    ):
        assert words in str(refusal.value)
    assert len(open_source(f"emotionnet:{tmp_path}?on_error=skip").rows) == 38


def test_openface_units_join_any_layout(tmp_path):
    rafd(tmp_path / "data")
    names = [path.stem for path in (tmp_path / "data").iterdir()]
    one = tmp_path / "all.csv"
    columns = ["file_name", "confidence", *(f"AU{u:02d}_r" for u in UNITS)]
    lines = [",".join(map(str, [f"{name}.jpg", 0.9, *[2.5] * 17])) for name in names]
    # Two faces in one picture: the surer one counts.
    lines.append(",".join(map(str, [f"{names[0]}.jpg", 0.95, *[5.0] * 17])))
    write(one, "\n".join([",".join(columns), *lines]))
    source = open_source(f"rafd:{tmp_path / 'data'}?openface={one}&angles=045,090")
    units = torch.cat([faces.units for faces in load(source).values()])
    assert sorted(units[:, 0].tolist())[-2:] == [0.5, 1.0] and len(units) == 192
    write(one, "AU01_r\n1\n")
    with pytest.raises(BadData, match="file_name"):
        open_source(f"rafd:{tmp_path / 'data'}?openface={one}")


@pytest.mark.parametrize("table", [False, True])
def test_openface_must_tell_images_apart(tmp_path, table):
    """One result for two images of one name would give both the units of either."""
    for emotion in ("neutral", "happy"):
        for i in range(9):
            picture(tmp_path / emotion / f"img_{i}.png")
    flat, nested = tmp_path / "flat", tmp_path / "nested"
    names = [f"{emotion}/img_{i}" for emotion in ("neutral", "happy") for i in range(9)]
    for name in names:
        openface(flat / f"{Path(name).name}.csv", [1.0] * 17)
        openface(nested / f"{name}.csv", [1.0] * 17)
    if table:
        flat, nested = tmp_path / "flat.csv", tmp_path / "nested.csv"
        columns = ["name", *(f"AU{u:02d}_r" for u in UNITS)]
        for file, listed in ((flat, [Path(n).name for n in names]), (nested, names)):
            lines = [",".join(map(str, [f"{name}.png", *[1] * 17])) for name in listed]
            write(file, "\n".join([",".join(columns), *lines]))
    with pytest.raises(BadData, match=r"happy/img_0\.png and neutral/img_0\.png"):
        open_source(f"folder:{tmp_path}?openface={flat}&on_error=skip")
    assert len(open_source(f"folder:{tmp_path}?openface={nested}").rows) == 18
    # OpenFace found no face in one of them: it does not get the other's.
    picture(tmp_path / "neutral" / "img_9.png")
    with pytest.raises(BadData, match=r"neutral/img_9\.png: no row"):
        open_source(f"folder:{tmp_path}?openface={nested}")
    picture(tmp_path / "sad" / "img_0.png")
    assert len(open_source(f"folder:{tmp_path}?openface={nested}&on_error=skip").rows) == 18


def test_celebahq_splits_and_emotions(tmp_path):
    celebahq(tmp_path)
    source = open_source(f"celebahq:{tmp_path}")
    assert row_of(source, "/33.jpg").split in ("train", "extractor")
    assert row_of(source, "/39.jpg").split == "test"
    assert row_of(source, "/8.jpg").label == "happy" and row_of(source, "/8.jpg").person == "2"
    picture(tmp_path / "CelebA-HQ-img/900.jpg")
    with pytest.raises(BadData, match="CelebA-HQ-to-CelebA-mapping"):
        open_source(f"celebahq:{tmp_path}")


@pytest.mark.parametrize("emotion", PROTOTYPES)
def test_units_name_the_emotion_that_they_show(emotion):
    full = prototype_units(emotion)
    for share in (0.5, 1.0):
        assert emotion_from_units([share * value for value in full]) == emotion
    assert emotion_from_units([0.2 * value for value in full]) == "neutral"
