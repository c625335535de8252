"""Undo and redo of the edits in one picture, and what stays of one face while another is edited.

A state is a face and the link of its setting: the same link that a visitor can copy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import gradio as gr

from demo.settings import link

if TYPE_CHECKING:
    from demo.handlers import Handlers

MOST = 50  # states that are remembered


@dataclass(frozen=True)
class State:
    """face: an id; link: of its setting; chosen: False for the edit that a face opens with, which
    nobody asked for."""

    face: str
    link: str
    chosen: bool = True


@dataclass(frozen=True)
class History:
    """The states of one picture, oldest first, and which of them the page shows."""

    states: tuple[State, ...] = ()
    at: int = 0

    @property
    def now(self) -> State | None:
        """The state that the page shows, None without a face."""
        return self.states[self.at] if self.states else None

    def push(self, state: State) -> History:
        """The history with a state after the present one, in the place of those that were undone.
        The present state again changes nothing; of over MOST states the oldest are dropped."""
        if self.now and (self.now.face, self.now.link) == (state.face, state.link):
            return self
        states = (*self.states[: self.at + 1], state)[-MOST:]
        return History(states, len(states) - 1)

    def step(self, by: int) -> History:
        """The history so many states later (negative: earlier), at most at its end."""
        return History(self.states, min(max(self.at + by, 0), max(len(self.states) - 1, 0)))

    def outputs(self) -> list:
        """What the page takes: the history, and whether there is anything to undo and to redo."""
        last = len(self.states) - 1
        return [
            self,
            gr.update(interactive=self.at > 0),
            gr.update(interactive=self.at < last),
        ]


class Steps:
    """Undo, redo, and the edits of the picture's other faces."""

    def __init__(self, handlers: Handlers):
        self.handlers, self.service = handlers, handlers.service

    def record(self, face: str, history: History, *controls: Any) -> list:
        """Notes what the page shows, once the hand rests."""
        if not face:
            return History().outputs()
        return history.push(State(face, self._link(controls))).outputs()

    def undo(self, face: str, history: History) -> list:
        """The state before: everything that the page shows of it."""
        return self._step(face, history, -1)

    def redo(self, face: str, history: History) -> list:
        """The state that was undone last."""
        return self._step(face, history, 1)

    def _step(self, face: str, history: History, by: int) -> list:
        later = history.step(by)
        if not face or later.now is None:
            raise ValueError("there is nothing to undo or redo; choose a face first")
        return [*self.handlers.restore(later.now.face, later.now.link), *later.outputs()]

    def face(
        self, path: str | None, spot: Any, shown: str, history: History, *controls: Any
    ) -> list:
        """Another face of the picture, or a square that the visitor drew; edits of the faces that
        the visitor left stay, and come back with their face."""
        edits = self._edits(shown, history, controls) if shown else {}
        own = edits.pop(spot, "") if isinstance(spot, int) else ""
        values = self.handlers.face(path, spot, *controls, edits=edits, own=own)
        opened = values[-3]
        states = (*history.states[: history.at + 1], *opened.states)[-MOST:]
        return [*values[:-3], *History(states, len(states) - 1).outputs()]

    def _edits(self, face: str, history: History, controls: Sequence[Any]) -> dict[int, str]:
        """Number -> link of the edits in a picture, that of the face in hand included if the
        visitor asked for it."""
        session, now = self.service.session(face), self._link(controls)
        untouched = history.now == State(face, now, chosen=False)
        own = {} if untouched or not session.number else {session.number: now}
        return session.edits | own

    def _link(self, controls: Sequence[Any]) -> str:
        setting = self.handlers.setting(*controls)
        return link(setting, self.handlers.choice(setting.method))
