"""The command line from end to end: untrained toy editors of the real classes, real extractors,
rendered-like faces.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from toys import BENCHED, TINY, TOY, ToySource, world

from bench import figures, results, roster, run, runner
from bench.figures import canvas
from bench.metrics import METRICS
from bench.metrics.identity_distance import Identity
from ganmut import weights
from ganmut.emotions import EMOTIONS
from ganmut.methods.base import METHODS


def test_all_methods_all_metrics(bench_run, tmp_path, capsys):
    code, records = bench_run("--no-figures")
    scores = {(r["row"], r["metric"]): r for r in records if r["kind"] == "score"}
    assert code == 0
    assert {row for row, _ in scores} == {"real", "identity", "oracle", "ganmut_rho1", *BENCHED}
    for method in BENCHED:
        assert {metric for row, metric in scores if row == method} == set(METRICS.names())
    assert [metric for row, metric in scores if row == "ganmut_rho1"] == ["smoothness"]
    fid = scores["stargan", "fid"]
    assert (fid["status"], fid["value"]) == ("not measured", None)
    assert "pass --inception PATH or go online" in fid["note"]
    ere = scores["ganmut", "ere@1"]
    assert ere["n"] == 16 and ere["protocol_hash"] == TINY.hash and ere["seed"] == 0
    assert len(ere["weights_sha256"]) == 64 and len(ere["extractors"]["emotion"]) == 64
    assert ere["interval"][0] <= ere["value"] <= ere["interval"][1]
    assert scores["identity", "fed"]["value"] == pytest.approx(0, abs=1e-6)
    assert scores["oracle", "oracle"]["value"] == 0
    assert sum(r["kind"] == "claim" for r in records) == 13
    text = (tmp_path / "out" / "LEADERBOARD.md").read_text()
    assert "ganmut_rho1 |" not in text.split("## ")[0]
    printed = " ".join(capsys.readouterr().out.split())
    assert "Claims of the papers" in printed and re.search(r"paper_grid \d+ s", printed)


def test_every_registered_method_is_measured_and_drawn(bench_run, tmp_path):
    """Whatever its codes: labels, a gamut, styles or units; with its mask, flow and boxes."""
    faces = world(2, 0).images.repeat(1, 1, 4, 4)
    for name in METHODS:
        kind = METHODS[name]
        method = kind(kind.Config(width=8, blocks=1), EMOTIONS, TOY["size"], training=False)
        weights.save(tmp_path / "nine" / name, method, {"kimg": 0}, faces)
    code, records = bench_run(
        "--weights", str(tmp_path / "nine"), "--metrics", "au_error,concentration,tsne"
    )
    assert code == 0
    cells = {(r["row"], r["metric"]): r for r in records if r["kind"] == "score"}
    for name in METHODS:
        assert {cells[name, m]["status"] for m in ("au_error", "concentration", "tsne")} == {"ok"}
    by_units = {name for name in METHODS if "units" in cells[name, "au_error"]["parts"]}
    assert by_units == {"ganimation", "defgan", "efgan", "efgan_cascade"}
    drawn = {path.stem for path in (tmp_path / "out" / "figures").iterdir()}
    assert {
        "sheet",
        "gamut_ganmut",
        "faces_gganmut",
        "wheel_ganmut",
        "strip_happy",
        "change",
        "change_ganimation_defgan",
        "flow_defgan",
        "boxes",
        "tsne",
    } <= drawn
    assert {name for name in drawn if "sweep" in name} == {f"sweep_{name}" for name in by_units}
    assert "wheel_gganmut" not in drawn
    text = (tmp_path / "out" / "LEADERBOARD.md").read_text()
    assert all(f"figures/{name}.png" in text for name in drawn)


def test_a_second_run_makes_nothing_again(bench_run, monkeypatch):
    asked = ("--methods", "stargan", "--no-figures", "--metrics", "fed,accuracy")
    first = bench_run(*asked)[1]

    def never(*args):
        raise AssertionError("an edit was made again")

    monkeypatch.setattr(runner.EditorRow, "edit", never)
    code, again = bench_run(*asked, out="again")
    assert code == 0
    values = [[r["value"] for r in records if r["kind"] == "score"] for records in (first, again)]
    assert values[0] == values[1]


def test_a_failing_metric_is_a_row_and_the_run_goes_on(bench_run, monkeypatch, tmp_path):
    def broken(self, evidence):
        raise RuntimeError("the embedder is upside down")

    monkeypatch.setattr(Identity, "compute", broken)
    code, records = bench_run(
        "--methods", "stargan", "--no-figures", "--metrics", "identity,accuracy"
    )
    scores = {(r["row"], r["metric"]): r for r in records if r["kind"] == "score"}
    assert code == 1
    assert scores["stargan", "identity"]["status"] == "error"
    assert scores["stargan", "accuracy"]["status"] == "ok"
    assert "upside down" in (tmp_path / "out" / "LEADERBOARD.md").read_text()


def test_ctrl_c_says_how_to_go_on(bench_run, monkeypatch, capsys):
    def interrupted(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(runner.EditorRow, "edit", interrupted)
    code, records = bench_run("--methods", "stargan", "--no-figures", "--metrics", "accuracy")
    assert code == 130
    assert "the same command goes on" in capsys.readouterr().err
    assert {r["row"] for r in records} == {"real", "identity", "oracle"}  # what was finished


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--methods", "gamut"), "unknown method 'gamut'; did you mean 'ganmut'?"),
        (("--metrics", "smothness"), "unknown metric 'smothness'; did you mean 'smoothness'?"),
        (("--protocol", "papr"), "unknown protocol 'papr'; did you mean 'paper'?"),
        (("--weights", "procedral"), "no weights 'procedral'; did you mean 'procedural'?"),
        (("--device", "tpu9"), "device"),
        (("--inception", "nowhere.pth"), "there is no such file"),
        (("--emotion", "procedural/emotoin"), "did you mean 'procedural/emotion'"),
        (("--data", "folder:faces"), "--emotion SPEC"),
    ],
)
def test_what_the_user_can_mend_ends_with_a_sentence(arguments, said, bench_run, capsys):
    code, records = bench_run(*arguments)
    assert code == 2
    assert records == []
    assert said in capsys.readouterr().err


def test_a_folder_that_cannot_be_written_is_said_before_the_work(bench_run, tmp_path, capsys):
    (tmp_path / "file").write_text("not a folder")
    where = ["--out", str(tmp_path / "file" / "out"), "--cache", str(tmp_path / "cache")]
    assert run.main(["--protocol", "tiny", *where]) == 2
    assert "choose another folder" in capsys.readouterr().err


def test_run_folders_go_by_their_method(bundle, tmp_path):
    runs = tmp_path / "runs"
    for number, name in ((0, "stargan"), (1, "stargan"), (2, "ganmut")):
        folder = runs / f"0000{number}-{name}-procedural-32" / "weights"
        folder.mkdir(parents=True)
        for path in (bundle / "procedural" / name).iterdir():
            (folder / path.name).write_bytes(path.read_bytes())
    found = roster.discover(str(runs))
    assert {name: Path(spec).name for name, spec in found.items()} == {
        "stargan": "00001-stargan-procedural-32",
        "ganmut": "00002-ganmut-procedural-32",
    }
    single = roster.discover(str(runs / "00002-ganmut-procedural-32"))
    assert list(single) == ["ganmut"]
    assert roster.discover(str(bundle / "procedural" / "ganmut")).keys() == {"ganmut"}


def test_weights_of_two_sizes_are_refused_with_both(tmp_path):
    specs = {}
    for name, side in (("ganmut", 64), ("stargan", 128)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(json.dumps({"size": side}))
        specs[name] = str(tmp_path / name)
    with pytest.raises(roster.UserError, match="ganmut 64 px, stargan 128 px"):
        roster.one_size(specs)
    assert roster.one_size({"ganmut": specs["ganmut"]}) == 64


def test_all_leaves_ablations_to_the_claims(bundle, monkeypatch):
    monkeypatch.setenv("GANMUT_WEIGHTS", str(bundle))
    methods, ablations = roster.pick_methods("all", roster.discover("procedural"))
    assert set(methods) == set(BENCHED)
    assert list(ablations) == ["ganmut_rho1"]
    methods, ablations = roster.pick_methods("stargan", roster.discover("procedural"))
    assert (list(methods), ablations) == (["stargan"], {})


def test_more_seeds_are_measured_for_the_claims(bundle, tmp_path, bench_run):
    """A training of another seed has no row of its own; every claim that reads it asks it too."""
    root = tmp_path / "seeds"
    for name in ("ganmut", "stargan", "ganmut@1"):
        shutil.copytree(bundle / "procedural" / name.partition("@")[0], root / name)
    methods, others = roster.pick_methods("all", roster.discover(str(root)))
    assert (set(methods), list(others)) == ({"ganmut", "stargan"}, ["ganmut@1"])
    code, records = bench_run("--weights", str(root), "--no-figures", "--metrics", "accuracy,fid")
    assert code == 0
    measured = {r["metric"] for r in records if r.get("row") == "ganmut@1"}
    assert measured == {"accuracy"}  # no claim reads the FID of GANmut
    verdicts = {r["number"]: r["why"] for r in records if r["kind"] == "claim"}
    assert "trainings: the first" in verdicts["5b"] and "@1" in verdicts["5b"]
    assert "ganmut@1 |" not in (tmp_path / "out" / "LEADERBOARD.md").read_text().split("## ")[0]


def test_runs_as_a_script_from_anywhere(tmp_path):
    script = Path(run.__file__)
    told = subprocess.run(
        [sys.executable, str(script), "--help"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "--protocol" in told.stdout


def test_photographs_are_never_drawn(monkeypatch):
    """Whatever the data, the person in figures comes from the renderer."""
    asked = []

    class Renderer(ToySource):
        pass

    monkeypatch.setattr(canvas, "open_source", lambda spec: asked.append(spec) or Renderer())
    person = figures.rendered_person(32)
    assert person.picture.shape == person.answer("happy").shape == (1, 3, 32, 32)
    assert asked == ["procedural"]


def test_records_are_plain_json(bench_run, tmp_path):
    bench_run("--methods", "stargan", "--no-figures", "--metrics", "smoothness")
    for line in (tmp_path / "out" / results.FILE).read_text().splitlines():
        json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} in the results"))
