"""From nothing to a leaderboard: the plan, its order, resuming, limits of time and failures."""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import pytest

from ganmut.cli import build_parser, main, reproduce
from ganmut.cli.reproduce import make_plan
from ganmut.expression.conditional import expression_methods
from ganmut.steps import Step, execute, work_through


def parse(*words: str) -> argparse.Namespace:
    return build_parser("reproduce").parse_args(["reproduce", *words])


def plan(*words: str) -> dict[str, Step]:
    return {step.name: step for step in make_plan(parse(*words))}


def write_file(name: str, path: Path, minutes: float = 1.0, code: str = "") -> Step:
    """A step that writes a file after `code`."""
    body = f"{code}\nimport pathlib; pathlib.Path({str(path)!r}).write_text('x')"
    return Step(name, lambda: ["-c", body], lambda: path if path.is_file() else None, minutes)


def test_plan_has_judges_rows_and_bench(tmp_path, capsys):
    assert main(["reproduce", "--plan", f"--out={tmp_path}"]) == 0
    lines = [line.split("  ")[0] for line in capsys.readouterr().out.splitlines()]
    assert lines[:5] == [f"judge {name}" for name in reproduce.JUDGES]
    drawn = 4 + 3 * len(expression_methods())
    assert lines[-1] == "bench" and len(lines) == 5 + 2 * 11 + drawn + 1
    assert lines.index("train efgan") < lines.index("train efgan_cascade")
    assert not list(tmp_path.iterdir())


def test_rows_on_expressions_have_a_drawing_and_seeds(tmp_path):
    steps = plan(f"--out={tmp_path}", "--methods=smit_expression", "--seeds=2")
    assert list(steps)[5:] == [
        *("train landmarks", "bundle landmarks", "fit expression"),
        *("train smit_expression", "train smit_expression@1", "bench"),
    ]
    words = steps["train smit_expression@1"].words()
    assert words[2:4] == ["train-expressions", "smit"] and "--seed=1" in words
    folder = tmp_path / "weights" / "procedural" / "smit_expression@1"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    assert steps["train smit_expression@1"].result() == folder


def test_a_trial_renders_few_faces(tmp_path):
    steps = plan(f"--out={tmp_path}", "--methods=smit_expression", "--trial")
    for name in ("train landmarks", "fit expression"):
        assert "--faces=200" in steps[name].words(), name
    images = plan(f"--out={tmp_path}", "--methods=stargan", "--trial", "--kimg=7")
    assert "--kimg=7.0" in images["train stargan"].words()


def test_photographs_have_no_rows_on_expressions(tmp_path, capsys):
    steps = plan(f"--out={tmp_path}", "--data=folder:faces")
    assert not [name for name in steps if "expression" in name]
    words = ["--methods=smit_expression", "--data=folder:faces", f"--out={tmp_path}"]
    assert main(["reproduce", *words]) == 2
    assert main(["reproduce", "--seeds=0", f"--out={tmp_path}"]) == 2
    assert "--seeds" in capsys.readouterr().err


def test_training_takes_presets_settings_and_seed(tmp_path):
    options = ["--methods=ganimation_labels", "--kimg=7", "--seed=2", "--budget=gpu"]
    step = plan(f"--out={tmp_path}", *options, "--", "--compile")["train ganimation_labels"]
    words = step.words()
    assert words[:4] == ["-m", "ganmut", "train", "ganimation"]
    assert {"--budget=gpu", "--seed=2", "--kimg=7.0", "--code-type=labels", "--compile"} <= set(
        words
    )
    assert step.minutes == pytest.approx(45 * 7 * 128**2 / (48 * 64**2))


@pytest.mark.parametrize(
    "words, said",
    [
        (["--protocol=qick"], "unknown protocol 'qick'; did you mean 'quick'"),
        (["--trial", "--protocol=qick"], "unknown protocol 'qick'"),
        (["--", "--batch=-3"], "--batch: batch must be in"),
        (["--kimg=0"], "--kimg: kimg must be above 0"),
        (["--", "--out=elsewhere"], "--out: "),
        (["--", "--see", "3"], "--seed: "),
        (["--", "--explain"], "--explain: "),
        (["--data=/etc:x"], "/etc"),
        (["--data=folder:nowhere"], "nowhere"),
        (["--minutes=nan"], "--minutes: "),
        (["--minutes=-1"], "--minutes: "),
        (["--seeds=99999999"], "--seeds: "),
    ],
)
def test_late_steps_are_checked_before_the_first(words, said, tmp_path, capsys):
    assert main(["reproduce", f"--out={tmp_path / 'out'}", *words]) == 2
    told = capsys.readouterr()
    assert said in told.err and "{" not in told.out and not (tmp_path / "out").exists()


def test_a_file_is_no_folder_to_reproduce_in(tmp_path, capsys):
    (tmp_path / "file").write_text("mine")
    assert main(["reproduce", f"--out={tmp_path / 'file'}"]) == 2
    assert "--out: " in capsys.readouterr().err


def test_started_training_is_resumed(tmp_path):
    step = plan(f"--out={tmp_path}", "--methods=stargan")["train stargan"]
    run = tmp_path / "runs" / "stargan" / "00000-stargan-procedural-64"
    run.mkdir(parents=True)
    (run / "recipe.json").write_text("{}")
    assert step.words()[2:5] == ["train", "resume", str(run)] and step.result() is None
    (run / "weights").mkdir()
    (run / "weights" / "config.json").write_text("{}")
    assert step.result() == run / "weights"


def test_cascade_starts_from_the_trained_efgan(tmp_path):
    run = tmp_path / "runs" / "efgan" / "00000-efgan-procedural-64"
    (run / "weights").mkdir(parents=True)
    (run / "weights" / "config.json").write_text("{}")
    words = plan(f"--out={tmp_path}", "--methods=efgan,efgan_cascade")[
        "train efgan_cascade"
    ].words()
    assert f"--init-from={run}" in words and "--kimg=3.3" in words


def test_published_cascade_keeps_its_own_length(tmp_path):
    words = plan(
        f"--out={tmp_path}",
        "--methods=efgan,efgan_cascade",
        "--objective=paper",
        "--budget=paper",
    )["train efgan_cascade"].words()
    assert not [word for word in words if word.startswith("--kimg")]


def test_other_data_have_judges_of_their_own(tmp_path):
    steps = plan(f"--out={tmp_path}", "--data=folder:faces", "--methods=defgan")
    for name in ("emotion", "emotion_resnet"):
        folder = tmp_path / "weights" / "folder" / name
        folder.mkdir(parents=True)
        (folder / "config.json").write_text("{}")
    words = steps["bench"].words()
    assert f"--emotion={tmp_path}/weights/folder/emotion" in words
    assert f"--second-emotion={tmp_path}/weights/folder/emotion_resnet" in words
    assert not [word for word in words if word.startswith("--identity")]
    assert "--embedder=folder/identity" in steps["train defgan"].words()


@pytest.mark.parametrize("text", ["nobody", ",", "efgan_cascade"])
def test_unknown_rows_are_refused(text, tmp_path, capsys):
    assert main(["reproduce", f"--methods={text}", f"--out={tmp_path}"]) == 2
    assert "--methods" in capsys.readouterr().err or text == "nobody"


def test_steps_done_are_not_repeated(tmp_path, capsys):
    steps = [write_file("one", tmp_path / "1"), write_file("two", tmp_path / "2")]
    (tmp_path / "1").write_text("kept")
    assert work_through(steps, tmp_path, None) == 0
    assert (tmp_path / "1").read_text() == "kept" and (tmp_path / "2").is_file()
    assert "[1/1] two; about 1 min left" in capsys.readouterr().out
    (record,) = map(json.loads, (tmp_path / "reproduce.jsonl").read_text().splitlines())
    assert (record["step"], record["status"]) == ("two", 0)


def test_failed_step_does_not_stop_the_others(tmp_path, capsys):
    bad = write_file("bad", tmp_path / "1", code="raise SystemExit(3)")
    steps = [bad, write_file("good", tmp_path / "2")]
    assert work_through(steps, tmp_path, None) == 1
    assert (tmp_path / "2").is_file() and "bad" in capsys.readouterr().err


def test_no_step_starts_after_the_time(tmp_path):
    assert work_through([write_file("one", tmp_path / "1")], tmp_path, 0.0) == 1
    assert not (tmp_path / "1").exists()


def test_step_is_terminated_when_time_is_over(tmp_path):
    began = time.monotonic()
    assert execute(["-c", "import time; time.sleep(60)"], tmp_path, 0.3) == -15
    assert time.monotonic() - began < 20
    steps = [write_file("long", tmp_path / "1", code="import time; time.sleep(60)")]
    assert work_through(steps, tmp_path, 0.01) == 1
    assert not (tmp_path / "1").exists()


def test_steps_see_their_own_weights_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("GANMUT_HUB", "somebody/weights@main")
    code = "import os, sys; sys.exit((os.environ['GANMUT_WEIGHTS'], os.environ['GANMUT_HUB']) != "
    assert execute(["-c", f"{code}({str(tmp_path)!r}, ''))"], tmp_path, None) == 0


@pytest.mark.slow
def test_chain_ends_in_a_leaderboard(tmp_path, capfd):
    words = ["reproduce", "--trial", "--methods=stargan,smit_expression", "--device=cpu"]
    words.append("--seeds=1")
    assert main([*words, f"--out={tmp_path}"]) == 0
    board = (tmp_path / "results" / "LEADERBOARD.md").read_text()
    assert "stargan" in board and "smit_expression" in board
    assert main([*words, f"--out={tmp_path}", "--plan"]) == 0
    assert capfd.readouterr().out.count("done") == 12


def test_an_absent_device_is_refused_first(tmp_path, capsys):
    words = ["reproduce", "--device=cuda:99", f"--out={tmp_path / 'out'}"]
    assert main([*words, "--plan"]) == 0  # a plan for another machine
    assert main(words) == 2
    assert not (tmp_path / "out").exists()
