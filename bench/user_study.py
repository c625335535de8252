"""User study: ratings, win rates and Bradley-Terry scores with intervals, from the votes that the
Space collects (the study of DefGAN, arXiv 1911.00735, section 4).

A vote is one JSON line: stage 1 {"stage", "voter", "method", "emotion", "rating" 1..4}, stage 2
{"stage", "voter", "left", "right", "chosen", "emotion"}. People differ more than pictures do, so
the bootstrap draws voters, each with all their votes.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ganmut import legacy
from ganmut.files import read_lines

from .claims.verdicts import ABSENT, FAILS, HOLDS, OPEN
from .resolve import UserError
from .stats import percentile_interval, resample_counts

REPLICATES, STEPS = 1000, 200
PRIOR = 0.1  # votes added to either side of every pair, which keeps all scores finite
Interval = tuple[float, float] | None
# DefGAN's claim, section 4: of two edits people chose DefGAN's in 63 % of the cases.
CHOSEN, OVER, PUBLISHED = "defgan", "ganimation", 0.63


@dataclass(frozen=True)
class Standing:
    """The result of one method. rating: mean, 1..4. rated, paired: numbers of votes. wins: share of
    its pairs that it won. score: Bradley-Terry log strength, with mean 0 over methods. None where
    there are no votes."""

    method: str
    rated: int
    rating: float | None
    rating_interval: Interval
    paired: int
    wins: float | None
    wins_interval: Interval
    score: float | None
    score_interval: Interval


def read(path: Path) -> tuple[list[dict[str, Any]], int]:
    """The votes of a file, old names replaced by current ones, and the number of invalid lines;
    raises UserError for a file without votes."""
    if not path.is_file():
        raise UserError(f"no file of votes {path}; the Space writes out/study.jsonl")
    records, unread = read_lines(path)
    votes, invalid = [], len(unread)
    for record in records:
        try:
            votes.append(validate(legacy.read("vote", record)))
        except (ValueError, KeyError, TypeError):
            invalid += 1
    if not votes:
        raise UserError(f"{path} has no valid vote")
    return votes, invalid


def validate(vote: dict[str, Any]) -> dict[str, Any]:
    """Returns the vote; raises ValueError, KeyError or TypeError for an invalid one."""
    names = {1: ("method",), 2: ("left", "right", "chosen")}[vote["stage"]]
    if not all(isinstance(vote[name], str) for name in (*names, "voter")):
        raise ValueError("names must be text")
    if vote["stage"] == 1 and vote["rating"] not in (1, 2, 3, 4):
        raise ValueError(f"rating must be 1, 2, 3 or 4, got {vote['rating']}")
    if vote["stage"] == 2 and (
        vote["left"] == vote["right"] or vote["chosen"] not in (vote["left"], vote["right"])
    ):
        raise ValueError("chosen must be one of two different methods")
    return vote


def strengths(wins: np.ndarray) -> np.ndarray:
    """Bradley-Terry log strengths `[..., k]`, mean 0, of win counts `[..., k, k]` (row over
    column), by the MM algorithm of Hunter (Annals of Statistics 32, 2004)."""
    k = wins.shape[-1]
    wins = wins + PRIOR * (1 - np.eye(k))
    games, won = wins + wins.swapaxes(-1, -2), wins.sum(-1)
    p = np.ones(won.shape)
    for _ in range(STEPS):
        p = won / (games / (p[..., :, None] + p[..., None, :])).sum(-1)
        # Strengths are known up to a factor: the mean log of 0 fixes it.
        p = p / np.exp(np.log(p).mean(-1, keepdims=True))
    return np.log(p)


def standings(votes: list[dict[str, Any]], seed: int = 0) -> list[Standing]:
    """The result of every method with votes, by falling score."""
    names = sorted({v[n] for v in votes for n in ("method", "left", "right") if n in v})
    voters = sorted({v["voter"] for v in votes})
    at, who = {n: i for i, n in enumerate(names)}, {v: i for i, v in enumerate(voters)}
    k = len(names)
    total, rated = np.zeros((len(voters), k)), np.zeros((len(voters), k))
    wins = np.zeros((len(voters), k, k))
    for vote in votes:
        voter = who[vote["voter"]]
        if vote["stage"] == 1:
            total[voter, at[vote["method"]]] += vote["rating"]
            rated[voter, at[vote["method"]]] += 1
        else:
            loser = vote["left"] if vote["chosen"] == vote["right"] else vote["right"]
            wins[voter, at[vote["chosen"]], at[loser]] += 1
    # The same draws of voters for ratings and for pairs.
    draws = resample_counts(len(voters), REPLICATES, seed)
    drawn = np.einsum("bv,vij->bij", draws, wins)
    mean, means = _ratio(total.sum(0), rated.sum(0)), _ratio(draws @ total, draws @ rated)
    games = wins + wins.swapaxes(1, 2)
    share = _ratio(wins.sum((0, 2)), games.sum((0, 2)))
    shares = _ratio(drawn.sum(2), (drawn + drawn.swapaxes(1, 2)).sum(2))
    score, scores = strengths(wins.sum(0)), strengths(drawn)
    several = len(voters) > 1  # one voter gives no estimate of the variation between voters
    found = []
    for i, name in enumerate(names):
        paired = int(games.sum((0, 2))[i])
        scores_i = (float(score[i]), percentile_interval(scores[:, i]) if several else None)
        found.append(
            Standing(
                name,
                int(rated.sum(0)[i]),
                _finite(mean[i]),
                percentile_interval(means[:, i]) if several else None,
                paired,
                _finite(share[i]),
                percentile_interval(shares[:, i]) if several else None,
                *(scores_i if paired else (None, None)),
            )
        )
    return sorted(found, key=lambda s: -np.inf if s.score is None else s.score, reverse=True)


def preference(votes: list[dict[str, Any]], seed: int = 0) -> tuple[float, Interval, int] | None:
    """The share of the pairs of DefGAN's and GANimation's edits in which people chose DefGAN's, its
    interval (None for one voter) and the number of pairs; None where no vote compares them."""
    won: dict[str, list[bool]] = {}
    for vote in votes:
        # Names may carry their set: procedural/defgan.
        names = {vote[side].rpartition("/")[2] for side in ("left", "right") if side in vote}
        if names == {CHOSEN, OVER}:
            chosen = vote["chosen"].rpartition("/")[2] == CHOSEN
            won.setdefault(vote["voter"], []).append(chosen)
    if not won:
        return None
    wins, pairs = (np.array([count(answers) for answers in won.values()]) for count in (sum, len))
    draws = resample_counts(len(won), REPLICATES, seed)
    between = percentile_interval(draws @ wins / (draws @ pairs)) if len(won) > 1 else None
    return float(wins.sum() / pairs.sum()), between, int(pairs.sum())


def preference_verdict(votes: list[dict[str, Any]]) -> str:
    """DefGAN's claim about people's choice, tested on votes, as a sentence."""
    claim = (
        f"People prefer DefGAN's edits to GANimation's ({PUBLISHED:.0%} of the pairs in the paper)"
    )
    if (found := preference(votes)) is None:
        return f"{claim}: {ABSENT}, no vote compares the two."
    share, between, pairs = found
    verdict = OPEN
    if between and between[0] > 0.5:
        verdict = HOLDS
    elif between and between[1] < 0.5:
        verdict = FAILS
    return f"{claim}: **{verdict}**, {_cell(share, between, 100)} % of {pairs} pairs."


def table(rows: list[Standing]) -> str:
    """The standings as a Markdown table."""
    lines = [
        "| method | rating, 1 to 4 | rated | pairs won, % | pairs | Bradley-Terry score |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for s in rows:
        rating, wins, score = (
            _cell(s.rating, s.rating_interval, 1),
            _cell(s.wins, s.wins_interval, 100),
            _cell(s.score, s.score_interval, 1),
        )
        lines.append(f"| {s.method} | {rating} | {s.rated} | {wins} | {s.paired} | {score} |")
    return "\n".join(lines)


def report(path: Path) -> str:
    """The number of votes of a file, and its standings in Markdown."""
    votes, invalid = read(path)
    voters = len({vote["voter"] for vote in votes})
    head = f"{len(votes)} votes of {voters} rounds"
    head += f"; {invalid} invalid lines" if invalid else ""
    note = "\n\nNo intervals: there is only one round." if voters == 1 else ""
    return f"{head}.\n\n{table(standings(votes))}\n\n{preference_verdict(votes)}{note}"


def _ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    return np.divide(above, below, out=np.full(np.shape(above), np.nan), where=below > 0)


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _cell(value: float | None, between: Interval, scale: float) -> str:
    if value is None:
        return "-"
    low_high = f" [{scale * between[0]:.2f}, {scale * between[1]:.2f}]" if between else ""
    return f"{scale * value:.2f}{low_high}"
