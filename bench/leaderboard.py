"""Leaderboard: the tables as LEADERBOARD.md, in the terminal, and in the README.

`python bench/leaderboard.py --out DIR` writes DIR/LEADERBOARD.md from DIR/results.jsonl. Without
--out it takes bench/results and also updates the README and docs/models.md.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

if not __package__:  # run as a script
    sys.path[0], __package__ = str(Path(__file__).resolve().parents[1]), "bench"
if __name__ == "__main__":
    from . import script

    script.run("leaderboard")

import rich.table
from rich.console import Console

from ganmut.files import remove_temporaries, write_atomic
from ganmut.text import Parser

from . import model_samples, model_table, results
from .figures import canvas
from .figures import learning_curves as curve_figure
from .figures.captions import CAPTIONS
from .learning_curves import curve_table, learning_curves
from .metrics.base import METRICS
from .tables import (
    FIRST,
    GROUPS,
    MAX_METRICS,
    REFERENCE_ROWS,
    Leaderboard,
    Record,
    cell,
    claim_lines,
    equal_table,
    heading,
    main_tables,
    number,
    parts_tables,
    remarks,
    second_judge_tables,
    seed_table,
    select,
)

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "bench" / "results"
BEGIN, END = "<!-- leaderboard:begin -->", "<!-- leaderboard:end -->"
INTERVAL = len("0.0463–0.0902")  # the widest text of a cell in the terminal

NOTES = (
    "FED must be read together with accuracy: the row no_edit changes nothing and scores 0 by "
    "construction. The same holds for identity distance, ground-truth L1 and edit localisation: "
    "weak edits score well here by construction.",
    "FED of few faces is biased upwards. Its part n = infinity, under By emotion, is the constant "
    "of a line in 1 / n through subsets of the faces (Chong and Forsyth 2020).",
    "The row real_split uses as many other real faces in place of the edited ones: its value is "
    "the sampling noise.",
    "Accuracy above real_split is not better: such edits are more prototypical than real faces.",
    "ERE in the main table searches each paper's own grid (441 codes for GANmut and GGANmut, 63 "
    "styles an emotion for SMIT and StarGAN v2, 441 real faces' units where codes are units, the "
    "labels alone for StarGAN). The equal-budget table gives every method the same number of "
    "codes.",
    "AU error compares every method with the same target: the units of the emotion's prototype. "
    "The row ground_truth gives what individual differences and the regressor's error contribute.",
    "A change spread evenly over the picture has the edit localisation of the part area. A real-"
    "neighbour rate of 50 % means that edits and real faces cannot be told apart; neither more "
    "nor less is better.",
    "The emotion classifier was trained on people whom no editor was trained on.",
    "Supervision is what the training knew of its faces: labels (the emotion of each), units "
    "(their action units), landmarks, pairs (several pictures of one person).",
    "Methods conditioned on action units have tables of their own. They are given the units of "
    "each emotion's prototype, which the other methods must find from labels, and a quarter of "
    "their training targets are these prototypes (named_share .25). Accuracy, AU error, smoothness "
    "and the metrics per emotion are measured under them.",
)
ONE_SEED = (
    "Intervals are 95 % bootstrap intervals over the source faces (ERE: its batches). Every method "
    "was trained once, from one seed; they do not include the variation between trainings."
)
MORE_SEEDS = (
    "Intervals are 95 % bootstrap intervals over the source faces (ERE: its batches), of one "
    "training each. Claims were evaluated again on trainings from other seeds ({}) and hold only "
    "where all agree."
)
SEEDS = (
    "Mean over trainings from different seeds, with the least and the greatest of them in "
    "brackets. The other tables show the first training of each."
)
CURVES = (
    'The same method after trainings of different lengths. "moved" marks a value outside of the '
    "95 % interval over faces of a training of half its length. Where a row's name has a number, "
    "the weight was kept on the way of a longer training, before its learning rate fell to zero."
)
RENDERED = (
    "These faces are rendered, not photographed. The results are statements about these methods on "
    "these faces."
)
SECOND_JUDGE = (
    "The same metrics by networks of another architecture and seed, trained on the same people. "
    "No method trains against the second identity embedder; DefGAN trains against the first. "
    "Kendall's tau compares the orders of the methods by the two judges, among methods of one "
    "table: 1 is the same order, 0 none."
)
CLAIMS = (
    "Tested by the paired bootstrap over source faces (ERE: over batches with their targets), on "
    "the faces that both sides have. An inequality is met where the 95 % interval of the "
    "difference is below zero; where it includes zero the two are a tie. A claim holds where all "
    "of its inequalities are met. It does not hold where one is reversed at a level of 5 % "
    "divided by their number (Bonferroni). Else it is undecided."
)
PAPERS = (
    "The papers measured on AffectNet with a classifier that was never released. Levels therefore "
    "differ; only orders are comparable."
)


# Markdown -----------------------------------------------------------------------------------------


def write(board: Leaderboard, folder: Path) -> Path:
    """Writes LEADERBOARD.md to a folder, and the figure of its learning curves where there are
    trainings of different lengths; returns the path of the first."""
    path = folder / "LEADERBOARD.md"
    if curves := learning_curves(board):
        figure = curve_figure.learning_curves(curves)
        canvas.write(folder / "figures" / "learning_curves.png", figure)
    write_atomic(path, markdown(board, folder))
    return path


def markdown(board: Leaderboard, folder: Path) -> str:
    """The text of LEADERBOARD.md, with the figures in folder/figures."""
    sections = [
        _head(board),
        _main(board),
        _equal(board),
        _seeds(board),
        _curves(board),
        _second_judge(board),
        _claims(board),
        _papers(board),
        _by_part(board),
        _notes(board),
        _figures(folder),
        _provenance(board),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _table(header: list[str], lines: list[list[str]]) -> str:
    rows = [header, ["---"] * len(header), *lines]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def _head(board: Leaderboard) -> str:
    one = board.any_record()
    data = f"`{one['data']}`, {one['split']} split, {one['size']} px"
    data += f", fingerprint `{one['data_fingerprint']}`"
    protocol = one["versions"].get("protocol", one["protocol"])
    rendered = f"\n\n{RENDERED}" if one["data"].startswith("procedural") else ""
    return f"# Leaderboard\n\nData: {data}.\n\nProtocol: {protocol}.{rendered}"


def _main(board: Leaderboard) -> str:
    return "\n\n".join(f"**{title}**\n\n{_table(*table)}" for title, table in main_tables(board))


def _equal(board: Leaderboard) -> str:
    header, lines = equal_table(board)
    return f"## ERE, equal budget\n\n{_table(header, lines)}" if lines else ""


def _seeds(board: Leaderboard) -> str:
    header, lines = seed_table(board)
    return f"## Several trainings\n\n{SEEDS}\n\n{_table(header, lines)}" if lines else ""


def _curves(board: Leaderboard) -> str:
    curves = learning_curves(board)
    return f"## Learning curves\n\n{CURVES}\n\n{_table(*curve_table(curves))}" if curves else ""


def _second_judge(board: Leaderboard) -> str:
    tables = second_judge_tables(board)
    text = "\n\n".join(f"**{title}**\n\n{_table(*table)}" for title, table in tables)
    return f"## Second judge\n\n{SECOND_JUDGE}\n\n{text}" if tables else ""


def _claims(board: Leaderboard) -> str:
    if not board.claims:
        return ""
    header, lines = claim_lines(board)
    verdict = header.index("here")
    for line in lines:
        line[verdict] = f"**{line[verdict]}**"
    table = _table(header, lines)
    return f"## Claims of the papers\n\n{CLAIMS}\n\n{table}"


def _papers(board: Leaderboard) -> str:
    lines = []
    for name in board.metrics:
        reference = METRICS[name].reference if name in METRICS else {}
        for row in board.rows:
            record = board.cells.get((row, name))
            if row in reference and record is not None:
                lines.append([heading(name), row, reference[row], _like(record, reference[row])])
    if not lines:
        return ""
    return f"## Values in the papers\n\n{PAPERS}\n\n{_table(['', 'row', 'paper', 'here'], lines)}"


def _like(record: Record, reference: str) -> str:
    """Our values in the form of the paper's: one, or one per part."""
    if len(reference.split()) > 1 and record["parts"]:
        return " ".join(number(value, record["unit"]) for value in record["parts"].values())
    return cell(record)


def _by_part(board: Leaderboard) -> str:
    sections = []
    for name in board.metrics:
        tables = [table for table in parts_tables(board, name) if len(table[0]) > len(FIRST) + 1]
        if tables:
            text = "\n\n".join(_table(*table) for table in tables)
            sections.append(f"### {heading(name)}\n\n{text}")
    return "## By emotion\n\n" + "\n\n".join(sections) if sections else ""


def _notes(board: Leaderboard) -> str:
    more = sorted({row for c in board.claims for row in c["weights"] if "@" in row})
    seeds = MORE_SEEDS.format(", ".join(more)) if more else ONE_SEED
    lines = [f"* {text}" for text in (*NOTES, seeds, *remarks(board))]
    if board.left_out:
        lines.append(
            f"* {board.left_out} older results, or results measured differently, are in the file "
            "but not in these tables."
        )
    return "## Notes\n\n" + "\n".join(lines)


def _figures(folder: Path) -> str:
    order = list(CAPTIONS)
    paths = (folder / "figures").glob("*.png")
    lines, last = [], ""
    for path in sorted(paths, key=lambda path: (order.index(_kind(path)), path.name)):
        kind = _kind(path)
        lines += [CAPTIONS[kind]] if kind != last else []
        lines.append(f"![{path.stem.replace('_', ' ')}](figures/{path.name})")
        last = kind
    return "## Figures\n\n" + "\n\n".join(lines) if lines else ""


def _kind(path: Path) -> str:
    kind = path.stem.split("_")[0]
    return kind if kind in CAPTIONS else "strip"


def _provenance(board: Leaderboard) -> str:
    lines = []
    for row in board.rows:
        record = next(r for (name, _), r in board.cells.items() if name == row)
        if row not in REFERENCE_ROWS:
            training = {k: v for k, v in record["training"].items() if v not in (None, "")}
            facts = ", ".join(f"{key} {value}" for key, value in training.items())
            lines.append([row, f"`{record['weights_sha256'][:12]}`", facts])
    # Ablations and further seeds have no row, but verdicts depend on them.
    for row, sha in sorted({k: v for c in board.claims for k, v in c["weights"].items()}.items()):
        if row not in board.rows:
            lines.append([row, f"`{sha[:12]}`", "for the claims only"])
    records = board.cells.values()
    hashes = {role: sha for r in records for role, sha in r["extractors"].items()}
    extractors = ", ".join(f"{role} `{sha[:12]}`" for role, sha in sorted(hashes.items()))
    machines = sorted({f"{r['device']}, {r['dtype']}, commit {r['commit'][:12]}" for r in records})
    text = f"Extractors: {extractors}.\n\nMeasured on: {'; '.join(machines)}."
    return f"## Provenance\n\n{_table(['row', 'weights', 'training'], lines)}\n\n{text}"


# README -------------------------------------------------------------------------------------------


def summary(text: str) -> str:
    """The main tables but those of code spaces, and the claims without their reasons, from the text
    of LEADERBOARD.md."""
    blocks = text.split("\n\n")
    first = text.split("\n\n## ")[0].split("\n\n")
    main = [block for block in first if block.startswith(("|", "**"))]
    # The tables of the code spaces, each a title and a table, are in LEADERBOARD.md alone.
    spaces = [i for i, block in enumerate(main) if block.startswith(f"**{GROUPS['spaces']}")]
    main = [block for i, block in enumerate(main) if not {i, i - 1} & set(spaces)]
    claims = next(b for b in blocks if b.startswith("|") and "| claim |" in b.splitlines()[0])
    # Without the last column, the reasons.
    verdicts = ["|".join(line.split("|")[:-2]) + "|" for line in claims.splitlines()]
    protocol = next(b for b in blocks if b.startswith("Protocol:"))
    return "\n\n".join([protocol, *main, "\n".join(verdicts)])


def with_summary(readme: str, text: str) -> str:
    """The README with the summary between its two marks; raises ValueError without the marks."""
    before, begin, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the README has no {BEGIN} and {END}")
    return f"{before}{BEGIN}\n\n{summary(text)}\n\n{END}{after}"


# Terminal -----------------------------------------------------------------------------------------


def print_tables(console: Console, board: Leaderboard) -> None:
    """Prints the main tables, the equal budget, the judges' agreement, the claims and the
    remarks."""
    one = board.any_record()
    caption = f"data: {one['data']} · protocol {one['protocol']} · 95 % intervals over faces"
    first = max(map(len, board.rows)) + len(FIRST[1]) + 3
    columns = (console.width - first - 4) // (INTERVAL + 3)
    for title, table in main_tables(board, _two_lines, max(1, min(MAX_METRICS, columns))):
        console.print(_rich_table(title, *table, caption))
    header, lines = equal_table(board)
    if lines:
        console.print(_rich_table("ERE, equal budget", header, lines))
    for title, table in second_judge_tables(board)[-1:]:
        console.print(_rich_table(title, *table))
    if board.claims:
        header, lines = claim_lines(board)
        short = [line[:2] + line[3:] for line in (header, *lines)]  # without the source
        console.print(_rich_table("Claims of the papers", short[0], short[1:]))
    for line in remarks(board):
        console.print(f"· {line}", highlight=False, markup=False)


def _two_lines(record: Record | None) -> str:
    """A cell with the interval below the value, at half the width."""
    return cell(record, interval="\n{}–{}")


def _rich_table(
    title: str, header: list[str], lines: list[list[str]], caption: str | None = None
) -> rich.table.Table:
    table = rich.table.Table(
        title=title, caption=caption, title_justify="left", caption_justify="left"
    )
    table.add_column(header[0], no_wrap=True)
    for name in header[1:]:
        widest = len(name) if name == FIRST[1] else None
        table.add_column(name, overflow="fold", max_width=widest)
    for line in lines:
        table.add_row(*(text.replace("[", "\\[") for text in line))
    return table


def main(arguments: Sequence[str] | None = None) -> int:
    """Writes LEADERBOARD.md (and the README) and prints the tables; exit code 2 without results."""
    parser = Parser(prog="bench/leaderboard.py", description=__doc__.split("\n")[0])
    parser.add_argument("--out", metavar="DIR", help="folder of results.jsonl")
    out = parser.parse_args(arguments).out
    if out is None and not RESULTS.is_dir():  # of an installed package
        print("the results of this project lie in its checkout: pass --out DIR", file=sys.stderr)
        return 2
    folder = Path(out) if out else RESULTS
    try:
        board = select(results.read(folder))
    except ValueError as error:
        print(f"{folder}: {error}", file=sys.stderr)
        return 2
    print_tables(Console(), board)
    remove_temporaries(folder)  # of a killed run
    path = write(board, folder)
    if out is None:
        readme = ROOT / "README.md"
        text = with_summary(readme.read_text(encoding="utf-8"), path.read_text(encoding="utf-8"))
        write_atomic(readme, text)
        model_samples.update()
        write_atomic(ROOT / "docs" / "models.md", model_table.table(RESULTS))
    print(f"wrote {path}")
    return 0
