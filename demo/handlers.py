"""What happens on the Edit tab: checked values in, pictures out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import gradio as gr
import numpy as np

from demo import visualize
from demo.components import face_picker
from demo.components.gamut_pad import pad_properties, sheet_value
from demo.components.sliders import mix_rows, unit_rows
from demo.descriptions import LEARNED, MOVED, about, heading, notice
from demo.errors import as_sentence, to_sentence
from demo.security.files import read_picture
from demo.service import Service
from demo.sessions.history import History, State
from demo.sessions.session import MethodChoice, Spot, units_text
from demo.settings import (
    SEEDS,
    START,
    Setting,
    emotion_button,
    find_choice,
    link,
    names_values,
    number,
    outside,
    parse_link,
    parse_setting,
    query_of,
    setting_of_emotion,
    snippet,
    words,
)
from demo.startup.gallery import Example, Gallery
from demo.visualize import jpeg
from ganmut.emotions import UNITS, emotion_from_units
from ganmut.encoding import compose_edit
from ganmut.faces import NoFace, turn_note
from ganmut.text import quote

# Emotions of the first edit: the first that the method knows and the face does not show already.
FIRST = ("happy", "surprised")
RESET = "Reset to this face"
CANNOT_RESET = "No reset: nothing here can read this face's units"


class Handlers:
    """What the page does when the visitor does something; faces go by the id that `open` gave."""

    def __init__(self, service: Service, examples: Sequence[Example] = ()):
        self.service, self.choices = service, service.choices
        self.gallery = Gallery(service.register_face, examples)

    def example(self, name: str) -> np.ndarray:
        """An example face as a picture."""
        return self.gallery.example(name).picture

    def open(self, path: str | None, history: History, *controls: Any) -> list:
        """Takes a picture: its faces, the edit of the largest; or a sentence why not. The face that
        the page shows already changes nothing: a browser sends an upload twice, and the second
        answer would undo what the visitor did after the first."""
        return self.face(path, 1, *controls, shown=history.now.face if history.now else "")

    def face(
        self,
        path: str | None,
        spot: Spot,
        *controls: Any,
        shown: str = "",
        edits: Mapping[int, str] | None = None,
        own: str = "",
    ) -> list:
        """The same with another face of the picture, or with a square that the visitor drew.

        edits: of the picture's other faces, see `FaceStore.open`; own: of this face, as a link.
        """
        if path is None:
            return self._show_nothing(controls[0], "", {"number": 1})
        picture = None
        try:
            picture = read_picture(path)
            face = self.service.open(picture, spot, edits=edits)
            if face == shown:
                return gr.skip()
            if own:
                return [*self.restore(face, own), *History((State(face, own),)).outputs()]
            return self.show_face(face, *controls)
        except NoFace as error:
            drawn = face_picker.empty_value(picture.pixels)
            return self._show_nothing(controls[0], to_sentence(error), drawn)
        except ValueError as error:
            return self._show_nothing(controls[0], to_sentence(error), {"number": 1})

    def show_face(
        self, face: str, method: str, point: tuple, mix: Any, seed: Any, units: Any
    ) -> list:
        """Everything that the page shows of a face: the components that `edit.connect` fills. A
        picture that another set of weights is meant for changes the method, too."""
        asked = self.choice(method)
        choice = self.choice(self.service.recommend(face, asked.key))
        if choice != asked:
            setting = self.first(face, choice)
            rest = [*self.method_buttons(choice.key), *self.show_setting(face, choice, setting)]
        else:
            if choice.kind == "units" and not units:  # a new face begins at an own expression
                setting = self.preset_setting(face, choice, choice.favourite, START)
            else:
                setting = parse_setting(choice, point, mix, seed, units)
            rest = self._keep_controls(face, setting, *self._move(face, setting))
        history = History((State(face, link(setting, choice), chosen=False),))
        return [*self._card(face), *rest, *history.outputs()]

    def restore(self, face: str, of: str) -> list:
        """What the page shows of a face under the setting of a link; raises ValueError for a link
        of no method here."""
        setting = parse_link(query_of(of), self.choices)
        if setting is None:
            raise ValueError(f"a link names a method, got {quote(of)}")
        choice = self.choice(setting.method)
        if choice.kind == "units" and not choice.reads:
            own = self._own(face, choice)
            setting = replace(setting, units={int(u): v for u, v in own.items()} | setting.units)
        code = self.service.code(setting, face).tolist()
        if said := outside(setting, choice, code):
            setting = replace(setting, point=tuple(code))
        return [
            *self._card(face, said),
            *self.method_buttons(setting.method),
            *self.show_setting(face, choice, setting),
        ]

    def _card(self, face: str, *said: str) -> list:
        """The face's id, what is said of its picture, and `said`, the boxes of all faces, and the
        source."""
        session = self.service.session(face)
        notes = [*session.origin.notes, *turn_note(session.face), *filter(None, said)]
        return [
            face,
            notice(as_sentence("; ".join(notes)) if notes else ""),
            face_picker.picker_value(session),
            jpeg(session.view),
        ]

    def _keep_controls(self, face: str, setting: Setting, edited: str, readings: dict) -> list:
        """Method, set and controls stay; faces on the buttons, units and the result do not."""
        # An update names every property of its component: what it leaves out is lost.
        previews = gr.update(items=self.emotion_previews(face, setting.method), named=True)
        skip, units = gr.skip(), gr.update(**self.unit_sliders(face, setting))
        behind = self.background(face, self.choice(setting.method))
        changed = [behind, skip, previews, *[skip] * 6, units, skip, edited, readings]
        return [*[skip] * 3, *changed, skip, skip]

    def _show_nothing(self, method: str, why: str, drawn: dict) -> list:
        rest = self._keep_controls("", Setting(method), "", {})
        return ["", notice(why), drawn, "", *rest, *History().outputs()]

    def method_buttons(self, method: str) -> list:
        """The buttons of the methods and of the sets, for one method."""
        group = self.choice(method).group
        learned = gr.update(value=group, groups=self.sets(), visible=bool(self.sets()))
        return [gr.update(value=method, groups=self.groups(group)), learned]

    def switch_set(self, face: str, group: str, method: str) -> list:
        """Another set of weights: the same method there, or its first."""
        counterpart = self.service.counterpart(method, group)
        choice = self.choice(counterpart)
        return [
            *self.method_buttons(counterpart),
            *self.show_setting(face, choice, self.first(face, choice)),
        ]

    def groups(self, group: str) -> list:
        """The methods of a set by what one moves, for `Methods`; those for which the expression
        model draws in a row of their own."""
        known = [c for c in self.choices.values() if c.group == group]
        those = [c for c in known if not c.space]
        drawn = [[c.key, c.space] for c in known if c.space]
        rows = [
            [MOVED[kind], [[c.key, c.title] for c in those if c.kind == kind]]
            for kind in dict.fromkeys(c.kind for c in those)
        ]
        return [*rows, ["on the expression model", drawn]] if drawn else rows

    def sets(self) -> list:
        """The sets of weights by what they learned from, for `Methods`; none where there is one."""
        known = list(self.service.classifiers)
        return [["learned from", [[k, LEARNED.get(k, k)] for k in known]]] if known[1:] else []

    def choose(self, face: str, method: str) -> list:
        """Another method: what one moves for it, its own starting point, and the edit there."""
        choice = self.choice(method)
        return self.show_setting(face, choice, self.first(face, choice))

    def show_setting(self, face: str, choice: MethodChoice, setting: Setting) -> list:
        """What the page shows of a setting: the values that `edit.connect` hands out."""
        edited, readings = self._move(face, setting) if face else ("", {})
        named, intensity = emotion_button(choice, setting)
        return [
            gr.update(
                visible=choice.kind == "gamut", value=setting.point, **pad_properties(choice)
            ),
            self.background(face, choice),
            gr.update(visible=choice.kind != "gamut"),
            gr.update(items=self.emotion_previews(face, choice.key), named=True, value=named),
            intensity,
            gr.update(visible=choice.mixes),
            gr.update(value=dict(setting.mix), rows=mix_rows(choice)),
            gr.update(visible=choice.kind == "styles"),
            setting.seed,
            gr.update(visible=bool(choice.presets)),
            gr.update(**self.unit_sliders(face, setting)),
            gr.update(value=RESET if choice.reads else CANNOT_RESET, interactive=choice.reads),
            edited,
            readings,
            heading(choice),
            about(choice),
        ]

    def first(self, face: str, choice: MethodChoice) -> Setting:
        """The setting that a method begins with: most of the way to its favourite emotion, or to
        another where it can see that the face shows that one already."""
        if choice.kind == "units":
            return self.preset_setting(face, choice, choice.favourite, START)
        emotion = choice.favourite
        # One reads for all that the expression model draws.
        own = (c for c in self.choices.values() if c.group == choice.group and c.sharp and c.reads)
        reader = next(own, None)
        if choice.sharp and reader and face:
            shown = emotion_from_units(self.service.units(face, Setting(reader.key)))
            others = (name for name in FIRST if name in choice.emotions and name != shown)
            emotion = next(others, emotion)
        return Setting(choice.key, choice.towards(emotion, START), {emotion: START})

    def unit_sliders(self, face: str, setting: Setting) -> dict[str, Any]:
        """Value and rows of the sliders of units: those that a setting names, and for the others
        what its emotions or the face show."""
        choice = self.choice(setting.method)
        shown = None
        if choice.presets and face and (setting.mix or choice.reads):
            shown = self.service.units(face, replace(setting, units={}))
        value = {str(unit): value for unit, value in setting.units.items()}
        return {"value": value, "rows": unit_rows(shown)}

    def preset(self, face: str, method: str, emotion: str, intensity: float, seed: Any) -> list:
        """An emotion button: the mix or the units that it stands for, and the edit."""
        choice = self.choice(method)
        setting = self.preset_setting(face, choice, emotion, intensity, seed)
        edited, readings = self._move(face, setting) if face else ("", {})
        units = gr.update(**self.unit_sliders(face, setting))
        mix = gr.update(value=dict(setting.mix), rows=mix_rows(choice))
        return [mix, units, edited, readings]

    def mix(self, face: str, *controls: Any) -> list:
        """Another mix of emotions: the units that it stands for, and the edit."""
        if not face:
            raise ValueError("choose a face first")
        setting = self.setting(*controls)
        if setting.mix:
            setting = replace(setting, units={})
        units = gr.update(**self.unit_sliders(face, setting))
        return [units, *self._move(face, setting)]

    def preset_setting(
        self, face: str, choice: MethodChoice, emotion: str, intensity: float, seed: Any = 0
    ) -> Setting:
        """The setting of an emotion at an intensity 0..1 for a face; raises ValueError."""
        return setting_of_emotion(choice, emotion, intensity, seed, self._own(face, choice))

    def reset(self, face: str, method: str) -> list:
        """The face as it is: nothing is asked for, nothing changes."""
        choice, setting = self.choice(method), Setting(method)
        edited, readings = self._move(face, setting) if face else ("", {})
        previews = gr.update(items=self.emotion_previews(face, method), named=True, value="")
        mix = gr.update(value={}, rows=mix_rows(choice))
        return [
            previews,
            mix,
            gr.update(**self.unit_sliders(face, setting)),
            edited,
            readings,
        ]

    def move(self, face: str, *controls: Any) -> list:
        """The edited face (an id that /open gave) as a JPEG data URI, and the readings."""
        if not face:
            raise ValueError("choose a face first")
        return list(self._move(face, self.setting(*controls)))

    def draw_style(
        self, face: str, method: str, point: Any, mix: Any, seed: Any, units: Any
    ) -> list:
        """Another style of the same mix."""
        seed = int(number(seed, 0, SEEDS, "seed")) % SEEDS + 1
        return [seed, *self._move(face, self.setting(method, point, mix, seed, units))]

    def rest(self, face: str, *controls: Any) -> list:
        """When the hand rests: the whole photograph, what was done, and the views of the change."""
        if not face:
            return [None, {}, {}]
        setting = self.setting(*controls)
        picture, facts, made = self.whole(face, setting)
        after, to_crop = self.service.show_edit(face, made)
        before = self.service.session(face).view
        return [picture, facts, visualize.change_views(before, after, made, to_crop)]

    def whole(self, face: str, setting: Setting) -> tuple:
        """(the photograph with the edit and its mark, what was done, the edited crop) of a face
        and a setting."""
        choice, code = self.choice(setting.method), self.service.code(setting, face)
        facts = self.service.facts(face, setting.method, code)
        facts |= {"setting": words(setting, choice), "link": link(setting, choice)}
        facts["note"] = outside(setting, choice, facts["code"])
        session = self.service.session(face)
        facts["python"] = snippet(self.service.edits_of(face, setting.method, code))
        pixels, readings, made = self.service.edit(face, setting.method, code)
        edited = compose_edit(session.origin, pixels, "PNG")
        return edited, facts | readings, made

    def pad_background(self, face: str, method: str) -> Iterator[dict[str, Any]]:
        """The faces behind the pad, a few at a time, with how many there are to be."""
        if not face or self.choice(method).kind != "gamut":
            yield sheet_value(face + method)
            return
        for made in self.service.gamut(face, method):
            yield sheet_value(face + method, made)

    def background(self, face: str, choice: MethodChoice) -> dict[str, Any]:
        """The update of the pad's background for another face or method: what is drawn of it
        already, never the face before."""
        made = self.service.session(face).gamuts.get(choice.key) if face else None
        value = sheet_value(face + choice.key, made) | {"begin": True}
        return gr.update(visible=choice.kind == "gamut", value=value)

    def open_link(self, face: str, request: gr.Request) -> list | None:
        """[True, what `show_face` gives, example, picture] for the page's link, None without one:
        the example that its weights are meant for, under its setting, or the method's first."""
        setting = parse_link(dict(request.query_params), self.choices)
        if setting is None:
            return None
        choice = self.choice(setting.method)
        example = self.example_for(choice)
        known = self.service.open(example.picture, pinned=True)
        if not names_values(request.query_params, choice):
            setting = self.first(known, choice)
        of = link(setting, choice)
        # A page that came before the first edit has not all examples yet.
        named = gr.update(value=example.name, items=self.gallery.thumbnails(complete=True))
        picture = [gr.skip()] * 2 if known == face else [named, example.picture]
        history = History((State(known, of),))
        return [True, *self.restore(known, of), *history.outputs(), *picture]

    def example_for(self, choice: MethodChoice) -> Example:
        """The first example that a method's set of weights is meant for."""
        for example in self.gallery.all:
            known = self.service.open(example.picture, pinned=True)
            if self.choice(self.service.recommend(known, choice.key)).group == choice.group:
                return example
        return self.gallery.first

    def choice(self, method: str) -> MethodChoice:
        """The method of a name, see `MethodChoice.names`; raises ValueError."""
        if choice := find_choice(method, self.choices):
            return choice
        known = ", ".join(self.choices)
        raise ValueError(f"unknown method {quote(method)}; there are: {known}")

    def setting(self, method: str, point: tuple, mix: Any, seed: Any, units: Any) -> Setting:
        """The checked setting of what the page or a program sent."""
        return parse_setting(self.choice(method), point, mix, seed, units)

    def _move(self, face: str, setting: Setting) -> tuple[str, dict]:
        code = self.service.code(setting, face)
        pixels, readings = self.service.move(face, setting.method, code)
        return jpeg(pixels), readings

    def _own(self, face: str, choice: MethodChoice) -> dict[str, float]:
        if choice.kind != "units" or not face:
            return {}
        own = self.service.own_code(face, choice.key) or choice.presets[choice.emotions[0]]
        return {str(unit): round(value, 2) for unit, value in zip(UNITS, own, strict=True)}

    def emotion_previews(self, face: str, method: str) -> list[list[str]]:
        """For the emotion buttons: each name, this person's face under it, what it is made of."""
        choice = self.choice(method)
        if choice.kind == "gamut":
            return []
        faces = [jpeg(f) for f in self.service.emotion_previews(face, method)] if face else []
        hints = {n: f"{n} = AU {units_text(v)}" for n, v in choice.presets.items()}
        return [
            [name, faces[i] if faces else "", hints.get(name, name)]
            for i, name in enumerate(choice.emotions)
        ]
