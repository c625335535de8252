"""The Study tab: DefGAN's user study (arXiv 1911.00735, section 4), on rendered people only.

Stage 1: how plausible is this face, 1 to 4? Stage 2: which of two shows the emotion more plausibly?
The order is random and the methods are hidden. Votes go to a JSON-lines file, which
`python bench/run.py --study FILE` analyses.
"""

from __future__ import annotations

import os
import random
import secrets
import time
from collections import OrderedDict
from functools import lru_cache
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np

from demo import errors
from demo.components.base import STATIC, JsonHTML, NoStubMeta
from demo.handlers import Handlers
from demo.tabs.edit import PAGE
from demo.visualize import jpeg
from ganmut import images
from ganmut.errors import hub_errors
from ganmut.files import append_lines
from ganmut.rendering.sampler import sample_parameters, with_expression
from ganmut.rendering.shading import render

PEOPLE = range(20, 44)  # of the rendered test split; nobody of the front page is among them
SIDE = 256  # px of their pictures
RATED, PAIRS = 8, 8  # questions of the two stages
GROUND_TRUTH = "ground_truth"  # the person rendered with the expression: an upper bound
ROUNDS = 4  # of one session
VOTES, DAY = 200, 86400.0  # of one address, in so many seconds
ENOUGH = "thank you, these are enough votes from here; come back tomorrow"
Vote = dict[str, Any]


def box() -> Path:
    """The file that votes are appended to: GANMUT_STUDY, or out/study.jsonl."""
    return Path(os.environ.get("GANMUT_STUDY") or "out/study.jsonl")


def store_vote(vote: Vote) -> None:
    """Appends one vote as one line; raises OSError, such as for a full disk, and stores nothing."""
    append_lines(box(), [vote])


def address_of(request: gr.Request) -> str:
    """The address that limits are counted for, see `demo.security.requests.visitor`."""
    return request.request.scope.get("visitor", "") if request.request else ""


def share_votes() -> None:
    """Sends the file to the Hub data set GANMUT_STUDY_HUB every ten minutes, where that is set and
    there is a token; else does nothing. Without the Hub the page starts and keeps its votes."""
    name, token = os.environ.get("GANMUT_STUDY_HUB"), os.environ.get("HF_TOKEN")
    if name and token:
        from huggingface_hub import CommitScheduler

        path = box()
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            CommitScheduler(
                repo_id=name,
                repo_type="dataset",
                folder_path=path.parent,
                every=10,
                token=token,
                allow_patterns=path.name,
            )
        except (*hub_errors(), ValueError) as error:
            errors.note(error)


class UserStudy:
    """Questions, one visitor's at a time; the visitor's page never learns which method it sees."""

    def __init__(self, handlers: Handlers):
        self.service = handlers.service
        first = next(iter(handlers.choices.values()))
        self.methods = [c for c in handlers.choices.values() if c.group == first.group]
        self.emotions = [
            e for e in first.emotions[1:] if all(e in c.emotions for c in self.methods)
        ]

        self.recent: OrderedDict[str, tuple[float, int]] = OrderedDict()  # address -> since, votes

    def count(self, address: str) -> None:
        """Counts a vote of an address; raises ValueError where it has had VOTES within a DAY. The
        counts live in memory only."""
        now = time.monotonic()
        since, votes = self.recent.pop(address, (now, 0))
        since, votes = (now, 0) if now - since > DAY else (since, votes)
        self.recent[address] = (since, min(votes + 1, VOTES))
        if votes >= VOTES:
            raise ValueError(ENOUGH)
        while len(self.recent) > 10_000:
            self.recent.popitem(last=False)

    def begin(self, voter: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """(the visitor's state, the first question): a new round, or the open one again."""
        if not voter.get("questions"):
            rounds = voter.get("rounds", 0) + 1
            if rounds > ROUNDS:
                raise ValueError(ENOUGH)
            name = voter.get("voter") or secrets.token_hex(8)  # one voter, however many rounds
            voter = {"voter": name, "rounds": rounds, "at": 0, "questions": self._round()}
        return voter, self.ask(voter)

    def vote(
        self, voter: dict[str, Any], answer: int | None, request: gr.Request
    ) -> tuple[dict, dict]:
        """Notes the answer to the question that is open and asks the next."""
        questions, at = voter.get("questions", []), voter.get("at", 0)
        if at >= len(questions):
            return self.begin(voter | {"questions": []})
        question = questions[at]
        if answer not in question["answers"]:
            raise ValueError("this is none of the answers; press one of the buttons")
        noted = {k: question[k] for k in ("stage", "emotion", "person")}
        noted |= {"voter": voter["voter"], "time": round(time.time(), 1)}
        if question["stage"] == 1:
            noted |= {"method": question["methods"][0], "rating": answer}
        else:
            left, right = question["methods"]
            noted |= {"left": left, "right": right, "chosen": question["methods"][answer - 1]}
        self.count(address_of(request))
        store_vote(noted)
        voter = voter | {"at": at + 1}
        return voter, self.ask(voter)

    def _round(self) -> list[dict[str, Any]]:
        """RATED questions of stage 1 and PAIRS of stage 2, all drawn anew."""
        draw = random.SystemRandom()
        keys = [choice.key for choice in self.methods]

        def question(stage: int, methods: list[str]) -> dict[str, Any]:
            about = {"emotion": draw.choice(self.emotions), "person": draw.choice(PEOPLE)}
            answers = [1, 2, 3, 4] if stage == 1 else [1, 2]
            return {"stage": stage, "methods": methods, "answers": answers} | about

        rated = [question(1, [draw.choice([*keys, GROUND_TRUTH])]) for _ in range(RATED)]
        pairs = [question(2, draw.sample([*keys, GROUND_TRUTH], 2)) for _ in range(PAIRS)]
        return rated + pairs

    def ask(self, voter: dict[str, Any]) -> dict[str, Any]:
        """The question that is open, without what would give its methods away."""
        questions, at = voter["questions"], voter["at"]
        count = {"at": at, "of": len(questions)}
        if at >= len(questions):
            return count | {"done": True}
        question = questions[at]
        faces = [
            jpeg(self.picture(question["person"], question["emotion"], method))
            for method in question["methods"]
        ]
        return count | {"stage": question["stage"], "emotion": question["emotion"], "faces": faces}

    def picture(self, person: int, emotion: str, method: str) -> np.ndarray:
        """VIEW x VIEW x 3 uint8: a rendered person under an emotion, by a method or as rendered."""
        if method == GROUND_TRUTH:
            face = self.service.open(portrait(person, emotion), (0.0, 0.0, SIDE))
            return self.service.session(face).view
        face = self.service.open(portrait(person, "neutral"), (0.0, 0.0, SIDE))
        code = self.service.code_of_emotion(method, emotion, 1.0)
        return self.service.move(face, method, code, read=False)[0]


@lru_cache(maxsize=64)  # 12 MB; rendering takes longer than an edit
def portrait(person: int, emotion: str) -> np.ndarray:
    """SIDE x SIDE x 3 uint8, read-only: somebody of the test split with an expression."""
    truth = with_expression(sample_parameters(0, "test", [7 * person]), emotion)
    face = images.to_array(render(truth, SIDE, "cpu"))[0]
    face.flags.writeable = False
    return face


class Ballot(JsonHTML, metaclass=NoStubMeta):
    """A question and its answers as buttons; the value carries the number that was pressed."""

    schema = {  # noqa: RUF012
        "type": "object",
        "properties": {"answer": {"type": "integer", "minimum": 1}},
    }

    def __init__(self, value: dict[str, Any] | None = None, **options: Any):
        press = (
            "element.addEventListener('click', (event) => {\n"
            "  const item = event.target.closest('button');\n"
            "  if (!item) return;\n"
            "  props.value = { ...props.value, answer: Number(item.dataset.answer) };\n"
            "  trigger('input');\n});"
        )
        template = (STATIC / "user_study.html").read_text("utf-8")
        super().__init__(value or {}, html_template=template, js_on_load=press, **options)

    def preprocess(self, payload: Any) -> int | None:
        answer = payload.get("answer") if isinstance(payload, dict) else None
        return answer if isinstance(answer, int) and not isinstance(answer, bool) else None


def build(handlers: Handlers, tab: gr.Tab) -> None:
    """The tab; a round begins when it is opened."""
    share_votes()
    study = UserStudy(handlers)
    with gr.Column(elem_classes="card ballot"):
        voter = gr.State({})
        ballot = Ballot(elem_id="ballot")
    one = {"concurrency_limit": 1, "concurrency_id": "study", "show_progress": "hidden"}
    tab.select(study.begin, voter, [voter, ballot], api_visibility="private", **one)
    ballot.input(
        study.vote,
        [voter, ballot],
        [voter, ballot],
        api_name="vote",
        trigger_mode="once",
        **one,
        **PAGE,
    )
