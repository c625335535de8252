"""Figures: PNG files beside the leaderboard, which embeds those that exist. The first word of a
file name is the kind of figure."""

from __future__ import annotations

import contextlib
from pathlib import Path

from ..features.cache import Features
from ..metrics import NotMeasured
from ..systems import EditorSystem
from . import changes, frontier, gamut, lines, tsne
from .canvas import rendered_person, write

__all__ = ["draw", "rendered_person"]


def draw(
    systems: list[Features], folder: Path, seed: int = 0, with_tsne: bool = True
) -> list[Path]:
    """Writes all figures of some editors to a folder and returns their paths.

    with_tsne: also the t-SNE embedding, which needs the features of FED.
    """
    editors = {
        f.system.name: f.system.editor for f in systems if isinstance(f.system, EditorSystem)
    }
    if not editors:
        return []
    person = rendered_person(systems[0].faces.size, seed)
    emotions, steps = systems[0].emotions[1:], systems[0].protocol.steps
    made = {"sheet": lines.method_grid(editors, person, emotions)}
    for features in systems:
        name, space = features.system.name, features.system.space
        if space.chart(2) is not None:
            made[f"gamut_{name}"] = gamut.gamut_map(features)
            made[f"faces_{name}"] = gamut.gamut_faces(editors[name], person)
            made[f"mixtures_{name}"] = gamut.mixtures(features, editors[name], person)
            made[f"random_{name}"] = gamut.random_edits(editors[name], person)
            if "directions" in space.state():
                made[f"wheel_{name}"] = gamut.emotion_wheel(editors[name], person)
        if space.kind == "styles":
            made[f"styles_{name}"] = lines.style_rows(editors[name], person, systems[0].emotions)
        if space.kind == "units":
            made[f"sweep_{name}"] = lines.unit_sweep(editors[name], person, steps)
            warped = lines.warped_sweep(editors[name], person, steps)
            made |= {f"warped_{name}": warped} if warped is not None else {}
    for emotion in emotions:
        made[f"strip_{emotion}"] = lines.emotion_path(editors, person, emotion, steps)
    by_units = {name: e for name, e in editors.items() if e.space.kind == "units"}
    if by_units:
        made["transfer"] = lines.unit_transfer(by_units, person)
    with contextlib.suppress(NotMeasured):  # no face embedder for these faces
        made["frontier"] = frontier.curves(systems)
    made |= changes.figures(editors, person, emotions)
    if with_tsne:
        made["tsne"] = tsne.panels(systems, seed)
    return [write(folder / f"{name}.png", figure) for name, figure in made.items()]
