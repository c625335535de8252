"""`reproduce`: from nothing to a leaderboard: judges, trainings, bench.

Every step is another command of the project, in a process of its own: `train-extractor`, `train` or
`train resume`, `bundle`, for rendered faces the expression model and `train-expressions`, and
the bench. What a step leaves in the folder says whether it is done, so the same command goes on
where it stopped. Weights get a root of their own in the folder (GANMUT_WEIGHTS), so that nothing
bundled is read or replaced.
"""

from __future__ import annotations

import argparse
import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ganmut.cli import train
from ganmut.steps import Step, work_through
from ganmut.text import Parser, quote

HELP = "train judges and all methods, and measure them: a leaderboard from nothing"

# Judges, as the bundled ones were trained: faces, epochs, minutes on a core.
JUDGES = {
    "emotion": (6000, 10, 3.0),
    "identity": (6000, 10, 3.0),
    "units": (6000, 10, 3.0),
    "emotion_resnet": (12000, 12, 4.0),
    "identity_resnet": (12000, 16, 5.0),
}
# Options of the bench for judges that are not called by their role.
ROLES = {"emotion_resnet": "second-emotion", "identity_resnet": "second-identity"}
# Rows beside the methods: method, settings, and the row whose ablation it is.
VARIANTS: dict[str, tuple[str, dict[str, Any], str]] = {
    "ganimation_labels": ("ganimation", {"code_type": "labels"}, ""),
    "ganmut_rho1": ("ganmut", {"lambda_rho": 1.0}, "ganmut"),
}
CASCADE_SHARE = 3.3 / 48  # of EF-GAN's training, by which the bundled cascade was trained further
CORE_MINUTES = 45.0  # of a method at CORE_COST, the mean of the bundled ones
CORE_COST = 48.0 * 64**2  # thousands of pixels that the budget cpu shows
TRIAL: dict[str, Any] = {
    "size": 32,
    "width": 8,
    "blocks": 1,
    "d_width": 8,
    "d_layers": 4,
    "faces": 64,
    "kimg": 0.192,
    "kimg_per_tick": 0.096,
    "d_warmup_kimg": 0.032,
    "g_warmup_kimg": 0.032,
}
# What draws the rows on expressions, and minutes on a core of its parts.
DRAWING = {"landmarks": 60.0, "expression": 4.0}
EXPRESSION_MINUTES = 2.5  # of a method on expressions
MOST_SEEDS = 1000
# Options of `train` that this command gives to every training itself.
OWN = ("out", "data", "seed", "objective", "budget", "device", "dry_run", "explain")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    from ganmut.training import presets

    parser.add_argument("--out", type=Path, default=Path("out/reproduce"), metavar="DIR")
    parser.add_argument("--data", default="procedural", metavar="SPEC", help="(default procedural)")
    for option, known, default in (
        ("objective", presets.OBJECTIVES, "stable"),
        ("budget", presets.BUDGETS, "cpu"),
    ):
        parser.add_argument(
            f"--{option}", choices=list(known), default=default, help=f"(default {default})"
        )
    parser.add_argument(
        "--methods", default="all", metavar="A,B", help="rows to train, or all (default)"
    )
    parser.add_argument(
        "--kimg", type=float, metavar="N", help="length of every training (default: the budget's)"
    )
    parser.add_argument("--protocol", default="default", help="of the bench (default default)")
    parser.add_argument(
        "--seed", type=int, default=0, metavar="N", help="of all trainings on images"
    )
    parser.add_argument(
        "--seeds",
        type=int,
        default=3,
        metavar="N",
        help="trainings of each method on expressions, from seeds 0 to N - 1 (default 3)",
    )
    parser.add_argument("--device", metavar="NAME", help="(default: CUDA if there is one)")
    parser.add_argument(
        "--minutes",
        type=float,
        metavar="N",
        help="stop after so long; the same command continues from the last snapshot",
    )
    parser.add_argument("--plan", action="store_true", help="print the steps and stop")
    parser.add_argument(
        "--trial", action="store_true", help="toy sizes, to check the chain in some minutes"
    )
    parser.add_argument(
        "settings",
        nargs="*",
        metavar="-- --OPTION=VALUE",
        help="after --: options of every training, such as --compile or --faces=30000",
    )


def run(args: argparse.Namespace) -> int:
    from ganmut import device as hardware
    from ganmut.datasets import open_source
    from ganmut.files import folder_lock
    from ganmut.folders import check_output_folder

    steps = make_plan(args)
    if args.plan:
        for step in steps:
            state = "done" if step.result() else f"about {step.minutes:.1f} min on a core"
            print(f"{step.name:<28} {state}")
        return 0
    # Before hours of training.
    check_output_folder(args.out)
    hardware.select_device(args.device)
    open_source(args.data)
    check_settings(steps, args.settings)
    check_bench(steps[-1].words())
    with folder_lock(args.out):
        return work_through(steps, args.out, args.minutes)


# The plan


def make_plan(args: argparse.Namespace) -> list[Step]:
    """The steps in their order. Raises ParameterError for an unknown row or setting."""
    from ganmut.errors import ParameterError
    from ganmut.methods.base import METHODS

    group = args.data.partition(":")[0]
    root = args.out / "weights" / group
    rows = choose_rows(args.methods, args.data)
    drawn = [row for row in rows if row in expression_rows(args.data)]
    own = [row for row in rows if row not in drawn]
    size = row_settings(args, (own or list(METHODS))[0])["size"]
    judges = [judge_step(args, root, name, size) for name in JUDGES]
    trainings = [step for row in own for step in row_steps(args, root, row)]
    if not 1 <= args.seeds <= MOST_SEEDS:
        raise ParameterError("seeds", f"seeds must be 1 to {MOST_SEEDS}, got {args.seeds}")
    if args.minutes is not None and not args.minutes >= 0:  # NaN is neither
        raise ParameterError("minutes", f"minutes must be 0 or more, got {args.minutes:g}")
    if drawn:
        trainings += expression_steps(args, root, drawn)
    return [*judges, *trainings, bench_step(args, root)]


def expression_rows(data: str) -> dict[str, str]:
    """Row -> method of the rows that the expression model draws, "" for those that are fitted;
    rendered faces alone have the landmarks that it is fitted to."""
    from ganmut.expression.conditional import expression_methods, expression_row

    if data != "procedural":
        return {}
    trained = {expression_row(name): name for name in expression_methods()}
    return {"expression": "", "transport": ""} | trained


def choose_rows(text: str, data: str) -> list[str]:
    """The rows of a comma-separated list, in the order of the plan: the cascade after EF-GAN."""
    from ganmut.errors import ParameterError
    from ganmut.methods.base import METHODS

    known = [*METHODS, *VARIANTS, *expression_rows(data)]
    if text == "all":
        return known
    named = [name.strip() for name in text.split(",") if name.strip()]
    if unknown := [name for name in named if name not in known]:
        raise ParameterError(
            "methods", f"unknown row {quote(unknown[0])}; there are: {', '.join(known)}"
        )
    if not named:
        raise ParameterError("methods", "methods names no row")
    if "efgan_cascade" in named and "efgan" not in named:
        raise ParameterError("methods", "efgan_cascade starts from efgan: name both")
    return [name for name in known if name in named]


def row_settings(args: argparse.Namespace, row: str) -> dict[str, Any]:
    """The fields of Recipe that a row is trained with, as far as the plan needs them: size, kimg;
    and "options", the words that set them."""
    from ganmut.training import presets

    method, own, _ = VARIANTS.get(row, (row, {}, ""))
    settings = dict(own) | (TRIAL if args.trial else {})
    settings |= {} if args.kimg is None else {"kimg": args.kimg}
    if row == "efgan_cascade" and args.objective == "stable":
        # Its networks are trained already: no warm-up, and a small share of EF-GAN's length.
        full = row_settings(args, "efgan")["kimg"]
        settings |= {"kimg": full * CASCADE_SHARE, "d_warmup_kimg": 0.0, "g_warmup_kimg": 0.0}
        settings["kimg_per_tick"] = settings["kimg"] / 3
    if method == "defgan" and args.data.partition(":")[0] != "procedural":
        settings["embedder"] = f"{args.data.partition(':')[0]}/identity"
    recipe, _ = presets.resolve_settings(method, args.objective, args.budget, **settings)
    options = [f"--{name.replace('_', '-')}={value}" for name, value in settings.items()]
    return {"method": method, "size": recipe.size, "kimg": recipe.kimg, "options": options}


def judge_step(args: argparse.Namespace, root: Path, name: str, size: int) -> Step:
    faces, epochs, minutes = (128, 1, 0.1) if args.trial else JUDGES[name]
    words = ["-m", "ganmut", "train-extractor", name, f"--data={args.data}", f"--out={root / name}"]
    words += [f"--faces={faces}", f"--epochs={epochs}", f"--size={size}", *device_words(args)]
    words += ["--test-faces=70"] if args.trial else []
    return Step(f"judge {name}", lambda: words, lambda: existing(root / name), minutes)


def row_steps(args: argparse.Namespace, root: Path, row: str) -> Iterator[Step]:
    """The training of a row, and its weight among those of the bench."""
    settings, runs = row_settings(args, row), args.out / "runs" / row
    ablation = VARIANTS.get(row, ("", {}, ""))[2]

    def finished(runs: Path = runs) -> Path | None:
        return next((path.parent for path in sorted(runs.glob("*/weights/config.json"))), None)

    def train() -> list[str]:
        started = sorted(path.parent for path in runs.glob("*/recipe.json"))
        if started:
            return ["-m", "ganmut", "train", "resume", str(started[-1]), *device_words(args)]
        words = ["-m", "ganmut", "train", settings["method"], f"--objective={args.objective}"]
        words += [f"--budget={args.budget}", f"--data={args.data}", f"--seed={args.seed}"]
        words += [f"--out={runs}", *args.settings, *settings["options"], *device_words(args)]
        if row == "efgan_cascade" and (start := finished(args.out / "runs" / "efgan")):
            words.append(f"--init-from={start.parent}")
        return words

    def bundle() -> list[str]:
        words = ["-m", "ganmut", "bundle", str(finished()), f"{root.name}/{row}"]
        return [*words, f"--ablation-of={ablation}"] if ablation else words

    cost = settings["kimg"] * settings["size"] ** 2
    minutes = CORE_MINUTES * cost / CORE_COST
    yield Step(f"train {row}", train, lambda: finished() or existing(root / row), minutes)
    yield Step(f"bundle {row}", bundle, lambda: existing(root / row), 0.1)


def expression_steps(args: argparse.Namespace, root: Path, rows: list[str]) -> Iterator[Step]:
    """The landmark network, the expression model that draws these rows, and their trainings."""
    from ganmut.expression.conditional import expression_row

    data, run = f"--data={args.data}", args.out / "runs" / "landmarks"
    few, short = (["--faces=200"], ["--steps=20"]) if args.trial else ([], [])

    def step(name: str, words: list[str], folder: Path, minutes: float) -> Step:
        return Step(name, lambda: words, lambda: existing(folder), 0.1 if args.trial else minutes)

    train = ["-m", "ganmut.expression.train_landmarks", data, f"--out={run}", *few, *short]
    yield step("train landmarks", train, run / "weights", DRAWING["landmarks"])
    bundle = ["-m", "ganmut", "bundle", str(run / "weights"), f"{root.name}/landmarks"]
    yield step("bundle landmarks", bundle, root / "landmarks", 0.1)
    fit = ["-m", "ganmut", "fit-expressions", data, f"--out={root}", *few]
    yield step("fit expression", fit, root / "expression", DRAWING["expression"])
    if "transport" in rows:
        fit = ["-m", "ganmut", "fit-transport", data, f"--out={root}"]
        yield step("fit transport", fit, root / "transport", 0.1)
    for row in rows:
        method = expression_rows(args.data)[row]
        for seed in range(args.seeds if method else 0):
            name = expression_row(method, seed)
            words = ["-m", "ganmut", "train-expressions", method, data, f"--out={root}"]
            words += [f"--seed={seed}", *short]
            yield step(f"train {name}", words, root / name, EXPRESSION_MINUTES)


def bench_command() -> list[str]:
    """The words after the interpreter that start the bench: its module in an installed package, its
    script in a checkout. Raises ValueError where there is neither."""
    import ganmut

    package = Path(ganmut.__file__).resolve().parent
    if (package / "bench").is_dir():
        return ["-m", "ganmut.bench.run"]
    script = package.parent / "bench" / "run.py"
    if not script.is_file():
        raise ValueError(
            "the bench is neither in this package nor beside it: clone the repository and run "
            "`python -m ganmut reproduce` there"
        )
    return [str(script)]


def check_bench(words: list[str]) -> None:
    """Raises ValueError with the bench's own sentence where it refuses these words, or cannot
    start, as without the packages that it needs."""
    tried = subprocess.run([sys.executable, *words, "--version"], capture_output=True, text=True)
    if tried.returncode:
        said = tried.stderr.strip().splitlines() or [f"the bench ends with {tried.returncode}"]
        raise ValueError(said[-1].rpartition("error: ")[2])


def check_settings(steps: list[Step], settings: list[str]) -> None:
    """Raises what the first training raises that refuses its settings, and ParameterError where
    settings after -- change what the plan relies on."""
    from ganmut.errors import ParameterError

    parser = Parser(prog="python -m ganmut train")
    train.add_arguments(parser)
    for words in (step.words()[2:] for step in steps if not step.result()):
        if words[:1] == ["train"] and words[1] != "resume":
            given = parser.parse_args(words[1:])
            planned = parser.parse_args([word for word in words[1:] if word not in settings])
            if own := [name for name in OWN if getattr(given, name) != getattr(planned, name)]:
                raise ParameterError(own[0], "reproduce sets this for every training itself")
            with contextlib.redirect_stdout(None):
                train.run(parser.parse_args([*words[1:], "--dry-run"]))


def bench_step(args: argparse.Namespace, root: Path) -> Step:
    command, out = bench_command(), args.out / "results"
    protocol = "quick" if args.trial and args.protocol == "default" else args.protocol

    def words() -> list[str]:
        found = [*command, f"--weights={root}", f"--data={args.data}", f"--out={out}"]
        found += [f"--protocol={protocol}", *device_words(args)]
        found += [f"--cache={args.out / 'cache'}"]
        for name in JUDGES:
            # The bench looks for judges of rendered faces by itself.
            if root.name != "procedural" and existing(root / name):
                found.append(f"--{ROLES.get(name, name)}={root / name}")
        return found

    board = out / "LEADERBOARD.md"
    return Step("bench", words, lambda: board if board.is_file() else None, 10.0)


def existing(folder: Path) -> Path | None:
    """A weight folder, or None where it has not been written."""
    return folder if (folder / "config.json").is_file() else None


def device_words(args: argparse.Namespace) -> list[str]:
    return [f"--device={args.device}"] if args.device else []
