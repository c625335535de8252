"""User study: the bench reads the votes that the Space writes and recovers known strengths."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hub_server import TOKEN, ask

from bench import run, user_study
from demo.tabs.user_study import store_vote


def votes(strength: dict[str, float], voters: int = 40, each: int = 30) -> list[dict]:
    """Votes drawn from a Bradley-Terry model of known strengths, with ratings by strength."""
    generator, names = np.random.default_rng(0), list(strength)
    drawn = []
    for voter in range(voters):
        for _ in range(each):
            left, right = generator.choice(names, 2, replace=False).tolist()
            odds = 1 / (1 + math.exp(strength[right] - strength[left]))
            chosen = left if generator.random() < odds else right
            drawn.append(
                {
                    "stage": 2,
                    "voter": str(voter),
                    "left": left,
                    "right": right,
                    "chosen": chosen,
                    "emotion": "happy",
                }
            )
        name = names[voter % len(names)]
        rating = 1 + int(generator.random() < 0.5) + 2 * (strength[name] > 0)
        drawn.append(
            {"stage": 1, "voter": str(voter), "method": name, "rating": rating, "emotion": "sad"}
        )
    return drawn


def test_known_strengths_are_recovered():
    truth = {"a": 1.0, "b": 0.0, "c": -1.0}
    found = user_study.standings(votes(truth))
    assert [s.method for s in found] == ["a", "b", "c"]
    for standing in found:
        low, high = standing.score_interval
        assert low < truth[standing.method] < high and high - low < 1
        assert standing.score == pytest.approx(truth[standing.method], abs=0.25)
    assert found[0].wins > 0.6 > 0.4 > found[2].wins
    assert found[0].rating > 2.9 and found[2].rating < 2.1


def test_constant_winner_has_a_finite_score():
    always = [{"stage": 2, "voter": "x", "left": "a", "right": "b", "chosen": "a"}] * 9
    best, worst = user_study.standings(always)
    assert best.wins == 1 and 0 < best.score < 10 and best.score == pytest.approx(-worst.score)
    assert best.score_interval is None and best.rating is None


@pytest.mark.parametrize(
    ("shares", "verdict"),
    [
        ({}, "not measured"),
        ({"1": 0.8}, "undecided"),  # one voter tells nothing of others
        ({"1": 0.9, "2": 0.8, "3": 0.9}, "holds"),
        ({"1": 0.1, "2": 0.2, "3": 0.1}, "does not hold"),
        ({"1": 0.9, "2": 0.1, "3": 0.5}, "undecided"),
    ],
)
def test_people_prefer_defgan(shares, verdict):
    sides = {"left": "procedural/ganimation", "right": "procedural/defgan"}
    other = {"left": "procedural/defgan", "right": "procedural/stargan"}
    cast = [{"stage": 2, "voter": "1", "chosen": "procedural/stargan"} | other] * 20
    for voter, share in shares.items():
        for number in range(10):
            chosen = "procedural/" + ("defgan" if number < 10 * share else "ganimation")
            cast.append({"stage": 2, "voter": voter, "chosen": chosen} | sides)
    assert verdict in user_study.preference_verdict(cast)
    found = user_study.preference(cast)
    if shares:
        assert found[0] == pytest.approx(sum(shares.values()) / len(shares)) and found[
            2
        ] == 10 * len(shares)


def test_votes_of_the_page_are_read(tmp_path, monkeypatch, capsys):
    file = tmp_path / "study.jsonl"
    monkeypatch.setenv("GANMUT_STUDY", str(file))
    about = {"emotion": "happy", "person": 21, "voter": "1", "time": 1.0}
    store_vote({"stage": 1, "method": "ganmut", "rating": 3} | about)
    store_vote({"stage": 2, "left": "ganmut", "right": "oracle", "chosen": "oracle"} | about)
    with file.open("a") as more:  # the last vote is cut short, and another visitor votes then
        more.write(json.dumps({"stage": 1, "method": "x", "rating": 9}) + '\n{"stage": 1, "met')
    store_vote({"stage": 1, "method": "stargan", "rating": 2} | about)
    assert run.main(["--study", str(file)]) == 0
    report = capsys.readouterr().out
    assert "3 votes of 1 rounds; 2 invalid lines" in report and "| ground_truth |" in report
    assert run.main(["--study", str(tmp_path / "none.jsonl")]) == 2
    capsys.readouterr()
    assert run.main(["--study", str(file), "--methods", "ganmut", "--no-figures"]) == 2
    error = capsys.readouterr().err
    assert "--methods" in error and "--no-figures" in error and "--data" not in error


def test_votes_stay_here_without_the_hub(tmp_path):
    program = "from demo.tabs.user_study import share_votes; share_votes(); print('started')"
    variables = {"GANMUT_STUDY_HUB": "me/votes", "HF_TOKEN": TOKEN}
    variables["GANMUT_STUDY"] = str(tmp_path / "study.jsonl")
    assert ask(program, "http://127.0.0.1:9", tmp_path / "home", **variables) == "started\n"
