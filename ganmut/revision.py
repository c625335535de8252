"""The commit of this checkout, which weights and results record."""

from __future__ import annotations

import subprocess
from pathlib import Path

DIGITS = 12


def commit() -> str:
    """The commit of this checkout, 12 hex digits, with "+" where tracked files differ from it;
    "unknown" outside a checkout."""
    root = Path(__file__).resolve().parents[1]
    # An environment with the installed package often lies inside a repository of something else.
    if not (root / ".git").exists():
        return "unknown"

    def git(*words: str) -> str:
        words = ("git", "-C", str(root), *words)
        ran = subprocess.run(words, capture_output=True, text=True, check=True, timeout=10)
        return ran.stdout.strip()

    try:
        head = git("rev-parse", f"--short={DIGITS}", "HEAD")
        return head + ("+" if git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.SubprocessError):
        return "unknown"
