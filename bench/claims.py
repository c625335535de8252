"""Claims: what the papers say of each other, as data, judged on our numbers by the paired bootstrap
over faces.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np

from bench import bootstrap
from bench.metrics.base import Score

HOLDS, FAILS, OPEN, ABSENT = "holds", "does not hold", "undecided", "not measured"


@dataclass(frozen=True)
class Term:
    """One number: a row's score, or one of its parts."""

    row: str
    metric: str
    part: str = ""

    def __str__(self) -> str:
        return f"{self.row} {self.part}".strip()


@dataclass(frozen=True)
class Less:
    """The claim that one number is smaller than another."""

    small: Term
    large: Term


@dataclass(frozen=True)
class Claim:
    """A sentence of a paper and the inequalities it amounts to; all must hold."""

    number: str
    sentence: str
    source: str
    parts: tuple[Less, ...]

    @property
    def rows(self) -> dict[str, set[str]]:
        """Row -> metrics that the claim reads."""
        wanted: dict[str, set[str]] = {}
        for less in self.parts:
            for term in (less.small, less.large):
                wanted.setdefault(term.row, set()).add(term.metric)
        return wanted


@dataclass(frozen=True)
class Verdict:
    """What became of a claim, and why, from the numbers."""

    number: str
    sentence: str
    source: str
    verdict: str
    why: str


def _order(metric: str, *rows: str) -> tuple[Less, ...]:
    """rows[0] < rows[1] < ... on a metric."""
    return tuple(Less(Term(a, metric), Term(b, metric)) for a, b in itertools.pairwise(rows))


def claims(emotions: tuple[str, ...], rows: tuple[str, ...]) -> list[Claim]:
    """The claims that can be put to these emotions and method rows; "the most" and "the least"
    range over what is there.
    """
    expressions = emotions[1:]
    smooth = tuple(
        Less(Term("ganmut", "smoothness", e), Term("stargan", "smoothness", e)) for e in expressions
    )
    most = tuple(
        Less(Term(r, "accuracy"), Term("gganmut", "accuracy")) for r in rows if r != "gganmut"
    )
    least = tuple(
        Less(Term("ganmut", "accuracy", "disgusted"), Term("ganmut", "accuracy", e))
        for e in emotions if e != "disgusted"
    )  # fmt: skip
    ere = [_order(f"ere@{k}", "gganmut", "ganmut", "stargan") for k in (1, 2)]
    paper = "GANmut (CVPR 2021)"
    return [
        Claim("1", "GANmut is smoother than StarGAN on each emotion", f"{paper}, section 5.3",
              smooth),
        Claim("2", "lambda_rho 4 is smoother than lambda_rho 1", f"{paper}, ablation",
              _order("smoothness", "ganmut", "ganmut_rho1")),
        Claim("3 (part)", "FED: GANmut < StarGAN < GGANmut", f"{paper}, section 5.1",
              _order("fed", "ganmut", "stargan", "gganmut")),
        Claim("4 (part), setting 1", "ERE: GGANmut < GANmut < StarGAN", f"{paper}, section 5.2",
              ere[0]),
        Claim("4 (part), setting 2", "ERE: GGANmut < GANmut < StarGAN", f"{paper}, section 5.2",
              ere[1]),
        Claim("5a", "GGANmut is the most accurately classified", f"{paper}, table 3",
              most or _order("accuracy", "any other method", "gganmut")),
        Claim("5b", "Of GANmut's emotions, disgusted is the least accurately classified",
              f"{paper}, table 3", least),
    ]  # fmt: skip


def judge(claim: Claim, scores: dict[tuple[str, str], Score]) -> Verdict:
    """holds / does not hold / undecided / not measured, with a sentence from the numbers."""
    answers = [_compare(less, scores) for less in claim.parts]
    found = [verdict for verdict, _ in answers]
    if ABSENT in found:
        verdict = ABSENT
    elif FAILS in found:
        verdict = FAILS
    else:
        verdict = HOLDS if found and all(one == HOLDS for one in found) else OPEN
    shown = answers
    if verdict == ABSENT:
        shown = [answer for answer in answers if answer[0] == ABSENT][:1]
    return Verdict(
        claim.number, claim.sentence, claim.source, verdict, "; ".join(why for _, why in shown)
    )


def _compare(less: Less, scores: dict[tuple[str, str], Score]) -> tuple[str, str]:
    for term in (less.small, less.large):
        if _value(term, scores) is None:
            return ABSENT, f"{term} has no {term.metric}"
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
        return f"{less.small} {_n(a)}, {less.large.part} {_n(b)}"
    head = f"{less.small.part}: " if less.small.part else ""
    return f"{head}{less.small.row} {_n(a)}, {less.large.row} {_n(b)}"


def _n(value: float) -> str:
    digits = 1 if abs(value) >= 10 else 2 if abs(value) >= 0.1 else 4
    return f"{value:.{digits}f}" if abs(value) >= 5e-5 else "0"


def _value(term: Term, scores: dict[tuple[str, str], Score]) -> float | None:
    score = scores.get((term.row, term.metric))
    value = None if score is None else score.parts.get(term.part) if term.part else score.value
    return value if value is not None and np.isfinite(value) else None


def _draws(term: Term, scores: dict[tuple[str, str], Score]) -> np.ndarray:
    draws = scores[term.row, term.metric].draws
    return draws.get(term.part, np.array([]))
