"""The notebook: it runs from top to bottom, and holds neither outputs nor paths of a machine."""

from __future__ import annotations

import json
import os
import re
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
NOTEBOOK = ROOT / "docs" / "notebook.ipynb"
MINUTES = 5


def test_the_notebook_has_no_outputs_and_paths():
    text = NOTEBOOK.read_text(encoding="utf-8")
    cells = json.loads(text)["cells"]
    codes = [cell for cell in cells if cell["cell_type"] == "code"]
    assert len(codes) > 5 and not any(cell["outputs"] for cell in codes)
    assert not any(cell["execution_count"] for cell in codes)
    assert not re.search(r"/(home|root|Users|work|tmp)/", text)
    for cell in codes:
        compile("".join(cell["source"]), "cell", "exec")


@pytest.mark.slow
def test_the_notebook_runs_in_five_minutes(tmp_path, monkeypatch):
    nbformat = pytest.importorskip("nbformat", reason="pip install 'ganmut[notebook]'")
    nbclient = pytest.importorskip("nbclient", reason="pip install 'ganmut[notebook]'")
    pytest.importorskip("ipykernel", reason="pip install 'ganmut[notebook]'")
    pytest.importorskip("ipywidgets", reason="pip install 'ganmut[notebook]'")
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    client = nbclient.NotebookClient(
        notebook, timeout=60 * MINUTES, resources={"metadata": {"path": str(tmp_path)}}
    )
    start = time.monotonic()
    client.execute()
    assert time.monotonic() - start < 60 * MINUTES
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 4
    assert not [output for output in outputs if "Warning" in output.get("text", "")]
