"""`faces --out DIR`: renders faces of known expression."""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = "render faces: NNN_<emotion>.png, same NNN = same person"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", required=True, type=Path, metavar="DIR")
    parser.add_argument(
        "--per-emotion", type=int, default=12, metavar="N", help="people (default 12)"
    )
    parser.add_argument("--intensity", type=float, default=1.0, help="0..1 (default 1)")
    parser.add_argument("--size", type=int, default=128, help="pixels (default 128)")
    parser.add_argument("--seed", type=int, default=0)


def run(args: argparse.Namespace) -> int:
    from tqdm import tqdm

    from ganmut import files, images
    from ganmut.emotions import EMOTIONS
    from ganmut.rendering import SOURCE
    from ganmut.rendering.sampler import SAMPLES_PER_PERSON, sample_parameters, with_expression
    from ganmut.rendering.shading import render
    from ganmut.text import quantity

    if args.per_emotion < 1 or args.size < 16 or not 0 <= args.intensity <= 1:
        raise ValueError(
            "--per-emotion must be at least 1, --size at least 16, --intensity in 0..1"
        )
    rows = range(0, args.per_emotion * SAMPLES_PER_PERSON, SAMPLES_PER_PERSON)
    files.remove_temporaries(args.out)  # of a killed run
    people = sample_parameters(args.seed, "test", rows)  # one row a person
    for emotion in tqdm(EMOTIONS, unit="emotion"):
        shown = with_expression(people, emotion, args.intensity)
        for i, face in enumerate(render(shown, args.size)):
            images.write_png(args.out / f"{i:03d}_{emotion}.png", face, SOURCE)
    print(f"{quantity(args.per_emotion * len(EMOTIONS), 'face')} in {args.out}")
    return 0
