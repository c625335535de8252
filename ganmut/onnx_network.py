"""ONNX networks of other projects in onnxruntime."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from ganmut.errors import first_line

# What onnxruntime says of a file of a later version: the file's and its own latest.
NEWER = {
    "IR": r"Unsupported model IR version: (\d+), max supported IR version: (\d+)",
    "opset": r"Opset (\d+) is under development.* is till opset (\d+)",
}


class BadNetwork(ValueError):
    """An ONNX file that onnxruntime cannot load."""


def open_session(path: str | Path, network: bytes | None = None) -> Any:
    """An onnxruntime.InferenceSession on the CPU of a file, or of `network`, what was made of it.
    Raises BadNetwork, ImportError without onnxruntime."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    # Its own default is a thread a core, which spin between calls and slow everything else.
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3
    with loading(path):
        return onnxruntime.InferenceSession(
            network or str(path), options, providers=["CPUExecutionProvider"]
        )


@contextmanager
def loading(path: str | Path) -> Iterator[None]:
    """Whatever onnxruntime raises at a file becomes BadNetwork, with the remedy."""
    try:
        yield
    except Exception as error:  # noqa: BLE001 (onnxruntime's errors share no other base class)
        import onnxruntime

        for kind, words in NEWER.items():
            if found := re.search(words, str(error)):
                raise BadNetwork(
                    f"{path} has ONNX's {kind} version {found[1]}, and onnxruntime "
                    f"{onnxruntime.__version__} reads up to {found[2]}: export it again for an "
                    "older version, or upgrade onnxruntime"
                ) from None
        raise BadNetwork(
            f"{path} is not a readable ONNX network ({first_line(error)}): copy or export it again"
        ) from None
