"""Votes of the Space's study (DefGAN's, arXiv 1911.00735, section 4) -> ratings, win rates and
Bradley-Terry scores, with intervals.

A vote is one JSON line: stage 1 {"stage", "voter", "method", "emotion", "rating" 1..4}, stage 2
{"stage", "voter", "left", "right", "chosen", "emotion"}. People differ more than pictures, so the
bootstrap draws voters, each with all their votes.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench.bootstrap import counts, interval
from bench.roster import UserError

REPLICATES, STEPS = 1000, 200
PRIOR = 0.1  # of a vote for either side of every pair: scores stay finite where one always wins
Interval = tuple[float, float] | None


@dataclass(frozen=True)
class Standing:
    """One method. rating: mean of 1..4; wins: share of its pairs won; score: Bradley-Terry's log
    strength, their mean 0. Each with its interval; None where there are no votes."""

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
    """(the votes of a file, how many lines of it are none); raises UserError without any vote."""
    if not path.is_file():
        raise UserError(f"there is no file of votes {path}; the Space writes out/study.jsonl")
    votes, lost = [], 0
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            votes.append(checked(json.loads(line)))
        except (ValueError, KeyError, TypeError):
            lost += 1
    if not votes:
        raise UserError(f"{path} holds no vote")
    return votes, lost


def checked(vote: dict[str, Any]) -> dict[str, Any]:
    """The vote; raises ValueError, KeyError or TypeError for what is none."""
    names = {1: ("method",), 2: ("left", "right", "chosen")}[vote["stage"]]
    if not all(isinstance(vote[name], str) for name in (*names, "voter")):
        raise ValueError("names are text")
    if vote["stage"] == 1 and vote["rating"] not in (1, 2, 3, 4):
        raise ValueError("a rating is 1, 2, 3 or 4")
    if vote["stage"] == 2 and (
        vote["left"] == vote["right"] or vote["chosen"] not in (vote["left"], vote["right"])
    ):
        raise ValueError("one of two is chosen")
    return vote


def strengths(wins: np.ndarray) -> np.ndarray:
    """Bradley-Terry's log strengths `[..., k]`, mean 0, of wins `[..., k, k]` (row over column);
    Hunter's MM iteration (Annals of Statistics 32, 2004)."""
    k = wins.shape[-1]
    wins = wins + PRIOR * (1 - np.eye(k))
    games, won = wins + wins.swapaxes(-1, -2), wins.sum(-1)
    p = np.ones(won.shape)
    for _ in range(STEPS):
        p = won / (games / (p[..., :, None] + p[..., None, :])).sum(-1)
        p = p / np.exp(np.log(p).mean(-1, keepdims=True))
    return np.log(p)


def standings(votes: list[dict[str, Any]], seed: int = 0) -> list[Standing]:
    """Every method that somebody voted on, the strongest first."""
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
    draws = counts(len(voters), REPLICATES, seed)
    drawn = np.einsum("bv,vij->bij", draws, wins)
    mean, means = _ratio(total.sum(0), rated.sum(0)), _ratio(draws @ total, draws @ rated)
    games = wins + wins.swapaxes(1, 2)
    share = _ratio(wins.sum((0, 2)), games.sum((0, 2)))
    shares = _ratio(drawn.sum(2), (drawn + drawn.swapaxes(1, 2)).sum(2))
    score, scores = strengths(wins.sum(0)), strengths(drawn)
    several = len(voters) > 1  # one person's votes say nothing of how people differ
    found = []
    for i, name in enumerate(names):
        paired = int(games.sum((0, 2))[i])
        scores_i = (float(score[i]), interval(scores[:, i]) if several else None)
        found.append(
            Standing(
                name,
                int(rated.sum(0)[i]),
                _known(mean[i]),
                interval(means[:, i]) if several else None,
                paired,
                _known(share[i]),
                interval(shares[:, i]) if several else None,
                *(scores_i if paired else (None, None)),
            )
        )
    return sorted(found, key=lambda s: -np.inf if s.score is None else s.score, reverse=True)


def table(found: list[Standing]) -> str:
    """Markdown."""
    lines = [
        "| method | rating, 1 to 4 | rated | pairs won, % | pairs | Bradley-Terry score |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for s in found:
        rating, wins, score = (
            _cell(s.rating, s.rating_interval, 1),
            _cell(s.wins, s.wins_interval, 100),
            _cell(s.score, s.score_interval, 1),
        )
        lines.append(f"| {s.method} | {rating} | {s.rated} | {wins} | {s.paired} | {score} |")
    return "\n".join(lines)


def report(path: Path) -> str:
    """What the votes of a file say."""
    votes, lost = read(path)
    voters = len({vote["voter"] for vote in votes})
    head = f"{len(votes)} votes of {voters} rounds" + (f"; {lost} lines are none" if lost else "")
    note = "\n\nNo intervals: there is one round only." if voters == 1 else ""
    return f"{head}.\n\n{table(standings(votes))}{note}"


def _ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    return np.divide(above, below, out=np.full(np.shape(above), np.nan), where=below > 0)


def _known(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _cell(value: float | None, between: Interval, scale: float) -> str:
    if value is None:
        return "-"
    low_high = f" [{scale * between[0]:.2f}, {scale * between[1]:.2f}]" if between else ""
    return f"{scale * value:.2f}{low_high}"
