"""Verdicts: claims tested on scores by the paired bootstrap over source faces.

An inequality holds where the 95 % interval of the difference is below zero. A claim holds where all
of its inequalities hold: an intersection-union test, which needs no correction. It does not hold
where one inequality fails at a level of .05 divided by their number (Bonferroni), since among many
parts one fails by chance. A difference whose 95 % interval includes zero is a tie.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from ..features.extract import second
from ..stats import (
    CONFIDENCE,
    Score,
    mean_of_means,
    percentile_interval,
    resample_counts,
)
from .papers import Claim, Less, Term

HOLDS, FAILS, OPEN, ABSENT = "holds", "does not hold", "undecided", "not measured"
YES, NO, UNCORRECTED, TIE = "yes", "no", "no, but not after correction", "tie"
OUTCOMES = {YES: HOLDS, NO: FAILS, UNCORRECTED: OPEN, TIE: OPEN}
Scores = Mapping[tuple[str, str], Score]  # by system and metric


@dataclass(frozen=True)
class Verdict:
    """The outcome of a claim: HOLDS, FAILS, OPEN or ABSENT, and the numbers behind it. second: the
    outcome by the second judge, "" where it does not measure this."""

    number: str
    sentence: str
    source: str
    verdict: str
    why: str
    second: str = ""


@dataclass(frozen=True)
class Difference:
    """small - large of an inequality: the two values, bootstrap draws of their difference, and how
    many of how many faces both have, where some were left out."""

    small: float
    large: float
    draws: np.ndarray
    common: str = ""


def evaluate(claim: Claim, scores: Scores) -> Verdict:
    """The verdict on one set of scores.

    ABSENT where a number is missing, else FAILS where one inequality fails, HOLDS where all hold,
    OPEN otherwise.
    """
    tests = len(claim.inequalities)
    outcomes = [_compare(less, scores, tests) for less in claim.inequalities]
    verdicts = [verdict for verdict, _ in outcomes]
    if ABSENT in verdicts:
        missing = dict.fromkeys(why for verdict, why in outcomes if verdict == ABSENT)
        return Verdict(claim.number, claim.sentence, claim.source, ABSENT, "; ".join(missing))
    # One refuted part refutes the claim, even where others are undecided.
    if FAILS in verdicts:
        verdict = FAILS
    else:
        verdict = HOLDS if verdicts and all(one == HOLDS for one in verdicts) else OPEN
    reasons = [why for _, why in outcomes]
    known = [(term, _value(term, scores)) for term in claim.context]
    context = [f"{term.row} {_number(value)}" for term, value in known if value is not None]
    if context:
        reasons.append(f"for context, {claim.context[0].metric}: {', '.join(context)}")
    return Verdict(claim.number, claim.sentence, claim.source, verdict, "; ".join(reasons))


def evaluate_seeds(claim: Claim, scores: Scores) -> Verdict:
    """The verdict over all training seeds.

    Systems such as "ganmut@1" replace "ganmut", seed by seed. Where the seeds disagree the verdict
    is OPEN; the reasons are those of the first training.
    """
    first = evaluate(claim, scores)
    names = {row for row, _ in scores}
    variants = [name.rpartition("@")[::2] for name in names if "@" in name]
    seeds = sorted({seed for row, seed in variants if row in claim.metrics})
    if not seeds or first.verdict == ABSENT:
        return first
    verdicts = [first.verdict]
    for seed in seeds:
        # Rows that were not trained with this seed keep their first training.
        swap = {row: f"{row}@{seed}" for row in claim.metrics if f"{row}@{seed}" in names}
        verdicts.append(evaluate(_with_rows(claim, swap), scores).verdict)
    verdict = verdicts[0] if len(set(verdicts)) == 1 else OPEN
    labels = ["first", *(f"@{seed}" for seed in seeds)]
    each = ", ".join(f"{name} {v}" for name, v in zip(labels, verdicts, strict=True))
    return replace(first, verdict=verdict, why=f"by training: {each}; first: {first.why}")


def evaluate_judges(claim: Claim, scores: Scores) -> Verdict:
    """The verdict over all seeds, with that of the second judge on the metrics that it measures."""
    verdict, metrics = evaluate_seeds(claim, scores), {metric for _, metric in scores}
    twins = {
        name: second(name)
        for needed in claim.metrics.values()
        for name in needed
        if second(name) in metrics
    }
    if not twins:
        return verdict

    def by_second_judge(term: Term) -> Term:
        return replace(term, metric=twins.get(term.metric, term.metric))

    return replace(
        verdict, second=evaluate_seeds(_with_terms(claim, by_second_judge), scores).verdict
    )


def _with_rows(claim: Claim, rows: dict[str, str]) -> Claim:
    return _with_terms(claim, lambda term: replace(term, row=rows.get(term.row, term.row)))


def _with_terms(claim: Claim, change: Callable[[Term], Term]) -> Claim:
    def replace_term(term: Term | float) -> Term | float:
        return change(term) if isinstance(term, Term) else term

    pairs = [
        Less(replace_term(less.small), replace_term(less.large)) for less in claim.inequalities
    ]
    return replace(claim, inequalities=tuple(pairs))


def _compare(less: Less, scores: Scores, tests: int) -> tuple[str, str]:
    """The verdict on one of `tests` inequalities and the numbers behind it."""
    for term in less.terms:
        if _value(term, scores) is None:
            measured = (term.row, term.metric) in scores
            return ABSENT, f"{term if measured else term.row} has no {term.metric}"
    difference = _difference(less, scores)
    pair = _pair(less, difference.small, difference.large) + difference.common
    interval = percentile_interval(difference.draws)
    # Only a refutation is corrected: it needs one part of many, a confirmation needs all of them.
    corrected = percentile_interval(difference.draws, 1 - (1 - CONFIDENCE) / tests)
    if interval is None or corrected is None:
        return OPEN, f"{pair}, too few draws"
    if interval[1] < 0:
        word = YES
    elif interval[0] > 0:
        word = NO if corrected[0] > 0 else UNCORRECTED
    else:
        word = TIE
    low, high = map(_number, interval)
    relative = _relative(less, difference)
    return OUTCOMES[word], f"{pair} ({word}: difference {low} to {high}{relative})"


def _relative(less: Less, difference: Difference) -> str:
    """How much lower (or higher) the first of two scores is, in per cent of the second: the
    relative improvement of DefGAN's figures 3 and 8. Empty for a bound and where a score is not
    positive, which has no such share."""
    if len(less.terms) < 2 or min(difference.small, difference.large) <= 0:
        return ""
    return f", {100 * (difference.small / difference.large - 1):+.0f} %"


def _difference(less: Less, scores: Scores) -> Difference:
    """The difference over the faces that both sides have, where both are means over the same faces;
    else of the draws."""
    a, b = (_samples(term, scores) for term in (less.small, less.large))
    small, large = (_value(term, scores) for term in (less.small, less.large))
    assert small is not None and large is not None  # `_compare` returns before
    draws = [_draws(term, scores) for term in (less.small, less.large)]
    if a is None or b is None or a.shape != b.shape:
        return Difference(small, large, draws[0] - draws[1])
    replicates = max(map(np.size, draws))
    # The draws of the metric itself, so that both sides are resampled face by face.
    seed = scores[less.terms[0].row, less.terms[0].metric].seed
    counts = resample_counts(a.shape[1], replicates, seed)
    shared = np.isfinite(a) & np.isfinite(b)
    paired = mean_of_means(np.where(shared, a - b, np.nan), counts)
    if (shared == np.isfinite(a)).all() and (shared == np.isfinite(b)).all():
        return Difference(small, large, paired)
    # The printed values must be those of the faces that the interval is of.
    a, b = (np.where(shared, values, np.nan) for values in (a, b))
    small, large = (float(mean_of_means(values)[0]) for values in (a, b))
    return Difference(
        small, large, paired, f" on the {shared.sum()} common ones of {a.size} values"
    )


def _pair(less: Less, a: float, b: float) -> str:
    if not isinstance(less.large, Term):
        return f"{less.small} {_number(a)}, at most {_number(b)}"
    if not isinstance(less.small, Term):
        return f"{less.large} {_number(b)}, at least {_number(a)}"
    if less.small.metric != less.large.metric:
        names = [f"{term} {term.metric}" for term in (less.small, less.large)]
        return f"{names[0]} {_number(a)}, {names[1]} {_number(b)}"
    if less.small.row == less.large.row or less.small.part != less.large.part:
        return f"{less.small} {_number(a)}, {less.large.label} {_number(b)}"
    head = f"{less.small.label}: " if less.small.part else ""
    return f"{head}{less.small.row} {_number(a)}, {less.large.row} {_number(b)}"


def _number(value: float) -> str:
    digits = 1 if abs(value) >= 10 else 2 if abs(value) >= 0.1 else 4
    return f"{value:.{digits}f}" if abs(value) >= 5e-5 else "0"


def _value(term: Term | float, scores: Scores) -> float | None:
    if not isinstance(term, Term):
        return term
    score = scores.get((term.row, term.metric))
    if score is None:
        return None
    if isinstance(term.part, tuple):
        values = [score.parts.get(part, np.nan) for part in term.part]
        value = float(np.mean(values)) if values else None
    else:
        value = score.parts.get(term.part) if term.part else score.value
    return value if value is not None and np.isfinite(value) else None


def _draws(term: Term | float, scores: Scores) -> np.ndarray:
    if not isinstance(term, Term):
        return np.array(term)
    draws, none = scores[term.row, term.metric].draws, np.array([])
    if isinstance(term.part, tuple):
        return np.mean([draws.get(part, none) for part in term.part], axis=0)
    return draws.get(term.part, none)


def _samples(term: Term | float, scores: Scores) -> np.ndarray | None:
    """Components x faces behind a term, or None where it is no mean over faces."""
    if not isinstance(term, Term):
        return None
    samples = scores[term.row, term.metric].samples
    parts = term.part if isinstance(term.part, tuple) else (term.part,)
    if any(part not in samples for part in parts):
        return None
    return np.concatenate([samples[part] for part in parts])
