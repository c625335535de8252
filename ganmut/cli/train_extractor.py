"""`train-extractor NAME`: trains a frozen network that measures edits."""

from __future__ import annotations

import argparse

HELP = "train an extractor (emotion, identity, units)"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    from ganmut.extractors.base import EXTRACTORS

    parser.add_argument("name", help=", ".join(EXTRACTORS))
    parser.add_argument("--data", default="procedural", metavar="SPEC")
    parser.add_argument(
        "--split",
        default="extractor",
        choices=("extractor", "train"),
        help="extractor: people that no editor is trained on (default); train: the editors' own "
        "training faces, for small datasets",
    )
    parser.add_argument("--out", required=True, metavar="DIR", help="the weight folder to write")
    parser.add_argument(
        "--faces", type=int, default=12000, help="training faces; 0 = all (default 12000)"
    )
    parser.add_argument("--test-faces", type=int, default=1400, help="test faces (default 1400)")
    parser.add_argument("--size", type=int, default=64, help="pixels (default 64)")
    parser.add_argument("--epochs", type=float, default=12, help="(default 12)")
    parser.add_argument("--batch", type=int, default=64, help="(default 64)")
    parser.add_argument("--device", metavar="NAME", help="(default: CUDA if there is one)")
    parser.add_argument("--seed", type=int, default=0)


def run(args: argparse.Namespace) -> int:
    from ganmut import __version__
    from ganmut.datasets import open_source
    from ganmut.device import select_device
    from ganmut.extractors.base import EXTRACTORS
    from ganmut.extractors.train import TrainConfig, train_extractor
    from ganmut.folders import check_output_folder
    from ganmut.revision import commit

    # Before minutes of rendering and training: each raises for a value that cannot be used.
    EXTRACTORS[args.name]
    TrainConfig(args.epochs, None, args.batch, "auto", args.seed, True)
    select_device(args.device)
    check_output_folder(args.out)
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
        meta={"commit": commit(), "ganmut": __version__},
    )
    print(f"{args.name}: {folder}")
    return 0
