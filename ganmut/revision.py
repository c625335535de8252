"""The commit of this checkout, which weights and results record."""

from __future__ import annotations

import subprocess
from pathlib import Path

DIGITS = 12


def commit() -> str:
    """The commit of this checkout, 12 hex digits, with "+" where tracked files differ from it;
    "unknown" outside a checkout."""
    here = Path(__file__).resolve().parent

    def git(*words: str) -> str:
        words = ("git", "-C", str(here), *words)
        ran = subprocess.run(words, capture_output=True, text=True, check=True, timeout=10)
        return ran.stdout.strip()

    try:
        head = git("rev-parse", f"--short={DIGITS}", "HEAD")
        return head + ("+" if git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.SubprocessError):
        return "unknown"
