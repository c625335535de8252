"""The face card and the Edit tab: their layout, and which event each part starts."""

from __future__ import annotations

from dataclasses import dataclass

import gradio as gr

from demo.components.face_picker import FacePicker
from demo.components.gamut_pad import GamutPad, PadBackground, pad_properties
from demo.components.pickers import ImagePicker, Methods
from demo.components.pictures import ChangeViews, CompareSlider, LiveImage, Photograph, Png
from demo.components.result import Facts, Readings
from demo.components.scripts import KEYS, messages
from demo.components.sliders import Sliders, mix_rows
from demo.descriptions import about, heading
from demo.handlers import CANNOT_RESET, RESET, Handlers
from demo.security.files import LONGEST, MAX_BYTES
from demo.security.limits import Page
from demo.sessions.history import Steps
from demo.settings import SEEDS, emotion_button
from demo.startup.opening import Opening, Start

HINT = (
    f"<p class='hint'>Faces are found on their own. JPEG, PNG or WebP up to {MAX_BYTES >> 20} MB; "
    "nothing is kept.</p>"
)
DOWNLOAD = (
    f"<h2>Download</h2><p class='hint'>The photograph at its own size, up to {LONGEST} px a side: "
    "only the change is added, so its pores and hairs stay. The arrow saves it as PNG, with a "
    "small mark that says what it is.</p>"
)
NET = {"concurrency_limit": 1, "concurrency_id": "net"}  # one edit at a time
LIVE = NET | {"trigger_mode": "always_last", "show_progress": "hidden"}
PAGE = {"api_visibility": "undocumented"}  # programs use the endpoints of demo/api.py


@dataclass
class Face:
    """The components of the face card, and the id of the face that is being edited."""

    photo: Photograph
    picker: FacePicker
    gallery: ImagePicker
    said: gr.HTML
    known: gr.Textbox


@dataclass
class Controls:
    """What chooses a code, and the parts of the page that go with one kind of it."""

    history: gr.State
    undo: gr.Button
    redo: gr.Button
    learned: Methods
    method: Methods
    pad: GamutPad
    background: PadBackground
    named: gr.Column
    emotion: ImagePicker
    intensity: gr.Slider
    mixing: gr.Accordion
    mix: Sliders
    styling: gr.Row
    seed: gr.Number
    another: gr.Button
    moving: gr.Column
    units: Sliders
    reset: gr.Button
    heading: gr.HTML
    about: gr.HTML

    @property
    def setting(self) -> list:
        """The inputs that `Handlers.setting` takes."""
        return [self.method, self.pad, self.mix, self.seed, self.units]


@dataclass
class Result:
    """Where the edit is shown."""

    before: LiveImage
    after: LiveImage
    views: ChangeViews
    readings: Readings
    whole: gr.Image
    facts: Facts


def face_card(handlers: Handlers, start: Start) -> Face:
    """Upload, webcam or example; the boxes of the faces lie over the photograph."""
    gr.HTML("<h2>Choose a face</h2>", apply_default_css=False)
    with gr.Column(elem_classes="portrait"):
        photo = Photograph(
            handlers.gallery.first.picture,
            type="filepath",
            image_mode=None,
            format="png",
            sources=["upload", "webcam", "clipboard"],
            show_label=False,
            container=False,
            buttons=[],
            elem_id="photo",
            placeholder="Drop a picture, or click",
        )
        over = FacePicker(start.values["picker"], elem_id="face-picker")
    live = "<div role='alert'>${value}</div>"  # there before its text: so readers announce it
    said = gr.HTML(
        start.values["said"], html_template=live, apply_default_css=False, elem_id="said"
    )
    thumbs = start.values["examples"]
    gallery = ImagePicker(handlers.gallery.first.name, items=thumbs, elem_id="examples")
    gr.HTML(HINT, apply_default_css=False, elem_classes="aside")
    known = gr.Textbox(start.face, visible=False, label="face")
    return Face(photo, over, gallery, said, known)


def controls(handlers: Handlers, start: Start) -> Controls:
    """Method, and what it takes: a point, emotions, or seventeen units."""
    choice, setting = start.choice, start.values["setting"]
    history = gr.State(start.values["history"])
    with gr.Row(elem_classes="heading"):
        title = gr.HTML(heading(choice), apply_default_css=False)
        undo = gr.Button("Undo", size="sm", interactive=False, elem_id="undo")
        redo = gr.Button("Redo", size="sm", interactive=False, elem_id="redo")
    several = bool(handlers.sets())
    learned = Methods(choice.group, groups=handlers.sets(), visible=several, elem_id="learned")
    method = Methods(choice.key, groups=handlers.groups(choice.group), elem_id="method")
    gamut = choice.kind == "gamut"
    pad = GamutPad(
        dict(zip("xy", setting.point, strict=True)),
        visible=gamut,
        elem_id="pad",
        **pad_properties(choice),
    )
    background = PadBackground(start.values["background"], visible=gamut, elem_id="background")
    with gr.Column(visible=not gamut, elem_classes="named") as named:
        named_emotion, strength = emotion_button(choice, setting)
        emotion = ImagePicker(
            named_emotion, items=start.values["emotion_previews"], named=True, elem_id="emotion"
        )
        intensity = gr.Slider(0, 1, strength, step=0.01, label="Intensity", elem_id="intensity")
    with gr.Accordion("Mix emotions", open=False, visible=choice.mixes, elem_id="mixing") as mixing:
        mix = Sliders(dict(setting.mix), rows=mix_rows(choice), elem_id="mix")
    with gr.Row(visible=choice.kind == "styles", elem_classes="styling") as styling:
        seed = gr.Number(0, label="Style", minimum=0, maximum=SEEDS, precision=0, elem_id="seed")
        another = gr.Button("Another style", size="sm", elem_id="another")
    with gr.Column(visible=bool(choice.presets), elem_classes="moving") as moving:
        units = Sliders(**start.values["units"], elem_id="units")
        reset = gr.Button(
            RESET if choice.reads else CANNOT_RESET,
            size="sm",
            interactive=choice.reads,
            elem_id="reset",
        )
    description = gr.HTML(about(choice), apply_default_css=False)
    return Controls(
        history,
        undo,
        redo,
        learned,
        method,
        pad,
        background,
        named,
        emotion,
        intensity,
        mixing,
        mix,
        styling,
        seed,
        another,
        moving,
        units,
        reset,
        title,
        description,
    )


def result(start: Start) -> tuple:
    """Before and after on each other, the views of the change, what the classifiers say."""
    values = start.values
    gr.HTML("<h2>Result <span>slide to compare</span></h2>", apply_default_css=False)
    with gr.Column(elem_classes="stage", elem_id="stage"):
        after = LiveImage(values["edited"], caption="edited", elem_id="after")
        before = LiveImage(values["source"], caption="source", elem_id="before")
        CompareSlider(elem_id="compare-slider")
        views = ChangeViews(values["views"], elem_id="views")
    readings = Readings(values["readings"], elem_id="readings")
    return before, after, views, readings


def download(start: Start) -> tuple:
    """The whole photograph, and what makes the same edit again: a link, Python."""
    with gr.Column(scale=1, min_width=300):
        whole = Png(
            start.values["whole"],
            interactive=False,
            show_label=False,
            container=False,
            buttons=["download", "fullscreen"],
            elem_id="whole",
            height=300,
        )
    with gr.Column(scale=1, min_width=300, elem_classes="outcome"):
        gr.HTML(DOWNLOAD, apply_default_css=False)
        facts = Facts(start.values["facts"], elem_id="facts")
    return whole, facts


def connect(
    page: Page, handlers: Handlers, face: Face, do: Controls, out: Result, opening: Opening
) -> None:
    """Every event of the face card and the Edit tab."""
    known, live, steps = face.known, [out.after, out.readings], Steps(handlers)
    history = [do.history, do.undo, do.redo]
    # At each message about a call Gradio's front end copies every component that may show its
    # progress, by default all outputs of all events so far: a third of what a drag costs there.
    quiet = PAGE | {"show_progress": "hidden", "show_progress_on": [out.after]}
    last = LIVE | quiet
    record = {
        "fn": steps.record,
        "inputs": [known, do.history, *do.setting],
        "outputs": history,
    } | last
    rest = {
        "fn": handlers.rest,
        "inputs": [known, *do.setting],
        "outputs": [out.whole, out.facts, out.views],
    }
    rest |= last
    draw = {"fn": handlers.pad_background, "inputs": [known, do.method], "outputs": do.background}
    draw |= quiet | {"concurrency_limit": 4}
    step = NET | quiet | {"trigger_mode": "multiple"}
    slow = NET | PAGE | {"show_progress": "minimal", "show_progress_on": [out.after]}
    chosen = [
        do.pad,
        do.background,
        do.named,
        do.emotion,
        do.intensity,
        do.mixing,
        do.mix,
        do.styling,
        do.seed,
        do.moving,
        do.units,
        do.reset,
        out.after,
        out.readings,
        do.heading,
        do.about,
    ]
    switched = [do.method, do.learned, *chosen]
    shown = [known, face.said, face.picker, out.before, *switched, *history]

    face.gallery.input(
        handlers.example,
        face.gallery,
        face.photo,
        api_name="example",
        **quiet,
    )
    # A picture of the visitor's own is none of the examples.
    gr.on(
        [face.photo.upload, face.photo.clear, face.photo.input],
        None,
        None,
        face.gallery,
        js="() => ''",
        show_progress="hidden",
    )
    opened = [
        face.photo.change(
            handlers.open, [face.photo, do.history, *do.setting], shown, api_name="open", **slow
        ),
        face.picker.input(
            steps.face,
            [face.photo, face.picker, known, do.history, *do.setting],
            shown,
            api_name="face",
            **slow,
        ),
        do.undo.click(steps.undo, [known, do.history], shown, api_name="undo", **step),
        do.redo.click(steps.redo, [known, do.history], shown, api_name="redo", **step),
    ]
    switches = [
        do.method.input(handlers.choose, [known, do.method], chosen, api_name="choose", **last),
        do.learned.input(
            handlers.switch_set,
            [known, do.learned, do.method],
            switched,
            api_name="other_set",
            **last,
        ),
    ]
    for event in [*opened, *(event.then(**record) for event in switches)]:
        event.then(**rest).then(**draw)
    gr.on(
        [do.pad.input, do.units.input, do.seed.input],
        handlers.move,
        [known, *do.setting],
        live,
        api_name="move",
        **last,
    )
    do.mix.input(handlers.mix, [known, *do.setting], [do.units, *live], api_name="mixed", **last)
    buttons = [
        gr.on(
            [do.emotion.input, do.intensity.input],
            handlers.preset,
            [known, do.method, do.emotion, do.intensity, do.seed],
            [do.mix, do.units, *live],
            api_name="preset",
            **last,
        ),
        do.another.click(
            handlers.draw_style,
            [known, *do.setting],
            [do.seed, *live],
            api_name="another",
            **last,
        ),
        do.reset.click(
            handlers.reset,
            [known, do.method],
            [do.emotion, do.mix, do.units, *live],
            api_name="reset",
            **last,
        ),
    ]
    rested = gr.on([do.pad.release, do.mix.release, do.units.release, do.seed.input], **record)
    for event in [rested, *(event.then(**record) for event in buttons)]:
        event.then(**rest)
    for script in (KEYS, messages(page.limits)):  # run once, as the page opens
        page.load(None, None, None, js=script)

    def load(face: str, request: gr.Request) -> list:
        if answer := handlers.open_link(face, request):
            return answer
        answer = [gr.skip()] * (3 + len(shown)) if face else opening.answer()
        if said := opening.link_notice(request.query_params):
            answer[2] = said  # after `linked` and `known`
        return answer

    # For who came by a link, or before the first edit was made: else the page has it all.
    linked = gr.State(False)
    page.load(
        load,
        known,
        [linked, *shown, face.gallery, face.photo],  # the photo last: its change reads the others
        concurrency_limit=4,
        concurrency_id="opening",
        **quiet | {"api_visibility": "private"},
    )
    linked.change(**rest).then(**draw)
