"""Claims, results, tables and the leaderboard."""

from __future__ import annotations

import io
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from rich.console import Console

from bench import leaderboard, results, tables
from bench.claims.papers import Claim, Less, Term, claims
from bench.claims.verdicts import (
    ABSENT,
    FAILS,
    HOLDS,
    OPEN,
    evaluate,
    evaluate_judges,
    evaluate_seeds,
)
from bench.figures.captions import CAPTIONS
from bench.learning_curves import MOVED, curve_table, learning_curves
from bench.metrics import METRICS, Score
from bench.metrics.base import by_face
from bench.protocol import PROTOCOLS, Protocol, get_protocol
from bench.results import ClaimRecord, Result
from ganmut import __version__
from ganmut.emotions import EMOTIONS
from ganmut.registry import UnknownNameError
from ganmut.weights.publish import read_scores


def score(value: float, spread: float = 0.01, seed: int = 0, parts: dict | None = None) -> Score:
    draws = {"": value + spread * np.random.default_rng(seed).normal(size=200)}
    for i, (name, part) in enumerate((parts or {}).items()):
        draws[name] = part + spread * np.random.default_rng(100 + i + seed).normal(size=200)
    return Score(value, 10, parts or {}, (value - spread, value + spread), {}, draws)


LESS = Claim("x", "a < b", "a paper", (Less(Term("a", "fed"), Term("b", "fed")),))


def verdict(a: Score, b: Score) -> str:
    return evaluate(LESS, {("a", "fed"): a, ("b", "fed"): b}).verdict


# Claims -------------------------------------------------------------------------------------------


def test_clear_order_holds_and_its_opposite_fails():
    assert verdict(score(1.0), score(2.0)) == HOLDS
    assert verdict(score(2.0), score(1.0)) == FAILS


def test_unclear_order_is_undecided():
    assert verdict(score(1.0, 1.0), score(1.1, 1.0, seed=1)) == OPEN


def test_draws_are_paired():
    # Both jump with the faces drawn, together: the difference is sure where either alone is not.
    g = np.random.default_rng(0)
    jump = g.normal(size=200)
    a, b = (Score(v, 10, draws={"": v + jump}) for v in (1.0, 1.1))
    assert verdict(a, b) == HOLDS


class Faces:
    """As much of a system's features as `by_face` reads."""

    protocol = Protocol("toy", n_test=32, n_fid=8, n_accuracy=8, n_smooth=8, n_ere=16)


def test_paired_means_share_their_draws():
    hard = np.random.default_rng(0).normal(size=32)
    a, b = (by_face({"all": hard + shift}, Faces) for shift in (0.0, 0.5))
    assert np.allclose(b.draws[""] - a.draws[""], 0.5)


def test_differences_are_of_common_faces_only():
    # b is .1 above a on every face, but lacks the faces on which both are high.
    low, high = np.full(16, 0.2), np.full(16, 0.8)
    a = by_face({"sad": np.concatenate([low, high])}, Faces)
    b = by_face({"sad": np.concatenate([low + 0.1, np.full(16, np.nan)])}, Faces)
    assert a.parts["sad"] == pytest.approx(0.5) and b.parts["sad"] == pytest.approx(0.3)
    claim = Claim(
        "x", "", "", (Less(Term("a", "smoothness", "sad"), Term("b", "smoothness", "sad")),)
    )
    found = evaluate(claim, {("a", "smoothness"): a, ("b", "smoothness"): b})
    assert found.verdict == HOLDS
    assert "a 0.20, b 0.30" in found.why and "16 common ones of 32" in found.why
    assert "difference -0.10 to -0.10, -33 %" in found.why


def test_systems_without_common_faces_are_undecided():
    half = np.where(np.arange(32) < 16, 1.0, np.nan)
    a, b = by_face({"": half}, Faces), by_face({"": 9 * half[::-1]}, Faces)
    assert verdict(a, b) == OPEN


def test_equal_systems_are_a_tie():
    a = by_face({"": np.random.default_rng(0).normal(size=32)}, Faces)
    found = evaluate(LESS, {("a", "fed"): a, ("b", "fed"): a})
    assert found.verdict == OPEN and "(tie: difference 0 to 0" in found.why


def gaussian(centre: float) -> Score:
    """A score whose draws are a standard normal around `centre`, without sampling noise."""
    grid = torch.linspace(0, 1, 2002, dtype=torch.float64)[1:-1]
    return Score(centre, 10, draws={"": centre + torch.special.ndtri(grid).numpy()})


@pytest.mark.parametrize(
    "shift, parts, expected",
    # Two-sided bounds of a standard normal: 1.96 at .05, 2.24 at .05 / 2, 2.64 at .05 / 6.
    [(2.1, 1, FAILS), (1.9, 1, OPEN), (2.1, 2, OPEN), (2.3, 2, FAILS), (2.8, 6, FAILS)],
)
def test_failing_part_must_pass_bonferroni(shift, parts, expected):
    less = [Less(Term("better", "fed"), Term(f"b{i}", "fed")) for i in range(parts - 1)]
    claim = Claim("x", "", "", (*less, Less(Term("worse", "fed"), Term("zero", "fed"))))
    flat = {("zero", "fed"): Score(0.0, 10, draws={"": np.zeros(2000)})}
    rows = {(f"b{i}", "fed"): Score(9.0, 10, draws={"": np.full(2000, 9.0)}) for i in range(parts)}
    scores = flat | rows | {("better", "fed"): gaussian(0), ("worse", "fed"): gaussian(shift)}
    found = evaluate(claim, scores)
    assert found.verdict == expected
    assert ("not after correction" in found.why) == (expected == OPEN and shift > 1.96)


def test_all_parts_hold_without_correction():
    # 2.1 standard deviations are enough for each of six parts when all of them must hold.
    flat = {("zero", "fed"): Score(0.0, 10, draws={"": np.zeros(2000)})}
    scores = flat | {("a", "fed"): gaussian(-2.1)}
    claim = Claim("x", "", "", 6 * (Less(Term("a", "fed"), Term("zero", "fed")),))
    assert evaluate(claim, scores).verdict == HOLDS


@pytest.mark.parametrize("bound, expected", [(2.0, HOLDS), (1.0, OPEN), (0.5, FAILS)])
def test_number_can_bound_a_score(bound, expected):
    scores = {("a", "fed"): score(1.0, 0.05)}
    assert (
        evaluate(Claim("x", "", "", (Less(Term("a", "fed"), bound),)), scores).verdict == expected
    )
    turned = evaluate(Claim("x", "", "", (Less(bound, Term("a", "fed")),)), scores)
    assert turned.verdict == {HOLDS: FAILS, FAILS: HOLDS, OPEN: OPEN}[expected]


def test_claim_with_a_missing_row_is_absent():
    found = evaluate(LESS, {("a", "fed"): score(1.0)})
    assert found.verdict == ABSENT
    assert found.why == "b has no fed"


def test_one_failing_inequality_decides():
    smooth = {e: 0.3 for e in EMOTIONS[1:]}
    rough = {e: 0.7 for e in EMOTIONS[1:]}
    first = claims(EMOTIONS, ("ganmut", "stargan"))[0]

    def ask(a, b):
        return evaluate(first, {("ganmut", "smoothness"): a, ("stargan", "smoothness"): b})

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


def published_values(labels: str) -> dict:
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
        scores[row, "identity_distance"] = score(near, parts=dict.fromkeys(EMOTIONS, near))
        scores[row, "edit_localisation"] = score(focus)
    for row, error in (("efgan", 0.25), ("efgan_cascade", 0.15)):
        for metric in ("au_error", "ground_truth_l1"):
            scores[row, metric] = score(error, parts=dict.fromkeys(EMOTIONS, error))
        scores[row, "identity_distance"] = score(0.3)
    for k in (1, 2):
        reached = {"stargan": 0.010, "stargan_v2": 0.030}
        for row, error in reached.items():
            known = scores.get((row, f"ere@{k}"), score(error, 1e-4))
            parts = {"equal": error}
            scores[row, f"ere@{k}"] = score(known.value, 1e-4, seed=k, parts=parts)
    scores["real_split", "accuracy"] = score(58.2)
    for row, share in (("stargan_v2", 0.28), ("smit", 0.09)):
        scores[row, "style_share"] = score(share)
    disc = {"happy": 0.5, "cosine of happy and negative": -0.8}
    scores["ganmut", "gamut_share"] = score(0.5, parts=disc)
    scores["gganmut", "fed_uniform"] = score(2.0)
    halves = {"lower half": 0.2, "upper half": 0.4}
    scores["ganmut", "steps_by_radius"] = score(-0.2, parts=halves)
    scores["ganmut", "gamut_mixtures"] = score(4.0, parts={"same mixture": 0.01})
    return scores


@pytest.mark.parametrize("labels", ["ganimation", "ganimation_labels"])
def test_published_values_make_all_claims_hold(labels):
    put = claims(EMOTIONS, (*NINE, labels))
    found = {c.number: evaluate(c, published_values(labels)) for c in put}
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
        "9a",
        "9b",
        "10",
        "11a",
        "11b",
        "12",
        "13",
        "14a",
        "14b",
        "15",
    ]
    said = "with labels" if labels == "ganimation_labels" else "with action units"
    assert said in found["3"].sentence and said in found["4, setting 2"].sentence


DRAWN = tuple(f"{n}_expression" for n in ("stargan", "ganmut", "gganmut", "smit", "stargan_v2"))


def test_claims_on_one_drawing_follow_the_rows():
    scores = published_values("ganimation")
    scores |= {(f"{row}_expression", metric): s for (row, metric), s in scores.items()}
    drawn = [c for c in claims(EMOTIONS, (*NINE, *DRAWN)) if c.number.endswith("one drawing")]
    assert [evaluate(claim, scores).verdict for claim in drawn] == [HOLDS] * 7
    assert len(claims(EMOTIONS, (*NINE, *DRAWN[1:]))) == len(claims(EMOTIONS, NINE))
    three = [c for c in claims(EMOTIONS, (*NINE, *DRAWN[:3])) if "one drawing" in c.number]
    assert [c.number[0] for c in three] == list("13455")
    assert three[1].sentence == "FED: GANmut < StarGAN < GGANmut"


def test_every_claim_can_fail():
    """With reversed inequalities the published values make every claim fail."""
    scores = published_values("ganimation")
    for claim in claims(EMOTIONS, NINE):
        turned = replace(
            claim, inequalities=tuple(Less(i.large, i.small) for i in claim.inequalities)
        )
        assert evaluate(turned, scores).verdict == FAILS, claim.number


def test_missing_row_affects_only_its_claims():
    scores = {key: s for key, s in published_values("ganimation").items() if key[0] != "smit"}
    found = {c.number: evaluate(c, scores) for c in claims(EMOTIONS, NINE)}
    assert found["3"].verdict == ABSENT and "smit has no fed" in found["3"].why
    assert found["7"].verdict == HOLDS


def test_large_intensities_exclude_neutral():
    scores = published_values("ganimation")
    parts = {**dict.fromkeys(EMOTIONS, 0.15), "neutral": 9.0}
    scores["efgan_cascade", "au_error"] = score(1.4, parts=parts)
    (claim,) = (c for c in claims(EMOTIONS, NINE) if c.number == "8a")
    found = evaluate(claim, scores)
    assert found.verdict == HOLDS
    assert found.why.startswith("expressions: efgan_cascade 0.15, efgan 0.25 (yes")


def test_context_is_printed_with_the_verdict():
    (claim,) = (c for c in claims(EMOTIONS, NINE) if c.number == "7")
    scores = published_values("ganimation") | {("defgan", "accuracy"): score(15.0)}
    assert "accuracy: defgan 15.0, ganimation 74.1" in evaluate(claim, scores).why


def test_other_seeds_must_agree():
    scores = {("a", "fed"): score(1.0), ("b", "fed"): score(2.0)}
    assert evaluate_seeds(LESS, scores) == evaluate(LESS, scores)
    agreeing = evaluate_seeds(LESS, scores | {("a@1", "fed"): score(1.5)})
    assert agreeing.verdict == HOLDS
    assert "first holds, @1 holds" in agreeing.why
    both = scores | {("a@1", "fed"): score(1.5), ("b@1", "fed"): score(1.2)}
    assert evaluate_seeds(LESS, both).verdict == OPEN
    assert "@1 does not hold" in evaluate_seeds(LESS, both).why


def test_second_judge_has_a_verdict_of_its_own():
    scores = {("a", "fed"): score(1.0), ("b", "fed"): score(2.0)}
    assert evaluate_judges(LESS, scores).second == ""
    other = {("a", "second_fed"): score(3.0), ("b", "second_fed"): score(2.0)}
    found = evaluate_judges(LESS, scores | other)
    assert (found.verdict, found.second) == (HOLDS, FAILS)


# Results and tables -------------------------------------------------------------------------------

BASE = Result(
    row="ganmut",
    metric="fed",
    metric_version=1,
    status="ok",
    value=1.5,
    interval=(1.4, 1.6),
    n=400,
    parts={},
    intervals={},
    unit="",
    higher_is_better=False,
    note="",
    protocol="default",
    protocol_hash="aaa",
    data="procedural",
    split="test",
    size=64,
    data_fingerprint="faces",
    weights="procedural",
    weights_sha256="w1",
    extractors={"emotion": "e1"},
    seed=0,
    commit="c",
    device="CPU",
    dtype="float32",
    seconds=1.0,
    feature_seconds=2.0,
    time="2026-01-01T00:00:00Z",
)


def write(folder, *records):
    results.append(folder, list(records))
    return tables.select(results.read(folder))


def test_records_are_appended_and_read_back(tmp_path):
    results.append(tmp_path, [BASE])
    results.append(tmp_path, [replace(BASE, row="stargan")])
    found = results.read(tmp_path)
    assert [r["row"] for r in found] == ["ganmut", "stargan"]
    assert Result(**{**found[0], "interval": tuple(found[0]["interval"])}) == BASE


@pytest.mark.parametrize("torn", ['{"row": "gan', '{"row": "gan", "parts": {"happy": 1}', "\x00"])
def test_results_go_on_after_a_torn_line(tmp_path, caplog, torn):
    results.append(tmp_path, [BASE])
    with open(tmp_path / results.FILE, "a") as file:
        file.write(torn)
    results.append(tmp_path, [replace(BASE, row="stargan")])
    assert [r["row"] for r in results.read(tmp_path)] == ["ganmut", "stargan"]
    assert [r["row"] for r in read_scores(tmp_path)] == ["ganmut", "stargan"]
    assert str(tmp_path / results.FILE) in caplog.text


def test_old_names_of_results_are_read(tmp_path):
    old = {
        "kind": "score",
        "row": "oracle",
        "weights_sha256": "oracle",
        "metric": "concentration",
        "evidence_seconds": 2.0,
        "note": "regions from the answer; 3 % of the edits left out (nothing to change)",
    }
    why = "a: defgan 0.1, b 0.2 (yes); beside it identity: efgan 0.3"
    verdict = {"kind": "claim", "number": "6a", "why": why}
    (tmp_path / results.FILE).write_text(f"{json.dumps(old)}\n{json.dumps(verdict)}\n")
    record, claim_record = results.read(tmp_path)
    assert (record["row"], record["weights_sha256"]) == ("ground_truth", "ground_truth")
    assert (record["metric"], record["feature_seconds"]) == ("edit_localisation", 2.0)
    assert record["note"].startswith("regions from the ground truth; 3 %")
    assert claim_record["why"].endswith("identity_distance: efgan 0.3")


@pytest.mark.parametrize(
    "folder", ["", "photos", "photos/protocol_3", "photos/protocol_3/own_judge"]
)
def test_committed_results_have_current_names(folder):
    records = results.read(leaderboard.RESULTS / folder)
    scores = [r for r in records if r["kind"] == "score"]
    assert scores and {r["metric"] for r in scores} <= set(METRICS.names())
    text = leaderboard.markdown(tables.select(records), leaderboard.RESULTS / folder)
    assert text == (leaderboard.RESULTS / folder / "LEADERBOARD.md").read_text(encoding="utf-8")


def test_nan_becomes_null():
    empty = results.score_fields(Score(float("nan"), 3, {"sad": float("nan")}))
    assert empty["value"] is None
    assert empty["parts"] == {"sad": None}
    json.dumps(empty, allow_nan=False)


@pytest.mark.parametrize(
    "field", [{"protocol_hash": "bbb"}, {"data_fingerprint": "others"}, {"seed": 1}]
)
def test_only_the_newest_setting_is_selected(field, tmp_path):
    found = write(tmp_path, replace(BASE, row="stargan", **field), BASE)
    assert found.rows == ["ganmut"]
    assert found.left_out == 1


@pytest.mark.parametrize("field", [{"metric_version": 0}, {"extractors": {"emotion": "e0"}}])
def test_metric_has_one_version_and_extractor(field, tmp_path):
    found = write(tmp_path, replace(BASE, row="stargan", **field), BASE)
    assert found.rows == ["ganmut"]


def test_row_has_one_weight(tmp_path):
    old = replace(BASE, metric="accuracy", weights_sha256="w0")
    found = write(tmp_path, old, BASE)
    assert found.metrics == ["fed"]


def test_newest_number_replaces_older_ones(tmp_path):
    found = write(tmp_path, BASE, replace(BASE, value=2.5))
    assert found.cells["ganmut", "fed"]["value"] == 2.5


def test_reference_rows_first_and_no_ablations(tmp_path):
    ablation = replace(BASE, row="ganmut_rho1", training={"ablation_of": "ganmut"})
    real = replace(BASE, row="real_split", weights_sha256="real_split")
    assert write(tmp_path, ablation, BASE, real).rows == ["real_split", "ganmut"]


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


def test_claims_belong_to_the_selected_weights(tmp_path):
    found = write(tmp_path, BASE, claim("1", HOLDS), claim("2", FAILS, "w0"))
    assert [c["verdict"] for c in found.claims] == [HOLDS]


def test_verdicts_outlive_weights_of_other_methods(tmp_path):
    """Other rows of the run that gave a verdict may be measured anew."""
    old = claim("1", HOLDS)
    old = replace(old, weights=old.weights | {"smit": "w0"})
    found = write(tmp_path, BASE, replace(BASE, row="smit"), old)
    assert [c["verdict"] for c in found.claims] == [HOLDS]


def test_run_of_fewer_methods_keeps_verdicts(tmp_path):
    found = write(tmp_path, BASE, claim("1", HOLDS), claim("2", ABSENT))
    assert [c["verdict"] for c in found.claims] == [HOLDS]
    found = write(tmp_path, claim("3", FAILS))
    assert [c["verdict"] for c in found.claims] == [FAILS]


def judged(values: dict[str, tuple[float, float]]) -> list[Result]:
    """Results of rows by both judges."""
    return [
        replace(BASE, row=row, metric=metric, value=value, weights_sha256=row)
        for row, pair in values.items()
        for metric, value in zip(("fed", "second_fed"), pair, strict=True)
    ]


@pytest.mark.parametrize(
    "values, tau",
    [
        ({"a": (1, 10), "b": (2, 20), "c": (3, 30)}, "1.00"),
        ({"a": (1, 30), "b": (2, 20), "c": (3, 10)}, "-1.00"),
        ({"a": (1, 20), "b": (2, 10), "c": (3, 30)}, "0.33"),  # two of three pairs agree
    ],
)
def test_rank_agreement_is_kendalls_tau(values, tau, tmp_path):
    reference = {"real_split": (9, -9)}  # a reference row is no method
    board = write(tmp_path, *judged(values | reference))
    _, (_, (header, ranks)) = tables.second_judge_tables(board)
    assert header[2:4] == ["number", "Kendall's tau"]
    assert ranks[0][2:4] == ["3", tau]
    text = leaderboard.markdown(board, tmp_path)
    assert f"| 3 | {tau} |" in text and leaderboard.SECOND_JUDGE in text


def test_two_methods_have_no_rank_agreement(tmp_path):
    board = write(tmp_path, *judged({"a": (1, 10), "b": (2, 20)}))
    assert tables.rank_agreement(board, ["a", "b"], "fed", "second_fed") == ["2", "–", ""]


def test_judges_are_compared_within_a_family(tmp_path):
    # Each family agrees with itself; both together would not.
    families = {"": {"a": (1, 1), "b": (2, 2), "c": (3, 3)}}
    families["expression model"] = {"d": (4, -3), "e": (5, -2), "f": (6, -1)}
    records = [
        replace(record, drawing=drawing)
        for drawing, values in families.items()
        for record in judged(values)
    ]
    *values, (_, (_, ranks)) = tables.second_judge_tables(write(tmp_path, *records))
    assert [[line[0] for line in table[1]] for _, table in values] == [[*"abc"], [*"def"]]
    assert [line[2:4] for line in ranks] == [["3", "1.00"]] * 2


def test_tables_say_what_a_training_knew(tmp_path):
    board = write(tmp_path, replace(BASE, supervision="labels, units"))
    (_, (header, lines)), *_ = tables.main_tables(board)
    assert (header[1], lines[0][1]) == ("supervision", "labels, units")


def test_trainings_have_their_mean_and_ends(tmp_path):
    more = [replace(BASE, row=f"ganmut@{seed}", value=value) for seed, value in ((1, 5), (2, 9))]
    board = write(tmp_path, replace(BASE, value=4), *more, replace(BASE, row="stargan"))
    _, lines = tables.seed_table(board)
    assert lines == [["ganmut", "–", "3", "6.00 [4.00, 9.00]"]]
    assert leaderboard.SEEDS in leaderboard.markdown(board, tmp_path)


def test_a_metric_of_no_training_stays_empty(tmp_path):
    other = replace(BASE, row="smit", metric="accuracy")  # known to another row alone
    more = [replace(BASE, row="ganmut@1"), replace(other, row="smit@1")]
    header, lines = tables.seed_table(write(tmp_path, BASE, other, *more))
    filled = {line[0]: [bool(text) for text in line[3:]] for line in lines}
    assert len(header) == 5 and sum(filled["ganmut"]) == sum(filled["smit"]) == 1
    assert filled["ganmut"] != filled["smit"]


def test_units_have_a_table_of_their_own(tmp_path):
    units = replace(BASE, row="defgan", weights_sha256="w2", codes="units")
    board = write(tmp_path, replace(BASE, codes="gamut"), units, replace(BASE, row="no_edit"))
    rows = {title: [line[0] for line in lines] for title, (_, lines) in tables.main_tables(board)}
    assert rows == {
        "Expression": ["no_edit", "ganmut"],
        "Expression, conditioned on action units": ["no_edit", "defgan"],
    }


def test_unmeasured_metric_has_no_column(tmp_path):
    none = replace(BASE, metric="fid", status="not measured", value=None, interval=None, note="why")
    text = leaderboard.markdown(write(tmp_path, none, BASE), tmp_path)
    assert "FID ↓" not in text and "fid, ganmut: why" in text


def test_leaderboard_has_values_errors_and_notes(tmp_path):
    failed = replace(BASE, metric="fid", status="error", value=None, interval=None, note="broken")
    found = write(tmp_path, BASE, failed, replace(BASE, row="real_split", n=200))
    text = leaderboard.markdown(found, tmp_path)
    assert "FED ↓" in text
    assert "1.50 [1.40, 1.60]" in text
    assert "| error |" in text and "fid, ganmut: broken" in text
    assert "fed, real_split: n = 200" in text
    assert ".71" in text  # the paper's
    for note in (*leaderboard.NOTES, leaderboard.ONE_SEED, leaderboard.RENDERED):
        assert note in text


def grid(rows=NINE, references=tables.REFERENCE_ROWS) -> list[Result]:
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
        for row in (*references, *rows)
        for name in METRICS
    ]


@pytest.mark.parametrize(("width", "parts"), [(120, 6), (80, 7)])
def test_terminal_shows_every_number_whole(width, parts, tmp_path):
    results.append(tmp_path, grid())
    console = Console(width=width, record=True, file=io.StringIO())
    leaderboard.print_tables(console, tables.select(results.read(tmp_path)))
    lines = console.export_text().splitlines()
    assert max(map(len, lines)) <= width
    numbers = [line for line in lines if line.startswith("│ efgan_cascade")]
    assert len(numbers) == parts
    main = [name for name in METRICS if METRICS[name].group in tables.GROUPS]
    shares = [name for name in main if METRICS[name].unit == "%"]
    whole = 12 * (len(main) - len(shares))
    assert sum(line.count("0.0463–0.0902") for line in lines) == whole
    for name in METRICS:
        assert METRICS[name].title.split()[0] in "\n".join(lines), name


def test_no_main_table_is_wider_than_six_metrics(tmp_path):
    results.append(tmp_path, grid())
    main = tables.main_tables(tables.select(results.read(tmp_path)))
    assert [len(header) for _, (header, _) in main] == [8, 8, 3, 7]
    shown = [name for _, (header, _) in main for name in header[2:]]
    assert len(set(shown)) == sum(METRICS[name].group in tables.GROUPS for name in METRICS)
    assert all(len(lines) == 12 for _, (_, lines) in main)


def test_parts_without_intervals_have_their_own_table(tmp_path):
    results.append(tmp_path, grid(("ganmut",), ()))
    with_intervals, values = tables.parts_tables(tables.select(results.read(tmp_path)), "au_error")
    assert with_intervals == ([*tables.FIRST, "happy"], [["ganmut", "–", "0.100 [0.0463, 0.0902]"]])
    assert values == ([*tables.FIRST, "AU 1"], [["ganmut", "–", "0.200"]])


def test_further_seeds_are_for_claims_only(tmp_path):
    found = write(tmp_path, BASE, replace(BASE, row="ganmut@1"), claim("1", HOLDS))
    assert found.rows == ["ganmut"]
    assert leaderboard.ONE_SEED in leaderboard.markdown(found, tmp_path)
    again = replace(claim("2", HOLDS), weights={"ganmut": "w1", "ganmut@1": "w2"})
    text = leaderboard.markdown(write(tmp_path, again), tmp_path)
    assert leaderboard.MORE_SEEDS.format("ganmut@1") in text and leaderboard.ONE_SEED not in text


def test_removed_claims_are_not_shown(tmp_path):
    old = replace(claim("1", HOLDS), number="3 (part)")
    found = write(tmp_path, BASE, replace(claim("1", FAILS), number="7"), old, claim("1", HOLDS))
    assert [c["number"] for c in found.claims] == ["1", "7"]


def test_figures_follow_their_captions(tmp_path):
    (tmp_path / "figures").mkdir()
    for kind in CAPTIONS:
        (tmp_path / "figures" / f"{kind}_x.png").touch()
    text = leaderboard.markdown(write(tmp_path, BASE), tmp_path)
    for kind, caption in CAPTIONS.items():
        assert f"{caption}\n\n![{kind} x](figures/{kind}_x.png)" in text


def test_summary_has_every_main_table(tmp_path):
    results.append(tmp_path, [*grid(), claim("1", HOLDS, "ganmut")])
    text = leaderboard.markdown(tables.select(results.read(tmp_path)), tmp_path)
    short = leaderboard.summary(text)
    assert f"**{tables.GROUPS['expression']}**" in short and "edit localisation ↑" in short
    assert "equal budget" not in short and "AU 1" not in short
    first = claims(EMOTIONS, ())[0]  # the current wording, not the one in the record
    assert f"| 1 | {first.sentence} | {first.source} | **holds** |" in short


def test_leaderboard_without_results_exits_with_2(tmp_path, capsys):
    assert leaderboard.main(["--out", str(tmp_path)]) == 2
    assert str(tmp_path) in capsys.readouterr().err


def test_leaderboard_is_written_from_results(tmp_path, capsys):
    results.append(tmp_path, [BASE])
    assert leaderboard.main(["--out", str(tmp_path)]) == 0
    assert "1.50" in (tmp_path / "LEADERBOARD.md").read_text()
    assert "FED" in capsys.readouterr().out


# Protocols ----------------------------------------------------------------------------------------


def test_every_field_but_the_name_is_hashed():
    default = PROTOCOLS["default"]
    assert replace(default, name="other").hash == default.hash
    assert (
        len({replace(default, seed=1).hash, replace(default, n_test=401).hash, default.hash}) == 3
    )


def test_unknown_protocol_suggests_a_near_one():
    with pytest.raises(UnknownNameError, match="'default'"):
        get_protocol("defualt")


def test_paper_protocol_has_published_sizes():
    paper = PROTOCOLS["paper"]
    assert (paper.n_test, paper.n_accuracy, paper.budget, paper.steps, paper.ere_batch) == (
        3500,
        3500,
        441,
        11,
        16,
    )


def test_full_protocol_is_large_enough_to_decide():
    full = PROTOCOLS["full"]
    assert len(full.ere_batches(full.n_test)) == 64 and full.n_ere == 1024
    assert full.n_smooth >= 128 and full.n_test >= 2000 and full.n_fid >= 2000
    assert "256 for ERE with 64 targets" in full.describe()


def test_ere_edits_first_faces_of_each_batch():
    few = replace(PROTOCOLS["default"], n_ere=32, ere_edited=3)
    assert few.ere_faces(700).tolist() == [0, 1, 2, 16, 17, 18] and len(few.ere_faces(20)) == 3
    assert few.hash != replace(few, ere_edited=4).hash
    with pytest.raises(ValueError, match="ere_edited"):
        replace(few, ere_edited=17)


def test_ere_takes_whole_batches():
    with pytest.raises(ValueError, match="30"):
        replace(PROTOCOLS["default"], n_ere=30)


def at_length(row: str, kimg: float, value: float) -> Result:
    ends = {"value": value, "interval": (value - 1, value + 1)}
    training = {"kimg": kimg}
    return replace(BASE, row=row, metric="accuracy", weights_sha256=row, training=training, **ends)


def test_learning_curves_mark_what_moved(tmp_path):
    lengths = {"ganmut-24": (24, 50.0), "ganmut-48": (48, 60.0), "ganmut": (96, 60.5)}
    lengths["ganmut-96"] = (96, 40.0)  # kept on the way of a longer training
    alone = {"my-stargan": (48, 70.0)}
    results.append(tmp_path, [at_length(row, *known) for row, known in (lengths | alone).items()])
    board = tables.select(results.read(tmp_path))
    curves = learning_curves(board)
    assert curves.rows == {"ganmut": {24: "ganmut-24", 48: "ganmut-48", 96: "ganmut"}}
    header, lines = curve_table(curves)
    assert header[1] == "thousand images"
    assert [line[2].endswith(MOVED) for line in lines] == [False, True, False]
    leaderboard.write(board, tmp_path)
    assert (tmp_path / "figures" / "learning_curves.png").is_file()
    assert "figures/learning_curves.png" in (tmp_path / "LEADERBOARD.md").read_text()


def test_one_length_has_no_learning_curve(tmp_path):
    results.append(tmp_path, [at_length("ganmut", 48, 60), at_length("ganmut@1", 48, 50)])
    board = tables.select(results.read(tmp_path))
    assert learning_curves(board) is None
    leaderboard.write(board, tmp_path)
    assert not (tmp_path / "figures").exists()


def test_results_record_the_version():
    """An installed package has no commit."""
    assert results.environment(torch.device("cpu"))["versions"]["ganmut"] == __version__
