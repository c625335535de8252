"""LEADERBOARD.md: the tables, the papers' own figures beside ours, the claims, what the numbers do
not say, the figures.
"""

from __future__ import annotations

from pathlib import Path

from bench.metrics.base import METRICS
from bench.tables import (
    ENDS,
    Board,
    cell,
    equal_table,
    heading,
    main_tables,
    number,
    parts_tables,
    remarks,
)

NOTES = (
    "FED is never read alone: the row identity edits nothing and scores 0 by construction. Read it "
    "beside accuracy. The same goes for identity distance, oracle error and concentration: who "
    "changes little keeps much.",
    "The row real sets as many other real faces in the place of the edited ones: what is left is "
    "the noise of the sample.",
    "Accuracy above real is not better: it is more prototypical than real faces are.",
    "ERE in the main table searches each paper's own grid (441 codes for GANmut and GGANmut, 63 "
    "styles an emotion for SMIT and StarGAN v2, 441 real faces' units where codes are units, the "
    "labels alone for StarGAN); the equal-budget table gives every method as many codes.",
    "AU error asks every method for the same: the units of the emotion's prototype. What the row "
    "oracle has left is people's own manners and the regressor's error.",
    "Concentration of a change spread evenly over the picture is the part area. Real neighbours "
    "are 50 % where edits and real faces cannot be told apart; neither more nor less is better.",
    "The classifier that measures was trained on people whom no editor saw.",
)
ONE_SEED = (
    "Intervals are 95 % bootstrap intervals over the source faces. Every method was trained once, "
    "from one seed: what another training would give is not in them."
)
MORE_SEEDS = (
    "Intervals are 95 % bootstrap intervals over the source faces, of one training each. Claims "
    "were judged again on trainings from other seeds ({}) and hold only where all agree."
)
RENDERED = (
    "These faces are rendered, not photographed. What holds here is a statement about these "
    "methods on these faces."
)
CAPTIONS = {
    "sheet": "One rendered person under each emotion, a method a line; above them the same person "
    "rendered with the expression.",
    "gamut": "Label distribution over the gamut, as in figures 1 and 3 of GANmut: the classifier's "
    "mean softmax over edited test faces; colour: most probable emotion, shade: its probability. "
    "Marks: learned directions or modes.",
    "faces": "The same gamut as edits of one rendered person.",
    "strip": "From neutral to the emotion in ten steps, as in figure 4 of GANmut: one rendered "
    "person, a method a line.",
    "wheel": "Emotion wheel, as in figures 9 to 11 of GANmut's supplement: angles around, radii "
    ".33, .66 and 1.",
    "sweep": "Single action units from 0 to 1, the others as in neutral.",
    "change": "What an edit changes, as in figures 5, 13 and 14 of DefGAN: absolute difference "
    "from the source, four times amplified.",
    "flow": "Flow: arrows from each pixel to where its colour is taken from.",
    "boxes": "What the local branches see and edit.",
    "tsne": "Real faces (grey) and edits under the evaluation prior (by what the classifier sees) "
    "in one t-SNE embedding of the classifier's features each, as in figure 5 of GANmut.",
}


def markdown(found: Board, folder: Path) -> str:
    """The text of LEADERBOARD.md; figures are those that lie in folder/figures."""
    parts = [
        _head(found),
        _main(found),
        _equal(found),
        _claims(found),
        _beside(found),
        _by_part(found),
        _notes(found),
        _figures(folder),
        _provenance(found),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _head(found: Board) -> str:
    one = found.one()
    data = f"`{one['data']}`, {one['split']} split, {one['size']} px"
    data += f", fingerprint `{one['data_fingerprint']}`"
    protocol = one["versions"].get("protocol", one["protocol"])
    rendered = f"\n\n{RENDERED}" if one["data"].startswith("procedural") else ""
    return f"# Leaderboard\n\nData: {data}.\n\nProtocol: {protocol}.{rendered}"


def _table(head: list[str], lines: list[list[str]]) -> str:
    body = ["| " + " | ".join(line) + " |" for line in [head, ["---"] * len(head), *lines]]
    return "\n".join(body)


def _main(found: Board) -> str:
    parts = []
    for title, head, lines in main_tables(found):
        parts += [f"**{title.capitalize()}**", _table(head, lines)]
    return "\n\n".join(parts)


def _equal(found: Board) -> str:
    head, lines = equal_table(found)
    return f"## ERE, equal budget\n\n{_table(head, lines)}" if lines else ""


def _claims(found: Board) -> str:
    if not found.claims:
        return ""
    lines = [
        [c["number"], c["sentence"], c["source"], f"**{c['verdict']}**", c["why"]]
        for c in found.claims
    ]
    text = (
        "Judged by the paired bootstrap over source faces: the 95 % interval of the difference is "
        "on one side of zero, on the other, or on both (undecided). A claim that does not hold is "
        "a result, not an error."
    )
    return f"## Claims of the papers\n\n{text}\n\n" + _table(
        ["", "claim", "source", "here", "why"], lines
    )


def _beside(found: Board) -> str:
    lines = []
    for name in found.metrics:
        reference = METRICS[name].reference if name in METRICS else {}
        for row in found.rows:
            record = found.cells.get((row, name))
            if row in reference and record is not None:
                lines.append([heading(name), row, reference[row], _ours(record, reference[row])])
    if not lines:
        return ""
    text = (
        "The papers measured on AffectNet with a classifier that was never released, so levels "
        "differ; orders are what can be compared."
    )
    return f"## Beside the papers' own figures\n\n{text}\n\n" + _table(
        ["", "row", "paper", "here"], lines
    )


def _ours(record: dict, theirs: str) -> str:
    if len(theirs.split()) > 1 and record["parts"]:
        return " ".join(number(value, record["unit"]) for value in record["parts"].values())
    return cell(record)


def _by_part(found: Board) -> str:
    sections = []
    for name in found.metrics:
        tables = [(head, lines) for head, lines in parts_tables(found, name) if len(head) > 2]
        if tables:
            text = "\n\n".join(_table(head, lines) for head, lines in tables)
            sections.append(f"### {heading(name)}\n\n{text}")
    return "## By emotion\n\n" + "\n\n".join(sections) if sections else ""


def _notes(found: Board) -> str:
    again = sorted({row for c in found.claims for row in c["weights"] if "@" in row})
    seeds = MORE_SEEDS.format(", ".join(again)) if again else ONE_SEED
    lines = [f"* {text}" for text in (*NOTES, seeds, *remarks(found))]
    if found.left_out:
        lines.append(
            f"* {found.left_out} older or differently measured results are in the file but not in "
            "these tables."
        )
    return "## What to know\n\n" + "\n".join(lines)


def _figures(folder: Path) -> str:
    pictures = sorted((folder / "figures").glob("*.png"))
    if not pictures:
        return ""
    lines, last = [], ""
    for path in sorted(pictures, key=lambda p: (list(CAPTIONS).index(_sort(p)), p.name)):
        kind = _sort(path)
        lines += [CAPTIONS[kind]] if kind != last else []
        lines.append(f"![{path.stem.replace('_', ' ')}](figures/{path.name})")
        last = kind
    return "## Figures\n\n" + "\n\n".join(lines)


def _sort(path: Path) -> str:
    kind = path.stem.split("_")[0]
    return kind if kind in CAPTIONS else "strip"


def _provenance(found: Board) -> str:
    rows = []
    for row in found.rows:
        record = next(r for (name, _), r in found.cells.items() if name == row)
        if row not in ENDS:
            training = record["training"]
            facts = ", ".join(
                f"{key} {value}" for key, value in training.items() if value not in (None, "")
            )
            rows.append([row, f"`{record['weights_sha256'][:12]}`", facts])
    for row, sha in sorted({k: v for c in found.claims for k, v in c["weights"].items()}.items()):
        if row not in found.rows:
            rows.append([row, f"`{sha[:12]}`", "for the claims only"])
    judges = {role: sha for r in found.cells.values() for role, sha in r["extractors"].items()}
    extractors = ", ".join(f"{role} `{sha[:12]}`" for role, sha in sorted(judges.items()))
    places = sorted(
        {f"{r['device']}, {r['dtype']}, commit {r['commit'][:12]}" for r in found.cells.values()}
    )
    text = f"Extractors: {extractors}.\n\nMeasured on: {'; '.join(places)}."
    table = _table(["row", "weights", "training"], rows)
    return f"## Where the numbers come from\n\n{table}\n\n{text}"
