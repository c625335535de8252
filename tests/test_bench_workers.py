"""The bench in several processes: the results of one."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from toys import world

from bench import run
from ganmut import weights
from ganmut.emotions import EMOTIONS
from ganmut.methods.base import METHODS

TIMES = ("time", "seconds", "feature_seconds", "crc32")
METRICS = "accuracy,ground_truth_l1,fed,edit_localisation"


@pytest.fixture(scope="module")
def editors(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("weights") / "toys"
    faces = world(2, 0).images.repeat(1, 1, 4, 4)
    for name in ("ganmut", "stargan"):
        torch.manual_seed(0)
        kind = METHODS[name]
        method = kind(kind.Config(width=8, blocks=1), EMOTIONS, 32, training=False)
        weights.save(root / name, method, {"kimg": 0}, faces)
    return root


def measure(editors: Path, folder: Path, workers: int) -> list[dict]:
    words = ["--protocol=quick", f"--metrics={METRICS}", "--device=cpu", f"--weights={editors}"]
    words += [f"--out={folder / 'out'}", f"--cache={folder / 'cache'}", f"--workers={workers}"]
    assert run.main([*words, "--no-figures"]) == 0
    lines = (folder / "out" / "results.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in lines]
    return [{k: v for k, v in record.items() if k not in TIMES} for record in records]


def test_two_processes_measure_what_one_does(editors, tmp_path, capfd, caplog):
    # A warning of the command line, which each process resolves for itself.
    shutil.copytree(editors / "stargan", editors / "larger")
    config = json.loads((editors / "larger" / "config.json").read_text())
    (editors / "larger" / "config.json").write_text(json.dumps(config | {"size": 64}))
    one, two = (measure(editors, tmp_path / str(n), n) for n in (1, 2))
    assert "left out" in caplog.text and "left out" not in capfd.readouterr().err
    assert one == two and len(one) > 15
    rows = [record["row"] for record in one if record["kind"] == "score"]
    assert list(dict.fromkeys(rows)) == [
        "real_split",
        "no_edit",
        "ground_truth",
        "ganmut",
        "stargan",
    ]
    assert {r["status"] for r in one if r.get("row") in ("ganmut", "stargan")} == {"ok"}


def test_no_processes_are_refused(tmp_path, capsys):
    folders = ["--out", str(tmp_path / "out"), "--cache", str(tmp_path / "cache")]
    assert run.main(["--workers", "0", *folders]) == 2
    assert "--workers" in capsys.readouterr().err
