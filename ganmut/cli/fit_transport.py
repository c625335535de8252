"""`ganmut fit-transport`: fits the transport between the expressions of emotions."""

from __future__ import annotations

import argparse
from pathlib import Path

from ganmut.cli.set_options import add_set_options

HELP = "fit the transport between the expressions of emotions"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_set_options(parser)


def run(args: argparse.Namespace) -> int:
    from ganmut.emotions import EMOTIONS
    from ganmut.expression.conditional import labelled_expressions
    from ganmut.expression.transport import ExpressionTransport, fit_transport
    from ganmut.expression.transport_weight import save_transport
    from ganmut.folders import check_output_folder

    check_output_folder(args.out)
    data, points = labelled_expressions(args.data, EMOTIONS)
    folder = Path(args.out) / ExpressionTransport.name
    facts = {"faces": len(data.values)}
    print(save_transport(folder, fit_transport(data), data.emotions, points, facts))
    return 0
