"""What the page reads of its environment and command line: one sentence for what cannot be used."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from demo.startup import environment

ROOT = Path(__file__).resolve().parents[1]
ODD = {
    "GRADIO_SERVER_PORT": [
        "http",
        "0",
        "-1",
        "65536",
        "7860.0",
        "1e4",
        "9" * 30,
        " 7860",
        "７８６０",
    ],
    "GRADIO_SERVER_NAME": ["no such host", "256.1.1.1", "a" * 300, "http://localhost"],
    "GRADIO_NUM_PORTS": ["many", "0"],
    "GRADIO_ANALYTICS_ENABLED": ["maybe"],
    "GRADIO_TEMP_DIR": ["/dev/null/x", "/proc/x"],
    "GANMUT_CACHE": ["/dev/null/x"],
    "GANMUT_HUB": ["ann/weights", "ann/weights@main", "x@" + "0" * 40],
    "GANMUT_LOG": ["/dev/null/x/page.log", "/", "/dev"],
    "GANMUT_MARK": ["no", "2"],
    "GANMUT_STUDY": ["/dev/null/x/votes.jsonl", "/"],
    "GANMUT_STUDY_HUB": ["votes", "a/b/c", "https://hub/a"],
    "GANMUT_WEIGHTS": ["/dev/null", "/no/such/folder"],
    "OMP_NUM_THREADS": ["all", "0"],
}
CASES = [(name, value) for name, values in ODD.items() for value in values]


@pytest.mark.parametrize(("name", "value"), CASES)
def test_unusable_variables_are_refused_by_name(name, value):
    with pytest.raises(ValueError, match=name) as refusal:
        environment.prepare({name: value})
    assert len(str(refusal.value)) < 400 and "\n" not in str(refusal.value)


def test_usable_variables_are_taken(tmp_path):
    given = {
        "GRADIO_SERVER_PORT": "8000",
        "GRADIO_SERVER_NAME": "0.0.0.0",
        "GANMUT_LOG": str(tmp_path / "logs" / "page.log"),
        "GANMUT_STUDY": "",
        "GANMUT_HUB": "ann/weights@" + "0a" * 20,
        "GANMUT_WEIGHTS": str(tmp_path),
        "OMP_NUM_THREADS": "3",
    }
    assert environment.prepare(given) == ("0.0.0.0", 8000)
    assert given["OMP_NUM_THREADS"] == "3" and "GANMUT_STUDY" not in given
    assert environment.prepare(given := {}) == ("127.0.0.1", 7860)
    assert given["OMP_NUM_THREADS"] == "1"


def test_every_variable_of_the_page_is_checked():
    files = [ROOT / "app.py", *(ROOT / "demo").rglob("*.py"), *(ROOT / "ganmut").rglob("*.py")]
    text = "".join(path.read_text(encoding="utf-8") for path in files)
    read = set(
        re.findall(r"environ(?:\.get|\.setdefault)?[\[(]\s*\"((?:GANMUT|GRADIO)_\w+)\"", text)
    )
    assert len(read) > 6 and read <= environment.CHECKS.keys()


def start(*words: str, **variables: str) -> subprocess.CompletedProcess:
    """What `python app.py` says where it ends at once."""
    return subprocess.run(
        [sys.executable, "app.py", *words],
        cwd=ROOT,
        env=os.environ | variables,
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.parametrize(
    ("words", "variables", "said"),
    [
        ((), {"GRADIO_SERVER_PORT": "http"}, "GRADIO_SERVER_PORT"),
        ((), {"GANMUT_STUDY": "/dev/null/x"}, "GANMUT_STUDY"),
        (("--port", "80"), {}, "--port"),
        (("weights",), {}, "weights"),
    ],
)
def test_the_program_ends_with_a_sentence(words, variables, said):
    ended = start(*words, **variables)
    assert ended.returncode == 2 and said in ended.stderr and "Traceback" not in ended.stderr


def test_the_program_answers_before_it_imports():
    """The waiting page needs no library; what does is imported while it answers."""
    code = """
import sys
import app
from demo.startup import environment, waiting
assert not {"torch", "numpy", "gradio", "PIL"} & sys.modules.keys(), sys.modules.keys()
"""
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, timeout=60)
