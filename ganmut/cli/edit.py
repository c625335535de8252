"""`edit PATH ... --out OUT`: edits the faces of images and pastes them back."""

from __future__ import annotations

import argparse

from ganmut.cli.face_options import add_face_options, print_failures

HELP = "edit the faces of images, pasted back at full resolution"
DEFAULT = "photos/expression"
SET, METHOD = "procedural", "ganmut"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("paths", nargs="+", metavar="PATH", help="image files or folders")
    parser.add_argument("--out", required=True, help="an image file for one image, else a folder")
    parser.add_argument(
        "--method",
        metavar="NAME",
        help=f"a method of the set, or SET/NAME such as photos/ganmut (default {DEFAULT})",
    )
    parser.add_argument(
        "--weights",
        metavar="SPEC",
        help="a set (procedural, photos, hub), SET/NAME, a folder, or hub:OWNER/NAME@REVISION "
        f"(with --method: default {SET})",
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
        help="action units 0..1, such as 12=1 25=.6; the others are 0",
    )
    parser.add_argument(
        "--source-units",
        type=parse_unit,
        nargs="+",
        metavar="AU=VALUE",
        help="action units that the face shows already: others than --units keep these values, and "
        "edits within 0.1 of them fade out",
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
    spec, member = parse_spec(args.weights, args.method)
    editor = weights.load(spec, args.device, member=member)
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
        source_code=source_code(editor, source_units),
    )
    failures = [record["error"] for record in records if "error" in record]
    print_failures(failures)
    print(
        f"{len(records) - len(failures)} faces edited with {editor.name}, "
        f"{len(failures)} images skipped: {args.out}"
    )
    return 1 if failures else 0


def parse_spec(weights: str | None, method: str | None) -> tuple[str, str]:
    """(spec, member) of --weights and --method: `--method SET/NAME` alone is a spec, and without
    either it is the editor that photographs look best with. A set without a method means ganmut."""
    from ganmut.weights import is_set

    if weights is None:
        if method is None or "/" in method:
            return method or DEFAULT, ""
        return SET, method
    if method is None and is_set(weights):
        return weights, METHOD
    return weights, method or ""


def parse_unit(text: str) -> tuple[int, float]:
    """ "12=.8" or "AU12=.8" -> (12, 0.8)."""
    number, _, value = text.upper().removeprefix("AU").partition("=")
    try:
        return int(number), float(value)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected AU=VALUE such as 12=.8, got {text!r}") from None
