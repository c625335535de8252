"""What the page says of a method: its heading and a line about it."""

from __future__ import annotations

from demo.sessions.session import MethodChoice

LEARNED = {"procedural": "rendered faces", "photos": "photographs"}
MOVED = {
    "gamut": "a point",
    "labels": "emotions",
    "styles": "styles",
    "units": "action units",
    "expression": "emotions and action units",
}


def heading(choice: MethodChoice) -> str:
    what = {
        "gamut": "Move the point <span>drag, click or use the arrow keys</span>",
        "units": "Move action units <span>17 of them</span>",
        "expression": "Choose an emotion, move action units <span>17 of them</span>",
    }.get(choice.kind, "Choose an emotion <span>how much, and mixed with what</span>")
    return f"<h2>{what}</h2>"


def about(choice: MethodChoice) -> str:
    how = {
        "disc": "direction is the emotion, distance from the middle its strength",
        "square": "each emotion has its own region, and blends lie between them",
    }.get(choice.shape or "") or {
        "labels": "emotions, mixed with each other and with neutral",
        "styles": "every emotion in many styles",
        "units": "each action unit on its own; the face's own expression changes nothing",
        "expression": "emotions and action units",
    }[choice.kind]
    source = f"{choice.paper}. Learned from {LEARNED.get(choice.group, choice.group)}"
    size = ", at the photograph's own resolution" if choice.sharp else f", {choice.size} px"
    return f"<p class='about'>{choice.title}: {how}.<span>{source}{size}.</span></p>"


def notice(text: str) -> str:
    """A sentence beside the picture as HTML, "" for none."""
    return f"<p class='notice'>{text}</p>" if text else ""
