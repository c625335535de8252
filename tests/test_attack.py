"""The attacks: every part is found, and the report notices each kind of fault."""

from __future__ import annotations

import importlib
import os
import signal
import time
from pathlib import Path

import pytest
from attack import base, endpoints

PARTS = sorted(p.stem for p in Path(base.__file__).parent.glob("*.py"))


def fail() -> None:
    raise RuntimeError("broken")


def grow() -> None:
    held = bytearray(400 << 20)
    held[:: 1 << 12] = b"x" * len(held[:: 1 << 12])


@pytest.mark.parametrize(
    ("program", "kind"),
    [
        (fail, "traceback"),
        (grow, "memory"),
        (lambda: os.kill(os.getpid(), signal.SIGKILL), "signal"),
        (lambda: time.sleep(5), "hang"),
        (lambda: 2, ""),
    ],
)
def test_each_kind_of_fault_is_noticed(program, kind, monkeypatch):
    # Half a second for the one that waits; the others may take longer on a busy machine.
    monkeypatch.setattr(base, "HANG", 0.5 if kind == "hang" else 20)
    report = base.Report(rest=base.run(lambda: 0).peak, part="part")
    report.add("case", base.run(program, limit=1.2 * base.HANG))
    assert [fault[2] for fault in report.faults] == ([kind] if kind else [])
    assert report.cases == {"part": 1} and report.table().startswith("part")
    report.add("case", base.run(lambda: 0), "all work")
    assert report.faults[-1][2:] == ("lost", "all work")


@pytest.mark.parametrize("name", [name for name in PARTS if name[0] != "_"])
def test_each_part_is_one_file(name):
    module = importlib.import_module(f"attack.{name}")
    assert module.__doc__ and (name in ("base", "programs") or callable(module.attack))


def endpoint(*values: object) -> endpoints.Endpoint:
    return endpoints.Endpoint(7, "move", list(values))


@pytest.mark.parametrize(
    "values", [(), ("0" * 64,), ({}, 1.0), ("a", {"x": 0.1, "y": 0}, {}, 0, {"number": 1})]
)
def test_every_endpoint_gets_hundred_hostile_calls(values):
    found = endpoints.cases(endpoint(*values))
    assert len(found) >= endpoints.CASES == 100
    bodies = {case.body for case in found}
    assert len(bodies) > 80 and any(b"9" * 4301 in body for body in bodies)


@pytest.mark.parametrize(
    ("text", "well"),
    [
        ("This is no JSON.", True),
        ("Unknown method 'photos/wheel/photos/wheel'.", True),
        ("There is no '/opt/app/face.png'.", False),
        ("404: Not Found", False),
        ("", False),
        ("this is no JSON.", False),
        ("Long " * 300 + ".", False),
        ('Traceback (most recent call last): File "/x.py".', False),
    ],
)
def test_only_sentences_are_fit_for_visitors(text, well):
    assert (endpoints.flaw(text) == "") == well
