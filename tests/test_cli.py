"""The command line: its help, its commands, how it shows errors of the library."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
import types
from pathlib import Path

import numpy as np
import pytest
import torch

from bench import cli as bench
from ganmut.cli import COMMANDS, build_parser, main, option
from ganmut.device import bf16, select_device
from ganmut.edit_picture import choose_weight
from ganmut.emotions import EMOTIONS
from ganmut.errors import ParameterError, describe_error
from ganmut.images import write_png
from ganmut.interrupts import Terminated
from ganmut.registry import nearest_name
from ganmut.text import quote

ROOT = Path(__file__).parent.parent


def test_help_does_not_import_torch():
    code = """
import sys
from ganmut.cli import main
try:
    main(["--help"])
except SystemExit as end:
    assert end.code == 0
assert "torch" not in sys.modules and "numpy" not in sys.modules
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert all(name in done.stdout for name in COMMANDS)


COMPLETE = """
source "$1"; shift
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
_shtab_ganmut
printf '%s\\n' "${COMPREPLY[@]}"
"""


def test_bash_completes_commands_options_and_paths(tmp_path, capsys):
    with pytest.raises(SystemExit) as end:
        main(["--print-completion", "bash"])
    assert end.value.code == 0
    (tmp_path / "script").write_text(capsys.readouterr().out)
    (tmp_path / "photo.png").touch()
    (tmp_path / "photos").mkdir()

    def complete(*words: str) -> list[str]:
        call = ["bash", "-c", COMPLETE, "bash", "./script", "ganmut", *words]
        done = subprocess.run(call, cwd=tmp_path, capture_output=True, text=True)
        assert not done.stderr
        return done.stdout.split()

    assert complete("ex") == ["export"]
    assert complete("edit", "--emo") == ["--emotion"]
    assert complete("train", "ganmut", "--lambda-i") == ["--lambda-info"]
    assert sorted(complete("edit", "ph")) == ["photo.png", "photos"]
    assert complete("export", "photos/wheel", "--onnx", "ph") == ["photos"]


def test_options_in_zsh_have_three_fields(capsys):
    with pytest.raises(SystemExit):
        main(["--print-completion", "zsh"])
    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    options = [line for line in lines if line.startswith('"--') and line.endswith('"')]
    assert any("--path[" in line for line in options)
    # What is left of [explanation]:value:action; zsh completes nothing behind a further one.
    wrong = [line for line in options if line.replace(r"\:", "").count(":") not in (0, 2)]
    assert not wrong


def test_completion_without_its_package(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "shtab", None)
    assert main(["--print-completion", "zsh"]) == 2
    said = capsys.readouterr().err
    assert "ganmut[completion]" in said and said.count("\n") == 1


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name, capsys):
    with pytest.raises(SystemExit) as end:
        main([name, "--help"])
    assert end.value.code == 0
    assert COMMANDS[name].HELP.split()[0] in capsys.readouterr().out


@pytest.mark.parametrize(
    "words", [["polish"], ["methods", "--colour"], ["train", "stargan", "--kimg", "x"], []]
)
def test_bad_command_lines_end_with_one_sentence(words, capsys):
    with pytest.raises(SystemExit) as stop:
        main(words)
    said = capsys.readouterr().err
    assert stop.value.code == 2 and said.startswith("error: ") and said.count("\n") == 1
    assert "--help" in said


def test_errors_are_shown_with_their_options():
    assert describe_error(ValueError("no")) == "no"
    assert describe_error(ParameterError("test_faces", "no"), option) == "--test-faces: no"
    assert describe_error(ParameterError("code, units", "no"), option) == "--code, --units: no"


@pytest.mark.parametrize(
    "weights, method, expected",
    [
        (None, None, ("photos", "expression")),
        (None, "defgan", ("photos", "defgan")),
        (None, "stargan", ("procedural", "stargan")),
        (None, "expression", ("photos", "expression")),
        (None, "gamut", ("photos", "gamut")),
        (None, "photos/ganmut", ("photos/ganmut", "")),
        ("photos", "defgan", ("photos", "defgan")),
        ("photos", None, ("photos", "ganmut")),
        ("photos/ganmut", None, ("photos/ganmut", "")),
    ],
)
def test_method_and_weights_make_one_spec(weights, method, expected):
    argv = ["edit", "a.png", "--out", "b.png"]
    argv += ["--weights", weights] if weights else []
    argv += ["--method", method] if method else []
    args = build_parser("edit").parse_args(argv)
    assert choose_weight(args.weights, args.method, args.paths) == expected


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--weights", "photos/ganmut", "--method", "defgan"], ["--weights, --method", "defgan"]),
        (["--weights", "photos/ganmut", "--method", "ganmut"], ["--weights, --method", "ganmut"]),
        (["--intensity", "0.5", "--code", "0", "0"], ["--intensity"]),
        (["--intensity", "1", "--units", "12=1"], ["--intensity"]),
    ],
)
def test_edit_refuses_an_option_without_effect(options, named, tmp_path, capsys):
    out = tmp_path / "out.png"
    emotion = [] if "--intensity" in options else ["--emotion", "happy"]
    assert main(["edit", "a.png", "--out", str(out), *emotion, *options]) == 2
    error = capsys.readouterr().err
    assert all(word in error for word in named) and not out.exists()


def test_train_prints_recipe_or_explanation(capsys):
    with pytest.raises(SystemExit) as end:
        main(["train", "ganmut", "--dry-run", "--explain"])
    assert end.value.code == 2
    error = capsys.readouterr().err
    assert "--explain" in error and "--dry-run" in error


def test_rendered_pictures_take_weights_of_rendered_faces(tmp_path):
    folder = tmp_path / "faces"
    assert main(["faces", "--out", str(folder), "--per-emotion", "1", "--size", "32"]) == 0
    picture, photo = str(folder / "000_happy.png"), str(tmp_path / "photo.png")
    write_png(photo, np.zeros((8, 8, 3), np.uint8))
    assert choose_weight(None, None, [picture, str(folder)]) == ("procedural", "ganmut")
    assert choose_weight(None, "defgan", [picture]) == ("procedural", "defgan")
    assert choose_weight(None, "defgan", [picture, photo]) == ("photos", "defgan")
    assert choose_weight(None, "expression", [picture]) == ("procedural", "expression")
    assert choose_weight(None, "wheel", [picture]) == ("photos", "wheel")


MAINS = {"ganmut": (main, ["methods"]), "bench": (bench.main, ["--methods", "stargan"])}


@pytest.mark.parametrize("program", MAINS)
@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (MemoryError(), 2, "memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried ..."), 2, "memory"),
        (ParameterError("test_faces", "too many"), 2, "--test-faces"),
        (OSError(28, "No space left on device", "/tmp/x"), 2, "/tmp/x"),
        (OSError("broken"), 2, "broken"),
        (ValueError("x\ny" * 100_000), 2, "x yx y"),
        (UnicodeEncodeError("utf-8", "a\udcff", 1, 2, "surrogates"), 2, "surrogates"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (Terminated(), 143, "terminated"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
def test_errors_end_with_one_sentence(program, error, status, said, monkeypatch, capsys):
    def fail(*_: object) -> int:
        raise error

    run, words = MAINS[program]
    monkeypatch.setattr(bench, "resolve", fail)
    monkeypatch.setattr(COMMANDS["methods"], "run", fail)
    assert run(words) == status
    text = capsys.readouterr().err.strip()
    assert said in text and "\n" not in text and len(text) < 2100


@pytest.mark.parametrize("program", MAINS)
def test_the_end_of_options_is_no_value(program, capsys):
    words = {"ganmut": ["edit", "face.png", "--emotion=--"], "bench": ["--methods=--"]}[program]
    assert MAINS[program][0](words) == 2
    assert words[-1] in capsys.readouterr().err


@pytest.mark.parametrize("program", MAINS)
def test_faults_of_a_program_are_raised(program, monkeypatch):
    def fail(*_: object) -> int:
        raise RuntimeError("a fault of ours")

    run, words = MAINS[program]
    monkeypatch.setattr(bench, "resolve", fail)
    monkeypatch.setattr(COMMANDS["methods"], "run", fail)
    with pytest.raises(RuntimeError, match="ours"):
        run(words)


@pytest.mark.parametrize("name", ["out", "cache"])
def test_outputs_that_are_broken_links_are_refused(name, tmp_path, capsys):
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    (tmp_path / "to nowhere").symlink_to(tmp_path / "nowhere")
    for link in ("a", "to nowhere"):
        path = str(tmp_path / link)
        assert bench.main(["--methods", "stargan", f"--{name}", path]) == 2
        assert path in capsys.readouterr().err
        if name == "out":
            assert main(["align", str(tmp_path), "--out", path]) == 2
            assert path in capsys.readouterr().err


LONG = [
    ["edit", "a.png", "--out", "b.png", "--emotion={}"],
    ["edit", "a.png", "--out", "b.png", "--emotion", "happy", "--units={}"],
    ["edit", "a.png", "--out", "b.png", "--emotion", "happy", "--face={}"],
    ["edit", "a.png", "--out", "b.png", "--emotion", "happy", "--intensity={}"],
    ["edit", "{}", "--out", "b.png", "--emotion", "happy"],
    ["train", "{}"],
    ["train", "ganmut", "--data={}"],
    ["train", "ganmut", "--device={}"],
    ["train-extractor", "{}", "--out", "x"],
    ["train-extractor", "emotion", "--out={}"],
    ["train-expressions", "stargan", "--out={}"],
    ["fit-expressions", "--data={}", "--out", "x"],
    ["fit-transport", "--data={}", "--out", "x"],
    ["align", "x", "--out", "y", "--face={}"],
    ["methods", "--{}"],
    ["{}"],
]


@pytest.mark.parametrize("words", LONG, ids=" ".join)
@pytest.mark.parametrize("piece", ["x", "two words ", "it's \n "])
def test_long_values_are_repeated_shortened(words, piece, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_png("a.png", np.zeros((64, 64, 3), np.uint8))
    value = piece * (100_000 // len(piece))
    try:
        assert main([word.replace("{}", value) for word in words]) == 2
    except SystemExit as end:  # of argparse
        assert end.code == 2
    text = capsys.readouterr().err
    said = text[text.index("error: ") :]
    assert len(said) < 1200 and value[:100] not in said and len(said.splitlines()) == 1


def test_values_are_quoted():
    assert quote("short") == "'short'" and quote(7) == "7"
    assert quote(10**5000) == "a number of thousands of digits"
    for long in ("x" * 100_000, "\x00" * 100, [7] * 10**6, {"x" * 300: 1}):
        assert len(quote(long)) == 80


def test_outputs_are_checked_before_the_work(tmp_path, capsys, monkeypatch):
    def late(*_: object, **__: object) -> None:
        raise AssertionError("the work began")

    monkeypatch.setattr("ganmut.datasets.open_source", late)
    monkeypatch.setattr("ganmut.expression.rendered_landmarks.landmark_set", late)
    monkeypatch.setattr("ganmut.expression.conditional.labelled_expressions", late)
    (tmp_path / "file").write_text("")
    for words in (
        ["train-extractor", "emotion"],
        ["fit-expressions", "--data", "procedural"],
        ["train-expressions", "smit"],
        ["fit-transport"],
    ):
        assert main([*words, "--out", str(tmp_path / "file" / "x")]) == 2
        assert "is no folder" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["cuda", "cuda:7", "mps", "tpu", "cuda:-2"])
def test_devices_that_are_not_there_are_refused(name, monkeypatch):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: False)
    with pytest.raises(ParameterError, match="use cpu"):
        select_device(name)


@pytest.mark.parametrize(("major", "native"), [(7, False), (8, True)])
def test_emulated_bfloat16_is_not_used(major, native, monkeypatch):
    """GPUs before Ampere have no arithmetic of it: PyTorch emulates it, slower than float32."""
    gpu = types.SimpleNamespace(major=major)
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device", contextlib.nullcontext)
    monkeypatch.setattr("torch.cuda.current_device", lambda: 0)
    monkeypatch.setattr("torch.cuda.get_device_properties", lambda device: gpu)
    monkeypatch.setattr("torch.cuda._check_bf16_tensor_supported", lambda device: True)
    assert bf16(torch.device("cuda")) is native


def test_long_names_are_near_to_none():
    start = time.monotonic()
    assert nearest_name("happy" * 10**7, EMOTIONS) is None and nearest_name("hapy", EMOTIONS)
    assert time.monotonic() - start < 1
