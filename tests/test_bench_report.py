"""Claims from numbers, and tables that never mix hashes."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from bench import leaderboard, report, results
from bench.claims import ABSENT, FAILS, HOLDS, OPEN, Claim, Less, Term, claims, judge
from bench.metrics import Score
from bench.metrics.base import by_face
from bench.protocol import PROTOCOLS, Protocol, protocol
from bench.results import Result
from bench.session import ClaimRecord
from ganmut.emotions import EMOTIONS
from ganmut.registry import Unknown


def score(value: float, spread: float = 0.01, seed: int = 0, parts: dict | None = None) -> Score:
    draws = {"": value + spread * np.random.default_rng(seed).normal(size=200)}
    for i, (name, part) in enumerate((parts or {}).items()):
        draws[name] = part + spread * np.random.default_rng(100 + i + seed).normal(size=200)
    return Score(value, 10, parts or {}, (value - spread, value + spread), {}, draws)


def verdict(a: Score, b: Score) -> str:
    claim = Claim("x", "a < b", "a paper", (Less(Term("a", "fed"), Term("b", "fed")),))
    return judge(claim, {("a", "fed"): a, ("b", "fed"): b}).verdict


# Claims -------------------------------------------------------------------------------------------


def test_a_clear_order_holds_and_its_opposite_does_not():
    assert verdict(score(1.0), score(2.0)) == HOLDS
    assert verdict(score(2.0), score(1.0)) == FAILS


def test_an_unclear_order_is_undecided():
    assert verdict(score(1.0, 1.0), score(1.1, 1.0, seed=1)) == OPEN


def test_draws_are_paired():
    # Both jump with the faces drawn, together: the difference is sure where either alone is not.
    g = np.random.default_rng(0)
    jump = g.normal(size=200)
    a, b = (Score(v, 10, draws={"": v + jump}) for v in (1.0, 1.1))
    assert verdict(a, b) == HOLDS


def test_paired_means_share_their_draws():
    class Sure:
        protocol = Protocol("toy", n_test=32, n_fid=8, n_accuracy=8, n_smooth=8, n_ere=16)

    hard = np.random.default_rng(0).normal(size=32)
    a, b = (by_face({"all": hard + shift}, Sure) for shift in (0.0, 0.5))
    assert np.allclose(b.draws[""] - a.draws[""], 0.5)


def test_a_missing_row_is_not_measured():
    claim = Claim("x", "a < b", "a paper", (Less(Term("a", "fed"), Term("b", "fed")),))
    found = judge(claim, {("a", "fed"): score(1.0)})
    assert found.verdict == ABSENT
    assert found.why == "b has no fed"


def test_every_part_must_hold_and_one_that_fails_decides():
    smooth = {e: 0.3 for e in EMOTIONS[1:]}
    rough = {e: 0.7 for e in EMOTIONS[1:]}
    first = claims(EMOTIONS, ("ganmut", "stargan"))[0]

    def ask(a, b):
        return judge(first, {("ganmut", "smoothness"): a, ("stargan", "smoothness"): b})

    assert ask(score(0.3, parts=smooth), score(0.7, parts=rough)).verdict == HOLDS
    one_worse = {**smooth, "sad": 0.9}
    found = ask(score(0.4, parts=one_worse), score(0.7, parts=rough))
    assert found.verdict == FAILS
    assert "sad: ganmut 0.90, stargan 0.70 (no" in found.why


def test_the_papers_figures_make_the_papers_claims_hold():
    """The published values, put in as if we had measured them, must bear out what the paper says of
    them.
    """
    three = ("ganmut", "gganmut", "stargan")
    published = {
        "fed": (0.71, 18.32, 4.89), "ere@1": (0.025, 0.020, 0.038), "ere@2": (0.025, 0.018, 0.037),
        "accuracy": (91.1, 98.5, 95.2),
    }  # fmt: skip
    scores = {
        (row, metric): score(value, 1e-4, seed=i)
        for metric, values in published.items()
        for i, (row, value) in enumerate(zip(three, values, strict=True))
    }
    table3 = dict(zip(EMOTIONS, (87.8, 99.2, 96.5, 91.6, 87.5, 77.4, 97.9), strict=True))
    scores["ganmut", "accuracy"] = score(91.1, 1e-4, parts=table3)
    smooth = {
        "stargan": (0.79, 0.44, 0.43, 0.49, 0.55, 0.59),
        "ganmut": (0.38, 0.38, 0.35, 0.37, 0.36, 0.33),
    }  # fmt: skip
    for row, values in smooth.items():
        parts = dict(zip(EMOTIONS[1:], values, strict=True))
        scores[row, "smoothness"] = score(float(np.mean(values)), 1e-4, parts=parts)
    scores["ganmut_rho1", "smoothness"] = score(0.6, 1e-4)
    found = {v.number: v.verdict for v in (judge(c, scores) for c in claims(EMOTIONS, three))}
    assert set(found.values()) == {HOLDS}
    assert len(found) == 7


# Results and tables -------------------------------------------------------------------------------

BASE = Result(
    row="ganmut", metric="fed", metric_version=1, status="ok", value=1.5,
    interval=(1.4, 1.6), n=400, parts={}, intervals={}, unit="",
    higher_is_better=False, note="", protocol="default",
    protocol_hash="aaa", data="procedural", split="test", size=64, data_fingerprint="faces",
    weights="procedural", weights_sha256="w1", extractors={"emotion": "e1"}, seed=0, commit="c",
    device="CPU", dtype="float32", seconds=1.0, evidence_seconds=2.0, time="2026-01-01T00:00:00Z",
)  # fmt: skip


def write(folder, *records):
    results.append(folder, list(records))
    return report.board(results.read(folder))


def test_lines_are_appended_and_come_back_whole(tmp_path):
    results.append(tmp_path, [BASE])
    results.append(tmp_path, [replace(BASE, row="stargan")])
    found = results.read(tmp_path)
    assert [r["row"] for r in found] == ["ganmut", "stargan"]
    assert Result(**{**found[0], "interval": tuple(found[0]["interval"])}) == BASE


def test_a_line_cut_short_by_a_kill_is_passed_over(tmp_path):
    results.append(tmp_path, [BASE])
    with open(tmp_path / results.FILE, "a") as file:
        file.write('{"row": "gan')
    assert len(results.read(tmp_path)) == 1


def test_nan_never_reaches_the_file():
    empty = results.measured(Score(float("nan"), 3, {"sad": float("nan")}))
    assert empty["value"] is None
    assert empty["parts"] == {"sad": None}
    json.dumps(empty, allow_nan=False)


@pytest.mark.parametrize(
    "field", [{"protocol_hash": "bbb"}, {"data_fingerprint": "others"}, {"seed": 1}]
)
def test_only_the_newest_protocol_data_and_seed_are_shown(field, tmp_path):
    found = write(tmp_path, replace(BASE, row="stargan", **field), BASE)
    assert found.rows == ["ganmut"]
    assert found.left_out == 1


@pytest.mark.parametrize("field", [{"metric_version": 0}, {"extractors": {"emotion": "e0"}}])
def test_a_column_has_one_version_and_one_judge(field, tmp_path):
    found = write(tmp_path, replace(BASE, row="stargan", **field), BASE)
    assert found.rows == ["ganmut"]


def test_a_row_has_one_weight(tmp_path):
    old = replace(BASE, metric="accuracy", weights_sha256="w0")
    found = write(tmp_path, old, BASE)
    assert found.metrics == ["fed"]


def test_the_newest_number_counts(tmp_path):
    found = write(tmp_path, BASE, replace(BASE, value=2.5))
    assert found.cells["ganmut", "fed"]["value"] == 2.5


def test_ends_come_first_and_ablations_not_at_all(tmp_path):
    ablation = replace(BASE, row="ganmut_rho1", training={"ablation_of": "ganmut"})
    real = replace(BASE, row="real", weights_sha256="real")
    assert write(tmp_path, ablation, BASE, real).rows == ["real", "ganmut"]


def claim(time: str, said: str, sha: str = "w1") -> ClaimRecord:
    shared = {
        name: getattr(BASE, name)
        for name in ClaimRecord.__dataclass_fields__
        if hasattr(BASE, name)
    }
    own = {
        "number": "1",
        "sentence": "a < b",
        "source": "a paper",
        "verdict": said,
        "why": "numbers",
    }
    return ClaimRecord(
        **{**shared, **own, "time": time, "weights": {"ganmut": sha}, "kind": "claim"}
    )


def test_claims_are_those_of_the_weights_shown(tmp_path):
    found = write(tmp_path, BASE, claim("1", HOLDS), claim("2", FAILS, "w0"))
    assert [c["verdict"] for c in found.claims] == [HOLDS]


def test_a_run_of_fewer_methods_does_not_take_a_verdict_away(tmp_path):
    found = write(tmp_path, BASE, claim("1", HOLDS), claim("2", ABSENT))
    assert [c["verdict"] for c in found.claims] == [HOLDS]
    found = write(tmp_path, claim("3", FAILS))
    assert [c["verdict"] for c in found.claims] == [FAILS]


def test_the_leaderboard_says_what_must_be_said(tmp_path):
    failed = replace(BASE, metric="fid", status="error", value=None, interval=None, note="broken")
    found = write(tmp_path, BASE, failed, replace(BASE, row="real", weights_sha256="real", n=200))
    text = leaderboard.markdown(found, tmp_path)
    assert "FED ↓" in text
    assert "1.50 [1.40, 1.60]" in text
    assert "| error |" in text and "fid, ganmut: broken" in text
    assert "fed, real: n = 200" in text
    assert ".71" in text  # the paper's
    assert "FED is never read alone" in text
    assert "from one seed" in text
    assert "rendered, not photographed" in text


def test_report_without_results_says_what_to_run(tmp_path, capsys):
    assert report.main(["--out", str(tmp_path)]) == 2
    assert "run `python bench/run.py" in capsys.readouterr().err


def test_report_writes_the_leaderboard_again(tmp_path, capsys):
    results.append(tmp_path, [BASE])
    assert report.main(["--out", str(tmp_path)]) == 0
    assert "1.50" in (tmp_path / "LEADERBOARD.md").read_text()
    assert "Leaderboard" in capsys.readouterr().out


# Protocols ----------------------------------------------------------------------------------------


def test_every_field_but_the_name_is_hashed():
    default = PROTOCOLS["default"]
    assert replace(default, name="other").hash == default.hash
    assert (
        len({replace(default, seed=1).hash, replace(default, n_test=401).hash, default.hash}) == 3
    )


def test_an_unknown_protocol_says_what_is_near():
    with pytest.raises(Unknown, match="did you mean 'default'"):
        protocol("defualt")


def test_the_papers_protocol_has_the_papers_sizes():
    paper = PROTOCOLS["paper"]
    assert (paper.n_test, paper.n_accuracy, paper.budget, paper.steps, paper.ere_batch) == (
        3500, 3500, 441, 11, 16,
    )  # fmt: skip


def test_ere_takes_whole_batches():
    with pytest.raises(ValueError, match="multiple of 16"):
        replace(PROTOCOLS["default"], n_ere=30)
