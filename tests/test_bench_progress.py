"""What long measurements say of themselves where there is no terminal."""

import itertools

from rich.console import Console
from rich.progress import Progress

from bench import progress


def test_log_says_how_long_is_left(monkeypatch, capsys):
    # A step of 40 s an item: a line is due with every second one.
    monkeypatch.setattr(progress.time, "perf_counter", map(float, itertools.count(0, 40)).__next__)
    with progress.track(Progress(console=Console(quiet=True)), "all rows", 4) as advance:
        for _ in range(4):
            advance(1)
    lines = capsys.readouterr().out.splitlines()
    assert lines == ["all rows: 2 of 4, about 1 min left", "all rows: 4, 200.0 s"]


def test_failed_measurement_prints_no_end(capsys):
    try:
        with progress.track(Progress(console=Console(quiet=True)), "all rows", 4):
            raise ValueError
    except ValueError:
        pass
    assert capsys.readouterr().out == ""
