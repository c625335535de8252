"""Verdicts: claims judged on our numbers, by the paired bootstrap over faces."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from bench import bootstrap
from bench.claims import Claim, Less, Term
from bench.score import Score

HOLDS, FAILS, OPEN, ABSENT = "holds", "does not hold", "undecided", "not measured"
Scores = Mapping[tuple[str, str], Score]  # by row and metric


@dataclass(frozen=True)
class Verdict:
    """What became of a claim, and why, from the numbers."""

    number: str
    sentence: str
    source: str
    verdict: str
    why: str


def judge(claim: Claim, scores: Scores) -> Verdict:
    """holds / does not hold / undecided / not measured, with a sentence from the numbers."""
    answers = [_compare(less, scores) for less in claim.parts]
    found = [verdict for verdict, _ in answers]
    if ABSENT in found:
        verdict = ABSENT
    elif FAILS in found:
        verdict = FAILS
    else:
        verdict = HOLDS if found and all(one == HOLDS for one in found) else OPEN
    shown = [why for said, why in answers if verdict != ABSENT or said == ABSENT]
    if verdict == ABSENT:
        shown = list(dict.fromkeys(shown))
    elif told := [f"{t.row} {_n(v)}" for t in claim.beside if (v := _value(t, scores)) is not None]:
        shown.append(f"beside it {claim.beside[0].metric}: {', '.join(told)}")
    return Verdict(claim.number, claim.sentence, claim.source, verdict, "; ".join(shown))


def over_seeds(claim: Claim, scores: Scores) -> Verdict:
    """The verdict over all trainings: rows such as "ganmut@1" take the place of "ganmut", seed by
    seed. Where trainings disagree the claim is undecided; the reasons are the first one's.
    """
    first = judge(claim, scores)
    names = {row for row, _ in scores}
    twins = [name.split("@") for name in names if "@" in name]
    seeds = sorted({seed for row, seed in twins if row in claim.rows})
    if not seeds or first.verdict == ABSENT:
        return first
    told = [first.verdict]
    for seed in seeds:
        swap = {row: f"{row}@{seed}" for row in claim.rows if f"{row}@{seed}" in names}
        told.append(judge(_swapped(claim, swap), scores).verdict)
    verdict = told[0] if len(set(told)) == 1 else OPEN
    each = zip(["the first", *(f"@{seed}" for seed in seeds)], told, strict=True)
    trainings = ", ".join(f"{name} {said}" for name, said in each)
    why = f"trainings: {trainings}; the first: {first.why}"
    return replace(first, verdict=verdict, why=why)


def _swapped(claim: Claim, rows: dict[str, str]) -> Claim:
    def other(term: Term) -> Term:
        return replace(term, row=rows.get(term.row, term.row))

    return replace(claim, parts=tuple(Less(other(p.small), other(p.large)) for p in claim.parts))


def _compare(less: Less, scores: Scores) -> tuple[str, str]:
    for term in (less.small, less.large):
        if _value(term, scores) is None:
            known = (term.row, term.metric) in scores
            return ABSENT, f"{term if known else term.row} has no {term.metric}"
    a, b = _value(less.small, scores), _value(less.large, scores)
    draws = _draws(less.small, scores) - _draws(less.large, scores)
    span = bootstrap.interval(draws)
    if span is None:
        return OPEN, f"{_pair(less, a, b)}, too few draws"
    verdict = HOLDS if span[1] < 0 else FAILS if span[0] > 0 else OPEN
    word = {HOLDS: "yes", FAILS: "no", OPEN: "open"}[verdict]
    return verdict, f"{_pair(less, a, b)} ({word}: difference {_n(span[0])} to {_n(span[1])})"


def _pair(less: Less, a: float, b: float) -> str:
    if less.small.row == less.large.row or less.small.part != less.large.part:
        return f"{less.small} {_n(a)}, {less.large.label} {_n(b)}"
    head = f"{less.small.label}: " if less.small.part else ""
    return f"{head}{less.small.row} {_n(a)}, {less.large.row} {_n(b)}"


def _n(value: float) -> str:
    digits = 1 if abs(value) >= 10 else 2 if abs(value) >= 0.1 else 4
    return f"{value:.{digits}f}" if abs(value) >= 5e-5 else "0"


def _value(term: Term, scores: Scores) -> float | None:
    score = scores.get((term.row, term.metric))
    if score is None:
        return None
    if isinstance(term.part, tuple):
        values = [score.parts.get(part, np.nan) for part in term.part]
        value = float(np.mean(values)) if values else None
    else:
        value = score.parts.get(term.part) if term.part else score.value
    return value if value is not None and np.isfinite(value) else None


def _draws(term: Term, scores: Scores) -> np.ndarray:
    draws, nothing = scores[term.row, term.metric].draws, np.array([])
    if isinstance(term.part, tuple):
        return np.mean([draws.get(part, nothing) for part in term.part], axis=0)
    return draws.get(term.part, nothing)
