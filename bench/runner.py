"""Session: what a command line means. Names checked, data opened, rows and networks loaded, before
any work starts.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import socket
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

import ganmut
from bench import results
from bench.extractors import inception
from bench.feature_cache import Evidence, source_evidence
from bench.features import NETWORKLESS, VIEWS, Judges
from bench.ground_truth import Answers
from bench.metrics import METRICS, NotMeasured, Score
from bench.protocol import Protocol, protocol
from bench.roster import UserError, choose, discover, one_size, pick_methods
from bench.systems import EditorRow, IdentityRow, OracleRow, RealRow, Row
from bench.verdicts import Verdict
from ganmut import device as hardware
from ganmut import extractors
from ganmut.datasets import FaceSet, open_source

TRAINING = (
    "ablation_of",
    "recipe_hash",
    "kimg",
    "minutes",
    "hardware",
    "data",
    "data_fingerprint",
    "commit",
)
BUNDLED = (
    "the bundled {role} extractor is for rendered faces only; for {data} pass --{role} SPEC{hint}"
)
HINT = {
    "emotion": " (train one: python -m ganmut train-extractor emotion --data {data}), or "
    "--emotion-model PATH, an expression classifier's ONNX file",
    "identity": " (a trained folder), or --identity-model PACK|PATH, a face recognition ONNX",
    "units": " (train one on faces with action units: "
    "python -m ganmut train-extractor units --data ...)",
}
ROLES = {"emotion": "classifier", "identity": "face embedder", "units": "action-unit regressor"}


@dataclass
class Session:
    """Everything a run needs. methods, ablations: name -> weight folder or spec, the latter
    measured for claims only.
    """

    protocol: Protocol
    metrics: list[str]
    methods: dict[str, str]
    ablations: dict[str, str]
    data: str
    faces: FaceSet
    others: FaceSet | None
    judges: Judges
    weights: str
    out: Path
    cache: Path
    device: torch.device
    progress: Progress
    shared: dict[str, Any]
    draw: bool
    seen: dict[str, str] = field(default_factory=dict)  # method -> sha256 of its weight

    def evidence(self) -> Iterator[Evidence]:
        """Evidence of one row after another: the ends, the methods, the ablations."""
        real = source_evidence(self.faces, self.protocol, self.judges, self.cache, self.track)
        needs = [need for name in self.metrics for need in METRICS[name].needs]
        real.want(need for need in needs if need.startswith("source"))
        half = self.faces
        if self.others is not None:
            half = self.faces.select(torch.arange(min(len(self.faces), len(self.others))))
        yield self._gather(RealRow(self.faces, self.others), half, real)
        yield self._gather(IdentityRow(self.faces), self.faces, real)
        if self.judges.answers.known:
            yield self._gather(OracleRow(self.faces, self.judges.answers), self.faces, real)
        for name, spec in {**self.methods, **self.ablations}.items():
            row = EditorRow(name, ganmut.load(spec, self.device), self.faces)
            self.seen[name] = row.sha256
            yield self._gather(row, self.faces, real)

    def _gather(self, row: Row, faces: FaceSet, real: Evidence) -> Evidence:
        return Evidence(row, faces, self.protocol, self.judges, self.cache, real, self.track)

    @contextlib.contextmanager
    def track(self, label: str, total: int):
        """A progress bar with the time left for a plan; in a log file one line when it is done."""
        task = self.progress.add_task(label, total=total)
        start = time.perf_counter()
        try:
            yield lambda done: self.progress.advance(task, done)
        finally:
            self.progress.remove_task(task)
        if not self.progress.console.is_terminal:
            print(f"{label}: {total} edits, {time.perf_counter() - start:.1f} s", flush=True)

    def record(
        self,
        evidence: Evidence,
        metric: str,
        score: Score | None,
        status: str,
        note: str,
        seconds: float,
    ) -> results.Result:
        """The Result of one cell with all it is a result of."""
        kind, row = METRICS[metric], evidence.row
        config = row.editor.config if isinstance(row, EditorRow) else {}
        known = (
            results.measured(score)
            if score is not None
            else dict(value=None, interval=None, n=0, note=note, parts={}, intervals={})
        )
        plans = {need.split(":")[0] for need in kind.reads(row)}
        return results.Result(
            row=row.name,
            metric=metric,
            metric_version=kind.version,
            status=status,
            unit=kind.unit,
            higher_is_better=kind.higher_is_better,
            weights=self.weights,
            weights_sha256=row.sha256,
            extractors=self._used(metric),
            seconds=round(seconds, 3),
            evidence_seconds=round(sum(evidence.seconds.get(plan, 0.0) for plan in plans), 3),
            training={key: config[key] for key in TRAINING if key in config},
            **known,
            **self.shared,
        )

    def _used(self, metric: str) -> dict[str, str]:
        roles = {VIEWS[need.split(":")[1]][1] for need in METRICS[metric].needs} - NETWORKLESS
        return {
            role: self.judges.sha256(role) for role in sorted(roles) if role in self.judges.networks
        }

    def claim_record(self, verdict: Verdict) -> Any:
        """A line for results.jsonl: the verdict and what it was judged on."""
        return ClaimRecord(**asdict(verdict), **self.shared, weights=dict(self.seen))


@dataclass(frozen=True)
class ClaimRecord(Verdict):
    """A verdict with what it was judged on."""

    protocol: str
    protocol_hash: str
    data: str
    split: str
    size: int
    data_fingerprint: str
    seed: int
    commit: str
    device: str
    dtype: str
    time: str
    versions: dict[str, str]
    weights: dict[str, str]
    kind: str = "claim"


def open_session(args: argparse.Namespace, console: Console) -> Session:
    """The Session of a command line; raises UserError before any work for whatever can be known by
    then.
    """
    try:
        chosen = protocol(args.protocol, args.seed)
        metrics = choose(args.metrics, METRICS.names(), "metric")
        device = hardware.pick(args.device)
        methods, ablations = pick_methods(args.methods, discover(args.weights))
        _writable(Path(args.out)), _writable(Path(args.cache))
        size = one_size({**methods, **ablations})
        networks, missing = open_networks(args, metrics, device)
        faces, others = load_faces(args.data, size, chosen)
    except UserError:
        raise
    except (ValueError, OSError) as error:
        raise UserError(str(error)) from None
    answers = Answers(faces, chosen.n_accuracy, Path(args.cache) / "answers")
    shared = {
        "protocol": chosen.name,
        "protocol_hash": chosen.hash,
        "data": args.data,
        "split": faces.split,
        "size": faces.size,
        "data_fingerprint": faces.fingerprint,
        "seed": chosen.seed,
        **results.environment(device),
    }
    shared["versions"]["protocol"] = chosen.describe()
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
    )
    judges = Judges(networks, faces.emotions, answers, missing, device.type)
    return Session(
        chosen,
        metrics,
        methods,
        ablations,
        args.data,
        faces,
        others,
        judges,
        args.weights,
        Path(args.out),
        Path(args.cache),
        device,
        bar,
        shared,
        not args.no_figures,
    )


# Networks and faces -------------------------------------------------------------------------------


def open_networks(
    args: argparse.Namespace, metrics: list[str], device: torch.device
) -> tuple[dict[str, Any], dict[str, str]]:
    """The frozen networks that the metrics need, by role, and why others are missing."""
    roles = {VIEWS[need.split(":")[1]][1] for name in metrics for need in METRICS[name].needs}
    if not args.no_figures:
        roles.add("emotion")  # gamut maps
    networks: dict[str, Any] = {}
    missing: dict[str, str] = {}
    for role in sorted(roles - NETWORKLESS - {"inception"}):
        given = judge(args, role)
        if given is None and not args.data.startswith("procedural"):
            hint = HINT.get(role, "").format(data=args.data)
            reason = BUNDLED.format(role=role, data=args.data, hint=hint)
            if role == "emotion":
                raise UserError(reason)
            missing[role] = reason
            continue
        networks[role] = extractors.load(given or f"procedural/{role}", device)
    if "inception" in roles:
        try:
            networks["inception"] = _patiently(args.inception, device)
        except NotMeasured as reason:
            missing["inception"] = str(reason)
    return networks, missing


def judge(args: argparse.Namespace, role: str) -> str | None:
    """The spec of the network that the command line gives for a role, or None; --identity-model and
    --emotion-model are ONNX files. Raises UserError where there are two."""
    spec, model = getattr(args, role, None), getattr(args, f"{role}_model", None)
    if spec and model:
        raise UserError(f"--{role} and --{role}-model are both given; give one")
    return f"onnx:{model}{':' if role == 'emotion' else ''}" if model else spec


def _patiently(path: str | None, device: torch.device) -> inception.Inception:
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(10)  # a machine without internet should not wait for it
    try:
        return inception.find(path, device)
    finally:
        socket.setdefaulttimeout(before)


def load_faces(spec: str, size: int, chosen: Protocol) -> tuple[FaceSet, FaceSet | None]:
    """The source faces in a seeded order, and as many others for the row real (None where too few
    are left).
    """
    whole = open_source(spec).load("test", size, 2 * chosen.n_test, seed=chosen.seed)
    whole = replace(whole, images=whole.faces())  # in memory: 49 KB a face at 128 px
    order = torch.from_numpy(np.random.default_rng(chosen.seed).permutation(len(whole)))
    n = min(chosen.n_test, len(whole))
    rest = order[n : 2 * n]
    return whole.select(order[:n]), whole.select(rest) if len(rest) >= n // 2 else None


def _writable(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"{folder} cannot be made ({error.strerror}); choose another folder"
        ) from None
    if not os.access(folder, os.W_OK):
        raise UserError(f"{folder} is not writable; choose another folder")
