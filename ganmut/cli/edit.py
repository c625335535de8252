"""`edit PATH ... --out OUT`: edits the faces of images and clips and pastes them back."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from ganmut.cli.face_options import add_face_options, print_lines
from ganmut.cli.pin_option import add_pin_option, apply_pin
from ganmut.text import quantity, quote

HELP = "edit the faces of images and videos, pasted back at full resolution"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("paths", nargs="+", metavar="PATH", help="images, videos or folders")
    parser.add_argument(
        "--out",
        required=True,
        help="a file for one image or clip, else a folder; .mp4, .mov, .mkv, .webm, .gif and .webp "
        "hold clips",
    )
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
    add_pin_option(parser, "--weights")
    parser.add_argument("--emotion", help="the name of an emotion, see --intensity")
    parser.add_argument(
        "--intensity", type=float, help="of --emotion: 0 (neutral) to 1 (default 1)"
    )
    parser.add_argument(
        "--code", type=float, nargs="+", help="the code itself, such as x y of GANmut's gamut"
    )
    parser.add_argument(
        "--path",
        type=parse_stop,
        nargs="+",
        metavar="EMOTION[:INTENSITY]@SECONDS",
        help="emotions in the course of a clip, such as neutral@0 happy:.8@2 neutral@4; seconds "
        "from its start; source is the face as it is (methods that read faces)",
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
        "--workers",
        type=int,
        default=1,
        metavar="N",
        help="processes that share the images of folders (default 1); each takes the memory of one",
    )
    parser.add_argument(
        "--device",
        metavar="NAME",
        help="cpu, cuda, cuda:N (default: CUDA if there is one; the expression model always "
        "computes on the CPU)",
    )


def run(args: argparse.Namespace) -> int:
    from ganmut.edit_picture import open_edit
    from ganmut.faces import EditRequest, edit_files
    from ganmut.video.code_path import Stop

    apply_pin(args, args.weights)
    request = EditRequest(
        method=args.method,
        weights=args.weights,
        emotion=args.emotion,
        intensity=args.intensity,
        code=args.code,
        units=args.units and distinct_units(args.units, "units"),
        source_units=args.source_units and distinct_units(args.source_units, "source_units"),
        reference=args.reference,
        path=args.path and [Stop(*stop) for stop in args.path],
        detector=args.detector,
        face=args.face,
        device=args.device,
    )
    name, settings = open_edit(args.paths, request)
    records = edit_files(args.paths, settings, args.out, workers=args.workers)
    failures = [record["error"] for record in records if "error" in record]
    print_lines(failures)
    # Of several faces of one picture, each record has the picture's notes.
    noted = {record["file"]: record.get("notes", []) for record in records}
    print_lines([f"{file}: {note}" for file, notes in noted.items() for note in notes])
    print_lines([describe_clip(record) for record in records if "frames" in record])
    print(
        f"{quantity(len(records) - len(failures), 'face')} edited with {name}, "
        f"{quantity(len(failures), 'image')} skipped: {args.out}"
    )
    return 1 if failures else 0


def parse_unit(text: str) -> tuple[int, float]:
    """ "12=.8" or "AU12=.8" -> (12, 0.8)."""
    number, _, value = text.upper().removeprefix("AU").partition("=")
    try:
        return int(number), float(value)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"expected AU=VALUE such as 12=.8, got {quote(text)}"
        ) from None


def distinct_units(pairs: Sequence[tuple[int, float]], parameter: str) -> dict[int, float]:
    """{FACS number: value} of pairs; raises ParameterError where one unit has two values."""
    from ganmut.errors import ParameterError

    units = dict(pairs)
    if len(units) < len(pairs):
        twice = next(unit for i, (unit, _) in enumerate(pairs) if unit in dict(pairs[:i]))
        raise ParameterError(parameter, f"action unit {twice} is given twice; keep one")
    return units


def parse_stop(text: str) -> tuple[str, float, float]:
    """ "happy:.8@2" or "happy:.8@2s" -> ("happy", 0.8, 2.0): full intensity and the start of the
    clip where they are not given."""
    named, _, seconds = text.partition("@")
    emotion, _, intensity = named.partition(":")
    try:
        return emotion, float(intensity or 1), float(seconds.removesuffix("s") or 0)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"expected EMOTION:INTENSITY@SECONDS such as happy:.8@2, got {quote(text)}"
        ) from None


def describe_clip(record: dict[str, Any]) -> str:
    """The line on an edited clip: its frames, and how much the edit flickers."""
    parts = [f"{record['edited_frames']} of {quantity(record['frames'], 'frame')} edited"]
    if record["without_face"]:
        parts.append(f"{record['without_face']} without the face left as they are")
    if record["cuts"]:
        parts.append(quantity(record["cuts"], "cut"))
    parts.append(
        f"flicker {record['flicker']:+.2f} grey levels a frame (the source's own change is "
        f"{record['motion']:.2f})"
    )
    return f"{record['file']}: {', '.join(parts)}"
