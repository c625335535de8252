"""`python bench/readme.py`: copies the leaderboard's main table and claims into the README."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BEGIN, END = "<!-- leaderboard:begin -->", "<!-- leaderboard:end -->"


def summary(leaderboard: str) -> str:
    """The main tables and each claim's verdict (without its reasons), in Markdown."""
    blocks = [b for b in leaderboard.split("\n\n") if b.startswith("|")]
    main = [b for b in leaderboard.split("\n\n## ")[0].split("\n\n") if b.startswith(("|", "**"))]
    claims = next(b for b in blocks if "| claim |" in b.splitlines()[0])
    verdicts = ["|".join(line.split("|")[:5]) + "|" for line in claims.splitlines()]
    head = next(b for b in leaderboard.split("\n\n") if b.startswith("Protocol:"))
    return "\n\n".join([head, *main, "\n".join(verdicts)])


def filled(readme: str, leaderboard: str) -> str:
    """The README with the summary between its two marks; raises ValueError where they are not."""
    before, mark, rest = readme.partition(BEGIN)
    _, other, after = rest.partition(END)
    if not mark or not other:
        raise ValueError(f"the README has no {BEGIN} and {END}")
    return f"{before}{BEGIN}\n\n{summary(leaderboard)}\n\n{END}{after}"


def main() -> int:
    readme = ROOT / "README.md"
    board = (ROOT / "bench" / "results" / "LEADERBOARD.md").read_text(encoding="utf-8")
    readme.write_text(filled(readme.read_text(encoding="utf-8"), board), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
