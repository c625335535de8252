"""The README says what is so: the committed leaderboard, commands and links that exist."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from bench import leaderboard

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_leaderboard_is_the_committed_one():
    board = (ROOT / "bench" / "results" / "LEADERBOARD.md").read_text(encoding="utf-8")
    assert leaderboard.with_summary(README, board) == README, "run `python bench/leaderboard.py`"


def test_every_link_leads_somewhere():
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_two_commands_are_makefile_targets():
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M))
    used = set(re.findall(r"make (\w+)", README))
    assert {"setup", "bench", "test"} <= used <= targets


def test_the_space_has_its_front_matter():
    head = README.split("---")[1]
    for key in (
        "title",
        "sdk: gradio",
        "sdk_version",
        "python_version",
        "app_file: app.py",
        "license",
    ):
        assert key in head, key
    fields = yaml.safe_load(head)
    colours = {"red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray"}
    assert {fields["colorFrom"], fields["colorTo"]} <= colours
    assert len(fields["short_description"]) <= 60 and isinstance(fields["python_version"], str)
    assert (ROOT / fields["app_file"]).is_file()
    pinned = (ROOT / "requirements.txt").read_text(encoding="utf-8")
    assert f"gradio=={re.search(r'sdk_version: (.+)', head)[1]}" in pinned
