"""Attacks on the programs: `python tests/attack [PART ...]`, or `make attack`.

ONE FILE = ONE PART, with a docstring and `attack(report, folder)`; `base.py` is what parts share.
Each case runs in a process of its own. A report says what was shown to the user (tracebacks), what
took longer than 10 s, what took more memory than the same program at rest, and what was lost.
"""
