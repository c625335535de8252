"""Hostile manifests: exports of the bench and edits made elsewhere, as programs leave them."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from attack.base import Outcome, Report, run
from attack.programs import bench_of, left_over, measured, prepare
from attack.states import Tamper, append, cut, fifo, fill, folder, gone, zeros

Rows = list[dict[str, str]]
MANIFEST, EXPORT = "manifest.csv", "export.json"
FIRST = "edited/00000.png"


def rows(change: Callable[[Rows], Rows], **options: object) -> Tamper:
    """Changes the rows of a manifest; options of how it is written."""

    def tamper(path: Path) -> None:
        table = list(csv.DictReader(io.StringIO(path.read_text())))
        changed = change(table)
        encoding = str(options.get("encoding", "utf-8"))
        with open(path, "w", newline="", encoding=encoding, errors="surrogateescape") as file:
            writer = csv.DictWriter(
                file,
                list(changed[0]) if changed else ["source"],
                delimiter=str(options.get("delimiter", ",")),
            )
            writer.writeheader()
            writer.writerows(changed)

    return tamper


def first(**cells: str) -> Tamper:
    """Changes cells of the first row."""
    return rows(lambda table: [table[0] | cells, *table[1:]])


def settings(**values: object) -> Tamper:
    """Changes values of export.json."""

    def tamper(path: Path) -> None:
        path.write_text(json.dumps(json.loads(path.read_text()) | values))

    return tamper


def link(target: str) -> Tamper:
    """Puts a link in the place of a file."""

    def tamper(path: Path) -> None:
        path.unlink()
        path.symlink_to(target)

    return tamper


def many(table: Rows) -> Rows:
    return table * 40_000


# Name -> (file of an export, what is done to it, whether the edits can still be measured).
CASES: dict[str, tuple[str, Tamper, bool]] = {
    "whole": (MANIFEST, rows(lambda table: table), True),
    "in UTF-16": (MANIFEST, rows(lambda table: table, encoding="utf-16"), True),
    "in UTF-8 with a mark": (MANIFEST, rows(lambda table: table, encoding="utf-8-sig"), True),
    "in Windows-1252": (
        MANIFEST,
        rows(lambda t: [r | {"note": "é"} for r in t], encoding="cp1252"),
        True,
    ),
    "with semicolons": (MANIFEST, rows(lambda table: table, delimiter=";"), False),
    "with tabs": (MANIFEST, rows(lambda table: table, delimiter="\t"), False),
    "columns in another order": (
        MANIFEST,
        rows(lambda t: [dict(reversed(r.items())) for r in t]),
        True,
    ),
    "columns more": (MANIFEST, rows(lambda t: [r | {"seconds": "1"} for r in t]), True),
    "a column less": (MANIFEST, rows(lambda t: [dict(list(r.items())[:-1]) for r in t]), False),
    "a column twice": (MANIFEST, lambda p: p.write_text("edited," + p.read_text()) and None, False),
    "no row": (MANIFEST, rows(lambda table: []), False),
    "a row less": (MANIFEST, rows(lambda table: table[:-1]), False),
    "a row twice": (MANIFEST, rows(lambda table: [*table, table[3]]), False),
    "a million rows": (MANIFEST, rows(many), False),
    "cells more than columns": (MANIFEST, append(b"a,b,c,d,e,f,g,h\n"), False),
    "cells less than columns": (MANIFEST, append(b"sources/0000.png\n"), False),
    "an open quotation mark": (MANIFEST, append(b'"sources/0000.png,happy\n'), False),
    "a cell of a million letters": (MANIFEST, append(b"x" * 10**6 + b",happy,1,,a.png\n"), False),
    "zero bytes": (MANIFEST, append(b"\0" * 4096), False),
    "not UTF-8": (MANIFEST, first(edited="edited/\udcff.png"), False),
    "another emotion": (MANIFEST, first(emotion="joyful"), False),
    "an intensity of NaN": (MANIFEST, first(intensity="nan"), False),
    "an intensity without end": (MANIFEST, first(intensity="9" * 400), False),
    "an intensity of text": (MANIFEST, first(intensity="full"), False),
    "another source": (MANIFEST, first(source="sources/../../../etc/passwd"), False),
    "a picture outside": (MANIFEST, first(edited="../../outside.png"), False),
    "a picture by its full path": (MANIFEST, first(edited="/dev/zero"), False),
    "a picture with a NUL": (MANIFEST, first(edited="edited/\0.png"), False),
    "a long name": (MANIFEST, first(edited="e" * 5000), False),
    "no name": (MANIFEST, first(edited=" "), False),
    "a folder as picture": (MANIFEST, first(edited="edited"), False),
    "half a manifest": (MANIFEST, cut(0.5), False),
    "manifest empty": (MANIFEST, cut(0), False),
    "manifest is a page": (MANIFEST, fill(b"<!DOCTYPE html><title>Sign in</title>"), False),
    "manifest is a pointer": (MANIFEST, fill(b"version https://git-lfs.github.com/spec\n"), False),
    "manifest is a folder": (MANIFEST, folder, False),
    "manifest is a pipe": (MANIFEST, fifo, False),
    "manifest is endless": (MANIFEST, zeros, False),
    "manifest links to itself": (MANIFEST, link(MANIFEST), False),
    "manifest gone": (MANIFEST, gone, False),
    "picture links to itself": (FIRST, link("00000.png"), False),
    "picture is endless": (FIRST, zeros, False),
    "picture is a pipe": (FIRST, fifo, False),
    "picture gone": (FIRST, gone, False),
    "picture empty": (FIRST, cut(0), False),
    "half a picture": (FIRST, cut(0.5), False),
    "picture is text": (FIRST, fill(b"a letter"), False),
    "export empty": (EXPORT, cut(0), False),
    "half an export": (EXPORT, cut(0.5), False),
    "export is a list": (EXPORT, fill(b"[]"), False),
    "export is nested": (EXPORT, fill(b"[" * 200_000), False),
    "export is long": (EXPORT, fill(b" " * 300_000_000), False),
    "export not UTF-8": (EXPORT, fill(b"\xff\xfe{}"), False),
    "export is a pipe": (EXPORT, fifo, False),
    "export is endless": (EXPORT, zeros, False),
    "export gone": (EXPORT, gone, False),
    "export of a size of text": (EXPORT, settings(size="32"), False),
    "export of a size of NaN": (EXPORT, settings(size=float("nan")), False),
    "export of a huge size": (EXPORT, settings(size=10**9), False),
    "export below 0": (EXPORT, settings(size=-32), False),
    "export of no sets": (EXPORT, settings(sets=[]), False),
    "export of unknown sets": (EXPORT, settings(sets=["hidden"]), False),
    "export of a set twice": (EXPORT, settings(sets=["labels", "labels"]), True),
    "export of sets of numbers": (EXPORT, settings(sets=[1, None]), False),
    "export of a number for sets": (EXPORT, settings(sets=7), False),
    "export of another protocol": (EXPORT, settings(protocol="default"), False),
    "export of a list for a seed": (EXPORT, settings(seed=[0]), False),
    "export of other faces": (EXPORT, settings(fingerprint="x"), False),
    "export of no fingerprint": (EXPORT, settings(fingerprint=None), False),
}
OUTPUTS = {
    "a file": lambda path: path.write_text("mine") and None,
    "a folder that holds something": lambda path: (
        path.mkdir(),
        (path / "mine").write_text("mine"),
    )[0],
    "a pipe": os.mkfifo,
    "a link to nothing": lambda path: path.symlink_to("gone"),
    "a link to itself": lambda path: path.symlink_to(path.name),
    "below a file": lambda path: path.parent.joinpath("mine").write_text("mine") and None,
}


def attack(report: Report, folder: Path) -> None:
    """Measures edits under each tampered export: as those of the whole one, or not at all, with
    one sentence; and exports to each place that cannot take it."""
    prepare(folder)
    whole, copy = folder / "elsewhere", folder / "copy"
    copy.mkdir()

    def measure(edits: list[str]) -> Outcome:
        where = ["--out", str(copy / "out"), "--cache", str(copy / "cache"), "--device", "cpu"]
        what = ["--metrics", "accuracy", "--no-figures", "--workers", "1", "--edits", *edits]
        return run(lambda: bench_of(copy, *what, *where))

    def values() -> set[bytes]:
        return set(measured(copy).values())

    shutil.copy(whole / FIRST, folder / "outside.png")
    shutil.copytree(whole, copy / "edits")
    healthy = measure([str(copy / "edits")])
    assert healthy.status == 0, healthy.output
    report.rest, expected = healthy.peak, values()
    for name, (file, tamper, fits) in CASES.items():
        shutil.rmtree(copy)
        shutil.copytree(whole, copy / "edits")
        tamper(copy / "edits" / file)
        outcome, lost = measure([str(copy / "edits")]), ""
        if outcome.status == 0 and values() != expected:
            lost = "other values without a word"
        elif outcome.status not in (0, 2):
            lost = f"status {outcome.status}"
        elif outcome.status == 2 and outcome.output.count("error: ") != 1:
            lost = "no sentence"
        elif (outcome.status == 0) != fits:
            lost = "refused" if fits else "accepted"
        report.add(name, outcome, "" if outcome.traceback else lost)
    edits = str(copy / "edits")
    shutil.rmtree(copy)
    shutil.copytree(whole, copy / "edits")
    for where in ([edits, edits], ["gone"], [f"{edits}/{MANIFEST}"], ["/dev/null"], ["e" * 5000]):
        outcome = measure(where)
        said = outcome.status == 2 and outcome.output.count("error: ") == 1
        report.add(f"edits of {where[-1][-40:]}", outcome, "" if said else "no sentence")
    for name, make in OUTPUTS.items():
        shutil.rmtree(copy)
        copy.mkdir()
        make(copy / "out")
        out = copy / "mine" / "out" if name == "below a file" else copy / "out"
        words = ["--export-sources", str(out), "--metrics", "accuracy"]
        outcome = run(lambda words=words: bench_of(copy, *words))
        mine = [path for path in copy.rglob("*") if path.is_file() and path.read_text() == "mine"]
        lost = "" if mine or "link" in name or "pipe" in name else "what was there"
        lost = lost or f"{', '.join(left_over(copy))}"
        if outcome.status != 2 or outcome.output.count("error: ") != 1:
            lost = "no sentence"
        report.add(f"export to {name}", outcome, lost)
