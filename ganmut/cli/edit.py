"""`edit PATH ... --out OUT`: edits the faces of images and pastes them back."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ganmut.cli.face_options import add_face_options, print_lines
from ganmut.text import quantity

if TYPE_CHECKING:
    import numpy as np

    from ganmut.editor import Editor

HELP = "edit the faces of images, pasted back at full resolution"
# The sets of weights in the order in which a method is looked up, and the default method.
PHOTOGRAPHS = ("photos", "procedural"), "expression"
RENDERED = ("procedural", "photos"), "ganmut"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("paths", nargs="+", metavar="PATH", help="image files or folders")
    parser.add_argument("--out", required=True, help="an image file for one image, else a folder")
    parser.add_argument(
        "--method",
        metavar="NAME",
        help="a method, or SET/NAME such as photos/ganmut. A method alone comes from the set "
        "photos where that has it, else from procedural; for pictures that the command `faces` "
        "rendered it is the other way round. Default: photos/expression, for rendered pictures "
        "procedural/ganmut",
    )
    parser.add_argument(
        "--weights",
        metavar="SPEC",
        help="a set (procedural, photos, hub), SET/NAME, a folder, or hub:OWNER/NAME@REVISION "
        "(with --method: the method of that set)",
    )
    parser.add_argument("--emotion", help="the name of an emotion, see --intensity")
    parser.add_argument(
        "--intensity", type=float, help="of --emotion: 0 (neutral) to 1 (default 1)"
    )
    parser.add_argument(
        "--code", type=float, nargs="+", help="the code itself, such as x y of GANmut's gamut"
    )
    parser.add_argument(
        "--units",
        type=parse_unit,
        nargs="+",
        metavar="AU=VALUE",
        help="action units 0..1, such as 12=1 25=.6; the others stay as the face shows them",
    )
    parser.add_argument(
        "--source-units",
        type=parse_unit,
        nargs="+",
        metavar="AU=VALUE",
        help="action units that the face shows already, for methods that do not read them "
        "(default: read by the extractor `units` of the same set); edits within 0.1 of them fade "
        "out",
    )
    parser.add_argument(
        "--reference",
        metavar="IMAGE",
        help="show --emotion in the style of this face (methods with a style encoder)",
    )
    add_face_options(parser)
    parser.add_argument(
        "--device", metavar="NAME", help="cpu, cuda, cuda:N (default: CUDA if there is one)"
    )


def run(args: argparse.Namespace) -> int:
    from ganmut import weights
    from ganmut.errors import ParameterError
    from ganmut.faces import edit_files, make_target_code, source_code

    if args.intensity is not None and args.emotion is None:
        raise ParameterError("intensity", "an intensity requires an emotion; scale the code itself")
    spec, member = parse_spec(args.weights, args.method, args.paths)
    folder = weights.resolve(spec, member=member)
    editor = weights.load(folder, args.device)
    source_units = args.source_units and dict(args.source_units)
    code = make_target_code(
        editor,
        emotion=args.emotion,
        intensity=1.0 if args.intensity is None else args.intensity,
        code=args.code,
        units=args.units and dict(args.units),
        source_units=source_units,
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
        source_code=source_code(editor, source_units)
        if source_units or not args.units
        else units_reader(editor, folder),
    )
    failures = [record["error"] for record in records if "error" in record]
    print_lines(failures)
    # Of several faces of one picture, each record has the picture's notes.
    noted = {record["file"]: record.get("notes", []) for record in records}
    print_lines([f"{file}: {note}" for file, notes in noted.items() for note in notes])
    took = spec if Path(spec).name == folder.name else f"{spec}/{folder.name}"
    print(
        f"{quantity(len(records) - len(failures), 'face')} edited with {took}, "
        f"{quantity(len(failures), 'image')} skipped: {args.out}"
    )
    return 1 if failures else 0


def parse_spec(weights: str | None, method: str | None, paths: Sequence[str]) -> tuple[str, str]:
    """(spec, member) of --weights and --method: `--method SET/NAME` alone is a spec, a method alone
    is looked up in the sets for what the pictures are. A set without a method means ganmut."""
    from ganmut.weights import is_set, list_weights

    if weights is not None:
        return weights, method or (RENDERED[1] if is_set(weights) else "")
    if method and "/" in method:
        return method, ""
    sets, default = RENDERED if all(map(is_rendered, paths)) else PHOTOGRAPHS
    method = method or default
    return next((s for s in sets if method in list_weights(s, ablations=True)), sets[0]), method


def is_rendered(path: str) -> bool:
    """Whether a file, or every picture of a folder, was rendered by the command `faces`."""
    from ganmut.decoding import SUFFIXES, read_source
    from ganmut.folders import walk_files
    from ganmut.rendering import SOURCE

    inside = walk_files(Path(path)) if Path(path).is_dir() else ()
    files = [f for f in inside if f.suffix.lower() in SUFFIXES] or [Path(path)]
    return all(file.is_file() and read_source(file) == SOURCE for file in files)


def units_reader(editor: Editor, folder: Path) -> Callable[[np.ndarray], list[float]] | None:
    """What reads the action units of a face for a method that does not read them itself: the
    extractor `units` of its set, or None where there is none."""
    from ganmut import extractors
    from ganmut.extractors.units import UnitsReader

    beside = folder.parent / "units"
    if editor.method.reads_source or not (beside / "config.json").is_file():
        return None
    return UnitsReader(extractors.load(beside, editor.device))


def parse_unit(text: str) -> tuple[int, float]:
    """ "12=.8" or "AU12=.8" -> (12, 0.8)."""
    number, _, value = text.upper().removeprefix("AU").partition("=")
    try:
        return int(number), float(value)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected AU=VALUE such as 12=.8, got {text!r}") from None
