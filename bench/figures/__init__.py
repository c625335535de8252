"""Figures: written beside the leaderboard, which shows those that are there; a kind a prefix."""

from __future__ import annotations

from pathlib import Path

from bench.feature_cache import Evidence
from bench.figures import changes, gamut, lines, tsne
from bench.figures.canvas import rendered_person, write
from bench.systems import EditorRow

__all__ = ["draw", "rendered_person"]


def draw(
    evidence: list[Evidence], folder: Path, seed: int = 0, embedded: bool = True
) -> list[Path]:
    """Writes all figures of some editors' evidence to a folder and returns their paths.

    embedded: also the t-SNE embedding, which needs the evidence of FED.
    """
    editors = {e.row.name: e.row.editor for e in evidence if isinstance(e.row, EditorRow)}
    if not editors:
        return []
    person = rendered_person(max(editor.size for editor in editors.values()), seed)
    emotions, steps = evidence[0].emotions[1:], evidence[0].protocol.steps
    made = {"sheet": lines.sheet(editors, person, emotions)}
    for one in evidence:
        name, space, editor = one.row.name, one.row.space, editors[one.row.name]
        if space.chart(2) is not None:
            made[f"gamut_{name}"] = gamut.gamut_map(one)
            made[f"faces_{name}"] = gamut.gamut_faces(editor, person)
            if "directions" in space.state():
                made[f"wheel_{name}"] = gamut.wheel(editor, person)
        if space.kind == "units":
            made[f"sweep_{name}"] = lines.sweep(editor, person, steps)
    for emotion in emotions:
        made[f"strip_{emotion}"] = lines.strip(editors, person, emotion, steps)
    made |= changes.figures(editors, person, emotions)
    if embedded:
        made["tsne"] = tsne.panels(evidence, seed)
    return [write(folder / f"{name}.png", figure) for name, figure in made.items()]
