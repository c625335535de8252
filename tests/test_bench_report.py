"""Claims from numbers, and tables that never mix hashes."""

from __future__ import annotations

import io
import json
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

from bench import leaderboard, readme, report, results, tables
from bench.claims import Claim, Less, Term, claims
from bench.metrics import METRICS, Score
from bench.metrics.base import by_face
from bench.protocol import PROTOCOLS, Protocol, protocol
from bench.results import Result
from bench.runner import ClaimRecord
from bench.verdicts import ABSENT, FAILS, HOLDS, OPEN, judge, over_seeds
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


NINE = (
    "stargan",
    "stargan_v2",
    "smit",
    "ganimation",
    "ganmut",
    "gganmut",
    "defgan",
    "efgan",
    "efgan_cascade",
)


def published(labels: str) -> dict:
    """The papers' values as if we had measured them; where a paper shows pictures or says "lower"
    without a number, a number that says the same. labels: the row of GANmut's GANimation.
    """
    five = ("stargan", labels, "smit", "ganmut", "gganmut")
    table = {
        "fed": (4.89, 2.17, 1.89, 0.71, 18.32),
        "ere@1": (0.038, 0.036, 0.028, 0.025, 0.020),
        "ere@2": (0.037, 0.037, 0.029, 0.025, 0.018),
        "accuracy": (95.1, 74.1, 83.5, 91.4, 98.5),
    }
    scores = {
        (row, metric): score(value, 1e-4, seed=i)
        for metric, values in table.items()
        for i, (row, value) in enumerate(zip(five, values, strict=True))
    }
    table3 = dict(zip(EMOTIONS, (87.8, 99.2, 96.5, 91.6, 87.5, 77.4, 97.9), strict=True))
    scores["ganmut", "accuracy"] = score(91.1, 1e-4, parts=table3)
    smooth = {
        "stargan": (0.79, 0.44, 0.43, 0.49, 0.55, 0.59),
        "ganmut": (0.38, 0.38, 0.35, 0.37, 0.36, 0.33),
    }
    for row, values in smooth.items():
        parts = dict(zip(EMOTIONS[1:], values, strict=True))
        scores[row, "smoothness"] = score(float(np.mean(values)), 1e-4, parts=parts)
    scores["ganmut_rho1", "smoothness"] = score(0.6, 1e-4)
    for row, fid, near, focus in (("defgan", 3.82, 0.3, 0.8), ("ganimation", 4.75, 0.4, 0.6)):
        scores[row, "fid"] = score(fid)
        scores[row, "identity"] = score(near, parts=dict.fromkeys(EMOTIONS, near))
        scores[row, "concentration"] = score(focus)
    for row, error in (("efgan", 0.25), ("efgan_cascade", 0.15)):
        for metric in ("au_error", "oracle"):
            scores[row, metric] = score(error, parts=dict.fromkeys(EMOTIONS, error))
        scores[row, "identity"] = score(0.3)
    for k in (1, 2):
        reached = {"stargan": 0.010, "stargan_v2": 0.030}
        for row, error in reached.items():
            known = scores.get((row, f"ere@{k}"), score(error, 1e-4))
            parts = {"equal": error}
            scores[row, f"ere@{k}"] = score(known.value, 1e-4, seed=k, parts=parts)
    return scores


@pytest.mark.parametrize("labels", ["ganimation", "ganimation_labels"])
def test_the_papers_figures_make_the_papers_claims_hold(labels):
    put = claims(EMOTIONS, (*NINE, labels))
    found = {c.number: judge(c, published(labels)) for c in put}
    assert {number: v.why for number, v in found.items() if v.verdict != HOLDS} == {}
    assert list(found) == [
        "1",
        "2",
        "3",
        "4, setting 1",
        "4, setting 2",
        "5a",
        "5b",
        "6a",
        "6b",
        "7",
        "8a",
        "8b",
        "9",
    ]
    said = "with labels" if labels == "ganimation_labels" else "with action units"
    assert said in found["3"].sentence and said in found["4, setting 2"].sentence


def test_every_claim_can_fail():
    """The published values turned round: a claim that still holds would test nothing."""
    scores = published("ganimation")
    for claim in claims(EMOTIONS, NINE):
        turned = replace(claim, parts=tuple(Less(p.large, p.small) for p in claim.parts))
        assert judge(turned, scores).verdict == FAILS, claim.number


def test_a_row_that_is_missing_leaves_its_claims_open():
    scores = {key: s for key, s in published("ganimation").items() if key[0] != "smit"}
    found = {c.number: judge(c, scores) for c in claims(EMOTIONS, NINE)}
    assert found["3"].verdict == ABSENT and "smit has no fed" in found["3"].why
    assert found["7"].verdict == HOLDS


def test_large_intensities_are_the_expressions_not_neutral():
    scores = published("ganimation")
    parts = {**dict.fromkeys(EMOTIONS, 0.15), "neutral": 9.0}
    scores["efgan_cascade", "au_error"] = score(1.4, parts=parts)
    (claim,) = (c for c in claims(EMOTIONS, NINE) if c.number == "8a")
    found = judge(claim, scores)
    assert found.verdict == HOLDS
    assert found.why.startswith("expressions: efgan_cascade 0.15, efgan 0.25 (yes")


def test_what_could_make_a_claim_hold_for_a_poor_reason_is_told():
    (claim,) = (c for c in claims(EMOTIONS, NINE) if c.number == "7")
    scores = published("ganimation") | {("defgan", "accuracy"): score(15.0)}
    assert "beside it accuracy: defgan 15.0, ganimation 74.1" in judge(claim, scores).why


def test_other_seeds_must_agree():
    claim = Claim("x", "a < b", "a paper", (Less(Term("a", "fed"), Term("b", "fed")),))
    scores = {("a", "fed"): score(1.0), ("b", "fed"): score(2.0)}
    assert over_seeds(claim, scores) == judge(claim, scores)
    agreeing = over_seeds(claim, scores | {("a@1", "fed"): score(1.5)})
    assert agreeing.verdict == HOLDS
    assert "the first holds, @1 holds" in agreeing.why
    both = scores | {("a@1", "fed"): score(1.5), ("b@1", "fed"): score(1.2)}
    assert over_seeds(claim, both).verdict == OPEN
    assert "@1 does not hold" in over_seeds(claim, both).why


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
    return tables.board(results.read(folder))


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


def grid(rows=NINE, ends=("real", "identity", "oracle")) -> list[Result]:
    """A result for every cell, as wide as they get."""
    wide = {"value": 0.0652, "interval": (0.0463, 0.0902)}
    return [
        replace(
            BASE,
            row=row,
            metric=name,
            unit=METRICS[name].unit,
            weights_sha256=row,
            **wide,
            parts={"happy": 0.1, "AU 1": 0.2},
            intervals={"happy": (0.0463, 0.0902)},
        )
        for row in (*ends, *rows)
        for name in METRICS
    ]


@pytest.mark.parametrize(("width", "parts"), [(120, 3), (80, 5)])
def test_a_terminal_shows_every_number_whole(width, parts, tmp_path):
    results.append(tmp_path, grid())
    console = Console(width=width, record=True, file=io.StringIO())
    report.show(console, tables.board(results.read(tmp_path)))
    lines = console.export_text().splitlines()
    assert max(map(len, lines)) <= width
    numbers = [line for line in lines if line.startswith("│ efgan_cascade")]
    assert len(numbers) == parts  # the equal budget among them
    shares = [name for name in METRICS if METRICS[name].unit == "%"]
    whole = 12 * (len(METRICS.names()) - len(shares))
    assert sum(line.count("0.0463–0.0902") for line in lines) == whole
    for name in METRICS:
        assert METRICS[name].title.split()[0] in "\n".join(lines), name


def test_no_main_table_is_wider_than_six_metrics(tmp_path):
    results.append(tmp_path, grid())
    main = tables.main_tables(tables.board(results.read(tmp_path)))
    assert [len(head) for _, head, _ in main] == [7, 6]
    shown = [name for _, head, _ in main for name in head[1:]]
    assert len(set(shown)) == len(METRICS.names())
    assert all(len(lines) == 12 for _, _, lines in main)


def test_parts_without_intervals_have_a_table_of_their_own(tmp_path):
    results.append(tmp_path, grid(("ganmut",), ()))
    with_intervals, values = tables.parts_tables(tables.board(results.read(tmp_path)), "au_error")
    assert with_intervals == (["row", "happy"], [["ganmut", "0.100 [0.0463, 0.0902]"]])
    assert values == (["row", "AU 1"], [["ganmut", "0.200"]])


def test_more_seeds_are_for_the_claims_only(tmp_path):
    found = write(tmp_path, BASE, replace(BASE, row="ganmut@1"), claim("1", HOLDS))
    assert found.rows == ["ganmut"]
    assert "from one seed" in leaderboard.markdown(found, tmp_path)
    again = replace(claim("2", HOLDS), weights={"ganmut": "w1", "ganmut@1": "w2"})
    text = leaderboard.markdown(write(tmp_path, again), tmp_path)
    assert "other seeds (ganmut@1)" in text and "from one seed" not in text


def test_claims_that_are_put_no_more_are_not_shown(tmp_path):
    old = replace(claim("1", HOLDS), number="3 (part)")
    found = write(tmp_path, BASE, replace(claim("1", FAILS), number="7"), old, claim("1", HOLDS))
    assert [c["number"] for c in found.claims] == ["1", "7"]


def test_figures_are_shown_under_their_captions(tmp_path):
    (tmp_path / "figures").mkdir()
    for kind in leaderboard.CAPTIONS:
        (tmp_path / "figures" / f"{kind}_x.png").touch()
    text = leaderboard.markdown(write(tmp_path, BASE), tmp_path)
    for kind, caption in leaderboard.CAPTIONS.items():
        assert f"{caption}\n\n![{kind} x](figures/{kind}_x.png)" in text


def test_the_readme_takes_every_main_table(tmp_path):
    results.append(tmp_path, [*grid(), claim("1", HOLDS, "ganmut")])
    text = leaderboard.markdown(tables.board(results.read(tmp_path)), tmp_path)
    short = readme.summary(text)
    assert "**What is shown**" in short and "concentration ↑" in short
    assert "equal budget" not in short and "AU 1" not in short
    assert "| 1 | a < b | a paper | **holds** |" in short


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
        3500,
        3500,
        441,
        11,
        16,
    )


def test_ere_may_edit_the_first_faces_of_every_batch():
    few = replace(PROTOCOLS["default"], n_ere=32, ere_edited=3)
    assert few.ere_faces(700).tolist() == [0, 1, 2, 16, 17, 18] and len(few.ere_faces(20)) == 3
    assert few.hash != replace(few, ere_edited=4).hash
    with pytest.raises(ValueError, match="ere_edited"):
        replace(few, ere_edited=17)


def test_ere_takes_whole_batches():
    with pytest.raises(ValueError, match="multiple of 16"):
        replace(PROTOCOLS["default"], n_ere=30)
