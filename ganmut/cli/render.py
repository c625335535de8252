"""`faces --out DIR`: renders faces of known expression, as pictures or as a data set."""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = "render faces: NNN_<emotion>.png, same NNN = same person; or a data set"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", required=True, type=Path, metavar="DIR")
    parser.add_argument(
        "--format",
        default="png",
        choices=("png", "parquet"),
        help="png: pictures; parquet: a data set for the Hub and --data folder:DIR (default png)",
    )
    parser.add_argument("--n", type=int, metavar="N", help="faces of a data set (default 20000)")
    parser.add_argument("--per-emotion", type=int, metavar="N", help="people (default 12)")
    parser.add_argument("--intensity", type=float, help="0..1 (default 1)")
    parser.add_argument("--size", type=int, default=128, help="pixels (default 128)")
    parser.add_argument("--seed", type=int, default=0)


def run(args: argparse.Namespace) -> int:
    from ganmut.errors import ParameterError
    from ganmut.folders import check_output_folder
    from ganmut.text import quantity

    unused = ("n",) if args.format == "png" else ("per_emotion", "intensity")
    if given := [name for name in unused if getattr(args, name) is not None]:
        raise ParameterError(", ".join(given), f"has no effect on the format {args.format}")
    if not 16 <= args.size <= 1024:
        raise ParameterError("size", f"expected 16 to 1024 px, got {args.size}")
    check_output_folder(args.out)
    if args.format == "parquet":
        from ganmut.rendering.parquet import write_dataset

        files = write_dataset(args.out, 20_000 if args.n is None else args.n, args.size, args.seed)
        print(f"{quantity(len(files), 'file')}, README.md and croissant.json in {args.out}")
        return 0
    people = 12 if args.per_emotion is None else args.per_emotion
    faces = write_pictures(
        args.out, people, 1.0 if args.intensity is None else args.intensity, args.size, args.seed
    )
    print(f"{quantity(faces, 'face')} in {args.out}")
    return 0


def write_pictures(out: Path, people: int, intensity: float, size: int, seed: int) -> int:
    """Renders every emotion of some people as PNG files; returns the number of faces."""
    from tqdm import tqdm

    from ganmut import files, images
    from ganmut.emotions import EMOTIONS
    from ganmut.rendering import SOURCE
    from ganmut.rendering.sampler import SAMPLES_PER_PERSON, sample_parameters, with_expression
    from ganmut.rendering.shading import render

    if people < 1 or not 0 <= intensity <= 1:
        raise ValueError("--per-emotion must be at least 1, --intensity in 0..1")
    rows = range(0, people * SAMPLES_PER_PERSON, SAMPLES_PER_PERSON)
    files.remove_temporaries(out)  # of a killed run
    drawn = sample_parameters(seed, "test", rows)  # one row a person
    for emotion in tqdm(EMOTIONS, unit="emotion"):
        shown = with_expression(drawn, emotion, intensity)
        for i, face in enumerate(render(shown, size)):
            images.write_png(out / f"{i:03d}_{emotion}.png", face, SOURCE)
    return people * len(EMOTIONS)
