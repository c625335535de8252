"""The command line from end to end, with untrained toy editors and extractors of the real
classes."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from toys import BENCH_METHODS, TINY, TOY, ToySource, world

from bench import figures, resolve, results, run, runner
from bench.figures import canvas
from bench.metrics import METRICS
from bench.metrics.identity_distance import IdentityDistance
from bench.tables import REFERENCE_ROWS
from ganmut import interrupts, weights
from ganmut.emotions import EMOTIONS
from ganmut.methods.base import METHODS

CONTEMPT = (*EMOTIONS[:-1], "contempt")


def test_all_methods_all_metrics(bench_run, tmp_path, capsys):
    code, records = bench_run("--no-figures")
    scores = {(r["row"], r["metric"]): r for r in records if r["kind"] == "score"}
    assert code == 0
    assert {row for row, _ in scores} == {*REFERENCE_ROWS, "ganmut_rho1", *BENCH_METHODS}
    for method in BENCH_METHODS:
        assert {metric for row, metric in scores if row == method} == set(METRICS.names())
    ablation = {metric for row, metric in scores if row == "ganmut_rho1"}
    assert ablation == {"smoothness", "second_smoothness"}
    assert scores["ganmut", "fed"]["codes"] == "gamut"
    fid = scores["stargan", "fid"]
    assert (fid["status"], fid["value"]) == ("not measured", None)
    assert "--inception" in fid["note"]
    ere = scores["ganmut", "ere@1"]
    assert ere["n"] == 16 and ere["protocol_hash"] == TINY.hash and ere["seed"] == 0
    assert len(ere["weights_sha256"]) == 64 and len(ere["extractors"]["emotion"]) == 64
    assert ere["interval"][0] <= ere["value"] <= ere["interval"][1]
    assert scores["no_edit", "fed"]["value"] == pytest.approx(0, abs=1e-6)
    assert scores["ground_truth", "ground_truth_l1"]["value"] == 0
    assert sum(r["kind"] == "claim" for r in records) == 22
    text = (tmp_path / "out" / "LEADERBOARD.md").read_text()
    assert "ganmut_rho1 |" not in text.split("## ")[0]
    printed = " ".join(capsys.readouterr().out.split())
    assert "Claims of the papers" in printed and re.search(r"paper_grid \d+ s", printed)


def test_every_method_is_measured_and_drawn(bench_run, tmp_path):
    """Whatever its codes: labels, a gamut, styles or units; with its mask, flow and boxes."""
    faces = world(2, 0).images.repeat(1, 1, 4, 4)
    for name in METHODS:
        kind = METHODS[name]
        method = kind(kind.Config(width=8, blocks=1), EMOTIONS, TOY["size"], training=False)
        weights.save(tmp_path / "nine" / name, method, {"kimg": 0}, faces)
    code, records = bench_run(
        "--weights",
        str(tmp_path / "nine"),
        "--metrics",
        "au_error,edit_localisation,real_neighbour_rate",
    )
    assert code == 0
    names = ("au_error", "edit_localisation", "real_neighbour_rate")
    cells = {(r["row"], r["metric"]): r for r in records if r["kind"] == "score"}
    for name in METHODS:
        assert {cells[name, m]["status"] for m in names} == {"ok"}
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
        "mixtures_ganmut",
        "random_gganmut",
        "styles_smit",
        "transfer",
        "tsne",
    } <= drawn
    assert {name for name in drawn if "sweep" in name} == {f"sweep_{name}" for name in by_units}
    assert "wheel_gganmut" not in drawn
    text = (tmp_path / "out" / "LEADERBOARD.md").read_text()
    assert all(f"figures/{name}.png" in text for name in drawn)


def test_second_run_uses_the_cache(bench_run, monkeypatch):
    asked = ("--methods", "stargan", "--no-figures", "--metrics", "fed,accuracy")
    first = bench_run(*asked)[1]

    def never(*args):
        raise AssertionError("an edit was made again")

    monkeypatch.setattr(runner.EditorSystem, "edit", never)
    code, again = bench_run(*asked, out="again")
    assert code == 0
    values = [[r["value"] for r in records if r["kind"] == "score"] for records in (first, again)]
    assert values[0] == values[1]


def test_failing_metric_becomes_an_error_cell(bench_run, monkeypatch, tmp_path):
    def broken(self, features):
        raise RuntimeError("broken embedder")

    monkeypatch.setattr(IdentityDistance, "compute", broken)
    code, records = bench_run(
        "--methods", "stargan", "--no-figures", "--metrics", "identity_distance,accuracy"
    )
    scores = {(r["row"], r["metric"]): r for r in records if r["kind"] == "score"}
    assert code == 1
    assert scores["stargan", "identity_distance"]["status"] == "error"
    assert scores["stargan", "accuracy"]["status"] == "ok"
    assert "broken embedder" in (tmp_path / "out" / "LEADERBOARD.md").read_text()


def test_a_full_disk_costs_one_cell(bench_run, monkeypatch, capsys, tmp_path):
    append, appended = results.append, []

    def fill_disk(folder, records):
        if len(appended) == 3:
            raise OSError(28, "No space left on device", str(folder))
        appended.extend(records)
        return append(folder, records)

    monkeypatch.setattr(results, "append", fill_disk)
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / ".x.0123abcd.tmp").touch()
    arguments = ("--methods", "stargan", "--no-figures", "--metrics", "accuracy,identity_distance")
    code, records = bench_run(*arguments)
    error = capsys.readouterr().err
    assert code == 2 and len(records) == 3 and not list((tmp_path / "cache").glob(".*"))
    assert "No space left" in error and "Traceback" not in error
    monkeypatch.setattr(results, "append", append)
    assert bench_run(*arguments)[0] == 0


def test_ctrl_c_keeps_finished_systems(bench_run, monkeypatch, capsys, tmp_path):
    def interrupt(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(runner.EditorSystem, "edit", interrupt)
    code, records = bench_run("--methods", "stargan", "--no-figures", "--metrics", "accuracy")
    assert code == 130
    assert str(tmp_path / "cache") in capsys.readouterr().err
    assert {r["row"] for r in records} == set(REFERENCE_ROWS)


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (("--methods", "gamut"), "'ganmut'"),
        (("--metrics", "smothness"), "'smoothness'"),
        (("--protocol", "papr"), "'paper'"),
        (("--weights", "procedral"), "'procedural'"),
        (("--device", "tpu9"), "device"),
        (("--inception", "nowhere.pth"), "nowhere.pth"),
        (("--emotion", "procedural/emotoin"), "'procedural/emotion'"),
        (("--data", "folder:faces"), "--emotion SPEC"),
        (("--metrics", "ground_truth_l1", "--units", "procedural/units"), "--units"),
        (("--metrics", "fed", "--identity-model", "buffalo_l"), "--identity-model"),
        (("--metrics", "fed", "--inception", "nowhere.pth"), "--inception"),
        (("--metrics", "ground_truth_l1", "--no-figures", "--emotion", "x"), "--emotion"),
    ],
)
def test_user_errors_exit_with_2(arguments, part, bench_run, capsys):
    code, records = bench_run(*arguments)
    assert code == 2
    assert records == []
    assert part in capsys.readouterr().err


def test_unwritable_folder_exits_with_2(bench_run, tmp_path, capsys):
    (tmp_path / "file").write_text("not a folder")
    where = ["--out", str(tmp_path / "file" / "out"), "--cache", str(tmp_path / "cache")]
    assert run.main(["--protocol", "tiny", *where]) == 2
    assert str(tmp_path / "file" / "out") in capsys.readouterr().err


def test_run_folders_are_named_by_method(bundle, tmp_path):
    runs = tmp_path / "runs"
    for number, name in ((0, "stargan"), (1, "stargan"), (2, "ganmut")):
        folder = runs / f"0000{number}-{name}-procedural-32" / "weights"
        folder.mkdir(parents=True)
        for path in (bundle / "procedural" / name).iterdir():
            (folder / path.name).write_bytes(path.read_bytes())
    found = resolve.find_editors(str(runs))
    assert {name: Path(spec).name for name, spec in found.items()} == {
        "stargan": "00001-stargan-procedural-32",
        "ganmut": "00002-ganmut-procedural-32",
    }
    single = resolve.find_editors(str(runs / "00002-ganmut-procedural-32"))
    assert list(single) == ["ganmut"]
    assert resolve.find_editors(str(bundle / "procedural" / "ganmut")).keys() == {"ganmut"}


def test_editors_without_an_emotion_are_refused(bench_run, monkeypatch, capsys, tmp_path):
    """Before anything is measured: its row may be the last."""
    monkeypatch.setattr(
        runner, "load_faces", lambda *_: (replace(world(140, 0), emotions=CONTEMPT), None)
    )
    code, records = bench_run("--methods", "stargan,ganmut", "--no-figures")
    error = capsys.readouterr().err
    assert code == 2 and not records and "stargan has no emotion contempt" in error


def test_weights_of_two_sizes_are_refused(tmp_path):
    specs = {}
    for name, side in (("ganmut", 64), ("stargan", 128)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(json.dumps({"size": side}))
        specs[name] = str(tmp_path / name)
    with pytest.raises(resolve.UserError, match=r"64.*128"):
        resolve.common_size(specs)
    assert resolve.common_size({"ganmut": specs["ganmut"]}) == 64


@pytest.mark.parametrize(
    "config", [[1], {"kind": "editor"}, {"kind": "editor", "size": None, "method": ["a"]}]
)
def test_damaged_configs_are_the_users_errors(tmp_path, config):
    (tmp_path / "ganmut").mkdir()
    (tmp_path / "ganmut" / "config.json").write_text(json.dumps(config))
    with pytest.raises(resolve.UserError):
        resolve.find_editors(str(tmp_path))


def test_all_takes_the_commonest_size(tmp_path, caplog):
    specs = {}
    for name, side in (("expression", 128), ("ganmut", 64), ("smit", 128), ("stargan", 64)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(json.dumps({"size": side, "method": name}))
        specs[name] = str(tmp_path / name)
    methods, _ = resolve.split_ablations("all", specs)
    assert list(methods) == ["expression", "ganmut", "stargan"]  # the first takes any size
    assert "smit 128 px" in caplog.text
    assert resolve.common_size(methods) == 64
    assert resolve.common_size({"expression": specs["expression"]}) == 128


def test_all_leaves_ablations_to_claims(bundle, monkeypatch):
    monkeypatch.setenv("GANMUT_WEIGHTS", str(bundle))
    methods, ablations = resolve.split_ablations("all", resolve.find_editors("procedural"))
    assert set(methods) == set(BENCH_METHODS)
    assert list(ablations) == ["ganmut_rho1"]
    methods, ablations = resolve.split_ablations("stargan", resolve.find_editors("procedural"))
    assert (list(methods), ablations) == (["stargan"], {})


def test_further_seeds_are_measured_for_claims(bundle, tmp_path, bench_run):
    """A training from another seed has no row; claims on its method include it."""
    root = tmp_path / "seeds"
    for name in ("ganmut", "stargan", "ganmut@1"):
        shutil.copytree(bundle / "procedural" / name.partition("@")[0], root / name)
    methods, others = resolve.split_ablations("all", resolve.find_editors(str(root)))
    assert (set(methods), list(others)) == ({"ganmut", "stargan"}, ["ganmut@1"])
    code, records = bench_run("--weights", str(root), "--no-figures", "--metrics", "accuracy,fid")
    assert code == 0
    measured = {r["metric"] for r in records if r.get("row") == "ganmut@1"}
    assert measured == {"accuracy"}  # no claim reads the FID of GANmut
    verdicts = {r["number"]: r["why"] for r in records if r["kind"] == "claim"}
    assert "@1" in verdicts["5b"]
    assert "ganmut@1 |" not in (tmp_path / "out" / "LEADERBOARD.md").read_text().split("## ")[0]


def test_runs_as_a_script_from_any_folder(tmp_path):
    script = Path(run.__file__)
    ran = subprocess.run(
        [sys.executable, str(script), "--help"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "--protocol" in ran.stdout


@pytest.mark.parametrize("name", ["bench/run.py", "bench/leaderboard.py", "bench/speed/run.py"])
def test_scripts_load_the_package_once(name, tmp_path):
    """A script runs as a module of `bench`; its own file is not loaded beside it."""
    root = Path(run.__file__).parents[1]
    code = f"""
import runpy, sys
from pathlib import Path

sys.argv = [{name!r}, "--help"]
try:
    runpy.run_path({str(root / name)!r}, run_name="__main__")
except SystemExit as stop:
    assert not stop.code
modules = [(name, getattr(module, "__file__", None)) for name, module in sys.modules.items()]
inside = Path({str(root / "bench")!r})
found = [(name, file) for name, file in modules if file and inside in Path(file).parents]
found = [pair for pair in found if pair[0] not in ("__main__", "__mp_main__")]
assert found and all(name.split(".")[0] == "bench" for name, _ in found), found
assert len(found) == len(dict(map(reversed, found))), found
"""
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, capture_output=True)


@pytest.mark.parametrize(("name", "ours"), [("sklearn.manifold", False), ("bench.absent", True)])
def test_a_missing_package_is_named(name, ours, capsys):
    def fail() -> int:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    if ours:  # a fault of the program
        with pytest.raises(ModuleNotFoundError):
            interrupts.status_of(fail, extra="bench")
        return
    assert interrupts.status_of(fail, extra="bench") == 2
    said = capsys.readouterr().err
    assert "the package sklearn: " in said and "pip install -r requirements-bench.txt" in said


@pytest.mark.parametrize(
    "words, package",
    [
        (["app.py"], "gradio"),
        (["-m", "ganmut", "methods"], "torch"),
        (["bench/leaderboard.py"], "rich"),
        (["bench/speed/run.py"], "torch"),
        (["bench/speed/page.py"], "skimage"),
        (["bench/speed/scale.py"], "torch"),
        (["-m", "ganmut.expression.train_landmarks"], "torch"),
        (["-m", "ganmut.faces.landmarks.train"], "skimage"),
        (["-m", "ganmut.faces.covered_mouth.train"], "numpy"),
    ],
)
def test_programs_name_a_missing_package(words, package, tmp_path):
    lack = f"raise ModuleNotFoundError('none', name={package!r})"
    (tmp_path / f"{package}.py").write_text(lack)
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    root = Path(run.__file__).parents[1]
    ran = subprocess.run(
        [sys.executable, *words], cwd=root, env=environment, capture_output=True, text=True
    )
    assert ran.returncode == 2 and ran.stderr.count("\n") == 1
    assert f"lacks the package {package}: " in ran.stderr and "pip install -r" in ran.stderr


def test_figures_never_show_photographs(monkeypatch):
    """Whatever the data, the person in figures comes from the renderer."""
    asked = []

    class Renderer(ToySource):
        def load(self, *args, **kwargs):
            faces = super().load(*args, **kwargs)
            return replace(faces, units=torch.zeros(len(faces), 17))

    monkeypatch.setattr(canvas, "open_source", lambda spec: asked.append(spec) or Renderer())
    person = figures.rendered_person(32)
    assert person.picture.shape == person.render("happy").shape == (1, 3, 32, 32)
    assert asked == ["procedural"]


def test_records_are_plain_json(bench_run, tmp_path):
    bench_run("--methods", "stargan", "--no-figures", "--metrics", "smoothness")
    for line in (tmp_path / "out" / results.FILE).read_text().splitlines():
        json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} in the results"))
