"""`python -m ganmut VERB`: parses, calls, prints. Exit code 2 for what the user can mend, 130 for
Ctrl-C."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from ganmut.cli import push
from ganmut.datasets.base import SOURCES
from ganmut.methods.base import METHODS


def add_train(verbs: argparse._SubParsersAction) -> None:
    from ganmut.training import config as recipes

    parser = verbs.add_parser("train", help="train a method; resume a run")
    methods = parser.add_subparsers(dest="method", metavar="METHOD", required=True)
    for name in METHODS:
        sub = methods.add_parser(name, help=METHODS[name].paper)
        sub.add_argument(
            "--recipe",
            default="cpu",
            metavar="NAME",
            help=f"settings to start from: {', '.join(recipes.PRESETS)} (default cpu)",
        )
        sub.add_argument("--out", default="runs", metavar="DIR", help="where run directories go")
        sub.add_argument(
            "--device", metavar="NAME", help="cpu, cuda, cuda:N (default: CUDA if there is one)"
        )
        sub.add_argument(
            "--compile", action="store_true", help="torch.compile both networks (worth it on CUDA)"
        )
        sub.add_argument("--dry-run", action="store_true", help="print the recipe and stop")
        recipes.add_options(sub, recipes.Recipe, skip=("method",))
        recipes.add_options(sub, METHODS[name].Config)
        sub.set_defaults(run=run_train)
    again = methods.add_parser("resume", help="go on with a run directory")
    again.add_argument("folder", type=Path)
    again.add_argument("--device", metavar="NAME")
    again.add_argument("--compile", action="store_true")
    again.set_defaults(run=run_resume)


def run_train(args: argparse.Namespace) -> int:
    from ganmut.training import config as recipes
    from ganmut.training.loop import train

    own = {"recipe", "out", "device", "compile", "dry_run", "method", "run", "verb"}
    settings = {k: v for k, v in vars(args).items() if k not in own}
    recipe, config = recipes.assemble(args.method, args.recipe, **settings)
    if args.dry_run:
        print(recipes.to_json(recipe, config), end="")
        return 0
    folder = train(recipe, config, args.out, device=args.device, compiled=args.compile)
    if folder:  # of several processes one writes
        print(f"weights in {folder / 'weights'}")
    return 0


def run_resume(args: argparse.Namespace) -> int:
    from ganmut.training.loop import train
    from ganmut.training.run_dir import RunDir

    recipe, config = RunDir.open(args.folder).recipe()
    folder = train(recipe, config, device=args.device, resume=args.folder, compiled=args.compile)
    if folder:  # of several processes one writes
        print(f"weights in {folder / 'weights'}")
    return 0


def add_edit(verbs: argparse._SubParsersAction) -> None:
    parser = verbs.add_parser(
        "edit", help="edit the faces of pictures, pasted back at their own size"
    )
    parser.add_argument("paths", nargs="+", metavar="PATH", help="picture files or folders")
    parser.add_argument(
        "--out", required=True, help="a picture file for one picture, else a folder"
    )
    parser.add_argument("--method", default="ganmut", help="which of a set (default ganmut)")
    parser.add_argument(
        "--weights",
        metavar="SPEC",
        default="procedural",
        help="a set (procedural, hub), SET/NAME, a folder, or hub:OWNER/NAME@REVISION "
        "(default procedural)",
    )
    parser.add_argument("--emotion", help="a named emotion, with --intensity 0..1")
    parser.add_argument("--intensity", type=float, default=1.0)
    parser.add_argument(
        "--code", type=float, nargs="+", help="the code itself, such as x y in the gamut"
    )
    parser.add_argument(
        "--units",
        type=unit,
        nargs="+",
        metavar="AU=VALUE",
        help="action units 0..1, such as 12=1 25=.6; the others are at rest",
    )
    parser.add_argument(
        "--reference",
        metavar="PICTURE",
        help="show --emotion the way this face does (methods with a style encoder)",
    )
    parser.add_argument(
        "--detector", default="builtin", help="builtin, yunet:PATH, insightface[:PATH]"
    )
    parser.add_argument(
        "--face", default="largest", help="largest, all, or a number from 1 (default largest)"
    )
    parser.add_argument("--device", metavar="NAME")
    parser.set_defaults(run=run_edit)


def run_edit(args: argparse.Namespace) -> int:
    from ganmut import weights
    from ganmut.faces import edit_files, wanted

    editor = weights.load(args.weights, args.device, member=args.method)
    code = wanted(
        editor,
        emotion=args.emotion,
        intensity=args.intensity,
        code=args.code,
        units=args.units and dict(args.units),
        reference=args.reference,
        detector=args.detector,
    )
    records = edit_files(
        args.paths,
        editor,
        code,
        args.out,
        detector=args.detector,
        face=args.face,
    )
    failed = [record["error"] for record in records if "error" in record]
    listed(failed)
    print(f"{len(records) - len(failed)} faces edited, {len(failed)} pictures left out: {args.out}")
    return 1 if failed else 0


def unit(text: str) -> tuple[int, float]:
    """ "12=.8" or "AU12=.8" -> (12, 0.8)."""
    number, _, value = text.upper().removeprefix("AU").partition("=")
    try:
        return int(number), float(value)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected AU=VALUE such as 12=.8, got {text!r}") from None


def add_align(verbs: argparse._SubParsersAction) -> None:
    parser = verbs.add_parser(
        "align", help="cut the faces of pictures as training needs them; run again to go on"
    )
    parser.add_argument(
        "source", metavar="FOLDER", help="a folder of pictures, or a data source such as rafd:PATH"
    )
    parser.add_argument("--out", required=True, metavar="DIR")
    parser.add_argument("--size", type=int, default=128, help="pixels of the crop (default 128)")
    parser.add_argument(
        "--detector", default="builtin", help="builtin, yunet:PATH, insightface[:PATH]"
    )
    parser.add_argument(
        "--face", default="largest", help="largest, all, or a number from 1 (default largest)"
    )
    parser.set_defaults(run=run_align)


def run_align(args: argparse.Namespace) -> int:
    from ganmut.faces import align_files

    report = align_files(
        args.source, args.out, detector=args.detector, face=args.face, size=args.size
    )
    listed([f"{name}: {reason}" for name, reason in report.left.items()])
    print(
        f"{report.faces} faces of {report.pictures} pictures now, {report.before} before, "
        f"{len(report.left)} pictures left out: {report.out}"
    )
    return 1 if report.left else 0


def add_units(verbs: argparse._SubParsersAction) -> None:
    from ganmut.action_units.base import PROVIDERS

    parser = verbs.add_parser("units", help="write action units into a folder's metadata")
    parser.add_argument("folder", metavar="FOLDER", help="aligned faces, with metadata or without")
    parser.add_argument(
        "--provider", default="mediapipe", help=f"{', '.join(PROVIDERS)} (default mediapipe)"
    )
    parser.add_argument(
        "--model", default="", metavar="PATH", help="the provider's model (face_landmarker.task)"
    )
    parser.add_argument("--again", action="store_true", help="also where it has been done")
    parser.set_defaults(run=run_units)


def run_units(args: argparse.Namespace) -> int:
    from ganmut.action_units.files import write_units

    report = write_units(args.folder, args.provider, args.model, again=args.again)
    listed([f"{name}: {reason}" for name, reason in report.failed.items()])
    print(
        f"{report.done} pictures have units now, {report.before} had them before, "
        f"{len(report.failed)} without: {report.file}"
    )
    return 1 if report.failed else 0


def listed(reasons: list[str], most: int = 20) -> None:
    """Prints why pictures were left out, a line each; of many the first."""
    for reason in reasons[:most]:
        print(reason, file=sys.stderr)
    if len(reasons) > most:
        print(f"and {len(reasons) - most} more", file=sys.stderr)


def add_faces(verbs: argparse._SubParsersAction) -> None:
    parser = verbs.add_parser(
        "faces", help="render faces: NNN_<emotion>.png, same NNN = same person"
    )
    parser.add_argument("--out", required=True, type=Path, metavar="DIR")
    parser.add_argument(
        "--per-emotion", type=int, default=12, metavar="N", help="people (default 12)"
    )
    parser.add_argument("--intensity", type=float, default=1.0, help="0..1 (default 1)")
    parser.add_argument("--size", type=int, default=128, help="pixels (default 128)")
    parser.add_argument("--seed", type=int, default=0)
    parser.set_defaults(run=run_faces)


def run_faces(args: argparse.Namespace) -> int:
    from tqdm import tqdm

    from ganmut import images
    from ganmut.datasets import procedural
    from ganmut.emotions import EMOTIONS

    if args.per_emotion < 1 or args.size < 16 or not 0 <= args.intensity <= 1:
        raise ValueError(
            "--per-emotion must be at least 1, --size at least 16, --intensity in 0..1"
        )
    rows = range(0, args.per_emotion * procedural.PER_PERSON, procedural.PER_PERSON)
    people = procedural.sample(args.seed, "test", rows)  # one row a person
    for emotion in tqdm(EMOTIONS, unit="emotion"):
        shown = procedural.express(people, emotion, args.intensity)
        for i, face in enumerate(procedural.render(shown, args.size)):
            images.write_png(args.out / f"{i:03d}_{emotion}.png", face)
    print(f"{args.per_emotion * len(EMOTIONS)} faces in {args.out}")
    return 0


def add_train_extractor(verbs: argparse._SubParsersAction) -> None:
    from ganmut.extractors.base import EXTRACTORS

    parser = verbs.add_parser("train-extractor", help="train a frozen judge")
    parser.add_argument("name", help=", ".join(EXTRACTORS))
    parser.add_argument("--data", default="procedural", metavar="SPEC")
    parser.add_argument(
        "--split",
        default="extractor",
        choices=("extractor", "train"),
        help="extractor: people whom editors never see (default); train: the editors' own faces, "
        "where they are few",
    )
    parser.add_argument("--out", required=True, metavar="DIR", help="the weight folder to write")
    parser.add_argument(
        "--faces", type=int, default=12000, help="training faces; 0 = all (default 12000)"
    )
    parser.add_argument(
        "--test-faces", type=int, default=1400, help="faces it is examined on (default 1400)"
    )
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--epochs", type=float, default=12)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--device", metavar="NAME")
    parser.add_argument("--seed", type=int, default=0)
    parser.set_defaults(run=run_train_extractor)


def run_train_extractor(args: argparse.Namespace) -> int:
    from ganmut.datasets import open_source
    from ganmut.extractors.train import train_extractor
    from ganmut.training.loop import commit

    source = open_source(args.data)
    train = source.load(args.split, args.size, args.faces or None)
    test = source.load("test", args.size, args.test_faces or None)
    folder = train_extractor(
        args.name,
        train,
        test,
        out=args.out,
        epochs=args.epochs,
        batch=args.batch,
        size=args.size,
        device=args.device,
        seed=args.seed,
        meta={"commit": commit()},
    )
    print(f"{args.name}: {folder}")
    return 0


def add_bundle(verbs: argparse._SubParsersAction) -> None:
    parser = verbs.add_parser(
        "bundle", help="for maintainers: put a run's weight among the bundled ones"
    )
    parser.add_argument("folder", type=Path, help="a run directory or a weight folder")
    parser.add_argument("spec", metavar="SET/NAME")
    parser.add_argument("--note", default="", help="a sentence for the card")
    parser.add_argument(
        "--ablation-of", default="", metavar="NAME", help="the bundled weight it differs from"
    )
    parser.set_defaults(run=run_bundle)


def run_bundle(args: argparse.Namespace) -> int:
    from ganmut import weights
    from ganmut.weights import publish

    set_, _, name = args.spec.partition("/")
    if not set_ or not name or "/" in name:
        raise ValueError(f"say SET/NAME, such as procedural/ganmut; got {args.spec!r}")
    facts = {"note": args.note, "ablation_of": args.ablation_of}
    told = {key: value for key, value in facts.items() if value}
    print(publish.bundle(weights.find(args.folder), set_, name, **told))
    return 0


def add_methods(verbs: argparse._SubParsersAction) -> None:
    parser = verbs.add_parser("methods", help="list methods, data sources and bundled weights")
    parser.set_defaults(run=run_methods)


def run_methods(args: argparse.Namespace) -> int:
    from ganmut import weights

    bundled = weights.available()
    for name in METHODS:
        mark = "bundled" if name in bundled else "no bundled weights"
        print(f"{name:12} {METHODS[name].title:12} {mark:20} {METHODS[name].paper}")
    print("data sources:", ", ".join(SOURCES))
    return 0


VERBS: tuple[Callable[[argparse._SubParsersAction], None], ...] = (
    add_train,
    add_edit,
    add_align,
    add_units,
    add_faces,
    add_train_extractor,
    add_bundle,
    add_methods,
    push.add_push,
    push.add_convert,
)


def parser() -> argparse.ArgumentParser:
    """The whole command line."""
    top = argparse.ArgumentParser(
        prog="python -m ganmut", description="Facial-expression editing with GANs."
    )
    verbs = top.add_subparsers(dest="verb", required=True, metavar="VERB")
    for add in VERBS:
        add(verbs)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    args = parser().parse_args(argv)
    try:
        return args.run(args)
    except (
        ValueError,
        OSError,
    ) as error:  # bad input: every error class of the project is a ValueError
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(
            "stopped; nothing is lost: a training goes on with `python -m ganmut train resume "
            "RUN`, align and units with the same command",
            file=sys.stderr,
        )
        return 130


if __name__ == "__main__":
    sys.exit(main())
