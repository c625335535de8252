"""README and docs: the committed leaderboard, links and commands that exist."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import yaml
from PIL import Image

from bench import cli as bench
from bench import leaderboard, model_samples, model_table
from bench.speed import run as speed
from ganmut import cli, legacy
from ganmut.datasets import SOURCES

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "bench" / "results").rglob("README.md")),
]
# Scripts of the bench that documents name, and their parsers.
SCRIPTS = {
    "bench/run.py": bench.parser,
    "ganmut-bench": bench.parser,
    "bench/speed/run.py": speed.parser,
}


def test_the_leaderboard_is_the_committed_one():
    board = (ROOT / "bench" / "results" / "LEADERBOARD.md").read_text(encoding="utf-8")
    assert leaderboard.with_summary(README, board) == README, "run `python bench/leaderboard.py`"


def test_the_models_page_is_the_committed_one():
    page = (ROOT / "docs" / "models.md").read_text(encoding="utf-8")
    made = model_table.table(ROOT / "bench" / "results")
    assert page == made, "run `python bench/leaderboard.py`"


def test_strips_and_times_are_of_the_bundled_editors():
    known = dict(model_samples.list_editors())
    strips = {spec: model_samples.FOLDER / model_samples.strip_name(spec) for spec in known}
    assert {spec: model_samples.strip_version(path) for spec, path in strips.items()} == known
    timed = model_samples.read_times()["editors"]
    assert {spec: entry["version"] for spec, entry in timed.items()} == known
    assert set(model_samples.FOLDER.glob("*.jpg")) == set(strips.values())
    assert sum(path.stat().st_size for path in strips.values()) < 150_000


def test_a_changed_editor_alone_is_drawn_again(tmp_path, monkeypatch):
    known = {"procedural/ganmut": "a", "procedural/stargan": "b"}
    monkeypatch.setattr(model_samples, "list_editors", lambda: known.items())
    monkeypatch.setattr(model_samples, "ROUNDS", 1)
    model_samples.update(tmp_path)
    paths = [tmp_path / model_samples.strip_name(spec) for spec in known]
    before = [path.stat().st_mtime_ns for path in paths]
    known["procedural/stargan"] = "c"
    model_samples.update(tmp_path)
    after = [path.stat().st_mtime_ns for path in paths]
    assert after[0] == before[0] and after[1] > before[1]
    with Image.open(paths[1]) as strip:
        assert strip.size == (5 * 96, 96)
    assert model_samples.read_times(tmp_path)["editors"]["procedural/stargan"]["version"] == "c"


def test_every_link_leads_somewhere():
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
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


def shell_lines(page: Path) -> list[list[str]]:
    """The words of every line in a page's code blocks, shell variables replaced."""
    text = page.read_text(encoding="utf-8")
    blocks = re.findall(r"^```\w*\n(.*?)^```", text, re.M | re.S)
    blocks += re.findall(r"(?:^ {4}.*\n)+", text, re.M)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    variables = dict(re.findall(r'^([A-Z]+)="(.*)"$', "\n".join(lines), re.M))
    for name, value in variables.items():
        lines = [line.replace(f"${name}", value) for line in lines]
    marks = ("-m ganmut ", *SCRIPTS)
    return [
        shlex.split(line, comments=True)
        for line in lines
        if line.startswith("ganmut ") or any(mark in line for mark in marks)
    ]


LINES = [words for page in PAGES for words in shell_lines(page)]
COMMANDS = [words[words.index("ganmut") + 1 :] for words in LINES if "ganmut" in words]
SCRIPT_LINES = [words for words in LINES if SCRIPTS.keys() & set(words)]


def test_pages_hold_commands():
    assert len(COMMANDS) >= 30 and len(SCRIPT_LINES) >= 2


@pytest.mark.parametrize("words", SCRIPT_LINES, ids=" ".join)
def test_every_documented_script_parses(words):
    (script,) = SCRIPTS.keys() & set(words)
    assert SCRIPTS[script]().parse_args(words[words.index(script) + 1 :])


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_documented_command_parses(words, capsys):
    if words[0] == "train" and words[1] != "resume":  # --dry-run checks presets and values too
        assert cli.main([*words, "--dry-run"]) == 0, capsys.readouterr().err
    else:
        assert cli.build_parser(words[0]).parse_args(words)


def test_every_command_is_documented():
    text = " ".join(page.read_text(encoding="utf-8") for page in PAGES)
    assert [name for name in cli.COMMANDS if f"-m ganmut {name}" not in text] == []


def test_every_data_source_is_documented():
    text = (ROOT / "docs" / "datasets.md").read_text(encoding="utf-8")
    specs = {"procedural": "`procedural`", "concat": "`SPEC + SPEC`"}
    assert [name for name in SOURCES if specs.get(name, f"`{name}:") not in text] == []


def test_every_renamed_option_is_in_the_changelog():
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    names = [
        n for p in ("config", "recipe", "data") for pair in legacy.KEYS[p].items() for n in pair
    ]
    options = [(f"--{name}", f"--{name.replace('_', '-')}", f"{name}") for name in names]
    assert [forms for forms in options if not any(f"{form}" in text for form in forms)] == []
