"""The page answers before its first edit is made, and shows it once it is there."""

from __future__ import annotations

import asyncio
import inspect
from types import SimpleNamespace

import pytest
from skimage import data as samples
from space_server import Knows, toy_weights

from demo.app import build
from demo.handlers import Handlers
from demo.service import Service
from demo.startup.gallery import RENDERED, Example, Gallery
from demo.startup.opening import LOADING, Opening, outline
from demo.startup.quick_import import without_stubs


@pytest.fixture(scope="module", autouse=True)
def bundled(tmp_path_factory):
    weights = toy_weights(tmp_path_factory.mktemp("weights"), ("ganmut", "ganimation"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GANMUT_WEIGHTS", str(weights))
        patch.setenv("GRADIO_TEMP_DIR", str(tmp_path_factory.mktemp("gradio")))
        yield


@pytest.fixture
def gallery():
    return [Example("astronaut", samples.astronaut())]


def make(service, gallery):
    """The page. Within a running loop Gradio leaves no loops of its own open."""

    async def within():
        return build(service, gallery)

    return asyncio.run(within())


def shown(page) -> str:
    return str(page.get_config_file()["components"])


def test_the_page_is_built_without_an_edit(gallery):
    service = Service(detector=Knows())
    page = make(service, gallery)
    assert not service.sessions and service.detector.looks == 0
    assert LOADING in shown(page) and "data:image/jpeg" in shown(page)  # the thumbnail


def test_the_first_edit_is_put_into_the_page(gallery):
    service = Service(detector=Knows())
    page = make(service, gallery)
    page.is_running = True
    page.after_start.func.__self__.warm(page, *page.after_start.args[1:])
    (face,) = service.sessions
    assert LOADING not in shown(page) and face in shown(page)
    assert str(page.config["components"]).count("data:image/jpeg") >= 3


def test_early_visitors_get_the_first_edit(gallery):
    handlers = Handlers(Service(detector=Knows()), gallery)
    opening, before = Opening(handlers), outline(handlers)
    answer = opening.answer()
    start = opening.start()
    assert not before.face and answer[:2] == [True, start.face]
    assert start.values["edited"] in answer and opening.start() is start


def test_a_link_fills_the_gallery_of_early_visitors(gallery):
    """A page that was loaded before the first edit has one example; its link brings the others."""
    people = [Example("other", samples.astronaut()[:, ::-1].copy())]
    handlers = Handlers(Service(detector=Knows()), gallery + people)
    link = SimpleNamespace(query_params={"method": "procedural/ganmut"})
    items = handlers.open_link(outline(handlers).face, link)[-2]["items"]
    assert [name for name, _ in items] == ["astronaut", "other"]
    assert all(picture.startswith("data:image/jpeg") for _, picture in items)


def test_a_stopped_page_makes_no_edit(gallery):
    service = Service(detector=Knows())
    page = make(service, gallery)
    opening = page.after_start.func.__self__
    opening.stopped.set()
    opening.warm(page, *page.after_start.args[1:])
    assert not service.sessions


def test_rendered_people_wait_until_needed():
    known = []
    gallery = Gallery(lambda picture, face: known.append(face))
    assert [name for name, sheet in gallery.thumbnails(complete=False) if not sheet] == [*RENDERED]
    assert gallery.example("astronaut") is gallery.first and not known
    assert gallery.example(RENDERED[1]).picture.shape == (256, 256, 3)
    assert len(known) == len(RENDERED) and all(sheet for _, sheet in gallery.thumbnails(True))
    with pytest.raises(ValueError):
        gallery.example("nobody")


def test_classes_have_no_file_during_the_import():
    with without_stubs():
        with pytest.raises(OSError):
            inspect.getfile(Gallery)
        assert inspect.getfile(outline)
    assert inspect.getfile(Gallery)


def test_links_of_no_method_are_said(gallery):
    opening = Opening(Handlers(Service(detector=Knows()), gallery))
    for query in ({}, {"x": "0.5"}, {"method": ""}, {"method": "procedural/ganmut"}):
        assert opening.link_notice(query) == ""
    said = opening.link_notice({"method": "nonsense"})
    assert "'nonsense'" in said and "GANmut" in said
    assert "<script>" not in opening.link_notice({"method": "<script>"})
