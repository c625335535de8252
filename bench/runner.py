"""Runner: resolves a command line to a Benchmark, measures every system, writes results,
leaderboard and figures.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

import ganmut
from ganmut import device as hardware
from ganmut.datasets import FaceSet
from ganmut.errors import ParameterError
from ganmut.files import remove_temporaries

from . import figures, leaderboard, results, tables
from .claims.papers import Claim, claims
from .claims.verdicts import Scores, Verdict, evaluate_judges
from .features.cache import Features, source_features
from .features.extract import FEATURES, NON_NETWORK_ROLES, Extractors, second
from .features.ground_truth import GroundTruth
from .foreign_edits import SETTINGS, FilesSystem, edit_sets_of, export_sources, read_export
from .metrics import METRICS, NotMeasured, Score
from .processes import FAILURES, measure_rows, number_of_workers
from .progress import track
from .protocol import Protocol, get_protocol
from .resolve import (
    UserError,
    choose,
    common_size,
    find_editors,
    load_extractors,
    load_faces,
    require_distinct,
    require_emotions,
    require_writable,
    split_ablations,
)
from .results import ClaimRecord, Result
from .systems import (
    EditorSystem,
    GroundTruthSystem,
    NoEditSystem,
    RealSplitSystem,
    System,
)
from .tables import REFERENCE_ROWS

# The fields of a weight's config that are stored with its results.
TRAINING = (
    "ablation_of",
    "recipe_hash",
    "kimg",
    "steps",
    "minutes",
    "hardware",
    "data",
    "data_fingerprint",
    "commit",
)


@dataclass
class Benchmark:
    """Everything that a run needs.

    methods: name -> weight folder or spec. ablations: the same, measured for claims only. others:
    the faces of real_split. shared: fields that all records of the run share. workers: processes
    that share the work; args: what they are resolved from. shows: whether there is a progress bar.
    """

    args: argparse.Namespace
    protocol: Protocol
    metrics: list[str]
    methods: dict[str, str]
    ablations: dict[str, str]
    faces: FaceSet
    others: FaceSet | None
    extractors: Extractors
    weights: str
    out: Path
    cache: Path
    device: torch.device
    progress: Progress
    shared: dict[str, Any]
    draw: bool
    edits: list[FilesSystem] = field(default_factory=list)
    workers: int = 1
    shows: bool = True
    latest: Features | None = None  # of the row that a worker process is at
    weight_hashes: dict[str, str] = field(default_factory=dict)  # method -> sha256

    def rows(self) -> list[str]:
        """The names of the rows in their order: the reference systems, the methods, the ablations,
        and edits made elsewhere."""
        truth = ["ground_truth"] if self.extractors.ground_truth.available else []
        files = [edits.name for edits in self.edits]
        return ["real_split", "no_edit", *truth, *self.editors, *files]

    @property
    def editors(self) -> dict[str, str]:
        """Methods and ablations: name -> weight folder or spec."""
        return {**self.methods, **self.ablations}

    @cached_property
    def source(self) -> Features:
        """The features of the unedited faces, which all rows share."""
        found = source_features(self.faces, self.protocol, self.extractors, self.cache, self.track)
        needs = [need for name in self.metrics for need in METRICS[name].needs]
        found.request(need for need in needs if need.startswith("source"))
        return found

    def features(self, row: str) -> Features:
        """The features of the system of a row."""
        if row == "real_split":
            half = self.faces
            # As many faces as both sets have: face i is compared with face i of the others.
            if self.others is not None:
                half = self.faces.select(torch.arange(min(len(self.faces), len(self.others))))
            return self._features(RealSplitSystem(self.faces, self.others), half)
        return self._features(self._system(row), self.faces)

    def _system(self, row: str) -> System:
        if row == "no_edit":
            return NoEditSystem(self.faces)
        if row == "ground_truth":
            return GroundTruthSystem(self.faces, self.extractors.ground_truth)
        spec = self.editors.get(row)
        if spec is not None:
            return EditorSystem(row, ganmut.load(spec, self.device), self.faces)
        return next(edits for edits in self.edits if edits.name == row)

    def _features(self, system: System, faces: FaceSet) -> Features:
        return Features(
            system, faces, self.protocol, self.extractors, self.cache, self.source, self.track
        )

    def track(
        self, label: str, total: int
    ) -> contextlib.AbstractContextManager[Callable[[int], None]]:
        """progress.track; nothing in a process that shows nothing."""
        if self.shows:
            return track(self.progress, label, total)
        return contextlib.nullcontext(lambda done: None)

    def claims(self) -> list[Claim]:
        """The claims that the measured methods allow."""
        if not self.methods:
            return []
        return claims(self.faces.emotions, (*self.methods, *self.ablations))

    def metrics_of(self, system: System) -> list[str]:
        """The metrics of a system. Ablations and further seeds are measured only on what a claim
        needs."""
        names = [name for name in self.metrics if system.kind in METRICS[name].systems]
        if system.name not in self.ablations:
            return names
        # "ganmut@1" is another seed of ganmut: the claims name the method.
        row = system.name.partition("@")[0]
        needed = set().union(*(claim.metrics.get(row, set()) for claim in self.claims()))
        return [name for name in names if name in needed or name in set(map(second, needed))]

    def record(
        self,
        features: Features,
        metric: str,
        score: Score | None,
        status: str,
        note: str,
        seconds: float,
    ) -> Result:
        """The Result of one cell, with everything that it depends on."""
        kind, system = METRICS[metric], features.system
        config = system.editor.config if isinstance(system, EditorSystem) else {}
        empty: dict[str, Any] = {
            "value": None,
            "interval": None,
            "n": 0,
            "parts": {},
            "intervals": {},
        }
        values = empty | {"note": note} if score is None else results.score_fields(score)
        edit_sets = {need.split(":")[0] for need in kind.needs_of(system)}
        return Result(
            row=system.name,
            metric=metric,
            metric_version=kind.version,
            status=status,
            unit=kind.unit,
            higher_is_better=kind.higher_is_better,
            weights="edits" if isinstance(system, FilesSystem) else self.weights,
            weights_sha256=system.sha256,
            extractors=self._extractor_hashes(metric),
            seconds=round(seconds, 3),
            feature_seconds=round(sum(features.seconds.get(e, 0.0) for e in edit_sets), 3),
            training={key: config[key] for key in TRAINING if key in config},
            codes=system.space.kind,
            drawing=system.drawing,
            supervision=system.supervision,
            **values,
            **self.shared,
        )

    def _extractor_hashes(self, metric: str) -> dict[str, str]:
        roles = {FEATURES[need.split(":")[1]][1] for need in METRICS[metric].needs}
        networks = self.extractors.networks
        return {
            role: self.extractors.sha256(role)
            for role in sorted(roles - NON_NETWORK_ROLES)
            if role in networks
        }

    def claim_record(self, verdict: Verdict) -> ClaimRecord:
        """The record of a verdict, with everything that it depends on."""
        return ClaimRecord(**asdict(verdict), **self.shared, weights=dict(self.weight_hashes))


def resolve(args: argparse.Namespace, console: Console) -> Benchmark:
    """The Benchmark of a command line; raises UserError for whatever is wrong with it, before any
    work starts."""
    try:
        protocol = get_protocol(args.protocol, args.seed)
        metrics = choose(args.metrics, METRICS, "metric")
        device = hardware.select_device(args.device)
        workers = number_of_workers(args.workers, device)
        settings = {key: getattr(args, key) for key in SETTINGS}
        exports = [read_export(Path(folder)) for folder in args.edits or ()]
        for one in exports:
            one.require(settings)
        methods, ablations = chosen_editors(args)
        out, cache = Path(args.out), Path(args.cache)
        for folder in (out, cache):
            require_writable(folder)
            remove_temporaries(folder, recursive=True)
        size = common_size({**methods, **ablations}, {one.name: one.size for one in exports})
        networks, missing = load_extractors(args, metrics, device)
        faces, others = load_faces(args.data, args.split, size, protocol)
        require_emotions({**methods, **ablations}, faces.emotions)
        edits = [FilesSystem(one, faces, protocol) for one in exports]
        require_distinct([*REFERENCE_ROWS, *methods, *ablations, *(one.name for one in edits)])
    except (UserError, ParameterError):
        raise
    except (ValueError, OSError) as error:
        raise UserError(str(error)) from None
    ground_truth = GroundTruth(faces, protocol.n_accuracy, cache / "ground_truth")
    shared = {
        "protocol": protocol.name,
        "protocol_hash": protocol.hash,
        "data": args.data,
        "split": faces.split,
        "size": faces.size,
        "data_fingerprint": faces.fingerprint,
        "seed": protocol.seed,
        **results.environment(device),
    }
    shared["versions"]["protocol"] = protocol.describe()
    progress = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
    )
    return Benchmark(
        args=args,
        protocol=protocol,
        metrics=metrics,
        methods=methods,
        ablations=ablations,
        faces=faces,
        others=others,
        extractors=Extractors(networks, faces.emotions, ground_truth, missing, device.type),
        weights=args.weights,
        out=out,
        cache=cache,
        device=device,
        progress=progress,
        shared=shared,
        draw=not args.no_figures,
        edits=edits,
        workers=workers,
    )


def chosen_editors(args: argparse.Namespace) -> tuple[dict[str, str], dict[str, str]]:
    """The editors of --methods and --weights, and the ablations that only claims need; none where
    edits made elsewhere are all that is asked for."""
    if args.methods is None and args.edits and args.weights == "procedural":
        return {}, {}
    return split_ablations(args.methods or "all", find_editors(args.weights))


def export(args: argparse.Namespace) -> str:
    """Writes what edits made elsewhere need to --export-sources, and returns a sentence. Raises
    UserError."""
    protocol = get_protocol(args.protocol, args.seed)
    sets = edit_sets_of(choose(args.metrics, METRICS, "metric"))
    if args.size is not None and not 16 <= args.size <= 1024:
        raise UserError(f"--size must be in 16..1024, got {args.size}")
    size = args.size or common_size(chosen_editors(args)[0])
    faces, _ = load_faces(args.data, args.split, size, protocol)
    settings = {key: getattr(args, key) for key in SETTINGS}
    settings |= {"size": size, "fingerprint": faces.fingerprint}
    return export_sources(Path(args.export_sources), faces, protocol, sets, settings)


def run(benchmark: Benchmark, console: Console) -> int:
    """Measures every system and writes results.jsonl, LEADERBOARD.md and figures. The exit code: 1
    where a metric or the figures failed, else 0."""
    start = time.perf_counter()
    scores: dict[tuple[str, str], Score] = {}
    seconds: Counter[str] = Counter()
    complete = True
    with benchmark.progress, hardware.one_thread(benchmark.device):
        for cells, spent in measure_rows(benchmark, BenchWork(benchmark)):
            for record, score in cells:
                # Written per cell: a killed run, or a full disk, costs one.
                results.append(benchmark.out, [record])
                if score is not None:
                    scores[record.row, record.metric] = score
                if record.row in benchmark.editors:
                    benchmark.weight_hashes[record.row] = record.weights_sha256
                complete &= record.status != "error"
            seconds.update(spent)
    _write_claims(benchmark, scores)
    complete &= _draw_figures(benchmark)
    board = tables.select(results.read(benchmark.out))
    leaderboard.write(board, benchmark.out)
    leaderboard.print_tables(console, board)
    parts = ", ".join(f"{name} {spent:.0f} s" for name, spent in seconds.most_common())
    minutes = (time.perf_counter() - start) / 60
    console.print(f"edits and features (cached ones included): {parts}", markup=False)
    console.print(
        f"{minutes:.1f} minutes; results, LEADERBOARD.md and figures in {benchmark.out}",
        markup=False,
    )
    return 0 if complete else 1


class BenchWork:
    """Calls a function of `bench.processes` with the benchmark, which each process resolves itself:
    networks and features are not sent."""

    def __init__(self, benchmark: Benchmark):
        self.benchmark = benchmark

    def __call__(self, function: Any, *arguments: Any) -> Any:
        return function(self.benchmark, *arguments)

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopen, (self.benchmark.args, self.benchmark.shared)


def _reopen(args: argparse.Namespace, shared: dict[str, Any]) -> BenchWork:
    """The BenchWork of another process: the same records, without a progress bar."""
    said = io.StringIO()  # what the first process has printed already, as of data that are left out
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        benchmark = resolve(args, Console(quiet=True))
    benchmark.shows, benchmark.shared = False, shared
    return BenchWork(benchmark)


def _write_claims(benchmark: Benchmark, scores: Scores) -> None:
    verdicts = [evaluate_judges(claim, scores) for claim in benchmark.claims()]
    results.append(benchmark.out, [benchmark.claim_record(verdict) for verdict in verdicts])


def _draw_figures(benchmark: Benchmark) -> bool:
    """False where drawing failed; True also where no figures were requested."""
    # Figures show neither reference systems nor ablations.
    if not benchmark.draw or not benchmark.methods:
        return True
    try:
        with benchmark.progress, hardware.one_thread(benchmark.device):
            methods = [benchmark.features(row) for row in benchmark.methods]
            tsne = "real_neighbour_rate" in benchmark.metrics
            figures.draw(methods, benchmark.out / "figures", benchmark.protocol.seed, tsne)
    except (NotMeasured, *FAILURES) as error:
        print(f"figures failed: {type(error).__name__}: {error}", file=sys.stderr)
        return False
    return True
