"""`python bench/run.py --methods all`: edits, measures, prints the leaderboard.

A fresh machine needs nothing but the repository: rendered faces, bundled weights, bundled
extractors. Ctrl-C and kill keep what was made; the same command goes on from there.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

if __package__ in (
    None,
    "",
):  # run as a script: the repository's root is where bench and ganmut lie
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from rich.console import Console

from bench import figures, leaderboard, report, results, tables, user_study
from bench.claims import Claim, claims
from bench.feature_cache import Evidence
from bench.metrics import METRICS, NotMeasured, Score
from bench.protocol import PROTOCOLS
from bench.roster import UserError
from bench.runner import ROLES, Session, open_session
from bench.verdicts import over_seeds
from ganmut.images import write_atomic

# What a metric, an editor or an extractor may fail with: the row gets the message, the run goes on.
FAILURES = (
    ValueError,
    RuntimeError,
    OSError,
    ArithmeticError,
    LookupError,
    TypeError,
    AttributeError,
)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    it = argparse.ArgumentParser(prog="bench/run.py", description="Measure expression editors.")
    add = it.add_argument
    add("--methods", default="all", metavar="A,B", help="names of weights, or all (default)")
    add(
        "--weights",
        default="procedural",
        metavar="SET|PATH|hub|hub:ID@REV",
        help="set, weight or run folder, folder of such, GANMUT_HUB or an id (default procedural)",
    )
    add(
        "--data",
        default="procedural",
        metavar="SPEC",
        help="procedural, folder:PATH or hub:ID@REV (default procedural)",
    )
    add("--metrics", default="all", metavar="A,B", help=f"of {', '.join(METRICS)} (default all)")
    add("--protocol", default="default", metavar="NAME", help=f"one of {', '.join(PROTOCOLS)}")
    for role, what in ROLES.items():
        add(
            f"--{role}",
            metavar="SPEC",
            help=f"{what}: bundled name, folder, Hub id (default procedural/{role})",
        )
    add(
        "--identity-model",
        metavar="PACK|PATH",
        help="a face recognition ONNX as --identity: a file, or a pack of insightface (buffalo_l)",
    )
    add(
        "--emotion-model",
        metavar="PATH",
        help="an expression ONNX as --emotion, its labels in PATH's .json (docs/judges.md)",
    )
    add(
        "--inception",
        metavar="PATH",
        help="Inception-v3 weights for FID (torch-fidelity's file, or .safetensors)",
    )
    add(
        "--out",
        default="out/bench",
        metavar="DIR",
        help="results, leaderboard, figures (default out/bench)",
    )
    add(
        "--cache",
        default="cache/bench",
        metavar="DIR",
        help="evidence already made (default cache/bench)",
    )
    add("--seed", type=int, default=0, metavar="N")
    add("--device", metavar="NAME", help="cpu, cuda, cuda:N (default: CUDA if there is one)")
    add("--no-figures", action="store_true", help="numbers only")
    add("--study", metavar="FILE", help="tell what the votes of the Space's study say, and stop")
    return it


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code: 0, 1 if a metric failed, 2 for what the user can mend, 130 for Ctrl-C."""
    args, console = parser().parse_args(arguments), Console()
    try:
        if args.study:
            print(user_study.report(Path(args.study)))
            return 0
        return run(open_session(args, console), console)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(
            f"\nstopped; what was made is in {args.cache}: the same command goes on from there",
            file=sys.stderr,
        )
        return 130


def run(session: Session, console: Console) -> int:
    """Measures every row, writes results, leaderboard and figures; returns the exit code."""
    start = time.perf_counter()
    records, scores, methods, spent = [], {}, [], Counter()
    wanted = _claims(session)
    with session.progress:
        for evidence in session.evidence():
            metrics = _metrics(session, evidence, wanted)
            found = measure(session, evidence, metrics)
            spent.update(evidence.seconds)
            records += [record for record, _ in found]
            scores |= {(r.row, r.metric): score for r, score in found if score is not None}
            results.append(session.out, [record for record, _ in found])
            if evidence.row.name in session.methods:
                methods.append(evidence)
    verdicts = [over_seeds(claim, scores) for claim in wanted]
    results.append(session.out, [session.claim_record(verdict) for verdict in verdicts])
    drawn = _figures(session, methods)
    found = tables.board(results.read(session.out))
    write_atomic(session.out / "LEADERBOARD.md", leaderboard.markdown(found, session.out))
    report.show(console, found)
    failed = [r for r in records if r.status == "error"] or not drawn
    minutes = (time.perf_counter() - start) / 60
    parts = ", ".join(f"{plan} {seconds:.0f} s" for plan, seconds in spent.most_common())
    console.print(f"making and looking at edits, kept evidence included: {parts}", markup=False)
    console.print(
        f"{minutes:.1f} minutes; results, LEADERBOARD.md and figures in {session.out}", markup=False
    )
    return 1 if failed else 0


def _claims(session: Session) -> list[Claim]:
    if not session.methods:
        return []
    return claims(session.faces.emotions, (*session.methods, *session.ablations))


def _metrics(session: Session, evidence: Evidence, wanted: list[Claim]) -> list[str]:
    """What a row is measured on: what was asked for, and of an ablation or one more seed only what
    a claim reads.
    """
    row = evidence.row
    asked = [name for name in session.metrics if row.kind in METRICS[name].rows]
    if row.name in session.ablations:
        name = row.name.partition("@")[0]
        read = set().union(*(claim.rows.get(name, set()) for claim in wanted))
        asked = [name for name in asked if name in read]
    return asked


def measure(
    session: Session, evidence: Evidence, metrics: list[str]
) -> list[tuple[results.Result, Score | None]]:
    """One Result a metric; a metric that fails becomes a row with its error."""
    for name in metrics:
        evidence.want(METRICS[name].reads(evidence.row))
    found = []
    for name in metrics:
        start, score, status, note = time.perf_counter(), None, "ok", ""
        try:
            score = METRICS[name]().compute(evidence)
        except NotMeasured as reason:
            status, note = "not measured", str(reason)
        except FAILURES as error:
            status, note = "error", f"{type(error).__name__}: {error}"
        seconds = time.perf_counter() - start
        found.append((session.record(evidence, name, score, status, note, seconds), score))
    return found


def _figures(session: Session, methods: list[Evidence]) -> bool:
    """Whether the figures are drawn, or were not asked for."""
    if not session.draw or not methods:
        return True
    try:
        with session.progress:
            embedded = "tsne" in session.metrics
            figures.draw(methods, session.out / "figures", session.protocol.seed, embedded)
    except (NotMeasured, *FAILURES) as error:
        print(f"figures failed: {type(error).__name__}: {error}", file=sys.stderr)
        return False
    return True


if __name__ == "__main__":
    sys.exit(main())
