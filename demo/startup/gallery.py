"""The example faces: a photograph at once, rendered people when they are needed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import NamedTuple

import numpy as np
from PIL import Image
from skimage import data as samples

from demo.components.gamut_pad import data_uri
from ganmut import images
from ganmut.faces import Face
from ganmut.faces.align import template
from ganmut.rendering.sampler import sample_parameters, with_expression
from ganmut.rendering.shading import render
from ganmut.text import quote

EXAMPLES = (17, 14, 12, 1, 19)  # people of the rendered test split who stand on the front page
RENDERED = tuple(f"rendered {i}" for i in range(1, len(EXAMPLES) + 1))  # their names
THUMB = 96  # px


class Example(NamedTuple):
    """A face on the front page: picture H x W x 3 uint8, and where its face is, if that is known
    better than a detector can tell."""

    name: str
    picture: np.ndarray
    face: Face | None = None


class Gallery:
    """The examples of a page, which opens with the first.

    given: without it the photograph and the rendered people. register: is told where the face of a
    picture is, once a person is rendered.
    """

    def __init__(self, register: Callable[[np.ndarray, Face], None], given: Sequence[Example] = ()):
        self.register, self._given = register, list(given)
        self.first = self._given[0] if given else photograph()
        self.names = tuple(e.name for e in self._given) or (self.first.name, *RENDERED)

    @cached_property
    def all(self) -> list[Example]:
        """Every example; the first use renders the people."""
        found = self._given or [self.first, *render_people()]
        for example in found:
            if example.face is not None:
                self.register(example.picture, example.face)
        return found

    def example(self, name: str) -> Example:
        """The example of a name; raises ValueError."""
        if not isinstance(name, str) or name not in self.names:
            known = ", ".join(self.names)
            raise ValueError(f"there is no example {quote(name)}; there are: {known}")
        return self.first if name == self.first.name else self.all[self.names.index(name)]

    def thumbnails(self, complete: bool) -> list[tuple[str, str]]:
        """(name, data URI) of each example; of all but the first "" where not `complete`."""
        shown = self.all if complete else [self.first]
        found = [(e.name, data_uri(_thumb(e.picture), "JPEG", quality=85)) for e in shown]
        return [*found, *((name, "") for name in self.names[len(found) :])]


def rendered_face(side: int) -> Face:
    """The face of a rendered picture of that side: the renderer puts it where crops have it."""
    rim = side / 8
    return Face(template(side), (rim, rim, side - 2 * rim, side - 2 * rim), 1.0)


def photograph() -> Example:
    """NASA's portrait of Eileen Collins."""
    return Example("astronaut", samples.astronaut())


def render_people(side: int = 256) -> list[Example]:
    """Rendered people, who take a second to render."""
    parameters = sample_parameters(0, "test", [7 * person for person in EXAMPLES])
    faces = images.to_array(render(with_expression(parameters, "neutral"), side, "cpu"))
    return [
        Example(name, face, rendered_face(side)) for name, face in zip(RENDERED, faces, strict=True)
    ]


def _thumb(pixels: np.ndarray) -> Image.Image:
    """A square thumbnail; of a larger photograph its upper middle, where a portrait's face is."""
    picture = Image.fromarray(pixels)
    if picture.width > 300:
        side = picture.width // 2
        left, top = (picture.width - side) // 2 - side // 8, 0
        picture = picture.crop((left, top, left + side, top + side))
    return picture.resize((THUMB, THUMB), Image.Resampling.LANCZOS)
